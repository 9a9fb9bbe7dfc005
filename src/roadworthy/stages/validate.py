"""The fifth stage: choose a candidate and a threshold, then judge the holdout once.

In: the trained candidates, the split, the feature table, the requirements, what each graph costs. Out: a
``Validation`` with its evidence; ``evidence.json`` in the folder.

Laws: candidate and threshold are chosen on out-of-fold predictions of the training part, and nothing that is
chosen here ever sees a holdout label; only the chosen candidate is scored on the holdout; a check that breaks
leaves a measurement that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.choice import choose
from roadworthy.measures.curves import exhibits_for
from roadworthy.measures.examined import Brief
from roadworthy.measures.pitfalls import cross_validation_gap, simpler_model
from roadworthy.measures.quality import slice_measure
from roadworthy.measures.samples import Sample
from roadworthy.measures.split_gap import split_gap_finding
from roadworthy.measures.thresholds import ThresholdChoice, choose_threshold
from roadworthy.protocols import Reporter, Trainer
from roadworthy.records.data import Split
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence, Finding, Found, Measurement, Phase
from roadworthy.records.model import Choice, GraphCost, TrainedModel, Validation
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.records.verdict import Outcome
from roadworthy.stages.examining import examined_candidate
from roadworthy.stages.feature_cost import feature_cost_check
from roadworthy.stages.inspection import RETRAINED, RETRAININGS, counted, inspect_all
from roadworthy.stages.measuring import measurable, measured, measurements
from roadworthy.stages.validate_rows import Labelled, Slices
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.requirement import Requirement
from roadworthy.transforms.splits import HOLDOUT

__all__ = ["STEPS", "remeasure", "run"]

STEPS = 4
_STEP = "validate"
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
    trainers: Mapping[str, Trainer],
    looks: int,
    folder: Path,
    digest: Digest,
    reporter: Reporter,
) -> Validation:
    """Choose among ``trained``'s candidates, and measure and inspect the chosen one on the holdout.

    ``parts`` and ``rows`` are the files of ``split`` and of the feature table; ``costs`` and ``trainers`` have every
    candidate; ``looks`` counts how often this holdout was judged, this time included. Raises DataError when predictions
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
    inspected = _inspected(labelled, rows, choice.candidate, sample, required, trainers, reporter)
    known = (*cross_validation_gap(out_of_fold, sample), *simpler_model(choice), *split_gap_finding(trained.split_gap))
    findings = _without_second_words(known, inspected.findings)
    found_here += [*inspected.measurements, *counted(findings)]
    reporter.advance(_STEP)
    own = [*exhibits_for(sample), *([threshold.exhibit] if threshold else [])]
    known_here = {one.name for one in own}
    exhibits = [*own, *(one for one in inspected.exhibits if one.name not in known_here)]
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


def _inspected(  # noqa: PLR0917 - the model, its rows, and what is asked
    labelled: Labelled,
    rows: Path,
    name: str,
    sample: Sample,
    required: Sequence[Requirement],
    trainers: Mapping[str, Trainer],
    reporter: Reporter,
) -> Found:
    """What the checks of the inspection find; trainings are repeated only where the standard asks what they tell."""
    examined = examined_candidate(labelled, rows, name, sample, trainers)
    brief = Brief(required=required, seed=labelled.spec.training.seed)
    retrainings = RETRAININGS if brief.asks(*RETRAINED) else 0
    found = inspect_all(examined, replace(brief, retrainings=retrainings), reporter)
    return found + inspect_all(examined, brief, reporter, [feature_cost_check(labelled.spec, found)])


def _without_second_words(known: Sequence[Finding], more: Sequence[Finding]) -> tuple[Finding, ...]:
    """Both, but of one kind only what training itself knows, which no check can know better."""
    kinds = {one.kind for one in known}
    return (*known, *(one for one in more if one.kind not in kinds))
