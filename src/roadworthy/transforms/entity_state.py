"""What of the past a project's aggregates need, as a plan for a state that is kept while events come.

In: a project's declarations. Out: a ``StateLayout``: which columns an event must have, what is kept of it, for whom,
for how long, and where the value of each feature is found. Laws: the layout's digest names all of that, so that two
layouts of one digest keep the same of every event; what is kept answers as ``FeaturePlan.apply`` does over the same
events, bit for bit; nothing is kept that no aggregate asks for.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from roadworthy.records.contract import ColumnType, Contract
from roadworthy.records.digests import Digest, digest_bytes
from roadworthy.records.project import DataSpec, ProjectSpec, Task
from roadworthy.transforms.aggregates import ROW, Look, Ratio
from roadworthy.transforms.aggregates.chunks import Entries, entries_of
from roadworthy.transforms.aggregates.forms import form_of
from roadworthy.transforms.aggregates.lookback import Position, divided, value_of
from roadworthy.transforms.expressions import Expression, to_polars
from roadworthy.transforms.features import Feature, FeaturePlan

__all__ = ["Arrived", "Group", "Owned", "StateLayout", "Taken", "owner_key"]

_KEY_BYTES = 16
_NAN = float("nan")

Find = Callable[[bytes, int], Position | None]
"""The position of a time among the entries of an owner; None where nothing of the owner was ever kept."""

Between = Callable[[Position, Position], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Group:
    """Looks that go by one column. ``window_us`` is the longest of their windows, None where one has none."""

    by: str
    kind: ColumnType
    looks: tuple[Look, ...]

    @property
    def window_us(self) -> int | None:
        """How far back any of the looks sees; None where one sees everything."""
        windows = [look.window_us for look in self.looks]
        return None if None in windows else max(window for window in windows if window is not None)


class Owned(NamedTuple):
    """Entries of one owner, by (time, order)."""

    owner: bytes
    entries: Entries


class Arrived(NamedTuple):
    """Events of one request: clean rows [n], and for each its identity, None where it has none.

    ``marks`` are digests of their content, by which a row that comes again is told from another under one identity.
    """

    rows: pl.DataFrame
    ids: tuple[bytes | None, ...]
    marks: tuple[bytes, ...]


class Taken(NamedTuple):
    """What became of the events of one request.

    ``clashes`` are the places of events whose identity came before with another content; then none was taken.
    ``repeated`` had come before; ``too_old`` are older than what any state still keeps, and stand in the lake alone.
    """

    accepted: int
    repeated: int = 0
    too_old: int = 0
    clashes: tuple[int, ...] = ()


class _Value(NamedTuple):
    """Where a look is kept: its group, and its place there."""

    group: int
    look: int


@dataclass(frozen=True)
class StateLayout:
    """``features`` names each aggregate with the one or two places of its looks.

    ``lacking`` says why no state can be kept, one reason for each feature; empty where one can.
    """

    plan: FeaturePlan
    groups: tuple[Group, ...]
    features: tuple[tuple[str, tuple[_Value, ...]], ...]
    definition: bytes
    lacking: tuple[str, ...]

    @classmethod
    def build(cls, spec: ProjectSpec) -> StateLayout:
        """The layout of a project's aggregates, in declared order."""
        plan = FeaturePlan.build(spec)
        declared = {feature.name: feature for feature in plan.features}
        aggregates = [declared[name] for name in plan.declared if not isinstance(declared[name].form, Expression)]
        groups: dict[str, list[Look]] = {}
        places = []
        for feature in aggregates:
            found = []
            for look in _looks(feature):
                own = groups.setdefault(look.by, [])
                found.append((look.by, len(own)))
                own.append(look)
            places.append((feature.name, found))
        names = list(groups)
        features = tuple((name, tuple(_Value(names.index(by), at) for by, at in found)) for name, found in places)
        lacking = tuple(_lacking(plan, aggregates))
        kinds = plan.columns
        made = tuple(Group(by, kinds.get(by, ColumnType.TEXT), tuple(looks)) for by, looks in groups.items())
        return cls(plan, made, features, _definition(spec, plan), lacking)

    @classmethod
    def restored(cls, definition: bytes) -> StateLayout:
        """The layout of a definition; whoever keeps it can read events for it without any bundle."""
        return cls.build(msgspec.json.decode(definition, type=ProjectSpec))

    @cached_property
    def digest(self) -> Digest:
        """Names all that decides what is kept of an event."""
        return digest_bytes(self.definition)

    @property
    def time(self) -> str:
        """The column that says when."""
        return self.plan.time

    @property
    def columns(self) -> frozenset[str]:
        """The columns that an event must have."""
        return self.plan.past_columns

    def entries(self, rows: pl.DataFrame) -> Iterator[tuple[int, Iterator[Owned]]]:
        """What is kept of clean rows: for each group, its number and the entries of each owner.

        ``rows`` hold ``columns``, and the order of equal times as ``_row``. A row without owner or time is nobody's,
        and one that is no event of any look is not kept.
        """
        for feature in self.plan.features:  # in computing order
            form = feature.form
            if not isinstance(form, Expression) or feature.step:
                continue
            if set(form.columns) <= set(rows.columns):  # ``columns`` has all that a look reads
                rows = rows.with_columns(to_polars(form).alias(feature.name))
        rows = rows.filter(pl.col(self.time).is_not_null())
        for number, group in enumerate(self.groups):
            yield number, _owned(rows, group, self.time)

    def values(self, owners: Sequence[bytes | None], time: int, find: Find, between: Between) -> list[float | None]:
        """Every aggregate for a row at ``time`` (microseconds), in declared order; ``owners`` as ``groups``.

        None stands for missing: without an owner, or without events. Raises TooOld.
        """
        found: list[float | None] = []
        ends: dict[int, Position | None] = {}
        starts: dict[tuple[int, int], Position] = {}
        for _, places in self.features:
            parts = []
            for group, at in places:
                owner = owners[group]
                if owner is None:
                    parts.append(_NAN)
                    continue
                if group not in ends:
                    ends[group] = find(owner, time)
                look, end, start = self.groups[group].looks[at], ends[group], None
                if look.window_us is not None and end is not None:
                    window = group, look.window_us
                    start = starts.get(window)
                    if start is None:
                        start = starts[window] = _begin(end, owner, time - look.window_us, find)
                parts.append(value_of(look, at, start, end, between))
            value = parts[0] if len(parts) == 1 else divided(*parts)
            found.append(value if value - value == 0.0 else None)  # neither NaN nor an infinity
        return found


def _begin(end: Position, owner: bytes, time: int, find: Find) -> Position:
    """Where the entries at or after ``time`` begin: most often in the chunk in which those before ``end`` end."""
    times = end.chunk.times
    if times[0] < time:
        return Position(end.chunk, bisect_left(times, time), end.key, time)
    return find(owner, time) or end  # something is kept of this owner


def owner_key(by: str, value: Any, kind: ColumnType) -> bytes:
    """The key of one owner: 16 bytes, the same for every form of one clean value. ``kind`` is that of its column.

    >>> owner_key("user", 7, ColumnType.INTEGER) == owner_key("user", 7.0, ColumnType.INTEGER)
    True
    """
    if kind in (ColumnType.CATEGORY, ColumnType.TEXT):
        data = str(value).encode()
    elif kind is ColumnType.NUMBER:
        data = struct.pack("<d", value + 0.0)
    else:
        data = int(value).to_bytes(9, "little", signed=True)
    return hashlib.blake2b(data, digest_size=_KEY_BYTES, salt=_salt(by)).digest()


def _salt(by: str) -> bytes:
    found = _SALTS.get(by)
    if found is None:
        found = _SALTS[by] = hashlib.blake2b(by.encode(), digest_size=_KEY_BYTES).digest()
    return found


_SALTS: dict[str, bytes] = {}


def _looks(feature: Feature) -> tuple[Look, ...]:
    form = feature.form
    if isinstance(form, Ratio):
        return (form.numerator, form.denominator)
    return (form,) if isinstance(form, Look) else ()


def _lacking(plan: FeaturePlan, aggregates: Sequence[Feature]) -> Iterator[str]:
    for feature in aggregates:
        if feature.step > 1:
            yield f"{feature.name} looks at the past of a feature that itself looks at the past"
        for by in sorted({look.by for look in _looks(feature)} - set(plan.columns)):
            yield f"{feature.name} goes by {by}, which is a feature and no column"


def _definition(spec: ProjectSpec, plan: FeaturePlan) -> bytes:
    """The part of the project that decides what is kept, with columns and features by name."""
    read = plan.past_columns
    forms = {feature.name: feature.form for feature in plan.features}
    wanted = {name for name, form in forms.items() if not isinstance(form, Expression)}
    waiting = list(wanted)
    while waiting:
        form = forms.get(waiting.pop())
        looks = (form.numerator, form.denominator) if isinstance(form, Ratio) else (form,)
        roots = {root for look in looks if isinstance(look, Look) for root in look.columns}
        roots |= set(form.columns) if isinstance(form, Expression) else set()
        fresh = {name for name in roots if name in forms} - wanted
        wanted |= fresh
        waiting += fresh
    own = ProjectSpec(
        name="state",
        task=Task.BINARY,
        target="_target",
        data=DataSpec(
            source="",
            time=spec.data.time,
            entity=spec.data.entity,
            personal=tuple(sorted(set(spec.data.personal) & read)),
        ),
        contract=Contract(columns={name: spec.contract.columns[name] for name in sorted(read)}),
        features={name: spec.features[name] for name in spec.features if name in wanted},
    )
    return msgspec.json.encode(own)


def _owned(rows: pl.DataFrame, group: Group, time: str) -> Iterator[Owned]:
    queries = [pl.col(group.by).alias("by"), pl.col(time).to_physical().alias("time"), pl.col(ROW).alias("order")]
    forms = [form_of(look) for look in group.looks]
    queries += [form.event.alias(f"event{at}") for at, form in enumerate(forms)]
    queries += [form.value.fill_null(0).alias(f"value{at}") for at, form in enumerate(forms) if form.value is not None]
    table = rows.filter(pl.col(group.by).is_not_null()).select(queries)
    table = table.filter(pl.any_horizontal(f"event{at}" for at in range(len(forms)))) if table.height else table
    if not table.height:
        return
    table = table.sort("by", "time", "order")
    numbers = table.get_column("by").rle_id().to_numpy().astype(np.int64)
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    ends = [*starts[1:].tolist(), table.height]
    owners = table.get_column("by").gather(starts).to_physical().to_list()
    entries = entries_of(
        table.get_column("time").to_numpy(),
        table.get_column("order").to_numpy(),
        [table.get_column(f"event{at}").to_numpy() for at in range(len(forms))],
        [None if form.value is None else table.get_column(f"value{at}").to_numpy() for at, form in enumerate(forms)],
    )
    for owner, begin, end in zip(owners, starts.tolist(), ends, strict=True):
        yield Owned(owner_key(group.by, owner, group.kind), entries.part(slice(begin, end)))
