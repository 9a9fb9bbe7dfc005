"""What a bundle carries for comparison: sketches, calibrators, and golden rows, all plain JSON.

In: the training part, the graph that ships, its scores. Out: file names and bytes for ``reference/``. Laws: no row
of the data is in a reference (golden rows are made of quantiles and frequent labels, column by column); no value
of a personal or entity column is.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.graphs.golden import GOLDEN, Golden, golden_frame
from roadworthy.graphs.loading import load_graph
from roadworthy.graphs.runner import GraphModel
from roadworthy.measures.calibrators import fit_calibrators
from roadworthy.measures.drift import with_dispersion
from roadworthy.measures.samples import Sample
from roadworthy.measures.sketches import Reference, sketch, sketch_scores
from roadworthy.records.contract import ColumnType
from roadworthy.records.digests import canonical_json
from roadworthy.records.project import ProjectSpec, Task

__all__ = ["CALIBRATOR", "COLUMNS", "SCORES", "hidden_columns", "reference_files"]

COLUMNS, SCORES, CALIBRATOR = "columns.json", "scores.json", "calibrator.json"
_GOLDEN_ROWS = 16
_DISPERSION_ROWS = 100_000
_BATCH = 4096
_TOLERANCE = 1e-5
_INT8_TOLERANCE = 1e-3  # one step of an activation's 8 bits, where a rounding falls the other way


def reference_files(
    spec: ProjectSpec, train: pl.DataFrame, graph: GraphModel, scores: NDArray[np.float64], out_of_fold: Sample
) -> dict[str, bytes]:
    """The files of ``reference/`` by name.

    ``columns.json`` sketches the training part, with how much its consecutive rows vary more than independent ones
    (scores as well) and which columns go together; ``scores.json`` the ``scores`` of unseen rows, ``golden.json``
    holds made-up rows with their scores, and ``calibrator.json`` (classification only) what out-of-fold scores
    stood for.
    """
    columns = _columns(spec, train, graph)
    names = [*columns.numbers, *columns.categories]
    times = {name for name in names if train.schema[name].is_temporal()}
    files = {
        COLUMNS: canonical_json(columns),
        SCORES: canonical_json(Reference(rows=len(scores), scores=sketch_scores(scores))),
        GOLDEN: canonical_json(_golden(graph, columns, times)),
    }
    if spec.task is not Task.REGRESSION:
        files[CALIBRATOR] = canonical_json(fit_calibrators(out_of_fold.score, out_of_fold.y))
    return files


def _columns(spec: ProjectSpec, train: pl.DataFrame, graph: GraphModel) -> Reference:
    """What windows are compared with: target, time and entity are counted, but go together with nothing."""
    names = [name for name in train.columns if not name.startswith("_") and name not in {"part", "fold"}]
    apart = {spec.target, spec.data.time, spec.data.entity}
    columns = sketch(train, names, hidden=hidden_columns(spec), together=[one for one in names if one not in apart])
    latest = train.sort(spec.data.time, maintain_order=True) if spec.data.time in train.columns else train
    latest = latest.tail(_DISPERSION_ROWS)
    scores = graph.score(latest, batch=_BATCH).reshape(latest.height, -1)
    return with_dispersion(columns, latest, time=spec.data.time, entity=spec.data.entity, scores=scores)


def hidden_columns(spec: ProjectSpec) -> set[str]:
    """Columns counted but never shown by value: personal, entity, free text."""
    free = {name for name, column in spec.contract.columns.items() if column.type is ColumnType.TEXT}
    return free | set(spec.data.personal) | ({spec.data.entity} - {""})


def _golden(graph: GraphModel, columns: Reference, times: set[str]) -> Golden:
    """Row i takes each column's i-th edge or label; the first row is missing throughout."""
    types = {node.name: node.type for node in graph.inputs if node.name in graph.columns}
    rows = {name: [None, *_made_up(columns, name, kind, in_us=name in times)] for name, kind in types.items()}
    operators = {node.op_type for node in load_graph(graph.content).graph.node}
    tolerance = _INT8_TOLERANCE if operators & {"MatMulInteger", "ConvInteger"} else _TOLERANCE
    bare = Golden(types=types, rows=rows, scores=[], tolerance=tolerance)
    scores = graph.score(golden_frame(bare)).reshape(_GOLDEN_ROWS, -1)
    return msgspec.structs.replace(bare, scores=[[float(value) for value in row] for row in scores])


def _made_up(columns: Reference, name: str, kind: str, *, in_us: bool) -> list[Any]:
    """One value per golden row: quantiles for numbers (times in microseconds), listed labels for texts."""
    count = _GOLDEN_ROWS - 1
    if kind == "tensor(bool)":
        return [index % 2 == 0 for index in range(count)]
    if kind == "tensor(string)":
        labels = columns.categories[name].labels if name in columns.categories else ()
        return [labels[index % len(labels)] if labels else "" for index in range(count)]
    edges = columns.numbers[name].edges if name in columns.numbers else (0.0,)
    picked = [edges[(index * len(edges)) // count] * (1e6 if in_us else 1.0) for index in range(count)]
    whole = kind in {"tensor(int64)", "tensor(int32)"}
    return [int(np.floor(value)) if whole else value for value in picked]
