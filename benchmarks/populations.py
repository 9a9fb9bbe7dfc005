"""What intervals and verdicts are tried on: laws whose truth is known, and real tables that holdouts are drawn from.

Of a law the truth comes from millions of rows. Of a real table one third trains two models; the rest is then the
whole population, from which holdouts are drawn with replacement, so that its own values are the exact truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.calibration import bin_count, confidence_pair, telling_bins
from roadworthy.measures.quality import PER_CLASS, class_measure, measure, metrics_for
from roadworthy.measures.samples import Sample, dense_codes
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task

Draw = Callable[[np.random.Generator, int], Sample]
Floats = NDArray[np.float64]
ENTITY_ROWS = 4
KNOWN_TABLES = {"adult": "class", "bank_marketing": "y", "bike_sharing": "cnt"}
ADDS_UP = {"casual", "registered", "instant"}
ENTITIES = {"bike_sharing": "dteday"}
MOST_TRAINING_ROWS = 5_000
CLASS_METRIC = "recall, class "


# --- laws -------------------------------------------------------------------------------------------------------


def logistic(value: Floats) -> Floats:
    """Inverse logit."""
    return np.asarray(1 / (1 + np.exp(-value)), dtype=np.float64)


def _shared(rng: np.random.Generator, n: int, size: float) -> tuple[NDArray[np.int64], Floats]:
    """Entities of four rows each [n], and a normal number that the rows of one share [n]."""
    clusters = np.arange(n) // ENTITY_ROWS
    return clusters, (size * rng.normal(size=n // ENTITY_ROWS + 1))[clusters]


def binary(offset: float, slope: float, believed: float, threshold: float, *, entity: float = 0.0) -> Draw:
    """Events from a logistic law; scores from the same law with slope ``believed`` (over-confident if more).

    ``entity`` is the standard deviation of a shift that the rows of one entity share and the model misses.
    """
    share = float(logistic(offset + slope * np.random.default_rng(0).normal(size=200_000)).mean())

    def draw(rng: np.random.Generator, n: int) -> Sample:
        clusters = None
        x, shift = rng.normal(size=n), np.zeros(n)
        if entity:
            clusters, shift = _shared(rng, n, entity)
            x = (_shared(rng, n, 1.0)[1] + x) / np.sqrt(2)
        y = (rng.random(n) < logistic(offset + slope * x + shift)).astype(np.int64)
        score = logistic(offset + believed * x)
        return Sample(
            task=Task.BINARY, y=y, score=score, threshold=threshold, clusters=clusters, reference=(1 - share, share)
        )

    return draw


def classes(offsets: list[float], slope: float, *, entity: float = 0.0) -> Draw:
    """A class per offset, each with a column of its own; scores from the true law sharpened by a third."""
    shares = np.exp(offsets) / np.exp(offsets).sum()

    def draw(rng: np.random.Generator, n: int) -> Sample:
        clusters = None
        x = rng.normal(size=(n, len(offsets)))
        logits, shift = np.asarray(offsets) + slope * x, np.zeros_like(x)
        if entity:
            clusters = np.arange(n) // ENTITY_ROWS
            shift = (entity * rng.normal(size=(n // ENTITY_ROWS + 1, len(offsets))))[clusters]
        y = (logits + shift + rng.gumbel(size=x.shape)).argmax(axis=1)
        score = np.exp(logits * 4 / 3)
        score /= score.sum(axis=1, keepdims=True)
        return Sample(task=Task.MULTICLASS, y=y, score=score, clusters=clusters, reference=tuple(shares.tolist()))

    return draw


def regression(*, entity: bool = False, skewed: bool = False) -> Draw:
    """Errors that are wider where the estimate is larger, with shared shifts where rows come by entity.

    ``skewed``: errors from a gamma law of shape 2 (skewness 1.4, kurtosis 3), as of amounts and waiting times.
    """

    def draw(rng: np.random.Generator, n: int) -> Sample:
        clusters = None
        x = rng.normal(size=n)
        plain = rng.gamma(2.0, size=n) / np.sqrt(2) - np.sqrt(2) if skewed else rng.normal(size=n)
        error = plain * np.exp(0.25 * x)
        if entity:
            clusters, shift = _shared(rng, n, 0.7)
            error += shift
        return Sample(task=Task.REGRESSION, y=2 * x + error, score=2 * x, clusters=clusters, reference=(0.0,))

    return draw


POPULATIONS: dict[str, Draw] = {
    "binary, balanced": binary(0.0, 2.0, 2.4, 0.5),
    "binary, 10 % events": binary(-3.2, 1.8, 2.1, 0.3),
    "binary, balanced, by entity": binary(0.0, 2.0, 2.4, 0.5, entity=1.0),
    "binary, 10 % events, by entity": binary(-3.4, 1.8, 2.1, 0.3, entity=0.8),
    "three classes": classes([0.0, 0.0, -1.7], 1.8),
    "three classes, by entity": classes([0.0, 0.0, -1.0], 1.8, entity=1.0),
    "eight classes": classes([0.0, 0.0, 0.0, 0.0, -0.3, -0.3, -0.5, -0.5], 2.5),
    "regression": regression(),
    "regression, by entity": regression(entity=True),
    "regression, skewed errors": regression(skewed=True),
}


# --- what is measured, and its truth ----------------------------------------------------------------------------


def names_for(sample: Sample) -> list[str]:
    """Every quality metric of the task; with more than two classes also the recall of the first and of the last."""
    by_class = []
    if sample.task is Task.MULTICLASS:
        by_class = [f"{CLASS_METRIC}{k}" for k in (0, sample.class_count - 1)]
    return [*metrics_for(sample.task), *by_class]


def measured(name: str, sample: Sample) -> Measurement:
    """A metric by its name here, each side at 95 %."""
    if not name.startswith(CLASS_METRIC):
        return measure(name, sample)
    together = 1 - 0.05 * sample.class_count  # so that each class is measured at 95 %
    return class_measure(PER_CLASS[1], sample, "class", confidence=together)[int(name.removeprefix(CLASS_METRIC))]


def catalogue_name(name: str) -> str:
    """The catalogue's metric behind a name here."""
    return PER_CLASS[1] if name.startswith(CLASS_METRIC) else name


def truths(population: Sample) -> dict[str, float]:
    """The population's own values, without those that it may not answer.

    The calibration error is not among them: where no two rows share a score, nothing says how often a score comes true.
    """
    found = {name: measured(name, population).value for name in names_for(population) if name != "calibration_error"}
    return {name: value for name, value in found.items() if value is not None}


def law_truths(name: str, rows: int, holdouts: list[int]) -> dict[int, dict[str, float]]:
    """The values of a law by size of a holdout: means over draws of half a million rows, so many rows together.

    Only the calibration error depends on the size: it is that over as many bins as such a holdout is put into.
    """
    seed, most = list(POPULATIONS).index(name), 500_000
    found = []
    for place, size in enumerate([most] * (rows // most) or [rows]):
        big = POPULATIONS[name](np.random.default_rng([1000, seed, place]), size)
        one = truths(big)
        if big.task is Task.REGRESSION:
            found.append(dict.fromkeys(holdouts, one))
        else:
            found.append({n: one | {"calibration_error": true_gap(big, bin_count(n))} for n in holdouts})
    return {n: {metric: float(np.mean([one[n][metric] for one in found])) for metric in found[0][n]} for n in holdouts}


def true_gap(big: Sample, bins: int) -> float:
    """Mean squared gap over so many bins of a very large draw, debiased."""
    score, hit = confidence_pair(big)
    binned = telling_bins(score, hit, bins)
    noise = binned.share * (1 - binned.share) / binned.rows
    return float((binned.rows / big.n) @ ((binned.share - binned.score) ** 2 - noise))


# --- real tables ------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """A real table: features without missing values, the target as class indices or numbers, perhaps entities."""

    name: str
    task: Task
    x: Floats
    y: NDArray[Any]
    entity: NDArray[np.int64] | None = None


def bundled() -> Iterator[Table]:
    """What scikit-learn bundles: small, and two of them nearly perfect."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits  # noqa: PLC0415 - as in ``fitted``

    x, y = load_breast_cancer(return_X_y=True)
    yield Table("breast cancer", Task.BINARY, x, (y == 0).astype(np.int64))
    x, y = load_digits(return_X_y=True)
    yield Table("digits, is it an 8", Task.BINARY, x, (y == 8).astype(np.int64))
    yield Table("digits", Task.MULTICLASS, x, y.astype(np.int64))
    x, y = load_diabetes(return_X_y=True)
    yield Table("diabetes", Task.REGRESSION, x, y.astype(np.float64))


def tables(folder: Path | None) -> Iterator[Table]:
    """The UCI tables that a folder holds; nothing without one."""
    for name, target in KNOWN_TABLES.items() if folder is not None and folder.is_dir() else ():
        found = sorted(folder.glob(f"{name}.*")) if folder is not None else []
        if found:
            whole = read_table(found[0], name.replace("_", " "), target, ENTITIES.get(name))
            yield whole._replace(entity=None)
            if whole.entity is not None:
                yield whole._replace(name=f"{whole.name}, by {ENTITIES[name]}")


def read_table(path: Path, name: str, target: str, entity: str | None) -> Table:
    """A file as numbers: text by rank of its frequency, missing as -1."""
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
    else:
        with path.open(encoding="utf-8") as stream:
            first = stream.readline()
        frame = pl.read_csv(path, separator=";" if ";" in first else ",")
    labels = frame[target]
    numeric = labels.dtype.is_numeric()
    y = labels.to_numpy() if numeric else (labels == labels.value_counts(sort=True)[target][-1]).to_numpy()
    kept = [column for column in frame.columns if column not in {target, entity, *ADDS_UP}]
    coded = frame.select(
        (pl.col(column) if frame[column].dtype.is_numeric() else pl.col(column).cast(pl.String).rank("dense"))
        .cast(pl.Float64)
        .fill_null(-1)
        for column in kept
    )
    task = Task.REGRESSION if numeric else Task.BINARY
    codes = None if entity is None else dense_codes(frame[entity].cast(pl.String).to_numpy())
    return Table(name, task, coded.to_numpy(), y.astype(np.float64 if numeric else np.int64), codes)


def fitted(table: Table, seed: int) -> tuple[Sample, Sample]:
    """Two models' scores of the rows that they were not trained on: a linear one's, and boosted trees'."""
    from sklearn.ensemble import (  # noqa: PLC0415 - only whoever has tables needs the models
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )
    from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415 - as above

    order = np.random.default_rng(seed).permutation(len(table.y))
    if table.entity is not None:  # entities are on one side only
        order = np.argsort(np.random.default_rng(seed).permutation(table.entity.max() + 1)[table.entity], kind="stable")
    third = len(order) // 3
    train, rest = order[:third][:MOST_TRAINING_ROWS], order[third:]
    if table.task is Task.REGRESSION:
        models: list[Any] = [LinearRegression(), HistGradientBoostingRegressor(max_iter=60, random_state=seed)]
        reference: tuple[float, ...] = (float(table.y[train].mean()),)
    else:
        models = [
            make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
            HistGradientBoostingClassifier(max_iter=40, random_state=seed),
        ]
        shares = np.bincount(table.y[train]) / len(train)
        reference = tuple(shares.tolist())
    samples = []
    for model in models:
        model.fit(table.x[train], table.y[train])
        score = model.predict(table.x[rest]) if table.task is Task.REGRESSION else model.predict_proba(table.x[rest])
        score = score[:, 1] if table.task is Task.BINARY else score
        samples.append(
            Sample(
                task=table.task,
                y=table.y[rest],
                score=np.asarray(score, dtype=np.float64),
                threshold=0.3 if table.task is Task.BINARY else None,
                reference=reference,
                clusters=None if table.entity is None else dense_codes(table.entity[rest]),
            )
        )
    return samples[0], samples[1]


def resampling(population: Sample) -> Draw:
    """Holdouts of about so many rows from a population, with replacement: of its rows, or of its entities."""
    if population.clusters is None:
        return lambda rng, rows: population.take(rng.integers(0, population.n, rows))
    order = np.argsort(population.clusters, kind="stable")
    ends = np.cumsum(np.bincount(population.clusters))
    starts = np.concatenate([[0], ends[:-1]])

    def draw(rng: np.random.Generator, rows: int) -> Sample:
        drawn = rng.integers(0, len(ends), max(round(rows * len(ends) / population.n), 1))
        places = np.concatenate([order[starts[entity] : ends[entity]] for entity in drawn])
        sample = population.take(places)
        own = np.repeat(np.arange(len(drawn)), (ends - starts)[drawn])
        return Sample(
            task=sample.task,
            y=sample.y,
            score=sample.score,
            threshold=sample.threshold,
            reference=sample.reference,
            clusters=own,
        )

    return draw
