"""Models that cost less and are not provably worse.

In: the candidates of a training, or an ``Examined`` model that others trained. Out: ``Finding``s. Laws: the comparison
is paired, row by row, on rows that trained neither; a model that is provably better than the simple ones is not named.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import Bounds, NotEnough, skewed_t
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample, folds_of
from roadworthy.measures.surrogates import Lesson, encode_rows, fit_predict, out_of_fold, stacked
from roadworthy.records.evidence import Finding
from roadworthy.records.model import Choice
from roadworthy.records.project import Task

__all__ = ["simpler_model", "simpler_stand_in"]

_ROWS = (20_000, 4_000)
_LEAST_ROWS = 100
_FOLDS = 3
_STAND_INS = {
    "constant": "always giving the base rate",
    "tree": "a decision tree of depth three",
    "linear": "a linear model",
}
_CONSTANT_NUMBER = "always giving the mean"


class _Compared(NamedTuple):
    """A stand-in beside the model on the same rows; ``bounds``: loss of the stand-in above that of the model."""

    name: str
    loss: float
    model: float
    bounds: Bounds


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


def simpler_stand_in(examined: Examined, brief: Brief) -> tuple[Finding, ...]:
    """The simplest of three stand-ins that the model is not provably better than, on the same rows.

    Always giving the base rate (or the mean), a tree of depth three, a logistic or ridge regression. They train on the
    model's training rows where those are known (at most 20,000), else by cross-validation on the rows inspected, of
    fewer rows than the model may have had. ``suspects`` where the stand-in is provably better, else a note. Nothing
    below 100 rows, nor where losses allow no bounds.
    """
    if examined.sample.n < _LEAST_ROWS:
        return ()
    try:
        found = _compared(examined, brief)
    except NotEnough:  # as many rows as there are entities decide: nothing can be said either way
        return ()
    not_worse = [one for one in found if one.bounds.lower <= 0]
    return (_finding(not_worse[0], examined.sample, brief),) if not_worse else ()


def _compared(examined: Examined, brief: Brief) -> list[_Compared]:
    rng, most = brief.rng("simpler"), brief.most(*_ROWS)
    places = np.sort(rng.permutation(examined.sample.n)[:most])
    part = examined.take(places)
    sample, n = part.sample, len(places)
    more = np.zeros(0, dtype=np.int64)
    y = sample.y
    if examined.train is not None and examined.train_y is not None:
        more = np.sort(rng.permutation(examined.train.height)[:most])
        y = np.concatenate([y, examined.train_y[more]])
    rows = stacked(part, more)
    lesson = Lesson(
        x=encode_rows(rows, rows.columns), y=y, task=sample.task, classes=sample.class_count, seed=brief.seed
    )
    fold = np.concatenate([folds_of(n, _FOLDS, rng, sample.clusters), np.full(len(more), -1)])
    own, found = row_losses(sample), []
    for name in _STAND_INS:
        if len(more):
            scores = fit_predict(name, lesson, np.arange(n, n + len(more)), np.arange(n))
        else:
            scores = out_of_fold(name, lesson, fold)
        theirs = row_losses(sample.scored(scores))
        bounds = _difference(theirs - own, sample, brief.confidence("skill"))
        found.append(_Compared(name, float(theirs.mean()), float(own.mean()), bounds))
    return found


def _difference(difference: NDArray[np.float64], sample: Sample, confidence: float) -> Bounds:
    value = float(difference.mean())
    if float(np.ptp(difference)) == 0:
        return Bounds(value, value, value, "the same on every row")
    return skewed_t(value, (difference - value) / len(difference), sample.clusters, confidence)


def _finding(one: _Compared, sample: Sample, brief: Brief) -> Finding:
    number = sample.task is Task.REGRESSION
    loss = "mean squared error" if number else "log loss"
    words = _CONSTANT_NUMBER if number and one.name == "constant" else _STAND_INS[one.name]
    better = one.bounds.upper < 0
    opening = f"{words[0].upper()}{words[1:]} has a {loss} of {one.loss:.4g} on these {sample.n:,} rows"
    opening += f" and the model {one.model:.4g}"
    if better:
        rest = f": it is provably worse than something so simple (by at least {-one.bounds.upper:.2g})"
    else:
        within = f"{brief.confidence('skill'):.0%} bounds {one.bounds.lower:.2g} to {one.bounds.upper:.2g}"
        rest = f", which is not provably better (difference: {within}): it has yet to earn its cost"
    details = {
        "stand_in": one.name,
        "loss": one.loss,
        "model_loss": one.model,
        "lower": one.bounds.lower,
        "upper": one.bounds.upper,
    }
    return Finding(
        kind="simpler_model",
        subject=one.name,
        grade="suspects" if better else "notes",
        sentence=f"{opening}{rest}.",
        details=details,
    )
