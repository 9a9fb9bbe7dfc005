"""Which columns go together: sums of powers and products of positions, small, mergeable, and without any row in it.

In: the cells that each row's values fall in. Out: a ``Joint``: for each of up to 64 variables a table from cell to
position, and over all rows the sums that correlations of positions and their standard errors are made of. A number's
position is its mid-rank among the reference's values, from −16 to 16; a label's is whether it is that label. Laws:
sums are whole numbers, exact, so that merging is associative and commutative; a missing value stands at 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

from roadworthy.errors import DataError
from roadworthy.measures.codes import Codes

__all__ = ["Joint", "JointColumn", "joint_columns", "joint_of", "merged_joint", "restricted"]

MOST_VARIABLES = 64
REACH = 16  # positions are −16 … 16: u³v fits 2^16, and 256 of them add up exactly in single precision
_EXACT = 256
_LEAST_SHARE, _MOST_SHARE = 0.1, 0.9


class JointColumn(msgspec.Struct, frozen=True):
    """One variable: a column, the place of its label in the column's sketch (−1: a number), a position per cell."""

    column: str
    label: int
    positions: tuple[int, ...]


class Joint(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over ``rows`` rows of the positions u of K variables.

    ``u`` [K]; ``uv`` and ``u2v2`` are the upper triangles, the diagonal with them, of the sums of u·v and u²·v²;
    ``u2v`` and ``u3v`` [K · K] row by row.
    """

    columns: tuple[JointColumn, ...]
    rows: int = 0
    u: tuple[int, ...] = ()
    uv: tuple[int, ...] = ()
    u2v2: tuple[int, ...] = ()
    u2v: tuple[int, ...] = ()
    u3v: tuple[int, ...] = ()


def joint_columns(
    numbers: Mapping[str, Sequence[int]], labels: Mapping[str, tuple[Sequence[int], int]], order: Sequence[str]
) -> tuple[JointColumn, ...]:
    """The variables for these counts by cell: ``numbers`` by bin, ``labels`` by label, with the rows of that column.

    Every column gives one variable before any gives two. A column without two cells that both hold a tenth of the
    rows has nothing that could go with anything.
    """
    turns: list[list[JointColumn]] = [[], []]
    for name in order:
        if name in numbers:
            positions = _ranks(numbers[name])
            turns[0] += [JointColumn(name, -1, positions)] if positions else []
        elif name in labels:
            counts, rows = labels[name]
            often = [i for i, count in enumerate(counts) if _LEAST_SHARE * rows <= count <= _MOST_SHARE * rows]
            for turn, place in enumerate(often[: 1 if len(counts) == 2 else 2]):
                marked = tuple(int(cell == place) for cell in range(len(counts) + 1))
                turns[turn].append(JointColumn(name, place, marked))
    return tuple((turns[0] + turns[1])[:MOST_VARIABLES])


def _ranks(counts: Sequence[int]) -> tuple[int, ...]:
    """Mid-ranks of the bins; none for a column in which one bin holds nearly all."""
    shares = np.array(counts, np.float64)
    if not shares.sum() or shares.max() > _MOST_SHARE * shares.sum():
        return ()
    shares /= shares.sum()
    return tuple(int(place) for place in np.rint(2 * REACH * (np.cumsum(shares) - shares / 2) - REACH))


def joint_of(columns: tuple[JointColumn, ...], codes: Mapping[str, Codes], rows: int) -> Joint:
    """The sums over rows of these cells; ``codes`` by column, −1 where a value is missing."""
    size = len(columns)
    places = np.empty((size, rows), np.float32)
    for index, one in enumerate(columns):
        table = np.array([*one.positions, 0], np.float32)  # the last one is what −1 finds
        np.take(table, codes[one.column], out=places[index], mode="wrap")
    uv, u2v2, u2v, u3v = (np.zeros((size, size)) for _ in range(4))
    with _pools().limit(limits=1, user_api="blas"):  # threads cost more than products this small
        for start in range(0, rows, _EXACT):
            u = places[:, start : start + _EXACT]
            square = u * u
            uv += u @ u.T
            u2v2 += square @ square.T
            u2v += square @ u.T
            u3v += (square * u) @ u.T
    upper = np.triu_indices(size)
    return Joint(
        columns=columns,
        rows=rows,
        u=_whole(places.sum(axis=1, dtype=np.float64)),
        uv=_whole(uv[upper]),
        u2v2=_whole(u2v2[upper]),
        u2v=_whole(u2v.ravel()),
        u3v=_whole(u3v.ravel()),
    )


def restricted(joint: Joint, columns: Collection[str]) -> Joint:
    """The sums of the variables of these columns alone."""
    kept = [index for index, one in enumerate(joint.columns) if one.column in columns]
    size = len(joint.columns)
    if len(kept) == size:
        return joint
    upper = np.zeros((size, size), np.int64)
    places, own = np.ix_(kept, kept), np.triu_indices(len(kept))
    halves = []
    for half in (joint.uv, joint.u2v2):
        upper[np.triu_indices(size)] = half
        halves.append(tuple(upper[places][own].tolist()))
    whole = [
        tuple(np.array(one, np.int64).reshape(size, size)[places].ravel().tolist()) for one in (joint.u2v, joint.u3v)
    ]
    return Joint(
        columns=tuple(joint.columns[index] for index in kept),
        rows=joint.rows,
        u=tuple(joint.u[index] for index in kept),
        uv=halves[0],
        u2v2=halves[1],
        u2v=whole[0],
        u3v=whole[1],
    )


@cache
def _pools() -> ThreadpoolController:
    """The libraries' pools of threads, looked for once."""
    return ThreadpoolController()


def merged_joint(left: Joint | None, right: Joint | None) -> Joint | None:
    """The sums of both; None where either has none. Raises DataError when their variables differ."""
    if left is None or right is None:
        return None
    if left.columns != right.columns:
        raise DataError("two references with different joint variables do not merge")
    return Joint(
        columns=left.columns,
        rows=left.rows + right.rows,
        u=_added(left.u, right.u),
        uv=_added(left.uv, right.uv),
        u2v2=_added(left.u2v2, right.u2v2),
        u2v=_added(left.u2v, right.u2v),
        u3v=_added(left.u3v, right.u3v),
    )


def _whole(values: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(np.rint(values).astype(np.int64).tolist())


def _added(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((np.array(left, np.int64) + np.array(right, np.int64)).tolist())
