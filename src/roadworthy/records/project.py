"""The project as declared: the typed content of ``roadworthy.toml``.

Owns the nouns; reading and writing the file, with line numbers for every problem, is ``formats.project``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from roadworthy.records.alert import Severity
from roadworthy.records.contract import Contract

__all__ = [
    "Aggregate",
    "AlertSpec",
    "DataSpec",
    "DecisionSpec",
    "MonitorSpec",
    "ProjectSpec",
    "ReferSpec",
    "RolloutSpec",
    "ServingSpec",
    "Task",
    "TrainingSpec",
]


class Task(StrEnum):
    """What is predicted."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class _Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every declared noun shares: frozen, keyword-only, unknown keys refused."""


class DataSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where rows come from and what the special columns are.

    ``source`` is a path, glob, directory or URL; or a mapping ``{url, query}`` for SQL, or ``{path, …read
    options}`` for files (``delimiter``, ``encoding``, ``header``, ``columns``). ``exclude`` maps a column that
    is never a model input to the reason. ``personal`` columns are keyed-hashed before anything is written.
    """

    source: str | dict[str, Any]
    time: str = ""
    entity: str = ""
    personal: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    exclude: dict[str, str] = {}
    entity_disjoint: bool = False


class Aggregate(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A look at an entity's own past, strictly before the row. Exactly one function field is set.

    ``count = "*"`` counts rows; the others take an expression over the row. ``where`` is a condition on the
    past rows; ``by`` the entity column (default: ``[data] entity``); ``window`` a span such as ``"7 days"``
    (empty: all history). ``ratio`` is a pair of aggregates, numerator and denominator, and null over zero.
    """

    count: str = ""
    sum: str = ""
    mean: str = ""
    min: str = ""
    max: str = ""
    last: str = ""
    seconds_since_last: str = ""
    ratio: tuple[Aggregate, Aggregate] | None = None
    where: str = ""
    by: str = ""
    window: str = ""


class TrainingSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How candidates are trained.

    ``candidates`` are names of built-in trainers or ``package.module:function``. ``folds`` is the number of
    cross-validation folds on the training part. ``holdout`` is the share of rows kept for the one judgement.
    ``balance`` weighs classes by inverse frequency. ``tune`` is a budget such as ``"60 s"`` or ``"20 trials"``
    (empty: no tuning). ``parameters`` are per candidate and override its defaults.
    """

    candidates: tuple[str, ...] = ("logistic", "mlp", "gbdt")
    seed: int = 7
    folds: int = 4
    holdout: float = 0.2
    balance: bool = False
    tune: str = ""
    parameters: dict[str, dict[str, Any]] = {}


class DecisionSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a probability becomes a decision (binary only).

    ``threshold`` is a number, or ``{maximize = METRIC, subject_to = "precision >= 0.80"}``, or
    ``{minimize = "cost", false_positive = 1.0, false_negative = 5.0}``. Empty: maximise accuracy.
    """

    threshold: float | dict[str, Any] = msgspec.field(default_factory=lambda: {"maximize": "accuracy"})


class ReferSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a person decides in place of the model.

    ``confidence``: of the rows that are answered so large a share is to be right (regression: to lie in its interval);
    the others are referred. ``outside_support``: rows unlike those that the model learned from are referred.
    """

    confidence: float | None = None
    outside_support: bool = False


class ServingSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is answered where the model should not, or cannot.

    ``fallback`` is the answer when no version gives one: a class, the probability of the positive class, a probability
    for each class, or a number, as the task has it. ``refer`` says which rows go to a person.
    """

    fallback: str | float | dict[str, float] | None = None
    refer: ReferSpec | None = None


class RolloutSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Steps of traffic in percent, and how much worse is still as good, by metric."""

    steps: tuple[float, ...] = (1, 5, 25, 100)
    margin: dict[str, float] = {}


class MonitorSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How live traffic is cut into windows.

    ``window`` is a length of time (``"1 h"``) or a number of rows (``"1000 rows"``). ``settle_s`` is how many seconds
    an answer may take until it is in the log: a window is judged so long after it ended.
    """

    window: str = "1 h"
    settle_s: float = 5.0


class AlertSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where alerts are sent, and how they live.

    ``notify`` are addresses as apprise reads them; ``${NAME}`` in one is put in from the environment when a message is
    sent. Of alerts below ``severity`` nobody is told. ``repeat`` is the time between reminders (empty: none),
    ``resolve_after`` so many clear windows since its last alarm that resolve an alert (0: only a person does), ``hold``
    so many windows that must alarm after the first before one fires. ``runbook`` and ``dashboard`` are links in which
    ``{rule}``, ``{group}`` and ``{number}`` are filled in.
    """

    notify: tuple[str, ...] = ()
    severity: Severity = Severity.TICKET
    repeat: str = "4 h"
    resolve_after: int = 0
    hold: int = 0
    runbook: str = ""
    dashboard: str = ""


class ProjectSpec(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything a project declares, except the standard, which ``standard.parse`` turns into requirements.

    ``positive`` is the label that counts as the event in a binary task. ``features`` maps a name to a SQL
    expression or an aggregate, in order; later ones may use earlier ones. ``standard`` is the raw table.
    ``folder`` is where the project file stands; relative sources start there.
    """

    name: str
    task: Task
    target: str
    data: DataSpec
    positive: str = ""
    contract: Contract
    features: dict[str, str | Aggregate] = {}
    training: TrainingSpec = TrainingSpec()
    decision: DecisionSpec = DecisionSpec()
    serving: ServingSpec = ServingSpec()
    standard: dict[str, Any] = {}
    rollout: RolloutSpec = RolloutSpec()
    monitor: MonitorSpec = MonitorSpec()
    alerts: AlertSpec = AlertSpec()
    folder: str = "."
