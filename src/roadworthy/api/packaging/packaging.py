"""The whole of ``package``: convert, inspect, bundle, register.

In: what ``package`` is called with. Out: ``Packaged``. Laws: what is inspected is the graph that ships, through the
contract that ships; nothing is written before the graph has answered as the original does; every call measures anew
and registers a version of its own.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy import assembly
from roadworthy.adapters.lake import Lake
from roadworthy.adapters.whole_files import whole_file
from roadworthy.api.inspection import Inspection
from roadworthy.api.inspection.inspecting import Asking, inspect_subject, refuse_tampered
from roadworthy.api.inspection.rows import Given, clusters_of, given_rows, nothing_left, sample_of
from roadworthy.api.packaging.converting import Converted, converted
from roadworthy.api.packaging.declaring import Declared, Words, declared
from roadworthy.api.project import write_first
from roadworthy.api.subjects import Scored, Subject, subject_of
from roadworthy.api.subjects.bundled import bundle_subject
from roadworthy.api.subjects.endpoints import is_address
from roadworthy.errors import ModelError, Problem
from roadworthy.formats.bundle import BundleParts, OpenBundle, ServingContract, read_bundle, write_bundle
from roadworthy.formats.bundle.card import adopted_card
from roadworthy.formats.bundle.manifest import Manifest
from roadworthy.formats.report import render_report
from roadworthy.graphs.runner import GraphModel
from roadworthy.measures.samples import Sample
from roadworthy.measures.test_score import TestScoreFacts
from roadworthy.protocols import Reporter
from roadworthy.records.digests import Digest, digest_bytes, digest_data
from roadworthy.records.evidence import Evidence, Phase
from roadworthy.records.model import Bundle
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.records.version import Version
from roadworthy.stages import monitor
from roadworthy.stages.adopting import feeds
from roadworthy.stages.inspection import concluded
from roadworthy.stages.package import BUNDLE
from roadworthy.stages.package_estimator import estimator_file
from roadworthy.stages.package_reference import reference_files
from roadworthy.stages.package_serving import refer_note, serving_files
from roadworthy.testing import SilentReporter
from roadworthy.views import inspection_view, with_pictures

__all__ = ["Packaged", "Work", "package", "prepared"]

_NUMBER = 1  # raised when the work of this module changes


class Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """The version as registered, the inspection that it was judged by, and where bundle, report and project lie.

    ``wrote`` says whether the project file was written by this call.
    """

    version: Version
    inspection: Inspection
    bundle: Path
    report: Path
    project: Path
    wrote: bool
    notes: tuple[str, ...] = ()


def package(
    model: Any,
    data: Any,
    y: Sequence[Any] | None = None,
    *,
    target: str = "",
    project: Path | str = assembly.PROJECT_FILE,
    name: str = "",
    standard: Mapping[str, Any] | Path | str | None = None,
    positive: str = "",
    threshold: float | None = None,
    train: Any = None,
    train_y: Sequence[Any] | None = None,
    time: str = "",
    entity: str = "",
    protected: Sequence[str] = (),
    quick: bool = False,
    reporter: Reporter | None = None,
) -> Packaged:
    """Make a registered version of a model that others trained.

    ``model``: an ONNX, LightGBM or XGBoost file, or an estimator of scikit-learn or of these two. ``data``: labelled
    rows that it was not trained on, a path or a frame, or the feature columns with the labels as ``y``. Where there is
    no ``project`` file a first one is written: ``name``, ``standard``, ``positive``, ``time``, ``entity`` and
    ``protected`` are for it. A project that is there keeps its contract and its standard. ``threshold`` is where a
    binary model decides: 0.5, or the project's own. ``train``, ``train_y`` and ``quick`` are as for ``inspect``.

    Raises ModelError for a model that cannot become a graph, or whose graph answers otherwise than the original;
    DataError and UsageError where rows, labels or words do not fit it.
    """
    given = given_rows(data, y, target)
    place = Path(project)
    refuse_tampered(place)
    words = Words(
        project=place,
        data=None if y is not None else data,
        name=name,
        standard=standard,
        positive=positive,
        threshold=threshold,
        time=time,
        entity=entity,
        protected=protected,
    )
    work = prepared(model, given, words)
    if work.declared.first:
        write_first(work.declared.file, work.spec, work.declared.said)
    asking = Asking(
        standard=work.spec.standard,
        project=work.declared.file,
        threshold=work.declared.threshold,
        train=None if train is None else given_rows(train, train_y, given.target),
        quick=quick,
    )
    return _registered(work, asking, reporter or SilentReporter())


def prepared(model: Any, given: Given, words: Words) -> Work:
    """The model converted and proven to be the same, in the project that it belongs to. Nothing is written."""
    _refuse_addresses(model)
    subject = subject_of(model, given.rows, given.target, words.project)
    if subject.export is None:
        raise _no_graph(subject, model)
    export = subject.export()
    scored = subject.scored(given.rows, given.target)
    task, classes = _labels(subject, scored, given, words.positive)
    takes = feeds(export)
    found = declared(words, given, subject.name, takes, task, classes)
    return Work(subject, found, converted(subject, export, takes, found, given, scored), classes, given)


def _refuse_addresses(model: Any) -> None:
    if isinstance(model, str) and is_address(model):
        raise ModelError(
            f"{model} is an address: the model behind it cannot be taken from there",
            problems=[Problem("an endpoint", where="MODEL", expected="an ONNX, LightGBM or XGBoost file")],
            next_step="ask who serves it for the model's file; `roadworthy inspect` judges the endpoint itself",
        )


def _no_graph(subject: Subject, model: Any) -> ModelError:
    """Why a model cannot be packaged, with the way out."""
    ways = {
        "bundle": ("it is a bundle already", "roadworthy promote VERSION   # serves it"),
        "booster": ("its library keeps no labels in it", "save it with save_model, then package that file"),
        "code": ("it is Python code, and a bundle holds none", "pass the estimator that it asks, or export it to ONNX"),
        "file": ("no way is known to make a graph of it", "export it to ONNX where it was trained, then package that"),
    }
    kind = "bundle" if subject.contract else "file" if isinstance(model, str | Path) else "code"
    kind = "booster" if hasattr(model, "save_model") else kind
    found, way = ways[kind]
    return ModelError(
        f"{subject.name} cannot be packaged: {found}",
        problems=[Problem(found, where="MODEL", expected="an ONNX, LightGBM or XGBoost file, or an estimator")],
        next_step=way,
    )


def _labels(subject: Subject, scored: Scored, given: Given, positive: str) -> tuple[Task, tuple[str, ...]]:
    """The task, and the labels in the order of scores; TargetError where they do not fit the model's outputs."""
    known = scored.sound & scored.labels.is_not_null().to_numpy()
    if not known.any():
        raise nothing_left(scored, given)
    if subject.task is None:
        raise ModelError(
            f"one label only is in column {given.target}, so that nothing tells what {subject.name} predicts",
            next_step="pass rows with every label",
        )
    labels = scored.labels.filter(known)
    sample = sample_of(labels, scored.scores[known], subject.task, subject, positive, None, None)
    return subject.task, tuple(sample.classes)


@dataclass(frozen=True, slots=True)
class Work:
    """What is packaged: the model, its project, its graph, its labels in the order of scores, the rows."""

    subject: Subject
    declared: Declared
    made: Converted
    classes: tuple[str, ...]
    given: Given

    @property
    def spec(self) -> ProjectSpec:
        """The project, with the contract that the graph needs."""
        return self.made.spec


def _registered(work: Work, asking: Asking, reporter: Reporter) -> Packaged:
    """Inspect what ships, write the bundle, register it, write the report."""
    opened = assembly.open_project(work.declared.file)
    if work.declared.first:  # personal columns are read as the hashes that they become
        made = dataclasses.replace(work.made, spec=msgspec.structs.replace(opened.spec, features={}))
        work = dataclasses.replace(work, made=made)
    keys = assembly.project_keys(opened)
    draft = _draft(work, keys.hasher.fingerprint)
    model = assembly.predictor(opened, draft)
    subject = dataclasses.replace(bundle_subject(work.subject.name, draft, model), standard=None)
    beside = (work.made.parity, work.made.flips)
    inspection, measured = inspect_subject(subject, work.given, asking, reporter, beside)
    measured = msgspec.structs.replace(measured, looks=inspection.evidence.looks)
    parts = _parts(work, draft, subject, inspection, measured)
    digest = digest_data(
        ["package", _NUMBER, work.subject.digest, measured, work.spec, inspection.standard.digest(), keys.fingerprint]
    )
    lake = Lake(opened.settings.lake)
    notes = (*work.subject.notes, *work.declared.notes, *work.made.notes, *inspection.notes)
    with lake.writing("package", digest) as folder:
        write_bundle(folder / BUNDLE, parts, sign=keys.sign, public_key_pem=keys.public_pem)
        (folder / "record.json").write_bytes(msgspec.json.encode(_record(work, digest, measured, notes)))
    bundle = lake.path("package", digest) / BUNDLE
    monitor.run(bundle, [keys.public_pem], SilentReporter())
    manifest = read_bundle(bundle, [keys.public_pem]).digest
    version = _version(opened, work, inspection, digest, manifest, keys.public_pem)
    report = _report(opened, lake, version, inspection, notes)
    return Packaged(
        version=version,
        inspection=inspection,
        bundle=bundle,
        report=report,
        project=opened.file,
        wrote=work.declared.first,
        notes=notes,
    )


def _draft(work: Work, hashing_key: Digest) -> OpenBundle:
    """The bundle as far as answers depend on it, in memory: what the inspection asks."""
    spec, content = work.spec, work.made.content
    graph = GraphModel(content)
    contract = ServingContract(
        name=spec.name,
        task=spec.task,
        target=spec.target,
        classes=work.classes,
        positive=work.classes[1] if spec.task is Task.BINARY else "",
        threshold=work.declared.threshold,
        time=spec.data.time,
        entity=spec.data.entity,
        personal=spec.data.personal,
        hashing_key=hashing_key if spec.data.personal else "",
        protected=spec.data.protected,
        excluded={name: why for name, why in spec.data.exclude.items() if name not in graph.columns},
        contract=spec.contract,
        features={},
        inputs=graph.columns,
        output=graph.outputs[0],
    )
    digest = digest_bytes(content)
    nothing = Evidence(subject=digest, holdout="", measurements=(), findings=(), exhibits=())
    parts = BundleParts(
        model=content,
        contract=contract,
        standard_toml='[standard]\nextends = "none"\n',
        monitor={},
        evidence=nothing,
        card_md="",
        reference={},
        parents={"model": work.subject.digest},
    )
    manifest = Manifest(name=spec.name, signer="", parents={}, files={})
    return OpenBundle(folder=work.declared.file.parent, digest=digest, signer="", manifest=manifest, parts=parts)


def _parts(work: Work, draft: OpenBundle, subject: Subject, inspection: Inspection, measured: Evidence) -> BundleParts:
    """The whole bundle: reference files from the inspected rows, the evidence as measured, the card."""
    spec, standard = work.spec, inspection.standard
    rows, scores, sample = _sampled(work, subject)
    facts = TestScoreFacts(
        columns=subject.columns, required=tuple(dict.fromkeys(one.metric for one in standard.of_phase(Phase.RELEASE)))
    )
    told = concluded(measured, facts, (), assembly.SystemClock().now().date())
    graph = GraphModel(work.made.content)
    reference = {
        **reference_files(spec, rows, graph, scores, sample),
        **estimator_file(spec, sample, rows, graph.columns, threshold=work.declared.threshold),
        **serving_files(spec, rows, graph.columns, sample, classes=work.classes, threshold=work.declared.threshold),
    }
    card = adopted_card(
        spec,
        told,
        model=work.subject.name,
        digest=work.subject.digest,
        columns=subject.columns,
        classes=work.classes,
        threshold=work.declared.threshold,
        notes=(*work.subject.notes, *work.made.notes, *refer_note(reference)),
    )
    return dataclasses.replace(
        draft.parts,
        standard_toml=standard.to_toml(),
        monitor=monitor.monitor_plan(spec, standard),
        evidence=measured,
        card_md=card,
        reference=reference,
        parents={"model": work.subject.digest, "holdout": measured.holdout},
    )


def _sampled(work: Work, subject: Subject) -> tuple[pl.DataFrame, NDArray[np.float64], Sample]:
    """The clean rows of the contract that have score and label, their scores, and both as a sample."""
    scored = subject.scored(work.given.rows, work.given.target)
    known = scored.sound & scored.labels.is_not_null().to_numpy()
    labels, scores = scored.labels.filter(known), scored.scores[known]
    rows = scored.rows.filter(known)
    rows = rows.with_columns(labels.alias(work.spec.target))
    rows = rows.select(name for name in work.spec.contract.columns if name in rows.columns)
    clusters = clusters_of(rows, work.spec.data.entity)
    task, cut = work.spec.task, work.declared.threshold
    return rows, scores, sample_of(labels, scores, task, subject, "", cut, clusters)


def _record(work: Work, digest: Digest, measured: Evidence, notes: tuple[str, ...]) -> Bundle:
    made = work.made
    return Bundle(
        digest=digest,
        parent=work.subject.digest,
        name=work.spec.name,
        before=made.before.cost,
        after=made.after.cost,
        variant=made.variant,
        parity=_value(made.parity.value),
        flips=_value(made.flips.value),
        notes=notes,
        evidence=measured,
    )


def _value(value: float | None) -> float:
    return 0.0 if value is None else value


def _version(  # noqa: PLR0917 - all that a version is
    opened: assembly.Project, work: Work, inspection: Inspection, digest: Digest, manifest: Digest, public_pem: bytes
) -> Version:
    lineage = {"model": work.subject.digest, "rows": inspection.evidence.holdout, "package": digest}
    with assembly.opened_registry(opened) as registry:
        registry.trust(public_pem)
        return registry.register(
            Version(
                name=work.spec.name,
                number=0,
                digest=digest,
                manifest=manifest,
                verdict=inspection.verdict,
                evidence=inspection.evidence,
                report=digest_data(["report", _NUMBER, digest, manifest, inspection.verdict, inspection.evidence]),
                created_at="",
                lineage=lineage,
            )
        )


def _report(
    opened: assembly.Project, lake: Lake, version: Version, inspection: Inspection, notes: tuple[str, ...]
) -> Path:
    """The inspection as a page, in the lake and as a copy beside the project file."""
    when = version.created_at.replace("T", " ").replace("+00:00", " UTC")
    view = with_pictures(inspection_view(inspection, when=when))
    own = [note for note in notes if note not in inspection.notes]
    view = msgspec.structs.replace(view, project=version.name, version=str(version.number), notes=(*own, *view.notes))
    with lake.writing("report", version.report) as folder:
        (folder / assembly.REPORT_FILE).write_text(render_report(view), encoding="utf-8")
    report = opened.folder / assembly.REPORT_FILE
    with whole_file(report) as fresh:
        shutil.copyfile(lake.path("report", version.report) / assembly.REPORT_FILE, fresh)
    return report
