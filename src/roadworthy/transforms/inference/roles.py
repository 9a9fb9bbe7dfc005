"""What part a column plays: time, entity, identifier, constant, personal, protected.

In: profiles. Out: ``Roles`` and notes. The time column is the one that orders events; the entity is a thing that
comes back; what names every row once, or never varies, is no model input.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from roadworthy.records.contract import ColumnType
from roadworthy.transforms.inference import names
from roadworthy.transforms.inference.columns import Profile
from roadworthy.transforms.inference.result import Note

__all__ = ["Roles", "roles_of"]

_PARTS = ("year", "month", "day", "hour")
_SHORT = {"yr": "year", "mnth": "month", "mon": "month", "hr": "hour", "mm": "month", "dd": "day", "yyyy": "year"}


@dataclass(slots=True)
class Roles:
    """Special columns, and why."""

    time: str = ""
    entity: str = ""
    personal: list[str] = field(default_factory=list)
    protected: list[str] = field(default_factory=list)
    exclude: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


def roles_of(profiles: dict[str, Profile], target: str, clean: pl.DataFrame) -> Roles:
    """The roles of all columns but the target; ``clean`` holds typed rows for a look at their order."""
    roles = Roles()
    inputs = {name: one for name, one in profiles.items() if name != target}
    _people(roles, inputs)
    _masks(roles, inputs)
    _no_inputs(roles, inputs)
    _time(roles, inputs, clean)
    _entity(roles, inputs)
    for name in roles.personal:
        if name != roles.entity:
            roles.exclude.setdefault(name, f"personal data: {profiles[name].personal}")
    return roles


def _masks(roles: Roles, inputs: dict[str, Profile]) -> None:
    """``age.missing`` beside ``age``: the model graph has an input of that name already."""
    for name in inputs:
        column = name.removesuffix(".missing")
        if column != name and column in inputs:
            reason = f"the model graph calls the mask of {column} so; rename it in the source to learn from it"
            roles.exclude[name] = reason
            roles.notes.append(Note(name, "name", f"left out: {reason}"))


def _people(roles: Roles, inputs: dict[str, Profile]) -> None:
    for name, one in inputs.items():
        if one.personal:
            roles.personal.append(name)
            roles.notes.append(Note(name, "personal", f"{one.personal}: hashed with a key before anything is written"))
        ground = names.protected(name)
        if ground and one.distinct > 1:
            roles.protected.append(name)
            roles.notes.append(Note(name, "protected", f"speaks of {ground}: fairness is compared between its groups"))


def _no_inputs(roles: Roles, inputs: dict[str, Profile]) -> None:
    for name, one in inputs.items():
        if one.filled == 0:
            roles.exclude[name] = "empty: no value in any row"
        elif one.distinct == 1:
            kept = "" if one.filled == one.rows else f" where it is filled ({one.filled:,} of {one.rows:,} rows)"
            if one.filled == one.rows:
                roles.exclude[name] = f"constant: the same value in all {one.rows:,} rows"
            else:
                roles.notes.append(Note(name, "constant", f"has one value only{kept}"))
        elif one.filled < 0.01 * one.rows:
            roles.exclude[name] = f"nearly empty: filled in {one.filled:,} of {one.rows:,} rows"
        elif _names_rows(one):
            roles.exclude[name] = f"an identifier: {one.distinct:,} different values in {one.filled:,} rows"


def _names_rows(one: Profile) -> bool:
    if one.filled < 20 or one.free_text or one.column.type is ColumnType.TIME:
        return False
    single = one.distinct >= 0.999 * one.filled
    if one.column.type is ColumnType.INTEGER:
        return single and (one.dense or names.identifier(one.name))
    return single and one.column.type in {ColumnType.TEXT, ColumnType.CATEGORY}


def _time(roles: Roles, inputs: dict[str, Profile], clean: pl.DataFrame) -> None:
    instants = [
        name for name, one in inputs.items()
        if one.column.type is ColumnType.TIME and not one.personal and one.distinct > 1 and one.filled > 0.9 * one.rows
    ]  # fmt: skip
    if not instants:
        parts = _date_parts(inputs)
        if "year" in parts and "month" in parts:
            listed = ", ".join(parts.values())
            sentence = f"the columns {listed} are parts of a date, but there is no time column; build one in the source"
            roles.notes.append(Note("", "time", f"{sentence}'s query to have a split by time"))
        return
    ordered = {name: clean.get_column(name).drop_nulls().is_sorted() for name in instants}
    best = max(instants, key=lambda name: (names.time_like(name), ordered[name], inputs[name].distinct))
    roles.time = best
    order = "and the rows stand in its order" if ordered[best] else "the rows do not stand in its order"
    roles.notes.append(
        Note(best, "time", f"taken as the time column: {inputs[best].distinct:,} different instants, {order}")
    )
    for name in instants:
        if name != best:
            roles.notes.append(
                Note(name, "time", f"another time; {best} was taken. Name it under [data] if it is meant")
            )
    clocks = [name for name, one in inputs.items() if _clock(name, one, clean)]
    for name in clocks:
        roles.notes.append(Note(name, "time", f"a time of day beside {best}; join the two in the source's query for "
                                "an order within the day"))  # fmt: skip


def _clock(name: str, one: Profile, clean: pl.DataFrame) -> bool:
    if one.column.type not in {ColumnType.CATEGORY, ColumnType.TEXT} or clean.schema[name] != pl.String:
        return False
    head = clean.get_column(name).drop_nulls().head(100)
    return bool(len(head)) and bool(head.str.contains(r"^[0-2]?[0-9][:.][0-5][0-9](?:[:.][0-5][0-9])?$").all())


def _date_parts(inputs: dict[str, Profile]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in inputs:
        word = name.lower()
        part = word if word in _PARTS else _SHORT.get(word, "")
        if part and part not in found:
            found[part] = name
    return {part: found[part] for part in _PARTS if part in found}


def _entity(roles: Roles, inputs: dict[str, Profile]) -> None:
    candidates = [
        name for name, one in inputs.items()
        if name not in roles.exclude and name != roles.time
        and (names.identifier(name) or one.personal == "the identifier of a person")
        and one.column.type in {ColumnType.INTEGER, ColumnType.TEXT, ColumnType.CATEGORY}
        and 10 <= one.distinct <= 0.7 * one.filled and one.filled > 0.9 * one.rows
    ]  # fmt: skip
    if not candidates:
        return
    best = max(candidates, key=lambda name: (bool(inputs[name].personal), inputs[name].distinct))
    roles.entity = best
    one = inputs[best]
    roles.notes.append(Note(best, "entity", f"taken as the entity: {one.distinct:,} of them in {one.filled:,} rows, "
                            f"{one.filled / one.distinct:.1f} rows each"))  # fmt: skip
    for name in candidates:
        if name != best:
            roles.notes.append(Note(name, "entity", f"also comes back like an entity; {best} was taken"))
