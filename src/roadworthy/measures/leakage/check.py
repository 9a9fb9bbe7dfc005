"""The check: every test for leaks on one examined model.

In: an ``Examined`` model and a ``Brief``. Out: findings, one per kind and subject, and the metric ``leaks``.

Columns are tested on the rows that the model learned from, where they are known, else on the rows it is inspected on;
what compares the sides of the split needs both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.leakage.grading import leaks_measurement, strongest
from roadworthy.measures.leakage.missing import missing_leaks
from roadworthy.measures.leakage.powers import column_powers, logit, target_leaks
from roadworthy.measures.leakage.reliance import known_question, relied_on, shuffle_control, with_and_without
from roadworthy.measures.leakage.sides import dated_after, entity_overlap, time_order, time_overlap
from roadworthy.measures.leakage.sums import MOST_SUMMED, target_sums
from roadworthy.measures.leakage.twins import twins_across
from roadworthy.measures.samples import entity_codes
from roadworthy.measures.surrogates import DRAWN, Surrogate
from roadworthy.records.evidence import Finding, Found
from roadworthy.records.project import Task

__all__ = ["leakage"]

_NAME = "leakage"
_LEAST_ROWS = 50
_MOST_ASKED = 6
_CONFIRMED_STEP = 1.0
_TELLING = 0.9
_TIMELY = 0.02
_PAIRED = (40, 12)


def leakage(examined: Examined, brief: Brief) -> Found:
    """Leaks of ``examined``: proven ones fail, others are suspected and carry a question.

    Where only ``examined.rows`` are known, columns are tested on them, and nothing is said about the split. Fewer
    than 50 rows, or an outcome that never changes, prove nothing about a column: only what is exact is then counted.
    """
    table = _Table.of(examined, brief)
    findings = strongest([*_of_columns(table, brief), *_of_sides(examined, table.columns, brief)])
    measured = leaks_measurement(findings, rows=examined.sample.n, left_out=_left_out(table, brief))
    return Found(measurements=(measured,), findings=findings)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Rows that columns are tested on, and their outcome."""

    frame: pl.DataFrame
    columns: list[str]
    y: NDArray[Any]
    task: Task
    target: str
    classes: tuple[str, ...]
    time: str
    entity: str

    @classmethod
    def of(cls, examined: Examined, brief: Brief) -> _Table:
        """At most 20,000 rows (5,000 when quick); a column that never changes, or holds lists, tells nothing."""
        known = examined.train is not None and examined.train_y is not None
        rows = examined.train if examined.train is not None and known else examined.rows
        y = np.asarray(examined.train_y if known else examined.sample.y)
        most = brief.most(20_000, 5_000)
        places = np.sort(brief.rng(_NAME).permutation(rows.height)[:most])
        frame = _plain(rows[places])
        columns = [name for name in examined.columns if _flat(frame[name]) and frame[name].n_unique() > 1]
        return cls(
            frame,
            columns,
            y[places],
            examined.task,
            examined.target,
            examined.sample.classes,
            examined.time if examined.time in frame.columns else "",
            examined.entity if examined.entity in frame.columns else "",
        )


def _left_out(table: _Table, brief: Brief) -> str:
    """What a table of so many columns is not asked, in one sentence; nothing where it is asked everything."""
    kinds = table.frame.schema
    numeric = sum(kinds[name].is_numeric() for name in table.columns)
    said = []
    summed = MOST_SUMMED if table.task is Task.REGRESSION else brief.most(*_PAIRED)
    if numeric > summed:
        said.append(f"sums were looked for among {summed} of {numeric} numeric columns, those that tell most alone")
    if len(table.columns) > DRAWN:
        said.append(f"each tree of the surrogate drew {DRAWN} of {len(table.columns)} columns")
    words = "; ".join(said)
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _of_columns(table: _Table, brief: Brief) -> list[Finding]:
    """What columns give away: proofs first, then, without the columns that are proven, what is suspected."""
    if table.frame.height < _LEAST_ROWS or len(np.unique(table.y)) < 2 or not table.columns:
        return []
    frame, y, task, rng = table.frame, table.y, table.task, brief.rng(f"{_NAME} columns")
    proven = list(missing_leaks(frame, table.columns, y, task, table.classes))
    most, paired = brief.most(3_000, 1_000), brief.most(*_PAIRED)
    proven += target_sums(frame, table.columns, y, task, rng, target=table.target, most=most, paired=paired)
    apart = target_leaks(column_powers(frame, table.columns, y, task, seed=brief.seed))
    dated = dated_after(frame, table.columns, table.time) if table.time else ()
    return [*proven, *_asked(table, proven, [*apart, *dated], brief)]


def _asked(table: _Table, proven: list[Finding], suspected: list[Finding], brief: Brief) -> list[Finding]:
    """Suspicions with what quality would be without them; powers that the other columns confirm prove nothing."""
    rng = brief.rng(f"{_NAME} surrogate")
    places = np.sort(rng.permutation(table.frame.height)[: brief.most(8_000, 2_000)])
    y = table.y[places]
    if table.task is not Task.REGRESSION and len(np.unique(y)) < 2:
        return suspected
    owners = entity_codes(table.frame[table.entity][places]) if table.entity else None
    if owners is not None and len(np.unique(owners)) < 2:
        return suspected  # rows of one entity alone cannot be held apart
    surrogate = Surrogate(
        table.frame[places].select(table.columns),
        y,
        table.task,
        rng,
        groups=owners,
        folds=brief.most(3, 2),
        trees=brief.most(60, 30),
    )
    gone = {name for finding in proven for name in _subjects(finding)}
    judged = _confirmed(surrogate, [one for one in suspected if one.subject not in gone], table, gone)
    failing = [finding for finding in judged if finding.grade == "fails"]
    left = [name for name in table.columns if name not in gone | {finding.subject for finding in failing}]
    if not left:
        return failing
    relied = {one.subject: one for one in relied_on(surrogate, left, table.task, brief.most(4, 2))}
    suspects = [finding for finding in judged if finding.grade == "suspects"]
    both = [_joined(one, relied.pop(one.subject)) for one in suspects if one.subject in relied]
    others = [one for one in suspects if one.subject not in {finding.subject for finding in both}]
    told = with_and_without(surrogate, left, others[:_MOST_ASKED], table.task)
    control = shuffle_control(surrogate, left, y, table.task, rng)
    return [*failing, *both, *told, *others[_MOST_ASKED:], *relied.values(), *control]


def _confirmed(surrogate: Surrogate, found: list[Finding], table: _Table, gone: set[str]) -> list[Finding]:
    """Powers, held against what the other columns reach together.

    A power that fails is a suspicion only, where the columns that do not fail reach nearly as much. A suspicion of
    power alone is none, where the columns that nobody accuses reach as much, and that is great: they say the same.
    """
    failing = {finding.subject for finding in found if finding.grade == "fails"}
    rest = _together(surrogate, table, gone | failing) if failing else 0.5
    found = [
        _suspected(finding) if finding.grade == "fails" and _above(finding, rest) < _CONFIRMED_STEP else finding
        for finding in found
    ]
    honest = _together(surrogate, table, gone | {finding.subject for finding in found}) if found else 0.5
    return [finding for finding in found if honest < _TELLING or _above(finding, honest) > 0]


def _together(surrogate: Surrogate, table: _Table, without: set[str]) -> float:
    """The power that all columns but these reach together."""
    others = [name for name in table.columns if name not in without]
    return surrogate.quality(others).power if others else 0.5


def _above(finding: Finding, rest: float) -> float:
    """By how much a column's own power exceeds another; without bound for what was not found by power."""
    return logit(finding.details["power"]) - logit(rest) if "power" in finding.details else math.inf


def _suspected(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, grade="suspects", question=known_question(finding.subject))


def _joined(finding: Finding, relied: Finding) -> Finding:
    return msgspec.structs.replace(
        finding,
        sentence=f"{finding.sentence} {relied.sentence}",
        question=finding.question or relied.question,
        details=relied.details | finding.details,
    )


def _subjects(finding: Finding) -> list[str]:
    return list(finding.details["columns"]) if finding.kind == "target_sum" else [finding.subject]


def _of_sides(examined: Examined, columns: list[str], brief: Brief) -> list[Finding]:
    """Rows, entities and times on both sides of the split."""
    train, y = examined.train, examined.train_y
    if train is None or y is None or not train.height or not examined.rows.height:
        return []
    found = list(_twins_of(examined, train, y, columns, brief)) if columns else []
    order = None
    if examined.time and examined.time in train.columns:
        order = time_order(train[examined.time], examined.rows[examined.time])
        found += time_overlap(train[examined.time], examined.rows[examined.time])
    if examined.entity and examined.entity in train.columns:
        by_time = order is not None and order < _TIMELY
        allowed = by_time if examined.groups_apart is None else not examined.groups_apart
        found += entity_overlap(train[examined.entity], examined.rows[examined.entity], allowed=allowed)
    return found


def _twins_of(
    examined: Examined, train: pl.DataFrame, y: NDArray[Any], columns: list[str], brief: Brief
) -> tuple[Finding, ...]:
    own = _plain(train.select(columns)).with_columns(pl.Series(examined.target, y))
    held = _plain(examined.rows.select(columns)).with_columns(pl.Series(examined.target, examined.sample.y))
    return twins_across(own, held, own.columns, most=brief.most(20_000, 3_000), seed=brief.seed)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """NaN counts as missing."""
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def _flat(column: pl.Series) -> bool:
    return not column.dtype.is_nested() and column.dtype not in {pl.Binary, pl.Object, pl.Null}
