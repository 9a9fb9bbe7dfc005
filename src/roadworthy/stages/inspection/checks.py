"""The checks of the inspection, in the order in which people read them.

Owns the table: which check measures which metrics, when it applies, how many steps it announces. The arithmetic is in
``measures``. A new check is a function ``(Examined, Brief) -> Found`` there and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from roadworthy.errors import UnknownName
from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.explanation import explanation, explanation_steps
from roadworthy.measures.fairness import fairness
from roadworthy.measures.label_noise import label_noise
from roadworthy.measures.leakage import leakage
from roadworthy.measures.operating_points import threshold
from roadworthy.measures.pitfalls import pitfalls
from roadworthy.measures.robustness import robustness, robustness_steps
from roadworthy.measures.stability import AGEING_TRAININGS, ageing, over_time, retrained, trainings_of
from roadworthy.measures.uncertainty import uncertainty
from roadworthy.measures.weak_slices import weak_slices
from roadworthy.records.evidence import Found
from roadworthy.records.project import Task

__all__ = ["CHECKS", "RETRAINED", "RETRAININGS", "Check", "checks_named"]

RETRAINED = ("churn", "training_spread", "staleness", "irreproducibility")
"""Metrics that only training anew can tell."""

PARITIES = ("demographic_parity", "equal_opportunity", "equalized_odds")
"""What fairness compares between groups, as a difference and as a ratio."""

RETRAININGS = 10
"""How often a model is trained anew where a standard asks for one of them."""


def _nothing(_examined: Examined, _brief: Brief) -> str:
    return ""


def _unknown(_examined: Examined, _brief: Brief) -> int | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: ``title`` says it to people, ``metrics`` are those that it alone measures.

    ``lacks`` says in one sentence what is missing for it to be asked at all, and what to do; empty where nothing is.
    ``steps`` announces how many steps it will take, None where that cannot be told. ``trains``: each of them is a
    training, long enough that people are told how many there will be.
    """

    name: str
    title: str
    run: Callable[[Examined, Brief], Found]
    metrics: tuple[str, ...] = ()
    lacks: Callable[[Examined, Brief], str] = _nothing
    steps: Callable[[Examined, Brief], int | None] = _unknown
    trains: bool = False

    def work(self, steps: int | None) -> str:
        """What people see under way: the title, with the number of trainings where it trains."""
        return f"{steps} {self.title}" if self.trains and steps else self.title


def _binary_only(examined: Examined, _brief: Brief) -> str:
    return "" if examined.task is Task.BINARY else f"a {examined.task.value} task takes no threshold"


def _classes_only(examined: Examined, _brief: Brief) -> str:
    return "" if examined.task is not Task.REGRESSION else "labels that are numbers contradict nothing one by one"


def _groups_wanted(examined: Examined, _brief: Brief) -> str:
    return "" if examined.protected else "no protected column is named: --protected COLUMN, or protected in [data]"


def _time_wanted(examined: Examined, _brief: Brief) -> str:
    return "" if examined.time else "the rows have no time: --time COLUMN, or time in [data]"


def _training_wanted(examined: Examined, brief: Brief) -> str:
    if examined.refit is None:
        return "nobody here can train this model again: pass the estimator from Python, or use `roadworthy run`"
    if brief.retrainings == 0:
        return "no training was allowed: retrain=10 from Python, or a requirement such as churn in the standard"
    return ""


def _ageing_wanted(examined: Examined, brief: Brief) -> str:
    return _training_wanted(examined, brief) or _time_wanted(examined, brief)


def _ageing_steps(_examined: Examined, _brief: Brief) -> int:
    return AGEING_TRAININGS


CHECKS: tuple[Check, ...] = (
    Check(name="threshold", title="thresholds", run=threshold, lacks=_binary_only),
    Check(name="pitfalls", title="pitfalls", run=pitfalls, metrics=("pitfalls", "overfit_gap")),
    Check(name="leakage", title="leaks", run=leakage, metrics=("leaks",)),
    Check(name="labels", title="wrong labels", run=label_noise, metrics=("label_errors",), lacks=_classes_only),
    Check(name="slices", title="weak slices", run=weak_slices, metrics=("weak_slices",)),
    Check(
        name="fairness",
        title="fairness",
        run=fairness,
        metrics=(
            *(f"{name}_{form}" for name in PARITIES for form in ("difference", "ratio")),
            "group_calibration_difference",
            "group_error_difference",
        ),
        lacks=_groups_wanted,
    ),
    Check(
        name="robustness",
        title="bad input",
        run=robustness,
        metrics=("crashes", "robust_flips", "robust_drop"),
        steps=robustness_steps,
    ),
    Check(
        name="uncertainty",
        title="uncertainty and refusal",
        run=uncertainty,
        metrics=("coverage", "set_size", "referred", "outside_support", "pinball"),
    ),
    Check(name="explanation", title="what drives the model", run=explanation, steps=explanation_steps),
    Check(name="over_time", title="quality over time", run=over_time, lacks=_time_wanted),
    Check(
        name="stability",
        title="trainings anew",
        run=retrained,
        metrics=("churn", "training_spread", "irreproducibility"),
        lacks=_training_wanted,
        steps=trainings_of,
        trains=True,
    ),
    Check(
        name="ageing",
        title="trainings over time",
        run=ageing,
        metrics=("staleness",),
        lacks=_ageing_wanted,
        steps=_ageing_steps,
        trains=True,
    ),
)
"""Every check."""


def checks_named(names: Iterable[str]) -> tuple[Check, ...]:
    """The checks of those names, in the order of the table; UnknownName for one that is not there."""
    known = {check.name for check in CHECKS}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise UnknownName("check", name, known)
    return tuple(check for check in CHECKS if check.name in wanted)
