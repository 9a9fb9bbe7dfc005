"""NannyML and Evidently asked the same question, each in an environment of its own; this file imports nothing of ours.

Called as ``python drift_peers.py nannyml FOLDER ROWS``: FOLDER has ``N.reference.parquet`` and ``N.windows.parquet``
for streams 0, 1, …, with columns ``_score``, ``_y`` and ``_window``. Writes ``N.nannyml.json``: for each window the
greatest ratio of a column's drift to its own default threshold (``drift``), the same of accuracy (``quality``), and the
share of columns over their default threshold (``share``).

NannyML: ``UnivariateDriftCalculator`` (Jensen-Shannon, its default) and ``PerformanceCalculator`` (accuracy); both call
what is three standard deviations over the reference chunks' mean. Evidently: its default test of each column against
the whole reference, by the function that its report calls; accuracy against its default of a fifth relative change.
``evidently_1000`` gives it 1,000 rows of the reference, where its defaults are tests with p-values.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any


def nannyml(reference: Any, windows: Any, rows: int) -> list[dict[str, float]]:
    """Chunks of ``rows``, univariate drift of every column and of the score, realised accuracy."""
    nml: Any = importlib.import_module("nannyml")
    columns = [name for name in reference.columns if name not in {"_y", "_window", "_pred"}]
    texts = [name for name in columns if reference[name].dtype == object]
    calculator = nml.UnivariateDriftCalculator(column_names=columns, treat_as_categorical=texts, chunk_size=rows)
    drift = calculator.fit(reference).calculate(windows).to_df()
    quality = (
        nml.PerformanceCalculator(
            metrics=["accuracy"], y_true="_y", y_pred="_pred", y_pred_proba="_score",
            problem_type="classification_binary", chunk_size=rows,
        )
        .fit(reference).calculate(windows).to_df()
    )  # fmt: skip
    past, now = (drift[drift["chunk", "chunk", "period"] == period] for period in ("reference", "analysis"))
    ratios = []
    for name in columns:
        key = (name, "jensen_shannon")
        middle = float(past[(*key, "value")].mean())
        reach = (float(now[(*key, "upper_threshold")].iloc[0]) - middle) / 3
        ratios.append([(value - middle) / (3 * reach) if reach > 0 else 0.0 for value in now[(*key, "value")]])
    was = quality[quality["chunk", "period"] == "reference"]["accuracy", "value"].mean()
    after = quality[quality["chunk", "period"] == "analysis"]["accuracy"]
    found = []
    for place in range(len(now)):
        column = [one[place] for one in ratios]
        lower = float(after["lower_threshold"].iloc[place])
        worse = (was - float(after["value"].iloc[place])) / (was - lower)
        found.append({
            "drift": max(column), "quality": worse, "share": sum(one > 1 for one in column) / len(column),
        })  # fmt: skip
    return found


def evidently(reference: Any, windows: Any, rows: int) -> list[dict[str, float]]:
    """The default test of every column and of the score; the accuracy's relative fall. ``rows`` is not needed."""
    del rows
    tests: Any = importlib.import_module("evidently.legacy.calculations.stattests")
    kinds: Any = importlib.import_module("evidently.legacy.core").ColumnType
    columns = [name for name in reference.columns if name not in {"_y", "_window", "_pred"}]
    was = float((reference["_y"] == reference["_pred"]).mean())
    found = []
    for _, window in windows.groupby("_window", sort=True):
        ratios = []
        for name in columns:
            kind = kinds.Categorical if reference[name].dtype == object else kinds.Numerical
            old, new = reference[name].dropna(), window[name].dropna()
            if not len(old) or not len(new):
                continue  # its tests raise IndexError there
            test = tests.get_stattest(old, new, kind, None)
            result = test(old, new, kind, None)
            score, limit = float(result.drift_score), float(result.actual_threshold)
            is_p = test.default_threshold == 0.05
            ratios.append(limit / max(score, 1e-300) if is_p else score / limit)
        accuracy = float((window["_y"] == window["_pred"]).mean())
        found.append({
            "drift": max(ratios), "quality": (was - accuracy) / (0.2 * was),
            "share": sum(one > 1 for one in ratios) / len(ratios),
        })  # fmt: skip
    return found


def evidently_1000(reference: Any, windows: Any, rows: int) -> list[dict[str, float]]:
    """The same against 1,000 rows, where Evidently's defaults are chi-square and Kolmogorov-Smirnov."""
    return evidently(reference.head(1000), windows, rows)


def main() -> None:
    """Every stream in the folder."""
    peer, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    pandas: Any = importlib.import_module("pandas")
    asked = {"nannyml": nannyml, "evidently": evidently, "evidently_1000": evidently_1000}[peer]
    for path in sorted(folder.glob("*.reference.parquet")):
        number = path.name.split(".")[0]
        out = folder / f"{number}.{peer}.json"
        if out.exists():
            continue
        both = [pandas.read_parquet(folder / f"{number}.{part}.parquet") for part in ("reference", "windows")]
        for table in both:
            texts = [name for name in table.columns if table[name].dtype == object]
            table[texts] = table[texts].fillna("(missing)")
            table["_pred"] = (table["_score"] >= 0.5).astype(int)
        out.write_text(json.dumps(asked(both[0], both[1], rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
