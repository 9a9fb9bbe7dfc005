"""Delimited text files, read in pieces, every column as text.

In: a path and what is declared of it. Out: a ``Part``. The parser is Arrow's, which counts the fields of every
row; only when it complains is the file read again, slowly, to name the lines. Law: a row with too few or too
many fields raises SourceError; no row is cut, padded or skipped (blank lines are no rows, except in a file of
one column, where they are missing values).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import cached_property
from itertools import islice

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from roadworthy.adapters.sources.dialects import ALIGNED, CsvOptions, Layout, find_layout, numbered_rows
from roadworthy.adapters.sources.encodings import TextFile, find_encoding
from roadworthy.adapters.sources.files import lazy_batches, require_rows
from roadworthy.errors import Problem, SourceError

__all__ = ["DelimitedPart"]

_BLOCK_BYTES = 8 << 20
_ALIGNED_ROWS = 50_000
_SHOWN = 5


class DelimitedPart:
    """One CSV file (or TSV, or any other delimiter), perhaps packed with gzip."""

    def __init__(self, file: TextFile, options: CsvOptions) -> None:
        self._file = file
        self._options = options

    @cached_property
    def _layout(self) -> Layout:
        return find_layout(self._file, find_encoding(self._file, self._options.encoding), self._options)

    def schema(self) -> dict[str, pl.DataType]:
        """Every column is text."""
        return {name: pl.String() for name in self._layout.names}

    def scan(self) -> pl.LazyFrame:
        """The rows as text; an unquoted empty field is null, a quoted one is empty text."""
        return lazy_batches(self.schema(), self._batches)

    def notes(self) -> tuple[str, ...]:
        """Encoding, delimiter and header, where they were taken and not declared."""
        return self._layout.notes

    def _batches(self, wanted: list[str] | None) -> Iterator[pl.DataFrame]:
        rows = _aligned_rows(self._file, self._layout) if self._layout.delimiter == ALIGNED else self._arrow(wanted)
        return require_rows(rows, str(self._file), "at least one row")

    def _arrow(self, wanted: list[str] | None) -> Iterator[pl.DataFrame]:
        layout = self._layout
        last: pl.DataFrame | None = None
        try:
            with self._file.open() as stream:
                reader = arrow_csv.open_csv(stream, *_arrow_options(layout, wanted))
                for batch in reader:
                    frame = pl.DataFrame(pl.from_arrow(batch))
                    last = frame if len(frame) else last
                    yield frame
        except pa.ArrowInvalid as error:
            raise _explained(self._file, layout, error) from error
        if layout.quotes % 2 and last is not None:
            _refuse_open_quote(self._file, last)


def _arrow_options(
    layout: Layout, wanted: list[str] | None
) -> tuple[arrow_csv.ReadOptions, arrow_csv.ParseOptions, arrow_csv.ConvertOptions]:
    utf8 = layout.encoding in {"utf-8", "utf-8-sig"}
    return (
        arrow_csv.ReadOptions(
            block_size=_BLOCK_BYTES,
            column_names=list(layout.names),
            skip_rows=layout.header_lines,
            encoding="utf8" if utf8 else layout.encoding,
        ),
        arrow_csv.ParseOptions(
            delimiter=layout.delimiter,
            newlines_in_values=layout.quotes > 0,
            ignore_empty_lines=len(layout.names) > 1,
        ),
        arrow_csv.ConvertOptions(
            column_types={name: pa.large_string() for name in layout.names},
            include_columns=wanted,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )


def _aligned_rows(file: TextFile, layout: Layout) -> Iterator[pl.DataFrame]:
    width = len(layout.names)
    schema = dict.fromkeys(layout.names, pl.String())
    with file.open() as stream, io.TextIOWrapper(stream, encoding=layout.encoding, newline="") as text:
        rows = (fields for line, fields in numbered_rows(text, ALIGNED) if line > layout.header_lines)
        while piece := list(islice(rows, _ALIGNED_ROWS)):
            if any(len(fields) != width for fields in piece):
                raise _ragged(file, layout)
            yield pl.DataFrame(piece, schema=schema, orient="row")


def _explained(file: TextFile, layout: Layout, error: pa.ArrowInvalid) -> SourceError:
    """Arrow's complaint with line numbers. Its own text holds cells, which may be personal, so it is not shown."""
    if "straddl" in str(error):
        return SourceError(
            f"{file} has a row longer than {_BLOCK_BYTES >> 20} MB",
            problems=(Problem("a row without an end", where=str(file), expected="one row a line"),),
            next_step="look for a quotation mark that is opened and never closed",
        )
    if "columns, got" in str(error):
        return _ragged(file, layout)
    kind = str(error).split(":", maxsplit=1)[0]
    return SourceError(
        f"{file} is not delimited text as it was taken to be",
        problems=(Problem(kind, where=str(file), expected=f"{len(layout.names)} fields a row"),),
        next_step="declare delimiter, encoding and header: " + _EXAMPLE,
    )


_EXAMPLE = 'source = { path = "…", delimiter = ";", encoding = "utf-8", header = true }'


def _ragged(file: TextFile, layout: Layout) -> SourceError:
    """Name the first few rows whose number of fields is not the header's, and count the rest."""
    width = len(layout.names)
    first: list[Problem] = []
    count = 0
    with file.open() as stream, io.TextIOWrapper(stream, encoding=layout.encoding, newline="") as text:
        try:
            for line, fields in numbered_rows(text, layout.delimiter):
                if line > layout.header_lines and len(fields) != width:
                    count += 1
                    if count <= _SHOWN:
                        place = f"{file}, line {line}"
                        first.append(Problem(f"{len(fields)} fields", where=place, expected=f"{width} fields"))
        except csv.Error:
            first.append(Problem("a field longer than 128 kB", where=str(file), expected="closed quotation marks"))
    rest = f"; the first {_SHOWN} are listed" if count > _SHOWN else ""
    rows = "row does" if count == 1 else "rows do"
    return SourceError(
        f"{file}: {count or 'some'} {rows} not have {width} fields{rest}",
        problems=first,
        next_step="mend or remove these lines; if the delimiter was taken wrongly, declare it: " + _EXAMPLE,
    )


def _refuse_open_quote(file: TextFile, last: pl.DataFrame) -> None:
    """A quotation mark that is never closed swallows the lines below it into one cell of the last row."""
    cells = [cell for cell in last.row(-1) if cell is not None]
    if any("\n" in cell or "\r" in cell for cell in cells):
        raise SourceError(
            f"{file} has a quotation mark that is never closed",
            problems=(Problem("the last row runs on over several lines", where=str(file), expected="a closing mark"),),
            next_step="close the quotation mark, or double it inside a quoted field",
        )
