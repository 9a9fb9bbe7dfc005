"""How an estimator from Python leaves as a graph.

In: a fitted estimator, rows of its columns, its own outputs on them. Out: an ``Export``. Law: of the ways that a
converter knows the first is taken whose graph answers as the estimator does on those rows; none is taken on trust.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.adapters.models.estimator_graph import attempts, own_graph
from roadworthy.api.subjects.reading import numbers_of
from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.foreign import Export, scores_only
from roadworthy.graphs.readings import Reading
from roadworthy.graphs.runner import GraphModel

__all__ = ["estimator_export"]

_COMPARED = 20_000
_NEAR = 1e-5


def estimator_export(
    model: Any, rows: pl.DataFrame, columns: Sequence[str], answer: Callable[[pl.DataFrame], NDArray[np.float64]]
) -> Export:
    """The graph of ``model``; ``rows`` hold its ``columns`` as it takes them, ``answer`` is what it says of rows.

    Raises ModelError naming every way that was tried.
    """
    name = type(model).__name__
    taken = rows.select(columns).head(_COMPARED)
    own = own_graph(model)
    if own is not None:
        graph, levels = own
        texts = [one.name for one in taken.iter_columns() if one.dtype in (pl.String, pl.Categorical, pl.Enum)]
        if len(levels) != len(texts):
            raise ModelError(f"the {name} knows {len(levels)} columns of categories, the rows hold {len(texts)}")
        width = int(graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value)
        classifier = width == 1 and hasattr(model, "predict_proba")
        reading = Reading.PROBABILITY if classifier else None  # of two columns the model's own graph has one
        of = dict(zip(texts, levels, strict=True))
        return Export(model=graph, columns=tuple(columns), width=width, levels=of, reading=reading)
    return _likely(model, name, taken, answer(taken))


def _likely(model: Any, name: str, taken: pl.DataFrame, said: NDArray[np.float64]) -> Export:
    """The first conversion that answers as the estimator does."""
    typed = taken.with_columns(
        pl.col(one).cast(pl.String) for one, kind in taken.schema.items() if kind in (pl.Categorical, pl.Enum)
    )
    problems = []
    for attempt in attempts(model, typed.schema):
        try:
            made = attempt.make()
            graph = GraphModel(made.SerializeToString(), columns=() if attempt.named else typed.columns)
            found = graph.score(numbers_of(typed, frozenset(_texts(typed)))[0], finite=False)
        except ModelError as error:
            problems.append(Problem(error.message, where=attempt.how))
            continue
        gap = _gap(found, said)
        if gap <= _NEAR:
            return Export(
                model=scores_only(made, graph.score_output),
                columns=tuple(typed.columns),
                width=1 if said.ndim == 1 else said.shape[1],
                named=attempt.named,
            )
        problems.append(Problem(f"answers otherwise than the {name}, by {gap:.2g}", where=attempt.how))
    raise ModelError(
        f"the {name} cannot be turned into a graph",
        problems=problems,
        next_step="export it to ONNX yourself (skl2onnx needs a converter for each step), then package the file",
    )


def _texts(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if kind == pl.String]


def _gap(found: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    """The greatest difference, relative to the spread of the answers where these are no probabilities."""
    if found.shape != said.shape:
        return float("inf")
    scale = np.maximum(1.0, np.maximum(np.abs(said), np.std(said)))
    gap = float((np.abs(found - said) / scale).max()) if said.size else 0.0
    return gap if np.isfinite(gap) else float("inf")
