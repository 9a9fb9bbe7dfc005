"""The plan for rows of one schema: every condition built once, as expressions over raw and clean columns.

In: a sound contract and the raw schema. Out: ``Compiled``: steps to the clean values, named flags that send a row
to quarantine, repairs to count, and notes. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_

import polars as pl

from roadworthy.errors import DataError, Problem, nearest
from roadworthy.records.contract import Breach, ColumnContract, ColumnType, Contract, MissingPolicy
from roadworthy.transforms.cleaning.declared import RESERVED, Rule, reserved_name, whole_pattern
from roadworthy.transforms.cleaning.reading import clean_type, read_column

__all__ = ["PREFIX", "Compiled", "Flag", "compile_plan", "fresh_flag", "refuse_absent"]

PREFIX = "__rw"
_FEW = 4


@dataclass(frozen=True, slots=True)
class Flag:
    """One reason for quarantine: true marks the row; null counts as false. ``column`` is empty for rules."""

    reason: str
    condition: pl.Expr
    breach: Breach
    column: str = ""


@dataclass(slots=True)
class Compiled:
    """What a plan does to rows of one schema.

    After ``prepare`` every contract column holds its clean value under its own name, ``copies`` maps it to the
    column that still holds the raw one. ``flags`` are the row-wise reasons, ``repairs`` the cells that were
    mended, ``unique`` pairs a reason with the columns whose values together must not repeat.
    """

    raw: tuple[str, ...]
    columns: tuple[str, ...]
    copies: dict[str, str]
    steps: list[dict[str, pl.Expr]] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    repairs: dict[str, pl.Expr] = field(default_factory=dict)
    unique: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def prepare(self, raw: pl.LazyFrame) -> pl.LazyFrame:
        """The raw rows with ``_row`` and the clean values beside the raw copies."""
        frame = raw if "_row" in self.raw else raw.with_row_index("_row")
        frame = frame.with_columns(pl.col("_row").cast(pl.Int64))
        frame = frame.with_columns(pl.col(name).alias(copy) for name, copy in self.copies.items())
        for step in self.steps:
            frame = frame.with_columns(expression.alias(name) for name, expression in step.items())
        return frame

    def as_they_came(self) -> list[pl.Expr]:
        """Every raw column under its own name, from a prepared frame."""
        names = [name for name in self.raw if name != "_row"]
        return [pl.col(self.copies[name]).alias(name) if name in self.copies else pl.col(name) for name in names]


def compile_plan(
    contract: Contract,
    rules: tuple[Rule, ...],
    schema: Mapping[str, pl.DataType],
    *,
    absent: Collection[str] = (),
) -> Compiled:
    """The plan for this raw schema, without freshness (which needs the newest time first).

    ``absent`` are columns that may lack in live rows: they travel as missing and are not judged. Raises DataError
    naming every column that lacks.
    """
    _refuse_reserved(schema)
    refuse_absent(contract, schema, absent)
    copies = {name: f"{PREFIX}{at}_raw" for at, name in enumerate(contract.columns) if name in schema}
    plan = Compiled(tuple(schema), tuple(contract.columns), copies)
    values: dict[str, pl.Expr] = {}
    for at, (name, column) in enumerate(contract.columns.items()):
        if name not in schema:
            values[name] = pl.lit(None, dtype=clean_type(column.type))
            continue
        values[name] = _add_column(plan, name, column, schema[name], f"{PREFIX}{at}_")
    plan.steps.append(values)
    plan.flags += [Flag(rule.reason, ~rule.condition, Breach.RULE) for rule in rules]
    plan.unique += [(f"{name}: not unique", (name,)) for name, column in contract.columns.items() if column.unique]
    if contract.duplicates == "drop":
        plan.unique.append(("row: equal to an earlier one", tuple(contract.columns)))
    extra = [name for name in schema if name not in contract.columns and name != "_row"]
    plan.notes = tuple(f"column {name!r} is not in the contract; it was left out" for name in extra)
    return plan


def _add_column(plan: Compiled, name: str, column: ColumnContract, raw: pl.DataType, prefix: str) -> pl.Expr:
    reading = read_column(pl.col(plan.copies[name]), raw, column, prefix)
    for depth, step in enumerate(reading.steps):
        while len(plan.steps) <= depth:
            plan.steps.append({})
        plan.steps[depth].update(step)
    plan.flags += [Flag(f"{name}: {what}", condition, Breach.TYPE, name) for what, condition in reading.unreadable]
    plan.flags += [
        Flag(f"{name}: {what}", condition, breach, name)
        for what, condition, breach in _broken(name, column, reading.unreadable)
    ]
    plan.repairs.update({f"{name}: {what}": condition for what, condition in reading.repairs})
    return reading.value


def _broken(
    name: str, column: ColumnContract, unreadable: list[tuple[str, pl.Expr]]
) -> list[tuple[str, pl.Expr, Breach]]:
    value = pl.col(name)
    found: list[tuple[str, pl.Expr, Breach]] = []
    if column.missing == MissingPolicy.REJECT:
        missing = value.is_null()
        for _, condition in unreadable:
            missing &= ~condition.fill_null(value=False)
        found.append(("missing", missing, Breach.MISSING))
    if column.min is not None:
        found.append((f"below {column.min:.15g}", value < _bound(column.min, column.type), Breach.RANGE))
    if column.max is not None:
        found.append((f"above {column.max:.15g}", value > _bound(column.max, column.type), Breach.RANGE))
    if column.allowed:
        found.append(("not an allowed category", ~_one_of(value, column.allowed), Breach.ALLOWED))
    if column.pattern:
        unlike = ~value.str.contains(whole_pattern(column.pattern))
        found.append(("does not match the pattern", unlike, Breach.PATTERN))
    return found


def _one_of(value: pl.Expr, allowed: tuple[str, ...]) -> pl.Expr:
    """Whether a text is one of several; a few comparisons are faster than a hash table, many are slower."""
    if len(allowed) > _FEW:
        return value.is_in(list(allowed))
    return reduce(or_, [value == one for one in allowed])


def _bound(bound: float, kind: ColumnType) -> float | int:
    # integers are compared as integers where the bound is one, so that nothing is lost near 2**53
    return int(bound) if kind is ColumnType.INTEGER and float(bound).is_integer() and abs(bound) < 2**62 else bound


def fresh_flag(name: str, words: str, oldest: datetime) -> Flag:
    """The flag for instants older than the contract lets them be."""
    old = pl.col(name) < pl.lit(oldest, dtype=pl.Datetime("us"))
    return Flag(f"{name}: older than {words}", old, Breach.RANGE, name)


def _refuse_reserved(schema: Mapping[str, pl.DataType]) -> None:
    reserved = [name for name in schema if name != RESERVED[0] and reserved_name(name)]
    if reserved:
        raise DataError(
            f"the data has a column with a reserved name: {', '.join(map(repr, reserved))}",
            next_step="rename it in the source, then `roadworthy run`",
        )


def refuse_absent(contract: Contract, schema: Mapping[str, pl.DataType], absent: Collection[str] = ()) -> None:
    """DataError naming every declared column that lacks, except those that may be ``absent``."""
    problems = []
    for name in contract.columns:
        if name not in schema and name not in absent:
            close = nearest(name, [other for other in schema if other not in contract.columns])
            hint = f"; did you mean {close!r}?" if close else ""
            problems.append(Problem(f"column {name!r} is not in the data{hint}", where=f"[contract.columns.{name}]"))
    if problems:
        found = ", ".join(repr(name) for name in schema if name not in RESERVED) or "no column"
        raise DataError(
            f"{len(problems)} of {len(contract.columns)} declared columns lack in the data, which has {found}",
            problems=problems,
            next_step="correct the names under [contract.columns] in roadworthy.toml or in the source",
        )
