"""A run's version as people are shown it.

In: a run's records. Out: ``ReportView``, for the page and the terminal.
"""

from __future__ import annotations

from importlib.metadata import version as library_version
from typing import TYPE_CHECKING

import msgspec

from roadworthy.formats.report import (
    ChartView,
    CostView,
    DataView,
    MonitoringView,
    ProvenanceView,
    ReportView,
    StageRow,
    WatchRow,
)
from roadworthy.records.digests import Digest
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.records.version import Version
from roadworthy.standard import Standard
from roadworthy.views.chapters import chapters_of
from roadworthy.views.inspected import requirement_rows
from roadworthy.views.pictures import with_pictures
from roadworthy.views.steps import next_steps

if TYPE_CHECKING:
    from roadworthy.pipeline import Records

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
        next_steps=next_steps(
            version.verdict,
            version.evidence,
            when_ready=f"make it the champion: roadworthy promote {version.number}",
        ),
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
        requirements=requirement_rows(standard, version.verdict, frozenset(_KEY_METRICS[spec.task])),
        findings=version.evidence.findings,
        chapters=chapters_of(standard, version.evidence, version.verdict),
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


def with_charts(view: ReportView, records: Records) -> ReportView:
    """The same view with its pictures drawn: about two seconds, so only the page asks for it."""
    return with_pictures(msgspec.structs.replace(view, charts=_charts(records)))


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


def _charts(records: Records) -> tuple[ChartView, ...]:
    """How the candidates learned and what they are worth; all other pictures stand in chapters."""
    from roadworthy.measures import charts  # noqa: PLC0415 - a second to import, and only reports draw

    choice = records.validation.choice
    exhibits = [
        *(charts.training_exhibit(candidate) for candidate in records.trained.candidates if candidate.lines),
        charts.candidates_exhibit(choice),
    ]
    return tuple(ChartView(name=one.name, title=one.title, note=one.note, columns=one.columns) for one in exhibits)
