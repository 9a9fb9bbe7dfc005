"""What cleaning hands back: lazy tables and plain counts."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

__all__ = ["CleaningCounts", "CleaningResult"]


@dataclass(frozen=True, slots=True)
class CleaningCounts:
    """Counts of one pass over the raw rows.

    ``rows_in == rows + quarantined``. ``reasons`` counts rows by reason (a row may have several), ``repairs``
    cells by repair; both hold only what occurred. ``notes`` are sentences for people.
    """

    rows_in: int
    rows: int
    quarantined: int
    reasons: dict[str, int]
    repairs: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CleaningResult:
    """The two halves of the raw rows, lazily.

    ``kept``: ``_row`` (Int64) and the contract's columns, typed, in the contract's order. ``quarantined``: every
    raw column as it came, ``_row``, and ``_reasons`` (list of texts). ``notes`` are sentences for people.
    """

    kept: pl.LazyFrame
    quarantined: pl.LazyFrame
    notes: tuple[str, ...] = ()
