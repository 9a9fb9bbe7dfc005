"""Numbers that stand for missing: codes that lie apart from everything else and come again and again.

In: the distinct numbers of a column with their counts. Out: the codes and why. A code is taken only when it is a
usual one (runs of nines, -1, -200 and the like), is repeated, and is isolated: the gap to the nearest other value
is wider than the range of all others, or it is the only negative value beside ten or more others.
"""

from __future__ import annotations

import polars as pl

__all__ = ["numeric_sentinels"]

_CODES = frozenset({
    -1.0, -9.0, -99.0, -200.0, -999.0, -9999.0, -99999.0, 77.0, 88.0, 96.0, 97.0, 98.0, 99.0, 996.0, 997.0,
    998.0, 999.0, 9999.0, 99999.0, 999999.0, 9999999.0, 99999999.0, 999999999.0,
})  # fmt: skip
_MOST = 4


def numeric_sentinels(counts: pl.DataFrame) -> tuple[list[float], list[str]]:
    """Codes and sentences from ``value`` (finite float) and ``count``, one row per distinct value."""
    ordered = counts.sort("value")
    values: list[float] = ordered.get_column("value").to_list()
    times: list[int] = ordered.get_column("count").to_list()
    low = _run(values, times)
    high = _run([-value for value in reversed(values)], list(reversed(times)))
    sentences, codes = [], []
    rest = values[low : len(values) - high]
    total = sum(times)
    for position in [*range(low), *range(len(values) - high, len(values))]:
        code, count = values[position], times[position]
        codes.append(code)
        sentences.append(
            f"{code:.15g} stands in {count:,} of {total:,} cells, while all others lie between {rest[0]:.6g} and "
            f"{rest[-1]:.6g}: taken as missing"
        )
    return codes, sentences


def _run(values: list[float], times: list[int]) -> int:
    """How many values at the low end are codes; ``values`` ascend (negated for the high end)."""
    best = 0
    for length in range(1, min(_MOST, len(values) - 2) + 1):
        codes, rest = values[:length], values[length:]
        usual = all(code in _CODES or -code in _CODES for code in codes)
        repeated = all(count >= 3 for count in times[:length])
        if not usual or not repeated:
            break
        gap, spread = rest[0] - codes[-1], rest[-1] - rest[0]
        alone = length == 1 and codes[0] < 0 <= rest[0] and codes[0] in _CODES and len(rest) >= 10
        often = times[0] >= 0.001 * sum(times)
        if gap > max(spread, 2.0) or (alone and often):
            best = length
    return best
