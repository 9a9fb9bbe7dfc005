"""From labelled reference rows to an ``EstimatorState``: learn, cross-fit, back-test, choose.

In: a scored ``Sample`` of rows that the model was not trained on, in the order of time, and the rows behind it. Out:
``EstimatorState``. Laws: what is back-tested on a row was learnt without its part (whole entities are in one part); the
same rows and seed give the same bytes; nothing of a row is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.estimation.backtest import Reckoning, Trial, planned, trial_rows
from roadworthy.measures.estimation.learning import ROUNDS, Learned, learn
from roadworthy.measures.estimation.state import CBPE, CONDITIONAL, DLE, PAPE, EstimatorState
from roadworthy.measures.estimation.valuing import Told, estimable
from roadworthy.measures.estimation.weighting import density_ratio, weighted_chances
from roadworthy.measures.intervals import MIN_CLUSTERS, cluster_count, cluster_sums
from roadworthy.measures.losses import base_shares
from roadworthy.measures.samples import Sample, folds_of
from roadworthy.records.project import Task

__all__ = ["MIN_REFERENCE_ROWS", "MOST_REFERENCE_ROWS", "fit_estimator"]

Floats = NDArray[np.float64]

MIN_REFERENCE_ROWS = 200
"""Fewer labelled rows than this make no estimator."""

MOST_REFERENCE_ROWS = 100_000
"""Of more rows the latest are taken: what came last is nearest to what comes next."""

_PARTS = 5
_SURE = 2.0
_MOST_WEIGHTED = 20_000


def fit_estimator(
    sample: Sample,
    frame: pl.DataFrame | None = None,
    columns: Sequence[str] | None = None,
    *,
    metrics: Iterable[str] | None = None,
    weighted: bool = False,
) -> EstimatorState:
    """Learn to estimate quality before labels come, from labelled rows that the model was not trained on.

    ``sample`` has the rows in the order of time where there is one; ``frame`` the rows behind it, of which ``columns``
    (default: all) are read: leave out the target and personal columns. ``weighted`` tries PAPE as well, which later
    needs reference rows again. Raises DataError with fewer than 200 rows, or when frame and sample do not fit.
    """
    if frame is not None and frame.height != sample.n:
        raise DataError(f"{frame.height} rows for {sample.n} scores")
    if sample.n < MIN_REFERENCE_ROWS:
        raise DataError(f"an estimator needs at least {MIN_REFERENCE_ROWS} labelled rows, found {sample.n}")
    if sample.n > MOST_REFERENCE_ROWS:
        latest = np.arange(sample.n - MOST_REFERENCE_ROWS, sample.n)
        sample, frame = sample.take(latest), None if frame is None else frame[-MOST_REFERENCE_ROWS:]
    names = tuple(columns if columns is not None else ([] if frame is None else frame.columns))
    learned = learn(sample, frame, names)
    trials = _Trials(sample, frame, names, learned, weighted=weighted and frame is not None)
    known = estimable(sample.task, decided=sample.task is not Task.BINARY or sample.threshold is not None)
    wanted = [name for name in known if metrics is None or name in set(metrics)]
    design = trials.design()
    given = Reckoning(sample.n, trials.all, trials.told(), trials.realised, design)
    plans = {name: planned(name, given) for name in wanted}
    asked = any(plan.method == CONDITIONAL for plan in plans.values())
    learned = learned.shortened(trials.rounds) if asked else msgspec.structs.replace(learned, trees=None)
    return EstimatorState(
        learned=learned,
        threshold=sample.threshold,
        classes=sample.classes,
        base=trials.base,
        design=design,
        tail=trials.tail,
        lean=trials.lean,
        plans=plans,
    )


@dataclass
class _Fold:
    """One part of the rows [m], and what was learnt without it."""

    rows: NDArray[np.int64]
    rest: NDArray[np.int64]
    learned: Learned


class _Trials:
    """Reference rows, each told by what was learnt without its part."""

    def __init__(
        self, sample: Sample, frame: pl.DataFrame | None, columns: Sequence[str], learned: Learned, *, weighted: bool
    ) -> None:
        self.sample, self._weighted = sample, weighted
        self.base = _base(sample)
        self.tail, self.lean = 4.0, 1.0
        self.rounds = ROUNDS[-1]
        rng = np.random.default_rng(sample.seed)
        self._codes, seen = learned.binning.codes(np.asarray(sample.score, dtype=np.float64), frame)
        self.all = trial_rows(sample.n, seen, rng)
        self._part = _parts(sample, rng)
        self._decision = None
        if sample.task is Task.BINARY and sample.threshold is not None:
            self._decision = sample.decision.astype(np.float64)
        self._plain: Floats = np.empty(0)
        self._conditional: Floats | None = None
        self._square, self._signed = np.zeros(sample.n), np.zeros(sample.n)
        self._cross_fit(frame, columns)
        self._ratios: dict[int, Told] = {}

    def _cross_fit(self, frame: pl.DataFrame | None, columns: Sequence[str]) -> None:
        score = np.asarray(self.sample.score, dtype=np.float64)
        shape = score.shape
        self._plain, trees = np.zeros(shape), False
        by_rounds = {rounds: np.zeros(shape) for rounds in ROUNDS}
        for part in np.unique(self._part):
            held = self._part == part
            own = None if frame is None else frame.filter(~held)
            rest = learn(self.sample.take(~held), own, columns)
            codes, _ = rest.binning.codes(score[held], None if frame is None else frame.filter(held))
            if self.sample.task is Task.REGRESSION:
                self._plain[held], self._square[held], self._signed[held] = rest.expected_errors(codes)
                continue
            self._plain[held] = rest.calibrated(score[held])
            trees |= rest.trees is not None
            for rounds, chance in by_rounds.items():
                chance[held] = rest.shortened(rounds).conditional(score[held], codes)
        if trees:
            self.rounds = max(ROUNDS, key=lambda rounds: float(self._gain(by_rounds[rounds]).mean()))
            gain = self._gain(by_rounds[self.rounds])
            if gain.mean() > _SURE * gain.std() / np.sqrt(len(gain)):
                self._conditional = by_rounds[self.rounds]
        if self.sample.task is Task.REGRESSION:
            self._moments()

    def _gain(self, conditional: Floats) -> Floats:
        """What columns tell beyond the score: by how much each row's log loss is lower [n]."""
        y = self.sample.y
        if self.sample.task is Task.BINARY:
            before, after = (np.where(y == 1, one, 1 - one) for one in (self._plain, conditional))
        else:
            before, after = (one[np.arange(len(y)), y] for one in (self._plain, conditional))
        least = 0.5 / (self.sample.n + 1)
        return np.asarray(np.log(np.maximum(after, least)) - np.log(np.maximum(before, least)), dtype=np.float64)

    def _moments(self) -> None:
        """How heavy a regression's errors are beside what is expected of them."""
        error = np.abs(self.sample.y - self.sample.score)
        squares = np.maximum(self._square, 1e-300)
        self.tail = float(np.clip(np.mean(error**4) / np.mean(squares**2), 2.0, 1e4))
        away = error - self._plain
        self.lean = float(np.clip(np.mean(away**3) / max(np.mean(away**2) ** 1.5, 1e-300), -10, 10))

    def told(self) -> dict[str, Callable[[Trial], Told]]:
        """The rows of a trial by method, the simplest first."""
        if self.sample.task is Task.REGRESSION:
            return {DLE: lambda trial: self._rows(trial.rows, self._plain)}
        ways: dict[str, Callable[[Trial], Told]] = {CBPE: lambda trial: self._rows(trial.rows, self._plain)}
        if self._weighted:
            ways[PAPE] = self._reweighted
        if self._conditional is not None:
            conditional = self._conditional
            ways[CONDITIONAL] = lambda trial: self._rows(trial.rows, conditional)
        return ways

    def _rows(self, rows: NDArray[np.int64], chance: Floats) -> Told:
        return Told(
            task=self.sample.task,
            score=np.asarray(self.sample.score[rows], dtype=np.float64),
            chance=chance[rows],
            base=self.base,
            decision=None if self._decision is None else self._decision[rows],
            square=self._square[rows],
            signed=self._signed[rows],
            tail=self.tail,
            lean=self.lean,
        )

    def _reweighted(self, trial: Trial) -> Told:
        """By a density ratio between the trial and all rows outside of it; kept, since every metric asks again."""
        key = id(trial.rows)
        if key not in self._ratios:
            rest = np.setdiff1d(np.arange(self.sample.n), trial.rows)
            rest = rest[:: max(len(rest) // _MOST_WEIGHTED, 1)]
            weights = density_ratio(self._codes[:, rest], self._codes[:, trial.rows], self.sample.seed)
            scores = np.asarray(self.sample.score[trial.rows], dtype=np.float64)
            found = weighted_chances(self.sample.take(rest), weights, scores)
            whole = np.zeros(self.sample.score.shape)
            whole[trial.rows] = found.chance
            self._ratios[key] = self._rows(trial.rows, whole)
        return self._ratios[key]

    def realised(self, rows: NDArray[np.int64]) -> Told:
        """The same rows with their outcomes in place of chances."""
        y = self.sample.y[rows]
        if self.sample.task is Task.REGRESSION:
            error = y - self.sample.score[rows]
            return self._rows(rows, np.zeros(self.sample.n))._replace(
                chance=np.abs(error), square=error**2, signed=error
            )
        chance = np.eye(self.sample.class_count)[y] if self.sample.task is Task.MULTICLASS else (y == 1).astype(float)
        return self._rows(rows, np.zeros(self.sample.score.shape))._replace(chance=chance)

    def design(self) -> float:
        """By how much entities widen sums of outcomes: cluster-robust over simple variance of what is left, >= 1."""
        clusters = self.sample.clusters
        if clusters is None or cluster_count(clusters) < MIN_CLUSTERS:
            return 1.0
        truth = self.realised(np.arange(self.sample.n)).chance
        left = (truth - self._plain).reshape(self.sample.n, -1)[:, -1]
        left = left - left.mean()
        simple = float(left @ left)
        sums = cluster_sums(clusters, left)
        return float(max(1.0, float(sums @ sums) / simple)) if simple > 0 else 1.0


def _base(sample: Sample) -> tuple[float, ...]:
    if sample.task is Task.REGRESSION:
        return (float(np.mean(sample.y)),) if sample.reference is None else sample.reference
    return tuple(map(float, base_shares(sample)))


def _parts(sample: Sample, rng: np.random.Generator) -> NDArray[np.int64]:
    """Five parts in the order of the rows; of whole entities, by chance, where rows come by entity."""
    if sample.clusters is not None and cluster_count(sample.clusters) < sample.n:
        return folds_of(sample.n, _PARTS, rng, sample.clusters)
    return np.arange(sample.n) * _PARTS // sample.n
