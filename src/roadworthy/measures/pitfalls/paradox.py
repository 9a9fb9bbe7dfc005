"""The accuracy paradox: high accuracy that always giving the commonest answer reaches too.

In: a sample with decisions, what the standard requires. Out: ``Finding``s. Law: the paradox fails a model only where it
is proven that most of the rare class is missed and hardly any error of the constant answer is removed, and where nobody
has declared how the rare class shall fare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from roadworthy.measures.intervals import Bounds, NotEnough, proportion, skewed_t
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task
from roadworthy.standard.requirement import Requirement

__all__ = ["DECLARES", "accuracy_paradox", "class_imbalance"]

DECLARES = (
    "balanced_accuracy",
    "f05",
    "f1",
    "f2",
    "macro_f1",
    "mcc",
    "pr_auc",
    "precision",
    "recall",
    "specificity",
)
"""Who requires one of these has looked past accuracy."""

_IMBALANCE = 0.10
_RARE = 0.01
_MINORITY = 0.2
_MAJORITY = 0.5
_FOUND = 0.5
_REMOVED = 0.2
_PLAIN = {"1", "1.0", "true", "yes", "y", "t", "0", "0.0", "false", "no", "n", "f", "-1", "positive", "negative"}


class _Missed(NamedTuple):
    """The rarest class: its index, the share of it that is found, the share of the constant answer's errors removed."""

    rare: int
    majority: int
    found: Bounds
    removed: float
    removed_upper: float


def accuracy_paradox(
    sample: Sample, *, confidence: float = 0.95, required: Sequence[Requirement] = (), target: str = ""
) -> tuple[Finding, ...]:
    """Whether accuracy hides that the model hardly does more than always give the commonest answer.

    ``fails``: the rarest class has at most a fifth of the rows and another at least half; provably fewer than half of
    the rarest are found; provably less than a fifth of the constant answer's errors is removed; and no requirement
    that a person declared (a preset does not count) names a metric of ``DECLARES``. Where one does, it is suspected:
    a threshold chosen for precision or cost may rightly give recall away. ``suspects`` too where accuracy is merely
    not provably above the constant answer's. ``target`` is what the sentence calls the event.
    """
    if sample.task is Task.REGRESSION or sample.n == 0:
        return ()
    missed = _missed(sample, confidence)
    if missed is None:
        return _no_lift(sample, confidence)
    declared = [one.metric for one in required if one.metric in DECLARES and not one.origin.startswith("preset")]
    accuracy = float(np.mean(sample.decision == sample.y))
    constant = float(np.mean(sample.y == missed.majority))
    names = sample.classes or tuple(map(str, range(sample.class_count)))
    sentence = (
        f"Accuracy is {_percent(accuracy, 1)}, but only {_percent(missed.found.value)} of "
        f"{_event(names[missed.rare], target, sample.task)} is found (at most {_percent(missed.found.upper)} with "
        f"{_percent(confidence)} confidence): always saying '{names[missed.majority]}' would be right "
        f"{_percent(constant, 1)} of the time."
    )
    if declared:
        sentence += f" The standard asks for {' and '.join(sorted(set(declared)))}, so this may be what is wanted."
    details = {
        "accuracy": accuracy,
        "majority": constant,
        "recall": missed.found.value,
        "recall_upper": missed.found.upper,
        "errors_removed": missed.removed,
        "errors_removed_upper": missed.removed_upper,
    }
    grade = "suspects" if declared else "fails"
    return (Finding(kind="accuracy_paradox", subject="accuracy", grade=grade, sentence=sentence, details=details),)


def _missed(sample: Sample, confidence: float) -> _Missed | None:
    """What is proven of the rarest class; None where nothing is, or where no class is rare beside a common one."""
    counts = sample.class_counts()
    present = np.flatnonzero(counts)
    rare, majority = int(present[np.argmin(counts[present])]), int(np.argmax(counts))
    if counts[rare] > _MINORITY * sample.n or counts[majority] < _MAJORITY * sample.n:
        return None
    right, constant = sample.decision == sample.y, sample.y == majority
    own = np.flatnonzero(sample.y == rare)
    total = int(np.count_nonzero(~constant))
    if total == 0:
        return None
    removed = float(np.count_nonzero(right) - np.count_nonzero(constant)) / total
    gain = right.astype(np.float64) - constant
    try:
        found = proportion(right[own], None if sample.clusters is None else sample.clusters[own], confidence)
        # a ratio of two sums over the same rows, linearised
        upper = skewed_t(removed, (gain - removed * ~constant) / total, sample.clusters, confidence).upper
    except NotEnough:
        if not np.array_equal(right, constant) or sample.clusters is not None:
            return None
        upper = removed  # every row is decided as the constant answer decides it: nothing is removed, exactly
        found = proportion(right[own], None, confidence)
    if found.upper >= _FOUND or upper >= _REMOVED:
        return None
    return _Missed(rare, majority, found, removed, upper)


def _no_lift(sample: Sample, confidence: float) -> tuple[Finding, ...]:
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


def _event(label: str, target: str, task: Task) -> str:
    """What is found or missed, in words: "the fraud" for a target "is_fraud" or a label "fraud".

    >>> _event("1", "is_fraud", Task.BINARY), _event("fraud", "kind", Task.BINARY), _event("no", "kept", Task.BINARY)
    ('the fraud', 'the fraud', "class 'no'")
    """
    if label.lower() not in _PLAIN:
        return f"class '{label}'" if task is Task.MULTICLASS else f"the {label.replace('_', ' ')}"
    positive = label.lower() in {"1", "1.0", "true", "yes", "y", "t", "positive"}
    bare = target.removeprefix("is_").removeprefix("has_").replace("_", " ").strip()
    return f"the {bare}" if positive and bare and bare != "target" else f"class '{label}'"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


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
