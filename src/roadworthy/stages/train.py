"""The fourth stage: every candidate, cross-validated and then trained on the whole training part.

In: the feature table and the project. Out: a ``Split`` with ``parts.parquet``, then a ``TrainedModel`` with one
folder per candidate: ``model.onnx``, ``encoder.json``, ``oof.parquet``, ``holdout.parquet``.

Laws: no row of the holdout is seen while anything is fitted; out-of-fold predictions come from models that did not
train on those rows (by time: on rows before them); a candidate that fails is named with its reason and the others go
on; same data, parameters and seed give the same ``model.onnx``, byte for byte. Where the split is by time or by
entity, one cheap candidate also says what a random split would have promised (``train_gap``).
"""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import Problem, RoadworthyError, TrainingError, UnknownName
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.protocols import FittedModel, Reporter, Trainer
from roadworthy.records.data import FeatureTable, Split
from roadworthy.records.digests import Digest
from roadworthy.records.model import Candidate, ProgressLine, SplitGap, TrainedModel
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.train_folds import Fitting, Rows
from roadworthy.stages.train_gap import HONEST_KINDS, TRAININGS, Comparison, cheapest
from roadworthy.stages.train_tuning import Budget, Search, search
from roadworthy.transforms.features import FeaturePlan
from roadworthy.transforms.splits import class_labels, holdout_digest, make_split

__all__ = ["candidate_folder", "run", "run_split"]

_Again = tuple[int, Callable[[Fitting], NDArray[np.float64]]]
"""How many inputs a candidate has, and a way to train it once more and score the fitting's rows."""


def candidate_folder(name: str) -> str:
    """The folder of a candidate: its name, with ``_`` for whatever is not safe in a path.

    >>> candidate_folder("models.forest:fit")
    'models.forest_fit'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def run_split(
    table: FeatureTable, rows: Path, spec: ProjectSpec, folder: Path, digest: Digest, *, pinned: Digest = ""
) -> Split:
    """Split the feature table; writes ``parts.parquet`` into ``folder``.

    The holdout is pinned by its row numbers and by the digest ``pinned`` of what they number (the snapshot; without
    it the clean rows): neither a new feature nor an edited contract makes a holdout that was never looked at.
    Raises TargetError or DataError as ``transforms.splits.make_split`` does, and UnknownName when ``positive`` is
    no label.
    """
    data, training = spec.data, spec.training
    needed = list(dict.fromkeys(name for name in ("_row", spec.target, data.time, data.entity) if name))
    frame = pl.read_parquet(rows, columns=needed, glob=False)
    class_labels(frame[spec.target], spec.task, spec.positive)
    parts, facts = make_split(
        frame,
        time=data.time,
        entity=data.entity,
        target=spec.target,
        task=spec.task,
        holdout=training.holdout,
        folds=training.folds,
        seed=training.seed,
        entity_disjoint=data.entity_disjoint,
    )
    parts.write_parquet(folder / "parts.parquet")
    return Split(
        digest=digest,
        parent=table.digest,
        kind=facts.kind,
        train_rows=facts.train_rows,
        holdout_rows=facts.holdout_rows,
        folds=facts.folds,
        holdout_digest=holdout_digest(parts, pinned or table.parent),
        explanation=facts.explanation,
        unlabelled=facts.unlabelled,
        unseen_entities=facts.unseen_entities,
    )


def run(  # noqa: PLR0917  # what the stage reads, in the order of the flow
    table: FeatureTable,
    rows: Path,
    split: Split,
    parts: Path,
    spec: ProjectSpec,
    trainers: Mapping[str, Trainer],
    folder: Path,
    digest: Digest,
    reporter: Reporter,
) -> TrainedModel:
    """Train every candidate of the project; writes a folder for each into ``folder``.

    ``rows`` and ``parts`` are the files of ``table`` and ``split``; ``trainers`` has every declared candidate by
    name (UnknownName otherwise). Raises TrainingError, with every reason, when all candidates fail.
    """
    if split.parent != table.digest:
        raise TrainingError("the split was made of another feature table", next_step="roadworthy run")
    names = list(dict.fromkeys(spec.training.candidates))
    for name in names:
        if name not in trainers:
            raise UnknownName("candidate", name, trainers, where="[training] candidates")
    columns = FeaturePlan.build(spec).model_columns(spec)
    prepared = Rows(rows, parts, spec, columns, by_time=split.kind == "time")
    tuned = sum(bool(trainers[name].space(spec.task)) for name in names)
    budget = Budget.parse(spec.training.tune, tuned)
    folds, final = tuple(prepared.folds()), prepared.final()
    candidates: list[Candidate] = []
    failures: dict[str, str] = {}
    again: dict[str, _Again] = {}
    for name in names:
        training = _Training(trainers[name], spec, folds, final, reporter)
        try:
            outcome = training.outcome(budget)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a candidate raises is its own failure, recorded
            failures[name] = _reason(error)
            reporter.end(training.task, f"failed: {failures[name].splitlines()[0]}")
            continue
        _write(outcome, final, folder / candidate_folder(name))
        candidates.append(_candidate(name, outcome, final, prepared.notes))
        again[name] = (len(final.encoder.names), functools.partial(training.predicted, outcome.drawn))
        reporter.end(training.task, training.summary(outcome))
    if not candidates:
        raise TrainingError(
            "no candidate could be trained",
            problems=[Problem(reason, where=f"candidate {name}") for name, reason in failures.items()],
            next_step="mend one of them, or name other candidates in [training]",
        )
    gap = _gap(prepared, split, spec, again, reporter)
    return TrainedModel(
        digest=digest,
        parent=split.digest,
        task=spec.task,
        target=spec.target,
        classes=prepared.classes,
        candidates=tuple(_noted(candidate, gap) for candidate in candidates),
        features=tuple(columns),
        failures=failures,
        split_gap=gap,
    )


def _gap(
    rows: Rows,
    split: Split,
    spec: ProjectSpec,
    again: Mapping[str, _Again],
    reporter: Reporter,
) -> SplitGap | None:
    """What a random split would have promised; None where the split is a random one."""
    if split.kind not in HONEST_KINDS:
        return None
    name = cheapest(list(again))
    task = "compare splits"
    reporter.begin(task, TRAININGS)
    inputs, predict = again[name]
    gap = Comparison(rows, split.kind, spec, name, inputs, predict, lambda: reporter.advance(task)).gap()
    reporter.end(task, gap.insufficient or f"{gap.loss} {gap.random:.4g} at random, {gap.honest:.4g} honest")
    return gap


def _noted(candidate: Candidate, gap: SplitGap | None) -> Candidate:
    """The candidate, with a word on its further trainings where splits were compared with it."""
    if gap is None or gap.candidate != candidate.name or gap.insufficient:
        return candidate
    note = (
        f"trained {TRAININGS} more times at most, on {gap.trained_rows:,} training rows each, to compare the split "
        f"by {gap.kind} with a random one; none of these models is kept"
    )
    return msgspec.structs.replace(candidate, notes=(*candidate.notes, note))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """All that one candidate leaves behind. ``drawn`` are the parameters that tuning found."""

    drawn: dict[str, Any]
    parameters: dict[str, Any]
    lines: tuple[ProgressLine, ...]
    model: FittedModel
    content: bytes
    oof: pl.DataFrame
    oof_loss: float | None
    holdout: NDArray[np.float64]
    trials: int
    notes: tuple[str, ...]
    seconds: float


class _Training:
    """One candidate on its way: tuned if asked for, cross-validated, then trained on everything."""

    def __init__(
        self, trainer: Trainer, spec: ProjectSpec, folds: Sequence[Fitting], final: Fitting, reporter: Reporter
    ) -> None:
        self._trainer = trainer
        self._spec = spec
        self._folds = folds
        self._final = final
        self._reporter = reporter
        self.task = f"train {trainer.name}"

    def outcome(self, budget: Budget | None) -> _Outcome:
        """Train, export and predict. Writes nothing."""
        begun = time.monotonic()
        self._reporter.begin(self.task, len(self._folds) + 1)
        found = self._tuned(budget)
        drawn = found.parameters if found else {}
        oof, loss = self._cross_validated(drawn)
        lines: list[ProgressLine] = []

        def report(line: ProgressLine) -> None:
            lines.append(line)
            self._reporter.line(line)

        parameters = self._parameters(drawn, self._final)
        model = self._trainer.fit(self._final.data, parameters, report)
        content = model.to_onnx()
        holdout = self._scored(model, self._final)
        self._reporter.advance(self.task)
        notes = (found.sentence,) if found else ()
        return _Outcome(
            drawn=drawn,
            parameters=parameters,
            lines=tuple(lines),
            model=model,
            content=content,
            oof=oof,
            oof_loss=loss,
            holdout=holdout,
            trials=found.trials if found else 0,
            notes=notes,
            seconds=time.monotonic() - begun,
        )

    def predicted(self, drawn: Mapping[str, Any], fitting: Fitting) -> NDArray[np.float64]:
        """Train on a fitting, quietly, and score its rows."""
        return self._scored(self._trainer.fit(fitting.data, self._parameters(drawn, fitting), _quiet), fitting)

    def summary(self, outcome: _Outcome) -> str:
        """One line for a person."""
        loss = "" if outcome.oof_loss is None else f", cross-validated loss {outcome.oof_loss:.4g}"
        return f"best step {outcome.model.best_step} of {outcome.lines[-1].step}{loss}"

    def _parameters(self, drawn: Mapping[str, Any], fitting: Fitting) -> dict[str, Any]:
        """Defaults for so many rows, then what tuning found, then what the project file says."""
        declared = self._spec.training.parameters.get(self._trainer.name, {})
        return {**self._trainer.defaults(self._spec.task, len(fitting.data.y)), **drawn, **declared}

    def _tuned(self, budget: Budget | None) -> Search | None:
        declared = self._spec.training.parameters.get(self._trainer.name, {})
        space = {name: values for name, values in self._trainer.space(self._spec.task).items() if name not in declared}
        if budget is None or not space or not self._folds:
            return None

        def loss_of(drawn: Mapping[str, Any]) -> float:
            try:
                loss = float(np.mean(np.concatenate([losses for _, losses in self._fold_results(drawn)])))
            except Exception:  # whatever a draw breaks with: it is counted and not chosen
                if not drawn:  # the defaults must work
                    raise
                loss = math.inf
            return math.inf if math.isnan(loss) else loss

        return search(space, loss_of, budget, self._spec.training.seed)

    def _cross_validated(self, drawn: Mapping[str, Any]) -> tuple[pl.DataFrame, float | None]:
        """Out-of-fold predictions by ``_row``, and their mean loss (None without folds)."""
        frames, losses = [], []
        for fitting, (scores, loss) in zip(self._folds, self._fold_results(drawn), strict=True):
            frames.append(_score_frame(fitting.rows, scores))
            losses.append(loss)
            self._reporter.advance(self.task)
        if not frames:
            empty = np.zeros((0, self._final.data.classes) if self._spec.task is Task.MULTICLASS else 0)
            return _score_frame(np.zeros(0, dtype=np.int64), empty), None
        return pl.concat(frames).sort("_row"), float(np.mean(np.concatenate(losses)))

    def _fold_results(self, drawn: Mapping[str, Any]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """(scores, losses) of each fold's predicted rows."""
        for fitting in self._folds:
            scores = self.predicted(drawn, fitting)
            yield scores, row_losses(Sample(task=self._spec.task, y=fitting.y, score=scores))

    def _scored(self, model: FittedModel, fitting: Fitting) -> NDArray[np.float64]:
        """Predictions of the fitting's rows; raises DataError where they are no scores (shape, range, NaN)."""
        scores = np.asarray(model.predict(fitting.x), dtype=np.float64)
        return np.asarray(Sample(task=self._spec.task, y=fitting.y, score=scores).score)


def _quiet(line: ProgressLine) -> None:
    """Lines of a fold are not shown: only the final training's are."""


def _reason(error: BaseException) -> str:
    if isinstance(error, RoadworthyError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _score_frame(rows: NDArray[np.int64], scores: NDArray[np.float64]) -> pl.DataFrame:
    """``_row`` and ``score``, or ``score_0 … score_k`` for several classes."""
    if scores.ndim == 1:
        return pl.DataFrame({"_row": rows, "score": scores})
    columns = {f"score_{at}": np.ascontiguousarray(scores[:, at]) for at in range(scores.shape[1])}
    return pl.DataFrame({"_row": rows, **columns})


def _write(outcome: _Outcome, final: Fitting, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(outcome.content)
    (folder / "encoder.json").write_bytes(final.encoder.encoded())
    outcome.oof.write_parquet(folder / "oof.parquet")
    _score_frame(final.rows, outcome.holdout).sort("_row").write_parquet(folder / "holdout.parquet")


def _candidate(name: str, outcome: _Outcome, final: Fitting, notes: Sequence[str]) -> Candidate:
    stopping = len(final.data.valid_y)
    aside = f"{stopping:,} of {stopping + len(final.data.y):,} training rows were put aside to stop training early"
    return Candidate(
        name=name,
        parameters=msgspec.to_builtins(outcome.parameters),
        lines=outcome.lines,
        best_step=outcome.model.best_step,
        seconds=outcome.seconds,
        inputs=len(final.encoder.names),
        trials=outcome.trials,
        notes=(aside, *notes, *outcome.notes),
    )
