"""Notifiers: how a message about an alert leaves the machine.

In: the addresses under ``[alerts] notify``, with ``${NAME}`` for what the environment knows. Out: ``Notifier`` objects
(``protocols.Notifier``), and names of channels that people may read. Laws: no address, and no part of one but its
scheme, is in any log, error or name.
"""

from __future__ import annotations

from roadworthy.adapters.notifiers.addresses import DeclaredNotifier, channel_name
from roadworthy.adapters.notifiers.by_apprise import AppriseNotifier

__all__ = ["AppriseNotifier", "DeclaredNotifier", "channel_name"]
