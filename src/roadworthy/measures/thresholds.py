"""The decision threshold, chosen on out-of-fold predictions.

In: the project's ``[decision]`` and a binary ``Sample`` of out-of-fold rows. Out: the threshold, why, and the
trade-off behind it. Laws: a constraint is met by its lower bound, not by its value; a row counts as positive
when ``score >= threshold``; a threshold lies midway between two scores, so that rounding moves no row across.

A constraint is tried at up to 60 thresholds that are laid by the scores alone. Picking the best of many that
pass would make one pass by luck, so the thresholds are tested in fixed sequences, each of which stops at its
first failure, and the allowed error is divided by the number of sequences (multi-start fixed-sequence testing,
Bauer 1991; for thresholds, Angelopoulos et al. 2021, Learn then Test). All thresholds that pass then meet the
constraint together at the confidence asked for, and the best of them may be picked freely.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError, Problem, ProjectFileError, UnknownName
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit, Measurement
from roadworthy.records.project import DecisionSpec, Task

__all__ = ["OBJECTIVES", "ThresholdChoice", "check_decision", "choose_threshold", "tradeoff_exhibit"]

OBJECTIVES = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "f05",
    "f2",
    "f_beta",
    "mcc",
)
_BETAS = {"f05": 0.5, "f1": 1.0, "f2": 2.0}
_CONSTRAINED = tuple(name for name in OBJECTIVES if name != "f_beta")
_CONSTRAINT = re.compile(r"\s*([a-z_0-9]+)\s*>=\s*([0-9.eE+-]+)\s*(%?)\s*")
_GRID = 60
_STARTS = 6
_MOST_POINTS = 200
_PLACE = "[decision] threshold"
_TUNED = (
    " The bounds do not allow for tuning, which picked the candidate's parameters on the same folds and so may flatter "
    "them: the holdout judges."
)
_KEYS = ("maximize", "subject_to", "beta", "minimize", "false_positive", "false_negative")

Floats = NDArray[np.float64]


class ThresholdChoice(NamedTuple):
    """The threshold, one paragraph on how it came about, and the trade-off table.

    ``constraint_met`` is None where no constraint was declared, else whether the rows prove it at this threshold.
    """

    threshold: float
    explanation: str
    exhibit: Exhibit
    constraint_met: bool | None = None


class _Cuts(NamedTuple):
    """Every way to cut the sample in two, threshold falling: thresholds, and the four counts at each."""

    threshold: Floats
    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats


class _Plan(NamedTuple):
    """The declaration, checked: what is maximised, under which constraint, with which costs."""

    objective: str
    constraint: tuple[str, float] | None
    beta: float
    costs: tuple[float, float] | None


def choose_threshold(
    spec: DecisionSpec, sample: Sample, *, confidence: float = 0.95, tuned: bool = False
) -> ThresholdChoice:
    """Choose as ``spec`` declares, from out-of-fold scores.

    Where no threshold proves the constraint, the one whose lower bound comes nearest is taken and the
    explanation says so; whether that is good enough is for the standard to judge. ``tuned`` says that the parameters
    behind the scores were picked on these rows too, which no bound allows for; the explanation tells. Raises
    ProjectFileError or UnknownName for a declaration that cannot be read, DataError for a sample that is not binary
    or empty.
    """
    if sample.task is not Task.BINARY or sample.n == 0:
        raise DataError("a threshold is chosen on binary rows", next_step="remove [decision] from roadworthy.toml")
    if not isinstance(spec.threshold, Mapping):
        fixed = _number("", spec.threshold, low=0.0, high=1.0)
        return ThresholdChoice(fixed, f"The threshold {fixed:g} is fixed in roadworthy.toml.", tradeoff_exhibit(sample))
    plan = _read(spec.threshold)
    cuts = _cut(sample)
    goal = _objective(plan, cuts)
    exhibit = tradeoff_exhibit(sample, costs=plan.costs)
    if plan.constraint is None:
        best = _best(goal, np.arange(len(goal)))
        return ThresholdChoice(float(cuts.threshold[best]), _free_words(plan, cuts, goal, best), exhibit)
    best, met, words = _constrained(plan, cuts, goal, sample, confidence)
    return ThresholdChoice(float(cuts.threshold[best]), words + (_TUNED if tuned else ""), exhibit, met)


def check_decision(spec: DecisionSpec) -> None:
    """Refuse a declaration that ``choose_threshold`` could not read, with the same errors."""
    if isinstance(spec.threshold, Mapping):
        _read(spec.threshold)
    else:
        _number("", spec.threshold, low=0.0, high=1.0)


def tradeoff_exhibit(
    sample: Sample,
    *,
    costs: tuple[float, float] | None = None,
    title: str = "What each threshold would give, out of fold",
) -> Exhibit:
    """Precision, recall, accuracy and F1 (and cost per row) at up to 200 thresholds."""
    cuts = _cut(sample)
    places = np.unique(np.linspace(0, len(cuts.threshold) - 1, _MOST_POINTS).round().astype(int))
    picked = _Cuts(*(part[places][::-1] for part in cuts))
    columns: dict[str, list[Any]] = {"threshold": picked.threshold.tolist()}
    for name in ("precision", "recall", "accuracy", "f1"):
        column = _value(name, picked, 1.0)
        columns[name] = [float(number) if np.isfinite(number) else None for number in column]
    if costs is not None:
        columns["cost"] = (-_cost(picked, costs)).tolist()
    return Exhibit(name="tradeoff", title=title, columns=columns)


def _cut(sample: Sample) -> _Cuts:
    values, level = np.unique(-sample.score, return_inverse=True)
    level = level.reshape(-1)
    falling = -values
    tp = np.concatenate([[0.0], np.cumsum(np.bincount(level, weights=sample.y == 1, minlength=len(values)))])
    fp = np.concatenate([[0.0], np.cumsum(np.bincount(level, weights=sample.y == 0, minlength=len(values)))])
    edges = np.concatenate([[max(1.0, falling[0])], falling, [min(0.0, falling[-1])]])
    threshold = (edges[:-1] + edges[1:]) / 2
    if falling[0] >= 1.0:  # a score of one cannot be excluded by any threshold up to one
        threshold, tp, fp = threshold[1:], tp[1:], fp[1:]
    return _Cuts(threshold, tp, fp, tp[-1] - tp, fp[-1] - fp)


def _objective(plan: _Plan, cuts: _Cuts) -> Floats:
    goal = _cost(cuts, plan.costs) if plan.costs is not None else _value(plan.objective, cuts, plan.beta)
    return np.where(np.isfinite(goal), goal, -np.inf)


def _cost(cuts: _Cuts, costs: tuple[float, float]) -> Floats:
    total = cuts.tp + cuts.fp + cuts.fn + cuts.tn
    return np.asarray(-(costs[0] * cuts.fp + costs[1] * cuts.fn) / total, dtype=np.float64)


def _value(name: str, cuts: _Cuts, beta: float) -> Floats:
    """A metric at every cut; NaN where it is not defined."""
    _, tp, fp, fn, tn = cuts
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "accuracy":
            return (tp + tn) / (tp + fp + fn + tn)
        if name == "balanced_accuracy":
            return (tp / (tp + fn) + tn / (tn + fp)) / 2
        if name == "mcc":
            return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        if name in {*_BETAS, "f_beta"}:
            weight = _BETAS.get(name, beta) ** 2
            return (1 + weight) * tp / ((1 + weight) * tp + weight * fn + fp)
        shares = {"precision": (tp, fp), "recall": (tp, fn), "specificity": (tn, fp)}
        right, wrong = shares[name]
        return right / (right + wrong)


def _best(goal: Floats, places: NDArray[np.int64]) -> int:
    """The place of the greatest value; of equals, the middle one."""
    values = goal[places]
    tied = places[values >= values.max() - 1e-12]
    return int(tied[len(tied) // 2])


def _constrained(plan: _Plan, cuts: _Cuts, goal: Floats, sample: Sample, confidence: float) -> tuple[int, bool, str]:
    """Where to cut, whether the constraint is proven there, and the words for it."""
    if plan.constraint is None:
        raise ValueError("no constraint")
    metric, bound = plan.constraint
    grid = _grid(cuts)
    sequences = _sequences(metric, grid)
    each = 1 - (1 - confidence) / len(sequences)
    measured: dict[int, Measurement] = {}

    def at(place: int) -> Measurement:
        if place not in measured:
            measured[place] = measure(metric, sample.at(float(cuts.threshold[place])), confidence=each)
        return measured[place]

    passed: set[int] = set()
    for sequence in sequences:
        for place in sequence:
            lower = at(place).lower
            if lower is None or lower < bound:
                break
            passed.add(place)
    if passed:
        best = _best(goal, np.array(sorted(passed)))
        return best, True, _proven_words(plan, float(cuts.threshold[best]), float(goal[best]), at(best), confidence)
    nearest = max(grid, key=lambda place: (_lower(at(int(place))), goal[place]))
    words = _unproven_words(plan, float(cuts.threshold[nearest]), at(int(nearest)), confidence)
    return int(nearest), False, words


def _grid(cuts: _Cuts) -> NDArray[np.int64]:
    """Up to 60 cuts, evenly spaced by the share of rows predicted positive: labels play no part."""
    positive = cuts.tp + cuts.fp
    wanted = np.linspace(0, positive[-1], _GRID + 1)[1:]
    return np.unique(np.clip(np.searchsorted(positive, wanted), 0, len(positive) - 1)).astype(np.int64)


def _sequences(metric: str, grid: NDArray[np.int64]) -> list[Sequence[int]]:
    """Orders to test in, safest threshold first; a metric without a known safest end starts at several."""
    falling = [int(place) for place in grid]
    if metric == "recall":
        return [falling[::-1]]
    if metric == "specificity":
        return [falling]
    starts = np.unique(np.linspace(0, len(falling) - 1, _STARTS + 1).astype(int)[:-1])
    return [falling[start:] for start in starts]


def _lower(measurement: Measurement) -> float:
    return -np.inf if measurement.lower is None else measurement.lower


def _read(declared: Mapping[str, Any]) -> _Plan:
    unknown = [key for key in declared if key not in _KEYS]
    if unknown:
        raise UnknownName("key", unknown[0], _KEYS, where=_PLACE)
    if ("maximize" in declared) == ("minimize" in declared):
        found = f"keys {', '.join(declared) or 'none'}"
        _refuse(found, 'exactly one of maximize = METRIC and minimize = "cost"')
    beta = _number("beta", declared.get("beta", 1.0), low=1e-3, high=1e3)
    constraint = _read_constraint(declared["subject_to"]) if "subject_to" in declared else None
    if "minimize" in declared:
        if declared["minimize"] != "cost":
            raise UnknownName("thing to minimize", str(declared["minimize"]), ["cost"], where=_PLACE)
        missing = [key for key in ("false_positive", "false_negative") if key not in declared]
        if missing:
            _refuse(
                f"no {' and no '.join(missing)}", "the cost of one error of each kind, such as false_positive = 1.0"
            )
        costs = tuple(_number(key, declared[key], low=0.0, high=1e12) for key in ("false_positive", "false_negative"))
        return _Plan("cost", constraint, beta, (costs[0], costs[1]))
    if declared["maximize"] not in OBJECTIVES:
        raise UnknownName("metric to maximize", str(declared["maximize"]), OBJECTIVES, where=_PLACE)
    return _Plan(declared["maximize"], constraint, beta, None)


def _read_constraint(text: object) -> tuple[str, float]:
    match = _CONSTRAINT.fullmatch(str(text))
    if match is None:
        _refuse(f"subject_to = {text!r}", 'a lower bound such as "precision >= 0.80"')
        raise AssertionError  # _refuse has raised
    name, number, percent = match.groups()
    if name not in _CONSTRAINED:
        raise UnknownName("metric in subject_to", name, _CONSTRAINED, where=_PLACE)
    return name, _number("subject_to", number, low=-1.0, high=100.0 if percent else 1.0) / (100 if percent else 1)


def _number(key: str, value: object, *, low: float, high: float) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = np.nan
    if not low <= number <= high:
        _refuse(f"{key or 'threshold'} = {value!r}", f"a number from {low:g} to {high:g}")
    return number


def _refuse(found: str, expected: str) -> None:
    raise ProjectFileError(
        "the decision cannot be read",
        problems=[Problem(found, expected=expected, where=_PLACE)],
        next_step="edit [decision] in roadworthy.toml",
    )


def _name(plan: _Plan) -> str:
    return f"F with beta {plan.beta:g}" if plan.objective == "f_beta" else plan.objective.replace("_", " ")


def _free_words(plan: _Plan, cuts: _Cuts, goal: Floats, best: int) -> str:
    rows = int(cuts.tp[best] + cuts.fp[best] + cuts.fn[best] + cuts.tn[best])
    opening = f"The threshold {cuts.threshold[best]:.4f}"
    if plan.costs is not None:
        return (
            f"{opening} makes errors cheapest over {rows:,} out-of-fold rows: {-goal[best]:.4g} per row, at "
            f"{plan.costs[0]:g} for a false alarm and {plan.costs[1]:g} for a missed event."
        )
    sentence = f"{opening} gives the greatest {_name(plan)} over {rows:,} out-of-fold rows: {goal[best]:.4f}."
    called = float(cuts.tp[best] + cuts.fp[best])
    if called in {0.0, float(rows)} or plan.objective in {"precision", "recall", "specificity"}:
        sentence += f" It calls {called / rows:.1%} of the rows positive: nothing was asked of the other kind of error."
    return sentence


def _proven_words(plan: _Plan, threshold: float, reached: float, proof: Measurement, confidence: float) -> str:
    metric, bound = plan.constraint or ("", 0.0)
    result = f"{-reached:.4g} cost per row" if plan.costs is not None else f"{_name(plan)} {reached:.4f}"
    return (
        f"The threshold {threshold:.4f} gives the best result ({result}) over {proof.n:,} out-of-fold rows among "
        f"those that prove {metric} >= {bound:g}: {metric} is {proof.value:.4f} there and at least {proof.lower:.4f}. "
        f"The bounds of all thresholds tried on these scores hold together with {confidence:.0%} confidence."
    )


def _unproven_words(plan: _Plan, threshold: float, proof: Measurement, confidence: float) -> str:
    metric, bound = plan.constraint or ("", 0.0)
    if proof.lower is None or proof.value is None:
        nearness = f"{proof.insufficient}, so the threshold {threshold:.4f} is taken for want of a better one"
    else:
        nearness = (
            f"the threshold {threshold:.4f} comes nearest, with {metric} {proof.value:.4f} and at least "
            f"{proof.lower:.4f}"
        )
    return (
        f"No threshold proves {metric} >= {bound:g} with {confidence:.0%} confidence on {proof.n:,} out-of-fold rows: "
        f"{nearness}. The constraint is not met."
    )
