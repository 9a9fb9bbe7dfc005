"""What an estimate is made from, frozen at release: small, plain, and without any row of the data.

In: what was learnt, and what the back-test found. Out: ``EstimatorState``, which a bundle carries as
``reference/estimator.json``. Laws: writing and reading gives the same state; what does not fit together is refused.
"""

from __future__ import annotations

import msgspec

from roadworthy.errors import DataError
from roadworthy.measures.estimation.learning import Learned
from roadworthy.records.project import Task

__all__ = [
    "CBPE",
    "CONDITIONAL",
    "CONSTANT",
    "DLE",
    "PAPE",
    "EstimatorState",
    "Plan",
    "estimator_bytes",
    "read_estimator",
]

CBPE, PAPE, CONDITIONAL, DLE = "CBPE", "PAPE", "conditional", "DLE"
CONSTANT = "constant"
"""The reference's own value: what an estimate has to beat."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How one metric is estimated. ``method`` is empty where it cannot be; ``why`` says so in a sentence.

    ``missed`` is each method's mean absolute error in the back-test, in standard deviations of what the outcomes'
    chance alone makes of it (0.8 is as good as can be); ``between`` the standard deviation of each method's error
    between periods, in the metric's unit.
    """

    metric: str
    method: str
    why: str
    missed: dict[str, float] = {}
    between: dict[str, float] = {}


class EstimatorState(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``estimated`` needs.

    ``threshold`` and ``classes`` as in ``Sample``; ``base`` are class shares, or ``(mean,)``, of the training part;
    ``design`` is the design effect of entities on the sum of outcomes (1: rows are independent). ``tail`` and ``lean``
    are a regression's error moments (see ``amounts.Errors``).
    """

    learned: Learned
    threshold: float | None = None
    classes: tuple[str, ...] = ()
    base: tuple[float, ...] = ()
    design: float = 1.0
    tail: float = 4.0
    lean: float = 1.0
    plans: dict[str, Plan] = {}
    format: int = 1

    @property
    def task(self) -> Task:
        """The model's task."""
        return self.learned.task

    @property
    def known(self) -> tuple[str, ...]:
        """Metrics that there is a plan for, by name."""
        return tuple(sorted(self.plans))

    @property
    def rows(self) -> int:
        """Reference rows that it was learnt from."""
        return self.learned.rows


def estimator_bytes(state: EstimatorState) -> bytes:
    """The state as it stands in a bundle."""
    return msgspec.json.encode(state, order="sorted")


def read_estimator(content: bytes) -> EstimatorState:
    """The state that those bytes hold. Raises DataError when they hold none."""
    try:
        state = msgspec.json.decode(content, type=EstimatorState)
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        raise DataError(f"the stored estimator cannot be read: {fault}", next_step="package the model again") from fault
    if state.format != 1:
        raise DataError(f"the stored estimator has format {state.format}, this version reads 1")
    return state
