"""The Python calls, one per command: what the command line prints, these return.

In: paths, rows, frames. Out: records. Nothing here prints; progress goes to the ``Reporter`` that is passed. Each
call's module is imported when it is first asked for: a prediction does not wait for what training needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.api.answers import Prediction, ScoreResult, predict, score, trace
    from roadworthy.api.asking import AsyncClient, Client, Served
    from roadworthy.api.inspection import Inspection, inspect
    from roadworthy.api.keyring import KeyView, key
    from roadworthy.api.packaging import Packaged, package
    from roadworthy.api.project import InitResult, RunOutcome, init, run
    from roadworthy.api.registered import promote, status
    from roadworthy.api.serving import Serving, serve
    from roadworthy.api.signed import SignedView, attest, waive

__all__ = [
    "AsyncClient",
    "Client",
    "InitResult",
    "Inspection",
    "KeyView",
    "Packaged",
    "Prediction",
    "RunOutcome",
    "ScoreResult",
    "Served",
    "Serving",
    "SignedView",
    "attest",
    "init",
    "inspect",
    "key",
    "package",
    "predict",
    "promote",
    "run",
    "score",
    "serve",
    "status",
    "trace",
    "waive",
]

_HOMES = {
    "AsyncClient": "asking",
    "Client": "asking",
    "InitResult": "project",
    "Inspection": "inspection",
    "KeyView": "keyring",
    "Packaged": "packaging",
    "Prediction": "answers",
    "RunOutcome": "project",
    "ScoreResult": "answers",
    "Served": "asking",
    "Serving": "serving",
    "SignedView": "signed",
    "attest": "signed",
    "init": "project",
    "inspect": "inspection",
    "key": "keyring",
    "package": "packaging",
    "predict": "answers",
    "promote": "registered",
    "run": "project",
    "score": "answers",
    "serve": "serving",
    "status": "registered",
    "trace": "answers",
    "waive": "signed",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"roadworthy.api.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'roadworthy.api' has no attribute {name!r}")
