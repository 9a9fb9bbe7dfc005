"""Whether a model can tell two tables apart: all columns at once, whatever way they go together.

In: two frames of the same columns. Out: one ``Shift``. Law: neither the model nor the cells that it looks at have
learnt of the rows that are told apart, so that p is that of an ordinary rank test.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import log_ndtr
from scipy.stats import rankdata

from roadworthy.measures.codes import filled
from roadworthy.measures.drift.words import with_p
from roadworthy.measures.sketches import CategorySketch, NumberSketch, Reference, cells_of, sketch
from roadworthy.records.shift import Shift, ShiftKind

__all__ = ["SUBJECT", "told_apart"]

SUBJECT = "all columns"
_LEAST = 200  # rows of each table
_MOST = 20_000
_TREES = 60


def told_apart(reference: pl.DataFrame, current: pl.DataFrame, *, seed: int = 7) -> Shift:
    """A classifier two-sample test (Lopez-Paz and Oquab 2017): gradient boosting learns on half of the rows of both.

    Its scores of the other half are compared by ranks: p is Wilcoxon's, one-sided, the tail widened after Bernstein;
    ``effect`` is 2 AUC − 1, less what chance adds. Of each table at most 20,000 rows, drawn at random, are looked at.
    """
    n, m = current.height, reference.height
    if min(n, m) < _LEAST:
        return _insufficient(n, m, f"{min(n, m)} rows; it takes {_LEAST}")
    if not reference.width:
        return _insufficient(n, m, "there are no columns to look at")
    rng = np.random.default_rng(seed)
    shuffled = [frame[rng.permutation(frame.height)[:_MOST].tolist()] for frame in (reference, current)]
    learnt, told = ([frame.gather_every(2, part) for frame in shuffled] for part in (0, 1))
    like = sketch(learnt[0], reference.columns)
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - 150 MB; who looks needs none

    model = HistGradientBoostingClassifier(
        max_iter=_TREES, max_leaf_nodes=8, min_samples_leaf=30, class_weight="balanced", random_state=seed
    )
    model.fit(np.concatenate([_cells(like, one) for one in learnt]), np.repeat([0, 1], [one.height for one in learnt]))
    scores = [model.decision_function(_cells(like, one)) for one in told]
    auc, log_p = _ranked(*scores)
    p = max(1e-300, float(np.exp(log_p)))
    a, b = (one.height for one in told)
    chance = (a + b + 1) / (12 * a * b)
    effect = float(2 * np.sqrt(max(0.0, max(0.0, auc - 0.5) ** 2 - chance)))
    text = f"a model tells the current rows from the reference (AUC {auc:.2f} on rows that it did not learn of)"
    sentence = text if p <= 0.05 else f"a model cannot tell the current rows from the reference (AUC {auc:.2f})"
    return Shift(
        subject=SUBJECT,
        kind=ShiftKind.TOGETHER,
        p=p,
        effect=min(1.0, effect),
        n=b,
        reference_n=a,
        sentence=with_p(sentence, p, effect),
        details={"auc": auc},
    )


def _cells(like: Reference, frame: pl.DataFrame) -> NDArray[np.float64]:
    """The cell of each value [n, c], NaN where it is missing."""
    sketches: dict[str, NumberSketch | CategorySketch] = {**like.numbers, **like.categories}
    columns = []
    for name, one in sketches.items():
        column = frame.get_column(name)
        codes = cells_of(one, column)
        whole = filled(codes, column) if isinstance(one, NumberSketch) else codes
        columns.append(np.where(whole < 0, np.nan, whole.astype(np.float64)))
    return np.stack(columns, axis=1)


def _ranked(old: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[float, float]:
    """AUC of ``new`` above ``old``, and log p that it is above a half; ties count half."""
    m, n = len(old), len(new)
    ranks = rankdata(np.concatenate([old, new]))
    auc = (ranks[m:].sum() - n * (n + 1) / 2) / (n * m)
    spread = float(ranks.std(ddof=1)) * np.sqrt((n + m) / (n * m)) / (n + m)
    if spread <= 0:
        return 0.5, 0.0
    z = (auc - 0.5) / spread
    reach = float(np.abs(ranks - ranks.mean()).max()) / (float(ranks.std()) * np.sqrt(min(n, m)))
    return float(auc), float(log_ndtr(-z / np.sqrt(1 + reach * max(z, 0.0) / 3)))


def _insufficient(n: int, m: int, lacks: str) -> Shift:
    sentence = f"nothing can be said of {SUBJECT}: {lacks}"
    return Shift(subject=SUBJECT, kind=ShiftKind.TOGETHER, n=n, reference_n=m, insufficient=lacks, sentence=sentence)
