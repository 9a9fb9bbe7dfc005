"""How a fresh process loads an XGBoost file: with XGBoost alone, on one thread. Read by ``graphs.fresh_child``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xgboost


def load(path: str) -> Callable[[dict[str, Any]], Any]:
    """The booster, ready to predict the matrix ``X``."""
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(Path(path).read_bytes()))  # bytes: of a file it would ask the name what it is
    booster.set_param({"nthread": 1})
    best = booster.attr("best_iteration")
    rounds = (0, 0) if best is None else (0, int(best) + 1)
    return lambda feed: booster.inplace_predict(feed["X"], iteration_range=rounds, validate_features=False)
