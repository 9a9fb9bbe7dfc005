"""What is said of a stage in one line of the stage table. Pure: records in, short texts out."""

from __future__ import annotations

from roadworthy.records.data import CleanRows
from roadworthy.records.evidence import Evidence
from roadworthy.records.model import GraphCost, TrainedModel
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.standard import format_quantity

__all__ = ["cost", "figures", "quarantine", "shape", "trained_words"]

_SHOWN = {
    Task.BINARY: ("accuracy", "log_loss"),
    Task.MULTICLASS: ("accuracy", "log_loss"),
    Task.REGRESSION: ("r2", "mae"),
}


def shape(rows: int, columns: int) -> str:
    """Rows by columns.

    >>> shape(9800, 12)
    '9,800 × 12'
    """
    return f"{rows:,} × {columns:,}"


def quarantine(record: CleanRows) -> str:
    """How many rows were set aside, and the three commonest reasons."""
    if not record.quarantined:
        return "every row meets the contract"
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in list(record.reasons.items())[:3])
    return f"{record.quarantined:,} in quarantine: {reasons}"


def trained_words(record: TrainedModel) -> str:
    """Each candidate with its number of inputs and how long it took; then who failed."""
    done = [f"{c.name} ({c.inputs} inputs, {c.seconds:.1f} s)" for c in record.candidates]
    failed = [f"{name} failed" for name in record.failures]
    return ", ".join([*done, *failed])


def figures(evidence: Evidence, spec: ProjectSpec) -> str:
    """The task's two best-known figures on the holdout."""
    found = {m.metric: m.value for m in evidence.measurements if not m.slice and m.value is not None}
    return ", ".join(f"{name} {found[name]:.3g}" for name in _SHOWN[spec.task] if name in found)


def cost(cost: GraphCost) -> str:
    """Size and tail latency of a graph."""
    return f"{format_quantity(cost.size_bytes, 'bytes')}, p99 {cost.p99_ms:.2f} ms"
