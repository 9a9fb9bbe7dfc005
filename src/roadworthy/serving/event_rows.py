"""The rows of events: read by the same plan as history and live rows, judged as history is.

In: plain JSON rows of some requests. Out: for each request its clean rows, or every problem that they have. Laws: a row
is taken if cleaning would keep it in a table of history, by all that its own columns say; it tells whose it is and
when; personal values are hashes, and those that no feature of the past goes by are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from roadworthy.errors import Problem, nearest
from roadworthy.records.contract import ColumnType
from roadworthy.serving.bodies import MOST_PROBLEMS, SHOWN, RowsRefused, kind_fault, kind_of_json, short
from roadworthy.serving.fields import field_of
from roadworthy.serving.framing import alike, path_of, series_of
from roadworthy.serving.predictor import BundlePredictor
from roadworthy.transforms.entity_state import Arrived, StateLayout

__all__ = ["Asked", "EventReader"]

_PLACE = "_place"
_MARK_BYTES = 16


class Asked(NamedTuple):
    """Plain rows of one request, what to call them (``row`` or ``rows``), and their identities; none at all: ()."""

    rows: Sequence[Any]
    where: str
    ids: tuple[bytes | None, ...]


class EventReader:
    """Reads events for one version, whose aggregates look at ``layout``."""

    def __init__(self, predictor: BundlePredictor, layout: StateLayout) -> None:
        self.predictor = predictor
        self._layout = layout
        contract = predictor.contract
        columns, personal = contract.contract.columns, set(contract.personal)
        self._fields = {
            name: field_of(name, column, required=name in layout.columns, hide=name in personal)
            for name, column in columns.items()
        }
        self._numbers = {name for name, column in columns.items() if column.type is ColumnType.NUMBER}
        self._optional = frozenset(columns) - layout.columns
        self._stored = [name for name in columns if name not in personal or name in layout.columns]

    def read(self, asked: Sequence[Asked]) -> list[Arrived | RowsRefused]:
        """The events of some requests, all of them read at once."""
        rows: dict[int, Mapping[str, Any]] = {}
        problems: dict[int, list[Problem]] = {}
        spans: list[tuple[int, int]] = []
        places: list[str] = []
        for one in asked:
            spans.append((len(places), len(places) + len(one.rows)))
            for at, row in enumerate(one.rows):
                place = len(places)
                places.append(one.where if one.where == "row" else f"{one.where}[{at}]")
                if found := list(self._form_problems(row, places[place])):
                    problems[place] = found
                else:
                    rows[place] = row
        clean = self._cleaned(rows, places, problems)
        return [
            self._request(one, clean.filter(pl.col(_PLACE).is_between(begin, end, closed="left")), found)
            for one, (begin, end) in zip(asked, spans, strict=True)
            for found in [[problem for place in range(begin, end) for problem in problems.get(place, ())]]
        ]

    def _request(self, asked: Asked, clean: pl.DataFrame, problems: list[Problem]) -> Arrived | RowsRefused:
        if problems:
            what = "the event does not meet the contract" if asked.where == "row" else "events do not meet the contract"
            return RowsRefused(f"{what}; none was taken", problems)
        rows = clean.select(self._stored)
        marks = tuple(hashlib.blake2b(repr(row).encode(), digest_size=_MARK_BYTES).digest() for row in rows.rows())
        return Arrived(rows, asked.ids or (None,) * rows.height, marks)

    def _form_problems(self, row: Any, where: str) -> Iterator[Problem]:
        """What JSON alone says: fields that are unknown, lack, or hold a value of another kind."""
        if not isinstance(row, Mapping):
            yield Problem(kind_of_json(row), expected="an object with one member for each field", where=where)
            return
        unknown = [name for name in row if name not in self._fields]
        for name in unknown[:MOST_PROBLEMS]:
            close = nearest(name, self._fields.keys() - row.keys()) if len(unknown) < SHOWN >= len(name) else None
            hint = f"; did you mean {close!r}?" if close else ""
            yield Problem(f"unknown field{hint}", where=path_of(where, short(name)))
        for name, field in self._fields.items():
            if name not in row:
                if field.required:
                    yield Problem("missing field", expected=field.expected, where=path_of(where, name))
            elif fault := kind_fault(row[name], field):
                yield Problem(fault, expected=field.expected, where=path_of(where, name))

    def _cleaned(
        self, rows: Mapping[int, Mapping[str, Any]], places: Sequence[str], problems: dict[int, list[Problem]]
    ) -> pl.DataFrame:
        """Clean rows with their places, in order; what is wrong with others is added to ``problems``."""
        plan = self.predictor.cleaning
        made: list[pl.DataFrame] = []
        for form, own in alike(rows, self._numbers).items():
            frame = pl.DataFrame([series_of(name, kind, [rows[at][name] for at in own]) for name, kind in form])
            clean, found = plan.apply_rows(self.predictor.hidden(frame), optional=self._optional, judged=True)
            for at, reasons in zip(own, found.to_list(), strict=True):
                if reasons is not None:
                    problems[at] = [self._as_problem(reason, places[at]) for reason in reasons]
            self._nobodys(clean, own, places, problems)
            made.append(clean.with_columns(pl.Series(_PLACE, own, dtype=pl.Int64)))
        if not made:
            return pl.DataFrame({_PLACE: []}, schema={_PLACE: pl.Int64()})
        return pl.concat(made).sort(_PLACE)

    def _nobodys(
        self, clean: pl.DataFrame, own: Sequence[int], places: Sequence[str], problems: dict[int, list[Problem]]
    ) -> None:
        """Events that do not tell when, or whose they are, would be kept for nobody."""
        time, owners = self._layout.time, [group.by for group in self._layout.groups]
        lost = clean.select(
            pl.col(time).is_null().alias("when"),
            pl.all_horizontal(pl.col(name).is_null() for name in owners).alias("who"),
        )
        for at, (when, who) in zip(own, lost.rows(), strict=True):
            names = [*([time] if when else []), *(owners if who else [])]
            if names and at not in problems:
                problems[at] = [
                    Problem("missing", expected=self._fields[name].expected, where=path_of(places[at], name))
                    for name in names
                ]

    def _as_problem(self, reason: str, where: str) -> Problem:
        name, _, what = reason.partition(": ")
        field = self._fields.get(name)
        if field is None:
            return Problem(reason, where=where)
        return Problem(what, expected=field.expected, where=path_of(where, name))
