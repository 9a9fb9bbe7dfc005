"""Which encoding a text file is in, proven on all of its bytes.

In: a file and, perhaps, a declared encoding. Out: an ``Encoding`` under which every byte decodes, or a
SourceError that names the line. Order of belief: what is declared, a byte order mark, UTF-8, then
Windows-1252, then Latin-1, which takes any byte.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from roadworthy.errors import Problem, SourceError

__all__ = ["Encoding", "LocalText", "TextFile", "find_encoding"]

_CHUNK = 1 << 22
_MARKS = (  # the longer mark first: UTF-16's is the beginning of UTF-32's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """``name`` as Python knows it; ``quotes`` how many quotation marks the file holds; notes for a person."""

    name: str
    quotes: int
    notes: tuple[str, ...] = ()


class TextFile(Protocol):
    """Text somewhere; ``str(file)`` is what a person may read about where."""

    def open(self) -> IO[bytes]:
        """Its bytes from the beginning, unpacked."""
        ...


class LocalText:
    """A text file on disk, unpacked when its name ends in ``.gz``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def open(self) -> IO[bytes]:
        """The file's bytes."""
        packed = self._path.suffix == ".gz"
        return cast("IO[bytes]", gzip.open(self._path)) if packed else self._path.open("rb")


def find_encoding(file: TextFile, declared: str | None) -> Encoding:
    """The encoding of a text file; SourceError when the declared one does not fit, or it is no text at all."""
    with _reading(file) as stream:
        head = stream.read(_CHUNK)
    if not head.strip(b"\x00\t\r\n \xef\xbb\xbf\xff\xfe"):
        raise SourceError(
            f"{file} is empty",
            problems=(Problem(f"{len(head)} bytes, none of them data", where=str(file), expected="rows"),),
            next_step="export the data again, or name another file in [data] source",
        )
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if declared is not None:
        return _declared(file, declared, marked)
    if marked is not None:
        fault, quotes = _survey(file, marked)
        if fault is not None:
            raise _undecodable(file, marked, fault, None)
        notes = () if marked == "utf-8-sig" else (f"encoding {marked.upper()} by its byte order mark",)
        return Encoding(marked, quotes, notes)
    if b"\x00" in head:
        raise SourceError(
            f"{file} is not text",
            problems=(Problem("zero bytes", where=str(file), expected="CSV or NDJSON text"),),
            next_step='declare the encoding if it is text: source = { path = "…", encoding = "utf-16-le" }',
        )
    return _guessed(file)


def _declared(file: TextFile, declared: str, marked: str | None) -> Encoding:
    try:
        name = codecs.lookup(declared).name
    except LookupError as error:
        raise SourceError(
            f"[data] source: there is no encoding {declared!r}",
            problems=(Problem(repr(declared), expected="utf-8, utf-16, cp1252, latin-1 or another Python knows"),),
            next_step="mend encoding in [data] source, or leave it out",
        ) from error
    if name == "utf-8" and marked == "utf-8-sig":
        name = "utf-8-sig"
    fault, quotes = _survey(file, name)
    if fault is not None:
        raise _undecodable(file, declared, fault, marked or _guessed(file).name)
    return Encoding(name, quotes)


def _guessed(file: TextFile) -> Encoding:
    fault, quotes = _survey(file, "utf-8")
    if fault is None:
        return Encoding("utf-8", quotes)
    line, byte = fault
    windows, quotes = _survey(file, "cp1252")
    name, title = ("cp1252", "Windows-1252") if windows is None else ("latin-1", "Latin-1")
    if windows is not None:
        _, quotes = _survey(file, "latin-1")
    note = f"encoding {title}: line {line} is not UTF-8 (byte 0x{byte:02X}); declare another in [data] source if wrong"
    return Encoding(name, quotes, (note,))


def _undecodable(file: TextFile, name: str, fault: tuple[int, int], other: str | None) -> SourceError:
    line, byte = fault
    hint = other or ""
    advice = f'source = {{ path = "…", encoding = "{hint}" }}' if hint else "export the file again as UTF-8"
    return SourceError(
        f"{file} is not {name}",
        problems=(Problem(f"byte 0x{byte:02X}", where=f"{file}, line {line}", expected=f"text in {name}"),),
        next_step=advice,
    )


def _survey(file: TextFile, encoding: str) -> tuple[tuple[int, int] | None, int]:
    """The line and value of the first byte that does not decode, if any; the number of quotation marks."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines, quotes = 1, 0
    plain = encoding in {"utf-8", "cp1252", "latin-1", "iso8859-1"}
    pending = False
    for chunk in _chunks(file):
        quotes += chunk.count(b'"')
        if plain and not pending and chunk.isascii():
            lines += chunk.count(b"\n")
            continue
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return (lines + error.object[: error.start].count(b"\n"), error.object[error.start]), quotes
        lines += chunk.count(b"\n")
        pending = bool(decoder.getstate()[0])
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return (lines, error.object[error.start]), quotes
    return None, quotes


def _chunks(file: TextFile) -> Iterator[bytes]:
    with _reading(file) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


class _reading:  # noqa: N801 - a context manager that reads as a verb
    """Open for reading; what the operating system or gzip reports becomes a SourceError."""

    def __init__(self, file: TextFile) -> None:
        self._file = file

    def __enter__(self) -> IO[bytes]:
        try:
            self._stream = self._file.open()
        except OSError as error:
            raise self._unreadable(error) from error
        return self._stream

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._stream.close()
        if isinstance(error, (OSError, EOFError, zlib.error)):
            raise self._unreadable(error) from error

    def _unreadable(self, error: BaseException) -> SourceError:
        return SourceError(
            f"{self._file} cannot be read",
            problems=(Problem(str(error), where=str(self._file), expected="a whole, readable file"),),
            next_step="see that the file is there, whole, and that you may read it",
        )
