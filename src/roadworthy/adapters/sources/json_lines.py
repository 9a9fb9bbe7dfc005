"""NDJSON: one JSON object a line, typed by what all lines hold.

In: a path. Out: a ``Part``. The first pass decodes every line, so that types are decided by the whole file and
a broken line is named by number; the second builds rows. A column's type: whole numbers Int64, numbers Float64,
true and false Boolean, text String; a column of mixed kinds is text, each value in its JSON form; an object or
a list stays as its JSON text. A key that a line lacks is null there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from roadworthy.adapters.sources.encodings import TextFile, find_encoding
from roadworthy.adapters.sources.files import lazy_batches, require_rows
from roadworthy.errors import Problem, SourceError

__all__ = ["NdjsonPart"]

_BATCH_ROWS = 50_000
_SHOWN = 5
_MARK = b"\xef\xbb\xbf"
_INT64 = 1 << 63
_Types = dict[str, set[type]]


class NdjsonPart:
    """One NDJSON file, perhaps packed with gzip."""

    def __init__(self, file: TextFile) -> None:
        self._file = file

    @cached_property
    def _types(self) -> _Types:
        find_encoding(self._file, "utf-8")
        return _survey(self._file)

    def schema(self) -> dict[str, pl.DataType]:
        """Columns in the order of their first appearance."""
        return {name: _dtype(kinds) for name, kinds in self._types.items()}

    def scan(self) -> pl.LazyFrame:
        """The rows."""
        return lazy_batches(self.schema(), self._batches)

    def notes(self) -> tuple[str, ...]:
        """Columns that had to become text."""
        mixed = [name for name, kinds in self._types.items() if _is_text(kinds) and kinds - {str, type(None)}]
        return (f"kept as JSON text (mixed or nested values): {', '.join(mixed)}",) if mixed else ()

    def _batches(self, wanted: list[str] | None) -> Iterator[pl.DataFrame]:
        schema = self.schema() if not wanted else {name: _dtype(self._types[name]) for name in wanted}
        written = {name for name in schema if _is_text(self._types[name])}
        return require_rows(self._frames(schema, written), str(self._file), "one JSON object a line")

    def _frames(self, schema: dict[str, pl.DataType], written: set[str]) -> Iterator[pl.DataFrame]:
        decoder = msgspec.json.Decoder(dict[str, Any])
        with self._file.open() as stream:
            lines = (line for line in map(_content, stream) if line)
            while piece := list(islice(lines, _BATCH_ROWS)):
                rows = list(map(decoder.decode, piece))
                yield pl.DataFrame(
                    {
                        name: _column(name, [row.get(name) for row in rows], dtype, written=name in written)
                        for name, dtype in schema.items()
                    }
                )


def _content(line: bytes) -> bytes:
    return line.removeprefix(_MARK).strip()


def _column(name: str, values: list[Any], dtype: pl.DataType, *, written: bool) -> pl.Series:
    if written:
        values = [value if value is None or isinstance(value, str) else _json_text(value) for value in values]
    elif dtype == pl.Float64():
        values = [None if value is None else float(value) for value in values]
    return pl.Series(name, values, dtype=dtype)


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _is_text(kinds: set[type]) -> bool:
    kinds = kinds - {type(None)}
    return not (kinds <= {int, float} or kinds == {bool}) or not kinds


def _dtype(kinds: set[type]) -> pl.DataType:
    kinds = kinds - {type(None)}
    if _is_text(kinds):
        return pl.String()
    if kinds == {bool}:
        return pl.Boolean()
    return pl.Int64() if kinds == {int} else pl.Float64()


def _survey(file: TextFile) -> _Types:
    """Every key with the kinds of its values. SourceError lists the lines that are no JSON object."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    types: _Types = {}
    problems: list[Problem] = []
    broken: Counter[str] = Counter()
    with file.open() as stream:
        for number, line in enumerate(stream, start=1):
            content = _content(line)
            if not content:
                continue
            try:
                row = decoder.decode(content)
            except msgspec.DecodeError as error:
                broken["lines"] += 1
                if len(problems) < _SHOWN:
                    reason = "no JSON object" if isinstance(error, msgspec.ValidationError) else "broken JSON"
                    problems.append(Problem(reason, where=f"{file}, line {number}", expected="one JSON object"))
                continue
            for name, value in row.items():
                kind = float if type(value) is int and not -_INT64 <= value < _INT64 else type(value)
                types.setdefault(name, set()).add(kind)
    if problems:
        count = broken["lines"]
        raise SourceError(
            f"{file}: {count} line{' is' if count == 1 else 's are'} not a JSON object",
            problems=problems,
            next_step="mend or remove these lines; a file with one JSON array must be written one object a line",
        )
    return types
