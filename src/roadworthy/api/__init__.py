"""The Python calls, one per command: what the command line prints, these return.

In: paths, rows, frames. Out: records. Nothing here prints; progress goes to the ``Reporter`` that is passed. Each
call's module is imported when it is first asked for: a prediction does not wait for what training needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.api.alerting import AlertsView, alerts
    from roadworthy.api.answers import Prediction, ScoreResult, predict, score, trace
    from roadworthy.api.asking import AsyncClient, Client, Served
    from roadworthy.api.comparing import Comparison, compare
    from roadworthy.api.estimating import Estimate, estimate
    from roadworthy.api.feeding_back import FeedbackView, feedback
    from roadworthy.api.inspection import Inspection, inspect
    from roadworthy.api.keyring import KeyView, key
    from roadworthy.api.packaging import Packaged, package
    from roadworthy.api.project import InitResult, RunOutcome, init, run
    from roadworthy.api.registered import promote, status
    from roadworthy.api.running_up import up
    from roadworthy.api.serving import Serving, serve
    from roadworthy.api.signed import SignedView, attest, waive
    from roadworthy.api.watching import WatchResult, WindowsView, WindowView, watch, windows

__all__ = [
    "AlertsView",
    "AsyncClient",
    "Client",
    "Comparison",
    "Estimate",
    "FeedbackView",
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
    "WatchResult",
    "WindowView",
    "WindowsView",
    "alerts",
    "attest",
    "compare",
    "estimate",
    "feedback",
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
    "up",
    "waive",
    "watch",
    "windows",
]

_HOMES = {
    "AlertsView": "alerting",
    "AsyncClient": "asking",
    "Client": "asking",
    "Comparison": "comparing",
    "Estimate": "estimating",
    "FeedbackView": "feeding_back",
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
    "WatchResult": "watching",
    "WindowView": "watching",
    "WindowsView": "watching",
    "alerts": "alerting",
    "attest": "signed",
    "compare": "comparing",
    "estimate": "estimating",
    "feedback": "feeding_back",
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
    "up": "running_up",
    "waive": "signed",
    "watch": "watching",
    "windows": "watching",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"roadworthy.api.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'roadworthy.api' has no attribute {name!r}")
