"""Training/serving skew: logged rows scored again offline, beside what was answered.

In: rows that a version answered, its graph. Out: how many differ, and a signal. Law: the graph that answered is the
graph that scores again, so that any difference beyond the machine's rounding is a fault, not chance; no statistics.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np
import polars as pl

from roadworthy.graphs.runner import GraphModel
from roadworthy.records.alert import Severity, Signal, Word
from roadworthy.stages.watching.observed import score_matrix
from roadworthy.stages.watching.watched import Watched

__all__ = ["Skew", "skew", "skew_signal"]

_MOST_ROWS = 2_000
_TOLERANCE = 1e-4
"""Relative to the larger of 1 and the score: one step of an int8 activation, where a rounding falls the other way."""


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """``differ`` of ``rows`` rows are scored otherwise offline, by ``worst`` at most, first the row ``first``.

    ``insufficient`` says why nothing was compared.
    """

    rows: int = 0
    differ: int = 0
    worst: float = 0.0
    first: str = ""
    insufficient: str = ""


def skew(watched: Watched, rows: pl.DataFrame) -> Skew:
    """Score up to 2,000 rows, spread evenly over these, again."""
    if not watched.model:
        return Skew(insufficient="the model is served by others")
    absent = sorted(set(watched.contract.inputs) - set(rows.columns))
    if absent:
        return Skew(insufficient=f"the prediction log does not hold {', '.join(absent)}")
    if not rows.height:
        return Skew(insufficient="no row")
    chosen = rows[np.unique(np.linspace(0, rows.height - 1, min(rows.height, _MOST_ROWS)).round().astype(int))]
    answered = score_matrix(chosen, watched.contract.task).reshape(chosen.height, -1)
    again = _graph(watched.model).score(chosen).reshape(chosen.height, -1)
    apart = (np.abs(answered - again) / np.maximum(1.0, np.abs(again))).max(axis=1)
    wrong = ~(apart <= _TOLERANCE)
    place = int(np.argmax(wrong))
    first = f"{chosen['_id'][place]}/{chosen['_row'][place]}" if wrong.any() else ""
    return Skew(rows=chosen.height, differ=int(wrong.sum()), worst=float(apart.max()), first=first)


def skew_signal(found: Skew, *, at_us: int, source: str) -> Signal:
    """Any row that is scored otherwise is an alarm."""
    word = Word.UNKNOWN if found.insufficient else Word.ALARM if found.differ else Word.CLEAR
    sentence = {
        Word.UNKNOWN: f"Nothing was scored again: {found.insufficient}.",
        Word.CLEAR: f"{found.rows:,} rows, scored again offline, get the score that was answered.",
        Word.ALARM: (
            f"{found.differ:,} of {found.rows:,} rows get another score offline than was answered, by up to "
            f"{found.worst:.3g}; the first is {found.first}."
        ),
    }[word]
    return Signal(
        rule="skew",
        word=word,
        at_us=at_us,
        source=source,
        group="data",
        sentence=sentence,
        severity=Severity.PAGE,
        evidence={"rows": found.rows, "differ": found.differ, "worst": found.worst, "first": found.first},
        look_first="that row with `roadworthy trace`, and which version of which library serves",
        chart="skew",
    )


@lru_cache(maxsize=2)
def _graph(model: bytes) -> GraphModel:
    return GraphModel(model)
