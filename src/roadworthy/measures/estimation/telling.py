"""A window's rows as far as their outcomes can be told: chances by each method, and what supports them.

In: an ``EstimatorState``, scores, decisions, the rows behind them, perhaps reference rows. Out: ``Told`` rows and
``Support``. Laws: large windows are counted in groups of equal rank, which changes a metric by less than a hundredth of
its band; asking twice gives the same.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.estimation.state import CBPE, CONDITIONAL, DLE, PAPE, EstimatorState
from roadworthy.measures.estimation.support import Support, effective_rows, supported
from roadworthy.measures.estimation.trees import Codes
from roadworthy.measures.estimation.valuing import Told
from roadworthy.measures.estimation.weighting import ReferenceRows, Weighted, density_ratio, weighted_chances
from roadworthy.records.project import Task

__all__ = ["Telling"]

Floats = NDArray[np.float64]

_DIRECT = 20_000
"""More rows than these of a score alone are counted in groups."""
_GROUPS = 4_096


class Telling:
    """Rows of one window [n] (or of a slice of it)."""

    def __init__(
        self,
        state: EstimatorState,
        scores: NDArray[np.floating],
        frame: pl.DataFrame | None = None,
        decisions: NDArray[np.integer | np.bool_] | None = None,
        reference: ReferenceRows | None = None,
    ) -> None:
        self.state = state
        self.scores = np.asarray(scores)
        self.n = len(self.scores)
        self._frame, self._reference = frame, reference
        self._decisions = None if decisions is None else np.asarray(decisions)
        self._supports: dict[str, Support] = {}
        _check(state, self.scores, frame, self._decisions)

    def take(self, rows: NDArray[np.bool_]) -> Telling:
        """The same for some of the rows."""
        return Telling(
            self.state,
            self.scores[rows],
            None if self._frame is None else self._frame.filter(rows),
            None if self._decisions is None else self._decisions[rows],
            self._reference,
        )

    def usable(self, wanted: str) -> str:
        """The method for here where the plan names ``wanted``: columns or reference rows may be missing."""
        if wanted == CONDITIONAL and self._frame is None and self.state.learned.binning.columns:
            return CBPE
        return CBPE if wanted == PAPE and (self._reference is None or self._frame is None) else wanted

    def told(self, method: str) -> Told:
        """Rows with their chances (or expected errors) by that method."""
        if method == DLE:
            return self._errors
        if method == PAPE:
            return self._direct(self._weighted.chance)
        if method == CONDITIONAL:
            return self._by_columns
        return self._grouped if self._large else self._direct(self.state.learned.calibrated(self._doubles))

    def direct(self, method: str) -> Told:
        """As ``told``, of CBPE or conditional, with one entry for each row however many there are."""
        return (
            self.told(method) if method == CONDITIONAL else self._direct(self.state.learned.calibrated(self._doubles))
        )

    def support(self, method: str) -> Support:
        """How much of the reference speaks for these rows."""
        if method not in self._supports:
            self._supports[method] = self._supported(method)
        return self._supports[method]

    def _supported(self, method: str) -> Support:
        if self._large and (method == CBPE or not self.state.learned.binning.columns or self._frame is None):
            return self._support_of_groups
        found = supported(self.state.learned.binning, self._codes[1], self._beyond, columns=self._has_columns)
        if method == PAPE and self._weighted.effective < found.rows:
            return found._replace(rows=max(self._weighted.effective, 1.0), column="columns together")
        return found

    @property
    def _large(self) -> bool:
        return self.n > _DIRECT and self.state.task is Task.BINARY

    @property
    def _has_columns(self) -> bool:
        return self._frame is not None and bool(self.state.learned.binning.columns)

    @cached_property
    def _doubles(self) -> Floats:
        return self.scores.astype(np.float64)

    @cached_property
    def _codes(self) -> tuple[Codes, Codes]:
        return self.state.learned.binning.codes(self._doubles, self._frame, strict=False)

    @cached_property
    def _beyond(self) -> dict[str, float]:
        return self.state.learned.binning.beyond(self._doubles, self._frame)

    @cached_property
    def _weighted(self) -> Weighted:
        reference = self._reference
        if reference is None:
            raise DataError("PAPE needs reference rows")
        binning = self.state.learned.binning
        codes, _ = binning.codes(np.asarray(reference.sample.score, dtype=np.float64), reference.frame)
        weights = density_ratio(codes, self._codes[0], reference.sample.seed)
        return weighted_chances(reference.sample, weights, self._doubles)

    @cached_property
    def _by_columns(self) -> Told:
        return self._direct(self.state.learned.conditional(self._doubles, self._codes[0]))

    @cached_property
    def _errors(self) -> Told:
        absolute, square, signed = self.state.learned.expected_errors(self._codes[0])
        return self._direct(absolute)._replace(square=square, signed=signed, tail=self.state.tail, lean=self.state.lean)

    def _direct(self, chance: Floats) -> Told:
        state, decision = self.state, None
        if state.task is Task.BINARY and self._decisions is not None:
            decision = self._decisions.astype(np.float64)
        elif state.task is Task.BINARY and state.threshold is not None:
            decision = (self._doubles >= state.threshold).astype(np.float64)
        return Told(task=state.task, score=self._doubles, chance=chance, base=state.base, decision=decision)

    @cached_property
    def _sorted(self) -> list[tuple[NDArray[np.floating], float | None]]:
        """Scores in order, by decision."""
        if self._decisions is not None:
            yes = self._decisions.astype(np.bool_)
            return [(np.sort(self.scores[~yes]), 0.0), (np.sort(self.scores[yes]), 1.0)]
        scores = np.sort(self.scores)
        if self.state.threshold is None:
            return [(scores, None)]
        cut = int(np.searchsorted(scores, self.state.threshold, side="left"))
        return [(scores[:cut], 0.0), (scores[cut:], 1.0)]

    @cached_property
    def _grouped(self) -> Told:
        """Groups of neighbouring ranks, each at its middle row's score."""
        parts = []
        for scores, decision in self._sorted:
            ends = np.unique(np.linspace(0, len(scores), _GROUPS + 1).astype(np.int64))
            sizes = np.diff(ends)
            middle = scores[ends[:-1] + sizes // 2].astype(np.float64) if len(sizes) else np.empty(0)
            parts.append((middle, np.full(len(sizes), np.nan if decision is None else decision), sizes.astype(float)))
        score, decided, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Told(
            task=self.state.task,
            score=score,
            chance=self.state.learned.calibrated(score),
            base=self.state.base,
            decision=None if np.isnan(decided).any() else decided,
            weight=weight,
            exact=False,
        )

    @cached_property
    def _support_of_groups(self) -> Support:
        bins = self.state.learned.binning.scores[0]
        rows = self._grouped
        edges = np.array(bins.edges)
        line = (np.searchsorted(edges, rows.score, side="left") + 1).astype(np.uint8)
        weight = np.ones(len(line)) if rows.weight is None else rows.weight
        left = effective_rows(np.array(bins.counts, dtype=np.float64), line, weight)
        beyond = sum(
            int(np.searchsorted(scores, bins.lowest, side="left"))
            + len(scores)
            - int(np.searchsorted(scores, bins.highest, side="right"))
            for scores, _ in self._sorted
        )
        return Support(max(left, 1.0), bins.name, beyond / max(self.n, 1))


def _check(
    state: EstimatorState,
    scores: NDArray[np.floating],
    frame: pl.DataFrame | None,
    decisions: NDArray[np.generic] | None,
) -> None:
    wanted = len(state.learned.binning.scores)
    found = 1 if scores.ndim == 1 else scores.shape[1]
    if scores.ndim > 2 or found != wanted or (state.task is Task.MULTICLASS) != (scores.ndim == 2):
        raise DataError(f"scores of shape {scores.shape}, the reference has {wanted} for each row")
    for part, noun in ((frame, "rows"), (decisions, "decisions")):
        if part is not None and len(part) != len(scores):
            raise DataError(f"{len(part)} {noun} for {len(scores)} scores")
    finite = np.isfinite(scores.sum()) or np.isfinite(scores).all()
    if not finite:
        raise DataError(f"{int((~np.isfinite(scores)).sum())} scores are not finite")
