"""From moments to bounds: what an estimate may miss the realised value by, each source counted once.

In: ``Moments`` of a metric on a window, rows of the window, rows of the reference that speak for it, error between
periods. Out: a lower and an upper bound, each one-sided at any confidence. Laws: lower <= value <= upper; more
confidence never narrows; nothing that is not finite comes out.

Three sources, whose variances add:

- *outcomes*: the window's own labels fall by chance (Poisson-binomial), with their skewness (Cornish and Fisher 1938);
  times the design effect where rows come by entity;
- *reference*: chances are known from so many rows only: the same variance times n / ESS, where ESS is the number of
  reference rows left once they are weighted to look like the window (Kish 1965);
- *periods*: what the back-test missed by beyond both, which no window's size takes away.
"""

from __future__ import annotations

import math

from scipy import special

from roadworthy.measures.estimation.expected import Moments

__all__ = ["bounds"]

_MOST_SKEW = 2.0


def bounds(
    moments: Moments,
    confidence: float,
    *,
    rows: float,
    support: float,
    between: float,
    design: float = 1.0,
    limits: tuple[float | None, float | None] = (0.0, 1.0),
) -> tuple[float, float]:
    """One-sided bounds of the value that labels will show.

    ``support`` is the effective number of reference rows, ``between`` the standard deviation of the error between
    periods, ``limits`` what the metric can be at all.
    """
    own = moments.variance * design
    total = own * (1 + rows / support) + between**2
    deviation = math.sqrt(max(total, 1e-18))
    skew = max(min(moments.third * design**1.5 / deviation**3, _MOST_SKEW), -_MOST_SKEW)
    quantile = float(special.ndtri(confidence))
    below = quantile - skew * (quantile**2 - 1) / 6
    above = quantile + skew * (quantile**2 - 1) / 6
    low, high = limits
    # never nearer than half the plain distance: the expansion is cut where it turns
    lower = moments.value - deviation * max(below, quantile / 2)
    upper = moments.value + deviation * max(above, quantile / 2)
    value = moments.value
    return min(max(lower, -math.inf if low is None else low), value), max(
        min(upper, math.inf if high is None else high), value
    )
