"""Looks at an entity's own past: what each one means, as a definition that history and live rows share.

Owns the nouns and their meaning. What flows in: typed expressions. What flows out: ``Look`` and ``Ratio``, which
``past.compute`` evaluates over history; a replay that keeps an entity's past events must give the same doubles.

**Definition.** For a row of entity ``e`` at time ``t`` the *past* is every row of the same entity whose time lies
strictly before ``t`` and, with a window ``w``, not before ``t - w``. Its *events* are the past rows for which
``where`` is true (unknown is not true) and ``value`` is not missing; a number that is not finite is missing,
booleans count as 0 and 1, negative zero as zero. Then

======================  ================================================================================
``count``               the number of events (``"*"``: every row has a value); 0 without any
``sum``                 the double nearest to the exact sum (``math.fsum``), so independent of any order
``mean``                ``sum / count`` in double
``min``, ``max``        the least or greatest value
``last``                the value of the latest event; among equal times, of the greatest ``_row``
``seconds_since_last``  ``(t - value) / 1e6`` of that same event in microseconds, value being a time
``ratio``               numerator / denominator in double; null where the denominator is 0 or null
======================  ================================================================================

Everything but ``count`` is null without events. A result that is not finite is null. A row whose entity or time
is null gets null, ``count`` included, and is nobody's past.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

__all__ = ["Function", "Look", "Ratio"]


class Function(StrEnum):
    """What is asked of the events. Each comment says what the value must be."""

    COUNT = "count"  # anything; None for "*"
    SUM = "sum"  # number or boolean
    MEAN = "mean"  # number or boolean
    MIN = "min"  # number or boolean
    MAX = "max"  # number or boolean
    LAST = "last"  # number or boolean
    SECONDS_SINCE_LAST = "seconds_since_last"  # time


@dataclass(frozen=True, slots=True)
class Look:
    """One question to the past.

    ``value`` is an expression over a row (None: every row counts), ``where`` a condition (None: every row),
    ``by`` the entity column, ``window_us`` the length of the window in microseconds (None: all history).
    """

    function: Function
    by: str
    value: pl.Expr | None = None
    where: pl.Expr | None = None
    window_us: int | None = None

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it reads, the time of the rows apart."""
        read = [form.meta.root_names() for form in (self.value, self.where) if form is not None]
        return frozenset({self.by, *(name for names in read for name in names)})


@dataclass(frozen=True, slots=True)
class Ratio:
    """One look divided by another."""

    numerator: Look
    denominator: Look
