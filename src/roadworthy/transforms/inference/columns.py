"""One column at a time: its type, how it is written, what stands for missing, what is natural about it.

In: a raw column. Out: a ``Profile``: its contract, facts about it, and notes. Categories are listed as allowed only
where the list looks complete; a minimum is set only where it is natural (counts do not fall below 0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import msgspec
import polars as pl

from roadworthy.records.contract import ColumnContract, ColumnType
from roadworthy.transforms.inference import names
from roadworthy.transforms.inference.result import Note
from roadworthy.transforms.inference.sentinels import numeric_sentinels
from roadworthy.transforms.inference.texts import shape_of_text
from roadworthy.transforms.inference.units import unit_pattern

__all__ = ["Profile", "profile"]

_LISTED = 30
_SEEN = 5
_EXACT = 2**53
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$")
_IP = re.compile(r"^(?:\d{1,3}\.){3}\d{1,3}$|^[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){4,7}$")
_PHONE = re.compile(r"^(?:\+\d{1,3}[ .-]?|\(\d{2,5}\)[ .-]?|0\d{2,4}[ .-/])(?:[\d]{2,5}[ .-]?){2,4}\d$")
_CARD = re.compile(r"^(?:\d[ -]?){13,19}$")
_IBAN = re.compile(r"^[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?$")


@dataclass(slots=True)
class Profile:
    """What is known of a column. ``filled`` and ``distinct`` count over ``rows``; ``personal`` says what, or ""."""

    name: str
    column: ColumnContract
    rows: int
    filled: int
    distinct: int
    free_text: bool = False
    personal: str = ""
    dense: bool = False
    notes: list[Note] = field(default_factory=list)

    def note(self, kind: str, sentence: str) -> None:
        """Adds a sentence about this column."""
        self.notes.append(Note(self.name, kind, sentence))


def profile(column: pl.Series, *, is_target: bool) -> Profile:
    """The profile of a raw column."""
    raw = column.dtype
    if isinstance(raw, (pl.String, pl.Categorical, pl.Enum)):
        return _of_text(column, is_target=is_target)
    if raw.is_numeric():
        return _of_numbers(column, is_target=is_target)
    kinds: dict[type[pl.DataType], ColumnType] = {
        pl.Boolean: ColumnType.BOOLEAN, pl.Datetime: ColumnType.TIME, pl.Date: ColumnType.TIME,
        pl.Duration: ColumnType.NUMBER, pl.Null: ColumnType.CATEGORY,
    }  # fmt: skip
    kind = kinds.get(type(raw), ColumnType.TEXT)
    filled = column.len() - column.null_count()
    distinct = 0 if raw.is_nested() or isinstance(raw, pl.Object) else column.drop_nulls().n_unique()
    found = Profile(column.name, ColumnContract(type=kind), column.len(), filled, distinct)
    if raw.is_nested() or isinstance(raw, (pl.Object, pl.Binary)):
        found.note("unreadable", f"values of type {raw} cannot be used; leave the column out at the source")
    found.personal = names.personal(column.name)
    return found


def _of_text(column: pl.Series, *, is_target: bool) -> Profile:
    text = column.cast(pl.String)
    trimmed = text.str.strip_chars()
    counts = trimmed.rename("value").value_counts(name="count").filter(
        pl.col("value").is_not_null() & (pl.col("value") != "")
    ).sort(["count", "value"], descending=[True, False])  # fmt: skip
    found = Profile(column.name, ColumnContract(type=ColumnType.TEXT), column.len(), 0, 0)
    found.personal = names.personal(column.name) or _personal_values(counts)
    blanks, spaced = int((trimmed == "").sum()), int(((text != trimmed) & (trimmed != "")).sum())
    shape = shape_of_text(counts, is_target=is_target)
    markers = shape.column.sentinels
    rest = counts.filter(~pl.col("value").is_in(list(markers))) if markers else counts
    found.filled, found.distinct = int(rest.get_column("count").sum()), rest.height
    found.column, found.free_text = shape.column, shape.free_text
    if found.personal:
        return found
    if blanks:
        found.note("blank", f"{blanks:,} blank cells are taken as missing")
    if spaced:
        found.note("spaces", f"{spaced:,} cells carry spaces around their value, which are trimmed")
    for kind, sentence in shape.sentences:
        found.note(kind, sentence)
    if found.column.type in {ColumnType.INTEGER, ColumnType.NUMBER}:
        found.note("text to number", f"{found.filled:,} numbers are written as text")
        _add_numeric_facts(found, _numbers_in(rest, found.column), is_target=is_target)
    elif found.column.type is ColumnType.CATEGORY and not is_target:
        _add_labels(found, rest)
    return found


def _numbers_in(counts: pl.DataFrame, column: ColumnContract) -> pl.DataFrame:
    value = pl.col("value")
    if column.unit:
        value = value.str.replace(unit_pattern(column.unit), "")
    if column.thousands:
        value = value.str.replace_all(rf"[{re.escape(column.thousands)}\x{{00a0}}\x{{202f}}]", "")
    if column.decimal != ".":
        value = value.str.replace(column.decimal, ".", literal=True)
    numbers = counts.select(value.cast(pl.Float64, strict=False).alias("value"), "count")
    return numbers.drop_nulls().filter(pl.col("value").is_finite()).group_by("value").agg(pl.col("count").sum())


def _of_numbers(column: pl.Series, *, is_target: bool) -> Profile:
    raw = column.dtype
    kind = ColumnType.INTEGER if raw.is_integer() else ColumnType.NUMBER
    numbers = column.cast(pl.Float64)
    holes = int(numbers.is_nan().sum())
    infinite = int(numbers.is_infinite().sum())
    counts = numbers.rename("value").value_counts(name="count").filter(pl.col("value").is_finite())
    filled = int(counts.get_column("count").sum())
    found = Profile(column.name, ColumnContract(type=kind), column.len(), filled, counts.height)
    found.personal = names.personal(column.name)
    if holes:
        found.note("missing", f"{holes:,} cells hold NaN, which is taken as missing")
    if infinite:
        found.note("unreadable", f"{infinite:,} cells are infinite and will send their rows to quarantine")
    if not found.personal:
        _add_numeric_facts(found, counts, is_target=is_target)
    return found


def _add_numeric_facts(found: Profile, counts: pl.DataFrame, *, is_target: bool) -> None:
    if not counts.height:
        return
    codes, sentences = numeric_sentinels(counts)
    for sentence in sentences:
        found.note("sentinel", sentence)
    if codes:
        marked = counts.get_column("value").is_in(codes)
        found.filled -= int(counts.filter(marked).get_column("count").sum())
        found.distinct -= len(codes)
        written = tuple(f"{code:.15g}" for code in codes)
        found.column = msgspec.structs.replace(found.column, sentinels=(*found.column.sentinels, *written))
        counts = counts.filter(~marked)
    values = counts.get_column("value")
    low, high = values.min(), values.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return
    epoch = _epoch(low, high) if names.time_like(found.name) and not is_target else ""
    if epoch:
        found.column = ColumnContract(type=ColumnType.TIME, time_format=epoch, sentinels=found.column.sentinels)
        found.note("time format", f"numbers between {low:.0f} and {high:.0f} are read as {epoch}, in UTC")
        return
    if (
        found.column.type is ColumnType.INTEGER
        and max(-low, high) > _EXACT
        and not _still_whole(found, counts, is_target=is_target)
    ):
        return
    if found.column.type is ColumnType.INTEGER:
        found.dense = found.distinct == found.filled and high - low < 1.2 * found.filled
    whole_amount = found.column.type is ColumnType.INTEGER and high > 1
    if low >= 0 and not is_target and (whole_amount or names.never_negative(found.name)):
        found.column = msgspec.structs.replace(found.column, min=0)


def _still_whole(found: Profile, counts: pl.DataFrame, *, is_target: bool) -> bool:
    """Whether a column with whole numbers beyond ±2^53, where doubles skip some, is one of whole numbers even so."""
    vast = int(counts.filter(pl.col("value").abs() > _EXACT).get_column("count").sum())
    told = f"{vast:,} whole numbers are beyond ±2^53, where digits are lost"
    if is_target or vast < 0.05 * found.filled:
        found.note("unreadable", f"{told}; they will send their rows to quarantine")
        return True
    more = "if they are amounts, give them in a larger unit at the source"
    found.note("identifier", f"{told}; the column is taken as text, no model input; {more}")
    found.column = ColumnContract(type=ColumnType.TEXT, sentinels=found.column.sentinels)
    return False


def _epoch(low: float, high: float) -> str:
    """The unit in which all numbers lie between 1980 and 2100; empty when there is none."""
    first, last = 315_532_800, 4_102_444_800
    units = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}
    return next((unit for unit, per in units.items() if first * per <= low <= high <= last * per), "")


def _add_labels(found: Profile, counts: pl.DataFrame) -> None:
    suffix = found.column.strip_suffix
    labels = counts.with_columns(pl.col("value").str.strip_suffix(suffix)) if suffix else counts
    labels = labels.group_by("value").agg(pl.col("count").sum()).sort(["count", "value"], descending=[True, False])
    found.distinct = labels.height
    if not 0 < labels.height <= _LISTED:
        return
    rare = labels.filter(pl.col("count") < _SEEN).height
    if rare:
        found.note("categories", f"{rare} of {labels.height} labels were seen fewer than {_SEEN} times: more may exist,"
                   " so new ones are let in")  # fmt: skip
    else:
        allowed = tuple(labels.get_column("value").sort().to_list())
        found.column = msgspec.structs.replace(found.column, allowed=allowed)
    folded = labels.select(pl.col("value").str.to_lowercase().n_unique()).item()
    if folded < labels.height:
        found.note("label", f"{labels.height - folded} labels differ from others in upper and lower case only")


def _personal_values(counts: pl.DataFrame) -> str:
    """What the most common values look like, where at least half of them look it."""
    head = counts.head(200).get_column("value").to_list()
    if not head:
        return ""
    looks = {
        "e-mail addresses": _EMAIL, "IP addresses": _IP, "telephone numbers": _PHONE,
        "bank account numbers": _IBAN,
    }  # fmt: skip
    for what, pattern in looks.items():
        if sum(bool(pattern.match(value)) for value in head) >= 0.5 * len(head):
            return f"values that look like {what}"
    cards = [value for value in head if _CARD.match(value) and _luhn(value)]
    return "values that look like card numbers" if len(cards) >= 0.9 * len(head) else ""


def _luhn(text: str) -> bool:
    digits = [int(mark) for mark in text if mark.isdigit()][::-1]
    doubled = [digit if at % 2 == 0 else sum(divmod(2 * digit, 10)) for at, digit in enumerate(digits)]
    return sum(doubled) % 10 == 0
