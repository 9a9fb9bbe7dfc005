"""What subjects have in common when their cost is measured: one row and a batch of the caller's own rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from roadworthy.errors import DataError
from roadworthy.graphs.fresh_process import BATCH, FreshCost, fresh_cost
from roadworthy.graphs.runner import Feed, GraphModel
from roadworthy.standard.requirement import Requirement

__all__ = ["batch_of", "graph_cost"]


def batch_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The first 64 rows; fewer are repeated. Raises DataError where there is none."""
    if not rows.height:
        raise DataError("no row is left to measure the model's cost with")
    return rows[[place % rows.height for place in range(BATCH)]]


def graph_cost(
    graph: GraphModel,
    rows: pl.DataFrame,
    feed: Callable[[pl.DataFrame], Feed],
    *,
    where: str,
    quick: bool,
    required: Sequence[Requirement],
) -> FreshCost:
    """The cost of a graph in fresh processes, fed with the rows' first ones."""
    many = batch_of(rows)
    return fresh_cost(graph.content, feed(many.head(1)), feed(many), where=where, quick=quick, required=required)
