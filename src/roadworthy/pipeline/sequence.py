"""The seven stages in their order: what each reads, what its digest covers, and what is said of it.

Every function takes the run and the records it needs, and returns the next record. What a stage *does* is in
``stages``; here is only how the stages hang together.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.formats.bundle import BundleParts, read_bundle, require_made_by
from roadworthy.measures.test_score import TestScoreFacts
from roadworthy.pipeline.facts import carried_out
from roadworthy.pipeline.running import Records, Run, RunResult, World
from roadworthy.pipeline.words import cost, figures, quarantine, shape, trained_words
from roadworthy.protocols import Trainer, Versioned
from roadworthy.records.data import CleanRows, FeatureTable, Snapshot, Split
from roadworthy.records.digests import Digest, digest_data
from roadworthy.records.evidence import Evidence, Measurement, Phase
from roadworthy.records.model import Bundle, TrainedModel, Validation
from roadworthy.records.project import ProjectSpec
from roadworthy.records.verdict import Verdict
from roadworthy.records.version import Version
from roadworthy.stages import clean, collect, features, monitor, package, train, validate
from roadworthy.stages.costs import candidate_costs
from roadworthy.stages.inspection import concluded
from roadworthy.stages.monitor import MonitorPlan
from roadworthy.standard import Standard, judge

__all__ = ["run_pipeline"]

ROWS = "rows.parquet"
PARTS = "parts.parquet"

STAGE_NUMBERS = {
    "clean": 1,
    "features": 2,
    "split": 1,
    "train": 1,
    "validate": 4,
    "package": 3,
    "monitor": 1,
    "report": 2,
}
"""Raised when a stage's own work changes, so that older results are not taken for newer ones.

A snapshot has its number in ``stages.collect``, which alone knows the digest of what it will hold.
"""

_LIBRARIES = {
    "train": ("lightgbm", "numpy", "onnxmltools", "scikit-learn", "skl2onnx"),
    "validate": ("numpy", "onnxruntime", "scipy"),
    "package": ("onnx", "onnxruntime", "scikit-learn", "scipy"),
    "monitor": ("onnxruntime",),
}
"""Whose other version may give another result: so a stage is done again after an upgrade."""


def _digest(stage: str, *parents: Digest, **config: Any) -> Digest:
    """Identity of a stage's result: its number, its parents, the configuration that it reads, its libraries."""
    libraries = {name: library_version(name) for name in _LIBRARIES.get(stage, ())}
    return digest_data([stage, STAGE_NUMBERS[stage], parents, config, libraries])


def run_pipeline(spec: ProjectSpec, standard: Standard, world: World) -> RunResult:
    """All seven stages, the verdict, and the registration.

    Raises RegistryError before the first stage where a signed word is not as it was signed.
    """
    world.registry.signed(spec.name)
    run = Run(world)
    snapshot = _collect(run, spec)
    cleaned = _clean(run, spec, snapshot)
    table = _features(run, spec, cleaned)
    split = _split(run, spec, snapshot, table)
    trained = _train(run, spec, table, split)
    validation = _with_data(_validate(run, spec, standard, table, split, trained), cleaned)
    facts = partial(carried_out, spec, standard, snapshot, trained, validation, stages=(*run.lineage, "package"))
    bundle = _package(run, spec, standard, table, split, trained, validation, facts)
    plan = _monitor(run, bundle)
    records = Records(snapshot, cleaned, table, split, trained, validation, bundle, plan)
    written = read_bundle(run.path("package", bundle.digest) / package.BUNDLE, [world.keys.public_pem])
    registry = world.registry
    attestations, today = registry.attestations(spec.name), registry.today()
    evidence = concluded(bundle.evidence, facts(parts=written.parts), attestations, today)
    verdict = judge(standard, evidence, waivers=registry.waivers(spec.name), today=today)
    version = _register(run, spec, verdict, evidence, require_made_by(written, bundle), bundle)
    return RunResult(version, verdict, records)


def _collect(run: Run, spec: ProjectSpec) -> Snapshot:
    world = run.world
    hasher = world.keys.hasher
    digest = collect.snapshot_digest(world.source, spec, hasher)
    return run.stage(
        "collect",
        digest,
        Snapshot,
        lambda folder, key: collect.run(world.source, spec, hasher, folder, key, world.reporter),
        lambda record: ("", shape(record.rows, len(record.columns)), f"from {record.source}"),
        steps=collect.STEPS,
    )


def _clean(run: Run, spec: ProjectSpec, snapshot: Snapshot) -> CleanRows:
    digest = _digest(
        "clean",
        snapshot.digest,
        contract=spec.contract,
        time=spec.data.time,
        target=[spec.target, spec.task, spec.positive],
        personal=spec.data.personal,
    )
    rows = run.path("collect", snapshot.digest) / ROWS
    return run.stage(
        "clean",
        digest,
        CleanRows,
        lambda folder, key: clean.run(snapshot, rows, spec, folder, key, run.world.reporter),
        lambda record: (
            shape(record.rows_in, len(snapshot.columns)),
            shape(record.rows, len(record.columns)),
            quarantine(record),
        ),
        steps=clean.STEPS,
    )


def _features(run: Run, spec: ProjectSpec, cleaned: CleanRows) -> FeatureTable:
    data = spec.data
    digest = _digest("features", cleaned.digest, features=spec.features, time=data.time, entity=data.entity)
    rows = run.path("clean", cleaned.digest) / ROWS
    return run.stage(
        "features",
        digest,
        FeatureTable,
        lambda folder, key: features.run(cleaned, rows, spec, folder, key, run.world.reporter),
        lambda record: (
            shape(cleaned.rows, len(cleaned.columns)),
            shape(record.rows, len(record.columns)),
            ", ".join(feature.name for feature in record.features) or "no feature is declared",
        ),
        steps=features.steps(spec),
    )


def _split(run: Run, spec: ProjectSpec, snapshot: Snapshot, table: FeatureTable) -> Split:
    data, training = spec.data, spec.training
    digest = _digest(
        "split",
        table.digest,
        columns=[data.time, data.entity, spec.target, spec.task, spec.positive],
        entity_disjoint=data.entity_disjoint,
        shares=[training.holdout, training.folds, training.seed],
    )
    rows = run.path("features", table.digest) / ROWS
    return run.quietly(
        "split",
        digest,
        Split,
        lambda folder, key: train.run_split(table, rows, spec, folder, key, pinned=snapshot.digest),
    )


def _train(run: Run, spec: ProjectSpec, table: FeatureTable, split: Split) -> TrainedModel:
    world = run.world
    digest = _digest(
        "train",
        split.digest,
        training=spec.training,
        target=[spec.target, spec.task, spec.positive],
        unused=[sorted(spec.data.exclude), spec.data.personal],
        trainers={name: _code(trainer) for name, trainer in world.trainers.items()},
    )
    rows = run.path("features", table.digest) / ROWS
    parts = run.path("split", split.digest) / PARTS
    return run.stage(
        "train",
        digest,
        TrainedModel,
        lambda folder, key: train.run(table, rows, split, parts, spec, world.trainers, folder, key, world.reporter),
        lambda record: (
            f"{shape(split.train_rows, len(table.columns))} to train",
            f"{len(record.candidates)} candidates",
            trained_words(record),
        ),
    )


def _code(trainer: Trainer) -> Digest:
    """What tells two trainers of one name apart: the code of one's own trainer."""
    return trainer.source_digest if isinstance(trainer, Versioned) else ""


def _validate(  # noqa: PLR0917 - every record that the stage reads
    run: Run, spec: ProjectSpec, standard: Standard, table: FeatureTable, split: Split, trained: TrainedModel
) -> Validation:
    world = run.world
    digest = _digest(
        "validate",
        trained.digest,
        decision=spec.decision,
        standard=standard.digest(),
        groups=[spec.data.entity, spec.data.protected],
    )
    rows = run.path("features", table.digest) / ROWS
    parts = run.path("split", split.digest) / PARTS
    folder_trained = run.path("train", trained.digest)

    def work(folder: Path, key: Digest) -> Validation:
        looks = world.registry.look(split.holdout_digest, digest)
        costs = candidate_costs(trained, folder_trained, rows, spec)
        return validate.run(
            trained,
            folder_trained,
            split,
            parts,
            rows,
            spec,
            standard.of_phase(Phase.RELEASE),
            costs,
            world.trainers,
            looks,
            folder,
            key,
            world.reporter,
        )

    return run.stage(
        "validate",
        digest,
        Validation,
        work,
        lambda record: (
            f"{shape(split.holdout_rows, len(table.columns))} to validate",
            record.choice.candidate,
            figures(record.evidence, spec),
        ),
        steps=validate.STEPS,
    )


def _with_data(validation: Validation, cleaned: CleanRows) -> Validation:
    """The validation with what was measured of the rows themselves beside it."""
    share = cleaned.quarantined / cleaned.rows_in
    counted = Measurement(
        metric="quarantined_share", value=share, lower=share, upper=share, n=cleaned.rows_in, method="counted"
    )
    measurements = (*validation.evidence.measurements, counted)
    evidence = msgspec.structs.replace(validation.evidence, measurements=measurements)
    return msgspec.structs.replace(validation, evidence=evidence)


def _package(  # noqa: PLR0917 - every record that the stage reads
    run: Run,
    spec: ProjectSpec,
    standard: Standard,
    table: FeatureTable,
    split: Split,
    trained: TrainedModel,
    validation: Validation,
    facts: Callable[..., TestScoreFacts],
) -> Bundle:
    """``facts`` gives, of the bundle's ``parts``, what the ML Test Score in its card rests on."""
    world, keys = run.world, run.world.keys
    digest = _digest(
        "package",
        validation.digest,
        choice=[validation.choice.candidate, validation.choice.threshold],
        evidence=[m for m in validation.evidence.measurements if m.metric == "quarantined_share"],
        declared=[spec.name, spec.rollout, spec.data.protected, spec.data.exclude, spec.serving],
        signer=keys.fingerprint,
    )
    folder_trained = run.path("train", trained.digest)

    def work(folder: Path, key: Digest) -> Bundle:
        rows = run.path("features", table.digest) / ROWS
        parts = run.path("split", split.digest) / PARTS
        inputs = package.PackageInputs(
            trained=trained,
            trained_folder=folder_trained,
            validation=validation,
            rows=rows,
            parts=parts,
            split=split,
            spec=spec,
            standard_toml=standard.to_toml(),
            monitor=monitor.monitor_plan(spec, standard),
            hashing_key=keys.hasher.fingerprint,
        )
        return package.run(
            inputs,
            sign=keys.sign,
            public_key_pem=keys.public_pem,
            remeasure=lambda scores: validate.remeasure(
                trained,
                folder_trained,
                parts,
                rows,
                spec,
                standard.of_phase(Phase.RELEASE),
                validation.choice.threshold,
                scores,
            ),
            conclude=lambda parts: _as_measured(parts, facts(parts=parts), world.registry.today()),
            folder=folder,
            digest=key,
            reporter=world.reporter,
        )

    return run.stage(
        "package",
        digest,
        Bundle,
        work,
        lambda record: (
            cost(record.before),
            cost(record.after),
            f"{record.variant}, parity {record.parity:.1e}",
        ),
        steps=package.STEPS,
    )


def _as_measured(parts: BundleParts, facts: TestScoreFacts, today: date) -> Evidence:
    """What follows from a bundle's own evidence: no signed word counts, since these come and end and a bundle stays."""
    return concluded(parts.evidence, facts, (), today)


def _monitor(run: Run, bundle: Bundle) -> MonitorPlan:
    keys = run.world.keys
    digest = _digest("monitor", bundle.digest)
    folder_bundle = run.path("package", bundle.digest) / package.BUNDLE
    return run.stage(
        "monitor",
        digest,
        MonitorPlan,
        lambda _folder, _key: monitor.run(folder_bundle, [keys.public_pem], run.world.reporter),
        lambda record: ("", f"{len(record.rules)} alert rules", "; ".join(rule.when for rule in record.rules[:3])),
        steps=monitor.STEPS,
    )


def _register(  # noqa: PLR0917 - all that a version is
    run: Run, spec: ProjectSpec, verdict: Verdict, evidence: Evidence, manifest: Digest, bundle: Bundle
) -> Version:
    """The version in the registry, bound to its bundle; a bundle that is there already keeps its number."""
    world = run.world
    world.registry.trust(world.keys.public_pem)
    return world.registry.register(
        Version(
            name=spec.name,
            number=0,
            digest=bundle.digest,
            manifest=manifest,
            verdict=verdict,
            evidence=evidence,
            report=_digest("report", bundle.digest, manifest=manifest, verdict=verdict, evidence=evidence),
            created_at="",
            lineage=run.lineage,
            stages=tuple(run.rows),
        )
    )
