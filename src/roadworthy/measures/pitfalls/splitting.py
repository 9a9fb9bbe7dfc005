"""What a random split of these rows would have promised, beside the honest one, for a model that others trained.

In: an ``Examined`` model whose rows have a time or an entity. Out: the ``Finding`` of ``measures.split_gap``. Laws:
both ways train the same stand-in on the same number of rows and are asked about the same rows; a gap is called one only
where its bounds prove it.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.samples import Sample, folds_of
from roadworthy.measures.split_gap import split_gap, split_gap_finding, unmeasured_gap
from roadworthy.measures.surrogates import Lesson, encode_rows, fit_predict, stacked
from roadworthy.records.data import SplitKind
from roadworthy.records.evidence import Finding

__all__ = ["random_against_honest"]

_ROWS = (8_000, 2_000)
_LEAST_ROWS = 200
_FOLDS = 5
_RANDOM = 3
_LEAST_TRAINING = 50
_STAND_IN = "a boosted stand-in"

Arm = tuple[NDArray[np.int64], NDArray[np.int64]]


def random_against_honest(examined: Examined, brief: Brief) -> tuple[Finding, ...]:
    """A note with the gap and its bounds; nothing without time and entity, or below 200 rows.

    By time the latest two fifths are asked about, each by models of what came before it; by entity, folds by models
    of other entities; at random, the same rows by models of any other rows. Where there are both, time decides. At
    most 8,000 rows are looked at: a stretch of the latest ones, or whole entities.
    """
    sample = examined.sample
    if sample.n < _LEAST_ROWS or not (examined.time or sample.clusters is not None):
        return ()
    kind: SplitKind = "time" if examined.time else "entity"
    places = _pool(examined, brief)
    part = examined.take(places)
    rows = stacked(part, np.zeros(0, dtype=np.int64))
    lesson = Lesson(
        x=encode_rows(rows, [name for name in rows.columns if name != examined.time]),
        y=part.sample.y,
        task=sample.task,
        classes=sample.class_count,
        seed=brief.seed,
    )
    honest, random = _arms(part.sample, kind, brief.rng("splits"))
    fewest = min(len(train) for train, _ in (*honest, *random))
    if fewest < _LEAST_TRAINING:
        reason = f"only {fewest} rows could train each way, and {_LEAST_TRAINING} are needed"
        return split_gap_finding(unmeasured_gap(kind, _STAND_IN, sample.task, reason))
    first, second = (_scored(part.sample, lesson, arms) for arms in (honest, random))
    gap = split_gap(first, second, kind=kind, candidate=_STAND_IN, trained_rows=fewest)
    told = gap.sentence.replace("training rows.", "of the rows inspected.")  # these trained nothing but the stand-in
    return split_gap_finding(msgspec.structs.replace(gap, sentence=told))


def _pool(examined: Examined, brief: Brief) -> NDArray[np.int64]:
    """Positions of the rows looked at, in the order of time where there is one."""
    most, sample = brief.most(*_ROWS), examined.sample
    if examined.time:
        order = examined.rows[examined.time].rank("dense").fill_null(0).to_numpy().argsort(kind="stable")
        return np.asarray(order[-most:], dtype=np.int64)
    if sample.clusters is None:
        raise ValueError("rows without time have entities here")
    turn = brief.rng("splits").permutation(int(sample.clusters.max()) + 1)[sample.clusters]
    return np.asarray(np.sort(np.argsort(turn, kind="stable")[:most]), dtype=np.int64)


def _arms(sample: Sample, kind: SplitKind, rng: np.random.Generator) -> tuple[list[Arm], list[Arm]]:
    """Honest and random trainings, asked about the same rows, all on as many rows."""
    n = sample.n
    if kind == "time":
        fold = np.arange(n) * _FOLDS // n
        asked = [_FOLDS - 2, _FOLDS - 1]
    else:
        fold = folds_of(n, _FOLDS, rng, sample.clusters)
        asked = [0, 1]
    label = rng.permutation(n) % _RANDOM
    held = np.isin(fold, asked)
    honest = [(np.flatnonzero(fold < one if kind == "time" else fold != one), fold == one) for one in asked]
    random = [(np.flatnonzero(label != one), held & (label == one)) for one in range(_RANDOM)]
    fewest = min(len(train) for train, _ in (*honest, *random))
    first, second = (
        [
            (np.sort(rng.choice(train, fewest, replace=False)), np.flatnonzero(ahead))
            for train, ahead in arms
            if ahead.any()
        ]
        for arms in (honest, random)
    )
    return first, second


def _scored(sample: Sample, lesson: Lesson, arms: list[Arm]) -> Sample:
    """All asked rows in their order, scored one way."""
    asked = np.concatenate([ahead for _, ahead in arms])
    scores = np.concatenate([fit_predict("boosted", lesson, train, ahead) for train, ahead in arms])
    order = np.argsort(asked, kind="stable")
    return sample.take(asked[order]).scored(scores[order])
