"""How a fresh process loads a LightGBM file: with LightGBM alone, on one thread. Read by ``graphs.fresh_child``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm


def load(path: str) -> Callable[[dict[str, Any]], Any]:
    """The booster, ready to predict the matrix ``X``."""
    booster = lightgbm.Booster(model_file=path)
    return lambda feed: booster.predict(feed["X"], num_threads=1)
