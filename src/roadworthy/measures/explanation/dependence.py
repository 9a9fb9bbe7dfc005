"""How the mean score moves with one column.

In: an ``Examined`` model and a column's name. Out: the exhibit ``dependence:<column>``. Law: every point is the mean of
scores that the model gave.

Partial dependence (Friedman 2001): every row is given the column's value in turn and the scores are averaged, with the
band that holds eight of ten rows' own lines (individual conditional expectation, Goldstein et al. 2015). Where a number
hangs together with another one (rank correlation of 0.7 or more), giving every row every value asks about rows that do
not exist; then it is accumulated local effects (Apley and Zhu 2020): the differences across narrow bins, each from the
rows in it, added up and centred at the mean score, with the band of its sampling error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.columns import number_table, numbers
from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.ranks import mid_ranks
from roadworthy.measures.robustness.asking import Reply, ask
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task

__all__ = ["CORRELATED", "MOST_LEVELS", "dependence_exhibit", "drawable", "partner"]

CORRELATED = 0.7
"""From this rank correlation on two columns hang together."""

MOST_LEVELS = 50
"""Text of more values than this is not shown: it may name people."""

_POINTS, _QUICK_POINTS = 15, 8
_ROWS, _QUICK_ROWS = 500, 200
_LOCAL_ROWS, _QUICK_LOCAL_ROWS = 2_000, 500
_BARS = 10
_RANKED_ROWS = 2_000
_FEWEST = 20
_BAND = 1.645


def dependence_exhibit(examined: Examined, brief: Brief, column: str) -> Exhibit | None:
    """How the score depends on ``column``: x, mean, lower, upper, share of the rows at or near x.

    For more than two classes there are lines for each of the three commonest, named in ``class``.
    None where the column cannot be shown (text of many values) or the model does not answer.
    """
    if not drawable(examined, column):
        return None
    values = examined.rows[column].drop_nulls()
    friend, strength = partner(examined, brief, column)
    if strength >= CORRELATED:
        lines, note = _local(examined, brief, column, values), _local_note(column, friend, strength)
    else:
        lines, note = _partial(examined, brief, column, values), _partial_note(friend, strength)
    if not lines:
        return None
    names = ["x", "mean", "lower", "upper", "share", *(["class"] if examined.task is Task.MULTICLASS else [])]
    columns: dict[str, list[Any]] = {name: [line[place] for line in lines] for place, name in enumerate(names)}
    return Exhibit(name=f"dependence:{column}", title=f"How the score moves with {column}", columns=columns, note=note)


def drawable(examined: Examined, column: str) -> bool:
    """Whether a column can be shown by its values: not an entity, and no text of more than 50 values."""
    values = examined.rows[column]
    dtype = values.dtype
    if column == examined.entity or values.null_count() == values.len():
        return False
    if dtype.is_integer() or dtype.is_float() or dtype == pl.Boolean or isinstance(dtype, pl.Date | pl.Datetime):
        return values.n_unique() > 1
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum) and 1 < values.n_unique() <= MOST_LEVELS


def partner(examined: Examined, brief: Brief, column: str) -> tuple[str, float]:
    """The numeric column that this one hangs together with most, and their rank correlation without its sign."""
    kinds = examined.rows.schema
    names = [name for name in examined.columns if kinds[name].is_float() or kinds[name].is_integer()]
    if column not in names:
        return "", 0.0
    places = np.sort(brief.rng("partners").permutation(examined.rows.height)[:_RANKED_ROWS])
    ranks = _ranks(number_table(examined.rows[places], names))
    own = ranks[:, names.index(column)]
    norms = np.sqrt((own @ own) * np.square(ranks).sum(axis=0))
    strength = np.divide(np.abs(own @ ranks), norms, out=np.zeros(len(names)), where=norms > 0)
    strength[names.index(column)] = 0.0
    best = int(np.argmax(strength))
    return (names[best], float(strength[best])) if strength[best] > 0 else ("", 0.0)


def _ranks(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred ranks of each column [n, d]; a missing cell lies in the middle."""
    known = ~np.isnan(table)
    ranks = mid_ranks(np.where(known, table, np.inf))
    middle = (known.sum(axis=0) + 1) / 2
    return np.asarray(np.where(known, ranks - middle, 0.0), dtype=np.float64)


def _partial(examined: Examined, brief: Brief, column: str, values: pl.Series) -> list[tuple[Any, ...]]:
    """Lines of the exhibit: at each value the mean over the rows and the middle eight tenths of them."""
    grid, shares = _grid(values, brief.most(_POINTS, _QUICK_POINTS))
    places = np.sort(brief.rng("dependence").permutation(examined.sample.n)[: brief.most(_ROWS, _QUICK_ROWS)])
    rows = examined.rows[places]
    lines: list[tuple[Any, ...]] = []
    for value, share in zip(grid, shares, strict=True):
        reply = _asked(examined, rows.with_columns(value.new_from_index(0, rows.height).alias(column)))
        if int(reply.sound.sum()) < min(_FEWEST, rows.height):
            continue
        for score, extra in _outputs(examined, reply.score[reply.sound]):
            low, high = np.quantile(score, [0.1, 0.9])
            lines.append((_shown(value), float(score.mean()), float(low), float(high), share, *extra))
    return lines


def _grid(values: pl.Series, points: int) -> tuple[list[pl.Series], list[float]]:
    """The values asked about, each as a series of one, and the share of rows at or nearest to each."""
    dtype = values.dtype
    if not (dtype.is_float() or dtype.is_integer() or dtype.is_temporal()):
        counts = values.alias("value").value_counts(sort=True).sort(["count", "value"], descending=[True, False])
        counts = counts.head(_BARS)
        return [counts["value"].slice(place, 1) for place in range(counts.height)], (
            counts["count"] / values.len()
        ).to_list()
    known = _finite(values)
    edges = _quantiles(known, points, whole=not dtype.is_float())
    grid = pl.Series("value", edges)
    kept = grid.cast(pl.Int64).cast(dtype) if dtype.is_temporal() else grid.cast(dtype)
    return [kept.slice(place, 1) for place in range(kept.len())], _near(known, edges)


def _finite(values: pl.Series) -> NDArray[np.float64]:
    found = numbers(values)
    return np.asarray(found[~np.isnan(found)])


def _quantiles(known: NDArray[np.float64], points: int, *, whole: bool) -> NDArray[np.float64]:
    distinct = np.unique(known)
    if len(distinct) <= points:
        return distinct
    cut = np.quantile(known, np.linspace(0.01, 0.99, points), method="nearest" if whole else "linear")
    return np.unique(cut)


def _near(known: NDArray[np.float64], edges: NDArray[np.float64]) -> list[float]:
    middles = (edges[1:] + edges[:-1]) / 2
    counts = np.bincount(np.searchsorted(middles, known), minlength=len(edges))
    return [float(count) for count in counts / max(len(known), 1)]


def _local(examined: Examined, brief: Brief, column: str, values: pl.Series) -> list[tuple[Any, ...]]:
    """Lines of the exhibit by accumulated local effects: two questions in all."""
    dtype = values.dtype
    known = _finite(values)
    edges = _quantiles(known, brief.most(_POINTS, _QUICK_POINTS), whole=not dtype.is_float())
    own = numbers(examined.rows[column])
    usable = np.flatnonzero((own >= edges[0]) & (own <= edges[-1]))
    most = brief.most(_LOCAL_ROWS, _QUICK_LOCAL_ROWS)
    places = np.sort(usable[brief.rng("dependence").permutation(len(usable))[:most]])
    bins = np.clip(np.searchsorted(edges, own[places], side="left"), 1, len(edges) - 1) - 1
    rows = examined.rows[places]
    ends = [_asked(examined, rows.with_columns(pl.Series(column, edges[bins + side]).cast(dtype))) for side in (0, 1)]
    sound = ends[0].sound & ends[1].sound
    if int(sound.sum()) < min(_FEWEST, len(places)) or len(edges) < 2:
        return []
    shares = np.array(_near(known, edges))
    level = _outputs(examined, (ends[0].score[sound] + ends[1].score[sound]) / 2)
    steps = _outputs(examined, ends[1].score[sound] - ends[0].score[sound])
    lines: list[tuple[Any, ...]] = []
    for (middle, extra), (step, _) in zip(level, steps, strict=True):
        curve = _accumulated(step, bins[sound], shares)
        for place, edge in enumerate(edges):
            mean = float(middle.mean()) + curve.mean[place]
            lines.append(
                (float(edge), mean, mean - curve.error[place], mean + curve.error[place], float(shares[place]), *extra)
            )
    return lines


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """Accumulated effects at each edge, centred over the rows, and the half width of their band."""

    mean: NDArray[np.float64]
    error: NDArray[np.float64]


def _accumulated(step: NDArray[np.float64], bins: NDArray[np.int64], shares: NDArray[np.float64]) -> _Curve:
    count = len(shares) - 1
    rows = np.maximum(np.bincount(bins, minlength=count), 1)
    mean = np.bincount(bins, weights=step, minlength=count) / rows
    spread = np.bincount(bins, weights=np.square(step - mean[bins]), minlength=count) / np.maximum(rows - 1, 1)
    # each edge's value is a weighted sum of the bins' means: those before it, less their mean over the rows
    before = np.tril(np.ones((count + 1, count)), -1)
    weights = before - (shares / shares.sum()) @ before
    return _Curve(weights @ mean, _BAND * np.sqrt(np.square(weights) @ (spread / rows)))


def _asked(examined: Examined, rows: pl.DataFrame) -> Reply:
    classes = examined.sample.class_count if examined.task is Task.MULTICLASS else 0
    return ask(examined.answer, rows, examined.task, classes=classes)


def _outputs(examined: Examined, score: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], tuple[str, ...]]]:
    """The scores [m] that are shown, with their class where there are several."""
    if score.ndim == 1:
        return [(score, ())]
    common = np.argsort(-examined.sample.class_counts(), kind="stable")[:3]
    labels = examined.sample.classes
    return [(score[:, index], (labels[index] if labels else str(index),)) for index in common.tolist()]


def _shown(value: pl.Series) -> Any:
    if value.dtype == pl.Boolean:
        return "yes" if value[0] else "no"
    if value.dtype.is_temporal() or not value.dtype.is_numeric():
        return str(value[0])
    return float(value[0])


def _partial_note(friend: str, strength: float) -> str:
    note = "Partial dependence: every row is given this value; the band holds eight of ten rows."
    if strength >= CORRELATED / 2:
        note += (
            f" It hangs together with {friend} (rank correlation {strength:.2f}): some of these rows may never occur."
        )
    return note


def _local_note(column: str, friend: str, strength: float) -> str:
    return (
        f"Accumulated local effects, because {column} hangs together with {friend} (rank correlation {strength:.2f}): "
        "differences between neighbouring values, from the rows that have them; the band is their sampling error."
    )
