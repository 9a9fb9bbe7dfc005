"""Files as one source: each file is a ``Part``; their rows follow each other in the order of their names.

In: parts of one format. Out: a ``Source`` whose fingerprint is made of the files' bytes. Law: parts have the
same columns, or every difference is listed per file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from polars.io.plugins import register_io_source

from roadworthy.errors import Problem, SourceError
from roadworthy.records.digests import Digest, digest_data, digest_file

__all__ = ["Batches", "FileSource", "Part", "lazy_batches", "require_rows"]

Batches = Callable[[list[str] | None], Iterator[pl.DataFrame]]
"""Called with the wanted columns (None: all), gives the rows in order, in pieces."""


class Part(Protocol):
    """One file: its columns, its rows, what was found while looking at it."""

    def schema(self) -> dict[str, pl.DataType]:
        """Column names and types in the file's order."""
        ...

    def scan(self) -> pl.LazyFrame:
        """The rows."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        ...


def lazy_batches(schema: dict[str, pl.DataType], batches: Batches) -> pl.LazyFrame:
    """A LazyFrame over pieces made in Python, so that Polars streams them without holding them all."""

    def produce(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = None if with_columns is None or predicate is not None else list(with_columns)
        left = n_rows
        for batch in batches(wanted):
            piece = batch if left is None else batch.head(left)
            if left is not None:
                left -= len(piece)
            if predicate is not None:
                piece = piece.filter(predicate)
            yield piece if with_columns is None else piece.select(with_columns)
            if left == 0:
                return

    return register_io_source(produce, schema=pl.Schema(schema))


def require_rows(batches: Iterator[pl.DataFrame], where: str, expected: str) -> Iterator[pl.DataFrame]:
    """The same pieces; SourceError when there was not one row in them."""
    rows = 0
    for batch in batches:
        rows += len(batch)
        yield batch
    if rows == 0:
        raise SourceError(f"{where} has no rows", problems=(Problem("no rows", where=where, expected=expected),))


class FileSource:
    """Rows of one or several files of one format.

    ``shown`` is what a person reads; ``options`` are the read options as plain data, part of the fingerprint.
    """

    def __init__(
        self, parts: Sequence[tuple[Path, Part]], *, shown: str, format_name: str, options: dict[str, Any]
    ) -> None:
        self._parts = tuple(parts)
        self._shown = shown
        self._format = format_name
        self._options = options
        self._digests: dict[tuple[str, int, int, int], Digest] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read, in their order."""
        return tuple(path for path, _ in self._parts)

    def describe(self) -> str:
        """The declared path, and how many files it stands for."""
        more = f" ({len(self._parts)} files)" if len(self._parts) > 1 else ""
        return self._shown + more

    def fingerprint(self) -> Digest:
        """Digest of the bytes of all files, in order, with the format and the read options.

        A file is read again only when its size, time or identity has changed since.
        """
        files = [self._digest(path) for path, _ in self._parts]
        return digest_data({"format": self._format, "options": self._options, "files": files})

    def scan(self) -> pl.LazyFrame:
        """All rows; SourceError when the files do not have the same columns."""
        if len(self._parts) == 1:
            return self._parts[0][1].scan()
        names = self._common_columns()
        return pl.concat([part.scan().select(names) for _, part in self._parts], how="vertical_relaxed")

    def notes(self) -> tuple[str, ...]:
        """The notes of the files; those that all files share are said once."""
        by_note: dict[str, list[str]] = {}
        for path, part in self._parts:
            for note in part.notes():
                by_note.setdefault(note, []).append(path.name)
        return tuple(
            note if len(names) == len(self._parts) else f"{', '.join(names)}: {note}" for note, names in by_note.items()
        )

    def parquet_path(self) -> Path | None:
        """The file itself where the source is one Parquet file, whose bytes are already a snapshot."""
        return self._parts[0][0] if self._format == "parquet" and len(self._parts) == 1 else None

    def _digest(self, path: Path) -> Digest:
        try:
            state = path.stat()
            key = (str(path), state.st_size, state.st_mtime_ns, state.st_ino)
            if key not in self._digests:
                self._digests[key] = digest_file(path)
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read: {error.strerror}",
                problems=(Problem(str(error.strerror), where=str(path), expected="a readable file"),),
                next_step="see that the file is there and that you may read it, then run the same command again",
            ) from error
        return self._digests[key]

    def _common_columns(self) -> list[str]:
        (first_path, first), *others = self._parts
        expected = first.schema()
        problems = [
            Problem(difference, where=str(path), expected=f"the columns of {first_path.name}")
            for path, part in others
            for difference in _differences(expected, part.schema())
        ]
        if problems:
            raise SourceError(
                f"the files of {self._shown} do not have the same columns",
                problems=problems,
                next_step="give every file the same columns, or narrow the path or glob in [data] source",
            )
        return list(expected)


def _differences(expected: dict[str, pl.DataType], found: dict[str, pl.DataType]) -> list[str]:
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    differences = []
    if missing:
        differences.append(f"lacks {', '.join(missing)}")
    if extra:
        differences.append(f"has also {', '.join(extra)}")
    differences.extend(
        f"column {name} is {found[name]}, not {expected[name]}"
        for name in expected
        if name in found and not _compatible(expected[name], found[name])
    )
    return differences


def _compatible(left: pl.DataType, right: pl.DataType) -> bool:
    return left == right or pl.Null in (left, right) or (left.is_numeric() and right.is_numeric())
