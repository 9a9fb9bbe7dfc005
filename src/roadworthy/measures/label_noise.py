"""Wrong labels: which ones the rest of the data contradicts, and how many there are.

In: an ``Examined`` classifier's rows. Out: the metric ``label_errors``, the exhibit "label_noise", a finding. The
model itself is not asked: a small boosted stand-in, which never learned from the row it speaks of, is.

Which rows: confident learning (Northcutt, Jiang and Chuang 2021). A label is contradicted when another class reaches
the probability that rows of that class usually get. How many: only rows that the stand-in is surest of are counted,
the upper part of each class that it predicts, chosen without a look at their own label. There the columns leave next
to no doubt, so that what still disagrees is mostly label; the share of disagreement is a plain proportion with exact
bounds (Clopper and Pearson). Where columns say little of the target, a wrong label and a hard row look alike, and the
answer is ``insufficient``.

Laws: no label that is always predicted is accused; a row's own label decides neither whether it is counted nor what is
predicted of it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import Bounds, NotEnough, proportion
from roadworthy.measures.losses import base_loss, row_losses
from roadworthy.measures.samples import Sample, folds_of
from roadworthy.measures.surrogates import DRAWN, Lesson, encode_rows, out_of_fold, stacked
from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement
from roadworthy.records.project import Task

__all__ = ["Contradictions", "label_noise", "noise_share"]

_NAME = "labels"
_LEAST_ROWS = 100
_LEAST_ENTITIES = 10
_LEAST_OF_A_CLASS = 10
_LEAST_SKILL = 0.2
_SURE_ROWS = 400
_SURE_SHARE = (0.02, 0.5)
_LASTING = 0.5
_MUCH = 0.03
_FOLDS = 4
_MOST_SHOWN = 50


class Contradictions(NamedTuple):
    """Out-of-fold probabilities [n, K] and the labels [n] that were given; ``places`` [n] in the rows inspected."""

    probability: NDArray[np.float64]
    y: NDArray[np.int64]
    places: NDArray[np.int64]
    clusters: NDArray[np.int64] | None


def label_noise(examined: Examined, brief: Brief) -> Found:
    """``label_errors`` of a classifier; nothing for regression. At most 20,000 rows are looked at."""
    if examined.task is Task.REGRESSION:
        return Found()
    confidence = brief.confidence("label_errors")
    facts: dict[str, Any] = {"metric": "label_errors", "confidence": confidence, "n": examined.sample.n}
    try:
        asked = _asked(examined, brief)
        facts["n"] = len(asked.y)
        bounds = noise_share(asked, confidence)
    except NotEnough as reason:
        return Found(measurements=(Measurement(**facts, insufficient=f"label_errors {reason}"),))
    measured = Measurement(
        **facts,
        value=bounds.value,
        lower=bounds.lower,
        upper=bounds.upper,
        clusters=bounds.clusters,
        among=bounds.among,
        method=bounds.method,
        reason=f"They are counted among the {bounds.among:,} rows that the other rows are surest of.",
    )
    shown = _exhibit(examined, asked)
    return Found(measurements=(measured,), findings=_finding(measured, shown), exhibits=(shown,))


def noise_share(asked: Contradictions, confidence: float) -> Bounds:
    """Share of given labels that differ from the predicted one, among the rows that are surest of each prediction.

    Of each predicted class the same upper part is counted: 400 rows in all, but at most half of them and no fewer than
    one in fifty. The upper bound always holds, since hard rows only add. The lower one is 0 where contradictions fade
    as certainty grows, which is how hard rows behave and wrong labels do not. Raises NotEnough where the columns say
    too little of the labels (skill below 0.2).
    """
    sample = Sample(task=Task.MULTICLASS, y=asked.y, score=asked.probability)
    base = base_loss(sample)
    skill = 1 - float(row_losses(sample).mean()) / base if base > 0 else 0.0
    if skill < _LEAST_SKILL:
        raise NotEnough(
            f"cannot be measured: the columns say too little of the target (skill {skill:.2f}, and {_LEAST_SKILL} is "
            "needed) to tell a wrong label from a hard row"
        )
    said = asked.probability.argmax(axis=1)
    wrong = said != asked.y
    doubt = _doubt(asked.probability, said)
    share = float(np.clip(_SURE_ROWS / len(said), *_SURE_SHARE))
    sure = doubt < share
    clusters = None if asked.clusters is None else asked.clusters[sure]
    bounds = proportion(wrong[sure], clusters, confidence)._replace(among=int(np.count_nonzero(sure)))
    return bounds if _lasts(wrong, doubt, share) else bounds._replace(lower=0.0)


def _doubt(probability: NDArray[np.float64], said: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each row's place among those of the same predicted class, the surest first, from 0 to 1 [n]."""
    doubt = np.empty(len(said))
    for index in np.unique(said):
        own = np.flatnonzero(said == index)
        surest = own[np.argsort(-probability[own, index], kind="stable")]
        doubt[surest] = np.arange(len(own)) / len(own)
    return doubt


def _lasts(wrong: NDArray[np.bool_], doubt: NDArray[np.float64], share: float) -> bool:
    """Whether the surest rows are contradicted about as often as those that are a little less sure.

    The rows that come next, three times as many, must not be contradicted provably more often (one-sided 95 %). Where
    that would leave the surer half, the surest are halved instead (at 84 %, as there are few), and they must be
    contradicted at least half as often as all rows are.
    """
    if 4 * share <= _SURE_SHARE[1]:
        return _apart(wrong[doubt < share], wrong[(doubt >= share) & (doubt < 4 * share)]) <= 1.645
    sure = wrong[doubt < share]
    halves = wrong[doubt < share / 2], wrong[(doubt >= share / 2) & (doubt < share)]
    return float(sure.mean()) >= _LASTING * float(wrong.mean()) and _apart(*halves) <= 1.0


def _apart(surer: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """By how many standard errors the other rows are contradicted more often than the surer ones."""
    first, second = float(surer.mean()), float(other.mean())
    error = math.sqrt(first * (1 - first) / len(surer) + second * (1 - second) / len(other))
    return (second - first) / error if error > 0 else 0.0


def _asked(examined: Examined, brief: Brief) -> Contradictions:
    """Out-of-fold probabilities of a stand-in trained on the other rows, and on training rows where there are any."""
    sample, rng = examined.sample, brief.rng(_NAME)
    if sample.n < _LEAST_ROWS:
        raise NotEnough(f"needs at least {_LEAST_ROWS} rows, has {sample.n}")
    fewest = int(sample.class_counts().min())
    if fewest < _LEAST_OF_A_CLASS:
        raise NotEnough(f"needs at least {_LEAST_OF_A_CLASS} rows of each class, has {fewest}")
    places = np.sort(rng.permutation(sample.n)[: _most(sample, brief)])
    part, y = examined.take(places), sample.y[places]
    clusters = part.sample.clusters
    if clusters is not None and len(np.unique(clusters)) < _LEAST_ENTITIES:
        raise NotEnough(f"needs at least {_LEAST_ENTITIES} entities, has {len(np.unique(clusters))}")
    fold = folds_of(len(places), brief.most(_FOLDS, 2), rng, clusters)
    more = np.zeros(0, dtype=np.int64)
    if examined.train is not None and examined.train_y is not None:
        more = np.sort(rng.permutation(examined.train.height)[: _most(sample, brief)])
        y = np.concatenate([y, examined.train_y[more]])
        fold = np.concatenate([fold, np.full(len(more), -1)])
    rows = stacked(part, more)
    lesson = Lesson(
        x=encode_rows(rows, rows.columns), y=y, task=sample.task, classes=sample.class_count, seed=brief.seed
    )
    scores = out_of_fold("boosted", lesson, fold)
    wide = np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
    return Contradictions(wide, sample.y[places], places, clusters)


def _most(sample: Sample, brief: Brief) -> int:
    """Rows to look at: fewer for many classes, of which each is a model of its own."""
    return max(brief.most(20_000, 3_000) * 2 // max(sample.class_count, 2), 1_000)


def _exhibit(examined: Examined, asked: Contradictions) -> Exhibit:
    """The contradicted labels, the clearest first; at most 50."""
    sample, count = examined.sample, asked.probability.shape[1]
    own = asked.probability[np.arange(len(asked.y)), asked.y]
    usual = np.array([asked.probability[asked.y == index, index].mean() for index in range(count)])
    reaches = np.where(asked.probability >= usual, asked.probability, -1.0)
    likelier = reaches.argmax(axis=1)
    margin = np.where((likelier != asked.y) & (reaches.max(axis=1) > own), reaches.max(axis=1) - own, -1.0)
    order = [row for row in np.argsort(-margin, kind="stable")[:_MOST_SHOWN] if margin[row] > 0]
    names = sample.classes or tuple(map(str, range(count)))
    columns: dict[str, list[Any]] = {
        "row": [int(asked.places[row]) for row in order],
        "given": [names[asked.y[row]] for row in order],
        "likelier": [names[likelier[row]] for row in order],
        "probability": [round(float(asked.probability[row, likelier[row]]), 4) for row in order],
    }
    note = (
        f"{int((margin > 0).sum()):,} of {len(asked.y):,} rows have a label that the other rows contradict (confident "
        f"learning); the clearest {len(order)} by their position among the rows inspected, from 0. A hard row can be "
        "among them: look before correcting."
    )
    if len(examined.columns) > DRAWN:
        note += f" Each tree of the small model drew {DRAWN} of {len(examined.columns)} columns."
    return Exhibit(name="label_noise", title="Labels to look at again", columns=columns, note=note)


def _finding(measured: Measurement, shown: Exhibit) -> tuple[Finding, ...]:
    """Suspected where provably more than 3 % of the labels are contradicted."""
    if measured.value is None or measured.lower is None or measured.lower <= _MUCH:
        return ()
    sentence = (
        f"The other rows contradict {measured.value:.1%} of the labels (at least {measured.lower:.1%} with "
        f"{measured.confidence:.0%} confidence), even among the {measured.among:,} rows they are surest of: some "
        "labels are wrong. No model can be measured better than the labels it is measured by."
    )
    details = {"share": measured.value, "lower": measured.lower, "rows": shown.columns["row"][:10]}
    return (Finding(kind="label_noise", subject="labels", grade="suspects", sentence=sentence, details=details),)
