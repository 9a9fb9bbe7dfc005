"""The features of the past of one live row, from a state that is kept.

In: clean rows, a ``Past``. Out: the aggregates of a row at its time, strictly before it. Laws: they are what history
has for such a row, bit for bit; a row without owner or time has no past; nothing is changed by looking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.records.contract import ColumnContract, ColumnType
from roadworthy.serving.fields import micros
from roadworthy.transforms.entity_state import StateLayout, owner_key
from roadworthy.transforms.kept import HashOne, hidden, plain_text

__all__ = ["Past", "Seeker"]


class Past(Protocol):
    """A state that is kept."""

    @property
    def layout(self) -> StateLayout:
        """What it keeps, and for whom."""
        ...

    def values(self, owners: Sequence[bytes | None], time: int) -> list[float | None]:
        """Every aggregate at ``time`` (microseconds), in declared order; ``owners`` as the layout's groups.

        Raises TooOld where a part of that past is kept no more.
        """
        ...


class _Owner(NamedTuple):
    """Where in a row an owner stands, and how its value becomes the one that is kept."""

    at: int
    by: str
    kind: ColumnType
    clean: Callable[[Any], Any] | None


class Seeker:
    """Finds the past of rows: ``fields`` in their order, then ``kept``, which stand there as they came."""

    def __init__(
        self,
        past: Past,
        contract: ServingContract,
        fields: Sequence[str],
        kept: Sequence[str],
        hash_one: HashOne | None,
    ) -> None:
        self.past = past
        layout = past.layout
        places = {name: at for at, name in enumerate((*fields, *kept))}
        self._time = places[layout.time]
        self._owners = tuple(
            _Owner(
                places[group.by],
                group.by,
                group.kind,
                _cleaner(group.kind, contract.contract.columns[group.by], hash_one, raw=group.by in kept),
            )
            for group in layout.groups
        )

    def values(self, row: Sequence[Any]) -> list[float | None] | None:
        """The aggregates of a row in declared order; None where nothing of it tells whose past it is, or when."""
        time = row[self._time]
        if time is None:
            return None
        owners: list[bytes | None] = []
        for at, by, kind, clean in self._owners:
            value = row[at]
            if value is not None and clean is not None:
                value = clean(value)
            owners.append(None if value is None else owner_key(by, value, kind))
        return self.past.values(owners, micros(time)) if any(owners) else None


def _cleaner(
    kind: ColumnType, column: ColumnContract, hash_one: HashOne | None, *, raw: bool
) -> Callable[[Any], Any] | None:
    """What makes of a row's value the clean one; None where it is. Personal values alone stand there as they came."""
    if not raw:
        return micros if kind is ColumnType.TIME else None
    if hash_one is None:
        return lambda _value: None
    if column.sentinels:
        return lambda value: hidden([plain_text(value)], column, hash_one)[0]
    return lambda value: None if (text := plain_text(value)) is None else hash_one(text)
