"""``Client`` and ``AsyncClient``: asking a server from Python."""

from __future__ import annotations

from roadworthy.adapters.client import AsyncClient, Client, Served, ServerRefused, ServerUnreachable

__all__ = ["AsyncClient", "Client", "Served", "ServerRefused", "ServerUnreachable"]
