"""How much one column alone says about the target, measured out of sample.

In: clean columns and target. Out: a power from 0 (nothing) to 1 (everything) per column: |2 AUC - 1| for two
classes (averaged over classes for more), R-squared for numbers, each of a small tree in two-fold cross-validation.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from roadworthy.records.project import Task

__all__ = ["power", "rank_power"]

Floats = NDArray[np.float64]


def rank_power(score: Floats, event: NDArray[np.bool_]) -> float:
    """|2 AUC - 1| of a score for an event (Mann-Whitney with mid-ranks); 0 when there is one class only."""
    positives = int(event.sum())
    negatives = event.size - positives
    if not positives or not negatives:
        return 0.0
    ranks = rankdata(score)
    area = (ranks[event].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return float(abs(2 * area - 1))


def power(column: pl.Series, target: pl.Series, task: Task, folds: NDArray[np.int64]) -> float:
    """The out-of-sample power of one clean column; ``target`` has no missing value, ``folds`` holds 0 and 1."""
    if task is Task.REGRESSION:
        y = target.cast(pl.Float64).to_numpy().astype(np.float64)
    else:
        y = target.cast(pl.String).rank("dense").to_numpy().astype(np.float64) - 1
    total = float(((y - y.mean()) ** 2).sum())
    if total == 0:
        return 0.0
    if task is Task.REGRESSION:
        estimate = _out_of_fold(column, y, folds, regression=True)
        return max(0.0, 1 - float(((y - estimate) ** 2).sum()) / total)
    classes = np.unique(y)
    events = [1.0] if classes.size == 2 else classes[:10].tolist()
    powers = []
    for event in events:
        marked = y == event
        powers.append(rank_power(_out_of_fold(column, marked.astype(np.float64), folds, regression=False), marked))
    return float(np.mean(powers))


def _out_of_fold(column: pl.Series, y: Floats, folds: NDArray[np.int64], *, regression: bool) -> Floats:
    estimate = np.empty(y.size)
    for fold in (0, 1):
        test = folds == fold
        train = ~test
        x = _encode(column, y, train)
        if regression:
            tree = DecisionTreeRegressor(max_leaf_nodes=64, min_samples_leaf=10, random_state=0)
        else:
            tree = DecisionTreeClassifier(max_leaf_nodes=64, min_samples_leaf=10, random_state=0)
        if not regression and np.unique(y[train]).size < 2:
            estimate[test] = 0.5
            continue
        tree.fit(x[train].reshape(-1, 1), y[train])
        found = tree.predict(x[test].reshape(-1, 1)) if regression else tree.predict_proba(x[test].reshape(-1, 1))[:, 1]
        estimate[test] = found
    return estimate


def _encode(column: pl.Series, y: Floats, train: NDArray[np.bool_]) -> Floats:
    """One number per row; labels become the shrunken mean of the target in the training fold. NaN is missing."""
    if column.dtype != pl.String:
        numbers = column.cast(pl.Int64) if column.dtype.is_temporal() else column
        return np.asarray(np.clip(numbers.cast(pl.Float64).fill_null(np.nan).to_numpy(), -1e37, 1e37), dtype=np.float64)
    frame = pl.DataFrame({"label": column, "y": y, "train": train})
    mean = float(y[train].mean())
    means = frame.filter("train").group_by("label").agg(((pl.col("y").sum() + 10 * mean) / (pl.len() + 10)).alias("m"))
    joined = frame.join(means, on="label", how="left", nulls_equal=True, maintain_order="left")
    return np.asarray(joined.get_column("m").fill_null(mean).to_numpy(), dtype=np.float64)
