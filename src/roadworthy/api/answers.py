"""``predict``, ``trace``, ``score``: what a registered version says of rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from roadworthy import assembly
from roadworthy.adapters.sources.files import FileSource
from roadworthy.adapters.whole_files import whole_file
from roadworthy.errors import DataError, Problem, UsageError
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.trace import Trace, with_decision
from roadworthy.graphs.trace import trace as trace_graph
from roadworthy.protocols import Reporter, Source
from roadworthy.records.project import Task
from roadworthy.records.verdict import Readiness
from roadworthy.records.version import Version
from roadworthy.serving.predictor import Answers, BundlePredictor
from roadworthy.testing import SilentReporter

__all__ = ["Prediction", "ScoreResult", "predict", "score", "trace"]

_BATCH = 131_072
_WHOLE = 1 << 127  # what a frame can hold; the contract says what is too large for it
_DECIMAL_DIGITS = 38


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one row.

    ``score`` is the probability of ``positive`` (binary) or the estimate (regression); ``scores`` is by class
    (classification). ``decision`` is a label, empty for regression and for a row that a person is to decide, for the
    reasons ``referred``; ``interval`` is that of an estimate, where the version knows it. ``notes`` say what was not
    given.
    """

    version: str
    score: float | None
    scores: dict[str, float]
    decision: str
    threshold: float | None
    referred: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


class ScoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file: rows in, rows with an answer, and why the others have none, by reason.

    ``referred`` of the answered rows are left to a person: they have a score, and no decision.
    """

    version: str
    source: str
    out: str
    rows: int
    answered: int
    referred: int = 0
    problems: dict[str, int]
    seconds: float
    notes: tuple[str, ...] = ()


def predict(
    row: Mapping[str, Any],
    project: Path | str = assembly.PROJECT_FILE,
    *,
    version: str = "latest",
    history: Any = None,
) -> Prediction:
    """The answer of a registered version to one row of named fields.

    ``version`` is a number, ``champion`` or ``latest``; ``history`` (path or frame) holds past rows for features
    that look at an entity's past. Raises DataError listing every field that does not meet the contract.
    """
    opened = assembly.open_project(project)
    with assembly.opened_bundle(opened, version) as (registered, bundle):
        model = assembly.predictor(opened, bundle)
        raw = _one_row(row, model)
        answers = model.answer_prepared(*_prepared_row(model, raw, history))
        contract = model.contract
        return Prediction(
            version=registered.title,
            score=None if contract.task is Task.MULTICLASS else float(answers.scores[0]),
            scores=_by_class(answers, model),
            decision="" if answers.decisions is None else answers.decisions.item() or "",
            threshold=contract.threshold,
            referred=() if answers.referred is None else tuple(answers.referred.to_list()[0] or ()),
            interval=None if answers.intervals is None else tuple(answers.intervals[0].tolist()),
            notes=(*_readiness_notes(registered), *_past_notes(model, raw, history)),
        )


def trace(
    row: Mapping[str, Any],
    project: Path | str = assembly.PROJECT_FILE,
    *,
    version: str = "latest",
    history: Any = None,
    model: Path | str | None = None,
) -> Trace:
    """One prediction layer by layer, from the ONNX graph itself.

    With ``model`` (a path) any ONNX file is traced, its inputs taken from the row by name, or in order where it
    has one tensor input.
    """
    if model is not None:
        graph = GraphModel(Path(model), columns=tuple(row))
        return trace_graph(graph.content, graph.feed(_frame_of(row)))
    opened = assembly.open_project(project)
    with assembly.opened_bundle(opened, version) as (_, bundle):
        predictor = assembly.predictor(opened, bundle)
        table, _ = _prepared_row(predictor, _one_row(row, predictor), history)
        traced = trace_graph(predictor.graph.content, predictor.graph.feed(table))
        scores = np.atleast_1d(predictor.graph.score(table)[0])
        return with_decision(traced, scores.tolist(), predictor.contract.threshold, predictor.contract.classes)


def score(
    data: Any,
    out: Path | str,
    project: Path | str = assembly.PROJECT_FILE,
    *,
    version: str = "latest",
    history: Any = None,
    threads: int = 1,
    reporter: Reporter | None = None,
) -> ScoreResult:
    """Answer every row of a source into a Parquet or CSV file, in its order; memory does not grow with the rows.

    Features that look at an entity's past see the file's own earlier rows and those of ``history``; then the
    contract's columns are held in memory. Rows that do not meet the contract keep their place, without a score,
    with their problems. The file appears whole or not at all.
    """
    target = Path(out)
    if target.suffix not in _WRITERS:
        found = f"cannot write {target}: known endings are {', '.join(_WRITERS)}"
        raise UsageError(found, next_step=f"--out {target.stem or 'answers'}.parquet")
    opened = assembly.open_project(project)
    progress = reporter or SilentReporter()
    started = time.perf_counter()
    with assembly.opened_bundle(opened, version) as (registered, bundle):
        model = assembly.predictor(opened, bundle, threads=threads)
        source = assembly.source_of(data)
        past = _past_source(history, model)
        _spare(target, [(data, source), (history, past)])
        rows = source.scan()
        counts = _Counts()
        progress.begin("score", None)
        parts = _scored_parts(model, rows, _past_rows(past, model), counts, progress)
        _write_whole(parts, target)
        progress.end("score", f"{counts.rows:,} rows")
    return ScoreResult(
        version=registered.title,
        source=source.describe(),
        out=str(target),
        rows=counts.rows,
        answered=counts.answered,
        referred=counts.referred,
        problems=dict(sorted(counts.problems.items(), key=lambda item: -item[1])),
        seconds=time.perf_counter() - started,
        notes=(*_readiness_notes(registered), *_file_notes(model, rows, history)),
    )


def _spare(target: Path, read: Sequence[tuple[Any, Source | None]]) -> None:
    """UsageError when the answers would take the place of rows that are read, or stand among them."""
    place = target.resolve()
    for declared, source in read:
        named = declared.get("path") if isinstance(declared, Mapping) else declared
        files = [Path(named)] if isinstance(named, str | Path) and "://" not in str(named) else []
        whole = [*files, *(source.files if isinstance(source, FileSource) else ())]
        if place in [file.resolve() for file in whole] or any(
            file.is_dir() and file.resolve() in place.parents for file in files
        ):
            raise UsageError(
                f"{target} would overwrite the rows that are read, or stand among them",
                next_step="name another file with --out",
            )


def _readiness_notes(version: Version) -> tuple[str, ...]:
    """A version that was not found ready says so with every answer."""
    verdict = version.verdict
    if verdict.readiness is Readiness.READY:
        return ()
    reason = verdict.sentence.partition(": ")[2] or verdict.sentence
    return (f"{version.title} is {verdict.readiness}: {reason}",)


def _one_row(row: Mapping[str, Any], model: BundlePredictor) -> pl.DataFrame:
    """A frame of one row; DataError for a field that is no column and no feature, and for one that lacks."""
    known = {*model.contract.contract.columns, *model.aggregates}
    unknown = [name for name in row if name not in known]
    if unknown:
        raise DataError(
            f"the row has fields that {model.contract.name} does not know",
            problems=[Problem(f"unknown field {name!r}") for name in unknown],
            next_step=f"known fields: {', '.join(sorted(known))}",
        )
    taken = [name for name in model.contract.inputs if name not in model.aggregates]
    missing = [name for name in taken if name not in row]
    if missing:
        raise DataError(
            "the row lacks fields that the model takes",
            problems=[
                Problem("missing field", where=name, expected="a value, or null where it is unknown")
                for name in missing
            ],
            next_step=f"give all of {', '.join(taken)}",
        )
    return _frame_of(row)


def _frame_of(row: Mapping[str, Any]) -> pl.DataFrame:
    """A frame of one row; DataError names every field whose value is no single number, text or time."""
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    faults = {name: fault for name, value in values.items() if (fault := _fault_of(value))}
    if faults:
        raise DataError(
            "the row has fields that cannot be read",
            problems=[
                Problem(fault, where=name, expected="one number, text, true, false or null")
                for name, fault in faults.items()
            ],
            next_step="give each field as one plain value",
        )
    return pl.DataFrame([values], infer_schema_length=None)


def _fault_of(value: Any) -> str:
    """What keeps a value from being a cell; it is not shown, for it may be personal."""
    if isinstance(value, int):
        return "" if abs(value) < _WHOLE else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        return "a text with half a surrogate pair" if any("\ud800" <= sign <= "\udfff" for sign in value) else ""
    if isinstance(value, Decimal):
        return "" if len(value.as_tuple().digits) <= _DECIMAL_DIGITS else "a decimal number of more than 38 digits"
    if value is None or isinstance(value, float | date | time_of_day | timedelta):
        return ""
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _prepared_row(model: BundlePredictor, raw: pl.DataFrame, history: Any) -> tuple[pl.DataFrame, pl.Series]:
    """One row as the graph takes it; DataError with every problem it has."""
    table, problems = model.prepare(raw, _past_rows(_past_source(history, model), model))
    found = problems.item()
    if found is not None:
        raise DataError(
            "the row does not meet the contract",
            problems=[Problem(reason) for reason in found],
            next_step="mend these fields, or change [contract] in roadworthy.toml and run again",
        )
    return table, problems


def _past_source(history: Any, model: BundlePredictor) -> Source | None:
    """Where past rows come from; None where no feature looks at them."""
    return None if history is None or not model.aggregates else assembly.source_of(history)


def _past_rows(source: Source | None, model: BundlePredictor) -> pl.DataFrame | None:
    """Past rows, cleaned; those that do not meet the contract are left out, as they are in training."""
    return None if source is None else model.past(source.scan().collect())


def _by_class(answers: Answers, model: BundlePredictor) -> dict[str, float]:
    contract = model.contract
    if contract.task is Task.REGRESSION:
        return {}
    if contract.task is Task.BINARY:
        positive = float(answers.scores[0])
        return dict(zip(contract.classes, (1.0 - positive, positive), strict=True))
    return dict(zip(contract.classes, map(float, answers.scores[0]), strict=True))


def _past_notes(model: BundlePredictor, raw: pl.DataFrame, history: Any) -> tuple[str, ...]:
    """What a person should know who asked without a past."""
    aggregates = model.aggregates
    if not aggregates or aggregates[0] in raw.columns:
        return ()
    lacking = [name for name in sorted(model.whose_past) if name not in raw.columns]
    if lacking:
        return (f"the row has no {' and no '.join(lacking)}, so {', '.join(aggregates)} is missing",)
    if history is not None:
        return ()
    return (f"no past was given, so {', '.join(aggregates)} is taken as that of a first row (--history gives one)",)


def _file_notes(model: BundlePredictor, rows: pl.LazyFrame, history: Any) -> tuple[str, ...]:
    if not model.aggregates or history is not None:
        return ()
    if model.aggregates[0] in rows.collect_schema().names():
        return ()
    return (f"{', '.join(model.aggregates)} looks at the file's own earlier rows only (--history gives more)",)


class _Counts:
    """What was seen so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.answered = self.referred = 0
        self.problems: Counter[str] = Counter()

    def add(self, answers: Answers) -> None:
        """Count one batch."""
        problems = answers.problems
        self.referred += 0 if answers.referred is None else len(problems) - answers.referred.null_count()
        self.rows += len(problems)
        self.answered += problems.null_count()
        self.problems.update(problems.drop_nulls().explode().to_list())


def _scored_parts(
    model: BundlePredictor, rows: pl.LazyFrame, history: pl.DataFrame | None, counts: _Counts, reporter: Reporter
) -> Iterator[pl.DataFrame]:
    for table, problems in _tables(model, rows, history):
        answers = model.answer_prepared(table, problems)
        begun = counts.rows
        counts.add(answers)
        reporter.advance("score", table.height)
        yield _answer_frame(model, answers, begun)


def _tables(
    model: BundlePredictor, rows: pl.LazyFrame, history: pl.DataFrame | None
) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """What the graph takes and the problems of its rows, batch by batch."""
    rows = rows.select(model.read_columns(rows.collect_schema().names()))
    if not model.aggregates:
        for raw in rows.collect_batches(chunk_size=_BATCH):
            yield model.prepare(raw)
        return
    table, problems = model.prepare(rows.collect(), history)
    for begin in range(0, table.height, _BATCH):
        yield table.slice(begin, _BATCH), problems.slice(begin, _BATCH)


def _answer_frame(model: BundlePredictor, answers: Answers, begun: int) -> pl.DataFrame:
    columns: dict[str, Any] = {"row": np.arange(begun, begun + len(answers.problems))}
    contract = model.contract
    if contract.task is Task.MULTICLASS:
        for place, label in enumerate(contract.classes):
            columns[f"score_{label}"] = answers.scores[:, place]
    else:
        columns["score"] = answers.scores
    if answers.decisions is not None:
        columns["decision"] = answers.decisions
    if answers.intervals is not None:
        columns |= {"interval_low": answers.intervals[:, 0], "interval_high": answers.intervals[:, 1]}
    if answers.referred is not None:
        columns["referred"] = answers.referred.list.join("; ")
    columns["problems"] = answers.problems.list.join("; ")
    return pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))


def _write_whole(parts: Iterator[pl.DataFrame], target: Path) -> None:
    """One file from all parts, whole or not at all."""
    with whole_file(target) as fresh:
        _WRITERS[target.suffix](parts, fresh)


def _write_parquet(parts: Iterator[pl.DataFrame], path: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only this writer needs it

    writer: Any = None
    for part in parts:
        table = part.to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=["decision", "problems"])
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _write_csv(parts: Iterator[pl.DataFrame], path: Path) -> None:
    with path.open("wb") as stream:
        for place, part in enumerate(parts):
            part.write_csv(stream, include_header=place == 0)


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv}
