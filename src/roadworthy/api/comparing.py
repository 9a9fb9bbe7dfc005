"""``roadworthy.compare``: what differs between two tables, without project, server or model.

In: two tables, as frames or files. Out: a ``Comparison``: sentences sorted by what matters, a table, a picture. Laws:
the same statistics as those that watch live traffic; nothing that the tables hold makes it raise.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from roadworthy import assembly
from roadworthy.errors import UnknownName
from roadworthy.measures.drift import EFFECT_FLOOR, compared, with_dispersion
from roadworthy.measures.drift.aligned import aligned
from roadworthy.measures.sketches import sketch, sketch_like
from roadworthy.records.evidence import Exhibit
from roadworthy.records.shift import Shift, ShiftKind

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Comparison", "compare"]

_ERROR_RATE = 0.01
_SHOWN = 10
_PANELS = 3
_ORDER = ("cannot be compared", "changed", "changed a little", "no change shown", "too little to say")


def compare(
    reference: Any,
    current: Any,
    columns: Sequence[str] | None = None,
    *,
    hidden: Collection[str] = (),
    time: str = "",
    entity: str = "",
    classifier: bool = False,
) -> Comparison:
    """What differs between the rows of ``current`` and those of ``reference``.

    Both are Polars or pandas frames, Arrow tables, or paths. ``columns`` are compared (default: all of either), those
    of ``hidden`` by their missing values alone. Rows count as independent of each other unless ``time`` or ``entity``
    name a column: then it is learnt from the reference how much more its consecutive rows, or an entity's, vary.

    ``classifier`` has a model tell the rows apart as well: it finds what lies in three and more columns at once.

    A change is named where its p is within 0.01 divided by the number of comparisons, so that two tables of one law
    show any at all once in a hundred times; it is called little where its effect is below ``EFFECT_FLOOR``.

    >>> import polars as pl
    >>> before = pl.DataFrame({"device": ["ios"] * 310 + ["web"] * 690})
    >>> after = pl.DataFrame({"device": ["ios"] * 40 + ["web"] * 960})
    >>> print(compare(before, after).changed[0].sentence)
    device = ios fell from 31 % to 4 % (p = 2e-62, effect 0.31)
    """
    old, new = _rows(reference), _rows(current)
    both = list(dict.fromkeys([*old.columns, *new.columns]))
    for name in columns or ():
        if name not in both:
            raise UnknownName("column", name, both)
    pair = aligned(old, new, list(both if columns is None else dict.fromkeys(columns)))
    names = pair.reference.columns
    sketched = sketch(pair.reference, names, hidden=hidden, together=[one for one in names if one not in hidden])
    if time or entity:
        beside = [old.get_column(one) for one in (time, entity) if one and one not in names and one in old.columns]
        sketched = with_dispersion(sketched, pair.reference.with_columns(beside), time=time, entity=entity)
    shifts = (*pair.broken, *compared(sketched, sketch_like(sketched, pair.current), times=pair.times))
    if classifier:
        from roadworthy.measures.drift.telling_apart import told_apart  # noqa: PLC0415 - scikit-learn takes a second

        shown = [one for one in names if one not in hidden]
        shifts = (*shifts, told_apart(pair.reference.select(shown), pair.current.select(shown)))
    return Comparison(shifts=_sorted(shifts), reference_rows=old.height, rows=new.height)


@dataclass(frozen=True)
class Comparison:
    """What two tables differ in; ``shifts`` are sorted by what matters."""

    shifts: tuple[Shift, ...]
    reference_rows: int
    rows: int

    @property
    def changed(self) -> tuple[Shift, ...]:
        """What is proven to have changed by more than a little."""
        return tuple(one for one in self.shifts if self.word(one) == "changed")

    def word(self, shift: Shift) -> str:
        """What one comparison comes to."""
        return _word(shift, _level(self.shifts))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One mapping for each comparison, plain values."""
        return [
            {
                "subject": one.subject,
                "kind": str(one.kind),
                "word": self.word(one),
                "p": one.p,
                "effect": one.effect,
                "n": one.n,
                "reference_n": one.reference_n,
                "sentence": one.sentence,
            }
            for one in self.shifts
        ]

    def to_frame(self) -> pl.DataFrame:
        """The same as a Polars frame."""
        schema = {"subject": pl.String, "kind": pl.String, "word": pl.String, "p": pl.Float64, "effect": pl.Float64}
        schema |= {"n": pl.Int64, "reference_n": pl.Int64, "sentence": pl.String}
        return pl.DataFrame(self.to_dicts(), schema=schema)

    def chart(self) -> alt.TopLevelMixin | None:
        """How much each column moved, and the cells of those that moved most; None where nothing was compared."""
        import altair as alt  # noqa: PLC0415 - a second that only a picture needs

        from roadworthy.measures.charts.drift import drift, drift_cells  # noqa: PLC0415 - as above

        panels = [drift(self.exhibit()), *(drift_cells(one) for one in self._cells())]
        drawn: list[Any] = [one for one in panels if one is not None]
        return (
            alt.vconcat(*drawn, spacing=26).resolve_scale(color="independent", shape="independent") if drawn else None
        )

    def exhibit(self) -> Exhibit:
        """The table behind the first picture."""
        known = [one for one in self.shifts if one.p is not None and (one.effect > 0 or self.word(one) == "changed")]
        known = known or [one for one in self.shifts if one.p is not None]
        return Exhibit(
            name="drift",
            title="What moved",
            columns={
                "what": [_named(one) for one in known],
                "effect": [one.effect for one in known],
                "word": [self.word(one) for one in known],
                "p": [one.p for one in known],
            },
        )

    def _cells(self) -> list[Exhibit]:
        shown = [one for one in self.changed if one.kind is ShiftKind.DISTRIBUTION][:_PANELS]
        return [
            Exhibit(
                name="drift_cells",
                title=f"{one.subject}: share of the rows",
                columns={
                    key if key != "cells" else "cell": one.details[key] for key in ("cells", "reference", "current")
                },
            )
            for one in shown
        ]

    def __str__(self) -> str:
        return "\n".join([self._summary(), *(f"- {one.sentence}" for one in self._told())])

    def _repr_html_(self) -> str:
        from roadworthy.measures.charts import to_svg  # noqa: PLC0415 - as in chart

        items = "".join(f"<li>{html.escape(one.sentence)}</li>" for one in self._told())
        chart = self.chart()
        picture = "" if chart is None else to_svg(chart)
        return f"<div><p><strong>{html.escape(self._summary())}</strong></p><ul>{items}</ul>{picture}</div>"

    def _told(self) -> list[Shift]:
        told = [one for one in self.shifts if self.word(one) in _ORDER[:3]]
        return told[:_SHOWN]

    def _summary(self) -> str:
        words = [self.word(one) for one in self.shifts]
        counted = [f"{words.count(word)} {word}" for word in _ORDER if word in words]
        head = f"{self.rows:,} rows beside {self.reference_rows:,} of the reference"
        told = sum(word in _ORDER[:3] for word in words)
        more = f"; the first {_SHOWN} that matter" if told > _SHOWN else ""
        return f"{head}: {', '.join(counted) or 'nothing to compare'}{more}"


def _rows(data: Any) -> pl.DataFrame:
    if isinstance(data, pl.DataFrame):
        return data
    if not isinstance(data, str | Path | Mapping | pl.LazyFrame) and hasattr(data, "columns") and len(data) == 0:
        return pl.DataFrame(schema=[str(name) for name in data.columns])
    return assembly.source_of(data).scan().collect()


def _named(shift: Shift) -> str:
    if shift.kind is ShiftKind.MISSING:
        return f"{shift.subject}: missing"
    if shift.kind is ShiftKind.NEW:
        return f"{shift.subject}: new values"
    return shift.subject


def _level(shifts: Sequence[Shift]) -> float:
    return _ERROR_RATE / max(1, sum(one.p is not None for one in shifts))


def _word(shift: Shift, level: float) -> str:
    if shift.error:
        return "cannot be compared"
    if shift.p is None:
        return "too little to say"
    if shift.p > level:
        return "no change shown"
    return "changed" if shift.effect >= EFFECT_FLOOR[shift.kind] else "changed a little"


def _sorted(shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    """By what it means, then by how far it is beyond what alarms, then by p."""
    level = _level(shifts)

    def place(shift: Shift) -> tuple[int, float, float]:
        p = 1.0 if shift.p is None else shift.p
        return _ORDER.index(_word(shift, level)), -shift.effect / EFFECT_FLOOR[shift.kind], p

    return tuple(sorted(shifts, key=place))
