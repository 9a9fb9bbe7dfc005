"""Bundles and registered versions under inspection.

In: a verified bundle. Out: a ``Subject`` that reads rows as the bundle's contract does. Laws: what rows are sliced,
clustered and labelled by has been cleaned and hashed first; no value of a personal column passes.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl

from roadworthy.api.subjects.costing import graph_cost
from roadworthy.api.subjects.subject import Scored, Subject
from roadworthy.formats.bundle import OpenBundle
from roadworthy.graphs.fresh_process import FreshCost
from roadworthy.measures.examined import Answer, Answered
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.serving.predictor import BundlePredictor
from roadworthy.standard import CATALOGUE, parse_standard
from roadworthy.standard.metric import MetricKind
from roadworthy.standard.requirement import Requirement

__all__ = ["bundle_subject"]


def bundle_subject(name: str, bundle: OpenBundle, model: BundlePredictor) -> Subject:
    """The subject of a bundle; its threshold, standard, special columns and signed evidence are its own."""
    contract = model.contract
    columns = (*contract.contract.columns, *contract.features)
    table = tomllib.loads(bundle.parts.standard_toml)["standard"]
    evidence = bundle.parts.evidence.measurements
    return Subject(
        name=name,
        digest=bundle.digest,
        scored=partial(_scored, model),
        answer=_answer(model),
        columns=contract.inputs,
        task=contract.task,
        classes=contract.classes,
        threshold=contract.threshold,
        entity=contract.entity,
        time=contract.time,
        protected=contract.protected,
        standard=parse_standard(table, contract.task, columns=columns, target=contract.target),
        contract=True,
        cost=_Cost(model),
        folder_or_file=bundle.folder,
        signed=tuple(one for one in evidence if one.phase is Phase.RELEASE and not _of_rows(one.metric)),
    )


def _scored(model: BundlePredictor, rows: pl.DataFrame, target: str) -> Scored:
    contract = model.contract
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


def _answer(model: BundlePredictor) -> Answer:
    """Scores of the rows that meet the contract, finite or not; the others are refused."""
    contract = model.contract
    width = (len(contract.classes),) if contract.task is Task.MULTICLASS else ()

    def answer(rows: pl.DataFrame) -> Answered:
        table, problems = model.prepare(rows)
        sound = problems.is_null()
        scores = np.full((rows.height, *width), np.nan)
        if sound.any():
            scores[sound.to_numpy()] = model.graph.score(table.filter(sound), finite=False)
        return Answered(scores, ~sound.to_numpy())

    return answer


class _Cost:
    """The graph of the bundle alone: reading and cleaning a row are the server's."""

    def __init__(self, model: BundlePredictor) -> None:
        self._model = model

    def __call__(
        self, rows: pl.DataFrame, /, *, quick: bool = False, required: Sequence[Requirement] = ()
    ) -> FreshCost:
        model = self._model
        table, problems = model.prepare(rows.head(10_000))
        sound = table.filter(problems.is_null())
        where = "the bundle's graph alone, in fresh processes of one thread"
        return graph_cost(model.graph, sound, model.graph.feed, where=where, quick=quick, required=required)


def _of_rows(metric: str) -> bool:
    """Whether fresh rows with labels tell a metric; what training and packaging alone can tell stands in evidence."""
    if metric == "quarantined_share":
        return True
    known = CATALOGUE.get(metric)
    return known is not None and known.kind is MetricKind.QUALITY
