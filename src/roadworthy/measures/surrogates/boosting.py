"""Gradient-boosted trees as a surrogate (LightGBM, Ke et al. 2017): sixty small ones, a second for thousands of rows.

In: encoded rows and their outcome. Out: scores of other rows, and what each column gained. Laws: one core; the same
seed gives the same scores; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWN", "ROUNDS", "boosted"]

ROUNDS = 60

DRAWN = 200
"""Of more columns than these each tree draws so many by chance, so that all of them take part and time is bounded."""


def boosted(
    x: NDArray[np.float32],
    y: NDArray[Any],
    classes: int,
    asked: NDArray[np.float32],
    *,
    named: Sequence[int] = (),
    leaf: int,
    shrinkage: float,
    seed: int,
    rounds: int = ROUNDS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Trees of ``x`` [n, d] and ``y`` [n], asked about rows [m, d]: their scores, and what each column gained [d].

    ``classes`` is 0 for numbers: scores [m] are estimates; 2: chances [m] of class 1; more: [m, K]. ``named`` are the
    places of columns whose numbers are codes of levels; ``leaf`` is the fewest rows of a leaf, ``shrinkage`` its L2
    penalty in rows. Of more than 200 columns each tree draws 200.
    """
    import lightgbm  # noqa: PLC0415  # two seconds, needed only where something is trained

    centre, deviation = (float(y.mean()), float(y.std()) or 1.0) if not classes else (0.0, 1.0)
    told = {0: {"objective": "regression"}, 2: {"objective": "binary"}}
    parameters: dict[str, Any] = {
        **told.get(classes, {"objective": "multiclass", "num_class": classes}),
        "learning_rate": 0.1,
        "num_leaves": 15,
        "min_data_in_leaf": leaf,
        "lambda_l2": shrinkage,
        "min_data_per_group": 20,
        "cat_smooth": 20,
        "feature_fraction": min(1.0, DRAWN / max(x.shape[1], 1)),
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    rows = lightgbm.Dataset(
        x,
        label=(y - centre) / deviation if not classes else y,
        categorical_feature=list(named),
        params={"verbosity": -1, "max_bin": 63, "min_data_in_bin": 1},
        free_raw_data=False,
    )
    booster = lightgbm.train(parameters, rows, num_boost_round=rounds)
    scores = np.asarray(booster.predict(asked), dtype=np.float64)
    return scores if classes else scores * deviation + centre, np.asarray(booster.feature_importance("gain"))
