"""Public conformance checks for every protocol, and an in-memory one of each.

In: a function that makes an implementation. Out: nothing, or ``ConformanceError`` with the law that was
broken. Whoever writes a source, a store or a trainer of their own runs the same checks as Roadworthy does:

    from roadworthy.testing import check_source
    check_source(lambda: MySource("…"))
"""

from __future__ import annotations

from roadworthy.testing.failure import ConformanceError
from roadworthy.testing.memory import FixedClock, MemorySource, MemoryStore, SilentReporter
from roadworthy.testing.notifiers import MemoryNotifier, check_notifier
from roadworthy.testing.sources import check_source
from roadworthy.testing.stores import check_store
from roadworthy.testing.trainers import check_trainer

__all__ = [
    "ConformanceError",
    "FixedClock",
    "MemoryNotifier",
    "MemorySource",
    "MemoryStore",
    "SilentReporter",
    "check_notifier",
    "check_source",
    "check_store",
    "check_trainer",
]
