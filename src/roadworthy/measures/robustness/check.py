"""Which faults are tried, on how many rows, and the check itself.

In: an ``Examined`` model, a ``Brief``. Out: ``Found``. Laws: the questions asked follow from the seed and the rows
alone, never from the clock; as many steps are told as were announced.

The more columns, the fewer of them are tried with faults of their own: those whose shuffling moves the scores most,
found by a glance at a few rows. The note of the exhibit names the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.robustness.asking import Reply, ask
from roadworthy.measures.robustness.effects import FEWEST, Effect, effect_of
from roadworthy.measures.robustness.faults import EVERY, FAMILIES, Fault, exchanges, faults_for
from roadworthy.measures.robustness.telling import Tried, told
from roadworthy.records.evidence import Found
from roadworthy.records.project import Task

__all__ = ["robustness", "robustness_steps"]

_ROWS, _QUICK_ROWS, _FEWEST_ROWS = 1_000, 300, 300
_QUESTIONS, _QUICK_QUESTIONS, _FEWEST_QUESTIONS = 400, 80, 100
_GLANCES, _QUICK_GLANCES = 500, 40
_GLANCE_ROWS = 200
_CELLS = 100_000
_QUESTION_CELLS, _GLANCE_CELLS = 40_000_000, 20_000_000
_USUAL_ROWS = 20_000
_CHECK = "robustness"


def robustness_steps(examined: Examined, brief: Brief) -> int:
    """How many steps ``robustness`` will tell of: one for each question to the model."""
    return _Plan.of(examined, brief).steps


def robustness(examined: Examined, brief: Brief) -> Found:
    """Ask the model again on faulted copies of some rows, and compare.

    Measures ``crashes``, ``robust_drop`` and, where decisions are taken, ``robust_flips``: over all small faults, and
    for each family of faults as slice ``fault=<name>``. At most 1,000 rows (300 where quick) are asked about, in at
    most 400 questions (80); fewer of both where there are more than 100 columns.
    """
    plan = _Plan.of(examined, brief)
    places = brief.rng(_CHECK).permutation(examined.sample.n)[: plan.rows]
    part = examined.take(np.sort(places))
    asker = _Asker(part, brief)
    plain = asker.ask(part.rows)
    effects: list[Effect] = []
    left_out: tuple[str, ...] = ()
    if int(plain.sound.sum()) >= FEWEST:
        faults, left_out = _chosen(plan, part, plain, asker)
        for fault in faults:
            reply = asker.ask(fault.change(part.rows, brief.rng(_name(fault))), fault)
            effects.append(effect_of(fault, part.sample, plain, reply))
    brief.advance(max(plan.steps - asker.asked, 0))
    return told(Tried(plain=plain, effects=tuple(effects), left_out=left_out, sample=part.sample), brief)


@dataclass(frozen=True, slots=True)
class _Plan:
    """All faults that there are, by column, and how many questions may be asked about how many rows.

    ``glanced`` are the columns that are glanced at; it is empty where every fault can be tried.
    """

    schema: pl.Schema
    faults: dict[str, tuple[Fault, ...]]
    rows: int
    questions: int
    glanced: tuple[str, ...] = ()

    @classmethod
    def of(cls, examined: Examined, brief: Brief) -> _Plan:
        usual = _usual(examined, brief)
        width = max(usual.width, 1)
        rows = min(brief.most(_ROWS, _QUICK_ROWS), max(_FEWEST_ROWS, _CELLS // width))
        most = max(_FEWEST_QUESTIONS, _QUESTION_CELLS // (width * rows))
        plan = cls(usual.schema, faults_for(usual), rows, min(brief.most(_QUESTIONS, _QUICK_QUESTIONS), most))
        if len(plan.tried(examined.columns)) <= plan.questions:
            return plan
        most = min(brief.most(_GLANCES, _QUICK_GLANCES), _GLANCE_CELLS // (width * _GLANCE_ROWS))
        order = brief.rng("glances").permutation(len(examined.columns))[:most]
        return replace(plan, glanced=tuple(examined.columns[place] for place in sorted(order)))

    @property
    def steps(self) -> int:
        """Questions at most: the rows as they are, the glances, the faults."""
        every = len(self.tried([name for name in self.faults if name != EVERY]))
        return 1 + len(self.glanced) + min(every, self.questions)

    def tried(self, columns: Sequence[str]) -> tuple[Fault, ...]:
        """The faults of all columns at once and those of ``columns``, by family."""
        found = [fault for name in (EVERY, *columns) for fault in self.faults[name]]
        order = {name: place for place, name in enumerate(FAMILIES)}
        return tuple(sorted([*found, *exchanges(self.schema, columns)], key=lambda fault: order[fault.family]))


@dataclass(slots=True)
class _Asker:
    """Asks about rows of one examined model and counts its questions."""

    examined: Examined
    brief: Brief
    asked: int = 0

    def ask(self, rows: pl.DataFrame, fault: Fault | None = None) -> Reply:
        """The reply to rows, faulted or as they are."""
        task = self.examined.task
        reply = ask(
            self.examined.answer,
            rows,
            task,
            malformed=fault is not None and fault.malformed,
            classes=self.examined.sample.class_count if task is Task.MULTICLASS else 0,
        )
        self.asked += 1
        self.brief.advance(1)
        return reply


def _usual(examined: Examined, brief: Brief) -> pl.DataFrame:
    """Rows that show what is usual: of the training part where that is known."""
    rows = examined.train if examined.train is not None and examined.train.height else examined.rows
    rows = rows.select(examined.columns)
    if rows.height <= _USUAL_ROWS:
        return rows
    return rows[np.sort(brief.rng("usual").permutation(rows.height)[:_USUAL_ROWS])]


def _chosen(plan: _Plan, part: Examined, plain: Reply, asker: _Asker) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """The faults to try and the columns left out: as many columns as there are questions for, those that move most."""
    if not plan.glanced:
        return plan.tried(part.columns), ()
    rows = part.rows[:_GLANCE_ROWS]
    moves = {}
    for name in plan.glanced:
        order = asker.brief.rng(f"glance {name}").permutation(rows.height)
        reply = asker.ask(rows.with_columns(rows[name][order].alias(name)))
        sound = reply.sound & plain.sound[: rows.height]
        moves[name] = float(np.abs(reply.score - plain.score[: rows.height])[sound].sum())
    kept: list[str] = []
    for name in sorted(moves, key=lambda name: -moves[name]):
        if len(plan.tried([*kept, name])) > plan.questions:
            break
        kept.append(name)
    return plan.tried(kept), tuple(name for name in part.columns if name not in kept)


def _name(fault: Fault) -> str:
    return f"{_CHECK} {fault.family} {fault.column} {fault.how}"
