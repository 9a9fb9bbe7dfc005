"""What remains when the least certain rows go to a person.

In: rows decided by a model, how sure it was of each, and which ones a plan would refer. Out: the exhibit "referral",
the risk–coverage curve (El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017), and one sentence. Law: rows are kept by
what is known without their outcome, so that the bounds of what is kept hold as they are, each for itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.intervals import Bounds, NotEnough
from roadworthy.measures.samples import Sample
from roadworthy.measures.uncertainty.parts import Ways, mean_of, share_of
from roadworthy.records.evidence import Exhibit, Finding
from roadworthy.records.project import Task

__all__ = ["doubts", "referral_exhibit", "referral_finding"]

_STEPS = tuple(round(0.025 * step, 3) for step in range(21))
_LEAST_KEPT = 30


def doubts(sample: Sample, widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """How unsure the model is of each of its decisions [n]: 1 − the decided label's probability, or the width [n]."""
    if sample.task is Task.REGRESSION:
        return widths
    return 1.0 - sample.probabilities[np.arange(sample.n), sample.decision]


def kept_quality(sample: Sample, ways: Ways, kept: NDArray[np.bool_], confidence: float) -> Bounds:
    """Accuracy, or mean absolute error, of the rows that are kept; NotEnough for fewer than 30."""
    places = np.flatnonzero(kept)
    if len(places) < _LEAST_KEPT:
        raise NotEnough(f"needs at least {_LEAST_KEPT} rows that are kept, has {len(places)}")
    rest, own = sample.take(places), ways.take(places)
    if sample.task is Task.REGRESSION:
        return mean_of(np.abs(rest.score - rest.y).astype(np.float64), own, confidence)
    return share_of(rest.decision == rest.y, own, confidence)


def referral_exhibit(
    sample: Sample, ways: Ways, doubt: NDArray[np.float64], share: float, confidence: float
) -> Exhibit:
    """Quality of the rest by share of rows referred, from none to half of them; ``share`` is the rule's own."""
    order = np.argsort(np.argsort(-doubt, kind="stable"), kind="stable")
    columns: dict[str, list[Any]] = {"referred": [], "rows_kept": [], "quality": [], "lower": [], "upper": []}
    for step in _STEPS:
        kept = order >= round(step * sample.n)
        try:
            bounds = kept_quality(sample, ways, kept, confidence)
        except NotEnough:
            break
        point = (step, float(np.count_nonzero(kept)), bounds.value, bounds.lower, bounds.upper)
        for name, value in zip(columns, point, strict=True):
            columns[name].append(float(value))
    what = "mean absolute error" if sample.task is Task.REGRESSION else "accuracy"
    note = (
        f"Quality is the {what} of the rows that are kept, with one-sided {confidence:.0%} bounds for each share by "
        f"itself. The rule (a set of more than one label, an interval that says less than no model, a row outside the "
        f"support) refers {share:.1%}."
    )
    title = f"What {what} remains when the least certain rows are referred"
    return Exhibit(name="referral", title=title, columns=columns, note=note)


def referral_finding(sample: Sample, ways: Ways, refers: NDArray[np.bool_], confidence: float) -> tuple[Finding, ...]:
    """One note: what referring would do to the quality of the rest; nothing where no row or nearly every row is."""
    try:
        everything = kept_quality(sample, ways, np.ones(sample.n, dtype=np.bool_), confidence)
        rest = kept_quality(sample, ways, ~refers, confidence)
    except NotEnough:
        return ()
    share = float(refers.mean())
    if share == 0:
        return ()
    number = sample.task is Task.REGRESSION
    what = "the mean absolute error" if number else "accuracy"
    show = "{:.4g}" if number else "{:.1%}"
    before, after = show.format(everything.value), show.format(rest.value)
    if number:
        proven, words, bound = rest.upper < everything.value, "lower", f"at most {show.format(rest.upper)}"
    else:
        proven, words, bound = rest.lower > everything.value, "raise", f"at least {show.format(rest.lower)}"
    opening = f"Referring the {share:.1%} least certain rows to a person would"
    sentence = (
        f"{opening} {words} {what} of the rest from {before} to {after} ({bound} with {confidence:.0%} confidence)."
        if proven
        else f"{opening} not provably change {what} of the rest: {after} instead of {before}."
    )
    details = {"referred": share, "before": everything.value, "after": rest.value}
    details |= {"lower": rest.lower, "upper": rest.upper}
    return (Finding(kind="referral", subject="referred", grade="notes", sentence=sentence, details=details),)
