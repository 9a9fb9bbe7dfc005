"""Whether columns still go together: rank correlations of the current rows beside those of the reference.

In: joint sums on both sides. Out: one ``Shift`` for the pair that changed most, with the next ones in its details. Law:
its p counts every pair that was looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from roadworthy.errors import DataError
from roadworthy.measures.drift.cells import degrees_at, dispersion_at
from roadworthy.measures.drift.tails import widened
from roadworthy.measures.drift.words import with_p
from roadworthy.measures.joint import Joint, JointColumn, restricted
from roadworthy.measures.sketches import Reference
from roadworthy.records.shift import Shift, ShiftKind

__all__ = ["LEAST_ROWS", "together"]

Floats = NDArray[np.float64]
LEAST_ROWS = 300
"""Fewer rows do not bear a normal law as far out as many pairs need it."""
_MOST = 0.98  # a correlation beyond it has next to no spread of its own
_SHOWN = 5
_MISSING = 0.02


class _Correlations(NamedTuple):
    """Correlations [K, K], the variance of their Fisher transforms times n, and the greatest influence of one row."""

    r: Floats
    variance: Floats
    reach: Floats
    rows: int


def together(reference: Reference, current: Reference) -> tuple[Shift, ...]:
    """The pair of columns whose rank correlation changed most, as one Shift; none without joint sums.

    The difference of two Fisher transforms has the standard error of the correlation's own influence function (no
    normal law of the columns is assumed); its tail is widened as Bernstein's inequality widens a bounded mean's. p is
    Bonferroni's over all pairs; effect is half the change of the correlation, without what chance adds.
    """
    if reference.joint is None or current.joint is None:
        return ()
    own, beside = _restricted(reference, current)
    columns = own.columns
    n, m = beside.rows, own.rows
    pairs = _pairs(columns)
    if not len(pairs):
        return ()
    if min(n, m) < LEAST_ROWS:
        lacks = f"{min(n, m)} rows; it takes {LEAST_ROWS}"
        return (_insufficient(n, m, lacks),)
    old, new = _correlations(own), _correlations(beside)
    first, second = pairs[:, 0], pairs[:, 1]
    wide = _wider(reference, columns, n, m)
    wide = np.maximum(wide[first], wide[second])
    a, b = old.r[first, second], new.r[first, second]
    spread = np.sqrt(new.variance[first, second] / n + old.variance[first, second] / m)
    gone = _more_missing(reference, current, columns)
    diluted = np.minimum(1.0, (gone[first] + gone[second]) * np.abs(a) / np.maximum(np.abs(b - a), 1e-12))
    z = np.abs(np.arctanh(b) - np.arctanh(a)) / spread * (1 - diluted)
    reach = np.maximum(new.reach[first, second] / n, old.reach[first, second] / m)
    log_p = np.log(2) + log_ndtr(-z / np.sqrt(1 + reach * z / (3 * spread)))
    log_p = widened(np.minimum(0.0, log_p), wide, degrees_at(reference.blocks, n))
    log_p = np.minimum(0.0, log_p + np.log(len(pairs)))
    chance = ((1 - a**2) ** 2) * wide * spread**2
    effect = np.sqrt(np.maximum(0.0, (b - a) ** 2 * (1 - diluted) ** 2 - chance)) / 2
    return (_shift(columns, pairs, np.exp(log_p), effect, a=a, b=b, n=n, m=m),)


def _restricted(reference: Reference, current: Reference) -> tuple[Joint, Joint]:
    """Both sides' sums of the columns that both sides have."""
    known = [{*side.numbers, *side.categories} for side in (reference, current)]
    joints = [side.joint for side in (reference, current) if side.joint is not None]
    columns = set.intersection(*known, *({one.column for one in joint.columns} for joint in joints))
    own, beside = (restricted(joint, columns) for joint in joints)
    if own.columns != beside.columns:
        raise DataError("the joint sums of the current rows have another frame: count them with sketch_like")
    return own, beside


def _pairs(columns: tuple[JointColumn, ...]) -> NDArray[np.int64]:
    """Every two variables of two columns."""
    size = len(columns)
    found = [(i, j) for i in range(size) for j in range(i + 1, size) if columns[i].column != columns[j].column]
    return np.array(found, np.int64).reshape(-1, 2)


def _correlations(joint: Joint) -> _Correlations:
    """Moments about the mean from the sums, then correlation and influence."""
    size, n = len(joint.columns), float(joint.rows)
    mean = np.array(joint.u, np.float64) / n
    uv, u2v2 = (_square(part, size) / n for part in (joint.uv, joint.u2v2))
    u2v, u3v = (np.array(part, np.float64).reshape(size, size) / n for part in (joint.u2v, joint.u3v))
    second, third, fourth = np.diag(uv), np.diag(u2v), np.diag(u2v2)
    a, b = mean[:, None], mean[None, :]
    cov = uv - a * b
    var = np.maximum(np.diag(cov), 1e-9)
    sd = np.sqrt(var)
    # E (u−a)²(v−b)² and E (u−a)³(v−b)
    c22 = u2v2 - 2 * b * u2v - 2 * a * u2v.T + b**2 * second[:, None] + a**2 * second[None, :] + 4 * a * b * uv
    c22 -= 3 * a**2 * b**2
    c31 = u3v - b * third[:, None] - 3 * a * (u2v - b * second[:, None]) + 3 * a**2 * (uv - a * b)
    c4 = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
    both = np.outer(sd, sd)
    r = np.clip(cov / both, -_MOST, _MOST)
    k22 = c22 / both**2
    k31 = c31 / (var[:, None] * both)
    k4 = c4 / var**2
    variance = k22 - r * (k31 + k31.T) + r**2 / 4 * (k4[:, None] + k4[None, :] + 2 * k22)
    variance = np.maximum(variance, 0.25 * (1 - r**2) ** 2) / (1 - r**2) ** 2
    far = _furthest(joint, mean) / sd
    reach = np.outer(far, far) / (1 - r**2)
    return _Correlations(r, variance, reach, joint.rows)


def _furthest(joint: Joint, mean: Floats) -> Floats:
    """How far a row can lie from the mean."""
    ends = [(0, 1) if one.label >= 0 else (min(one.positions), max(one.positions)) for one in joint.columns]
    return np.array([max(abs(low - at), abs(high - at)) for (low, high), at in zip(ends, mean, strict=True)])


def _square(upper: tuple[int, ...], size: int) -> Floats:
    found = np.zeros((size, size))
    found[np.triu_indices(size)] = upper
    return np.asarray(found + np.triu(found, 1).T, np.float64)


def _wider(reference: Reference, columns: tuple[JointColumn, ...], n: int, m: int) -> Floats:
    """Each variable's dispersion, that of its column."""
    found = []
    for one in columns:
        known = reference.dispersion.get(one.column)
        figures = known.values if known is not None else ()
        sides = [dispersion_at(reference.blocks, figures, rows) / rows for rows in (n, m)]
        found.append(sum(sides) / (1 / n + 1 / m))
    return np.array(found)


def _more_missing(reference: Reference, current: Reference, columns: tuple[JointColumn, ...]) -> Floats:
    """By how much each variable's missing share changed, where that is more than a little.

    Missing values stand in the middle, so that they weaken a correlation by their share at most: that much of a change
    says nothing of the columns together.
    """
    found = []
    for one in columns:
        kind = "numbers" if one.label < 0 else "categories"
        shares = [getattr(side, kind)[one.column].missing / max(side.rows, 1) for side in (reference, current)]
        found.append(abs(shares[0] - shares[1]))
    gone = np.array(found)
    return np.where(gone > _MISSING, gone, 0.0)


def _shift(
    columns: tuple[JointColumn, ...],
    pairs: NDArray[np.int64],
    p: Floats,
    effect: Floats,
    *,
    a: Floats,
    b: Floats,
    n: int,
    m: int,
) -> Shift:
    order = np.lexsort((-effect, p))
    worst = int(order[0])
    shown = [
        {
            "columns": " × ".join(columns[at].column for at in pairs[index]),
            "reference": round(float(a[index]), 3),
            "current": round(float(b[index]), 3),
            "p": float(max(p[index], 1e-300)),
            "effect": round(float(effect[index]), 4),
        }
        for index in order[:_SHOWN].tolist()
    ]
    value, size = max(1e-300, float(p[worst])), float(effect[worst])
    return Shift(
        subject=" × ".join(columns[at].column for at in pairs[worst]),
        kind=ShiftKind.TOGETHER,
        p=value,
        effect=size,
        n=n,
        reference_n=m,
        sentence=with_p(_words([columns[at].column for at in pairs[worst]], a[worst], b[worst], value), value, size),
        details={"pairs": len(pairs), "changed_most": shown},
    )


def _words(names: list[str], before: float, after: float, p: float) -> str:
    both = " and ".join(names)
    if p > 0.05:
        return "columns go together as they did"
    change = f"rank correlation {before:.2f} → {after:.2f}".replace("-", "−")
    if before * after < 0 and abs(after) > 0.1 and abs(before) > 0.1:
        return f"{both} go together the other way round ({change})"
    if abs(after) < abs(before) / 3:
        return f"{both} no longer go together ({change})"
    if abs(before) < abs(after) / 3:
        return f"{both} now go together ({change})"
    return f"{both} go together {'less' if abs(after) < abs(before) else 'more'} than before ({change})"


def _insufficient(n: int, m: int, lacks: str) -> Shift:
    return Shift(
        subject="columns together",
        kind=ShiftKind.TOGETHER,
        n=n,
        reference_n=m,
        insufficient=lacks,
        sentence=f"nothing can be said of columns together: {lacks}",
    )
