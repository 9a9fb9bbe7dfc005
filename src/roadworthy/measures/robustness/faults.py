"""The faults that a model is tried with: each a change to the input columns of a frame.

In: rows that show what is usual, with the columns that the model reads. Out: ``Fault``s, in families. Laws: a fault
changes none but the columns it names, keeps the rows' number and order, and is the same for the same generator.

What is usual is taken from the training rows where they are known: a value is "beyond" when it lies outside of what
training saw, and a row is malformed when training had no such missing value, or when it holds a number that no float32
can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.robustness.values import as_text, changed, drawn, is_number, is_text, noisy, typed_wrongly
from roadworthy.measures.robustness.values import within as limits_of

__all__ = ["EVERY", "FAMILIES", "SMALL", "Family", "Fault", "exchanges", "faults_for"]

EVERY = "all columns"
"""Stands where a column's name would, for a fault that touches all columns of its kind."""

_UNSEEN = "value never seen"
_TENTH = 0.1
_BEYOND = 10.0
_EXTREMES = (1e30, -1e30, 1e308, -1e308)
_FLOAT32 = 3.4e38  # what lies beyond it, no model that computes in single precision can read
_MOST_PAIRS = 30

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of fault. ``says`` names it at the start of a sentence, ``advice`` what would have it noticed.

    ``small``: any model ought to bear it. ``noticeable``: a contract could refuse it, so that a fault which costs
    much and is answered all the same is worth a look.
    """

    name: str
    says: str
    small: bool = False
    noticeable: bool = True
    advice: str = "Refuse such rows before the model sees them."


_RANGE = "Declare min and max of these columns in the contract."

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="missing_field",
            says="A field without a value",
            advice='Set missing = "reject" for these columns in the contract, or train with missing values.',
        ),
        Family(
            name="missing_tenth",
            says="A tenth of the cells going missing",
            small=True,
            advice='Set missing = "reject" in the contract, or train with missing values.',
        ),
        Family(
            name="missing_all",
            says="A row without any value",
            advice='Set missing = "reject" in the contract for the columns that matter.',
        ),
        Family(
            name="noise_1",
            says="Noise of 1 % of each column's spread",
            small=True,
            noticeable=False,
            advice="Train with more rows, more regularisation, or coarser columns.",
        ),
        Family(name="noise_10", says="Noise of 10 % of each column's spread", noticeable=False),
        Family(name="units", says="A change of unit", advice=_RANGE),
        Family(name="swapped_columns", says="An exchange of two columns", advice=_RANGE),
        Family(
            name="unseen_category",
            says="A category never seen",
            advice="List the allowed values of these columns in the contract.",
        ),
        Family(
            name="typos",
            says="A typo in a tenth of the cells",
            small=True,
            advice="List the allowed values of these columns in the contract.",
        ),
        Family(name="out_of_range", says="A value ten times beyond what was seen", advice=_RANGE),
        Family(name="extreme", says="An extreme number (1e30, 1e308)", advice=_RANGE),
        Family(name="shuffled", says="A column in the wrong order", noticeable=False),
        Family(
            name="absent_column",
            says="An absent column",
            advice="Refuse rows in which a column is absent.",
        ),
        Family(
            name="wrong_type", says="A number or time that comes as text", advice="Declare the type of these columns."
        ),
        Family(name="flipped", says="An exchange of yes and no", noticeable=False),
        Family(name="shifted_time", says="A time that is a day or a year off", advice=_RANGE),
    )
}
"""Every family of faults, by name, in the order in which people read them."""

SMALL = tuple(family.name for family in FAMILIES.values() if family.small)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fault:
    """One fault: its family, the column (or ``EVERY``, or "a and b"), how it changes, and the change itself.

    ``touches`` names the columns that it changes. ``malformed``: no model needs to read such rows.
    """

    family: str
    column: str
    how: str
    change: Change
    touches: tuple[str, ...]
    malformed: bool = False


def faults_for(usual: pl.DataFrame) -> dict[str, tuple[Fault, ...]]:
    """The faults of each column by itself, and under ``EVERY`` those that touch all columns at once.

    ``usual`` are rows [n] that show what is usual, with the columns that the model reads.
    """
    missing = {column.name for column in usual.iter_columns() if column.null_count()}
    spans = _spans(usual)
    found = {EVERY: tuple(_at_once(usual, missing, spans))}
    for column in usual.iter_columns():
        found[column.name] = tuple(_of_column(column, spans.get(column.name), whole=column.name not in missing))
    return found


def exchanges(schema: pl.Schema, columns: Sequence[str]) -> tuple[Fault, ...]:
    """Numeric ``columns`` exchanged with the next one of the same type, all round; at most 30 pairs."""
    alike: dict[pl.DataType, list[str]] = {}
    for name in columns:
        if is_number(schema[name]):
            alike.setdefault(schema[name], []).append(name)
    pairs = [pair for names in alike.values() for pair in _round(names)]
    return tuple(
        Fault(
            family="swapped_columns",
            column=f"{left} and {right}",
            how="exchanged",
            change=partial(_swapped, left=left, right=right),
            touches=(left, right),
        )
        for left, right in pairs[:_MOST_PAIRS]
    )


def _at_once(table: pl.DataFrame, missing: set[str], spans: dict[str, _Span]) -> Iterator[Fault]:
    """The faults of all columns together."""
    everything = table.columns
    kinds = table.schema
    malformed = any(name not in missing for name in everything)
    every = tuple(everything)
    lost = partial(_missing, columns=every)
    yield Fault(
        family="missing_tenth",
        column=EVERY,
        how="a tenth of the cells",
        change=partial(_missing, columns=every, share=_TENTH),
        touches=every,
        malformed=malformed,
    )
    yield Fault(
        family="missing_all", column=EVERY, how="no value at all", change=lost, touches=every, malformed=malformed
    )
    moving = {name: span.spread for name, span in spans.items() if span.spread > 0}
    if moving:
        for family, share in (("noise_1", 0.01), ("noise_10", 0.1)):
            change = partial(_noise, scales={name: share * scale for name, scale in moving.items()})
            yield Fault(family=family, column=EVERY, how=f"{share:.0%}", change=change, touches=tuple(moving))
    words = tuple(name for name in everything if is_text(kinds[name]))
    if len(words) > 1:
        change = partial(_typos, columns=words)
        yield Fault(family="typos", column=EVERY, how="a tenth of the cells", change=change, touches=words)


def _of_column(column: pl.Series, span: _Span | None, *, whole: bool) -> Iterator[Fault]:
    """The faults of one column; ``span`` is there for numbers; ``whole``: it is never missing."""
    name, dtype = column.name, column.dtype
    one = partial(Fault, column=name, touches=(name,))
    change: Change = partial(_missing, columns=(name,))
    yield one(family="missing_field", how="no value", change=change, malformed=whole)
    yield one(family="absent_column", how="absent", change=partial(_absent, column=name), malformed=True)
    yield one(family="shuffled", how="shuffled", change=partial(_shuffled, column=name))
    if span is not None:
        yield from _of_number(column, span, one)
    elif is_text(dtype):
        change = partial(_filled, column=name, value=_unseen(column))
        yield one(family="unseen_category", how="another word", change=change)
        yield one(family="typos", how="a tenth of the cells", change=partial(_typos, columns=(name,)))
    elif dtype == pl.Boolean:
        flip = pl.col(name).not_()
        yield one(family="flipped", how="flipped", change=partial(_set, values=flip))
    elif isinstance(dtype, pl.Datetime | pl.Date):
        for how, step in (("a day later", "1d"), ("a year later", "1y"), ("a year earlier", "-1y")):
            moved = pl.col(name).dt.offset_by(step)
            yield one(family="shifted_time", how=how, change=partial(_set, values=moved))
    if is_number(dtype) or dtype == pl.Boolean or isinstance(dtype, pl.Datetime | pl.Date):
        yield one(family="wrong_type", how="as text", change=partial(_text, column=name), malformed=True)


def _of_number(column: pl.Series, span: _Span, one: Callable[..., Fault]) -> Iterator[Fault]:
    """The faults of a numeric column; those that its type cannot hold are left out."""
    name = column.name
    low, high, scale = span
    if low == high == 0:
        return
    if scale > 0:
        yield one(family="noise_10", how="10%", change=partial(_noise, scales={name: 0.1 * scale}))
    affine: dict[str, Callable[[pl.Expr], pl.Expr]] = {
        "× 1000": lambda value: value * 1000,
        "÷ 1000": lambda value: value / 1000,
        "× 1.8 + 32": lambda value: value * 1.8 + 32,
    }
    for how, turn in affine.items():
        yield one(family="units", how=how, change=partial(_changed, column=name, how=turn))
    width = high - low or max(abs(low), 1.0)
    least, most = limits_of(column.dtype)
    beyond = {"above": high + _BEYOND * width, "below": low - _BEYOND * width}
    for how, value in beyond.items():
        if (value < low or value > high) and least <= value <= most:
            yield one(family="out_of_range", how=f"far {how}", change=partial(_filled, column=name, value=value))
    if low >= 0 and least < 0:
        yield one(family="out_of_range", how="negative", change=partial(_changed, column=name, how=_negative))
    extremes = {min(max(value, least), most): value for value in _EXTREMES}
    for value in extremes:
        if value < low or value > high:
            change = partial(_filled, column=name, value=value)
            yield one(family="extreme", how=f"{value:.3g}", change=change, malformed=abs(value) > _FLOAT32)


def _negative(value: pl.Expr) -> pl.Expr:
    return -value.abs() - (value == 0).cast(pl.Float64)


class _Span(NamedTuple):
    """The least and the greatest finite value of a column, and their deviation; zeros where there is none."""

    low: float
    high: float
    spread: float


def _spans(table: pl.DataFrame) -> dict[str, _Span]:
    """Of each numeric column, read all at once."""
    kept = [column for column in table.iter_columns() if is_number(column.dtype)]
    if not kept:
        return {}
    values = pl.DataFrame(kept).cast(pl.Float64).fill_null(np.nan).to_numpy()
    return {column.name: _span(found[np.isfinite(found)]) for column, found in zip(kept, values.T, strict=True)}


def _span(known: NDArray[np.float64]) -> _Span:
    if not len(known):
        return _Span(0.0, 0.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond 1e154 squares overflow: such a column has no spread
        spread = float(known.std()) if len(known) > 1 else 0.0
    return _Span(float(known.min()), float(known.max()), spread if math.isfinite(spread) else 0.0)


def _unseen(column: pl.Series) -> str:
    """A word that the column does not hold."""
    seen, word = set(column.cast(pl.String).unique().to_list()), _UNSEEN
    while word in seen:
        word = f"{word}!"
    return word


def _round(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from pairwise(names)
    if len(names) > 2:
        yield names[-1], names[0]


def _missing(
    frame: pl.DataFrame, rng: np.random.Generator, *, columns: Sequence[str], share: float = 1.0
) -> pl.DataFrame:
    made = []
    for name in columns:
        lost = pl.lit(value=True) if share >= 1 else pl.lit(drawn(rng, frame.height, share))
        made.append(pl.when(~lost).then(pl.col(name)).alias(name))
    return frame.with_columns(made)


def _noise(frame: pl.DataFrame, rng: np.random.Generator, *, scales: dict[str, float]) -> pl.DataFrame:
    return frame.with_columns(noisy(frame[name], scale, rng) for name, scale in scales.items())


def _typos(frame: pl.DataFrame, rng: np.random.Generator, *, columns: Sequence[str]) -> pl.DataFrame:
    made = []
    for name in columns:
        words = frame[name].cast(pl.String).to_list()
        for place in np.flatnonzero(drawn(rng, frame.height, _TENTH).to_numpy()):
            word = words[place]
            words[place] = word if word is None else typed_wrongly(word, rng)
        made.append(pl.Series(name, words, dtype=pl.String).cast(frame.schema[name]))
    return frame.with_columns(made)


def _swapped(frame: pl.DataFrame, _rng: np.random.Generator, *, left: str, right: str) -> pl.DataFrame:
    return frame.with_columns(frame[right].alias(left), frame[left].alias(right))


def _shuffled(frame: pl.DataFrame, rng: np.random.Generator, *, column: str) -> pl.DataFrame:
    return frame.with_columns(frame[column][rng.permutation(frame.height)].alias(column))


def _absent(frame: pl.DataFrame, _rng: np.random.Generator, *, column: str) -> pl.DataFrame:
    return frame.drop(column)


def _changed(
    frame: pl.DataFrame, _rng: np.random.Generator, *, column: str, how: Callable[[pl.Expr], pl.Expr]
) -> pl.DataFrame:
    return frame.with_columns(changed(frame[column], how))


def _filled(frame: pl.DataFrame, _rng: np.random.Generator, *, column: str, value: float | str) -> pl.DataFrame:
    put = round(value) if isinstance(value, float) and frame.schema[column].is_integer() else value
    return frame.with_columns(pl.lit(put).cast(frame.schema[column]).alias(column))


def _set(frame: pl.DataFrame, _rng: np.random.Generator, *, values: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(values)


def _text(frame: pl.DataFrame, _rng: np.random.Generator, *, column: str) -> pl.DataFrame:
    return frame.with_columns(as_text(frame[column]))
