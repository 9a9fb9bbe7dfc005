"""The past that features look at, on disk, shared by all workers of a machine.

In: clean rows of history, and events. Out: the values of aggregates at a moment. How it is kept:
docs/decisions/0036-entity-state.md.
"""

from __future__ import annotations

from roadworthy.adapters.entity_state.reading import KeptState
from roadworthy.adapters.entity_state.store import IDENTITY, EntityStore, EventSink

__all__ = ["IDENTITY", "EntityStore", "EventSink", "KeptState"]
