"""What `init` noticed, as lines for a person.

In: an ``Inference``. Out: one line for each thing, the same thing said of several columns as one line for all of
them. Law: every note and every column that is left out is in a line, if only counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roadworthy.transforms.inference import Inference

__all__ = ["noticed"]

_NUMBER = re.compile(r"-?[0-9][0-9,.]*")
_NAMED = 6


def noticed(found: Inference) -> list[str]:
    """The task first, then special columns, then those that are left out, then the rest, in the order found."""
    said = [(note.kind, note.column, note.sentence) for note in found.notes if note.column not in found.exclude]
    out = [("exclude", column, f"left out: {reason}") for column, reason in found.exclude.items()]
    ranks = {"task": 0, "time": 1, "entity": 1, "personal": 2, "protected": 2, "exclude": 3, "leak": 4}
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for kind, column, sentence in sorted(said + out, key=lambda item: ranks.get(item[0], 5)):
        groups.setdefault((kind, _NUMBER.sub("0", sentence)), []).append((column, sentence))
    return [_line(members) for members in groups.values()]


def _line(members: list[tuple[str, str]]) -> str:
    column, sentence = members[0]
    if len(members) == 1:
        return f"{column or 'table'}: {sentence}"
    names = ", ".join(name for name, _ in members[:_NAMED])
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    alike = "" if all(other == sentence for _, other in members) else f" (so {column}; the others likewise)"
    return f"{len(members)} columns: {sentence}{alike}: {names}{more}"
