"""Pitfalls: what makes a good-looking number worthless.

In: samples, measurements, the choice. Out: ``Finding``s in plain words, and the measurement ``overfit_gap``.
Law: a pitfall is called proven only where an interval proves it; otherwise it is suspected or noted.
"""

from __future__ import annotations

import math

import numpy as np

from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Finding, Measurement
from roadworthy.records.model import Choice
from roadworthy.records.project import Task

__all__ = ["accuracy_paradox", "class_imbalance", "cross_validation_gap", "overfit_gap", "overfitting", "simpler_model"]

_IMBALANCE = 0.10
_RARE = 0.01
_OVERFIT = 0.2


def accuracy_paradox(sample: Sample, *, confidence: float = 0.95) -> tuple[Finding, ...]:
    """Whether accuracy beats always saying the most frequent class.

    A suspicion, not a failure: a threshold chosen for recall or cost may rightly give accuracy away.
    """
    if sample.task is Task.REGRESSION:
        return ()
    accuracy = measure("accuracy", sample, confidence=confidence)
    lift = measure("lift", sample, confidence=confidence)
    if accuracy.value is None or lift.value is None or lift.lower is None or lift.upper is None or lift.lower > 0:
        return ()
    dummy = accuracy.value - lift.value
    details = {"accuracy": accuracy.value, "majority": dummy, "lift_lower": lift.lower, "lift_upper": lift.upper}
    opening = f"Accuracy is {accuracy.value:.3f}, and always saying the most frequent class gives {dummy:.3f}"
    if lift.upper <= 0:
        words = "the model decides no better than that"
    else:
        words = f"with {confidence:.0%} confidence the model may be no better than that"
    sentence = f"{opening}: {words}. Look at recall, balanced accuracy or skill instead."
    return (Finding(kind="accuracy_paradox", subject="accuracy", grade="suspects", sentence=sentence, details=details),)


def class_imbalance(sample: Sample) -> tuple[Finding, ...]:
    """A note where the rarest class has less than a tenth of the rows; a suspicion below a hundredth."""
    if sample.task is Task.REGRESSION or sample.n == 0:
        return ()
    counts = sample.class_counts()
    rarest = int(np.argmin(counts))
    share = float(counts[rarest] / sample.n)
    if share >= _IMBALANCE:
        return ()
    label = sample.classes[rarest] if sample.classes else str(rarest)
    sentence = (
        f"Class {label} has {int(counts[rarest]):,} of {sample.n:,} rows ({share:.2%}): accuracy hides how it fares, "
        "and its own recall and precision rest on few rows."
    )
    grade = "suspects" if share < _RARE else "notes"
    details = {"share": share, "rows": int(counts[rarest])}
    return (Finding(kind="class_imbalance", subject=label, grade=grade, sentence=sentence, details=details),)


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


def simpler_model(choice: Choice) -> tuple[Finding, ...]:
    """A note naming the cheaper candidates that are not provably worse than the best, where there are any."""
    rows = {row["candidate"]: row for row in choice.table}
    best = next((row for row in choice.table if row.get("best")), None)
    if best is None:
        return ()
    as_good = [
        name
        for name, row in rows.items()
        if name != best["candidate"] and not row["provably_worse"] and row["size_bytes"] < best["size_bytes"]
    ]
    if not as_good:
        return ()
    sentence = (
        f"{' and '.join(sorted(as_good))} {'is' if len(as_good) == 1 else 'are'} smaller than {best['candidate']}, "
        "which has the best value, and not provably worse: the larger model has not earned its cost."
    )
    details = {"best": best["candidate"], "as_good": sorted(as_good)}
    subject = best["candidate"]
    return (Finding(kind="simpler_model", subject=subject, grade="notes", sentence=sentence, details=details),)
