"""``inspect``: judge a model on labelled rows, whoever trained it.

In: a model (a registered version, a bundle's folder, an ONNX file, an estimator or a callable), labelled rows, a
standard. Out: an ``Inspection``: evidence and verdict. The measuring and the judging are those of ``run``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy import assembly
from roadworthy.errors import DataError, ModelError, Problem, TargetError, UsageError, nearest
from roadworthy.formats.bundle import read_bundle
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.timing import latency_measurements, time_graphs
from roadworthy.measures.curves import exhibits_for
from roadworthy.measures.pitfalls import accuracy_paradox, class_imbalance
from roadworthy.measures.samples import Sample
from roadworthy.records.digests import Digest, digest_bytes, digest_data
from roadworthy.records.evidence import Evidence, Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.verdict import Verdict
from roadworthy.serving.predictor import BundlePredictor
from roadworthy.stages.measuring import measurements
from roadworthy.standard import CATALOGUE, Standard, judge, parse_standard
from roadworthy.standard.catalogue import MetricKind
from roadworthy.transforms.inference import infer
from roadworthy.transforms.splits import class_labels, label_text

__all__ = ["Inspection", "inspect"]

_LATENCY_RUNS = 400


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and what it means under the standard."""

    model: str
    data: str
    standard: Standard
    evidence: Evidence
    verdict: Verdict
    notes: tuple[str, ...] = ()


class _Subject:
    """A model under inspection: its task, labels and scores, and what only graphs have."""

    def __init__(
        self,
        name: str,
        digest: Digest,
        score: Callable[[pl.DataFrame], tuple[NDArray[np.float64], NDArray[np.bool_]]],
        *,
        task: Task | None = None,
        classes: tuple[str, ...] = (),
        threshold: float | None = None,
        entity: str = "",
        standard: Standard | None = None,
        graph: GraphModel | None = None,
    ) -> None:
        self.name = name
        self.digest = digest
        self.score = score
        self.task = task
        self.classes = classes
        self.threshold = threshold
        self.entity = entity
        self.standard = standard
        self.graph = graph


def inspect(
    model: Any,
    data: Any,
    y: Sequence[Any] | None = None,
    *,
    target: str = "",
    standard: Mapping[str, Any] | Path | str | None = None,
    project: Path | str = assembly.PROJECT_FILE,
    positive: str = "",
    threshold: float | None = None,
) -> Inspection:
    """Measure a model on labelled rows and judge it.

    ``model``: ``latest``, ``champion`` or a number (of ``project``), a bundle's folder, an ``.onnx`` file that
    scores float columns in their order, an estimator with ``predict_proba`` or ``predict``, or a callable from a
    frame to scores. ``data``: a path, a frame, or the feature columns with the labels as ``y``. ``standard``: a
    table, a TOML file, or None: the bundle's own, otherwise the preset "service" as far as quality goes.

    Raises UsageError, DataError or ModelError for what cannot be inspected. A pickle is never loaded.
    """
    rows, target, shown = _rows(data, y, target)
    subject = _subject(model, rows, target, project)
    if subject.graph is not None and subject.task is None:
        rows = _numbers_read(rows, target)
    scores, sound = subject.score(rows.drop(target))
    known = sound & rows.get_column(target).is_not_null().to_numpy()
    labelled = rows.filter(pl.Series(known))
    if labelled.height == 0:
        raise DataError(f"no row of {shown} has both a score and a label", next_step="check the target's name")
    task = subject.task or infer(rows, target=target, source_name=shown).task
    sample = _sample(labelled, target, scores[known], task, subject, positive, threshold)
    required = _standard(standard, task, subject, rows.columns)
    release = required.of_phase(Phase.RELEASE)
    evidence = Evidence(
        subject=subject.digest,
        holdout=_digest_of(labelled),
        measurements=(*measurements(sample, labelled, release), *_quarantined(sound), *_costs(subject, labelled)),
        findings=(*accuracy_paradox(sample), *class_imbalance(sample)),
        exhibits=tuple(exhibits_for(sample)),
    )
    left_out = rows.height - labelled.height
    notes = (f"{left_out:,} of {rows.height:,} rows have no score or no label and were left out",) if left_out else ()
    return Inspection(
        model=subject.name,
        data=shown,
        standard=required,
        evidence=evidence,
        verdict=judge(required, evidence),
        notes=notes,
    )


def _rows(data: Any, y: Sequence[Any] | None, target: str) -> tuple[pl.DataFrame, str, str]:
    """The rows with their labels, the target's name, and what to call them."""
    if isinstance(data, np.ndarray):
        data = pl.DataFrame(data, schema=[f"column_{place}" for place in range(data.shape[1])])
    source = assembly.source_of(data)
    rows = source.scan().collect()
    if y is not None:
        target = target or "target"
        rows = rows.with_columns(pl.Series(target, np.asarray(y).tolist()))
    if not target:
        raise UsageError("no target is named", next_step="--target COLUMN")
    if target not in rows.columns:
        close = nearest(target, rows.columns)
        hint = f"; did you mean {close!r}?" if close else ""
        raise TargetError(
            f"{source.describe()} has no column {target!r}{hint}",
            problems=[Problem(f"columns: {', '.join(rows.columns)}")],
            next_step=f"--target {close or 'COLUMN'}",
        )
    return rows, target, source.describe()


def _subject(model: Any, rows: pl.DataFrame, target: str, project: Path | str) -> _Subject:
    if not isinstance(model, str | Path):
        return _estimator(model)
    path = Path(model)
    if path.is_dir():
        return _bundle(path, project)
    if path.is_file():
        return _graph(path, [name for name in rows.columns if name != target])
    word = str(model)
    if word in {"latest", "champion"} or word.isdecimal():
        opened = assembly.open_project(project)
        with assembly.opened_bundle(opened, word) as (version, bundle):
            return _predictor_subject(version.title, bundle.digest, assembly.predictor(opened, bundle))
    raise ModelError(
        f"there is no model {word}",
        problems=[
            Problem(f"no such file: {word}", expected="an ONNX file, a bundle's folder, latest, champion or a number")
        ],
        next_step="roadworthy status   # lists the versions of a project",
    )


def _bundle(folder: Path, project: Path | str) -> _Subject:
    opened = assembly.open_project(project)
    with assembly.opened_registry(opened) as registry:
        bundle = read_bundle(folder, registry.trusted_keys())
    return _predictor_subject(
        str(folder), bundle.digest, assembly.predictor(opened, bundle), bundle.parts.standard_toml
    )


def _predictor_subject(name: str, digest: Digest, model: BundlePredictor, standard_toml: str = "") -> _Subject:
    contract = model.contract

    def score(raw: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        answers = model.answer(raw)
        return answers.scores, answers.problems.is_null().to_numpy()

    columns = (*contract.contract.columns, *contract.features)
    table = tomllib.loads(standard_toml)["standard"] if standard_toml else None
    return _Subject(
        name,
        digest,
        score,
        task=contract.task,
        classes=contract.classes,
        threshold=contract.threshold,
        entity=contract.entity,
        standard=None if table is None else parse_standard(table, contract.task, columns=columns),
        graph=model.graph,
    )


def _graph(path: Path, columns: list[str]) -> _Subject:
    graph = GraphModel(path, columns=columns)
    return _Subject(path.name, digest_bytes(graph.content), lambda rows: _all_sound(graph.score(rows)), graph=graph)


def _numbers_read(rows: pl.DataFrame, target: str) -> pl.DataFrame:
    """Text columns that hold nothing but numbers (and blanks) as numbers, since text files hold only text."""
    read = []
    for column in rows.drop(target).iter_columns():
        if column.dtype == pl.String:
            text = column.str.strip_chars().replace("", None)
            numbers = text.cast(pl.Float64, strict=False)
            if numbers.null_count() == text.null_count():
                read.append(numbers)
    return rows.with_columns(read)


def _estimator(model: Any) -> _Subject:
    """A scikit-learn-compatible estimator or a callable; labels come from ``classes_`` where there are any."""
    name = type(model).__name__
    classes = tuple(str(label) for label in getattr(model, "classes_", ()))
    proba = getattr(model, "predict_proba", None)
    predict = proba or getattr(model, "predict", None) or (model if callable(model) else None)
    if predict is None:
        raise ModelError(f"a {name} can neither predict nor be called", next_step="pass an estimator or a function")

    def score(rows: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        scores = np.asarray(predict(rows.to_numpy()), dtype=np.float64)
        if scores.ndim == 2 and scores.shape[1] <= 2:
            scores = scores[:, -1]
        return _all_sound(scores)

    if proba is None and classes:
        raise ModelError(f"{name} gives labels without probabilities, which cannot be measured honestly",
                         next_step="calibrate it (CalibratedClassifierCV) or pass one with predict_proba")  # fmt: skip
    return _Subject(name, digest_data([name, str(getattr(model, "get_params", dict)())]), score, classes=classes)


def _all_sound(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return scores, np.ones(len(scores), dtype=np.bool_)


def _sample(  # noqa: PLR0917 - everything that a sample is made of
    rows: pl.DataFrame,
    target: str,
    scores: NDArray[np.float64],
    task: Task,
    subject: _Subject,
    positive: str,
    threshold: float | None,
) -> Sample:
    column = rows.get_column(target)
    clusters = None
    if subject.entity and subject.entity in rows.columns:
        clusters = rows.get_column(subject.entity).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    if task is Task.REGRESSION:
        return Sample(task=task, y=column.cast(pl.Float64).to_numpy(), score=scores, clusters=clusters)
    classes = subject.classes or class_labels(column, task, positive)
    codes = {label: place for place, label in enumerate(classes)}
    labels = label_text(column)
    unknown = sorted(set(labels.unique().to_list()) - set(codes))
    if unknown:
        shown = ", ".join(unknown[:5])
        problem = Problem(f"labels {shown}", expected=", ".join(classes), where=f"column {target}")
        raise TargetError(f"the model does not know the labels {shown}", problems=[problem])
    y = labels.replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    cut = threshold if threshold is not None else subject.threshold
    cut = 0.5 if cut is None and task is Task.BINARY else cut
    return Sample(task=task, y=y, score=scores, classes=classes, clusters=clusters, threshold=cut)


def _standard(
    given: Mapping[str, Any] | Path | str | None, task: Task, subject: _Subject, columns: Sequence[str]
) -> Standard:
    if given is None:
        if subject.standard is not None:
            return subject.standard
        preset = parse_standard({}, task)
        known = tuple(r for r in preset.requirements if _measured_here(r.metric))
        return msgspec.structs.replace(preset, requirements=known)
    if isinstance(given, Mapping):
        return parse_standard(given, task, columns=columns)
    return parse_standard(_standard_table(Path(given)), task, columns=columns, file=Path(given).name)


def _standard_table(path: Path) -> dict[str, Any]:
    """The table [standard] of a TOML file, or the whole file; UsageError where there is none."""
    expected = "a TOML file with a table [standard]"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        found = str(error.strerror) if isinstance(error, OSError) else f"not TOML in UTF-8: {error}"
        raise UsageError(
            f"the standard {path} cannot be read",
            problems=[Problem(found, where=str(path), expected=expected)],
            next_step="mend it, or leave --standard out to judge by the model's own",
        ) from error
    standard = table.get("standard", table)
    if not isinstance(standard, dict) or not standard:
        raise UsageError(
            f"{path} holds no standard",
            problems=[Problem("no requirement", where=str(path), expected=expected)],
            next_step='write, for example: [standard] and below it accuracy = ">= 0.80"',
        )
    return standard


def _measured_here(metric: str) -> bool:
    return CATALOGUE[metric].kind is MetricKind.QUALITY and metric != "overfit_gap"


def _quarantined(sound: NDArray[np.bool_]) -> tuple[Measurement, ...]:
    share = float(1 - sound.mean()) if len(sound) else 0.0
    return (
        Measurement(metric="quarantined_share", value=share, lower=share, upper=share, n=len(sound), method="counted"),
    )


def _costs(subject: _Subject, rows: pl.DataFrame) -> tuple[Measurement, ...]:
    if subject.graph is None or subject.graph.columns:
        return ()
    feed = subject.graph.feed(rows.head(1).select(pl.exclude("target")))
    timing = time_graphs({"model": subject.graph.content}, feed, runs=_LATENCY_RUNS)["model"]
    size = float(timing.size_bytes)
    counted = Measurement(
        metric="size", value=size, lower=size, upper=size, n=1, unit="bytes", method="bytes of the file"
    )
    return (counted, *latency_measurements(timing.samples_ms))


def _digest_of(rows: pl.DataFrame) -> Digest:
    return digest_data([rows.columns, rows.height, int(rows.hash_rows(seed=0).sum() or 0)])
