"""Simple models that stand beside the one inspected: they say what the rows alone can tell.

In: rows, the columns that a model reads, outcomes. Out: scores of rows that did not train the stand-in. Laws: a row is
scored by a model that did not learn from it; encodings look at no outcome; the same seed gives the same scores.

``boosted`` is a small LightGBM; ``linear`` a logistic or ridge regression; ``tree`` of depth three; ``constant`` the
base rate or the mean. They are never kept, served or chosen.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from roadworthy.measures.examined import Examined
from roadworthy.records.project import Task

__all__ = ["SURROGATES", "Encoded", "Lesson", "encode_rows", "fit_predict", "folds_of", "out_of_fold", "stacked"]

_LEVELS = 20
_MOST_TEXT = 256
_LEAST_LEAF = 20
_ROUNDS = 60

Matrix = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Rows as numbers, in two ways: ``trees`` [n, d] with NaN for missing cells, ``wide`` [n, D] standardised."""

    trees: Matrix
    wide: Matrix


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lesson:
    """What a stand-in learns from and is asked about: encoded rows [n] and their outcomes [n], as in ``Sample``."""

    x: Encoded
    y: NDArray[Any]
    task: Task
    classes: int
    seed: int


def encode_rows(rows: pl.DataFrame, columns: Sequence[str]) -> Encoded:
    """Numbers as they are, text as codes by how common it is (``trees``) or one column per common level (``wide``).

    Numbers are standardised for ``wide``; columns of other types are left out. Means and levels come from all rows
    that are given: they hold no outcome.
    """
    narrow: list[NDArray[np.float32]] = []
    wide: list[NDArray[np.float32]] = []
    for name in columns:
        values = rows[name]
        kind = values.dtype
        if _is_number(kind):
            numbers = values.to_physical().cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
            numbers = np.where(np.isfinite(numbers), numbers, np.nan)
            narrow.append((numbers - _middle(numbers)).astype(np.float32))
            wide += _wide_number(numbers)
        elif _is_text(kind):
            codes = _codes(values.cast(pl.String))
            narrow.append(np.minimum(codes, _MOST_TEXT).astype(np.float32))
            wide += [
                (codes == level).astype(np.float32) for level in range(min(int(codes.max(initial=0)), _LEVELS) + 1)
            ]
    if not narrow:
        nothing = np.zeros((rows.height, 1), dtype=np.float32)
        return Encoded(nothing, nothing)
    return Encoded(np.column_stack(narrow), np.column_stack(wide))


def stacked(examined: Examined, more: NDArray[np.int64]) -> pl.DataFrame:
    """All rows inspected, then the training rows at ``more``, with the columns that can be encoded."""
    kinds = examined.rows.schema
    names = [name for name in examined.columns if _is_text(kinds[name]) or _is_number(kinds[name])]
    if examined.train is None or not len(more):
        return examined.rows.select(names)
    return pl.concat([examined.rows.select(names), examined.train[more].select(names)], how="vertical_relaxed")


def folds_of(
    count: int, number: int, rng: np.random.Generator, clusters: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """A fold for each of ``count`` rows, whole entities in one where rows are clustered."""
    if clusters is None:
        return rng.permutation(count) % number
    return np.asarray((rng.permutation(int(clusters.max(initial=0)) + 1) % number)[clusters])


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
    import lightgbm  # noqa: PLC0415  # half a second, needed only where a booster is trained

    classes = 0 if lesson.task is Task.REGRESSION else int(lesson.y[train].max()) + 1
    centre, deviation = (
        (float(lesson.y[train].mean()), float(lesson.y[train].std()) or 1.0) if not classes else (0.0, 1.0)
    )
    told = {0: {"objective": "regression"}, 2: {"objective": "binary"}}
    parameters: dict[str, Any] = {
        **told.get(classes, {"objective": "multiclass", "num_class": classes}),
        "learning_rate": 0.1,
        "num_leaves": 15,
        "min_data_in_leaf": min(_LEAST_LEAF, max(len(train) // 30, 2)),
        "lambda_l2": 1.0,
        "seed": lesson.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    wanted = (lesson.y[train] - centre) / deviation if not classes else lesson.y[train]
    booster = lightgbm.train(parameters, lightgbm.Dataset(lesson.x.trees[train], wanted), num_boost_round=_ROUNDS)
    scores = np.asarray(booster.predict(lesson.x.trees[asked]), dtype=np.float64)
    return scores if classes else scores * deviation + centre


_Fit = Callable[[Lesson, NDArray[np.int64], NDArray[np.int64]], Scores]

SURROGATES: Mapping[str, _Fit] = {"constant": _constant, "tree": _tree, "linear": _linear, "boosted": _boosted}
"""Every stand-in, the simplest first."""


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind.is_temporal() or kind == pl.Boolean


def _is_text(kind: pl.DataType) -> bool:
    return kind in {pl.String, pl.Categorical, pl.Enum}


def _middle(numbers: NDArray[np.float64]) -> float:
    known = numbers[~np.isnan(numbers)]
    return float(np.median(known)) if len(known) else 0.0


def _wide_number(numbers: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """Standardised, cut at five deviations, missing cells in the middle; and whether it is missing, where some are."""
    missing = np.isnan(numbers)
    known = numbers[~missing]
    deviation = float(known.std()) if len(known) else 0.0
    if deviation == 0:
        scaled = np.zeros(len(numbers))
    else:
        scaled = np.clip((np.where(missing, known.mean(), numbers) - known.mean()) / deviation, -5, 5)
    columns = [scaled.astype(np.float32)]
    return [*columns, missing.astype(np.float32)] if missing.any() and len(known) else columns


def _codes(text: pl.Series) -> NDArray[np.int64]:
    """0 for the commonest level, then the next; missing cells are a level."""
    name = text.name
    counted = text.value_counts(sort=True, name="_rows").sort(["_rows", name], descending=[True, False])
    order = counted.select(pl.col(name), _code=pl.int_range(pl.len(), dtype=pl.Int64))
    joined = text.to_frame().join(order, on=name, how="left", nulls_equal=True, maintain_order="left")
    return np.asarray(joined["_code"].to_numpy(), dtype=np.int64)
