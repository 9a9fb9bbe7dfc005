"""Quality group by group: protected columns first, live beside release, worst first.

In: labelled rows of a span, those of the release, the newest window's own measurements. Out: a ``GroupTable`` for each
column. Laws: both sides are cut into the same groups; a group with too few labels has no figure and says so; all bars
of a table have one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import polars as pl

from roadworthy.measures.quality import METRICS
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task
from roadworthy.records.verdict import Outcome
from roadworthy.records.window import Judged
from roadworthy.stages.measuring import measurable, measured
from roadworthy.stages.validate_rows import Slices
from roadworthy.stages.watching.quality import FEWEST, slices_for
from roadworthy.standard import CATALOGUE, Requirement
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.metric import Direction
from roadworthy.views.dashboard.quality.held import Held
from roadworthy.views.dashboard.quality.labelled import Known, columns_of
from roadworthy.views.dashboard.quality.release import Release
from roadworthy.views.dashboard.quality.state import bound_words

__all__ = ["Bar", "GroupRow", "GroupTable", "cut_of", "group_tables", "shown_by"]

_MOST_COLUMNS, _MOST_GROUPS = 12, 20
_WIDTH, _EDGE = 200.0, 6.0
_USUAL = {Task.BINARY: "accuracy", Task.MULTICLASS: "accuracy", Task.REGRESSION: "mae"}


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Places in a drawing that is 200 wide; None for what is not known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    release: float | None = None
    bound: float | None = None


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group. ``live`` is by labels, or by estimate where ``estimated``; ``words`` say why there is no figure.

    ``missed``: it is proven to miss its bound; ``beyond``: its value does, and that is not proven.
    """

    name: str
    live: Measurement | None
    estimated: bool
    release: Measurement | None
    bar: Bar
    words: str = ""
    beyond: bool = False
    missed: bool = False


class GroupTable(msgspec.Struct, frozen=True, kw_only=True):
    """A column's groups, worst first. ``bound`` is what the standard asks for in each of them, empty for nothing.

    ``more`` counts groups beyond the 20 commonest.
    """

    column: str
    protected: bool
    bound: str
    rows: tuple[GroupRow, ...]
    more: int = 0


def shown_by(held: Held, asked: str = "") -> tuple[str, tuple[str, ...]]:
    """The metric that groups are compared by, and what else can be chosen; an unknown word is the usual one."""
    task = held.watched.contract.task
    sliced = [item.metric for item in held.required if item.slice and measurable(item.metric, task)]
    whole = [item.metric for item in held.required if not item.slice and measurable(item.metric, task)]
    able = [name for name in METRICS if task in METRICS[name][1]]
    usual = next((name for name in (*sliced, *whole) if name in able), _USUAL[task])
    rest = ("accuracy", "precision", "recall", "specificity") if task is Task.BINARY else (_USUAL[task],)
    choice = tuple(dict.fromkeys(name for name in (usual, *whole, *rest) if name in able))
    return (asked if asked in choice else usual), choice


def group_tables(
    held: Held, known: Known, release: Release, newest: Judged | None, metric: str
) -> tuple[GroupTable, ...]:
    """A table for each column that quality is shown by, at most twelve."""
    made = (
        _table(held, metric, column, _sides(held, known, release, newest, metric, column))
        for column in columns_of(held)[:_MOST_COLUMNS]
    )
    return tuple(table for table in made if table is not None)


class _Sides(NamedTuple):
    """A metric by group: by labels, as the newest window estimates it, at release."""

    live: dict[str, Measurement]
    guessed: dict[str, Measurement]
    before: dict[str, Measurement]


def _sides(  # noqa: PLR0917 - everything that a figure by group may come from
    held: Held, known: Known, release: Release, newest: Judged | None, metric: str, column: str
) -> _Sides:
    held_out = release.rows
    cut = cut_of(held, column, held_out if column in held_out.columns else known.rows)
    required = held.requirement(metric, column)
    asked = required or Requirement(metric=metric, at_least=0.0, slice=column)
    before = _measured(asked, release.holdout, held_out, cut)
    return _Sides(
        live=_measured(asked, known.sample, known.rows, cut),
        guessed=_estimated(newest, metric, column),
        before=before or _of_evidence(held, metric, column),
    )


def _table(held: Held, metric: str, column: str, sides: _Sides) -> GroupTable | None:
    live, guessed, before = sides
    names = list(dict.fromkeys((*live, *guessed, *before)))
    if not names:
        return None
    required = held.requirement(metric, column)
    rows = [_row(name, live.get(name), guessed.get(name), before.get(name), required) for name in names]
    rows.sort(key=lambda row: -(max(row.live.n if row.live else 0, row.release.n if row.release else 0)))
    more, rows = max(len(rows) - _MOST_GROUPS, 0), rows[:_MOST_GROUPS]
    sign = 1 if CATALOGUE[metric].direction is Direction.UP else -1
    rows.sort(key=lambda row: (1, 0.0) if row.live is None or row.live.value is None else (0, sign * row.live.value))
    return GroupTable(
        column=column,
        protected=column in held.watched.contract.protected,
        bound="" if required is None else bound_words(required),
        rows=_with_bars(rows, required),
        more=more,
    )


def cut_of(held: Held, column: str, rows: pl.DataFrame) -> Slices | None:
    """How the column is cut: as the release was judged by, else as these rows have it."""
    if column not in rows.columns:
        return None
    asked = Requirement(metric="accuracy", at_least=0.0, slice=column)
    return slices_for(held.watched, rows, [asked]).get(column) or Slices.learned(rows[column])


def _measured(
    asked: Requirement, sample: Sample | None, rows: pl.DataFrame, cut: Slices | None
) -> dict[str, Measurement]:
    """The metric in each group; the groups with most rows where there are very many."""
    column = asked.slice
    if sample is None or column not in rows.columns or cut is None:
        return {}
    if len(cut.groups) > _MOST_GROUPS:
        commonest = rows[column].cast(pl.String).drop_nulls().value_counts(sort=True).head(_MOST_GROUPS)
        among = rows[column].cast(pl.String).is_in(commonest.get_column(column).implode())
        mask = among.fill_null(value=False).to_numpy()  # a missing value is none of them
        sample, rows = sample.take(mask), rows.filter(pl.Series(mask))
        cut = Slices(tuple(commonest.get_column(column).to_list()))
    return {one.slice.removeprefix(f"{column}="): one for one in measured(sample, rows, [asked], {column: cut})}


def _of_evidence(held: Held, metric: str, column: str) -> dict[str, Measurement]:
    """The release's own measurements by group, where its rows are not here."""
    start = f"{column}="
    return {
        one.slice.removeprefix(start): one
        for one in held.version.evidence.measurements
        if one.metric == metric and one.slice.startswith(start)
    }


def _estimated(newest: Judged | None, metric: str, column: str) -> dict[str, Measurement]:
    start = f"{column}="
    return {
        one.slice.removeprefix(start): one
        for one in (newest.measurements if newest else ())
        if one.metric == metric and one.slice.startswith(start) and one.method.startswith("estimated")
    }


def _row(
    name: str,
    live: Measurement | None,
    guessed: Measurement | None,
    before: Measurement | None,
    required: Requirement | None,
) -> GroupRow:
    words = _why(live)
    told = None if words else live
    estimated = told is None and guessed is not None and guessed.value is not None
    if estimated:
        told = guessed
    judged = None if required is None or told is None else judge_requirement(required, [told], told.phase).outcome
    return GroupRow(
        name=name,
        live=told,
        estimated=estimated,
        release=before,
        bar=Bar(),
        words=words,
        missed=judged is Outcome.FAIL,
        beyond=judged is Outcome.INSUFFICIENT and _beyond(required, told),
    )


def _beyond(required: Requirement | None, told: Measurement | None) -> bool:
    """Whether the plain value is on the wrong side of the bound."""
    if required is None or told is None or told.value is None:
        return False
    return told.value > required.bound if required.at_least is None else told.value < required.bound


def _why(live: Measurement | None) -> str:
    """Why a group has no figure by labels; empty where it has one."""
    if live is None or not live.n:
        return "no label yet"
    if live.n < FEWEST:
        return f"too few to say: {live.n} of the {FEWEST} labels needed"
    if live.error or live.insufficient:
        return live.error or live.insufficient
    few = live.among or live.n
    if few < FEWEST // 3:
        return f"too few to say: only {few} of {live.n} labels count for this figure"
    return ""


def _with_bars(rows: Sequence[GroupRow], required: Requirement | None) -> tuple[GroupRow, ...]:
    bound = None if required is None else required.bound
    points = [bound] if bound is not None else []
    for row in rows:
        for one in (row.live, row.release):
            points += [] if one is None else [end for end in (one.value, one.lower, one.upper) if end is not None]
    if not points:
        return tuple(rows)
    least, most = min(points), max(points)
    room = (most - least) * 0.05 or abs(most) * 0.1 or 1.0

    def at(value: float | None) -> float | None:
        if value is None:
            return None
        return round(_EDGE + (value - least + room) / (most - least + 2 * room) * (_WIDTH - 2 * _EDGE), 1)

    return tuple(msgspec.structs.replace(row, bar=_bar(row, at(bound), at)) for row in rows)


def _bar(row: GroupRow, bound: float | None, at: Callable[[float | None], float | None]) -> Bar:
    live, before = row.live, row.release
    return Bar(
        value=None if live is None else at(live.value),
        low=None if live is None else at(live.lower),
        high=None if live is None else at(live.upper),
        release=None if before is None else at(before.value),
        bound=bound,
    )
