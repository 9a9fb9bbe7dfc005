"""Drift of a window against a stored reference: seconds from the Parquet file to every ``Shift``, and the memory.

200,000 rows × 50 columns of mixed kinds (the columns together with each other included), and 10 million rows × 10
columns in batches, each in a process of its own that has imported what it needs. With ``--peers DIR``, NannyML and
Evidently do their comparison of the same two files in the same run: DIR holds their ``venvs/nannyml`` and so on.

    python benchmarks/drift_speed.py --peers DIR
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from processes import asked, forget_peak, peak_mib, spent
from result import Result, add_results_option, middle
from roadworthy.measures.drift import compared, with_dispersion
from roadworthy.measures.sketches import Reference, sketch, sketch_batches, sketch_like
from roadworthy.records.digests import canonical_json

REFERENCE_ROWS = 100_000
BATCH = 500_000
PARTS = ("reading", "counting", "comparing")
PEERS = {
    "nannyml": """
import nannyml as nml
calc = nml.UnivariateDriftCalculator(
    column_names=names, treat_as_categorical=labels, continuous_methods=["kolmogorov_smirnov", "jensen_shannon"],
    categorical_methods=["chi2", "jensen_shannon"], chunk_number=1)
calc.fit(reference)
started = time.perf_counter()
current = pd.read_parquet(sys.argv[2])
calc.calculate(current).to_df()
""",
    "evidently": """
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
kinds = DataDefinition(numerical_columns=[n for n in names if n not in labels], categorical_columns=labels)
started = time.perf_counter()
current = pd.read_parquet(sys.argv[2])
Report([DataDriftPreset(columns=names)]).run(
    Dataset.from_pandas(current, data_definition=kinds), Dataset.from_pandas(reference, data_definition=kinds)).dict()
""",
}
AROUND = """
import sys, time, json, warnings
warnings.simplefilter("ignore")
import pandas as pd
reference = pd.read_parquet(sys.argv[1])
names = list(reference.columns)
labels = [n for n in names if n.startswith("label")]
{body}
print(json.dumps(time.perf_counter() - started))
"""


def table(rows: int, columns: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    """Half numbers of three shapes, three tenths labels, the rest whole numbers; 2 % missing in every fifth."""
    rng = np.random.default_rng(seed)
    labels = np.array([f"label number {index}" for index in range(30)])
    weights = 1 / np.arange(1, 31)
    found: dict[str, Any] = {}
    for index in range(columns):
        kind = index % 10
        if kind < 3:
            found[f"label_{index}"] = labels[rng.choice(30, rows, p=weights / weights.sum())]
        elif kind < 5:
            found[f"whole_{index}"] = rng.poisson(3 + index, rows)
        elif kind < 7:
            found[f"number_{index}"] = rng.normal(shift, size=rows)
        else:
            found[f"number_{index}"] = rng.lognormal(shift, size=rows)
    frame = pl.DataFrame(found)
    gone = pl.Series(rng.random(rows) < 0.02)
    return frame.with_columns(
        pl.when(gone).then(None).otherwise(pl.col(name)).alias(name) for name in frame.columns[::5]
    )


def child(folder: Path, batch: int) -> None:
    """Compare once; prints seconds by part and the peak of memory as JSON."""
    frame = pl.scan_parquet(folder / "current.parquet")
    rows = frame.select(pl.len()).collect().item()
    forget_peak()
    laps = [time.perf_counter()]
    reference = msgspec.json.decode((folder / "reference.json").read_bytes(), type=Reference)
    if rows <= batch:
        read = frame.collect()
        laps.append(time.perf_counter())
        current = sketch_like(reference, read)
    else:
        laps.append(time.perf_counter())
        current = sketch_batches(reference, (frame.slice(at, batch).collect() for at in range(0, rows, batch)))
    laps.append(time.perf_counter())
    shifts = compared(reference, current)
    laps.append(time.perf_counter())
    seconds = dict(zip(PARTS, np.diff(laps).tolist(), strict=True))
    print(json.dumps({**seconds, "whole": laps[-1] - laps[0], "peak": peak_mib(), "shifts": len(shifts)}))


def prepared(folder: Path, rows: int, columns: int) -> int:
    """Both tables and the stored reference in a folder; the size of the reference in bytes."""
    folder.mkdir()
    reference = table(REFERENCE_ROWS, columns, 0)
    reference.write_parquet(folder / "reference.parquet")
    parts = [table(min(BATCH, rows - at), columns, 1 + at, 0.02) for at in range(0, rows, BATCH)]
    pl.concat(parts).write_parquet(folder / "current.parquet", row_group_size=BATCH // 4)
    stored = canonical_json(
        with_dispersion(sketch(reference, reference.columns, together=reference.columns), reference)
    )
    (folder / "reference.json").write_bytes(stored)
    return len(stored)


def peer(name: str, peers: Path, folder: Path) -> float:
    """Seconds that a peer takes for the current rows, its reference already in memory, and fitted where it can be."""
    python = peers / "venvs" / name / "bin" / "python"
    script = AROUND.format(body=PEERS[name])
    files = [str(folder / f"{which}.parquet") for which in ("reference", "current")]
    cost = spent(
        [str(python), "-c", script, *files], environment={"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    )
    return float(json.loads(cost.output.splitlines()[-1]))


def measured(result: Result, folder: Path, rows: int, columns: int, runs: int) -> tuple[float, float, int]:
    """One line of the table: median seconds, peak of memory, bytes of the reference."""
    size = prepared(folder, rows, columns)
    found = [asked(__file__, ["--child", str(folder)])[1] for _ in range(runs)]
    line = [middle([one[part] for one in found]) for part in (*PARTS, "whole")]
    peak = max(one["peak"] for one in found)
    result.table(
        ("rows × columns", *(f"{part}, s" for part in (*PARTS, "whole")), "peak, MiB", "reference, kB", "shifts"),
        [(f"{rows:,} × {columns}", *line, f"{peak:.0f}", f"{size / 1000:.0f}", found[0]["shifts"])],
    )
    return float(np.median([one["whole"] for one in found])), float(peak), size


def main() -> int:
    """Measure, write the table, exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--long-rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="a folder with venvs/nannyml and venvs/evidently")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    add_results_option(parser)
    options = parser.parse_args()
    if options.child:
        child(options.child, BATCH)
        return 0
    full = options.rows >= 200_000 and options.long_rows >= 10_000_000
    result = Result("drift_speed", "Drift against a stored reference", full)
    with tempfile.TemporaryDirectory() as kept:
        wide = Path(kept) / "wide"
        seconds, _, size = measured(result, wide, options.rows, 50, options.runs)
        result.target(
            "200,000 rows × 50 columns, from Parquet to every shift", "< 1.5 s", f"{seconds:.2f} s", met=seconds < 1.5
        )
        result.target("the reference at 50 columns", "< 1 MB", f"{size / 1e6:.2f} MB", met=size < 1e6)
        for name in PEERS if options.peers else ():
            taken = peer(name, options.peers, wide)
            result.say(
                "",
                f"{name}, the same files, its reference in memory: {taken:.1f} s ({taken / seconds:.0f} times ours)",
            )
        seconds, peak, _ = measured(result, Path(kept) / "long", options.long_rows, 10, min(2, options.runs))
        result.target("10 million rows × 10 columns", "< 10 s", f"{seconds:.1f} s", met=seconds < 10)
        result.target("its memory", "< 2,048 MiB", f"{peak:.0f} MiB", met=peak < 2048)
    return result.finish(options.results)


if __name__ == "__main__":
    sys.exit(main())
