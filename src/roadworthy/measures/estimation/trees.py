"""Small boosted trees on bin codes, kept as plain bytes: no pickle, no library's model file, no row of the data.

In: bin codes (one byte per row and column) and what is to be learnt. Out: ``Trees``, whose sums anyone can compute.
Laws: what is kept gives the numbers that LightGBM gave (to single precision); bytes of the wrong length are refused.

Each tree has at most 32 leaves, counted from the left. A row starts with one bit per leaf; each split whose condition
fails takes away the leaves to its left; the leftmost that is left is the row's (QuickScorer, Lucchese et al. 2015).
All splits of a tree on one column become one table of 256 masks, so that a row costs one look-up per tree and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError

__all__ = ["Codes", "Trees", "grow"]

Codes = NDArray[np.uint8]
"""Bin codes [d, n]: one line per column, so that a look-up reads memory in order."""

Floats = NDArray[np.float64]

LEAVES = (5, 31)
_ROWS_PER_LEAF = 1_000
_ALL = np.uint32(0xFFFFFFFF)
_AT_ONCE = 16_384
_SPLIT = np.dtype([("column", "<u2"), ("most", "u1"), ("first", "u1"), ("past", "u1")])


class Trees(msgspec.Struct, frozen=True, kw_only=True):
    """Trees in the order in which they were grown; tree t adds to output t modulo ``outputs``.

    ``splits`` are records of five bytes (column, greatest code that goes left, first leaf to the left, first leaf
    beyond those), ``leaves`` little-endian single precision, ``sizes`` the number of leaves of each tree.
    """

    columns: int
    outputs: int
    sizes: tuple[int, ...]
    splits: bytes
    leaves: bytes

    def __post_init__(self) -> None:
        """Refuse what would be read beyond its end."""
        count = sum(self.sizes)
        fits = len(self.leaves) == 4 * count and len(self.splits) == _SPLIT.itemsize * (count - len(self.sizes))
        if not fits or self.outputs < 1 or any(not 1 <= size <= 32 for size in self.sizes):
            raise DataError("stored trees do not fit together", next_step="package the model again")
        columns = np.frombuffer(self.splits, dtype=_SPLIT)["column"]
        if len(columns) and int(columns.max()) >= self.columns:
            raise DataError(f"stored trees read column {int(columns.max())} of {self.columns}")

    def first(self, count: int) -> Trees:
        """The first so many trees alone."""
        sizes = self.sizes[:count]
        leaves = sum(sizes)
        return Trees(
            columns=self.columns,
            outputs=self.outputs,
            sizes=sizes,
            splits=self.splits[: _SPLIT.itemsize * (leaves - len(sizes))],
            leaves=self.leaves[: 4 * leaves],
        )

    def predict(self, codes: Codes) -> Floats:
        """Sums of the trees for codes [d, n]: [n, outputs]."""
        if codes.shape[0] != self.columns:
            raise DataError(f"{codes.shape[0]} columns of codes, the trees read {self.columns}")
        tables = _tables(self)
        sums = np.zeros((codes.shape[1], self.outputs))
        for begin in range(0, codes.shape[1], _AT_ONCE):
            part = codes[:, begin : begin + _AT_ONCE]
            for place, (masks, leaves) in enumerate(tables):
                left = np.full(part.shape[1], _ALL)
                for column, mask in masks:
                    left &= mask[part[column]]
                lowest = np.bitwise_count((left & (~left + np.uint32(1))) - np.uint32(1))
                sums[begin : begin + _AT_ONCE, place % self.outputs] += leaves[lowest]
        return sums


def grow(
    codes: Codes,
    target: NDArray[Any],
    *,
    objective: str,
    start: Floats | None = None,
    rounds: int = 100,
    rate: float = 0.1,
    leaf_rows: int = 50,
    shrinkage: float = 5.0,
    classes: int = 1,
    seed: int = 7,
) -> Trees:
    """Grow trees on codes [d, n] (LightGBM, Ke et al. 2017), beginning from raw scores ``start`` [n] or [n, classes].

    ``objective`` is LightGBM's. Trees have one leaf for 1,000 rows, at least 5 and at most 31: few rows are learnt
    slowly by many small trees, rather than half by a few large ones. One core; the same seed gives the same bytes.
    """
    import lightgbm  # noqa: PLC0415  # two seconds, needed only where something is trained

    told: dict[str, Any] = {
        "objective": objective,
        "num_leaves": int(np.clip(len(target) // _ROWS_PER_LEAF, *LEAVES)),
        "learning_rate": rate,
        "min_data_in_leaf": leaf_rows,
        "lambda_l2": shrinkage,
        "use_missing": False,
        "boost_from_average": False,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    if classes > 1:
        told["num_class"] = classes
    begun = None if start is None else np.asarray(start, dtype=np.float64).reshape(len(target), -1).ravel(order="F")
    rows = lightgbm.Dataset(
        codes.T.astype(np.float32),
        label=target,
        init_score=begun,
        params={"verbosity": -1, "max_bin": 255, "min_data_in_bin": 1, "use_missing": False},
    )
    booster = lightgbm.train(told, rows, num_boost_round=rounds)
    return _packed([tree["tree_structure"] for tree in booster.dump_model()["tree_info"]], len(codes), classes)


@lru_cache(maxsize=32)
def _tables(trees: Trees) -> list[tuple[list[tuple[int, NDArray[np.uint32]]], Floats]]:
    """Of each tree: its columns with their 256 masks, and its leaves; the trees asked last are kept."""
    splits = np.frombuffer(trees.splits, dtype=_SPLIT)
    leaves = np.frombuffer(trees.leaves, dtype="<f4").astype(np.float64)
    codes = np.arange(256)
    found, at, leaf = [], 0, 0
    for size in trees.sizes:
        masks: dict[int, NDArray[np.uint32]] = {}
        for one in splits[at : at + size - 1]:
            mask = masks.setdefault(int(one["column"]), np.full(256, _ALL))
            gone = sum(1 << bit for bit in range(int(one["first"]), int(one["past"])))
            mask[codes > int(one["most"])] &= np.uint32(gone ^ int(_ALL))
        found.append((list(masks.items()), leaves[leaf : leaf + size]))
        at, leaf = at + size - 1, leaf + size
    return found


def _packed(roots: Sequence[dict[str, Any]], columns: int, outputs: int) -> Trees:
    sizes, splits, leaves = [], [], []
    for root in roots:
        own_splits: list[tuple[int, int, int, int]] = []
        own_leaves: list[float] = []
        _walk(root, own_splits, own_leaves)
        sizes.append(len(own_leaves))
        splits += own_splits
        leaves += own_leaves
    return Trees(
        columns=columns,
        outputs=outputs,
        sizes=tuple(sizes),
        splits=np.array(splits, dtype=_SPLIT).tobytes(),
        leaves=np.array(leaves, dtype="<f4").tobytes(),
    )


def _walk(node: dict[str, Any], splits: list[tuple[int, int, int, int]], leaves: list[float]) -> None:
    """Number the leaves from the left, and note of each split which ones lie to its left."""
    if "left_child" not in node:
        leaves.append(float(node["leaf_value"]))
        return
    first = len(leaves)
    _walk(node["left_child"], splits, leaves)
    most = int(np.clip(np.floor(node["threshold"]), 0, 255))
    splits.append((int(node["split_feature"]), most, first, len(leaves)))
    _walk(node["right_child"], splits, leaves)
