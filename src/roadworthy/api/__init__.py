"""The Python calls, one per command: what the command line prints, these return.

In: paths, rows, frames. Out: records. Nothing here prints; progress goes to the ``Reporter`` that is passed. Each
call's module is imported when it is first asked for: a prediction does not wait for what training needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.api.answers import Prediction, ScoreResult, predict, score, trace
    from roadworthy.api.inspection import Inspection, inspect
    from roadworthy.api.project import InitResult, RunOutcome, init, run
    from roadworthy.api.registered import promote, status
    from roadworthy.api.signed import SignedView, attest, waive

__all__ = [
    "InitResult",
    "Inspection",
    "Prediction",
    "RunOutcome",
    "ScoreResult",
    "SignedView",
    "attest",
    "init",
    "inspect",
    "predict",
    "promote",
    "run",
    "score",
    "status",
    "trace",
    "waive",
]

_HOMES = {
    "InitResult": "project",
    "Inspection": "inspection",
    "Prediction": "answers",
    "RunOutcome": "project",
    "ScoreResult": "answers",
    "SignedView": "signed",
    "attest": "signed",
    "init": "project",
    "inspect": "inspection",
    "predict": "answers",
    "promote": "registered",
    "run": "project",
    "score": "answers",
    "status": "registered",
    "trace": "answers",
    "waive": "signed",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"roadworthy.api.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'roadworthy.api' has no attribute {name!r}")
