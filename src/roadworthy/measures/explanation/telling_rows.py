"""Three telling rows, each score taken apart: the worst miss, the most doubtful one, a typical one.

In: an ``Examined`` model and the columns by importance. Out: the exhibit "explained_rows". Law: what may name a person
is shown by its column's name and effect alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.explanation.dependence import drawable
from roadworthy.measures.explanation.shapley import OTHERS, RowExplanation, explain_row
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task

__all__ = ["explained_rows_exhibit", "telling_rows"]

_BACKGROUND = 100
_BUDGET, _QUICK_BUDGET = 8_000, 2_000
_MOST_PLAYERS = 25
_SHOWN = 8
_IDENTIFIER = 0.9
_NAMES = ("row", "column", "value", "effect", "error", "score", "base", "actual")


def telling_rows(sample: Sample) -> dict[str, int]:
    """Which rows to show, by what they tell: a regression has no doubtful one.

    >>> import numpy as np
    >>> rows = Sample(task=Task.BINARY, y=np.array([1, 0, 1, 0]), score=np.array([0.1, 0.2, 0.8, 0.48]), threshold=0.5)
    >>> telling_rows(rows)
    {'the worst miss': 0, 'the most doubtful': 3, 'a typical one': 1}
    """
    if sample.n == 0:
        return {}
    losses = row_losses(sample)
    found = {"the worst miss": int(np.argmax(losses))}
    if sample.task is Task.BINARY:
        edge = 0.5 if sample.threshold is None else sample.threshold
        found["the most doubtful"] = int(np.argmin(np.abs(sample.score - edge)))
    elif sample.task is Task.MULTICLASS:
        two = np.sort(sample.score, axis=1)[:, -2:]
        found["the most doubtful"] = int(np.argmin(two[:, 1] - two[:, 0]))
    places = list(found.values())
    if sample.n > len(places):
        unusual = np.abs(losses - np.median(losses))
        unusual[places] = np.inf
        found["a typical one"] = int(np.argmin(unusual))
    rows = list(found.values())
    return {label: place for turn, (label, place) in enumerate(found.items()) if place not in rows[:turn]}


def explained_rows_exhibit(examined: Examined, brief: Brief, ordered: Sequence[str]) -> Exhibit:
    """The telling rows with the columns that move their scores most, and all others together.

    ``ordered`` are the model's columns, the most important first. A row that cannot be explained is named in the note.
    """
    players, together = list(ordered[:_MOST_PLAYERS]), list(ordered[_MOST_PLAYERS:])
    shown = {name for name in players if _may_be_shown(examined, name)}
    lines: list[tuple[Any, ...]] = []
    failed: list[str] = []
    places = brief.rng("background").permutation(examined.sample.n)[:_BACKGROUND]
    background = examined.rows[np.sort(places)]
    for label, place in telling_rows(examined.sample).items():
        row = examined.rows[[place]]
        try:
            budget = brief.most(_BUDGET, _QUICK_BUDGET)
            found = explain_row(
                examined.answer, background, row, players, seed=brief.seed, budget=budget, together=together
            )
        except Exception as failure:  # noqa: BLE001 - whatever the model raises is its own fault, and may quote cells
            failed.append(f"{label} ({type(failure).__name__})")
        else:
            lines += _lines(examined, label, place, row, found, shown)
        brief.advance(1)
    note = (
        f"Shapley values against {background.height} rows: each score is the mean score of those rows (base) plus the "
        "effects; errors are standard errors of sampling. Values of columns that may name a person are not shown."
    )
    if failed:
        note += f" Not explained: {'; '.join(failed)}."
    columns = {name: [line[place] for line in lines] for place, name in enumerate(_NAMES)}
    return Exhibit(name="explained_rows", title="Three rows, each score taken apart", columns=columns, note=note)


def _lines(  # noqa: PLR0917 - the row, what is known of it, and what may be shown
    examined: Examined, label: str, place: int, row: pl.DataFrame, found: RowExplanation, shown: set[str]
) -> list[tuple[Any, ...]]:
    order = np.argsort(-np.abs(found.effects), kind="stable")
    single = [index for index in order.tolist() if found.columns[index] != OTHERS]
    top, rest = single[:_SHOWN], [index for index in order.tolist() if index not in single[:_SHOWN]]
    ends = (found.score, found.base, _actual(examined.sample, place))
    lines: list[tuple[Any, ...]] = []
    for index in top:
        name = found.columns[index]
        value = _value(row, name) if name in shown else None
        lines.append((label, name, value, float(found.effects[index]), float(found.errors[index]), *ends))
    if rest:
        # the errors of several effects hang together; their sum bounds that of all
        lines.append((label, OTHERS, None, float(found.effects[rest].sum()), float(found.errors[rest].sum()), *ends))
    return lines


def _may_be_shown(examined: Examined, name: str) -> bool:
    """Whether a value may stand in a report: no entity, no text of many values, no number that numbers the rows."""
    values = examined.rows[name]
    if name == examined.entity:
        return False
    if values.dtype.is_integer() and values.n_unique() > max(_IDENTIFIER * values.len(), 50):
        return False
    return values.dtype.is_numeric() or values.dtype == pl.Boolean or drawable(examined, name)


def _value(row: pl.DataFrame, name: str) -> str:
    value = row[name][0]
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _actual(sample: Sample, place: int) -> str:
    if sample.task is Task.REGRESSION:
        return f"{float(sample.y[place]):.6g}"
    index = int(sample.y[place])
    return sample.classes[index] if sample.classes else str(index)
