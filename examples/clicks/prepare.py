"""A synthetic click log, made by the project: same seed and size, same bytes.

Nothing here was observed. Users come back over thirty days and see advertisements on a device; whether they
convert depends on the share of impressions that they clicked, on how recently they clicked before, on how long
they stayed, and a little on device and campaign. The last 2 % of decisions are coin flips, as people are.

    python prepare.py data/clicks.parquet                       # 10,000 rows, 200 of them lacking clicks
    python prepare.py big.parquet --rows 10000000               # the same law at another size
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 10_000
ROWS_PER_USER = 10
MISSING_SHARE = 0.02
START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
SPAN_US = 30 * 86_400 * 1_000_000
DEVICES = np.array(["phone", "desktop", "tablet"])
AGE_BANDS = np.array(["18-29", "30-44", "45-64", "65+"])
CAMPAIGNS = np.array(["spring", "brand", "retarget", "partner"])


def make_clicks(rows: int = ROWS, seed: int = 20260101) -> pl.DataFrame:
    """``rows`` × 10 in time order; exactly 2 % of the rows lack ``clicks``."""
    random = np.random.default_rng(seed)
    users = max(1, rows // ROWS_PER_USER)
    user = random.integers(0, users, rows)
    frame = pl.DataFrame(
        {
            "timestamp": np.sort(random.choice(SPAN_US // 1000, rows, replace=rows > 2_000_000)) * 1000 + START_US,
            "user": user,
            "device": random.choice(3, users, p=[0.45, 0.35, 0.20])[user],
            "age_band": random.choice(4, users, p=[0.3, 0.3, 0.25, 0.15])[user],
            "campaign": random.choice(4, rows, p=[0.3, 0.3, 0.2, 0.2]),
            "position": random.integers(1, 6, rows),
            "impressions": random.poisson(9, rows) + 1,
        }
    )
    interest = random.beta(1.2, 2.2, users)[user]
    reach = 1.15 - 0.08 * frame["position"].to_numpy()
    clicks = random.binomial(frame["impressions"].to_numpy(), np.clip(interest * reach, 0, 1))
    dwell = np.round(random.gamma(2.0, 12.0, rows), 1)
    frame = frame.with_columns(clicks=pl.Series(clicks), dwell_seconds=pl.Series(dwell))
    score = _appeal(frame, random)
    lacking = np.zeros(rows, dtype=bool)
    lacking[random.choice(rows, round(rows * MISSING_SHARE), replace=False)] = True
    return frame.select(
        pl.col("timestamp").cast(pl.Datetime("us")),
        pl.format("u{}", pl.col("user").cast(pl.String).str.zfill(7)).alias("user_id"),
        _named("device", DEVICES),
        _named("age_band", AGE_BANDS),
        _named("campaign", CAMPAIGNS),
        "position",
        "impressions",
        pl.when(pl.Series(lacking)).then(None).otherwise(pl.col("clicks")).alias("clicks"),
        "dwell_seconds",
        pl.Series("converted", score > 0).cast(pl.Int64),
    )


def _appeal(frame: pl.DataFrame, random: np.random.Generator) -> np.ndarray:
    """Above zero: converts. The law that a model may learn, plus logistic noise and rare coin flips."""
    rate = frame["clicks"].to_numpy() / frame["impressions"].to_numpy()
    hours = _hours_since_last_click(frame)
    recent = np.where(np.isnan(hours), 0.0, np.exp(-np.nan_to_num(hours) / 72.0))
    dwell = frame["dwell_seconds"].to_numpy() / 12.0
    place = 3.0 - frame["position"].to_numpy()
    device = np.array([0.0, 3.0, -2.0])[frame["device"].to_numpy()]
    campaign = np.array([0.0, -3.0, 5.0, 1.0])[frame["campaign"].to_numpy()]
    parts = 12.0 * (rate - 0.35) + 6.0 * (recent - 0.4) + 3.0 * (dwell - 2.0) + 1.8 * place
    signal = parts + device + campaign - 2.0
    flips = random.random(len(rate)) < 0.02
    return np.where(flips, random.normal(size=len(rate)), signal + random.logistic(0.0, 1.0, len(rate)))


def _hours_since_last_click(frame: pl.DataFrame) -> np.ndarray:
    clicked = pl.when(pl.col("clicks") > 0).then(pl.col("timestamp"))
    last = clicked.forward_fill().shift(1).over("user")
    return frame.select(((pl.col("timestamp") - last) / 3.6e9).alias("hours"))["hours"].to_numpy()


def _named(column: str, names: np.ndarray) -> pl.Expr:
    return pl.col(column).replace_strict(dict(enumerate(names.tolist())), return_dtype=pl.String).alias(column)


def main() -> None:
    """Write the log to a Parquet file."""
    parser = argparse.ArgumentParser(description="Make the synthetic click log.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=20260101)
    given = parser.parse_args()
    given.path.parent.mkdir(parents=True, exist_ok=True)
    make_clicks(given.rows, given.seed).write_parquet(given.path)


if __name__ == "__main__":
    main()
