"""The check: what drives the model overall and for three rows.

In: an ``Examined`` model, a ``Brief``. Out: ``Found`` with exhibits and at most one note. Laws: it measures nothing, so
nothing passes or fails by it; as many steps are told as were announced.
"""

from __future__ import annotations

from typing import Any

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.explanation.dependence import dependence_exhibit, drawable
from roadworthy.measures.explanation.importance import columns_asked, idle_columns, importance_exhibit
from roadworthy.measures.explanation.telling_rows import explained_rows_exhibit, telling_rows
from roadworthy.records.evidence import Found

__all__ = ["explanation", "explanation_steps"]

_DRAWN, _QUICK_DRAWN = 6, 3
_BUDGET, _QUICK_BUDGET = 200_000, 10_000
_ROWS, _QUICK_ROWS = 2_000, 500
_WIDE = 100
"""From more columns than this on every question is dear, so fewer rows are asked about."""


def explanation_steps(examined: Examined, brief: Brief) -> int:
    """How many steps ``explanation`` will tell of: a column shuffled, a column drawn, a row explained."""
    asked = columns_asked(len(examined.columns), **_limits(examined, brief))[0]
    drawn = min(brief.most(_DRAWN, _QUICK_DRAWN), len(examined.columns))
    return asked + drawn + len(telling_rows(examined.sample))


def explanation(examined: Examined, brief: Brief) -> Found:
    """What each column is worth, how the score moves with the six (quick: three) best, and three rows taken apart."""
    limits = _limits(examined, brief)
    importance = importance_exhibit(
        examined.answer, examined.rows, examined.columns, examined.sample, advance=brief.advance, **limits
    )
    ranked = [name for name, drop in zip(*_worth(importance.columns), strict=True) if drop is not None]
    ordered = [*ranked, *(name for name in examined.columns if name not in set(ranked))]
    most = brief.most(_DRAWN, _QUICK_DRAWN)
    drawn = []
    for name in [name for name in ranked if drawable(examined, name)][:most]:
        drawn.append(dependence_exhibit(examined, brief, name))
        brief.advance(1)
    brief.advance(max(min(most, len(examined.columns)) - len(drawn), 0))
    rows = explained_rows_exhibit(examined, brief, ordered)
    exhibits = (importance, *(one for one in drawn if one is not None), rows)
    return Found(findings=idle_columns(importance), exhibits=exhibits)


def _worth(table: dict[str, list[object]]) -> tuple[list[str], list[object]]:
    return [str(name) for name in table["column"]], table["drop"]


def _limits(examined: Examined, brief: Brief) -> dict[str, Any]:
    full = _BUDGET if len(examined.columns) <= _WIDE else _BUDGET // 2
    return {"budget": brief.most(full, _QUICK_BUDGET), "most_rows": brief.most(_ROWS, _QUICK_ROWS)}
