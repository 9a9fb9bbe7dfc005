"""The laws of ``protocols.Source``, as a check that any implementation can be put through."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
from polars.testing import assert_frame_equal

from roadworthy.protocols import Source
from roadworthy.testing.failure import ConformanceError, require

__all__ = ["check_source"]


def check_source(make: Callable[[], Source], *, secrets: Sequence[str] = ()) -> None:
    """Check a source: ``make()`` gives a fresh one over the same rows each time, at least one row.

    Laws: the fingerprint is a digest, the same for the same rows and after reading; ``scan`` gives the same rows
    in the same order each time, streamed or not, whole, by column or by its first rows; column names are unique
    texts; ``describe`` and ``notes`` are texts without any of ``secrets``. Raises ConformanceError.
    """
    source, again = make(), make()
    require(isinstance(source, Source), "a source has describe, fingerprint, scan and notes")
    fingerprint = source.fingerprint()
    require(fingerprint.startswith("sha256:") and len(fingerprint) == 71, "a fingerprint is a sha256 digest")
    rows = source.scan()
    require(isinstance(rows, pl.LazyFrame), "scan gives a LazyFrame")
    names = rows.collect_schema().names()
    require(len(names) > 0 and all(names), "every column has a name")
    whole = rows.collect()
    require(len(whole) > 0, "a source without rows raises SourceError instead")
    require(whole.columns == names, "the rows have the columns that the schema promises")
    require(dict(whole.schema) == dict(rows.collect_schema()), "the rows have the types that the schema promises")
    _same(whole, source.scan().collect(), "scanning twice gives the same rows")
    _same(whole, source.scan().collect(engine="streaming"), "streaming gives the same rows")
    _same(whole, again.scan().collect(), "another source over the same rows gives the same rows")
    _same(whole.select(names[-1]), source.scan().select(names[-1]).collect(), "a column alone is the same column")
    _same(whole.head(1), source.scan().head(1).collect(), "the first row alone is the first row")
    counted = source.scan().select(pl.len()).collect().item()
    require(counted == len(whole), "counting gives the number of rows")
    require(source.fingerprint() == fingerprint, "reading does not change the fingerprint")
    require(again.fingerprint() == fingerprint, "the same rows have the same fingerprint")
    _check_texts(source, secrets)


def _check_texts(source: Source, secrets: Sequence[str]) -> None:
    notes = source.notes()
    require(type(notes) is tuple and {str}.issuperset(map(type, notes)), "notes are a tuple of texts")
    require(bool(source.describe().strip()), "describe says where the rows come from")
    for secret in secrets:
        shown = " ".join((source.describe(), *notes))
        require(secret not in shown, "no secret is shown")


def _same(expected: pl.DataFrame, found: pl.DataFrame, law: str) -> None:
    try:
        assert_frame_equal(expected, found)
    except AssertionError as error:
        raise ConformanceError(law) from error
