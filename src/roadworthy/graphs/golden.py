"""Golden rows: made-up rows and the score of each, which a loader runs before it trusts a graph.

In: ``golden.json`` of a bundle, a graph. Out: how many rows came out as they did when the graph was packaged. Law: a
graph that scores one of them otherwise, beyond the stated tolerance, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import BundleError
from roadworthy.graphs.runner import GraphModel

__all__ = ["GOLDEN", "Golden", "golden_frame", "read_golden", "require_same", "self_test"]

GOLDEN = "golden.json"
_POLARS: dict[str, pl.DataType] = {
    "tensor(double)": pl.Float64(),
    "tensor(float)": pl.Float32(),
    "tensor(int64)": pl.Int64(),
    "tensor(int32)": pl.Int32(),
    "tensor(bool)": pl.Boolean(),
    "tensor(string)": pl.String(),
}


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Made-up rows and the score of each.

    ``types`` are ONNX input types by column, ``rows`` values by column (null: missing), ``scores`` [rows][K].
    ``tolerance`` is how much another machine may differ, relative to the larger of 1 and the score.
    """

    types: dict[str, str]
    rows: dict[str, list[Any]]
    scores: list[list[float]]
    tolerance: float
    format: int = 1


def read_golden(reference: Mapping[str, bytes]) -> Golden:
    """The golden rows among a bundle's reference files; raises BundleError when they lack or do not parse."""
    if GOLDEN not in reference:
        raise BundleError(f"the bundle lacks reference/{GOLDEN}")
    try:
        return msgspec.json.decode(reference[GOLDEN], type=Golden)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"reference/{GOLDEN} does not parse: {error}") from error


def golden_frame(golden: Golden) -> pl.DataFrame:
    """The golden rows as a frame that a graph can be fed from. Raises BundleError for a type no graph has."""
    unknown = sorted(set(golden.types.values()) - set(_POLARS))
    if unknown:
        raise BundleError(f"golden rows have unknown types: {', '.join(unknown)}")
    return pl.DataFrame(
        {name: pl.Series(name, values, dtype=_POLARS[golden.types[name]]) for name, values in golden.rows.items()}
    )


def self_test(golden: Golden, graph: GraphModel) -> int:
    """Score the golden rows and compare; how many there are. Raises BundleError naming the first that differs."""
    return require_same(golden, graph.score(golden_frame(golden)))


def require_same(golden: Golden, scores: NDArray[np.float64]) -> int:
    """How many golden rows there are; raises BundleError naming the first of ``scores`` [rows(, K)] that differs."""
    expected = np.array(golden.scores, dtype=np.float64)
    scores = scores.reshape(len(expected), -1)
    if scores.shape != expected.shape:
        raise BundleError(f"golden rows score as {scores.shape}, expected {expected.shape}")
    scale = np.maximum(1.0, np.abs(expected))
    worst = (np.abs(scores - expected) / scale).max(axis=1)
    if not worst.max() <= golden.tolerance:
        row = int(np.argmax(~(worst <= golden.tolerance)))
        raise BundleError(
            f"golden row {row} scores {scores[row].tolist()}, {expected[row].tolist()} when it was packaged",
            next_step="this machine's runtime computes differently; install the pinned onnxruntime",
        )
    return len(expected)
