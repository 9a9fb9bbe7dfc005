"""Tails of the hypergeometric law: exact at small counts, as accurate far out in the tail, fast at large ones.

In: arrays of whole numbers. Out: natural logarithms of probabilities, so that 1e-400 is a number too. Law: relative
error of a probability below 1e-6 up to ten million rows, wherever it lies; no table, no simulation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtri_exp, stdtr

__all__ = ["log_more", "log_p_two_sided", "widened"]

Floats = NDArray[np.float64]
_FAR = 40.0  # terms below exp(-40) of the greatest do not count
_SUMMED = 400  # terms added one by one; where it takes more, the sum is smooth enough to be integrated
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def log_p_two_sided(drawn_hits: ArrayLike, drawn: ArrayLike, hits: ArrayLike, rows: ArrayLike) -> Floats:
    """Log p of a count at least as far out, on either side: twice the smaller tail, at most 1.

    Of ``rows``, ``hits`` have a mark and ``drawn`` are in one sample, ``drawn_hits`` of these with the mark. Given
    the margins, the count is hypergeometric where the samples come from one law (Fisher 1935), at any sample size.
    Shapes broadcast; nothing is checked.
    """
    k, n, m, total = _arrays(drawn_hits, drawn, hits, rows)
    above = k * total >= n * m
    # a low count of marks is a high count of rows without one
    tail = _log_upper(np.where(above, k, n - k), n, np.where(above, m, total - m), total)
    return np.asarray(np.minimum(0.0, tail + np.log(2.0)), np.float64)


def log_more(drawn_hits: ArrayLike, drawn: ArrayLike, hits: ArrayLike, rows: ArrayLike) -> Floats:
    """Log P(at least ``drawn_hits``): the one-sided tail for "more than before". Arguments as ``log_p_two_sided``."""
    k, n, m, total = _arrays(drawn_hits, drawn, hits, rows)
    above = k * total >= n * m
    upper = _log_upper(np.where(above, k, 0.0), n, np.where(above, m, 0.0), total)
    fewer = _log_upper(np.where(above, 0.0, n - k + 1), n, np.where(above, 0.0, total - m), total)
    beside = np.log1p(-np.exp(np.minimum(fewer, -1e-12)))  # P(X >= k) = 1 - P(X <= k - 1)
    return np.where(above, upper, np.where(k <= np.maximum(0.0, n + m - total), 0.0, beside))


def widened(log_p: ArrayLike, times: ArrayLike, degrees: float) -> Floats:
    """Log p when the variance is ``times`` (>= 1) what independent rows have: the normal score shrinks by its root.

    Exactly ``log_p`` where ``times`` is 1. What is beyond 1 was learnt with so many ``degrees`` of freedom, and the
    law is Student's accordingly (Satterthwaite 1946: the rest of the variance is known). First order after Rao and
    Scott (1981), "The Analysis of Categorical Data from Complex Sample Surveys".
    """
    logs, factor = np.broadcast_arrays(np.asarray(log_p, np.float64), np.asarray(times, np.float64))
    found: Floats = np.array(logs)
    wide = factor > 1.0
    score = ndtri_exp(np.minimum(logs[wide], -1e-12) - np.log(2.0)) / np.sqrt(factor[wide])
    free = np.minimum(degrees * (factor[wide] / (factor[wide] - 1)) ** 2, 1e9)
    tail = 2 * stdtr(free, np.maximum(score, -1e100))
    found[wide] = np.minimum(0.0, np.log(np.maximum(tail, 1e-300)))
    return found


def _arrays(*values: ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.broadcast_arrays(*(np.atleast_1d(np.asarray(value, np.float64)) for value in values)))


def _log_upper(k: Floats, n: Floats, m: Floats, total: Floats) -> Floats:
    """Log P(X >= k) for k at or above the mean."""
    found = np.zeros(k.shape)
    most = np.minimum(n, m)
    found[k > most] = -np.inf
    certain = k <= np.maximum(0.0, n + m - total)
    ask = ~certain & (k <= most)
    if not ask.any():
        return found
    k, n, m, total, most = (value[ask] for value in (k, n, m, total, most))
    first = _log_mass(k, n, m, total)
    # the next term's ratio: how fast the tail falls
    fall = -np.log(np.maximum((m - k) * (n - k), 0.5) / ((k + 1) * (total - m - n + k + 1)))
    spread = np.sqrt(np.maximum(n * (m / total) * (1 - m / total) * (total - n) / np.maximum(total - 1, 1), 1e-12))
    by_fall = _FAR / np.maximum(fall, 1e-12)
    terms = np.minimum(np.minimum(by_fall, spread * 9 + 10), most - k + 1)
    smooth = (terms > _SUMMED) & (fall < 0.2)
    tail = np.empty(k.shape)
    tail[~smooth] = _summed(k[~smooth], n[~smooth], m[~smooth], total[~smooth])
    if smooth.any():
        k, n, m, total = (value[smooth] for value in (k, n, m, total))
        tail[smooth] = _integrated(k, n, m, total, first=first[smooth], fall=fall[smooth], spread=spread[smooth])
    found[ask] = np.minimum(0.0, first + np.log(tail))
    return found


def _log_mass(k: Floats, n: Floats, m: Floats, total: Floats) -> Any:
    return _log_choose(m, k) + _log_choose(total - m, n - k) - _log_choose(total, n)


def _log_choose(n: Floats, k: Floats) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _summed(k: Floats, n: Floats, m: Floats, total: Floats) -> Floats:
    """The tail as a multiple of its first term, term by term."""
    tail, term, step = np.ones(k.shape), np.ones(k.shape), 0.0
    while len(term) and step < 100 * _SUMMED:
        at = k + step
        term = term * (np.maximum(m - at, 0) * np.maximum(n - at, 0) / ((at + 1) * (total - m - n + at + 1)))
        tail += term
        step += 1
        if not np.any(term > tail * 1e-17):
            break
    return tail


def _integrated(
    k: Floats, n: Floats, m: Floats, total: Floats, *, first: Floats, fall: Floats, spread: Floats
) -> Floats:
    """The same sum by the Euler–Maclaurin formula, the integral by 64 Gauss–Legendre nodes."""
    slow = fall * spread * spread
    reach = np.minimum(-slow + np.sqrt(slow * slow + 2 * _FAR * spread * spread), np.minimum(n, m) - k)
    at = k[:, None] + reach[:, None] * (_NODES + 1) / 2
    ratio = np.exp(_log_mass(at, n[:, None], m[:, None], total[:, None]) - first[:, None])
    area = ratio @ _WEIGHTS * reach / 2
    return np.asarray(area + 0.5 + fall / 12, np.float64)
