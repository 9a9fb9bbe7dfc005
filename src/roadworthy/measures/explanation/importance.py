"""What each column is worth: the quality that is lost when it is shuffled among the rows.

In: a way to ask the model, rows and their sample. Out: the exhibit "importance", a note on columns that earn nothing.
Laws: bounds are paired, row by row; the same rows give the same table on any machine.

Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019). What it says of a column holds with all others
left as they are: of two columns that say the same, each alone seems to be worth little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from roadworthy.measures.examined import Answer
from roadworthy.measures.intervals import NotEnough, skewed_t
from roadworthy.measures.losses import base_loss, row_losses
from roadworthy.measures.robustness.asking import Reply, ask
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit, Finding
from roadworthy.records.project import Task

__all__ = ["columns_asked", "idle_columns", "importance_exhibit"]

_FEWEST_ASKED = 200
_TRIFLE = 0.01
_NAMED = 12
_BUDGET, _MOST_ROWS = 200_000, 2_000

_Line = tuple[str, float | None, float | None, float | None]


def _ignored(_steps: int) -> None:
    """No one watches."""


def columns_asked(columns: int, *, budget: int = _BUDGET, most_rows: int = _MOST_ROWS) -> tuple[int, int]:
    """How many of so many columns are shuffled, and among how many rows.

    >>> columns_asked(20), columns_asked(5_000)
    ((20, 2000), (1000, 200))
    """
    rows = min(most_rows, max(_FEWEST_ASKED, budget // max(columns, 1)))
    return min(columns, budget // rows), rows


def importance_exhibit(
    answer: Answer,
    rows: pl.DataFrame,
    columns: Sequence[str],
    sample: Sample,
    *,
    budget: int = _BUDGET,
    most_rows: int = _MOST_ROWS,
    confidence: float = 0.95,
    advance: Callable[[int], None] = _ignored,
) -> Exhibit:
    """How much loss rises, as a share of the base loss, when one column is shuffled among the rows.

    ``rows`` [n] belong to ``sample``. ``budget`` bounds columns times rows: the more columns, the fewer rows (down to
    200), and the columns beyond that are named in the note. ``earns`` tells where the lower bound is above nothing.
    Only rows that are answered both times count; a column for which there are none has nulls.
    """
    count, most_rows = columns_asked(len(columns), budget=budget, most_rows=most_rows)
    asked, left_out = columns[:count], columns[count:]
    rng = np.random.default_rng(sample.seed)
    picked = rng.permutation(sample.n)[:most_rows]
    part, frame = sample.take(picked), rows[picked]
    plain = _asked(answer, frame, part)
    found: list[_Line] = []
    for column in asked:
        shuffled = frame.with_columns(frame[column][rng.permutation(frame.height)].alias(column))
        found.append((column, *_rise(part, plain, _asked(answer, shuffled, part), confidence)))
        advance(1)
    found.sort(key=lambda line: -(line[1] if line[1] is not None else float("-inf")))
    names = ("column", "drop", "lower", "upper")
    table: dict[str, list[Any]] = {name: [line[place] for line in found] for place, name in enumerate(names)}
    table["earns"] = [line[2] is not None and line[2] > 0 for line in found]
    note = f"Too many columns to shuffle each; left out: {', '.join(left_out)}." if left_out else ""
    silent = [line[0] for line in found if line[1] is None]
    if silent:
        note = f"{note} No answer when shuffled: {', '.join(silent)}.".strip()
    return Exhibit(name="importance", title="What the model relies on", columns=table, note=note)


def idle_columns(importance: Exhibit) -> tuple[Finding, ...]:
    """A note that lists the columns whose benefit is not provably above nothing, where there are any."""
    table = importance.columns
    lines = list(zip(table["column"], table["drop"], table["upper"], table["earns"], strict=True))
    idle = [(column, drop, upper) for column, drop, upper, earns in lines if drop is not None and not earns]
    if not idle:
        return ()
    trifles = sum(1 for _, _, upper in idle if upper is not None and upper < _TRIFLE)
    named = ", ".join(column for column, _, _ in idle[:_NAMED])
    small = f" ({trifles} of them provably less than {_TRIFLE:g} of the base rate's loss)" if trifles else ""
    more = f" and {len(idle) - _NAMED} more" if len(idle) > _NAMED else ""
    sentence = (
        f"{len(idle)} of {len(lines)} columns could be dropped, each by itself: shuffling one of them costs nothing "
        f"that can be proven{small}: {named}{more}. Of columns that say the same, keep one."
    )
    details = {"columns": [column for column, _, _ in idle], "trifles": trifles}
    return (Finding(kind="idle_columns", subject="columns", grade="notes", sentence=sentence, details=details),)


def _asked(answer: Answer, frame: pl.DataFrame, sample: Sample) -> Reply:
    return ask(answer, frame, sample.task, classes=sample.class_count if sample.task is Task.MULTICLASS else 0)


def _rise(
    sample: Sample, plain: Reply, shuffled: Reply, confidence: float
) -> tuple[float | None, float | None, float | None]:
    both = np.flatnonzero(plain.sound & shuffled.sound)
    if len(both) == 0:
        return None, None, None
    part = sample.take(both)
    losses = [row_losses(part.scored(reply.score[both])) for reply in (plain, shuffled)]
    rise = (losses[1] - losses[0]) / (base_loss(part) or 1.0)
    drop = float(rise.mean())
    try:
        bounds = skewed_t(drop, (rise - drop) / len(rise), part.clusters, confidence)
    except NotEnough:
        return drop, None, None
    return drop, bounds.lower, bounds.upper
