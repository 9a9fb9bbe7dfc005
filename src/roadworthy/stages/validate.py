"""The fifth stage: choose a candidate and a threshold, then judge the holdout once.

In: the trained candidates, the split, the feature table, the requirements, what each graph costs. Out: a
``Validation`` with its evidence; ``evidence.json`` in the folder.

Laws: candidate and threshold are chosen on out-of-fold predictions of the training part, and nothing that is
chosen here ever sees a holdout label; only the chosen candidate is scored on the holdout; a check that breaks
leaves a measurement that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.graphs.runner import GraphModel
from roadworthy.measures.choice import choose
from roadworthy.measures.curves import exhibits_for, importance_exhibit
from roadworthy.measures.leakage import (
    column_powers,
    duplicates_across,
    entity_overlap,
    leaks_measurement,
    target_leaks,
)
from roadworthy.measures.pitfalls import (
    accuracy_paradox,
    class_imbalance,
    cross_validation_gap,
    overfit_gap,
    overfitting,
    simpler_model,
)
from roadworthy.measures.quality import slice_measure
from roadworthy.measures.samples import Sample
from roadworthy.measures.split_gap import split_gap_finding
from roadworthy.measures.thresholds import ThresholdChoice, choose_threshold
from roadworthy.protocols import Reporter
from roadworthy.records.data import Split
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence, Exhibit, Finding, Measurement, Phase
from roadworthy.records.model import Choice, GraphCost, TrainedModel, Validation
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.records.verdict import Outcome
from roadworthy.stages.measuring import confidence_of, measurable, measured, measurements
from roadworthy.stages.train import candidate_folder
from roadworthy.stages.validate_rows import Labelled, Slices
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.requirement import Requirement
from roadworthy.transforms.encoding import Encoder
from roadworthy.transforms.splits import HOLDOUT, TRAIN

__all__ = ["STEPS", "remeasure", "run"]

STEPS = 4
_STEP = "validate"
_IN_SAMPLE_ROWS = 10_000
_IMPORTANCE_ROWS = 2_000
_SEEN = "seen_in_training"


def run(  # noqa: PLR0917 - what the stage reads, in the order of the flow
    trained: TrainedModel,
    trained_folder: Path,
    split: Split,
    parts: Path,
    rows: Path,
    spec: ProjectSpec,
    requirements: Sequence[Requirement],
    costs: Mapping[str, GraphCost],
    looks: int,
    folder: Path,
    digest: Digest,
    reporter: Reporter,
) -> Validation:
    """Choose among ``trained``'s candidates and measure the chosen one on the holdout.

    ``parts`` and ``rows`` are the files of ``split`` and of the feature table; ``costs`` has every candidate;
    ``looks`` counts how often this holdout was judged, this time included. Raises DataError when predictions
    and rows do not match, UnknownName for a candidate without a cost, ProjectFileError for a decision that
    cannot be read.
    """
    if trained.parent != split.digest:
        raise DataError("the candidates were trained on another split", next_step="roadworthy run")
    required = [item for item in requirements if Phase.RELEASE in item.phases]
    labelled = Labelled.load(trained, trained_folder, parts, rows, spec, _slice_columns(required))
    choice, out_of_fold, threshold = _chosen(labelled, required, costs)
    reporter.advance(_STEP)
    sample, held = labelled.holdout(choice.candidate)
    sample = sample if choice.threshold is None else sample.at(choice.threshold)
    slices = labelled.slices(_slice_columns(required))
    found_here = [*measurements(sample, held, required, slices), *_unseen(labelled, sample, held)]
    reporter.advance(_STEP)
    findings = [*_pitfalls(sample, out_of_fold, choice)]
    leaks, found = _leaks(trained, split, parts, rows, spec)
    fitted = _Fitted(labelled, rows, choice.candidate, sample)
    gap, importance = fitted.gap(confidence_of("overfit_gap", required)), fitted.importance()
    findings += [*found, *overfitting(gap), *split_gap_finding(trained.split_gap)]
    found_here += [leaks, gap]
    reporter.advance(_STEP)
    exhibits = [*exhibits_for(sample), *([threshold.exhibit] if threshold else []), *importance]
    evidence = Evidence(
        subject=trained.digest,
        holdout=split.holdout_digest,
        measurements=tuple(found_here),
        findings=tuple(findings),
        exhibits=tuple(exhibits),
        looks=looks,
    )
    (folder / "evidence.json").write_bytes(msgspec.json.encode(evidence))
    reporter.advance(_STEP)
    return Validation(digest=digest, parent=trained.digest, choice=choice, evidence=evidence)


def remeasure(  # noqa: PLR0917 - as in run
    trained: TrainedModel,
    trained_folder: Path,
    parts: Path,
    rows: Path,
    spec: ProjectSpec,
    requirements: Sequence[Requirement],
    threshold: float | None,
    scores: NDArray[np.float64],
) -> tuple[Measurement, ...]:
    """The holdout's quality measurements for other scores of the same rows (a quantised graph's).

    ``scores`` [n] or [n, K] are in ``_row`` order of the whole holdout.
    """
    required = [item for item in requirements if Phase.RELEASE in item.phases]
    labelled = Labelled.load(trained, trained_folder, parts, rows, spec, _slice_columns(required))
    held = labelled.part(HOLDOUT)
    sample = labelled.sample(held, scores)
    sample = sample if threshold is None else sample.at(threshold)
    slices = labelled.slices(_slice_columns(required))
    return (*measurements(sample, held, required, slices), *_unseen(labelled, sample, held))


def _chosen(
    labelled: Labelled, required: Sequence[Requirement], costs: Mapping[str, GraphCost]
) -> tuple[Choice, Sample, ThresholdChoice | None]:
    """Candidate and threshold from out-of-fold predictions alone."""
    names = [candidate.name for candidate in labelled.trained.candidates]
    samples, rows = labelled.out_of_fold(names)
    thresholds: dict[str, ThresholdChoice] = {}
    for name, sample in samples.items():
        if labelled.spec.task is Task.BINARY and sample.n:
            tuned = bool(labelled.spec.training.tune.strip())
            thresholds[name] = choose_threshold(labelled.spec.decision, sample, tuned=tuned)
            samples[name] = sample.at(thresholds[name].threshold)
    slices = labelled.slices(_slice_columns(required))
    failing = {
        name: (*_provable_failures(sample, rows, required, slices), *_too_large(costs.get(name), required))
        for name, sample in samples.items()
    }
    choice = choose(samples, costs, failing)
    threshold = thresholds.get(choice.candidate)
    if threshold is not None:
        choice = msgspec.structs.replace(
            choice, threshold=threshold.threshold, threshold_explanation=threshold.explanation
        )
    return choice, samples[choice.candidate], threshold


def _provable_failures(
    sample: Sample, rows: pl.DataFrame, required: Sequence[Requirement], slices: Mapping[str, Slices]
) -> tuple[str, ...]:
    """Lines of the requirements that out-of-fold predictions alone refute."""
    known = [item for item in required if measurable(item.metric, sample.task)]
    found = measured(sample, rows, known, slices)
    judged = [judge_requirement(item, found, Phase.RELEASE) for item in known]
    return tuple(verdict.requirement for verdict in judged if verdict.outcome is Outcome.FAIL)


def _too_large(cost: GraphCost | None, required: Sequence[Requirement]) -> tuple[str, ...]:
    """Lines of the requirements that a candidate's size refutes: it is exact, and known before any is chosen."""
    if cost is None:
        return ()
    size = float(cost.size_bytes)
    counted = Measurement(metric="size", value=size, lower=size, upper=size, unit="bytes")
    judged = [judge_requirement(item, [counted], Phase.RELEASE) for item in required if item.metric == "size"]
    return tuple(verdict.requirement for verdict in judged if verdict.outcome is Outcome.FAIL)


def _slice_columns(required: Sequence[Requirement]) -> list[str]:
    return list(dict.fromkeys(item.slice for item in required if item.slice))


def _unseen(labelled: Labelled, sample: Sample, rows: pl.DataFrame) -> list[Measurement]:
    """Entities that training never saw, as a slice of their own."""
    seen = labelled.seen_in_training(rows)
    if seen is None:
        return []
    metrics = ("r2", "mae") if sample.task is Task.REGRESSION else ("accuracy", "log_loss")
    return [found for metric in metrics for found in slice_measure(metric, sample, seen, _SEEN)]


def _pitfalls(sample: Sample, out_of_fold: Sample, choice: Choice) -> list[Finding]:
    return [
        *accuracy_paradox(sample),
        *class_imbalance(sample),
        *cross_validation_gap(out_of_fold, sample),
        *simpler_model(choice),
    ]


def _leaks(
    trained: TrainedModel, split: Split, parts: Path, rows: Path, spec: ProjectSpec
) -> tuple[Measurement, list[Finding]]:
    """Findings on columns and rows, and how many of them fail; a broken check is an error, not a zero."""
    try:
        findings = _leak_findings(trained, split, parts, rows, spec)
    except Exception as failure:  # noqa: BLE001 - whatever broke the check is evidence, and the judge must see it
        reason = f"the search for leaks broke: {type(failure).__name__}: {failure}"
        return Measurement(metric="leaks", unit="count", error=reason), []
    return leaks_measurement(findings), findings


def _leak_findings(trained: TrainedModel, split: Split, parts: Path, rows: Path, spec: ProjectSpec) -> list[Finding]:
    columns = list(trained.features)
    labelled = Labelled.load(trained, Path(), parts, rows, spec, columns)
    train, held = labelled.part(TRAIN), labelled.part(HOLDOUT)
    powers = column_powers(train, columns, labelled.outcomes(train), spec.task, seed=spec.training.seed)
    findings = list(target_leaks(powers))
    findings += duplicates_across(train, held, [*columns, spec.target])
    if spec.data.entity and spec.data.entity in train.columns:
        allowed = split.kind != "entity" and not spec.data.entity_disjoint
        findings += entity_overlap(train[spec.data.entity], held[spec.data.entity], allowed=allowed)
    return findings


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What only the fitted model itself can tell; each question is asked for itself, so that none breaks another."""

    labelled: Labelled
    rows: Path
    name: str
    holdout: Sample

    def gap(self, confidence: float) -> Measurement:
        """Its loss on rows that it learned from against the holdout's; a broken check is an error, not a zero."""
        try:
            own = self._drawn(TRAIN, _IN_SAMPLE_ROWS)[1]
            predicted = _predictor(self.labelled, self.name)(self._features(own))
            return overfit_gap(self.holdout, self.labelled.sample(own, predicted), confidence=confidence)
        except Exception as failure:  # noqa: BLE001 - whatever broke the check is evidence, and the judge must see it
            reason = f"the fitted model could not be run on its own rows: {type(failure).__name__}: {failure}"
            return Measurement(metric="overfit_gap", confidence=confidence, error=reason)

    def importance(self) -> list[Exhibit]:
        """What it relies on, over some holdout rows; a picture that cannot be drawn says so in its note."""
        columns = self.labelled.trained.features
        try:
            places, asked = self._drawn(HOLDOUT, _IMPORTANCE_ROWS)
            predict = _predictor(self.labelled, self.name)
            return [importance_exhibit(predict, self._features(asked), columns, self.holdout.take(places))]
        except Exception as failure:  # noqa: BLE001 - no measurement rests on this picture
            note = f"It could not be found out: {type(failure).__name__}: {failure}"
            empty: dict[str, list[Any]] = {name: [] for name in ("column", "drop", "lower", "upper")}
            return [Exhibit(name="importance", title="What the model relies on", columns=empty, note=note)]

    def _drawn(self, part: str, most: int) -> tuple[NDArray[np.int64], pl.DataFrame]:
        """Places of at most so many rows of a part, drawn by the seed, and those rows."""
        frame = self.labelled.part(part)
        rng = np.random.default_rng(self.labelled.spec.training.seed)
        places = np.sort(rng.permutation(frame.height)[:most])
        return places, frame[places]

    def _features(self, wanted: pl.DataFrame) -> pl.DataFrame:
        numbers = wanted.select("_row").lazy()
        return pl.scan_parquet(self.rows, glob=False).join(numbers, on="_row", how="semi").sort("_row").collect()


def _predictor(labelled: Labelled, name: str) -> Callable[[pl.DataFrame], NDArray[np.float64]]:
    """The candidate from model columns to score: features are taken as they stand, so that each can be shuffled."""
    folder = labelled.trained_folder / candidate_folder(name)
    encoder = Encoder.decoded((folder / "encoder.json").read_bytes())
    graph = GraphModel(folder / "model.onnx")
    matrix = graph.inputs[0].name
    return lambda frame: graph.score_feed({matrix: encoder.encode(frame)})
