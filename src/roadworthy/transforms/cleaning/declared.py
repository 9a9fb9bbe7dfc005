"""Is the contract itself sound? All problems at once, before a single row is read.

In: a ``Contract``. Out: the facts that cleaning needs beyond it (spans in microseconds, rules as expressions), or
one ``ProjectFileError`` whose problems name the table of the project file they stand in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec
import polars as pl

from roadworthy.errors import ExpressionError, Problem, ProjectFileError, RoadworthyError, nearest
from roadworthy.records.contract import ColumnContract, ColumnType, Contract, MissingPolicy
from roadworthy.transforms.cleaning.times import EPOCHS, format_problem
from roadworthy.transforms.durations import microseconds
from roadworthy.transforms.expressions import Kind, kind_of, parse, to_polars

__all__ = [
    "RESERVED",
    "Rule",
    "check_contract",
    "contract_for_hashed",
    "reserved_name",
    "whole_pattern",
    "without_sentinels",
]

RESERVED = ("_row", "_reasons")
"""Names that Roadworthy's own tables carry."""

_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER)
_LABELS = (ColumnType.CATEGORY, ColumnType.TEXT)
_DUPLICATES = ("keep", "drop")

# which types a setting makes sense for; every other use is a mistake worth naming
_FITS: dict[str, tuple[ColumnType, ...]] = {
    "min": _NUMERIC,
    "max": _NUMERIC,
    "unit": _NUMERIC,
    "thousands": _NUMERIC,
    "decimal": _NUMERIC,
    "allowed": _LABELS,
    "pattern": _LABELS,
    "strip_suffix": (*_LABELS, ColumnType.BOOLEAN),
    "time_format": (ColumnType.TIME,),
    "freshness": (ColumnType.TIME,),
}


def reserved_name(name: str) -> bool:
    """Whether a column may not be called so: names of Roadworthy's own tables, and what Polars reads as a pattern.

    >>> [reserved_name(name) for name in ("_row", "*", "^a.*$", "row")]
    [True, True, True, False]
    """
    pattern = name == "*" or (name.startswith("^") and name.endswith("$"))
    return pattern or name in RESERVED or name.startswith("__rw")


class Rule(msgspec.Struct, frozen=True):
    """One cross-column rule: its text, and the Polars condition over clean columns."""

    text: str
    condition: pl.Expr

    @property
    def reason(self) -> str:
        """The reason a row gets for which the condition is false."""
        return f"rule: {self.text} is false"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, by name."""
        return tuple(sorted(set(self.condition.meta.root_names())))


def whole_pattern(pattern: str) -> str:
    """The pattern anchored so that it must match the whole value."""
    return f"^(?:{pattern})$"


def contract_for_hashed(contract: Contract, hashed: Iterable[str]) -> Contract:
    """The contract as it reads once the personal columns are keyed hashes.

    A hash has no range, pattern or unit: such a column is text; missing and unique still mean what they say, and so
    do sentinels, which ``without_sentinels`` takes out before a value is hashed.
    """
    hidden = set(hashed)
    columns = {
        name: ColumnContract(
            type=ColumnType.TEXT, missing=column.missing, unique=column.unique, sentinels=column.sentinels
        )
        if name in hidden
        else column
        for name, column in contract.columns.items()
    }
    return msgspec.structs.replace(contract, columns=columns)


def without_sentinels(values: pl.Series, sentinels: Iterable[str]) -> pl.Series:
    """The same values, null where one is a sentinel; for columns that are hashed before cleaning sees them.

    Texts are compared after trimming, numbers as numbers: ``"-1"`` is -1 and -1.0 alike. Without this all rows that
    say "unknown" would become one person.
    """
    words = pl.Series([word.strip() for word in sentinels], dtype=pl.String)
    if words.is_empty() or values.dtype.is_nested():
        return values
    if values.dtype.is_numeric():
        codes = words.cast(pl.Float64, strict=False).drop_nulls()
        marked = values.cast(pl.Float64).is_in(codes.implode())
    else:
        texts = values if values.dtype == pl.String else values.cast(pl.String)
        marked = texts.str.strip_chars().is_in(words.implode())
    return values.zip_with(~marked.fill_null(value=False), pl.Series([None], dtype=values.dtype))


def check_contract(contract: Contract, time: str, target: str) -> tuple[tuple[Rule, ...], dict[str, int]]:
    """The rules as conditions, and each column's freshness in microseconds.

    Raises ProjectFileError with every problem when the contract contradicts itself.
    """
    problems: list[Problem] = []
    ages: dict[str, int] = {}
    if not contract.columns:
        problems.append(Problem("no column is declared", expected="at least one", where="[contract.columns]"))
    for name, column in contract.columns.items():
        where = f"[contract.columns.{name}]"
        problems += [Problem(found, expected=wanted, where=where) for found, wanted in _column_problems(name, column)]
        if column.freshness and column.type is ColumnType.TIME:
            try:
                ages[name] = microseconds(column.freshness)
            except RoadworthyError as error:
                problems.append(Problem(f"freshness: {error.message}", where=where))
    if contract.duplicates not in _DUPLICATES:
        problems.append(
            Problem(f"duplicates = {contract.duplicates!r}", expected='"keep" or "drop"', where="[contract]")
        )
    problems += _special_problems(contract, time, target)
    rules = _rules(contract, problems)
    if problems:
        raise ProjectFileError(
            "the contract cannot be used",
            problems=problems,
            next_step="correct these places in roadworthy.toml, then `roadworthy run`",
        )
    return rules, ages


def _special_problems(contract: Contract, time: str, target: str) -> Iterator[Problem]:
    for key, name in (("[data] time", time), ("[project] target", target)):
        if name and name not in contract.columns:
            close = nearest(name, contract.columns)
            hint = f"; did you mean {close!r}?" if close else ""
            yield Problem(f"column {name!r} is not in the contract{hint}", expected="a declared column", where=key)
    if time and time in contract.columns and contract.columns[time].type is not ColumnType.TIME:
        yield Problem(
            f"the time column has type {contract.columns[time].type.value!r}",
            expected='type = "time"',
            where=f"[contract.columns.{time}]",
        )


def _column_problems(name: str, column: ColumnContract) -> Iterator[tuple[str, str]]:
    if reserved_name(name):
        yield f"the name {name!r} is reserved", "another name"
    defaults = ColumnContract(type=column.type)
    for setting, types in _FITS.items():
        if getattr(column, setting) != getattr(defaults, setting) and column.type not in types:
            fitting = ", ".join(kind.value for kind in types)
            yield f"{setting} does not apply to type {column.type.value!r}", f"type {fitting}"
    yield from _range_problems(column)
    yield from _mark_problems(column)
    if column.pattern:
        yield from _pattern_problems(column.pattern)
    if len(set(column.allowed)) != len(column.allowed):
        yield "allowed names a value twice", "each value once"
    if column.missing == MissingPolicy.REJECT and "" in column.allowed:
        yield 'allowed holds "", which means missing, and missing = "reject"', "one or the other"
    if column.time_format and column.time_format not in EPOCHS:
        problem = format_problem(column.time_format)
        if problem:
            yield f"time_format {column.time_format!r}: {problem}", 'a chrono format such as "%d/%m/%Y %H:%M:%S"'


def _range_problems(column: ColumnContract) -> Iterator[tuple[str, str]]:
    for setting, bound in (("min", column.min), ("max", column.max)):
        if bound is not None and not math.isfinite(bound):
            yield f"{setting} = {bound}", "a finite number"
    if column.min is not None and column.max is not None and column.min > column.max:
        yield f"min = {column.min:g} is above max = {column.max:g}", "min not above max"


def _mark_problems(column: ColumnContract) -> Iterator[tuple[str, str]]:
    for setting, mark in (("decimal", column.decimal), ("thousands", column.thousands)):
        if len(mark) > 1 or (mark and (mark.isalnum() or mark in "+-")):
            yield f"{setting} = {mark!r}", "one mark, such as ',' or '.'"
    if not column.decimal:
        yield "decimal is empty", "one mark, such as ',' or '.'"
    if column.decimal == column.thousands:
        yield f"decimal and thousands are both {column.decimal!r}", "two different marks"


def _pattern_problems(pattern: str) -> Iterator[tuple[str, str]]:
    try:
        pl.Series([""], dtype=pl.String).str.contains(whole_pattern(pattern))
        re.compile(pattern)
    except (pl.exceptions.ComputeError, re.error) as error:
        yield f"pattern {pattern!r}: {str(error).splitlines()[0]}", "a regular expression without look-around"


def _rules(contract: Contract, problems: list[Problem]) -> tuple[Rule, ...]:
    kinds: Mapping[str, Kind] = {name: kind_of(column.type) for name, column in contract.columns.items()}
    rules = []
    for position, text in enumerate(contract.rules):
        where = f"[contract] rules[{position}]"
        try:
            expression = parse(text, kinds, where=where)
        except ExpressionError as error:
            problems += [
                Problem(one.found, expected=one.expected, where=f"{where} {text!r}, {one.where}")
                for one in error.problems
            ] or [Problem(error.message, where=where)]
            continue
        if expression.kind is not Kind.BOOLEAN:
            problems.append(
                Problem(f"{text!r} is of kind {expression.kind.value}", expected="a condition", where=where)
            )
            continue
        rules.append(Rule(text, to_polars(expression)))
    return tuple(rules)
