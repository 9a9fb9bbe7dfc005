"""The seventh stage: monitoring is set up inside the bundle, and the bundle is proven to be enough.

In: the project and its standard. Out: ``monitor.json``'s content: the requirements that hold live, one alert rule
for each bound, the reference files that windows are compared with. Then, from the written bundle alone, golden
rows are scored again. Laws: every requirement with a live phase has a rule; no address or token of a notifier is
in a bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import BundleError, Problem
from roadworthy.formats.bundle import BundleParts, read_bundle
from roadworthy.graphs import golden
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.trace import trace
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.measures.calibrators import Calibrator
from roadworthy.measures.sketches import Reference
from roadworthy.protocols import Reporter
from roadworthy.records.evidence import Phase
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.package_reference import CALIBRATOR, COLUMNS, SCORES
from roadworthy.standard import CATALOGUE, Requirement, Standard, exact_quantity
from roadworthy.standard.metric import MetricKind

__all__ = [
    "STEPS",
    "AlertRule",
    "MonitorPlan",
    "monitor_plan",
    "plan_of",
    "run",
    "self_test",
    "traced_layers",
]

STEPS = 2
_STEP = "monitor"


class AlertRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alert: ``when`` is what fires it (``"accuracy < 0.8"``), the rest says how it is known.

    ``evidence`` is ``labels`` (estimated until they come), ``requests``, or ``rows``; ``trigger`` is ``proven``
    (the interval decides, within the alarm budget) or ``observed`` (the plain value decides, and latches).
    """

    name: str
    when: str
    sentence: str
    metric: str
    bound: float
    fires_below: bool
    slice: str = ""
    trigger: str = "proven"
    confidence: float = 0.95
    evidence: str = "labels"


class MonitorPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``monitor.json``. ``reference`` maps what is compared to the file that it is compared with."""

    alarm_budget: str
    requirements: tuple[Requirement, ...]
    rules: tuple[AlertRule, ...]
    reference: dict[str, str]
    format: int = 1


def monitor_plan(spec: ProjectSpec, standard: Standard) -> dict[str, Any]:
    """The plan as plain data, ready for ``BundleParts.monitor``."""
    required = standard.of_phase(Phase.LIVE)
    reference = {
        "columns": f"reference/{COLUMNS}",
        "scores": f"reference/{SCORES}",
        "golden": f"reference/{golden.GOLDEN}",
    }
    if spec.task is not Task.REGRESSION:
        reference["calibrator"] = f"reference/{CALIBRATOR}"
    plan = MonitorPlan(
        alarm_budget=standard.alarm_budget,
        requirements=tuple(msgspec.structs.replace(requirement, origin="") for requirement in required),
        rules=tuple(map(_rule, required)),
        reference=reference,
    )
    plain: dict[str, Any] = msgspec.to_builtins(plan)
    return plain


def run(folder: Path, trusted_public_keys: Sequence[bytes], reporter: Reporter) -> MonitorPlan:
    """Open the bundle as a server would, with nothing beside it, and prove that it can be served and watched.

    Raises BundleError when a part that monitoring needs is missing or does not parse, or when a golden row's
    score differs.
    """
    parts = read_bundle(folder, trusted_public_keys).parts
    plan = plan_of(parts)
    reporter.advance(_STEP)
    self_test(parts)
    reporter.advance(_STEP)
    return plan


def self_test(parts: BundleParts) -> int:
    """Score the golden rows and compare; how many there are. Raises BundleError naming the first that differs."""
    return golden.self_test(golden.read_golden(parts.reference), GraphModel(parts.model))


def traced_layers(parts: BundleParts) -> int:
    """How many layers the trace of a golden row shows; raises ModelError where the graph cannot be followed."""
    first = golden.golden_frame(golden.read_golden(parts.reference)).head(1)
    return len(trace(parts.model, GraphModel(parts.model).feed(first)).layers)


def _rule(requirement: Requirement) -> AlertRule:
    entry = CATALOGUE[requirement.metric]
    below = requirement.at_least is not None
    by = f" for any {requirement.slice}" if requirement.slice else ""
    when = f"{requirement.metric} {'<' if below else '>'} {exact_quantity(requirement.bound, entry.unit)}{by}"
    evidence = _EVIDENCE[entry.kind]
    return AlertRule(
        name=rule_of(requirement),
        when=when,
        sentence=f"{when} over a window of live traffic{_HOW[evidence]}",
        metric=requirement.metric,
        bound=requirement.bound,
        fires_below=below,
        slice=requirement.slice,
        trigger=str(requirement.trigger),
        confidence=requirement.confidence,
        evidence=evidence,
    )


_EVIDENCE = {
    MetricKind.QUALITY: "labels",
    MetricKind.DATA: "rows",
    MetricKind.COST: "requests",
    MetricKind.INTEGRITY: "requests",
    MetricKind.CONDUCT: "requests",
}
_HOW = {
    "labels": ", once labels come; estimated until then",
    "rows": ", from the rows themselves",
    "requests": ", from the requests themselves",
}


def plan_of(parts: BundleParts) -> MonitorPlan:
    """A bundle's plan; raises BundleError unless all that it names is in the bundle and parses."""
    try:
        plan = msgspec.convert(parts.monitor, MonitorPlan)
    except msgspec.ValidationError as error:
        raise BundleError(f"monitor.json does not parse: {error}") from error
    absent = sorted(name for name in plan.reference.values() if name.removeprefix("reference/") not in parts.reference)
    if absent:
        raise BundleError(
            f"bundle {parts.contract.name!r} lacks files that its monitoring needs",
            problems=[Problem("is missing", where=name) for name in absent],
            next_step="package the model again with `roadworthy run`",
        )
    _decoded(parts, COLUMNS, Reference)
    _decoded(parts, SCORES, Reference)
    if "calibrator" in plan.reference:
        _decoded(parts, CALIBRATOR, tuple[Calibrator, ...])
    return plan


def _decoded(parts: BundleParts, name: str, kind: Any) -> Any:
    if name not in parts.reference:
        raise BundleError(f"bundle {parts.contract.name!r} lacks reference/{name}")
    try:
        return msgspec.json.decode(parts.reference[name], type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"reference/{name} does not parse: {error}") from error
