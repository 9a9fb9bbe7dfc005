"""Stand-ins by name, trained on some rows and asked about others.

In: ``Lesson``s. Out: scores of the rows asked about. Laws: a row is scored by a model that did not learn from it; no
class gets nothing.

``boosted`` is a small LightGBM; ``linear`` a logistic or ridge regression; ``tree`` of depth three; ``constant`` the
base rate or the mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from roadworthy.measures.columns import is_number, is_text
from roadworthy.measures.examined import Examined
from roadworthy.measures.surrogates.boosting import boosted
from roadworthy.measures.surrogates.encoding import Encoded
from roadworthy.records.project import Task

__all__ = ["SURROGATES", "Lesson", "fit_predict", "out_of_fold", "stacked"]

_LEAST_LEAF = 20

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lesson:
    """What a stand-in learns from and is asked about: encoded rows [n] and their outcomes [n], as in ``Sample``."""

    x: Encoded
    y: NDArray[Any]
    task: Task
    classes: int
    seed: int


def stacked(examined: Examined, more: NDArray[np.int64]) -> pl.DataFrame:
    """All rows inspected, then the training rows at ``more``, with the columns that can be encoded."""
    kinds = examined.rows.schema
    names = [name for name in examined.columns if is_text(kinds[name]) or is_number(kinds[name])]
    if examined.train is None or not len(more):
        return examined.rows.select(names)
    return pl.concat([examined.rows.select(names), examined.train[more].select(names)], how="vertical_relaxed")


def out_of_fold(name: str, lesson: Lesson, fold: NDArray[np.int64]) -> Scores:
    """Scores [m] or [m, K] of the rows whose ``fold`` is not negative, in their order, each by a model of the others.

    Rows of a negative fold train every model and are scored by none.
    """
    asked = np.flatnonzero(fold >= 0)
    shape = (len(fold), lesson.classes) if lesson.task is Task.MULTICLASS else (len(fold),)
    scores = np.full(shape, np.nan)
    for number in np.unique(fold[asked]):
        held = np.flatnonzero(fold == number)
        scores[held] = fit_predict(name, lesson, np.flatnonzero(fold != number), held)
    return scores[asked]


def fit_predict(name: str, lesson: Lesson, train: NDArray[np.int64], asked: NDArray[np.int64]) -> Scores:
    """Train the stand-in of that name on some rows and score others: [m], or [m, K] for more than two classes.

    No class gets nothing, though no training row may have it: the least share is a hundredth of a row.
    """
    if lesson.task is Task.REGRESSION:
        return SURROGATES[name](lesson, train, asked)
    counts = np.bincount(lesson.y[train], minlength=lesson.classes)
    known = np.flatnonzero(counts)
    shares = np.zeros((len(asked), lesson.classes))
    if len(known) == 1:
        shares[:, known] = 1.0
    else:
        # right where a row trains; elsewhere it is not read
        codes = np.searchsorted(known, lesson.y)
        raw = SURROGATES[name](replace(lesson, y=codes), train, asked)
        shares[:, known] = np.column_stack([1 - raw, raw]) if raw.ndim == 1 else raw
    shares = np.maximum(shares, 0.01 / (len(train) + 2))
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares[:, 1] if lesson.task is Task.BINARY else shares, dtype=np.float64)


def _constant(lesson: Lesson, train: NDArray[np.int64], asked: NDArray[np.int64]) -> Scores:
    if lesson.task is Task.REGRESSION:
        return np.full(len(asked), float(lesson.y[train].mean()))
    shares = np.bincount(lesson.y[train]) / len(train)
    return np.asarray(np.tile(shares, (len(asked), 1)), dtype=np.float64)


def _tree(lesson: Lesson, train: NDArray[np.int64], asked: NDArray[np.int64]) -> Scores:
    kind = DecisionTreeRegressor if lesson.task is Task.REGRESSION else DecisionTreeClassifier
    leaf = min(_LEAST_LEAF, max(len(train) // 20, 1))
    tree = kind(max_depth=3, min_samples_leaf=leaf, random_state=lesson.seed).fit(
        lesson.x.trees[train], lesson.y[train]
    )
    if lesson.task is Task.REGRESSION:
        return np.asarray(tree.predict(lesson.x.trees[asked]), dtype=np.float64)
    # a leaf of one class is not certain: drawn to the base rate by one row
    shares = np.bincount(lesson.y[train]) / len(train)
    rows = np.bincount(tree.apply(lesson.x.trees[train]), minlength=tree.tree_.node_count)
    weight = rows[tree.apply(lesson.x.trees[asked])][:, None]
    return np.asarray((tree.predict_proba(lesson.x.trees[asked]) * weight + shares) / (weight + 1), dtype=np.float64)


def _linear(lesson: Lesson, train: NDArray[np.int64], asked: NDArray[np.int64]) -> Scores:
    if lesson.task is Task.REGRESSION:
        return np.asarray(
            Ridge(alpha=1.0).fit(lesson.x.wide[train], lesson.y[train]).predict(lesson.x.wide[asked]), dtype=np.float64
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for a stand-in
        model = LogisticRegression(C=1.0, max_iter=100).fit(lesson.x.wide[train], lesson.y[train])
    return np.asarray(model.predict_proba(lesson.x.wide[asked]), dtype=np.float64)


def _boosted(lesson: Lesson, train: NDArray[np.int64], asked: NDArray[np.int64]) -> Scores:
    classes = 0 if lesson.task is Task.REGRESSION else int(lesson.y[train].max()) + 1
    x, named = lesson.x.trees, np.flatnonzero(lesson.x.named)
    leaf = min(_LEAST_LEAF, max(len(train) // 30, 2))
    # shrunk, so that no wrong label among the training rows speaks for itself
    return boosted(
        x[train],
        lesson.y[train],
        classes,
        x[asked],
        named=named.tolist(),
        leaf=leaf,
        shrinkage=1.0,
        seed=lesson.seed,
    )[0]


_Fit = Callable[[Lesson, NDArray[np.int64], NDArray[np.int64]], Scores]

SURROGATES: Mapping[str, _Fit] = {"constant": _constant, "tree": _tree, "linear": _linear, "boosted": _boosted}
"""Every stand-in, the simplest first."""
