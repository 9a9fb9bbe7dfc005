"""How long ``roadworthy inspect`` takes, file to verdict, in a fresh process.

In: made-up rows of 20 model columns beside time, entity and a protected column, a LightGBM file, an ONNX file of 784
inputs. Out: wall and CPU time, the slowest checks. Everything is inspected but the trainings anew; the training rows
are given, so that leaks across the split are looked for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from processes import Spent, spent
from result import Result, add_results_option, middle

FULL_ROWS = 100_000
FULL_S, QUICK_S = 90.0, 10.0
COLUMNS = 20
PIXELS = 784
WIDE_ROWS = 1_500
CODES = (0, 1, 3)


def made(rows: int, seed: int, start: datetime) -> pl.DataFrame:
    """Rows of numbers, whole numbers and codes with missing cells, and who and when, a minute each from ``start``."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    x[:, 5] = np.round(np.exp(x[:, 5]))
    x[:, 6] = rng.integers(0, 8, rows)
    signal = x[:, 0] + x[:, 1] * x[:, 2] + 0.5 * (x[:, 6] > 5) + 0.3 * x[:, 3]
    y = (rng.random(rows) < 1 / (1 + np.exp(-1.5 * signal + 1.0))).astype(np.int64)
    x[rng.random((rows, COLUMNS)) < 0.01] = np.nan
    return (
        pl.DataFrame(x, schema=[f"x{place}" for place in range(COLUMNS)])
        .fill_nan(None)
        .with_columns(
            pl.Series("at", [start + timedelta(seconds=60 * place) for place in range(rows)]),
            pl.Series("who", rng.integers(0, max(rows // 10, 1), rows)),
            pl.Series("sex", rng.choice(["f", "m"], rows)),
            pl.Series("bought", y),
        )
    )


def booster(train: pl.DataFrame, file: Path) -> None:
    """A LightGBM file of the model columns."""
    names = [f"x{place}" for place in range(COLUMNS)]
    data = lgb.Dataset(train.select(names).to_numpy(), train["bought"].to_numpy(), feature_name=names)
    lgb.train({"objective": "binary", "verbose": -1, "seed": 1, "num_threads": 2}, data, 100).save_model(file)


def wide(folder: Path, rows: int) -> tuple[Path, Path]:
    """Pictures of 28 × 28 made-up pixels in one of three classes, and a model of them as ONNX."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 2 * rows)
    shapes = rng.normal(size=(3, PIXELS))
    x = (shapes[y] * 0.15 + rng.normal(size=(2 * rows, PIXELS))).astype(np.float32)
    model = LogisticRegression(max_iter=50, C=0.01).fit(x[:rows], y[:rows])
    file = folder / "pictures.onnx"
    file.write_bytes(to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString())
    table = folder / "pictures.parquet"
    frame = pl.DataFrame(x[rows:], schema=[f"p{place}" for place in range(PIXELS)])
    frame.with_columns(pl.Series("digit", y[rows:])).write_parquet(table)
    return file, table


def timed(words: Sequence[str], folder: Path, runs: int) -> list[Spent]:
    """The command, several times."""
    command = [sys.executable, "-m", "roadworthy", "inspect", *words, "--project", str(folder / "none.toml")]
    return [spent(command, folder=folder, codes=CODES) for _ in range(runs)]


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=FULL_ROWS, help="rows inspected, and as many that trained")
    parser.add_argument("--wide-rows", type=int, default=WIDE_ROWS, help="0: none")
    parser.add_argument("--runs", type=int, default=3)
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """Whole, quick, and wide."""
    asked_for = arguments()
    full = asked_for.rows >= FULL_ROWS and asked_for.runs >= 3
    result = Result("inspection", "How long an inspection takes", full=full)
    result.say(
        f"{asked_for.rows:,} rows × {COLUMNS} model columns beside time, entity, a protected column; a LightGBM file",
        "of 100 trees, the training rows given; everything but trainings anew. Wide: "
        f"{asked_for.wide_rows:,} pictures of {PIXELS} pixels, ONNX.",
    )
    with tempfile.TemporaryDirectory(prefix="roadworthy-inspection-") as temporary:
        folder = Path(temporary)
        begins = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
        train = made(asked_for.rows, 1, begins)
        held = made(asked_for.rows, 2, begins + timedelta(minutes=asked_for.rows))
        train.write_parquet(folder / "train.parquet")
        held.write_parquet(folder / "held.parquet")
        booster(train, folder / "model.txt")
        files = [str(folder / name) for name in ("model.txt", "held.parquet")]
        roles = ["--target", "bought", "--train", str(folder / "train.parquet"), "--time", "at", "--entity", "who"]
        words = [*files, *roles, "--protected", "sex"]
        found = {
            "whole": timed(words, folder, asked_for.runs),
            "`--quick`": timed([*words, "--quick"], folder, asked_for.runs),
        }
        if asked_for.wide_rows:
            file, table = wide(folder, asked_for.wide_rows)
            pictures = [str(file), str(table), "--target", "digit"]
            found |= {"wide": timed(pictures, folder, 1), "wide, `--quick`": timed([*pictures, "--quick"], folder, 1)}
    result.table(
        ("what", "runs", "wall s", "CPU s"),
        [
            (what, len(costs), middle(cost.wall_s for cost in costs), middle(cost.cpu_s for cost in costs))
            for what, costs in found.items()
        ],
    )
    for what, most in (("whole", FULL_S), ("`--quick`", QUICK_S)):
        wall = median(cost.wall_s for cost in found[what])
        result.target(f"inspect, {what}", f"<= {most:g} s", f"{wall:.1f} s", met=wall <= most)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
