"""Texts and numbers as instants: microseconds since 1970 in UTC, without a zone.

In: expressions over trimmed text or numbers. Out: ``Datetime("us")`` expressions, null where unreadable. ISO 8601
is read with or without a time of day, fraction and zone; a text without a zone is taken as UTC.
"""

from __future__ import annotations

import re
from datetime import datetime

import polars as pl

__all__ = ["EPOCHS", "format_problem", "in_range", "number_to_time", "text_to_time"]

EPOCHS: dict[str, int] = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
"""Microseconds per unit of each epoch format."""

_CLOCK = re.compile(r"%-?[HIklMSTRrcs+X]|%\.?[0-9]*f")
_DAY = re.compile(r"%-?[YyCGgscDFvx+]")
_ZONE = re.compile(r"%(?::{0,3}|#)z|%\+|%s")
_LIMIT_US = 2**62
_INSTANT = pl.Datetime("us")
_FIRST = datetime.min  # noqa: DTZ901 - clean times are UTC without a zone
_LAST = datetime.max  # noqa: DTZ901 - the same


def in_range(instant: pl.Expr) -> pl.Expr:
    """Whether the instant lies in the years 1 to 9999; what lies outside no calendar of people knows."""
    return instant.is_between(pl.lit(_FIRST, dtype=_INSTANT), pl.lit(_LAST, dtype=_INSTANT))


def format_problem(time_format: str) -> str:
    """Why the format cannot be used; empty when it can."""
    if "%" not in time_format:
        return "no field in it"
    if not _DAY.search(time_format):
        return "no year in it"
    probe = pl.Series(["x"], dtype=pl.String)
    try:
        _parsed(pl.lit(probe), time_format)
        pl.select(_parsed(pl.lit(probe), time_format))
    except pl.exceptions.PolarsError as error:
        return str(error).splitlines()[0]
    return ""


def text_to_time(text: pl.Expr, time_format: str) -> pl.Expr:
    """Trimmed text read by a chrono format, by an epoch unit, or as ISO 8601 when the format is empty."""
    if time_format in EPOCHS:
        return pl.coalesce(
            number_to_time(text.cast(pl.Int64, strict=False), time_format, whole=True),
            number_to_time(text.cast(pl.Float64, strict=False), time_format, whole=False),
        )
    if time_format:
        return _parsed(text, time_format)
    plain = text.str.replace(r"^(\d{4}-\d\d-\d\d)[Tt_]", "${1} ").str.replace(r"[Zz]$", "+00:00")
    return pl.coalesce(
        _parsed(plain, "%Y-%m-%d %H:%M:%S%.f"),
        _parsed(plain, "%Y-%m-%d"),
        _parsed(plain, "%Y-%m-%d %H:%M:%S%.f%#z"),
        _parsed(plain, "%Y-%m-%d %H:%M"),
        _parsed(plain, "%Y-%m-%d %H:%M%#z"),
    )


def number_to_time(number: pl.Expr, time_format: str, *, whole: bool) -> pl.Expr:
    """Numbers as instants by an epoch unit; null where not finite or out of range. ``whole``: an integer type."""
    scaled = number.cast(pl.Float64) * EPOCHS[time_format]
    exact = number.cast(pl.Int64, strict=False) * EPOCHS[time_format] if whole else scaled.round()
    return pl.when(scaled.abs() < _LIMIT_US).then(exact).cast(pl.Int64, strict=False).cast(_INSTANT)


def _parsed(text: pl.Expr, time_format: str) -> pl.Expr:
    if _ZONE.search(time_format):
        zoned = text.str.to_datetime(time_format, time_unit="us", time_zone="UTC", strict=False)
        return zoned.dt.replace_time_zone(None)
    if not _CLOCK.search(time_format):
        return text.str.to_date(time_format, strict=False).cast(_INSTANT)
    return text.str.to_datetime(time_format, time_unit="us", strict=False)
