"""How a delimited text file is laid out: delimiter, header, column names. Declared, or taken from a sample.

In: the first rows of a file and what is declared. Out: a ``Layout``, with a note for everything that was taken
and not declared. The sample is read by the standard library's ``csv``, whose quoting rules are RFC 4180's.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from roadworthy.adapters.sources.encodings import Encoding, TextFile
from roadworthy.errors import Problem, SourceError

__all__ = ["ALIGNED", "CsvOptions", "Layout", "find_layout", "numbered_rows"]

ALIGNED = " "  # fields apart by any run of spaces and tabs
_DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", ALIGNED: "runs of spaces"}
_FIELD = re.compile(r"\"([^\"]*)\"|'([^']*)'(?=\s|$)|(\S+)")
_NUMBER_OR_DATE = re.compile(
    r"[-+]?[\d.,\s]*\d[.,]?([eE][-+]?\d+)?%?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|nan|inf", re.IGNORECASE
)
_NAME = re.compile(r"(?!(?:na|nan|n/a|nil|inf|null|none|missing|unknown)$)[^\W\d].*", re.IGNORECASE | re.DOTALL)
_GAP = re.compile(r"\S {2,}\S")
_SAMPLE_BYTES = 1 << 18
_SAMPLE_ROWS = 300
_RECURRING = 0.5  # a first row half of whose cells come again in their own columns is data


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """What is declared of a delimited file; None and () are: find out."""

    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """All that reading needs. ``header_lines`` lines stand before the first row of data."""

    delimiter: str
    encoding: str
    names: tuple[str, ...]
    header_lines: int
    quotes: int
    notes: tuple[str, ...]


def numbered_rows(text: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row's fields with the line on which it ends; blank lines are passed over, as in reading.

    Raises ``csv.Error`` where a field is too long for a sane file.
    """
    if delimiter == ALIGNED:
        for line, content in enumerate(text, start=1):
            if fields := [a or b or c for a, b, c in _FIELD.findall(content)]:
                yield line, fields
        return
    reader = csv.reader(text, delimiter=delimiter)
    for fields in reader:
        if fields:
            yield reader.line_num, fields


def find_layout(file: TextFile, encoding: Encoding, options: CsvOptions) -> Layout:
    """The layout of one file. SourceError for a header without rows and for duplicate column names."""
    text, whole = _sample(file, encoding.name)
    delimiter = options.delimiter if options.delimiter is not None else _delimiter(text, whole=whole)
    rows = _rows(text, delimiter, whole=whole)
    if not rows:
        raise SourceError(
            f"{file} has no rows that can be read",
            problems=(Problem("a first row longer than 256 kB", where=str(file), expected="delimited text"),),
            next_step="see that the file is text with one row a line",
        )
    notes = list(encoding.notes)
    if options.delimiter is None and delimiter != "," and len(rows[0][1]) > 1:
        notes.append(f"delimiter taken: {_DELIMITERS.get(delimiter, repr(delimiter))}")
    header = options.header if options.header is not None else not options.columns and _has_header(rows)
    if options.header is None and not options.columns:
        taken = "the first row as column names" if header else "no header: columns are named column_1, column_2, …"
        notes.append(f"header taken: {taken}" if header else f"{taken} (declare header = true if the first row is one)")
    first_line, first = rows[0]
    names, remarks = _names(file, first, options.columns, header=header)
    if header and whole and len(rows) == 1:
        raise SourceError(
            f"{file} has a header and no rows",
            problems=(Problem(f"{len(first)} column names, 0 rows", where=str(file), expected="rows below them"),),
            next_step="export the data again; if the one line is data, declare header = false in [data] source",
        )
    return Layout(delimiter, encoding.name, names, first_line if header else 0, encoding.quotes, (*notes, *remarks))


def _sample(file: TextFile, encoding: str) -> tuple[str, bool]:
    """The file's beginning as text, and whether that is all of it."""
    with file.open() as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        sample = text.read(_SAMPLE_BYTES)
        return sample.removeprefix("\ufeff"), not text.read(1)


def _rows(text: str, delimiter: str, *, whole: bool) -> list[tuple[int, list[str]]]:
    """The sample's rows; the last one is left out where the sample cuts it."""
    try:
        rows = list(islice(numbered_rows(io.StringIO(text, newline=""), delimiter), _SAMPLE_ROWS))
    except csv.Error:
        return []
    return rows if whole or len(rows) == _SAMPLE_ROWS else rows[:-1]


def _delimiter(text: str, *, whole: bool) -> str:
    """The delimiter under which most rows have the same number of fields, the first row among them."""
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        counts = [len(fields) for _, fields in _rows(text, delimiter, whole=whole)]
        if not counts:
            continue
        usual, times = Counter(counts).most_common(1)[0]
        if usual < 2 or (delimiter == ALIGNED and times < len(counts)):
            continue
        score = times / len(counts) + (0.5 if counts[0] == usual else 0.0) - (0.6 if delimiter == ALIGNED else 0.0)
        if score > best_score:
            best, best_score = delimiter, score
    return ALIGNED if best == "\t" and _aligned(text, whole=whole) else best


def _aligned(text: str, *, whole: bool) -> bool:
    """Whether columns stand apart by several spaces, with a tab only here and there."""
    rows = [fields for _, fields in _rows(text, ALIGNED, whole=whole)]
    tabbed = [fields for _, fields in _rows(text, "\t", whole=whole)]
    spaced = all(any(_GAP.search(cell) for cell in fields) for fields in tabbed)
    return spaced and len({len(fields) for fields in rows}) == 1


def _has_header(rows: list[tuple[int, list[str]]]) -> bool:
    """Whether the first row names columns.

    It does when a word stands over a column of numbers. Else it does not when it holds a number or a date, or
    when half of its cells come again below them.
    """
    first, below = rows[0][1], [fields for _, fields in rows[1:]]
    named = [(place, cell.strip()) for place, cell in enumerate(first) if cell.strip()]
    if not named or any(_NAME.fullmatch(cell) and _only_numbers(below, place) for place, cell in named):
        return bool(named)
    if any(_NUMBER_OR_DATE.fullmatch(cell) for _, cell in named):
        return False
    again = sum(any(place < len(fields) and fields[place].strip() == cell for fields in below) for place, cell in named)
    return again < _RECURRING * len(named)


def _only_numbers(rows: list[list[str]], place: int) -> bool:
    cells = [fields[place].strip() for fields in rows if place < len(fields) and fields[place].strip()]
    return bool(cells) and all(_NUMBER_OR_DATE.fullmatch(cell) for cell in cells)


def _names(
    file: TextFile, first: list[str], declared: tuple[str, ...], *, header: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Column names, and what had to be done to get them."""
    if declared and len(declared) != len(first):
        raise SourceError(
            f"{file}: columns in [data] source names {len(declared)} columns",
            problems=(Problem(f"{len(first)} fields", where=f"{file}, line 1", expected=f"{len(declared)} fields"),),
            next_step="name every column once, in the file's order",
        )
    written = declared or (tuple(first) if header else ())
    if not written:
        return tuple(f"column_{place}" for place in range(1, len(first) + 1)), ()
    names = tuple(name.strip() or f"column_{place}" for place, name in enumerate(written, start=1))
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        problems = [
            Problem(
                f"{name!r} stands {names.count(name)} times",
                where=f"{file}, line 1, columns {', '.join(str(i) for i, n in enumerate(names, 1) if n == name)}",
                expected="every name once",
            )
            for name in repeated
        ]
        raise SourceError(
            f"{file} has duplicate column names",
            problems=problems,
            next_step='rename them, or declare source = { path = "…", header = true, columns = ["…"] }',
        )
    unnamed = [name for name, raw in zip(names, written, strict=True) if not raw.strip()]
    remarks = (f"columns without a name were named {', '.join(unnamed)}",) if unnamed else ()
    return names, remarks
