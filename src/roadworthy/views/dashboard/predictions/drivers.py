"""What drove the score of one prediction: each column's share of the way from a usual score to this one.

In: an ``Opened`` row. Out: ``Drivers``: shares that add up, a picture of them, the method in words. Laws: the same row
of the same version gives the same shares; nothing but the version's own reference stands in for other rows, so no row
of anybody else is looked at; about 2,000 rows are scored at most, fewer where the model is slow.

Shapley values by sampled permutations (``measures.explanation.shapley``). The stand-ins are drawn column by column from
the sketch of the training rows: their columns do not hang together, which is said with the figures.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.formats import wording
from roadworthy.graphs.runner import GraphModel
from roadworthy.measures.examined import Answer, Answered
from roadworthy.measures.explanation import RowExplanation, explain_row
from roadworthy.measures.explanation.shapley import OTHERS
from roadworthy.measures.sketches import CategorySketch, NumberSketch, Reference
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task
from roadworthy.views.dashboard.pictures import Picture, draw_exhibit
from roadworthy.views.dashboard.predictions.findings import shown
from roadworthy.views.dashboard.predictions.logged import Opened

__all__ = ["Driver", "Drivers", "drivers_of"]

_STAND_INS = 64
_SEED = 7
_MOST_ALONE = 12
"""Columns that are explained one by one; of more, those that move the score most by themselves."""
_BUDGET = 2_000
_LEAST_BUDGET = 250
_CELLS = 250_000
_SECONDS = 0.25
_PROBE = 3
_REMEMBERED = 64
_NAMED = 3
_found: OrderedDict[tuple[Digest, str, int, int], RowExplanation] = OrderedDict()
_lock = threading.Lock()


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """One column: its value, what it adds to the score (or takes from it), and the standard error of that.

    ``adds`` and ``give`` are both for people, of as many places as the score has.
    """

    name: str
    value: str
    effect: float
    error: float
    adds: str
    give: str


class Drivers(msgspec.Struct, frozen=True, kw_only=True):
    """The shares, greatest first; they add up to ``score`` less ``base``. ``of`` is what the score is of."""

    drivers: tuple[Driver, ...]
    score: float
    base: float
    of: str
    sentence: str
    method: str
    picture: Picture | None


def drivers_of(opened: Opened, id_: str, row: int) -> Drivers:
    """What drove the score of a row; DataError where nothing can stand in for other rows."""
    if opened.reference is None:
        raise DataError("the bundle does not say how training rows looked, so nothing can stand in for them")
    key = (opened.version.digest, id_, row, int(opened.table.hash_rows(seed=_SEED).item()))  # an id may come again
    with _lock:
        found = _found.get(key)
    if found is None:
        found = _explained(opened, opened.reference)
        with _lock:
            _found[key] = found
            while len(_found) > _REMEMBERED:
                _found.popitem(last=False)
    return _told(opened, found)


def _explained(opened: Opened, reference: Reference) -> RowExplanation:
    table = opened.table
    others = _stand_ins(table, reference, np.random.default_rng(_SEED))
    players = [name for name in table.columns if name in others.columns]
    if not players:
        raise DataError("training kept no values of the columns that the model takes")
    stand = pl.DataFrame(
        [
            others.get_column(name) if name in others.columns else table.get_column(name).new_from_index(0, _STAND_INS)
            for name in table.columns
        ]
    )
    answer = _asking(opened.graph)
    output = _output(opened, answer)
    alone, together = _chosen(answer, table, stand, players, output)
    return explain_row(
        answer, stand, table, alone, seed=_SEED, budget=_affordable(answer, stand), output=output, together=together
    )


def _asking(graph: GraphModel) -> Answer:
    def answer(rows: pl.DataFrame) -> Answered:
        scores = graph.score(rows, finite=False)
        return Answered(scores, np.zeros(len(scores), dtype=np.bool_))

    return answer


def _output(opened: Opened, answer: Answer) -> int | None:
    score = answer(opened.table).score
    return int(np.argmax(score[0])) if score.ndim == 2 else None


def _affordable(answer: Answer, stand: pl.DataFrame) -> int:
    """How many rows may be scored: fewer of wide ones, and of slow models."""
    begun = time.perf_counter()
    answer(stand)
    each = (time.perf_counter() - begun) / stand.height
    budget = min(_BUDGET, _CELLS // max(1, stand.width))
    while budget > _LEAST_BUDGET and each * budget > _SECONDS:
        budget //= 2
    return max(budget, _LEAST_BUDGET)


def _chosen(
    answer: Answer, table: pl.DataFrame, stand: pl.DataFrame, players: Sequence[str], output: int | None
) -> tuple[list[str], list[str]]:
    """Which columns are explained one by one, and which together."""
    if len(players) <= _MOST_ALONE:
        return list(players), []
    width = len(players)
    turn, drawn = np.tile(np.arange(width), _PROBE), np.repeat(np.arange(_PROBE), width)
    place = {name: at for at, name in enumerate(players)}
    made = []
    for name in table.columns:
        own = table.get_column(name).new_from_index(0, width * _PROBE)
        if name in place:
            own = own.zip_with(pl.Series(turn != place[name]), stand.get_column(name).gather(drawn))
        made.append(own)
    frame = pl.DataFrame(made)
    moved = np.abs(_one(answer(frame).score, output) - _one(answer(table).score, output)[0])
    effect = np.nan_to_num(moved).reshape(_PROBE, width).mean(axis=0)
    order = np.argsort(-effect, kind="stable")
    alone = [players[at] for at in order[:_MOST_ALONE]]
    return alone, [name for name in players if name not in set(alone)]


def _one(score: NDArray[np.float64], output: int | None) -> NDArray[np.float64]:
    return score if output is None else score[:, output]


# --- stand-ins ------------------------------------------------------------------------------------------------------


def _stand_ins(table: pl.DataFrame, reference: Reference, rng: np.random.Generator) -> pl.DataFrame:
    """Rows that training could have had, column by column, of the types of ``table``; columns it hid are left out."""
    made = []
    for name in table.columns:
        kind = table.schema[name]
        if name in reference.numbers and reference.numbers[name].count:
            made.append(_numbers(reference.numbers[name], kind, rng).alias(name))
        elif name in reference.categories and reference.categories[name].labels:
            made.append(_labels(reference.categories[name], kind, rng).alias(name))
    return pl.DataFrame(made)


def _numbers(sketch: NumberSketch, kind: pl.DataType, rng: np.random.Generator) -> pl.Series:
    lowest, highest = sketch.lowest or 0.0, sketch.highest or 0.0
    ends = np.array([lowest, *sketch.edges, highest])
    counts = np.array(sketch.counts, dtype=np.float64)
    picked = _spread(counts, rng)
    low, high = np.minimum(ends[picked], ends[picked + 1]), np.maximum(ends[picked], ends[picked + 1])
    within = rng.random(_STAND_INS)
    values = low + within * (high - low)
    if kind.is_integer():
        values = np.minimum(np.floor(low + within * (high - low + (high == highest))), highest)
    series = pl.Series(values)
    if kind.is_temporal():
        series = (series * 1e6).cast(pl.Int64).cast(pl.Datetime("us"))
    return _with_gaps(series.cast(kind), sketch.missing, sketch.count, rng)


def _labels(sketch: CategorySketch, kind: pl.DataType, rng: np.random.Generator) -> pl.Series:
    counts = np.array(sketch.counts, dtype=np.float64)
    texts = pl.Series(sketch.labels, dtype=pl.String).gather(_spread(counts, rng))
    series = texts == "true" if kind == pl.Boolean else texts.cast(kind)
    return _with_gaps(series, sketch.missing, int(counts.sum()), rng)


def _spread(counts: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Places in proportion to counts, evenly spread (systematic sampling), in an order of their own."""
    total = np.cumsum(counts) / max(counts.sum(), 1.0)
    at = (np.arange(_STAND_INS) + rng.random()) / _STAND_INS
    picked = np.minimum(np.searchsorted(total, at, side="right"), len(counts) - 1)
    return rng.permutation(picked).astype(np.int64)


def _with_gaps(series: pl.Series, missing: int, present: int, rng: np.random.Generator) -> pl.Series:
    gone = rng.random(_STAND_INS) < missing / max(1, missing + present)
    return series.zip_with(pl.Series(~gone), pl.Series([None], dtype=series.dtype).new_from_index(0, _STAND_INS))


# --- in words -------------------------------------------------------------------------------------------------------


def _told(opened: Opened, found: RowExplanation) -> Drivers:
    contract, row = opened.contract, opened.table.row(0, named=True)
    share = contract.task is not Task.REGRESSION
    order = np.argsort(-np.abs(found.effects), kind="stable").tolist()
    order.sort(key=lambda place: found.columns[place] == OTHERS)  # all others together come last
    drivers = tuple(
        Driver(
            name=found.columns[place],
            value=""
            if found.columns[place] == OTHERS
            else shown(row[found.columns[place]], hidden=found.columns[place] in contract.personal),
            effect=float(found.effects[place]),
            error=float(found.errors[place]),
            adds=_signed(float(found.effects[place]), share=share),
            give=f"{found.errors[place]:.3f}" if share else wording.number(float(found.errors[place]), 2),
        )
        for place in order
    )
    of = _of(opened, found)
    return Drivers(
        drivers=drivers,
        score=found.score,
        base=found.base,
        of=of,
        sentence=_sentence(drivers, found, of),
        method=_method(found),
        picture=_picture(drivers, found),
    )


def _of(opened: Opened, found: RowExplanation) -> str:
    contract = opened.contract
    if contract.task is Task.REGRESSION:
        return "the estimate"
    label = contract.classes[1] if found.output is None else contract.classes[found.output]
    return f"the probability that {wording.clipped(contract.target, 40)} is {wording.clipped(label, 40)}"


def _sentence(drivers: Sequence[Driver], found: RowExplanation, of: str) -> str:
    rise = found.score - found.base
    whither = "above" if rise > 0 else "below"
    same = [one for one in drivers if one.effect * rise > 0 and one.name != OTHERS][:_NAMED]
    most = ", ".join(f"{wording.clipped(one.name, 40)} ({one.adds})" for one in same)
    head = (
        f"Here {of} is {wording.number(found.score)}, {wording.number(abs(rise))} {whither} the "
        f"{wording.number(found.base)} of usual rows"
    )
    return f"{head}. What moved it most that way: {most}." if most else f"{head}; no column stands out."


def _method(found: RowExplanation) -> str:
    return (
        f"Shapley values by sampling: each column's share of the way from the mean score of {_STAND_INS} stand-in rows "
        f"({wording.number(found.base)}) to this one, over {2 * found.pairs} orders in which columns are exchanged "
        f"({wording.count(found.asked)} rows scored). The shares add up. The stand-ins are drawn column by column from "
        "what this version's training rows looked like, so some combine values that never meet. A share says what the "
        "model used, not what causes the outcome."
    )


def _picture(drivers: Sequence[Driver], found: RowExplanation) -> Picture | None:
    columns: dict[str, list[object]] = {
        "row": ["this prediction"] * len(drivers),
        "column": [one.name for one in drivers],
        "value": [one.value or None for one in drivers],
        "effect": [one.effect for one in drivers],
        "score": [found.score] * len(drivers),
    }
    made = draw_exhibit(Exhibit(name="explained_rows", title="", columns=columns))
    return None if made is None else msgspec.structs.replace(made, columns={})


def _signed(value: float, *, share: bool) -> str:
    """A share with its sign.

    >>> _signed(0.25, share=True), _signed(-0.1, share=True), _signed(1234.5, share=False)
    ('+0.250', '−0.100', '+1,234')
    """
    size = f"{abs(value):.3f}" if share else wording.number(abs(value))
    return ("−" if value < 0 else "+") + size
