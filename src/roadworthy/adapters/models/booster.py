"""``OpenBooster``: trees from a library's own file, ready to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray

from roadworthy.records.digests import Digest
from roadworthy.records.project import Task

__all__ = ["OpenBooster", "numbers_matrix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBooster:
    """A booster: what it takes, and its answer.

    ``names`` are the columns that it was fitted on, empty where the file has none; ``width`` how many there are.
    ``task`` follows from its objective, None where that is one's own. ``matrix`` makes of a frame of its columns, in
    its order, the float64 matrix [N, width] that ``predict`` takes; ``takes_text``: some as text.
    ``predict`` answers [N] or [N, K]. ``loader`` is the Python file with which a fresh process loads it. ``graph``
    gives the same as one ONNX graph from that matrix to those answers, None where none is known; ``levels`` are the
    texts behind the codes of each column of text, in order.
    """

    file: Path
    digest: Digest
    names: tuple[str, ...]
    width: int
    task: Task | None
    matrix: Callable[[pl.DataFrame], NDArray[np.float64]]
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    loader: Path
    takes_text: bool = False
    notes: tuple[str, ...] = ()
    graph: Callable[[], onnx.ModelProto] | None = None
    levels: tuple[tuple[str, ...], ...] = ()


def numbers_matrix(frame: pl.DataFrame) -> NDArray[np.float64]:
    """[N, columns] as float64; null becomes NaN, which trees know as missing."""
    return frame.select(pl.all().cast(pl.Float64)).to_numpy().astype(np.float64, copy=False)
