"""The chosen candidate as the inspection takes it: the holdout, the training part, and ways to ask and to retrain it.

In: the labelled rows, the feature table, the candidate's graph, its trainer. Out: an ``Examined``. Laws: the rows are
those that the holdout's sample was scored on, in their order; the contract reads and refuses its columns as it does in
service; features are taken as they stand, so that each can be changed by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from roadworthy.graphs.runner import GraphModel
from roadworthy.measures.examined import Answer, Answered, Examined
from roadworthy.measures.samples import Sample
from roadworthy.protocols import Trainer
from roadworthy.records.project import ProjectSpec
from roadworthy.stages.refitting import refit_by
from roadworthy.stages.train import candidate_folder
from roadworthy.stages.validate_rows import Labelled
from roadworthy.transforms.cleaning import CleaningPlan
from roadworthy.transforms.encoding import Encoder
from roadworthy.transforms.features import FeaturePlan
from roadworthy.transforms.splits import HOLDOUT, TRAIN

__all__ = ["examined_candidate"]

_MOST_TRAINING_ROWS = 200_000


def examined_candidate(
    labelled: Labelled, rows: Path, name: str, sample: Sample, trainers: Mapping[str, Trainer]
) -> Examined:
    """The candidate of that name; ``sample`` is its sample of the whole holdout, ``rows`` the feature table's file.

    At most 200,000 training rows, drawn by the seed, are held.
    """
    spec, trained = labelled.spec, labelled.trained
    held, learned = labelled.part(HOLDOUT), labelled.part(TRAIN)
    if learned.height > _MOST_TRAINING_ROWS:
        rng = np.random.default_rng(spec.training.seed)
        learned = learned[np.sort(rng.permutation(learned.height)[:_MOST_TRAINING_ROWS])]
    table = _features(rows, held, spec.target)
    columns = FeaturePlan.build(spec).model_columns(spec)
    candidate = next(one for one in trained.candidates if one.name == name)
    there = set(table.columns)
    return Examined(
        sample=sample,
        rows=table,
        columns=trained.features,
        answer=_answer(labelled.trained_folder / candidate_folder(name), spec, trained.features),
        target=spec.target,
        time=spec.data.time if spec.data.time in there else "",
        entity=spec.data.entity if spec.data.entity in there else "",
        protected=tuple(column for column in spec.data.protected if column in there),
        train=_features(rows, learned, spec.target),
        train_y=labelled.outcomes(learned),
        refit=refit_by(trainers[name], candidate.parameters, spec, columns, len(trained.classes)),
        contract=True,
        groups_apart=spec.data.entity_disjoint or not spec.data.time,
    )


def _features(rows: Path, wanted: pl.DataFrame, target: str) -> pl.DataFrame:
    """The feature table's rows of those numbers, in order, without number and target."""
    numbers = wanted.select("_row").lazy()
    table = pl.scan_parquet(rows, glob=False).join(numbers, on="_row", how="semi").sort("_row")
    return table.drop("_row", target).collect()


def _answer(folder: Path, spec: ProjectSpec, columns: Sequence[str]) -> Answer:
    """From rows with the model's columns to the score: contract, encoder and graph as they were kept."""
    cleaning = CleaningPlan.build(spec.contract, spec.data.time, spec.target)
    optional = frozenset(spec.contract.columns) - set(columns)

    @cache
    def opened() -> tuple[Encoder, GraphModel]:
        """Opened when first asked, so that files that are broken break the checks that ask, and no other."""
        return Encoder.decoded((folder / "encoder.json").read_bytes()), GraphModel(folder / "model.onnx")

    def answer(frame: pl.DataFrame) -> Answered:
        encoder, graph = opened()
        declared = [name for name in spec.contract.columns if name in frame.columns]
        clean, problems = cleaning.apply_rows(frame.select(declared), optional=optional)
        read = frame.with_columns(clean.select(name for name in declared if name in columns))
        score = graph.score_feed({graph.inputs[0].name: encoder.encode(read)})
        return Answered(score, problems.is_not_null().to_numpy())

    return answer
