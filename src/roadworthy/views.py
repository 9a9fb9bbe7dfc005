"""What people are shown: read-only snapshots gathered from records.

In: a run's records. Out: ``ReportView``, for the page and the terminal. Nothing is computed here but words; nothing
that is returned is alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version as library_version

import msgspec

from roadworthy.formats.report import (
    ChartView,
    CostView,
    DataView,
    MonitoringView,
    ProvenanceView,
    ReportView,
    RequirementRow,
    StageRow,
    WatchRow,
)
from roadworthy.pipeline import Records
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Exhibit, Phase
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict
from roadworthy.records.version import Version
from roadworthy.standard import Requirement, Standard

__all__ = ["report_view", "with_charts"]

_LIBRARIES = ("lightgbm", "numpy", "onnx", "onnxruntime", "polars", "roadworthy", "scikit-learn", "skl2onnx")
_KEY_METRICS = {
    Task.BINARY: ("accuracy", "recall", "roc_auc", "log_loss", "latency_p99"),
    Task.MULTICLASS: ("accuracy", "balanced_accuracy", "log_loss", "latency_p99"),
    Task.REGRESSION: ("r2", "mae", "rmse", "latency_p99"),
}


def report_view(spec: ProjectSpec, standard: Standard, version: Version, records: Records) -> ReportView:
    """Everything the report shows of a version, apart from its pictures."""
    bundle = records.bundle
    return ReportView(
        project=spec.name,
        version=str(version.number),
        when=version.created_at.replace("T", " ").replace("+00:00", " UTC"),
        task=spec.task.value,
        target=spec.target,
        readiness=version.verdict.readiness,
        sentence=version.verdict.sentence,
        next_steps=_next_steps(version),
        stages=tuple(
            StageRow(
                stage=row.stage,
                did=row.summary,
                before=row.before,
                after=row.after,
                seconds=row.seconds,
                reused=row.reused,
            )
            for row in version.stages
        ),
        requirements=tuple(_requirement_rows(spec, standard, version)),
        findings=bundle.evidence.findings,
        choice=records.validation.choice,
        training=records.trained.candidates,
        training_failures=records.trained.failures,
        cost=CostView(
            before=bundle.before,
            after=bundle.after,
            variant=bundle.variant,
            parity=bundle.parity,
            flips=bundle.flips,
            notes=bundle.notes,
        ),
        data=_data_view(records),
        features=records.table.features,
        excluded=spec.data.exclude,
        monitoring=_monitoring_view(spec, standard, records),
        provenance=_provenance(spec, standard, version),
    )


def with_charts(view: ReportView, standard: Standard, records: Records) -> ReportView:
    """The same view with its pictures drawn: about two seconds, so only the page asks for it."""
    return msgspec.structs.replace(view, charts=_charts(records, standard, records.bundle.evidence.exhibits))


def _next_steps(version: Version) -> tuple[str, ...]:
    """What a person can do now, most urgent first."""
    by_outcome = {outcome: [v for v in version.verdict.requirements if v.outcome is outcome] for outcome in Outcome}
    if version.verdict.readiness is Readiness.READY:
        return (f"make it the champion: roadworthy promote {version.number}",)
    steps = [f"repair the check of {verdict.requirement}: it broke" for verdict in by_outcome[Outcome.ERROR]]
    failing = [verdict.requirement for verdict in by_outcome[Outcome.FAIL]]
    if failing:
        steps.append(f"look at what fails ({', '.join(failing)}): more telling features, more or cleaner rows")
    doubted = [finding for finding in version.evidence.findings if finding.grade != "notes"]
    columns = [finding.subject for finding in doubted if finding.kind == "target_leak"]
    if columns:
        steps.append(f"answer for {', '.join(columns)}: known when the prediction is made?")
    if len(doubted) > len(columns):
        steps.append("read what the report finds suspicious beside the requirements")
    counted = [verdict for verdict in by_outcome[Outcome.INSUFFICIENT] if verdict.rows_needed]
    if counted:
        most = max(verdict.rows_needed for verdict in counted)
        named = ", ".join(verdict.requirement for verdict in counted)
        steps.append(f"collect about {most:,} more labelled rows for the holdout: that would settle {named}")
    others = [verdict.requirement for verdict in by_outcome[Outcome.INSUFFICIENT] if not verdict.rows_needed]
    if others:
        steps.append(f"collect more labelled rows: {', '.join(others)} cannot be proven yet")
    return tuple(steps)


def _requirement_rows(spec: ProjectSpec, standard: Standard, version: Version) -> list[RequirementRow]:
    by_line = {requirement.line(): requirement for requirement in standard.of_phase(Phase.RELEASE)}
    return [_requirement_row(spec, by_line[verdict.requirement], verdict) for verdict in version.verdict.requirements]


def _requirement_row(spec: ProjectSpec, requirement: Requirement, verdict: RequirementVerdict) -> RequirementRow:
    return RequirementRow(
        verdict=verdict,
        at_least=requirement.at_least,
        at_most=requirement.at_most,
        key=requirement.metric in _KEY_METRICS[spec.task] and not requirement.slice,
    )


def _data_view(records: Records) -> DataView:
    snapshot, cleaned, split = records.snapshot, records.clean, records.split
    return DataView(
        source=snapshot.source,
        snapshot=snapshot.digest,
        rows=snapshot.rows,
        columns=len(snapshot.columns),
        quarantined=cleaned.quarantined,
        reasons=cleaned.reasons,
        repairs=cleaned.repairs,
        hashed=snapshot.hashed,
        notes=snapshot.notes,
        split=split.explanation,
        holdout=split.holdout_digest,
        holdout_looks=records.validation.evidence.looks,
    )


def _monitoring_view(spec: ProjectSpec, standard: Standard, records: Records) -> MonitoringView:
    watched = tuple(
        WatchRow(
            requirement=f"{rule.metric}{' by ' + rule.slice if rule.slice else ''}",
            measured=rule.evidence,
            alert=rule.when,
        )
        for rule in records.monitor.rules
    )
    return MonitoringView(
        watched=watched,
        rules=tuple(rule.sentence for rule in records.monitor.rules),
        reference=", ".join(records.monitor.reference.values()),
        alarm_budget=standard.alarm_budget,
        notify=tuple(url.partition("://")[0] for url in spec.alerts.notify),
    )


def _provenance(spec: ProjectSpec, standard: Standard, version: Version) -> ProvenanceView:
    digests: dict[str, Digest] = {**version.lineage, "standard": standard.digest(), "package": version.digest}
    return ProvenanceView(
        digests=digests,
        standard=standard.to_toml(),
        seed=spec.training.seed,
        versions={name: library_version(name) for name in _LIBRARIES},
        signature="Ed25519 over the manifest; the public key is in the registry",
    )


def _charts(records: Records, standard: Standard, exhibits: Sequence[Exhibit]) -> tuple[ChartView, ...]:
    from roadworthy.measures import charts  # noqa: PLC0415 - a second to import, and only reports draw

    choice = records.validation.choice
    references = [
        charts.Reference(of=_COST_COLUMNS.get(r.metric, r.metric), value=bound, label=r.line())
        for r in standard.of_phase(Phase.RELEASE)
        for bound in (r.at_least, r.at_most)
        if bound is not None and not r.slice
    ]
    if choice.threshold is not None:
        references.append(charts.Reference(of="threshold", value=choice.threshold, label="chosen"))
    drawn = [
        *(charts.training_exhibit(candidate) for candidate in records.trained.candidates if candidate.lines),
        charts.candidates_exhibit(choice),
        *exhibits,
    ]
    return tuple(_chart_view(exhibit, references) for exhibit in drawn)


_COST_COLUMNS = {"latency_p50": "p50_ms", "latency_p99": "p99_ms", "size": "size_bytes"}


def _chart_view(exhibit: Exhibit, references: Sequence[object]) -> ChartView:
    from roadworthy.measures import charts  # noqa: PLC0415 - as above

    known = [reference for reference in references if isinstance(reference, charts.Reference)]
    chart = charts.chart_for(exhibit, known)
    return ChartView(
        name=exhibit.name,
        title=exhibit.title,
        svg="" if chart is None else charts.to_svg(chart),
        note=exhibit.note,
        alt=charts.describe(exhibit),
        columns=exhibit.columns,
    )
