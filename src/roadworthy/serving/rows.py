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

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from roadworthy.errors import DataError, Problem, nearest
from roadworthy.records.contract import ColumnType
from roadworthy.serving.fields import Field, field_of
from roadworthy.serving.predictor import BundlePredictor

__all__ = ["MOST_DEEP", "MOST_ROWS", "Row", "RowReader", "RowsRefused"]

MOST_ROWS = 10_000
"""Rows that one request may hold; ``roadworthy score`` takes files of any size."""

MOST_DEEP = 64
"""Brackets inside each other that a body may have; what a row needs is three."""

_MOST_PROBLEMS = 100
_SHOWN = 40
_NAME = re.compile(r"[^\W\d]\w*\Z", re.ASCII)

Row = tuple[Any, ...]
"""Clean values in the reader's order, None where missing: numbers, texts, times as written, what is kept, the rest.

All rows of a reader are of one length, so that those of several requests stand side by side in one batch.
"""


class RowsRefused(DataError):
    """Rows that do not meet the contract. ``syntax``: the body is no JSON of the expected form at all."""

    def __init__(self, message: str, problems: Sequence[Problem] = (), *, syntax: bool = False) -> None:
        shown = list(problems[:_MOST_PROBLEMS])
        if len(problems) > len(shown):
            shown.append(Problem(f"{len(problems) - len(shown)} more problems"))
        super().__init__(message, problems=shown)
        self.syntax = syntax


class RowReader:
    """Reads rows for one bundle.

    ``fields`` are those that the graph or a rule reads, numbers first, then texts, then times; ``kept`` are the columns
    that only tell who and when, and travel after them in each row. ``numbers`` is how many of the fields are numbers,
    and ``pack`` writes these, if none of them is missing, as doubles. ``ignored`` are columns that a row may hold, and
    that nothing looks at.
    """

    def __init__(self, predictor: BundlePredictor) -> None:
        self._predictor = predictor
        self.contract = contract = predictor.contract
        columns = contract.contract.columns
        aggregates = predictor.aggregates
        read = {name for name in contract.inputs if name in columns} | predictor.cleaning.looked_at - {contract.target}
        personal = frozenset(contract.personal)
        found = [
            field_of(name, columns[name], required=name not in predictor.optional, hide=name in personal)
            for name in columns
            if name in read
        ]
        found += [_given(name) for name in aggregates]
        self.fields = tuple(field for part in ("number", "text", "time") for field in found if field.part == part)
        self.kept = tuple(name for name in (contract.entity, contract.time) if name and name not in read)
        self.ignored = tuple(name for name in columns if name not in read and name not in self.kept)
        self.known = frozenset({*columns, *aggregates})
        self.numbers = sum(field.part == "number" for field in self.fields)
        self.pack = struct.Struct(f"{self.numbers}d").pack
        self._doubts = tuple((at, field.doubt) for at, field in enumerate(self.fields) if field.doubt is not None)
        self._aggregates = tuple(at for at, field in enumerate(self.fields) if field.name in aggregates)
        self._first = self._first_row() if aggregates else ()
        self._decode, self._convert = self._decoders()

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

    def take(self, rows: Sequence[Mapping[str, Any]], *, where: str = "rows") -> list[Row]:
        """The clean rows of plain JSON objects (or of columns that came in another form); raises RowsRefused."""
        problems: list[Problem] = []
        taken = [
            self._taken(row, f"{where}[{at}]" if len(rows) > 1 else where, problems) for at, row in enumerate(rows)
        ]
        if problems:
            raise RowsRefused(_sentence(len(rows)), problems)
        return [row for row in taken if row is not None]

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
        problems: list[Problem] = []
        settled: list[Row] = []
        for at, row in enumerate(rows):
            values: Row | None = row
            where = f"rows[{at}]" if len(rows) > 1 else "row"
            if self._in_doubt(row):
                values = self._mended(self.named(row), where, problems)
            if values is not None and self._aggregates:
                values = self._with_past(values, where, problems)
            settled.append(values or ())
        if problems:
            raise RowsRefused(_sentence(len(rows)), problems)
        return settled

    def _in_doubt(self, row: Row) -> bool:
        return any(row[at] is not None and doubt(row[at]) for at, doubt in self._doubts)

    # --- the thorough way ---------------------------------------------------------------------------------------

    def _read_slowly(self, body: bytes) -> list[Row]:
        rows, where = _plain_rows(body)
        return self.take(rows, where=where)

    def _taken(self, row: Any, where: str, problems: list[Problem]) -> Row | None:
        if not isinstance(row, Mapping):
            problems.append(Problem(_kind_of(row), expected="an object with one member for each field", where=where))
            return None
        before = len(problems)
        problems += self._form_problems(row, where)
        if len(problems) > before:
            return None
        quick = self._quick(row)
        taken = quick if quick is not None else self._mended(row, where, problems)
        return taken if taken is None or not self._aggregates else self._with_past(taken, where, problems)

    def _quick(self, row: Mapping[str, Any]) -> Row | None:
        try:
            values: Row = msgspec.structs.astuple(self._convert(dict(row)))
        except (msgspec.ValidationError, OverflowError):
            return None
        return None if self._in_doubt(values) else values

    def _form_problems(self, row: Mapping[str, Any], where: str) -> Iterable[Problem]:
        """What JSON alone says: fields that are unknown, lack, or hold a value of another kind."""
        for name in row:
            if name not in self.known:
                close = nearest(name, self.known - set(row))
                hint = f"; did you mean {close!r}?" if close else ""
                yield Problem(f"unknown field{hint}", where=_path(where, _short(name)))
        for field in self.fields:
            if field.name not in row:
                if field.required:
                    yield Problem("missing field", expected=field.expected, where=_path(where, field.name))
            elif fault := _fault(row[field.name], field):
                yield Problem(fault, expected=field.expected, where=_path(where, field.name))

    def _mended(self, row: Mapping[str, Any], where: str, problems: list[Problem]) -> Row | None:
        """The row as the cleaning plan reads it; None where it does not meet the contract."""
        plan, optional = self._predictor.cleaning, self._predictor.optional
        columns = self._predictor.contract.contract.columns
        given = {name: value for name, value in row.items() if name in columns and name not in self.ignored}
        frame = pl.DataFrame({name: _series(name, value, columns[name].type) for name, value in given.items()})
        clean, found = plan.apply_rows(self._predictor.hidden(frame), optional=optional)
        reasons = found.item()
        if reasons is not None:
            problems += [self._as_problem(reason, where) for reason in reasons]
            return None
        values = clean.row(0, named=True)
        known = (_plain(values.get(field.name, row.get(field.name))) for field in self.fields)
        return (*known, *(row.get(name) for name in (*self.kept, *self.ignored)))

    def _as_problem(self, reason: str, where: str) -> Problem:
        """A reason of the plan at its field; one of a rule stands for the whole row."""
        name, _, what = reason.partition(": ")
        field = next((field for field in self.fields if field.name == name), None)
        if field is None:
            return Problem(reason, where=where)
        return Problem(what, expected=field.expected, where=_path(where, name))

    # --- features that look at the past -------------------------------------------------------------------------

    def _with_past(self, row: Row, where: str, problems: list[Problem]) -> Row | None:
        """Aggregates as the row gives them, all or none; without any they are what a first row has."""
        given = [at for at in self._aggregates if row[at] is not None]
        if len(given) == len(self._aggregates):
            return row
        if given:
            named = ", ".join(self.fields[at].name for at in given)
            missing = ", ".join(self.fields[at].name for at in self._aggregates if row[at] is None)
            problems.append(
                Problem(f"gives {named} but not {missing}", expected="all features of the past, or none", where=where)
            )
            return None
        values = list(row)
        for at, value in zip(self._aggregates, self._first, strict=True):
            values[at] = value
        return tuple(values)

    def _first_row(self) -> tuple[float | None, ...]:
        """What the features of the past are for a row without any."""
        columns = self._predictor.contract.contract.columns
        frame = pl.DataFrame({name: pl.Series(name, [None], dtype=pl.String) for name in columns})
        clean, _ = self._predictor.prepare(frame)
        return tuple(clean.get_column(self.fields[at].name).item() for at in self._aggregates)


def _given(name: str) -> Field:
    """A feature of the past that the caller may know."""
    return Field(name, "number", float | None, required=False, doubt=None, expected="a number")


def _plain_rows(body: bytes) -> tuple[list[Any], str]:
    """The rows of a body as plain JSON, and what to call them; raises RowsRefused for one of another form."""
    if _depth(body) > MOST_DEEP:
        raise RowsRefused(f"the body nests more than {MOST_DEEP} deep", syntax=True)
    plain = _plain_json(body)
    form = '{"row": {…}} or {"rows": [{…}, …]}'
    if not isinstance(plain, dict) or len(plain) != 1 or not {"row", "rows"} & set(plain):
        found = (
            f"an object with {', '.join(map(_short, plain)) or 'nothing'}"
            if isinstance(plain, dict)
            else _kind_of(plain)
        )
        raise RowsRefused("the body has another form", [Problem(found, expected=form, where="body")], syntax=True)
    if "row" in plain:
        return [plain["row"]], "row"
    rows = plain["rows"]
    if not isinstance(rows, list):
        raise RowsRefused(
            "the body has another form", [Problem(_kind_of(rows), expected=form, where="rows")], syntax=True
        )
    if not 0 < len(rows) <= MOST_ROWS:
        wanted = Problem(f"{len(rows):,} rows", expected=f"1 to {MOST_ROWS:,} rows", where="rows")
        raise RowsRefused("the request has no row" if not rows else "the request has too many rows", [wanted])
    return rows, "rows"


def _plain_json(body: bytes) -> Any:
    """The body decoded; NaN, Infinity and numbers beyond a double come as such, for their fields to be named."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            found = "empty" if not body.strip() else f"not JSON: {error}"
            raise RowsRefused(f"the body is {found}", syntax=True) from error


def _depth(body: bytes) -> int:
    """An upper bound of how deep a body nests: brackets in texts count too."""
    opened = body.count(b"[") + body.count(b"{")
    if opened <= MOST_DEEP:
        return opened
    depth = deepest = 0
    for sign in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', body):
        if sign in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in b"]}":
            depth -= 1
    return deepest


def _fault(value: Any, field: Field) -> str:
    """What is wrong with the kind of a value; its content is the plan's to judge."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return _kind_of(value)
    if field.part != "number":
        wanted = isinstance(value, str) or (field.part == "time" and not isinstance(value, bool))
        return "" if wanted else _kind_of(value)
    boolean = field.expected.startswith("true")
    if isinstance(value, bool) is not boolean or isinstance(value, str):
        return _kind_of(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, which is no number in JSON"
    return "a whole number of too many digits" if isinstance(value, int) and abs(value) > 2**63 - 1 else ""


def _kind_of(value: Any) -> str:
    """What a JSON value is, without its content."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds: dict[type, str] = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")


def _series(name: str, value: Any, kind: ColumnType) -> pl.Series:
    if isinstance(value, float) and kind is ColumnType.INTEGER and value.is_integer() and abs(value) < 2**62:
        value = int(value)
    return pl.Series(name, [value], dtype=None if value is not None else pl.Null, strict=False)


def _plain(value: Any) -> Any:
    """A clean value as a row carries it: times as ISO text."""
    return value.isoformat() + "Z" if hasattr(value, "isoformat") else value


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if _NAME.match(name) else f"{where}[{name!r}]"


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"


def _sentence(rows: int) -> str:
    return "the row does not meet the contract" if rows == 1 else "rows do not meet the contract"
