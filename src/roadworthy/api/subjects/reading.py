"""How rows become what a model without a contract takes, and which of their columns it takes.

In: rows as a source gave them. Out: number columns, and the names of the model's columns in its order. Laws: a column
is left out only where the model's own width leaves no doubt, and that is said; text that is no number is never read
as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, ModelError, Problem

__all__ = ["Chosen", "chosen_columns", "numbers_of", "numbers_read", "refuse_lacking"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The columns that a model is fed, in its order; ``note`` says what was left out and why, if anything."""

    columns: tuple[str, ...]
    note: str = ""


def numbers_read(rows: pl.DataFrame) -> pl.DataFrame:
    """Text columns that hold nothing but numbers (and blanks) as numbers, since text files hold only text."""
    read = []
    for column in rows.iter_columns():
        if column.dtype == pl.String:
            text = column.str.strip_chars().replace("", None)
            numbers = text.cast(pl.Float64, strict=False)
            if numbers.null_count() == text.null_count():
                read.append(numbers)
    return rows.with_columns(read)


def numbers_of(rows: pl.DataFrame, texts: frozenset[str] = frozenset()) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """All columns but ``texts`` as numbers, and which rows hold text that is none [N].

    No model of numbers can be asked about such rows. ``texts`` become text.
    """
    refused = np.zeros(rows.height, dtype=np.bool_)
    read = []
    for column in rows.iter_columns():
        if column.name in texts:
            read.append(column.cast(pl.String))
        elif column.dtype.is_numeric():
            continue
        elif column.dtype == pl.String or column.dtype in (pl.Categorical, pl.Enum):  # a tuple: equality tells them
            text = column.cast(pl.String).str.strip_chars().replace("", None)
            numbers = text.cast(pl.Float64, strict=False)
            refused |= (numbers.is_null() & text.is_not_null()).to_numpy()
            read.append(numbers)
    return rows.with_columns(read) if read else rows, refused


def chosen_columns(rows: pl.DataFrame, width: int | None, named: Sequence[str], model: str) -> Chosen:
    """The columns of a model that takes ``width`` numbers (None: any), and names ``named`` if it names them.

    ``rows`` are all columns but the label. Where there are more columns than the model takes, those that hold no
    numbers are left out, then those that number the rows; ModelError when the rest is not as wide as the model.
    """
    if named:
        refuse_lacking(named, rows.columns, model)
        return Chosen(tuple(named))
    if width is None or width == rows.width:
        return Chosen(tuple(rows.columns), _in_order(rows.columns, model))
    numeric = [c.name for c in numbers_read(rows).iter_columns() if c.dtype.is_numeric() or c.dtype == pl.Boolean]
    telling = [name for name in numeric if not _numbers_the_rows(rows.get_column(name))]
    for left, reason in ((numeric, "holds no numbers"), (telling, "holds no numbers or only numbers the rows")):
        if len(left) == width:
            out = ", ".join(name for name in rows.columns if name not in left)
            told = f"left out, since {model} takes {width} numbers: {out} ({reason})"
            return Chosen(tuple(left), f"{told}; {_in_order(left, model)}")
    raise ModelError(
        f"{model} takes {width} numbers per row, the rows have {rows.width}",
        problems=[
            Problem(
                f"{rows.width} columns: {_listed(rows.columns)}",
                where="the rows without the label",
                expected=f"{width} columns of numbers",
            )
        ],
        next_step="pass rows with the model's columns and the label only, in the model's order",
    )


def _in_order(columns: Sequence[str], model: str) -> str:
    """What nobody can check for a model that names no columns."""
    return f"{model} names no columns, so they are given to it in the order of the rows: {_listed(columns)}"


def refuse_lacking(named: Sequence[str], columns: Sequence[str], model: str) -> None:
    """DataError naming every column that the model was fitted on and that the rows lack."""
    problems = [Problem(f"no column {name!r}", where="the rows") for name in named if name not in columns]
    if problems:
        raise DataError(
            f"the rows lack columns that {model} was fitted on",
            problems=problems,
            next_step=f"the rows have {_listed(columns)}: rename them as they were in training",
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"


def _numbers_the_rows(column: pl.Series) -> bool:
    """Whether a column only counts: whole numbers, each one more than the one before."""
    numbers = column.cast(pl.Float64, strict=False)
    if len(numbers) < 2 or numbers.null_count():
        return False
    return bool((numbers.diff().drop_nulls() == 1).all())
