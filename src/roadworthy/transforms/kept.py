"""Who and when: the entity and the time of a live row, which the model may never see, in one form for log and feedback.

In: values as JSON has them, and their columns' contracts. Out: texts, and typed columns. Laws: a value has one text
form, the one that keyed hashing knows (42 and 42.0 are "42"); typing is the cleaning plan's; what cannot be read is
missing, since who and when are never a reason to drop a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from roadworthy.records.contract import ColumnContract, ColumnType, Contract, MissingPolicy
from roadworthy.transforms.cleaning import CleaningPlan, without_sentinels

__all__ = ["HashOne", "cleaned", "hidden", "key_text", "plain_text"]

HashOne = Callable[[str], str | None]
"""The keyed hash of one text; None where it is blank."""

_WHOLE_BELOW = 2.0**63


def plain_text(value: Any) -> str | None:
    """The text form of a JSON value, trimmed; None for null, blank, lists and objects.

    >>> plain_text(" a "), plain_text(42.0), plain_text(0.5), plain_text(True), plain_text([1]), plain_text("")
    ('a', '42', '0.5', 'true', None, None)
    """
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE_BELOW else repr(value)
    return None


def hidden(texts: Sequence[str | None], column: ColumnContract, hash_one: HashOne) -> list[str | None]:
    """Keyed hashes of a personal column's texts; a sentinel is nobody."""
    if column.sentinels:
        texts = without_sentinels(pl.Series(texts, dtype=pl.String), column.sentinels).to_list()
    return [None if text is None else hash_one(text) for text in texts]


def cleaned(texts: Sequence[str | None] | pl.Series, name: str, column: ColumnContract) -> pl.Series:
    """The texts as the contract types them; null for what cannot be read."""
    given = pl.Series(name, texts, dtype=pl.String)
    plan = _plan(name, msgspec.json.encode(column))
    typed: pl.Series = plan.apply_rows(given.to_frame())[0].get_column(name)
    return typed


def key_text(column: str, kind: pl.DataType) -> pl.Expr:
    """The text form of a typed column, by which rows and labels of one entity meet."""
    value = pl.col(column)
    if not kind.is_float():
        return value.cast(pl.String)
    whole = (value == value.floor()) & (value.abs() < _WHOLE_BELOW)
    return pl.when(whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))


@lru_cache(maxsize=16)
def _plan(name: str, column_json: bytes) -> CleaningPlan:
    """A plan that types one column and judges nothing. Columns are told apart by their content."""
    column = msgspec.json.decode(column_json, type=ColumnContract)
    column = msgspec.structs.replace(column, missing=MissingPolicy.ALLOW, unique=False, freshness="")
    time = name if column.type is ColumnType.TIME else ""
    return CleaningPlan.build(Contract(columns={name: column}), time, "")
