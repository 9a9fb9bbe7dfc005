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
from roadworthy.formats.bundle import OpenBundle, read_bundle
from roadworthy.graphs.runner import Feed, GraphModel
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
        feed: Callable[[pl.DataFrame], Feed] | None = None,
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
        self.feed = feed


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
    table, a TOML file, or None: the bundle's own, otherwise the preset "service", as far as rows can tell.

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
    required, elsewhere = _standard(standard, task, subject, rows.columns)
    release = required.of_phase(Phase.RELEASE)
    evidence = Evidence(
        subject=subject.digest,
        holdout=_digest_of(labelled),
        measurements=(*measurements(sample, labelled, release), *_quarantined(sound), *_costs(subject, labelled)),
        findings=(*accuracy_paradox(sample), *class_imbalance(sample)),
        exhibits=tuple(exhibits_for(sample)),
    )
    left_out = rows.height - labelled.height
    notes = [f"{left_out:,} of {rows.height:,} rows have no score or no label and were left out"] if left_out else []
    if elsewhere:
        notes.append(f"{', '.join(elsewhere)}: judged where the model is trained and packaged, not on rows like these")
    return Inspection(
        model=subject.name,
        data=shown,
        standard=required,
        evidence=evidence,
        verdict=judge(required, evidence),
        notes=tuple(notes),
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
            return _predictor_subject(version.title, bundle, assembly.predictor(opened, bundle))
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
    return _predictor_subject(str(folder), bundle, assembly.predictor(opened, bundle))


def _predictor_subject(name: str, bundle: OpenBundle, model: BundlePredictor) -> _Subject:
    contract = model.contract

    def score(raw: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        answers = model.answer(raw)
        return answers.scores, answers.problems.is_null().to_numpy()

    columns = (*contract.contract.columns, *contract.features)
    table = tomllib.loads(bundle.parts.standard_toml)["standard"]
    return _Subject(
        name,
        bundle.digest,
        score,
        task=contract.task,
        classes=contract.classes,
        threshold=contract.threshold,
        entity=contract.entity,
        standard=parse_standard(table, contract.task, columns=columns),
        graph=model.graph,
        feed=lambda raw: model.graph.feed(model.prepare(raw)[0]),
    )


def _graph(path: Path, columns: list[str]) -> _Subject:
    graph = GraphModel(path, columns=columns)
    return _Subject(
        path.name,
        digest_bytes(graph.content),
        lambda rows: _all_sound(_of_the_event(graph.score(rows))),
        graph=graph,
        feed=graph.feed,
    )


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
    """A scikit-learn-compatible estimator or a callable; labels come from ``classes_`` where there are any.

    One that was fitted on named columns gets a frame of those, any other the matrix of all columns in their order.
    """
    name = type(model).__name__
    known = np.asarray(getattr(model, "classes_", ())).tolist()
    classes = tuple(label_text(pl.Series(known)).to_list()) if known else ()
    named = [str(column) for column in getattr(model, "feature_names_in_", ())]
    proba = getattr(model, "predict_proba", None)
    predict = proba or getattr(model, "predict", None) or (model if callable(model) else None)
    if predict is None:
        raise ModelError(f"a {name} can neither predict nor be called", next_step="pass an estimator or a function")

    def score(rows: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        _refuse_lacking(named, rows.columns, name)
        taken = rows.select(named) if named else rows.to_numpy()
        return _all_sound(_of_the_event(np.asarray(predict(taken), dtype=np.float64)))

    if proba is None and classes:
        raise ModelError(f"{name} gives labels without probabilities, which cannot be measured honestly",
                         next_step="calibrate it (CalibratedClassifierCV) or pass one with predict_proba")  # fmt: skip
    task = None
    if classes:
        task = Task.BINARY if len(classes) == 2 else Task.MULTICLASS
    elif hasattr(model, "predict"):
        task = Task.REGRESSION
    digest = digest_data([name, str(getattr(model, "get_params", dict)())])
    return _Subject(name, digest, score, classes=classes, task=task)


def _refuse_lacking(named: Sequence[str], columns: Sequence[str], model: str) -> None:
    problems = [Problem(f"no column {name!r}", where="the rows") for name in named if name not in columns]
    if problems:
        raise DataError(
            f"the rows lack columns that the {model} was fitted on",
            problems=problems,
            next_step=f"the rows have {', '.join(columns)}: rename them as they were in training",
        )


def _of_the_event(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] where there are one or two columns, the last being the positive class's; [N, classes] otherwise."""
    return scores[:, -1] if scores.ndim == 2 and scores.shape[1] <= 2 else scores


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
        return Sample(task=task, y=_numbers(column, target), score=scores, clusters=clusters)
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


def _numbers(column: pl.Series, target: str) -> NDArray[np.float64]:
    """The labels of a regression; TargetError where some are no numbers."""
    values = column.cast(pl.Float64, strict=False)
    wrong = int((~values.is_finite()).fill_null(value=True).sum())
    if wrong:
        raise TargetError(
            f"{wrong:,} of {len(column):,} labels are no numbers",
            problems=[Problem(f"{wrong:,} values that are no numbers", where=f"column {target}", expected="numbers")],
            next_step="leave those rows out, or write a label that is not known as an empty cell",
        )
    return values.to_numpy()


def _standard(
    given: Mapping[str, Any] | Path | str | None, task: Task, subject: _Subject, columns: Sequence[str]
) -> tuple[Standard, list[str]]:
    """What is required, and the metrics that were left out of it: those that only training and packaging can measure.

    What the caller asks for by name stays, measured or not.
    """
    asked: Mapping[str, Any] = {}
    if isinstance(given, Mapping):
        asked, whole = given, parse_standard(given, task, columns=columns, file="the given standard")
    elif given is not None:
        asked = _standard_table(Path(given))
        whole = parse_standard(asked, task, columns=columns, file=Path(given).name)
    else:
        whole = subject.standard or parse_standard({}, task)
    release = dict.fromkeys(one.metric for one in whole.of_phase(Phase.RELEASE))
    elsewhere = [metric for metric in release if metric not in asked and not _measured_here(metric, subject)]
    known = tuple(one for one in whole.requirements if one.metric not in elsewhere)
    return msgspec.structs.replace(whole, requirements=known), elsewhere


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


def _measured_here(metric: str, subject: _Subject) -> bool:
    kind = CATALOGUE[metric].kind
    if kind is MetricKind.COST or metric == "quarantined_share":
        return subject.graph is not None
    return kind is MetricKind.QUALITY and metric != "overfit_gap"


def _quarantined(sound: NDArray[np.bool_]) -> tuple[Measurement, ...]:
    share = float(1 - sound.mean()) if len(sound) else 0.0
    return (
        Measurement(metric="quarantined_share", value=share, lower=share, upper=share, n=len(sound), method="counted"),
    )


def _costs(subject: _Subject, rows: pl.DataFrame) -> tuple[Measurement, ...]:
    if subject.graph is None or subject.feed is None:
        return ()
    timing = time_graphs({"model": subject.graph.content}, subject.feed(rows.head(1)), runs=_LATENCY_RUNS)["model"]
    size = float(timing.size_bytes)
    counted = Measurement(
        metric="size", value=size, lower=size, upper=size, n=1, unit="bytes", method="bytes of the file"
    )
    return (counted, *latency_measurements(timing.samples_ms))


def _digest_of(rows: pl.DataFrame) -> Digest:
    return digest_data([rows.columns, rows.height, int(rows.hash_rows(seed=0).sum() or 0)])
