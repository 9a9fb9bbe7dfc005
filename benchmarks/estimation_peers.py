"""NannyML's CBPE on the same rows, in an environment of its own; this file imports nothing of ours.

Called as ``python estimation_peers.py windows FOLDER ROWS`` (FOLDER has ``reference.parquet`` and ``analysis.parquet``
with columns ``y``, ``score``, ``decision``; writes ``nannyml.ROWS.json``: by metric the estimates of each chunk and the
ends of their sampling band), or ``speed FOLDER CHUNKS`` (writes ``nannyml.speed.json``: seconds to estimate all
metrics).
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

METRICS = ["roc_auc", "f1", "accuracy", "precision", "recall"]
ALL = ["roc_auc", "average_precision", "f1", "precision", "recall", "specificity", "accuracy", "confusion_matrix"]


def windows(folder: Path, rows: int) -> dict[str, Any]:
    """Chunks of so many rows: value and band of each metric."""
    frame = _estimated(folder, METRICS, chunk_size=rows)[0]
    return {
        name: {key: [float(value) for value in frame[name, column]] for key, column in (
            ("value", "value"), ("lower", "lower_confidence_boundary"), ("upper", "upper_confidence_boundary"),
        )}
        for name in METRICS
    }  # fmt: skip


def speed(folder: Path, chunks: int) -> dict[str, Any]:
    """Seconds of ``estimate`` for all metrics, the fit apart."""
    return {"seconds": _estimated(folder, ALL, chunk_number=chunks)[1]}


def _estimated(folder: Path, metrics: list[str], **chunks: int) -> tuple[Any, float]:
    pandas: Any = importlib.import_module("pandas")
    nml: Any = importlib.import_module("nannyml")
    reference, analysis = (pandas.read_parquet(folder / f"{name}.parquet") for name in ("reference", "analysis"))
    estimator = nml.CBPE(
        metrics=metrics, y_pred_proba="score", y_true="y", y_pred="decision",
        problem_type="classification_binary", **chunks,
    ).fit(reference)  # fmt: skip
    begun = time.perf_counter()
    found = estimator.estimate(analysis)
    took = time.perf_counter() - begun
    return found.filter(period="analysis").to_df(), took


def main() -> int:
    """One mode."""
    mode, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    found = windows(folder, number) if mode == "windows" else speed(folder, number)
    name = f"nannyml.{number}.json" if mode == "windows" else "nannyml.speed.json"
    (folder / name).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
