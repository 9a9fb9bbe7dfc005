"""``inspect``: judge a model on labelled rows, whoever trained it.

In: a model (a registered version, a bundle's folder, an ONNX file, an estimator or a callable), labelled rows, a
standard. Out: an ``Inspection``: evidence and verdict. The measuring and the judging are those of ``run``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy import assembly
from roadworthy.adapters.sources.row_digest import digest_rows
from roadworthy.api.subjects import Scored, Subject, subject_of
from roadworthy.errors import DataError, Problem, RoadworthyError, TargetError, UsageError, nearest
from roadworthy.graphs.timing import latency_measurements, time_graphs
from roadworthy.measures.curves import exhibits_for
from roadworthy.measures.pitfalls import accuracy_paradox, class_imbalance
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Evidence, Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.verdict import Verdict
from roadworthy.stages.measuring import measurements
from roadworthy.standard import CATALOGUE, Standard, judge, parse_standard
from roadworthy.standard.metric import MetricKind
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
    table, a TOML file, or None: the bundle's own, otherwise the preset "service", as far as rows can tell. What rows
    cannot tell of a bundle (parity, size, latency, leaks) is taken from its signed evidence.

    A bundle's slices, entities and labels are read as its contract reads them, personal values hashed.

    Raises UsageError, DataError or ModelError for what cannot be inspected. A pickle is never loaded.
    """
    rows, target, shown = _rows(data, y, target)
    subject = subject_of(model, rows, target, project)
    scored = subject.scored(rows, target)
    known = scored.sound & scored.labels.is_not_null().to_numpy()
    if not known.any():
        raise _nothing_left(scored, shown, target)
    labelled, labels = scored.rows.filter(known), scored.labels.filter(known)
    task = subject.task or infer(rows, target=target, source_name=shown).task
    sample = _sample(labels, labelled, scored.scores[known], task, subject, positive, threshold)
    required, elsewhere = _standard(standard, task, subject, scored.rows.columns)
    release = required.of_phase(Phase.RELEASE)
    found = (*measurements(sample, labelled, release), *_quarantined(scored), *_costs(subject, labelled))
    evidence = Evidence(
        subject=subject.digest,
        holdout=digest_rows(labelled.lazy()),
        measurements=(*found, *subject.signed),
        findings=(*accuracy_paradox(sample), *class_imbalance(sample)),
        exhibits=tuple(exhibits_for(sample)),
    )
    return Inspection(
        model=subject.name,
        data=shown,
        standard=required,
        evidence=evidence,
        verdict=judge(required, evidence),
        notes=tuple(_notes(scored, int(known.sum()), subject, elsewhere)),
    )


def _notes(scored: Scored, known: int, subject: Subject, elsewhere: Sequence[str]) -> Iterator[str]:
    """What a person should know of rows that were left out, and of requirements that rows do not tell."""
    rows = scored.rows.height
    if known < rows:
        yield f"{rows - known:,} of {rows:,} rows have no score or no label and were left out"
    for reason, count in scored.misread.items():
        yield f"{count:,} labels do not meet the contract: {reason}"
    if subject.signed:
        carried = ", ".join(dict.fromkeys(one.metric for one in subject.signed))
        yield f"{carried}: from the bundle's signed evidence, since rows like these cannot tell"
    if elsewhere:
        yield f"{', '.join(elsewhere)}: judged where the model is trained and packaged, not on rows like these"


def _nothing_left(scored: Scored, shown: str, target: str) -> RoadworthyError:
    if not scored.misread:
        return DataError(f"no row of {shown} has both a score and a label", next_step="check the target's name")
    return TargetError(
        f"no row of {shown} has both a score and a label that meets the contract",
        problems=[
            Problem(f"{count:,} labels: {reason}", where=f"column {target}") for reason, count in scored.misread.items()
        ],
        next_step="see that --target names the column with the labels, written as in training",
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


def _sample(  # noqa: PLR0917 - everything that a sample is made of
    column: pl.Series,
    rows: pl.DataFrame,
    scores: NDArray[np.float64],
    task: Task,
    subject: Subject,
    positive: str,
    threshold: float | None,
) -> Sample:
    """The sample of labels and scores [N]; ``rows`` [N] tell whose they are."""
    clusters = _clusters(rows.get_column(subject.entity)) if subject.entity in rows.columns else None
    if task is Task.REGRESSION:
        return Sample(task=task, y=_numbers(column), score=scores, clusters=clusters)
    classes = subject.classes or class_labels(column, task, positive)
    codes = {label: place for place, label in enumerate(classes)}
    labels = label_text(column)
    unknown = sorted(set(labels.unique().to_list()) - set(codes))
    if unknown:
        shown = ", ".join(unknown[:5])
        problem = Problem(f"labels {shown}", expected=", ".join(classes), where=f"column {column.name}")
        raise TargetError(f"the model does not know the labels {shown}", problems=[problem])
    y = labels.replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    cut = threshold if threshold is not None else subject.threshold
    cut = 0.5 if cut is None and task is Task.BINARY else cut
    return Sample(task=task, y=y, score=scores, classes=classes, clusters=clusters, threshold=cut)


def _clusters(entities: pl.Series) -> NDArray[np.int64]:
    """A number per entity; a row without one is its own."""
    own = -1 - pl.int_range(len(entities), eager=True)
    return entities.rank("dense").cast(pl.Int64).fill_null(own).to_numpy()


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """The labels of a regression; TargetError where some are no numbers."""
    values = column.cast(pl.Float64, strict=False)
    wrong = int((~values.is_finite()).fill_null(value=True).sum())
    if wrong:
        raise TargetError(
            f"{wrong:,} of {len(column):,} labels are no numbers",
            problems=[
                Problem(f"{wrong:,} values that are no numbers", where=f"column {column.name}", expected="numbers")
            ],
            next_step="leave those rows out, or write a label that is not known as an empty cell",
        )
    return values.to_numpy()


def _standard(
    given: Mapping[str, Any] | Path | str | None, task: Task, subject: Subject, columns: Sequence[str]
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


def _measured_here(metric: str, subject: Subject) -> bool:
    if any(one.metric == metric for one in subject.signed):
        return True
    kind = CATALOGUE[metric].kind
    if metric == "quarantined_share":
        return subject.graph is not None or subject.standard is not None
    if kind is MetricKind.COST:
        return subject.graph is not None
    return kind is MetricKind.QUALITY and metric != "overfit_gap"


def _quarantined(scored: Scored) -> tuple[Measurement, ...]:
    n = scored.rows.height
    share = float(1 - scored.meets.mean()) if n else 0.0
    return (Measurement(metric="quarantined_share", value=share, lower=share, upper=share, n=n, method="counted"),)


def _costs(subject: Subject, rows: pl.DataFrame) -> tuple[Measurement, ...]:
    if subject.graph is None or subject.feed is None:
        return ()
    timing = time_graphs({"model": subject.graph.content}, subject.feed(rows.head(1)), runs=_LATENCY_RUNS)["model"]
    size = float(timing.size_bytes)
    counted = Measurement(
        metric="size", value=size, lower=size, upper=size, n=1, unit="bytes", method="bytes of the file"
    )
    return (counted, *latency_measurements(timing.samples_ms))
