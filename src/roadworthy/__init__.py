"""Roadworthy: takes a model from raw rows to monitored production and holds it to one declared standard.

The public calls, one per command; importing this package is free, a call imports what it needs.

>>> import roadworthy as rw
>>> sorted(rw.__all__)  # doctest: +NORMALIZE_WHITESPACE
['AsyncClient', 'Client', 'alerts', 'attest', 'compare', 'dashboard', 'estimate', 'feedback', 'init', 'inspect', 'key',
 'package', 'predict', 'promote', 'run', 'score', 'serve', 'status', 'trace', 'up', 'waive', 'watch', 'windows']
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.api import (
        AsyncClient,
        Client,
        alerts,
        attest,
        compare,
        estimate,
        feedback,
        init,
        inspect,
        key,
        package,
        predict,
        promote,
        run,
        score,
        serve,
        status,
        trace,
        up,
        waive,
        watch,
        windows,
    )
    from roadworthy.web import dashboard

__all__ = [
    "AsyncClient",
    "Client",
    "alerts",
    "attest",
    "compare",
    "dashboard",
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
__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would report models' names and digests to its maker


def __getattr__(name: str) -> Any:
    if name == "dashboard":
        from roadworthy import web  # noqa: PLC0415 - as below

        return web.dashboard
    if name in __all__:
        from roadworthy import api  # noqa: PLC0415 - two seconds that `import roadworthy` must not cost

        return getattr(api, name)
    raise AttributeError(f"module 'roadworthy' has no attribute {name!r}; it has {', '.join(__all__)}")
