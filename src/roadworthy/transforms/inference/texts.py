"""What a text column holds: numbers, booleans, times, categories or free text, and how they are written.

In: the distinct trimmed values of a column with their counts. Out: a ``ColumnContract`` without ranges, and
sentences. Works on distinct values, so its cost grows with variety, not with rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from roadworthy.records.contract import ColumnContract, ColumnType
from roadworthy.transforms.cleaning.times import text_to_time
from roadworthy.transforms.inference.units import MixedUnits, find_unit, unit_pattern

__all__ = ["MARKERS", "TextShape", "shape_of_text"]

MARKERS = frozenset({
    "?", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "---", ".", "missing", "(null)", "unknown",
    "undefined", "not available", "n.a.", "\\n", "tbd", "*",
})  # fmt: skip
"""Texts that mean missing when they stand among numbers or times."""

_STRONG = frozenset({"?", "na", "n/a", "#n/a", "nan", "null", "(null)", "n.a.", "\\n", "--", "---"})
"""Texts that mean missing even among labels."""

_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_COMMA_DECIMAL = r"^[+-]?[0-9]+(?:,[0-9]+)?$"
_GROUPED = r"^[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?$"
_GROUPED_DOTS = r"^[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?$"
_GROUPED_SPACES = r"^[+-]?[0-9]{1,3}(?:[ \x{00a0}\x{202f}][0-9]{3})+(?:[.,][0-9]+)?$"
_MOSTLY = 0.95
_FORMATS = (
    "", "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d",
    "%d %b %Y", "%b %d, %Y",
)  # fmt: skip
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H.%M.%S", "T%H:%M:%S")
_AMBIGUOUS = {"%d/%m/%Y": "%m/%d/%Y", "%d-%m-%Y": "%m-%d-%Y"}
_PROBE = 3_000


@dataclass(slots=True)
class TextShape:
    """The type, how to read it, and what to say about it (kind, sentence)."""

    column: ColumnContract
    sentences: list[tuple[str, str]] = field(default_factory=list)
    free_text: bool = False
    unreadable: int = 0


def shape_of_text(counts: pl.DataFrame, *, is_target: bool) -> TextShape:
    """The shape of a column from ``value`` (trimmed, not empty, not null) and ``count``."""
    if counts.height == 0:
        return TextShape(ColumnContract(type=ColumnType.CATEGORY))
    lowered = pl.col("value").str.to_lowercase()
    plain = counts.filter(~lowered.is_in(list(MARKERS)))
    shape = _numbers(counts, plain) or _times(counts, plain) or _booleans(plain, is_target=is_target)
    return shape or _labels(counts, is_target=is_target)


def _share(counts: pl.DataFrame, condition: pl.Expr) -> float:
    total = int(counts.get_column("count").sum())
    return float(counts.filter(condition).get_column("count").sum()) / total if total else 0.0


def _found_markers(counts: pl.DataFrame, markers: frozenset[str]) -> tuple[tuple[str, ...], int]:
    found = counts.filter(pl.col("value").str.to_lowercase().is_in(list(markers)))
    return tuple(found.get_column("value").sort().to_list()), int(found.get_column("count").sum())


def _numbers(counts: pl.DataFrame, plain: pl.DataFrame) -> TextShape | None:
    value = pl.col("value")
    readings: list[tuple[str, str, str, str]] = [
        (_NUMBER, ".", "", ""),
        (f"{_GROUPED}|{_NUMBER}", ".", ",", "thousands separated by commas"),
        (_COMMA_DECIMAL, ",", "", "a comma as decimal mark"),
        (f"{_GROUPED_DOTS}|{_COMMA_DECIMAL}", ",", ".", "a comma as decimal mark and dots between thousands"),
        (f"{_GROUPED_SPACES}|{_NUMBER}", ".", " ", "thousands separated by spaces"),
    ]
    try:
        unit = find_unit(plain)
    except MixedUnits:
        return None
    stripped = plain.with_columns(value.str.replace(unit_pattern(unit), "")) if unit else plain
    # a code such as 007 or 01234 loses its meaning as a number
    if _share(plain, value.str.contains(r"^0[0-9]+$")) > 0.02:
        return None
    for pattern, decimal, thousands, spoken in readings:
        readable = stripped.filter(value.str.contains(pattern))
        share = float(readable.get_column("count").sum()) / max(1, int(plain.get_column("count").sum()))
        if share < _MOSTLY:
            continue
        whole = bool(readable.select(value.str.contains(r"^[+-]?[0-9 ,]+$").all()).item()) and decimal == "."
        markers, marked = _found_markers(counts, MARKERS)
        column = ColumnContract(
            type=ColumnType.INTEGER if whole else ColumnType.NUMBER,
            sentinels=markers, unit=unit, decimal=decimal, thousands=thousands,
        )  # fmt: skip
        shape = TextShape(column, unreadable=round((1 - share) * int(plain.get_column("count").sum())))
        bare = bool(unit) and _share(plain, value.str.contains(unit_pattern(unit))) < 1
        _say_number(shape, markers, marked, unit, spoken, bare_share=bare)
        return shape
    return None


def _say_number(
    shape: TextShape, markers: tuple[str, ...], marked: int, unit: str, spoken: str, *, bare_share: bool
) -> None:
    if markers:
        shape.sentences.append(("sentinel", f"{_quoted(markers)} stand for missing in {marked:,} cells among numbers"))
    if unit:
        one = f"the unit {unit!r}" if "|" not in unit else f"a unit, written as {_quoted(tuple(unit.split('|')))}"
        bare = " (other cells are bare; check that they mean the same)" if bare_share else ""
        shape.sentences.append(("unit", f"numbers carry {one}, which is taken off{bare}"))
    if spoken:
        shape.sentences.append(("number format", f"numbers are written with {spoken}"))
    if shape.unreadable:
        shape.sentences.append(
            ("unreadable", f"{shape.unreadable:,} cells are not numbers and will send their rows to quarantine")
        )


def _times(counts: pl.DataFrame, plain: pl.DataFrame) -> TextShape | None:
    head = plain.head(_PROBE)
    if not head.height or _share(head, pl.col("value").str.contains(r"[0-9]{1,4}.*[0-9]{2}")) < _MOSTLY:
        return None
    for date in _FORMATS:
        for clock in _CLOCKS if date else ("",):
            time_format = date + clock
            if _share(head, text_to_time(pl.col("value"), time_format).is_not_null()) < 0.99:
                continue
            markers, marked = _found_markers(counts, MARKERS)
            shape = TextShape(ColumnContract(type=ColumnType.TIME, time_format=time_format, sentinels=markers))
            written = f"written as {time_format}" if time_format else "written as ISO 8601"
            shape.sentences.append(("time format", f"instants {written}, taken as UTC"))
            other = _AMBIGUOUS.get(date)
            if other and _share(head, text_to_time(pl.col("value"), other + clock).is_not_null()) >= 0.99:
                shape.sentences.append(
                    ("ambiguous", f"every date also reads as {other}; check which of the two is meant")
                )
            if markers:
                shape.sentences.append(("sentinel", f"{_quoted(markers)} stand for missing in {marked:,} cells"))
            return shape
    return None


_PAIRS = (frozenset({"yes", "no"}), frozenset({"true", "false"}), frozenset({"t", "f"}), frozenset({"y", "n"}))


def _booleans(plain: pl.DataFrame, *, is_target: bool) -> TextShape | None:
    found = frozenset(plain.select(pl.col("value").str.to_lowercase()).to_series().unique().to_list())
    pairs = (frozenset({"true", "false"}),) if is_target else _PAIRS
    if found not in pairs:
        return None
    shape = TextShape(ColumnContract(type=ColumnType.BOOLEAN))
    if found != frozenset({"true", "false"}):
        shape.sentences.append(("boolean", f"{_quoted(tuple(sorted(found)))} are read as false and true"))
    return shape


def _labels(counts: pl.DataFrame, *, is_target: bool) -> TextShape:
    markers, marked = _label_markers(counts)
    rest = counts.filter(~pl.col("value").is_in(list(markers))) if markers else counts
    rows, distinct = int(rest.get_column("count").sum()), rest.height
    suffix = _suffix(rest)
    lengths = rest.select(
        ((pl.col("value").str.count_matches(" ") * pl.col("count")).sum() / rows).alias("spaces"),
        ((pl.col("value").str.len_chars() * pl.col("count")).sum() / rows).alias("characters"),
    ).row(0) if rows else (0.0, 0.0)  # fmt: skip
    free = not is_target and distinct > 50 and distinct > 0.2 * rows and (lengths[0] >= 3 or lengths[1] >= 40)
    names_things = not is_target and distinct > 50 and distinct > 0.5 * rows
    kind = ColumnType.TEXT if free or names_things else ColumnType.CATEGORY
    shape = TextShape(ColumnContract(type=kind, sentinels=markers, strip_suffix=suffix), free_text=free)
    if markers:
        shape.sentences.append(("sentinel", f"{_quoted(markers)} stand for missing in {marked:,} cells"))
    if suffix:
        shape.sentences.append(("label", f"some labels end in {suffix!r}, otherwise they are the same; it is removed"))
    if free:
        shape.sentences.append(("free text", f"free text ({lengths[1]:.0f} characters on average): no model input"))
    elif names_things:
        shape.sentences.append(("text", f"{distinct:,} different texts in {rows:,} rows: too many for categories"))
    return shape


def _label_markers(counts: pl.DataFrame) -> tuple[tuple[str, ...], int]:
    markers, marked = _found_markers(counts, _STRONG)
    others = counts.filter(~pl.col("value").is_in(list(markers)))
    # among two-letter codes "NA" may be a code like the others (Namibia)
    if others.height and bool(others.select(pl.col("value").str.contains(r"^[A-Z]{2}$").all()).item()):
        kept = tuple(marker for marker in markers if marker != "NA")
        marked = int(counts.filter(pl.col("value").is_in(list(kept))).get_column("count").sum())
        return kept, marked
    return markers, marked


def _suffix(labels: pl.DataFrame) -> str:
    """A trailing dot that some labels carry and others, otherwise equal, do not."""
    if labels.height > 2_000:
        return ""
    values = set(labels.get_column("value").to_list())
    dotted = [value for value in values if value.endswith(".") and value[:-1] in values]
    return "." if dotted and len(dotted) >= 0.5 * sum(value.endswith(".") for value in values) else ""


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(repr(value) for value in values)
