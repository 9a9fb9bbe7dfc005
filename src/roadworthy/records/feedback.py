"""The noun of the way back: what was later known of a prediction."""

from __future__ import annotations

import msgspec

__all__ = ["Feedback"]


class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One label, for a prediction (``id`` and ``row``) or for an entity at a time.

    ``at_us``, when it came, and ``time_us`` are microseconds since 1970 in UTC. ``entity`` is its text form, or its
    keyed hash where it is personal. Either ``label`` (a class) or ``value`` (regression) is set. ``key`` is the digest
    of the caller's idempotency key, ``place`` where the label stood in the request, ``who`` the name of the API key or
    of the person that told it, empty where none was asked for.
    """

    at_us: int
    id: str = ""
    row: int = 0
    entity: str = ""
    time_us: int | None = None
    label: str = ""
    value: float | None = None
    comment: str = ""
    key: str = ""
    place: int = 0
    who: str = ""
