"""When a person decides in place of the model, as a plan: numbers and names alone.

In: scores and decisions; a plan that was read. Out: which rows are sure enough to be answered; why a plan cannot be
applied. How it is fitted, and what it promises, is ``uncertainty.refer``'s; this stands by itself so that a server
loads nothing that only fits. Law: a row is answered only where its conformal set is the one label that is decided
(regression: where its interval is no wider than one that needs no model).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import Problem
from roadworthy.measures.label_sets import ConformalPlan
from roadworthy.measures.strangeness import SupportPlan
from roadworthy.records.project import Task

__all__ = ["ReferPlan", "answered", "plan_problems"]

_MOST_KNOTS = 128  # their number must fit into eight bits


class ReferPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``conformal`` says how sure a score is, ``support`` how unlike training a row is.

    ``confidence`` is what was declared; None where only the support counts. Of the rows that calibrated the sets the
    share ``referred`` would be referred, and of the others the share ``wrong`` was wrong.
    """

    confidence: float | None = None
    conformal: ConformalPlan | None = None
    support: SupportPlan | None = None
    referred: float = 0.0
    wrong: float = 0.0
    format: int = 1

    def note(self) -> str:
        """In a sentence, for people."""
        parts = []
        if self.conformal is not None:
            parts.append(
                f"of {self.conformal.rows:,} rows that the model had not seen, {self.referred:.1%} would be referred, "
                f"and {self.wrong:.1%} of the others were wrong ({1 - (self.confidence or 0):.1%} is allowed)"
            )
        if self.support is not None:
            parts.append(f"rows stranger than {1 - self.support.outside:.0%} of those of training are referred")
        return "refer: " + "; ".join(parts)


def answered(
    plan: ConformalPlan, score: NDArray[np.float64], decided: NDArray[np.intp] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | NDArray[np.float64]]:
    """Which rows [N] are sure enough, and their sets [N, K] or intervals [N, 2]."""
    applied = plan.apply(score)
    if decided is None:
        return applied[:, 1] - applied[:, 0] <= plan.usual_width, applied
    return (applied.sum(axis=1) == 1) & applied[np.arange(len(applied)), decided], applied


def plan_problems(plan: ReferPlan, task: Task, classes: int, columns: Sequence[str]) -> Iterator[Problem]:
    """Why a plan that was read cannot be applied: what a loader asks before it builds anything of it."""
    if plan.format != 1:
        yield Problem(f"format {plan.format}", where="format", expected="1")
    if plan.conformal is not None:
        yield from _conformal_problems(plan.conformal, task, classes)
    if plan.support is not None:
        yield from _support_problems(plan.support, columns)


def _conformal_problems(plan: ConformalPlan, task: Task, classes: int) -> Iterator[Problem]:
    where = "conformal"
    if plan.task is not task:
        yield Problem(f"a plan for {plan.task}", where=where, expected=str(task))
    if not all(map(math.isfinite, (plan.threshold, plan.usual_width, *plan.by_class, *plan.knots, *plan.scales))):
        yield Problem("a number that is not finite", where=where)
    if task is Task.REGRESSION:
        if not plan.knots or len(plan.knots) != len(plan.scales) or list(plan.knots) != sorted(plan.knots):
            found = f"{len(plan.knots)} knots, {len(plan.scales)} scales"
            yield Problem(found, where=where, expected="as many, rising")
    elif len(plan.by_class) != classes:
        yield Problem(f"{len(plan.by_class)} classes", where=where, expected=f"{classes}")


def _support_problems(plan: SupportPlan, columns: Sequence[str]) -> Iterator[Problem]:
    where = "support"
    unknown = sorted({column.name for column in plan.columns} - set(columns))
    if unknown:
        yield Problem(f"columns {', '.join(unknown)}", where=where, expected="columns that the model reads")
    width, across = sum(column.width for column in plan.columns), {len(row) for row in plan.directions}
    shapes = (
        len(plan.centre) == width == len(plan.directions)
        and len(across) == 1
        and bool(plan.references)
        and {len(row) for row in plan.references} == across
        and len(plan.grid) == len(plan.ranks)
    )
    if not shapes:
        yield Problem("arrays that do not fit together", where=where)
    for column in plan.columns:
        flags = 1 if column.knots else len(column.levels) + 2
        lengths = len(column.shares) == flags and len(column.knots) == len(column.at) < _MOST_KNOTS
        if not lengths or list(column.knots) != sorted(set(column.knots)) or not column.unit > 0:
            yield Problem(f"column {column.name} is not whole", where=where)
    numbers = [*plan.centre, *plan.usual, *plan.grid, *(value for row in plan.directions for value in row)]
    numbers += [value for row in plan.references for value in row]
    numbers += [value for one in plan.columns for value in (*one.knots, *one.at, *one.shares, one.unit)]
    if not all(map(math.isfinite, numbers)) or not all(one > 0 for one in plan.usual):
        yield Problem("a number that is not finite", where=where)
