"""Alerts with a life: from signals to people, and what people do with them.

In: signals of judged windows. Out: alerts, their history, and messages in an outbox. ``life`` is the pure state
machine, ``store`` lets signals act inside the caller's transaction, ``outbox`` and ``delivery`` send, ``people`` is
what a person does, with its link in the audit chain.
"""

from __future__ import annotations

from roadworthy.lifecycle.alerts.delivery import Channel, Delivered, deliver
from roadworthy.lifecycle.alerts.outbox import Backlog, channel_digest
from roadworthy.lifecycle.alerts.runbook import Links
from roadworthy.lifecycle.alerts.store import AlertStore, Applied

__all__ = [
    "AlertStore",
    "Applied",
    "Backlog",
    "Channel",
    "Delivered",
    "Links",
    "channel_digest",
    "deliver",
]
