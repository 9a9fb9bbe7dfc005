"""``key``: the API keys of a project's servers, as the registry keeps them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from roadworthy import assembly
from roadworthy.errors import UnknownName, UsageError
from roadworthy.lifecycle.api_keys import KeyRecord
from roadworthy.serving.keys import new_key

__all__ = ["KeyLine", "KeyView", "key"]

_ACTIONS = ("create", "list", "revoke")


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """One key as people may see it; ``revoked_at`` is empty while it is accepted."""

    id: str
    name: str
    created_at: str
    revoked_at: str


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and the keys that it is about. ``secret`` is a new key's whole text, shown this once."""

    did: str
    keys: tuple[KeyLine, ...]
    secret: str = ""


def key(action: str = "list", which: str = "", *, project: Path | str = assembly.PROJECT_FILE) -> KeyView:
    """``create`` a key under a name, ``list`` all, or ``revoke`` one by its id; running servers follow within seconds.

    Only SHA-256 of a key is kept. Raises UnknownName for another action and for an id that is no key's, UsageError for
    a name that is none or taken.
    """
    if action not in _ACTIONS:
        raise UnknownName("action", action, _ACTIONS, next_step="roadworthy key list")
    if (action == "list") == bool(which):
        wanted = {"create": "roadworthy key create NAME", "revoke": "roadworthy key revoke ID"}
        raise UsageError(
            "key list takes no name" if which else f"key {action} needs to know which",
            next_step=wanted.get(action, "roadworthy key list"),
        )
    opened = assembly.open_project(project)
    with assembly.opened_registry(opened) as registry:
        if action == "list":
            return KeyView(did="listed", keys=tuple(_line(record) for record in registry.api_keys()))
        if action == "revoke":
            return KeyView(did="revoked", keys=(_line(registry.revoke_api_key(which)),))
        made, secret = new_key(which)
        record = registry.add_api_key(made.id, made.name, made.digest)
    return KeyView(did="created", keys=(_line(record),), secret=secret)


def _line(record: KeyRecord) -> KeyLine:
    return KeyLine(id=record.id, name=record.name, created_at=record.created_at, revoked_at=record.revoked_at)
