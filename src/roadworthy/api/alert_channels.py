"""A project's alerts as its file declares them: policy, store and channels, and the sending of what waits.

In: an opened project. Out: the objects that judging and people use. Laws: a channel is opened with its first message,
so that whoever sends nothing pays nothing; one that cannot be opened fails as a channel, not as a program.
"""

from __future__ import annotations

from roadworthy import assembly
from roadworthy.adapters.notifiers import DeclaredNotifier, channel_name
from roadworthy.api.alert_pictures import drawing
from roadworthy.lifecycle.alerts import AlertStore, Channel, Delivered, Links, channel_digest, deliver, outbox
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.protocols import Clock
from roadworthy.records.alert import Policy
from roadworthy.transforms.durations import microseconds

__all__ = ["alert_policy", "alert_store", "channels_of", "deliver_due"]

_KEPT_US = 90 * 86_400_000_000


def alert_policy(opened: assembly.Project) -> Policy:
    """How the project's alerts live."""
    declared = opened.spec.alerts
    return Policy(
        hold=declared.hold,
        resolve_after=declared.resolve_after,
        repeat_us=microseconds(declared.repeat, where="[alerts] repeat") if declared.repeat else 0,
        least=declared.severity,
    )


def channels_of(opened: assembly.Project) -> dict[str, Channel]:
    """Where messages go, by digest, in the order of the project file."""
    found = {}
    for place, address in enumerate(opened.spec.alerts.notify):
        digest = channel_digest(opened.spec.name, address)
        where = f"[alerts] notify, address {place + 1}"
        found[digest] = Channel(channel_name(address, digest), DeclaredNotifier(address, where=where))
    return found


def alert_store(opened: assembly.Project) -> AlertStore:
    """The project's alerts, told to its channels."""
    declared = opened.spec.alerts
    digests = [channel_digest(opened.spec.name, address) for address in declared.notify]
    links = Links(runbook=declared.runbook, dashboard=declared.dashboard)
    return AlertStore(opened.spec.name, channels=digests, links=links)


def deliver_due(opened: assembly.Project, transactions: Transactions, clock: Clock, *, most: int = 10) -> Delivered:
    """Queue the reminders that are due and send what waits, at most ``most`` messages. Not inside a transaction.

    Messages that were sent more than 90 days ago are forgotten.
    """
    store, policy = alert_store(opened), alert_policy(opened)
    now_us = int(clock.now().timestamp() * 1e6)
    with transactions.changing() as connection:
        outbox.forget(connection, store.project, now_us - _KEPT_US)
        store.remind(connection, policy, now_us)
    draw = drawing(opened.file)
    return deliver(transactions, store, channels_of(opened), policy, clock, most=most, draw=draw)
