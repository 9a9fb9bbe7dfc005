"""The parameters of one training: a trainer's defaults, overridden by what the project file says.

Law: a parameter that the trainer does not know is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from roadworthy.errors import UnknownName

__all__ = ["settled"]


def settled(
    candidate: str, defaults: Mapping[str, Any], declared: Mapping[str, Any], *, also: Iterable[str] = ()
) -> dict[str, Any]:
    """All parameters; raises UnknownName for a declared one that is neither among the defaults nor in ``also``.

    >>> settled("logistic", {"C": 1.0, "iterations": 500}, {"C": 0.1})
    {'C': 0.1, 'iterations': 500}
    """
    known = {*defaults, *also}
    for name in declared:
        if name not in known:
            raise UnknownName("parameter", name, known, where=f"[training.parameters.{candidate}]")
    return {**defaults, **declared}
