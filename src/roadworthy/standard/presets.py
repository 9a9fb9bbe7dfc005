"""Presets: standards that are good before anything is edited.

``prototype`` asks only that a model is worth looking at; ``service`` that people can depend on it; ``critical``
that lives or large sums can; ``none`` asks nothing, so that what is declared is the whole standard. A requirement
of the project file replaces the preset's on the same metric and slice.
"""

from __future__ import annotations

from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.metric import Direction
from roadworthy.standard.requirement import Requirement

__all__ = ["PRESETS", "preset_requirements"]

# preset → tasks → metric → bound in base units, read by the metric's direction
_EVERY: dict[str, dict[str, float]] = {
    "none": {},
    "prototype": {"leaks": 0.0, "pitfalls": 0.0, "parity": 1e-5, "decision_flips": 0.001, "quarantined_share": 0.2},
    "service": {
        "leaks": 0.0,
        "pitfalls": 0.0,
        "crashes": 0.0,
        "parity": 1e-5,
        "decision_flips": 0.001,
        "quarantined_share": 0.05,
        "latency_p99": 50.0,
        "size": 20e6,
    },
    "critical": {
        "leaks": 0.0,
        "pitfalls": 0.0,
        "questions": 0.0,
        "crashes": 0.0,
        "parity": 1e-5,
        "decision_flips": 0.0005,
        "quarantined_share": 0.01,
        "latency_p99": 20.0,
        "size": 20e6,
    },
}
_QUALITY: dict[str, dict[Task, dict[str, float]]] = {
    "none": {task: {} for task in Task},
    "prototype": {
        Task.BINARY: {"skill": 0.0},
        Task.MULTICLASS: {"skill": 0.0},
        Task.REGRESSION: {"r2": 0.0},
    },
    "service": {
        Task.BINARY: {"skill": 0.05, "roc_auc": 0.65, "calibration_error": 0.01, "overfit_gap": 0.2},
        Task.MULTICLASS: {
            "skill": 0.05,
            "balanced_accuracy": 0.5,
            "calibration_error": 0.01,
            "overfit_gap": 0.2,
        },
        Task.REGRESSION: {"r2": 0.1, "overfit_gap": 0.2},
    },
    "critical": {
        Task.BINARY: {"skill": 0.3, "roc_auc": 0.85, "calibration_error": 0.0025, "overfit_gap": 0.1},
        Task.MULTICLASS: {
            "skill": 0.3,
            "balanced_accuracy": 0.8,
            "calibration_error": 0.0025,
            "overfit_gap": 0.1,
        },
        Task.REGRESSION: {"r2": 0.5, "overfit_gap": 0.1},
    },
}
_AVAILABILITY = {"service": 0.999, "critical": 0.9995}

PRESETS: tuple[str, ...] = tuple(_EVERY)
"""Names that ``[standard] extends`` may say."""


def preset_requirements(preset: str, task: Task, confidence: float = 0.95) -> tuple[Requirement, ...]:
    """The preset's requirements for a task, each to be proven at ``confidence``. The name must be one of PRESETS."""
    bounds = _QUALITY[preset][task] | _EVERY[preset]
    required = [_bounded(metric, bound, preset, confidence) for metric, bound in bounds.items()]
    if preset in _AVAILABILITY:
        required.append(
            Requirement(
                metric="availability",
                at_least=_AVAILABILITY[preset],
                phases=(Phase.LIVE,),
                confidence=confidence,
                origin=f"preset {preset}",
            )
        )
    return tuple(required)


def _bounded(metric: str, bound: float, preset: str, confidence: float) -> Requirement:
    entry = CATALOGUE[metric]
    up = entry.direction is Direction.UP
    return Requirement(
        metric=metric,
        at_least=bound if up else None,
        at_most=None if up else bound,
        phases=entry.phases,
        confidence=confidence,
        origin=f"preset {preset}",
    )
