"""The held-out rows behind a release: what each turned out as, what the version said of it, furthest off first.

In: a ``Site``, a version, which rows are asked for. Out: ``HeldOut``, a page of rows, and one of them whole. Laws: rows
and scores are those that the release was judged on; personal values stand as the hashes that training saw; 50 rows at
most, whatever is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import UnknownName, UsageError
from roadworthy.formats.wording import number
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task
from roadworthy.transforms.kept import plain_text
from roadworthy.views.dashboard.quality.groups import cut_of
from roadworthy.views.dashboard.quality.held import Held, held
from roadworthy.views.dashboard.quality.labelled import columns_of
from roadworthy.views.dashboard.quality.release import Release, release_of
from roadworthy.views.dashboard.site import Site

__all__ = ["HeldOut", "HeldOutRow", "RowValue", "held_out"]

PAGE = 50
_DIGITS = 9
_MOST_COLUMNS, _MOST_GROUPS = 12, 20
_LONGEST = 120
"""Characters of a group that an address names."""

_WHICH = ("", "wrong", "right")
_MISSING = "missing"


class HeldOutRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row. ``row`` is its number in the snapshot; ``score`` of the event, or of the class that was decided."""

    row: int
    truth: str
    decision: str
    score: str
    share: float | None
    wrong: bool | None
    groups: tuple[str, ...]


class RowValue(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a row, as training saw it; ``kind`` says what the column is to the model."""

    name: str
    value: str
    kind: str


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the rows that a release was judged on.

    ``among`` rows were held out, ``matching`` are asked for, ``wrong`` of which are decided wrongly (None where nothing
    is decided). ``slices`` are the groups that can be chosen. ``whole`` is one row with all of its values, where one is
    asked for. ``trouble`` says why there is nothing to show.
    """

    number: int
    title: str
    target: str
    decided: bool
    columns: tuple[str, ...] = ()
    rows: tuple[HeldOutRow, ...] = ()
    among: int = 0
    matching: int = 0
    wrong: int | None = None
    slices: tuple[str, ...] = ()
    slice: str = ""
    which: str = ""
    page: int = 1
    pages: int = 1
    chosen: HeldOutRow | None = None
    whole: tuple[RowValue, ...] = ()
    trouble: str = ""


def held_out(site: Site, words: Mapping[str, str]) -> HeldOut | None:
    """The rows for the words of a link: ``version``, ``slice``, ``which``, ``page``, ``row``; None without a version.

    Raises UnknownName and UsageError for words that mean nothing here.
    """
    own = held(site, words.get("version", ""))
    if own is None:
        return None
    contract = own.watched.contract
    decided = contract.task is not Task.REGRESSION
    shown = HeldOut(number=own.version.number, title=own.version.title, target=contract.target, decided=decided)
    release = release_of(site, own)
    if release.holdout is None:
        return msgspec.structs.replace(shown, trouble=release.trouble)
    return _page(site, own, release, release.holdout, words, shown)


def _page(  # noqa: PLR0917 - one page is all of these
    site: Site, own: Held, release: Release, holdout: Sample, words: Mapping[str, str], shown: HeldOut
) -> HeldOut:
    groups = _groups(own, release.rows)
    names = tuple(
        f"{column}={name}" for column, found in groups.items() for name in _commonest(found) if len(name) <= _LONGEST
    )
    chosen, which = words.get("slice", ""), words.get("which", "")
    if which not in _WHICH:
        raise UsageError(f"which={which[:40]!r} means nothing here", next_step="choose wrong or right, or neither")
    wrong = _wrong(holdout)
    which = which if wrong is not None else ""  # where nothing is decided, nothing is decided wrongly
    asked = _those(which, wrong, holdout.n)
    if chosen:
        asked &= _in_slice(groups, chosen, names)
    places = np.flatnonzero(asked)
    places = places[np.argsort(-_off(holdout)[places], kind="stable")]
    pages = max(1, -(-len(places) // PAGE))
    page = min(_whole_number(words.get("page", "1"), "page") or 1, pages)
    made = _Lines(holdout, release.rows, groups, wrong)
    row = words.get("row", "")
    at = _place_of(release.rows, _whole_number(row, "row"), own) if row else None
    return msgspec.structs.replace(
        shown,
        columns=tuple(groups),
        rows=tuple(made.line(int(place)) for place in places[(page - 1) * PAGE : page * PAGE]),
        among=holdout.n,
        matching=len(places),
        wrong=None if wrong is None else int(wrong[places].sum()),
        slices=names if not chosen or chosen in names else (*names, chosen),
        slice=chosen,
        which=which,
        page=page,
        pages=pages,
        chosen=None if at is None else made.line(at),
        whole=() if at is None else _values(site, own, int(release.rows["_row"][at])),
    )


class _Lines:
    """Rows as lines of the list."""

    def __init__(
        self, sample: Sample, rows: pl.DataFrame, groups: dict[str, NDArray[Any]], wrong: NDArray[np.bool_] | None
    ) -> None:
        self._sample, self._rows, self._groups, self._wrong = sample, rows, groups, wrong
        self._decision = None if wrong is None else sample.decision

    def line(self, place: int) -> HeldOutRow:
        """The row at a place of the sample."""
        sample = self._sample
        told = self._told(place)
        return HeldOutRow(
            row=int(self._rows["_row"][place]),
            truth=number(float(sample.y[place]), 6) if not sample.classes else sample.classes[int(sample.y[place])],
            decision="" if self._decision is None else sample.classes[int(self._decision[place])],
            score=number(told, 4),
            share=told if sample.task is not Task.REGRESSION else None,
            wrong=None if self._wrong is None else bool(self._wrong[place]),
            groups=tuple(str(found[place]) for found in self._groups.values()),
        )

    def _told(self, place: int) -> float:
        if self._sample.task is Task.MULTICLASS:
            return float(self._sample.score[place].max())
        return float(self._sample.score[place])


def _groups(own: Held, rows: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """The group of each row, by the columns that quality is shown by."""
    cuts = {name: cut_of(own, name, rows) for name in columns_of(own)[:_MOST_COLUMNS]}
    found = {name: cut.labels(rows[name]) for name, cut in cuts.items() if cut is not None}
    return {name: _plain(labels) for name, labels in found.items()}


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Names as objects: as fixed-width text every one of them would take as much as the longest."""
    return np.array([_MISSING if one is None else one for one in labels], dtype=object)


def _commonest(found: NDArray[Any]) -> list[str]:
    counts = pl.Series("name", found.tolist(), pl.String).value_counts(name="rows")
    return sorted(counts.sort("rows", "name", descending=[True, False]).get_column("name").head(_MOST_GROUPS))


def _in_slice(groups: dict[str, NDArray[Any]], chosen: str, names: tuple[str, ...]) -> NDArray[np.bool_]:
    columns = [one for one in groups if chosen.startswith(f"{one}=")]  # names of columns may have a = of their own
    if not columns:
        raise UnknownName("slice", chosen[:80], names, where="slice in the address")
    column = max(columns, key=len)
    return np.asarray(groups[column] == chosen.removeprefix(f"{column}="), dtype=bool)


def _those(which: str, wrong: NDArray[np.bool_] | None, rows: int) -> NDArray[np.bool_]:
    if not which or wrong is None:
        return np.ones(rows, dtype=bool)
    return wrong.copy() if which == "wrong" else ~wrong


def _wrong(sample: Sample) -> NDArray[np.bool_] | None:
    """Which rows are decided otherwise than they turned out; None where nothing is decided."""
    if sample.task is Task.REGRESSION or (sample.task is Task.BINARY and sample.threshold is None):
        return None
    return np.asarray(sample.decision != sample.y, dtype=bool)


def _off(sample: Sample) -> NDArray[np.float64]:
    """How far off each row is: the error, or the probability that was not given to what came true."""
    if sample.task is Task.REGRESSION:
        return np.abs(np.asarray(sample.score - sample.y, dtype=np.float64))
    return np.asarray(1.0 - sample.probabilities[np.arange(sample.n), sample.y], dtype=np.float64)


def _place_of(rows: pl.DataFrame, row: int, own: Held) -> int:
    found = np.flatnonzero(rows["_row"].to_numpy() == row)
    if not len(found):
        next_step = f"open /quality/rows?version={own.version.number}, which lists them"
        raise UnknownName("held-out row", str(row), [], next_step=next_step)
    return int(found[0])


def _values(site: Site, own: Held, row: int) -> tuple[RowValue, ...]:
    """All values of a row of the feature table, inputs of the model first."""
    contract = own.watched.contract
    file = site.lake.path("features", own.version.lineage["features"]) / "rows.parquet"
    found = pl.scan_parquet(file, glob=False).filter(pl.col("_row") == row).collect()
    names = [name for name in found.columns if name != "_row"]
    names.sort(key=lambda name: name not in contract.inputs)
    values = {name: found[name][0] for name in names}
    return tuple(
        RowValue(name=name, value="" if one is None else plain_text(one) or str(one), kind=_kind(name, own))
        for name, one in values.items()
    )


def _kind(name: str, own: Held) -> str:
    contract = own.watched.contract
    words = []
    if name in contract.inputs:
        words.append("model input")
    elif name in contract.features:
        words.append("feature")
    if name == contract.target:
        words.append("what is predicted")
    if name in contract.personal:
        words.append("personal, hashed")
    return ", ".join(words)


def _whole_number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise UsageError(f"{name}={text[:40]!r} is no whole number", next_step="open /quality/rows")
    return int(text)
