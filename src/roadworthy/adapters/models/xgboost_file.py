"""XGBoost's own files (Chen and Guestrin 2016): ``booster.save_model("model.json")`` or ``model.ubj``.

In: the file. Out: an ``OpenBooster``. Laws: only JSON and UBJSON are read, never a pickle; the library is the extra
``xgboost``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.adapters.models.booster import OpenBooster, numbers_matrix
from roadworthy.adapters.models.xgboost_graph import xgboost_graph
from roadworthy.errors import MissingExtra, ModelError, Problem
from roadworthy.records.digests import digest_bytes
from roadworthy.records.project import Task

try:
    import xgboost
except ImportError as failure:
    raise MissingExtra(
        "an XGBoost file needs XGBoost, which is not installed",
        next_step='pip install "roadworthy[xgboost]", or export the model to ONNX (onnxmltools.convert_xgboost)',
    ) from failure

__all__ = ["open_xgboost"]

_TASKS: dict[str, Task | None] = {
    "binary:logistic": Task.BINARY,
    "binary:logitraw": Task.BINARY,
    "multi:softprob": Task.MULTICLASS,
    "multi:softmax": Task.MULTICLASS,
    "reg:logistic": None,
}
_PLACE = re.compile(r"^(\[[^\]]*\]\s*)?(\S+\.(cc|h|cu):\d+:\s*)?")
_REFUSED = {
    "binary:hinge": "gives labels without probabilities, which cannot be measured honestly",
    "rank:": "ranks: its scores mean something only within a query",
    "survival:": "predicts survival, which is neither a class nor a plain number",
}


def open_xgboost(path: Path) -> OpenBooster:
    """The booster in a file. ModelError for one that is cut off, damaged, or predicts neither class nor number."""
    booster = xgboost.Booster({"nthread": 1})
    content = path.read_bytes()
    try:
        booster.load_model(bytearray(content))  # bytes: of a file it would ask the name what it is
        booster.set_param({"nthread": 1})
        objective = str(json.loads(booster.save_config())["learner"]["objective"]["name"])
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise ModelError(
            f"{path} is no XGBoost model that XGBoost {xgboost.__version__} can read, or is cut off: {_said(error)}",
            next_step="save the model again with booster.save_model, then compare sizes",
        ) from error
    _refuse(booster, objective, path)
    best = booster.attr("best_iteration")
    rounds = (0, int(best) + 1) if best is not None else (0, 0)
    kind = "margin" if objective == "multi:softmax" else "value"

    def predict(x: NDArray[np.float64]) -> NDArray[np.float64]:
        found = booster.inplace_predict(x, iteration_range=rounds, predict_type=kind, validate_features=False)
        return np.asarray(found, dtype=np.float64)

    return OpenBooster(
        file=path,
        digest=digest_bytes(content),
        names=tuple(booster.feature_names or ()),
        width=int(booster.num_features()),
        task=_TASKS.get(objective, Task.REGRESSION),
        matrix=numbers_matrix,
        predict=predict,
        loader=Path(__file__).with_name("fresh_xgboost.py"),
        notes=(f"trees after round {best} are left out: training stopped early there",) if best is not None else (),
        graph=lambda: xgboost_graph(bytes(booster.save_raw("json")), rounds[1], margins=kind == "margin"),
    )


def _refuse(booster: Any, objective: str, path: Path) -> None:
    for start, reason in _REFUSED.items():
        if objective.startswith(start):
            raise ModelError(f"{path} ({objective}) {reason}")
    categorical = [
        name
        for name, kind in zip(booster.feature_names or (), booster.feature_types or (), strict=False)
        if kind == "c"
    ]
    if categorical:
        raise ModelError(
            f"{path} was fitted on categorical columns, whose codes the file does not tell",
            problems=[Problem("categorical", where=f"column {name}", expected="numbers") for name in categorical],
            next_step="pass the estimator from Python: rw.inspect(estimator, X, y)",
        )


def _said(error: Exception) -> str:
    """XGBoost's reason without the place in its source and the stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return _PLACE.sub("", first)[:200] or "no reason given"
