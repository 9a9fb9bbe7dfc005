"""What a look takes of a row: whether the row is an event, and the event's value.

In: a look. Out: expressions over clean rows, null nowhere in ``event``. Law: history and kept state ask these and
nothing else, so that one row is the same event on both sides.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from roadworthy.transforms.aggregates.looks import Function, Look

__all__ = ["Form", "form_of"]


class Form(NamedTuple):
    """``event`` is a Boolean; ``value`` Float64, or Int64 microseconds for a time, and None where events only count."""

    event: pl.Expr
    value: pl.Expr | None


def form_of(look: Look) -> Form:
    """The form of a look. A number that is not finite is missing, negative zero is zero."""
    condition = pl.lit(value=True) if look.where is None else look.where.fill_null(value=False)
    if look.value is None or look.function is Function.COUNT:
        known = pl.lit(value=True) if look.value is None else look.value.is_not_null()
        return Form(known & condition, None)
    if look.function is Function.SECONDS_SINCE_LAST:
        instant = look.value.cast(pl.Datetime("us")).to_physical()
        return Form(instant.is_not_null() & condition, instant)
    given = look.value.cast(pl.Float64)
    number = (
        pl.when(given == 0.0).then(0.0).otherwise(given)
    )  # Polars leaves out an addition of 0.0, so -0.0 would stay
    return Form((number.is_finite() & condition).fill_null(value=False), number)
