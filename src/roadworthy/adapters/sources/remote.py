"""Object stores: Parquet, Arrow, CSV and NDJSON behind s3://, gs:// and az:// URLs.

In: a URL and storage options. Out: a ``Source`` over Polars' own reader of object stores. Text formats are
fetched line by line and parsed by the same code as local files, so a short row is refused here too. The
fingerprint is the digest of the rows, which are read in pieces. Laws: keys and tokens stand in no message;
nothing is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import IO, Any, cast
from urllib.parse import quote

import polars as pl

from roadworthy.adapters.sources.delimited import DelimitedPart
from roadworthy.adapters.sources.dialects import CsvOptions
from roadworthy.adapters.sources.files import Part
from roadworthy.adapters.sources.json_lines import NdjsonPart
from roadworthy.adapters.sources.masking import masked_object
from roadworthy.adapters.sources.row_digest import digest_rows
from roadworthy.errors import Problem, RoadworthyError, SourceError
from roadworthy.records.digests import Digest, digest_data

__all__ = ["RemoteSource", "is_object_url"]

_OBJECT_URL = re.compile(r"(s3a?|gs|gcs|az|abfss?|adl)://")
_TOLD_URL = re.compile(r"\w+://[^\s'\"]+")
_TOO_SHORT = 3  # a word of three letters stands in every sentence


def is_object_url(url: str) -> bool:
    """Whether the URL names something in an object store."""
    return _OBJECT_URL.match(url) is not None


class RemoteSource:
    """The rows of one object; for Parquet, Arrow and NDJSON also of all that a glob matches.

    ``kind`` is parquet, arrow, csv or ndjson; ``options`` are Polars' storage options. ``declared`` is the URL as
    a person wrote it, before environment variables took their places in it; ``secrets`` are those variables' values.
    """

    def __init__(  # noqa: PLR0917 - the object, how it is read, then how it is told of
        self,
        url: str,
        kind: str,
        csv_options: CsvOptions,
        options: dict[str, str],
        declared: str = "",
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._url = url
        self._declared = declared or url
        self._secrets = secrets
        self._kind = kind
        self._csv_options = csv_options
        self._options = options
        if kind == "csv" and any(mark in PurePosixPath(url).name for mark in "*?["):
            raise SourceError(
                f"{self.describe()}: a glob over CSV objects cannot be told apart into files",
                problems=(Problem("a glob", where=self.describe(), expected="one CSV object"),),
                next_step="name one object, or keep the rows as Parquet",
            )

    def describe(self) -> str:
        """The URL as declared, without credentials."""
        return masked_object(self._declared)

    def fingerprint(self) -> Digest:
        """Digest of the rows, read anew each time."""
        try:
            rows = digest_rows(self.scan())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._failure(error) from None  # the cause may hold keys
        return digest_data({"kind": self._kind, "rows": rows})

    def scan(self) -> pl.LazyFrame:
        """The rows: text for CSV, the objects' own types otherwise."""
        return self._opened

    def notes(self) -> tuple[str, ...]:
        """What was taken and not declared."""
        return () if self._part is None else self._part.notes()

    @cached_property
    def _part(self) -> Part | None:
        text = _RemoteText(self.describe(), pl.scan_lines(self._url, storage_options=self._storage), self._failure)
        if self._kind == "csv":
            return DelimitedPart(text, self._csv_options)
        return NdjsonPart(text) if self._kind == "ndjson" else None

    @cached_property
    def _opened(self) -> pl.LazyFrame:
        if self._part is not None:
            return self._part.scan()
        scan: Any = pl.scan_parquet if self._kind == "parquet" else pl.scan_ipc
        try:
            rows: pl.LazyFrame = scan(self._url, storage_options=self._storage)
            rows.collect_schema()
            count = rows.select(pl.len()).collect().item()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._failure(error) from None  # the cause may hold keys
        if count == 0:
            raise SourceError(
                f"{self.describe()} has no rows",
                problems=(Problem("0 rows", where=self.describe(), expected="at least one row"),),
                next_step="name another object in [data] source",
            )
        return rows

    @property
    def _storage(self) -> Any:
        return self._options or None

    def _failure(self, error: Exception) -> RoadworthyError:
        if isinstance(error, RoadworthyError):
            return error
        reason = (str(error).splitlines() or ["no reason given"])[0].replace(self._url, self.describe())
        for secret in (*self._secrets, *_credentials(self._url), *self._options.values()):
            if len(secret) > _TOO_SHORT:
                for written in (secret, quote(secret), quote(secret, safe="")):
                    reason = reason.replace(written, "***")
        reason = _TOLD_URL.sub(lambda match: masked_object(match[0]), reason)[:300]
        return SourceError(
            f"{self.describe()} cannot be read",
            problems=(Problem(reason, where=self.describe(), expected=f"a {self._kind} object"),),
            next_step="see that the object exists and that storage_options (or the environment) grant reading",
        )


def _credentials(url: str) -> list[str]:
    """The pieces of a URL that may be secret: all before the last @, and the values of its query."""
    rest = url.partition("://")[2]
    user, _, place = rest.rpartition("@")
    values = [pair.partition("=")[2] for pair in place.partition("?")[2].split("&")]
    return [user, *user.split(":"), *values]


class _RemoteText:
    """The lines of a remote text object as a file."""

    def __init__(self, shown: str, lines: pl.LazyFrame, failure: Any) -> None:
        self._shown = shown
        self._lines = lines
        self._failure = failure

    def __str__(self) -> str:
        return self._shown

    def open(self) -> IO[bytes]:
        """The bytes, fetched while they are read."""
        return cast("IO[bytes]", io.BufferedReader(_LineStream(self._pieces()), 1 << 20))

    def _pieces(self) -> Iterator[bytes]:
        try:
            for piece in self._lines.collect_batches(chunk_size=1 << 16, maintain_order=True):
                yield ("\n".join(piece.to_series().to_list()) + "\n").encode()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._failure(error) from None  # the cause may hold keys


class _LineStream(io.RawIOBase):
    """A raw stream over pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
