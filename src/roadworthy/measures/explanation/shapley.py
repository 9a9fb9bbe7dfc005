"""How one row's score is made up of its columns: Shapley values by sampled permutations.

In: an ``Answer``, background rows, the row. Out: a ``RowExplanation``. Laws: the effects add up to the row's score less
the mean score of the background rows used (efficiency), for any model; for a model that is linear in its columns they
are exact, whatever was sampled; a column that the model does not read has no effect.

Castro, Gómez and Tejada 2009; Štrumbelj and Kononenko 2014; each permutation is walked both ways (antithetic; Mitchell,
Cooper, Frank and Holmes 2022). A column that is "absent" takes the value of a background row, so the explanation also
asks about combinations that never occur where columns hang together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.examined import Answer

__all__ = ["OTHERS", "RowExplanation", "explain_row"]

OTHERS = "all others"
"""Stands where a column's name would, for columns that are explained together."""

_LEAST_PAIRS = 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RowExplanation:
    """What each of D columns adds to the score of one row.

    ``effects`` [D] add up to ``score`` − ``base``; ``errors`` [D] are their standard errors, over permutations and
    background rows. ``base`` is the mean score of the background rows that were used, ``output`` the class that the
    score is the probability of (None where a score is one number). ``pairs`` of permutations were walked;
    ``left_out`` more met a row that the model does not answer. ``asked`` rows were scored.
    """

    columns: tuple[str, ...]
    effects: NDArray[np.float64]
    errors: NDArray[np.float64]
    score: float
    base: float
    output: int | None
    pairs: int
    left_out: int
    asked: int


def explain_row(
    answer: Answer,
    background: pl.DataFrame,
    row: pl.DataFrame,
    columns: Sequence[str],
    *,
    seed: int = 7,
    budget: int = 4_000,
    output: int | None = None,
    together: Sequence[str] = (),
) -> RowExplanation:
    """The Shapley values of ``columns`` for ``row`` [1], against ``background`` [B].

    ``together`` are columns that are explained as one, named "all others"; any other column keeps the row's value.
    About ``budget`` rows are scored, twice as many as columns at least four times over. ``output`` is the class to
    explain, by default the likeliest. Raises DataError when there is nothing to explain or to compare with, and when
    the model does not answer the row or any mixture of it.
    """
    players = [(column,) for column in columns] + ([tuple(together)] if together else [])
    if row.height != 1 or not background.height or not players:
        found = f"{row.height} rows, {background.height} background rows, {len(players)} columns"
        raise DataError(
            "a row cannot be explained", next_step=f"give one row, rows to compare and columns; got {found}"
        )
    rng = np.random.default_rng(seed)
    walk = _Walk.drawn(len(players), background.height, budget, rng)
    frame = _mixed(row, background[walk.rows], players, walk.masks())
    answered = answer(frame)
    score, sound = _one_output(answered.score, answered.sound, output)
    if not sound[0]:
        raise DataError("the model does not answer the row that is to be explained")
    place = None if answered.score.ndim == 1 else (int(np.argmax(answered.score[0])) if output is None else output)
    effects, whole = walk.effects(score, sound)
    if len(effects) < _LEAST_PAIRS:
        raise DataError("the model answers hardly any mixture of the row and others", next_step="explain fewer columns")
    names = (*columns, OTHERS) if together else tuple(columns)
    return RowExplanation(
        columns=names,
        effects=effects.mean(axis=0),
        errors=effects.std(axis=0, ddof=1) / np.sqrt(len(effects)),
        score=float(score[0]),
        base=float(score[1 : 1 + walk.pairs][whole].mean()),
        output=place,
        pairs=len(effects),
        left_out=walk.pairs - len(effects),
        asked=frame.height,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """Permutations of D players, each with a background row, walked forwards and backwards.

    ``ranks`` [pairs, D]: when each player joins on the way forwards. ``rows`` [M]: the background row behind each
    question. The questions: the row itself, each pair's background row, then D − 1 steps there and D − 1 back.
    """

    ranks: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def drawn(cls, players: int, background: int, budget: int, rng: np.random.Generator) -> _Walk:
        """As many pairs as the budget allows; every background row equally often where all can be used."""
        pairs = max(budget // (2 * (players - 1) + 1), _LEAST_PAIRS)
        if pairs >= background:
            chosen = np.tile(np.arange(background), -(-max(pairs, _LEAST_PAIRS * background) // background))
            chosen = chosen[: background * max(pairs // background, -(-_LEAST_PAIRS // background))]
        else:
            chosen = rng.permutation(background)[:pairs]
        ranks = np.argsort(rng.random((len(chosen), players)), axis=1)
        steps = np.repeat(chosen, 2 * (players - 1))
        return cls(ranks, np.concatenate([chosen[:1], chosen, steps]))

    @property
    def pairs(self) -> int:
        """Permutations walked both ways."""
        return len(self.ranks)

    @property
    def players(self) -> int:
        """How many there are."""
        return int(self.ranks.shape[1])

    def masks(self) -> NDArray[np.bool_]:
        """[M, D] which players take the row's own value in each question."""
        d = self.players
        joined = np.arange(1, d)[None, :, None]
        there = self.ranks[:, None, :] < joined
        back = (d - 1 - self.ranks)[:, None, :] < joined
        steps = np.concatenate([there, back], axis=1).reshape(-1, d)
        return np.concatenate([np.ones((1, d), bool), np.zeros((self.pairs, d), bool), steps])

    def effects(
        self, score: NDArray[np.float64], sound: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """[kept, D] each pair's effects, and [pairs] whether all its questions were answered."""
        d, start = self.players, 1 + self.pairs
        steps = score[start:].reshape(self.pairs, 2, d - 1)
        whole = sound[1:start] & sound[start:].reshape(self.pairs, -1).all(axis=1)
        ends = np.ones((self.pairs, 2, 1))
        path = np.concatenate([ends * score[1:start, None, None], steps, ends * score[0]], axis=2)
        rises = np.diff(path, axis=2)
        there = np.take_along_axis(rises[:, 0], self.ranks, axis=1)
        back = np.take_along_axis(rises[:, 1], d - 1 - self.ranks, axis=1)
        return ((there + back) / 2)[whole], whole


def _mixed(
    row: pl.DataFrame, others: pl.DataFrame, players: Sequence[tuple[str, ...]], masks: NDArray[np.bool_]
) -> pl.DataFrame:
    """[M] the row, with the players that are not in the mask taken from ``others`` [M]."""
    taken = {name: place for place, names in enumerate(players) for name in names}
    made = []
    for name in row.columns:
        own = row[name].new_from_index(0, len(masks))
        if name in taken:
            mask = pl.Series("mask", masks[:, taken[name]])
            own = own.zip_with(mask, others[name].cast(own.dtype))
        made.append(own.alias(name))
    return pl.DataFrame(made)


def _one_output(
    score: NDArray[np.float64], sound: NDArray[np.bool_], output: int | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if score.ndim == 1:
        return score, sound
    place = int(np.argmax(score[0])) if output is None else output
    return score[:, place], sound
