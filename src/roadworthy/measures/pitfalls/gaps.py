"""Quality that is lost between one set of rows and another: learned by heart, or promised by cross-validation.

In: samples of both. Out: the measurement ``overfit_gap``, ``Finding``s. Law: a gap is called one only where it is
proven.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Finding, Measurement
from roadworthy.records.project import Task

__all__ = ["cross_validation_gap", "overfit_gap", "overfit_gap_of", "overfitting"]

_OVERFIT = 0.2
_TRAINING_ROWS = (10_000, 2_000)


def overfit_gap(holdout: Sample, training: Sample, *, confidence: float = 0.95) -> Measurement:
    """Loss on unseen rows above the loss on rows that the model learned from, as a share of the base loss.

    ``training`` holds the fitted model's own predictions on training rows. The base loss is that of the base
    rate (of the training mean, for regression), so the gap is the skill (R²) lost outside training: 0.2 means
    that a fifth of the base loss is explained in training only. The two sets share no row; their bounds add
    in squares (MOVER).
    """
    name = "r2" if holdout.task is Task.REGRESSION else "skill"
    seen, unseen = (measure(name, sample, confidence=confidence) for sample in (training, holdout))
    for part, measured in (("training", seen), ("holdout", unseen)):
        if measured.insufficient or measured.error:
            reason = f"overfit_gap cannot be measured on the {part} rows: {measured.insufficient}{measured.error}"
            broken = bool(measured.error)
            return Measurement(
                metric="overfit_gap",
                confidence=confidence,
                n=holdout.n,
                insufficient="" if broken else reason,
                error=reason if broken else "",
            )
    high, low = _numbers(seen), _numbers(unseen)
    value = high[0] - low[0]
    return Measurement(
        metric="overfit_gap",
        value=value,
        lower=value - math.hypot(high[0] - high[1], low[2] - low[0]),
        upper=value + math.hypot(high[2] - high[0], low[0] - low[1]),
        confidence=confidence,
        n=holdout.n,
        clusters=unseen.clusters,
        method=f"difference of {unseen.method} bounds (MOVER)",
    )


def _numbers(measured: Measurement) -> tuple[float, float, float]:
    if measured.value is None or measured.lower is None or measured.upper is None:
        raise ValueError(f"{measured.metric} has no bounds")
    return measured.value, measured.lower, measured.upper


def overfitting(gap: Measurement) -> tuple[Finding, ...]:
    """Suspected where the gap is provably above a fifth of the base loss."""
    if gap.value is None or gap.lower is None or gap.lower <= _OVERFIT:
        return ()
    sentence = (
        f"The model explains {gap.value:.1%} more of the base loss in training than on unseen rows (provably at least "
        f"{gap.lower:.1%}): it has learned rows by heart. Try fewer rounds, more regularisation, or more data."
    )
    details = {"gap": gap.value, "lower": gap.lower}
    return (Finding(kind="overfitting", subject="overfit_gap", grade="suspects", sentence=sentence, details=details),)


def cross_validation_gap(out_of_fold: Sample, holdout: Sample, *, confidence: float = 0.95) -> tuple[Finding, ...]:
    """Whether the holdout is provably worse than cross-validation promised (independent rows, MOVER bounds)."""
    name = "mae" if holdout.task is Task.REGRESSION else "log_loss"
    before, after = (measure(name, sample, confidence=confidence) for sample in (out_of_fold, holdout))
    if before.value is None or after.value is None or before.upper is None or after.lower is None:
        return ()
    difference = after.value - before.value
    proven = difference - math.hypot(after.value - after.lower, before.upper - before.value)
    if proven <= 0:
        return ()
    sentence = (
        f"{name.replace('_', ' ')} is {after.value:.4g} on the holdout and {before.value:.4g} in cross-validation: "
        f"worse by {difference:.3g}, provably by {proven:.3g}. The later or other rows differ, or the choice "
        "fitted the folds."
    )
    details = {"difference": difference, "lower": proven}
    return (Finding(kind="cross_validation_gap", subject=name, grade="suspects", sentence=sentence, details=details),)


def overfit_gap_of(examined: Examined, brief: Brief) -> Measurement:
    """``overfit_gap`` of a model whose training rows are known, which is asked about at most 10,000 of them.

    ``insufficient`` where they are not known; an error where the model answers none of its own training rows.
    """
    confidence, sample = brief.confidence("overfit_gap"), examined.sample
    facts: dict[str, Any] = {"metric": "overfit_gap", "confidence": confidence, "n": sample.n}
    if examined.train is None or examined.train_y is None:
        return Measurement(
            **facts, insufficient="overfit_gap needs rows that the model learned from, and none are known"
        )
    rows = np.sort(brief.rng("overfit_gap").permutation(examined.train.height)[: brief.most(*_TRAINING_ROWS)])
    answered = examined.answer(examined.train[rows].select(examined.columns))
    sound = answered.sound
    if not sound.any():
        return Measurement(**facts, error="the model gave no finite answer to any row that it learned from")
    training = Sample(
        task=sample.task,
        y=examined.train_y[rows][sound],
        score=answered.score[sound],
        threshold=sample.threshold,
        classes=sample.classes,
        reference=sample.reference,
    )
    return overfit_gap(sample, training, confidence=confidence)
