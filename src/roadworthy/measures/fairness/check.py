"""The check: fairness metrics per protected column and over all of them, and what is said of them.

In: ``Examined`` and ``Brief``. Out: ``Found``. Laws: each metric that the task has is measured for every protected
column (slice ``protected=<column>``) and for all together (slice empty); none is left out.
"""

from __future__ import annotations

from typing import Any

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.fairness.cohorts import cohorts
from roadworthy.measures.fairness.comparing import FORMS, Comparison, compare
from roadworthy.measures.fairness.findings import base_rates, small_groups, suspicions
from roadworthy.measures.fairness.tables import tables
from roadworthy.measures.intervals import cluster_count
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Found, Measurement
from roadworthy.records.project import Task
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.requirement import Requirement

__all__ = ["fairness"]

_METHOD = "MOVER, simultaneous over all pairs of groups"


def fairness(examined: Examined, brief: Brief) -> Found:
    """Differences and ratios between the groups of every protected column, and over all columns the worst.

    Binary: shares of positive decisions (demographic parity), recalls (equal opportunity), recalls and false alarms
    (equalised odds, the worse of the two), gaps of mean probability and frequency (calibration by group). Every task:
    errors. A group needs 10 of what a rate counts, 30 rows for means; otherwise the metric is ``insufficient`` and
    says which group lacks how many, unless the other groups alone break what is required.
    """
    sample = examined.sample
    groups = {name: cohorts(examined.rows[name]) for name in examined.protected}
    metrics = [name for name in FORMS if examined.task in CATALOGUE[name].tasks]
    measured: list[Measurement] = []
    seen: dict[tuple[str, str], Comparison] = {}
    for metric in metrics:
        for column in ("", *examined.protected):
            own = groups if not column else {column: groups[column]}
            confidence = brief.confidence(metric, "protected" if column else "")
            found = compare(sample, own, metric, confidence)
            measured.append(_measured(metric, column, found, sample, brief))
            if column:
                seen[metric, column] = found
    findings = (
        *suspicions(seen, sample),
        *base_rates(sample, groups),
        *small_groups(sample, groups),
    )
    return Found(measurements=tuple(measured), findings=findings, exhibits=tables(sample, groups))


def _measured(metric: str, column: str, found: Comparison, sample: Sample, brief: Brief) -> Measurement:
    facts: dict[str, Any] = {
        "metric": metric,
        "slice": f"protected={column}" if column else "",
        "confidence": brief.confidence(metric, "protected" if column else ""),
        "n": sample.n,
        "clusters": cluster_count(sample.clusters),
        "unit": CATALOGUE[metric].unit,
    }
    extreme = found.extreme
    if extreme is None or (found.gaps and not _broken(metric, column, found, sample.task, brief)):
        lacking = "; ".join(found.gaps) or "there is no protected column to compare"
        return Measurement(**facts, insufficient=f"{lacking}.")
    reason = f"{found.column}: {extreme.high} {extreme.high_value:.4g}, {extreme.low} {extreme.low_value:.4g}."
    lower, upper = extreme.lower, extreme.upper
    if found.gaps:  # the groups that cannot be measured may lie anywhere
        reason = f"{reason} Not measured: {'; '.join(found.gaps)}."
        lower, upper = (0.0, upper) if metric.endswith("_ratio") else (lower, _widest(metric))
    return Measurement(**facts, value=extreme.value, lower=lower, upper=upper, method=_METHOD, reason=reason)


def _widest(metric: str) -> float:
    """The greatest difference that there can be."""
    return 2.0 if metric.startswith("group_calibration") else 1.0


def _broken(metric: str, column: str, found: Comparison, task: Task, brief: Brief) -> bool:
    """Whether the groups that can be measured break a requirement already; an error in a unit has no widest value."""
    extreme, cut = found.extreme, "protected" if column else ""
    asked: list[Requirement] = [item for item in brief.required if (item.metric, item.slice) == (metric, cut)]
    if extreme is None or task is Task.REGRESSION:
        return False
    return any(extreme.lower > item.bound if item.at_least is None else extreme.upper < item.bound for item in asked)
