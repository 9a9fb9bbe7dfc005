"""The checks of the inspection, in the order in which people read them.

Owns the table: which check measures which metrics, when it applies, how many steps it announces. The arithmetic is in
``measures``. A new check is a function ``(Examined, Brief) -> Found`` there and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from roadworthy.errors import UnknownName
from roadworthy.measures.examined import Brief, Examined
from roadworthy.records.evidence import Found

__all__ = ["CHECKS", "Check", "checks_named"]


def _always(_examined: Examined, _brief: Brief) -> bool:
    return True


def _unknown(_examined: Examined, _brief: Brief) -> int | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: ``title`` says it to people, ``metrics`` are those that it alone measures."""

    name: str
    title: str
    run: Callable[[Examined, Brief], Found]
    metrics: tuple[str, ...] = ()
    applies: Callable[[Examined, Brief], bool] = _always
    steps: Callable[[Examined, Brief], int | None] = _unknown


CHECKS: tuple[Check, ...] = ()
"""Every check."""


def checks_named(names: Iterable[str]) -> tuple[Check, ...]:
    """The checks of those names, in the order of the table; UnknownName for one that is not there."""
    known = {check.name for check in CHECKS}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise UnknownName("check", name, known)
    return tuple(check for check in CHECKS if check.name in wanted)
