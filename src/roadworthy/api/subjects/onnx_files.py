"""ONNX files that others made, under inspection."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from roadworthy.api.subjects.costing import graph_cost
from roadworthy.api.subjects.plain import Plain, all_answered, plain_subject
from roadworthy.api.subjects.reading import chosen_columns, numbers_of
from roadworthy.api.subjects.subject import Subject
from roadworthy.graphs.foreign import Export, scores_only
from roadworthy.graphs.fresh_process import FreshCost
from roadworthy.graphs.labels import graph_labels
from roadworthy.graphs.loading import load_graph
from roadworthy.graphs.runner import Feed, GraphModel
from roadworthy.records.digests import digest_bytes
from roadworthy.standard.requirement import Requirement

__all__ = ["onnx_subject"]


def onnx_subject(path: Path, rows: pl.DataFrame, target: str) -> Subject:
    """The subject of a graph that takes one tensor of the rows' columns, or one input per column.

    Raises ModelError for a file that is no sound graph, and for rows that do not fit it.
    """
    graph = GraphModel(path)
    given = rows.drop(target)
    if graph.columns:
        chosen = chosen_columns(given, None, graph.columns, path.name)
    else:
        sizes = graph.inputs[0].shape[1:]
        width = math.prod(size for size in sizes if size) if sizes and all(sizes) else None
        chosen = chosen_columns(given, width, (), path.name)
    texts = frozenset(node.name for node in graph.inputs if node.type == "tensor(string)")
    model = GraphModel(graph.content, columns=() if graph.columns else chosen.columns)
    plain = Plain(
        name=path.name,
        digest=digest_bytes(graph.content),
        raw=lambda frame: all_answered(model.score(frame, finite=False)),
        columns=chosen.columns,
        texts=texts,
        known=graph_labels(load_graph(graph.content, where=path.name)),
        cost=_Cost(model, chosen.columns, texts),
        file=path,
        notes=(chosen.note,) if chosen.note else (),
        export=lambda outputs: Export(
            model=scores_only(load_graph(model.content, where=path.name), model.score_output),
            columns=chosen.columns,
            width=outputs,
            named=bool(graph.columns),
        ),
    )
    subject = plain_subject(plain, rows, target)
    return dataclasses.replace(subject, graph=model, feed=lambda some: _feed(model, some, chosen.columns, texts))


def _feed(model: GraphModel, rows: pl.DataFrame, columns: Sequence[str], texts: frozenset[str]) -> Feed:
    return model.feed(numbers_of(rows.select(columns), texts)[0])


class _Cost:
    """The graph alone, in fresh processes."""

    def __init__(self, model: GraphModel, columns: Sequence[str], texts: frozenset[str]) -> None:
        self._model, self._columns, self._texts = model, columns, texts

    def __call__(
        self, rows: pl.DataFrame, /, *, quick: bool = False, required: Sequence[Requirement] = ()
    ) -> FreshCost:
        return graph_cost(
            self._model,
            rows,
            lambda some: _feed(self._model, some, self._columns, self._texts),
            where="the graph alone, in fresh processes of one thread",
            quick=quick,
            required=required,
        )
