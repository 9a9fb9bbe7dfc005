"""The same kind of model trained again: on other seeds, on bootstrap samples, and twice on the same.

In: an ``Examined`` with a ``refit``. Out: ``churn``, ``training_spread`` and ``irreproducibility``. Every retrained
model answers the same rows, none of which it was trained on. Laws: two trainings that give the same scores have no
churn and no spread; what one training costs in luck is never blamed on the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special, stats

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import NotEnough, skewed_t
from roadworthy.measures.losses import base_loss, row_losses
from roadworthy.measures.samples import Sample, entity_codes
from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement
from roadworthy.records.project import Task

__all__ = ["TrainingRows", "retrained", "training_rows", "trainings_of"]

_CHECK = "stability"
_MOST_TRAINED, _MOST_ASKED = 50_000, 20_000
_FEWEST = 3
_CHURN = 0.05
_SEEDS, _BOOTSTRAP = "seeds", "bootstrap"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """Rows to train on with their outcome, and the rows of ``asked`` that no training sees."""

    rows: pl.DataFrame
    y: NDArray[Any]
    groups: NDArray[np.int64] | None
    asked: Examined


def training_rows(examined: Examined, brief: Brief) -> TrainingRows:
    """What the model learned from, where that is known; otherwise one half of its rows, the other half being asked.

    The halves keep entities whole. Training sees at most 50,000 rows; at most 20,000 are asked.
    """
    rng = brief.rng(_CHECK)
    if examined.train is not None and examined.train_y is not None:
        picked = np.sort(rng.permutation(examined.train.height)[:_MOST_TRAINED])
        frame, y = examined.train[picked], examined.train_y[picked]
        groups = entity_codes(frame[examined.entity]) if examined.entity in frame.columns else None
        asked = np.sort(rng.permutation(examined.sample.n)[:_MOST_ASKED])
        return TrainingRows(frame.select(examined.columns), y, groups, examined.take(asked))
    clusters = examined.sample.clusters
    units = np.arange(examined.sample.n) if clusters is None else clusters
    learns = rng.random(int(units.max()) + 1)[units] < 0.5
    picked = np.flatnonzero(learns)[:_MOST_TRAINED]
    asked = np.flatnonzero(~learns)[:_MOST_ASKED]
    groups = None if clusters is None else clusters[picked]
    return TrainingRows(examined.inputs[picked], examined.sample.y[picked], groups, examined.take(asked))


def trainings_of(examined: Examined, brief: Brief) -> int:
    """How many trainings ``retrained`` takes."""
    return 0 if examined.refit is None else 2 * _each(brief) + 2


def retrained(examined: Examined, brief: Brief) -> Found:
    """Spread of skill and churn of decisions over seeds and over bootstrap samples; whether one seed gives one model.

    ``brief.retrainings`` trainings are shared between seeds and samples, at least three each; two more have the same
    seed. Bootstrap samples draw whole entities where there are any (Davison and Hinkley 1997, section 3.8).
    """
    if examined.refit is None:
        return Found()
    part = training_rows(examined, brief)
    rng = brief.rng("bootstrap")
    every = np.arange(len(part.y))
    plans = [(_SEEDS, brief.seed + 1 + place, every) for place in range(_each(brief))]
    plans += [(_BOOTSTRAP, brief.seed, _drawn(part, rng)) for _ in range(_each(brief))]
    plans += [("again", brief.seed, every)] * 2
    scores: dict[str, list[NDArray[np.float64]]] = {}
    for kind, seed, places in plans:
        answer = examined.refit(part.rows[places], part.y[places], seed)
        scores.setdefault(kind, []).append(answer(part.asked.inputs).score)
        brief.advance(1)
    found = Found()
    for kind in (_SEEDS, _BOOTSTRAP):
        found += _spread(kind, part.asked.sample, scores[kind], brief)
    return found + _again(part.asked.sample, scores["again"])


def _each(brief: Brief) -> int:
    return max(_FEWEST, (brief.retrainings - 2) // 2)


def _drawn(part: TrainingRows, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of one bootstrap sample: rows, or entities with all of their rows."""
    count = len(part.y)
    if part.groups is None:
        return np.sort(rng.integers(0, count, count))
    codes = np.unique(part.groups, return_inverse=True)[1].reshape(-1)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))
    drawn = rng.integers(0, len(ends), len(ends))
    return np.concatenate([order[ends[one - 1] if one else 0 : ends[one]] for one in drawn])


def _spread(kind: str, sample: Sample, scores: Sequence[NDArray[np.float64]], brief: Brief) -> Found:
    """How far trainings lie apart; those on bootstrap samples decide, since data change too when a model is renewed."""
    base = base_loss(sample) or 1.0
    samples = [sample.scored(score) for score in scores]
    skills = np.array([1.0 - float(row_losses(one).mean()) / base for one in samples])
    measured = [_spread_of_skill(skills, sample.n, kind, brief)]
    findings: tuple[Finding, ...] = ()
    if sample.task is not Task.REGRESSION:
        churn = _churn(np.stack([one.decision for one in samples]), sample, kind, brief)
        measured.append(churn)
        findings = _churning(churn, kind)
    columns: dict[str, list[Any]] = {
        "training": list(range(1, len(skills) + 1)),
        "skill": skills.tolist(),
        "churn": [
            None if sample.task is Task.REGRESSION else float(np.mean(one.decision != samples[0].decision))
            for one in samples
        ],
    }
    words = "Other seeds" if kind == _SEEDS else "Bootstrap samples of the training rows"
    note = "churn: share of decisions that differ from the first training's"
    exhibit = Exhibit(name=f"trainings:{kind}", title=f"{words}: what changes", columns=columns, note=note)
    if kind == _BOOTSTRAP:
        measured += [_overall(one) for one in measured]
    return Found(measurements=tuple(measured), findings=findings, exhibits=(exhibit,))


def _overall(measured: Measurement) -> Measurement:
    return msgspec.structs.replace(measured, slice="")


def _spread_of_skill(skills: NDArray[np.float64], n: int, kind: str, brief: Brief) -> Measurement:
    """Standard deviation over trainings with chi-squared bounds, as if skill were normal over trainings."""
    confidence = brief.confidence("training_spread")
    degrees = len(skills) - 1
    value = float(np.std(skills, ddof=1))
    high, low = stats.chi2.ppf([confidence, 1 - confidence], degrees)
    return Measurement(
        metric="training_spread",
        slice=f"trainings={kind}",
        value=value,
        lower=value * math.sqrt(degrees / high),
        upper=value * math.sqrt(degrees / low),
        confidence=confidence,
        n=n,
        method=f"chi-squared over {len(skills)} trainings",
    )


def _churn(decisions: NDArray[np.int64], sample: Sample, kind: str, brief: Brief) -> Measurement:
    """Mean disagreement of two trainings [k, n]: errors of rows and (by jackknife) of trainings, added in squares."""
    confidence = brief.confidence("churn")
    facts: dict[str, Any] = {"metric": "churn", "slice": f"trainings={kind}", "confidence": confidence, "n": sample.n}
    per_row = _disagreement(decisions)
    value = float(per_row.mean())
    try:
        rows = skewed_t(value, (per_row - value) / sample.n, sample.clusters, confidence)
        below, above = value - rows.lower, rows.upper - value
    except NotEnough:
        if value:
            return Measurement(**facts, insufficient=f"churn cannot be measured on {sample.n} rows")
        below, above = 0.0, 1 - (1 - confidence) ** (1 / max(sample.n, 1))
    without = [float(_disagreement(np.delete(decisions, place, axis=0)).mean()) for place in range(len(decisions))]
    count = len(decisions)
    error = math.sqrt((count - 1) / count * float(np.sum(np.square(np.array(without) - np.mean(without)))))
    reach = float(stats.t.ppf(confidence, count - 1)) * error
    return Measurement(
        **facts,
        value=value,
        lower=_moved(value, -math.hypot(below, reach)),
        upper=_moved(value, math.hypot(above, reach)),
        clusters=0 if sample.clusters is None else len(np.unique(sample.clusters)),
        method=f"rows and {count} trainings (jackknife) in squares, logit",
    )


def _moved(share: float, step: float) -> float:
    """A share moved by a step on the logit scale, where its errors are even; at 0 and 1 as it is."""
    room = share * (1 - share)
    if room <= 0:
        return min(max(share + step, 0.0), 1.0)
    return float(special.expit(special.logit(share) + step / room))


def _disagreement(decisions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Per row [n] the share of pairs of trainings [k, n] that decide differently."""
    count = len(decisions)
    same = sum(np.square(hits := (decisions == label).sum(axis=0)) - hits for label in np.unique(decisions))
    return np.asarray(1.0 - same / (count * (count - 1)), dtype=np.float64)


def _churning(churn: Measurement, kind: str) -> tuple[Finding, ...]:
    if churn.value is None or churn.lower is None or churn.lower <= _CHURN:
        return ()
    change = "only the seed differs" if kind == _SEEDS else "the training rows are drawn again"
    sentence = (
        f"Two trainings of which {change} disagree on {churn.value:.1%} of the decisions (provably on at least "
        f"{churn.lower:.1%}): people will see answers change with every release. Average several trainings, or "
        "regularise."
    )
    details = {"churn": churn.value, "lower": churn.lower}
    return (Finding(kind="churn", subject=kind, grade="suspects", sentence=sentence, details=details),)


def _again(sample: Sample, scores: Sequence[NDArray[np.float64]]) -> Found:
    """Whether two trainings with one seed give one model; for regression in units of the target's spread."""
    unit = (float(np.std(sample.y)) or 1.0) if sample.task is Task.REGRESSION else 1.0
    apart = float(np.max(np.abs(scores[0] - scores[1]))) / unit
    measured = Measurement(
        metric="irreproducibility",
        value=apart,
        lower=apart,
        upper=apart,
        n=sample.n,
        method="greatest difference of two trainings with the same seed and rows",
    )
    if apart == 0:
        return Found(measurements=(measured,))
    sentence = (
        f"Two trainings with the same rows and the same seed differ by up to {apart:.2g} in their scores: a result "
        "that cannot be repeated cannot be debugged. Fix every random_state, and the number of threads."
    )
    finding = Finding(kind="irreproducible", subject="training", grade="suspects", sentence=sentence)
    return Found(measurements=(measured,), findings=(finding,))
