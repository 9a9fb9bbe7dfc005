"""The models that ``inspect`` takes: versions, bundles, ONNX files, estimators, callables.

In: whatever names or is a model, and labelled rows. Out: a ``Subject``, and its ``Scored`` rows. Law: what a bundle's
rows are sliced, clustered and labelled by has been cleaned and hashed first; no value of a personal column passes.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy import assembly
from roadworthy.errors import DataError, ModelError, Problem
from roadworthy.formats.bundle import OpenBundle, read_bundle
from roadworthy.graphs.runner import Feed, GraphModel
from roadworthy.records.digests import Digest, digest_bytes, digest_data
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.serving.predictor import BundlePredictor
from roadworthy.standard import CATALOGUE, Standard, parse_standard
from roadworthy.standard.metric import MetricKind
from roadworthy.transforms.splits import label_text

__all__ = ["Scored", "Subject", "subject_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """N rows with what a model says of them.

    ``rows`` is what slices and entities are read from, ``labels`` the target [N] as the model's contract reads it,
    ``scores`` [N] or [N, classes], ``sound`` [N] whether the row has an answer, ``meets`` [N] whether it and its
    label meet the contract; ``misread`` counts labels that do not, by reason.
    """

    rows: pl.DataFrame
    labels: pl.Series
    scores: NDArray[np.float64]
    sound: NDArray[np.bool_]
    meets: NDArray[np.bool_]
    misread: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model under inspection: its task, labels and scores, and what only graphs and bundles have.

    ``scored`` takes the rows and the name of the column with the labels. ``signed`` are the measurements of a
    bundle's evidence that rows cannot make anew.
    """

    name: str
    digest: Digest
    scored: Callable[[pl.DataFrame, str], Scored]
    task: Task | None = None
    classes: tuple[str, ...] = ()
    threshold: float | None = None
    entity: str = ""
    standard: Standard | None = None
    graph: GraphModel | None = None
    feed: Callable[[pl.DataFrame], Feed] | None = None
    signed: tuple[Measurement, ...] = ()


def subject_of(model: Any, rows: pl.DataFrame, target: str, project: Path | str) -> Subject:
    """The model that a call of ``inspect`` names or passes; ModelError when there is none."""
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


def _bundle(folder: Path, project: Path | str) -> Subject:
    opened = assembly.open_project(project)
    with assembly.opened_registry(opened) as registry:
        bundle = read_bundle(folder, registry.trusted_keys())
    return _predictor_subject(str(folder), bundle, assembly.predictor(opened, bundle))


def _predictor_subject(name: str, bundle: OpenBundle, model: BundlePredictor) -> Subject:
    contract = model.contract

    def scored(rows: pl.DataFrame, target: str) -> Scored:
        named = rows if target == contract.target else rows.drop(contract.target, strict=False)
        table, problems, misread = model.labelled(named.rename({target: contract.target}))
        answers = model.answer_prepared(table, problems)
        given = rows.get_column(target).is_not_null()
        counts = Counter(misread.filter(given).drop_nulls().explode().to_list())
        return Scored(
            rows=table,
            labels=table.select(pl.when(misread.is_null()).then(contract.target).alias(contract.target)).to_series(),
            scores=answers.scores,
            sound=problems.is_null().to_numpy(),
            meets=(problems.is_null() & (misread.is_null() | ~given)).to_numpy(),
            misread=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        )

    columns = (*contract.contract.columns, *contract.features)
    table = tomllib.loads(bundle.parts.standard_toml)["standard"]
    evidence = bundle.parts.evidence.measurements
    return Subject(
        name=name,
        digest=bundle.digest,
        scored=scored,
        task=contract.task,
        classes=contract.classes,
        threshold=contract.threshold,
        entity=contract.entity,
        standard=parse_standard(table, contract.task, columns=columns),
        signed=tuple(one for one in evidence if one.phase is Phase.RELEASE and not _of_rows(one.metric)),
    )


def _of_rows(metric: str) -> bool:
    """Whether fresh rows with labels tell a metric; what training and packaging alone can tell stands in evidence."""
    if metric == "quarantined_share":
        return True
    known = CATALOGUE.get(metric)
    return known is not None and known.kind is MetricKind.QUALITY and metric != "overfit_gap"


def _graph(path: Path, columns: list[str]) -> Subject:
    graph = GraphModel(path, columns=columns)

    def scored(rows: pl.DataFrame, target: str) -> Scored:
        read = _numbers_read(rows, target)
        return _all_sound(read, target, graph.score(read.drop(target)))

    return Subject(
        name=path.name,
        digest=digest_bytes(graph.content),
        scored=scored,
        graph=graph,
        feed=lambda rows: graph.feed(rows.select(columns)),
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


def _estimator(model: Any) -> Subject:
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

    def scored(rows: pl.DataFrame, target: str) -> Scored:
        given = rows.drop(target)
        _refuse_lacking(named, given.columns, name)
        taken = given.select(named) if named else given.to_numpy()
        return _all_sound(rows, target, np.asarray(predict(taken), dtype=np.float64))

    if proba is None and classes:
        raise ModelError(f"{name} gives labels without probabilities, which cannot be measured honestly",
                         next_step="calibrate it (CalibratedClassifierCV) or pass one with predict_proba")  # fmt: skip
    task = None
    if classes:
        task = Task.BINARY if len(classes) == 2 else Task.MULTICLASS
    elif hasattr(model, "predict"):
        task = Task.REGRESSION
    digest = digest_data([name, str(getattr(model, "get_params", dict)())])
    return Subject(name=name, digest=digest, scored=scored, classes=classes, task=task)


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


def _all_sound(rows: pl.DataFrame, target: str, scores: NDArray[np.float64]) -> Scored:
    """Rows of a model without a contract: as they came, each with an answer."""
    sound = np.ones(rows.height, dtype=np.bool_)
    return Scored(rows=rows, labels=rows.get_column(target), scores=_of_the_event(scores), sound=sound, meets=sound)
