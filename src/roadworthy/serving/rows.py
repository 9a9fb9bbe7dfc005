"""From the bytes of a request to clean rows, or to every problem that they have.

In: JSON, or one list of values per column; a ``BundlePredictor``, whose cleaning plan is the authority on what a row
means. Out: clean rows as tuples in the reader's order. Laws: a row that is taken has the values that the plan would
give it; one that is refused is refused with all of its problems, each at its field, and no value of a personal column
is shown; unknown fields are refused, since a misspelt one would silently be missing.

There are two ways to one result. What msgspec decodes by the types of ``serving.fields`` is clean as it stands: that
is nearly every row, at a microsecond each. Anything else is read once more as plain JSON: either it is named field by
field what is wrong, or the plan mends the row (a sentinel becomes missing, spaces go) and it travels on like the
others.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from roadworthy.errors import Problem, nearest
from roadworthy.records.contract import Breach, ColumnType
from roadworthy.serving.bodies import (
    MOST_DEEP,
    MOST_PROBLEMS,
    MOST_ROWS,
    SHOWN,
    Broken,
    RowsRefused,
    kind_fault,
    kind_of_json,
    plain_rows,
    short,
)
from roadworthy.serving.fields import Field, field_of
from roadworthy.serving.framing import alike, path_of, plain, series_of
from roadworthy.serving.looking_back import Past, Seeker
from roadworthy.serving.predictor import BundlePredictor
from roadworthy.transforms.aggregates.lookback import TooOld
from roadworthy.transforms.kept import HashOne

__all__ = ["MOST_DEEP", "MOST_ROWS", "Row", "RowReader", "RowsRefused"]

_HINTS = 20
_NO_COLUMN = ("",)
_ESCAPED = re.compile(r'[\x00-\x1f"\\\x7f]')

Row = tuple[Any, ...]
"""Clean values in the reader's order, None where missing: numbers, texts, times as written, what is kept, the rest.

All rows of a reader are of one length, so that those of several requests stand side by side in one batch.
"""


Fault = tuple[Breach, tuple[str, ...], Problem]
"""How a row breaks the contract, in which columns (the empty name for none of the contract's), the same for people."""


class _Work:
    """Rows on their way: what they are called, what is clean of them, what the plan must read, what is wrong."""

    def __init__(
        self, places: Sequence[str], *, hidden: bool = False, unreadable: Mapping[int, Collection[str]] | None = None
    ) -> None:
        self.places, self.hidden, self.unreadable = places, hidden, unreadable or {}
        self.rows: list[Row | None] = []
        self.doubtful: dict[int, Mapping[str, Any]] = {}
        self.problems: dict[int, list[Problem]] = {}
        self.columns: defaultdict[tuple[str, Breach], int] = defaultdict(int)

    def refuse(self, at: int, faults: Sequence[Fault]) -> None:
        """A row breaks the contract, as nobody has found before: of several faults of a column the first counts."""
        self.problems[at] = [problem for _, _, problem in faults]
        seen = set(self.unreadable.get(at, ()))
        for column in seen:
            self.columns[column, Breach.TYPE] += 1
        for breach, columns, _ in faults:
            for column in columns:
                if column not in seen:
                    seen.add(column)
                    self.columns[column, breach] += 1


class RowReader:
    """Reads rows for one bundle.

    ``fields`` are those that the graph, a rule or a feature of the past reads, numbers first, then texts, then times;
    ``kept`` are the columns that only tell who and when, and travel after them in each row. ``numbers`` is how many of
    the fields are numbers, and ``pack`` writes these, if none of them is missing, as doubles; ``apart`` are the other
    fields that a graph reads, with their places. ``ignored`` are columns that a row may hold, and that nothing looks
    at.
    """

    def __init__(self, predictor: BundlePredictor) -> None:
        self._predictor = predictor
        self.contract = contract = predictor.contract
        columns = contract.contract.columns
        aggregates = predictor.aggregates
        fed = {name for name in contract.inputs if name in columns} | predictor.cleaning.looked_at - {contract.target}
        personal = frozenset(contract.personal)
        keys = predictor.whose_past & columns.keys() if aggregates else frozenset[str]()
        read = fed | keys - personal  # without these no past is found, so that they are read as strictly as the others
        found = [
            field_of(name, columns[name], required=name not in predictor.optional, hide=name in personal)
            for name in (*contract.inputs, *sorted(read.difference(contract.inputs)))  # as the graph takes them
            if name in read
        ]
        found += [_given(name) for name in aggregates]
        self.fields = tuple(field for part in ("number", "text", "time") for field in found if field.part == part)
        beside = dict.fromkeys((contract.entity, contract.time, *sorted(keys & personal)))
        self.kept = tuple(name for name in beside if name and name not in read)
        self.ignored = tuple(name for name in columns if name not in read and name not in self.kept)
        self.known = frozenset({*columns, *aggregates})
        self.numbers = sum(field.part == "number" for field in self.fields)
        self.pack = struct.Struct(f"{self.numbers}d").pack
        self.apart = tuple(
            (at, field) for at, field in enumerate(self.fields) if field.part != "number" and field.name in fed
        )
        self._keys = keys & {field.name for field in self.fields}
        self._field = {field.name: field for field in self.fields}
        self._rules = predictor.cleaning.rules
        self._seeker: Seeker | None = None
        self._doubts = tuple((at, field.doubt) for at, field in enumerate(self.fields) if field.doubt is not None)
        self.aggregates = aggregates
        places = {field.name: at for at, field in enumerate(self.fields)}
        self._aggregates = tuple(places[name] for name in aggregates)
        self._first = self._first_row() if aggregates else ()
        self._decode, self._convert = self._decoders()

    def broken_in(self, rules: Collection[tuple[str, ...]]) -> Broken:
        """How rows break the contract that make some of its ``rules`` false, given for each of them."""
        columns: defaultdict[tuple[str, Breach], int] = defaultdict(int)
        for own in rules:  # one that only a version knows which answers in this one's place stands in no column
            for name in {name for rule in own for name in self._rules.get(rule, _NO_COLUMN)}:
                columns[name, Breach.RULE] += 1
        return Broken(len(rules), columns)

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that a row must have, as a value or as null."""
        return tuple(field.name for field in self.fields if field.required)

    def read(self, body: bytes) -> list[Row]:
        """The clean rows of ``{"rows": [{…}, …]}`` or ``{"row": {…}}``; raises RowsRefused."""
        try:
            asked = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._read_slowly(body)
        given = asked.rows
        if given is msgspec.UNSET:
            if asked.row is msgspec.UNSET:
                return self._read_slowly(body)
            given = [asked.row]
        elif asked.row is not msgspec.UNSET or not given or len(given) > MOST_ROWS:
            return self._read_slowly(body)
        values = msgspec.structs.astuple
        rows = [values(row) for row in given]
        return self._settled(rows) if self._doubts or self._aggregates else rows

    def take(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        where: str = "rows",
        hidden: bool = False,
        unreadable: Mapping[int, Collection[str]] | None = None,
    ) -> list[Row]:
        """The clean rows of plain JSON objects (or of columns that came in another form); raises RowsRefused.

        ``hidden``: personal values are hashes already. ``unreadable``: rows that are refused in any case, by their
        places, and the columns in which they hold no value at all, of which the caller tells himself.
        """
        places = [f"{where}[{at}]" if len(rows) > 1 else where for at in range(len(rows))]
        work = _Work(places, hidden=hidden, unreadable=unreadable)
        for at, row in enumerate(rows):
            found = list(self._form_faults(row, places[at], _HINTS if len(work.problems) < _HINTS else 0))
            quick = self._quick(row) if not found else None
            if found:
                work.refuse(at, found)
            elif quick is None:
                work.doubtful[at] = row
            work.rows.append(quick)
        return self._finished(work)

    def look_back(self, past: Past, hash_one: HashOne | None) -> None:
        """From now on rows that do not bring their features of the past get them from what is kept.

        ``hash_one`` is the project's keyed hash; without it nobody whose column is personal has a past.
        """
        self._seeker = Seeker(past, self.contract, [field.name for field in self.fields], self.kept, hash_one)

    @property
    def past(self) -> Past | None:
        """What rows look back into; None where they bring their features of the past, or have none."""
        return None if self._seeker is None else self._seeker.past

    def named_for(self, row: Row, other: RowReader) -> dict[str, Any]:
        """A clean row as another reader takes it, which finds features of the past by itself where it can."""
        leave = self.aggregates if other.past is not None else ()
        return {name: value for name, value in self.named(row).items() if name in other.known and name not in leave}

    def named(self, row: Row) -> dict[str, Any]:
        """A clean row by the names of its fields, with who and when."""
        names = (*(field.name for field in self.fields), *self.kept)
        return dict(zip(names, row, strict=False))

    # --- the quick way ------------------------------------------------------------------------------------------

    def _decoders(self) -> tuple[Any, Any]:
        """A decoder of whole requests, and a converter of one plain row, both strict.

        Fields have names of their own here: a column may be called anything, a Python field may not.
        """
        named = [(field.name, field.type, ... if field.required else None) for field in self.fields]
        named += [(name, Any, None) for name in self.kept]
        named += [(name, Any, None) for name in self.ignored]
        if any(_ESCAPED.search(name) for name, _, _ in named):
            return _not_quickly, _not_quickly  # the decoder knows no names that JSON writes otherwise
        ordered = [(f"f{at}", kind, default) for at, (_, kind, default) in enumerate(named)]
        declared = [(name, kind) if default is ... else (name, kind | None, None) for name, kind, default in ordered]
        row: Any = msgspec.defstruct(
            "Row",
            declared,
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
            rename={f"f{at}": name for at, (name, _, _) in enumerate(named)},
        )
        unset = msgspec.UNSET
        request: Any = msgspec.defstruct(
            "Rows",
            [("rows", list[row] | msgspec.UnsetType, unset), ("row", row | msgspec.UnsetType, unset)],
            forbid_unknown_fields=True,
            gc=False,
        )
        return msgspec.json.Decoder(request).decode, lambda plain: msgspec.convert(plain, row, strict=True)

    def _settled(self, rows: list[Row]) -> list[Row]:
        """The same rows, those in doubt as the plan mends them; raises RowsRefused."""
        work = _Work([f"rows[{at}]" if len(rows) > 1 else "row" for at in range(len(rows))])
        work.rows += rows
        work.doubtful |= {at: self.named(row) for at, row in enumerate(rows) if self._in_doubt(row)}
        return self._finished(work)

    def _finished(self, work: _Work) -> list[Row]:
        """Every row clean and with its past, or RowsRefused with all that is wrong, in the order of the rows."""
        self._mend(work)
        if self._aggregates:
            for at, row in enumerate(work.rows):
                if row is not None and at not in work.problems:
                    work.rows[at] = self._with_past(row, at, work)
        for at in work.unreadable.keys() - work.problems.keys():
            work.refuse(at, ())
        if work.problems:
            found = [problem for at in sorted(work.problems) for problem in work.problems[at]]
            raise RowsRefused(_sentence(len(work.places)), found, broken=Broken(len(work.problems), work.columns))
        return [row for row in work.rows if row is not None]

    def _in_doubt(self, row: Row) -> bool:
        return any(row[at] is not None and doubt(row[at]) for at, doubt in self._doubts)

    # --- the thorough way ---------------------------------------------------------------------------------------

    def _read_slowly(self, body: bytes) -> list[Row]:
        rows, where = plain_rows(body)
        return self.take(rows, where=where)

    def _quick(self, row: Mapping[str, Any]) -> Row | None:
        try:
            values: Row = msgspec.structs.astuple(self._convert(dict(row)))
        except (msgspec.ValidationError, OverflowError):
            return None
        return None if self._in_doubt(values) else values

    def _form_faults(self, row: Any, where: str, hints: int) -> Iterator[Fault]:
        """What JSON alone says: fields that are unknown, lack, or hold a value of another kind.

        ``hints``: for so many unknown fields the closest one is looked for, which costs more than all the rest.
        """
        if not isinstance(row, Mapping):
            what, wanted = kind_of_json(row), "an object with one member for each field"
            yield Breach.FORM, _NO_COLUMN, Problem(what, expected=wanted, where=where)
            return
        unknown = [name for name in row if name not in self.known]
        for place, name in enumerate(unknown[:MOST_PROBLEMS]):
            close = nearest(name, self.known - row.keys()) if place < hints and len(name) <= SHOWN else None
            hint = f"; did you mean {close!r}?" if close else ""
            yield Breach.UNKNOWN, _NO_COLUMN, Problem(f"unknown field{hint}", where=path_of(where, short(name)))
        if len(unknown) > MOST_PROBLEMS:
            more = len(unknown) - MOST_PROBLEMS
            yield Breach.UNKNOWN, _NO_COLUMN, Problem(f"{more:,} more unknown fields", where=where)
        for field in self.fields:
            if field.name not in row:
                if field.required:
                    yield Breach.MISSING, (field.name,), _at_field("missing field", field, where)
            elif fault := kind_fault(row[field.name], field):
                yield Breach.TYPE, (field.name,), _at_field(fault, field, where)

    def _mend(self, work: _Work) -> None:
        """The rows in doubt as the cleaning plan reads them, those of one form in one frame."""
        plan, optional = self._predictor.cleaning, self._predictor.optional
        columns, unread = self._predictor.contract.contract.columns, {*self.kept, *self.ignored}
        numbers = {name for name, column in columns.items() if column.type is ColumnType.NUMBER}
        for form, places in alike(work.doubtful, numbers).items():
            kinds = [(name, kind) for name, kind in form if name in columns and name not in unread]
            given = {name: series_of(name, kind, [work.doubtful[at][name] for at in places]) for name, kind in kinds}
            frame = pl.DataFrame(given)
            keys = self._keys & given.keys()  # where these are given they have to be readable
            raw = frame if work.hidden else self._predictor.hidden(frame)
            clean, found = plan.apply_rows(raw, optional=optional - keys)
            nobody = {f"{name}: missing" for name in keys}
            for at, values, reasons in zip(places, clean.rows(named=True), found.to_list(), strict=True):
                told = [reason for reason in reasons or () if reason not in nobody]
                if told:
                    work.refuse(at, [self._as_fault(reason, work.places[at]) for reason in told])
                else:
                    work.rows[at] = self._as_row(values, work.doubtful[at])

    def _as_row(self, clean: Mapping[str, Any], raw: Mapping[str, Any]) -> Row:
        """Clean values in the reader's order, with who and when as they came."""
        known = (plain(clean.get(field.name, raw.get(field.name))) for field in self.fields)
        return (*known, *(raw.get(name) for name in (*self.kept, *self.ignored)))

    def _as_fault(self, reason: str, where: str) -> Fault:
        """A reason of the plan at its field; one of a rule stands for the whole row."""
        breach, columns = self._predictor.cleaning.told(reason)
        field = None if breach is Breach.RULE else self._field.get(columns[0])
        if field is None:
            return breach, columns, Problem(reason, where=where)
        return breach, columns, _at_field(reason.removeprefix(f"{field.name}: "), field, where)

    # --- features that look at the past -------------------------------------------------------------------------

    def _with_past(self, row: Row, place: int, work: _Work) -> Row | None:
        """Aggregates as the row gives them, all or none; without any they are what a first row has."""
        given = [at for at in self._aggregates if row[at] is not None]
        if len(given) == len(self._aggregates):
            return row
        if given:
            named = ", ".join(self.fields[at].name for at in given)
            missing = tuple(self.fields[at].name for at in self._aggregates if row[at] is None)
            what, wanted = f"gives {named} but not {', '.join(missing)}", "all features of the past, or none"
            work.refuse(place, [(Breach.MISSING, missing, Problem(what, expected=wanted, where=work.places[place]))])
            return None
        values = list(row)
        for at, value in zip(self._aggregates, self._sought(row, place, work), strict=True):
            values[at] = value
        return tuple(values)

    def _sought(self, row: Row, place: int, work: _Work) -> Sequence[float | None]:
        """The features of the past from what is kept; where there is no past, what they are for a first row."""
        if self._seeker is None:
            return self._first
        try:
            return self._seeker.values(row) or self._first
        except TooOld:
            what, wanted = (
                "further back than the past of its entity is kept",
                "a later time, or all features of the past",
            )
            time = self.contract.time
            problem = Problem(what, expected=wanted, where=path_of(work.places[place], time))
            work.refuse(place, [(Breach.RANGE, (time,), problem)])
            return self._first

    def _first_row(self) -> tuple[float | None, ...]:
        """What the features of the past are for a row without any."""
        columns = self._predictor.contract.contract.columns
        frame = pl.DataFrame({name: pl.Series(name, [None], dtype=pl.String) for name in columns})
        clean, _ = self._predictor.prepare(frame)
        return tuple(clean.get_column(self.fields[at].name).item() for at in self._aggregates)


def _not_quickly(_given: Any) -> Any:
    raise msgspec.ValidationError("it is read as plain JSON")


def _at_field(what: str, field: Field, where: str) -> Problem:
    return Problem(what, expected=field.expected, where=path_of(where, field.name))


def _given(name: str) -> Field:
    """A feature of the past that the caller may know."""
    return Field(name, "number", float | None, required=False, doubt=None, expected="a number")


def _sentence(rows: int) -> str:
    return "the row does not meet the contract" if rows == 1 else "rows do not meet the contract"
