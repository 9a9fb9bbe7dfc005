"""What each candidate would cost in service, before one is chosen.

In: the trained candidates and one clean row. Out: a ``GraphCost`` per candidate, measured on the whole graph from
raw row to score, all in turns in one process so that their ratios hold. Also offers ``front_graph``, the feature
graph of a candidate, which packaging joins again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import onnx
import polars as pl

from roadworthy.graphs.join import join
from roadworthy.graphs.loading import load_graph, read_model
from roadworthy.graphs.optimise import optimise
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.timing import time_graphs
from roadworthy.records.model import GraphCost, TrainedModel
from roadworthy.records.project import ProjectSpec
from roadworthy.stages.train import candidate_folder
from roadworthy.transforms.encoding import Encoder, feature_graph
from roadworthy.transforms.features import FeaturePlan

__all__ = ["RUNS", "candidate_costs", "front_graph"]

RUNS = 400
"""Single-row predictions per candidate: enough for an upper bound of the 99th percentile (299)."""


def front_graph(spec: ProjectSpec, folder: Path) -> onnx.ModelProto:
    """The graph from raw columns to ``X`` with the encoder that stands in a candidate's folder."""
    encoder = msgspec.json.decode((folder / "encoder.json").read_bytes(), type=Encoder)
    return feature_graph(spec, FeaturePlan.build(spec), encoder)


def candidate_costs(
    trained: TrainedModel, trained_folder: Path, rows: Path, spec: ProjectSpec
) -> Mapping[str, GraphCost]:
    """Size, p50 and p99 of every candidate's joined and optimised graph, on the table's first row."""
    row = pl.scan_parquet(rows, glob=False).head(1).collect()
    graphs: dict[str, bytes] = {}
    for candidate in trained.candidates:
        folder = trained_folder / candidate_folder(candidate.name)
        model = load_graph(read_model(folder / "model.onnx"), where=str(folder / "model.onnx"))
        joined = join(front_graph(spec, folder), model)
        graphs[candidate.name] = optimise(joined.SerializeToString(deterministic=True))
    feed = GraphModel(next(iter(graphs.values()))).feed(row)
    return {name: timing.cost for name, timing in time_graphs(graphs, feed, runs=RUNS).items()}
