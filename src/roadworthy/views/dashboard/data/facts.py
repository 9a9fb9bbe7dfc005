"""What a version declares of its columns: kind, use, contract, features, and what the rows it was made of showed.

In: a version and its bundle, the record of the cleaning. Out: ``Facts``. Law: no value of the data is in it but those
that the contract itself names, and of personal columns not even these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from roadworthy.errors import RoadworthyError
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.formats.wording import number
from roadworthy.records.contract import ColumnContract, ColumnType, MissingPolicy
from roadworthy.records.data import CleanRows
from roadworthy.records.project import Aggregate
from roadworthy.records.version import Version
from roadworthy.transforms.aggregates.declared import described, texts
from roadworthy.transforms.expressions import Kind, kind_of, parse
from roadworthy.views.dashboard.data.looking import Held
from roadworthy.views.dashboard.data.remembered import Remembered
from roadworthy.views.dashboard.site import Site

__all__ = ["ColumnFacts", "Facts", "facts_of"]

_kept: Remembered[tuple[str, str], Facts] = Remembered(2)


class ColumnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One column or feature.

    ``uses`` says what it is for, ``rules`` what the contract asks of it, in words; ``definition`` is a feature's;
    ``made_of`` are the columns that a feature reads, ``feeds`` the features that read this column. ``hidden``: it is
    counted, never shown by value. ``apart`` says why live rows are not compared by it, empty where they are.
    ``reliance`` is its place among the ``relied`` columns that the model needs, 1 for the most needed.
    ``violations`` counts rows that were set aside for it when the version was made, by reason.
    """

    name: str
    kind: str
    uses: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    definition: str = ""
    made_of: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    hidden: bool = False
    personal: bool = False
    time: bool = False
    apart: str = ""
    reliance: int | None = None
    relied: int = 0
    violations: dict[str, int] = {}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All columns of a version, in the contract's order, features after them.

    ``rows_in`` and ``quarantined`` count the rows that the version was made of, and those of them that broke the
    contract, ``set_aside`` by reason; all of them empty where the lake no longer holds the record.
    """

    columns: dict[str, ColumnFacts]
    rows_in: int = 0
    quarantined: int = 0
    set_aside: dict[str, int] = {}


def facts_of(site: Site, held: Held) -> Facts:
    """What a version declares of its columns."""
    version = held.version
    return _kept.get((version.title, version.manifest), lambda: _facts(site, held))


def _facts(site: Site, held: Held) -> Facts:
    contract = held.watched.contract
    cleaned = _cleaned(site, held.version)
    made_of = _made_of(contract)
    feeds: dict[str, list[str]] = {}
    for feature, names in made_of.items():
        for name in names:
            feeds.setdefault(name, []).append(feature)
    ranks = _reliance(held.version)
    rules = _rules_by_column(contract)
    reasons = {} if cleaned is None else cleaned.reasons
    by_column = _by_column(reasons, contract)
    known = {*held.watched.columns.numbers, *held.watched.columns.categories}
    columns = {}
    for name in (*contract.contract.columns, *contract.features):
        declared = contract.contract.columns.get(name)
        hidden = name in held.watched.columns.categories and not held.watched.columns.categories[name].labels
        personal = name in contract.personal
        columns[name] = ColumnFacts(
            name=name,
            kind="feature" if declared is None else declared.type.value,
            uses=tuple(_uses(name, contract)),
            rules=(*(_rules(declared, hidden=personal) if declared else ()), *rules.get(name, ())),
            definition=_definition(name, contract),
            made_of=made_of.get(name, ()),
            feeds=tuple(feeds.get(name, ())),
            hidden=personal or (hidden and name in known),
            personal=personal,
            time=declared is not None and declared.type is ColumnType.TIME,
            apart=_apart(name, contract, made_of.get(name, ())),
            reliance=ranks.get(name),
            relied=len(ranks),
            violations=by_column.get(name, {}),
        )
    if cleaned is None:
        return Facts(columns=columns)
    return Facts(columns=columns, rows_in=cleaned.rows_in, quarantined=cleaned.quarantined, set_aside=reasons)


def _cleaned(site: Site, version: Version) -> CleanRows | None:
    """The record of the cleaning; None of a version that others trained, and where the lake was emptied."""
    digest = version.lineage.get("clean")
    return None if digest is None else site.record("clean", digest, CleanRows)


def _uses(name: str, contract: ServingContract) -> Iterator[str]:
    if name in contract.inputs:
        yield "model input"
    if name == contract.target:
        yield "target: what is predicted"
    if name == contract.time:
        yield "time of the row"
    if name == contract.entity:
        yield "entity"
    if name in contract.protected:
        yield "protected group"
    if name in contract.personal:
        yield "personal"
    if name in contract.excluded:
        yield f"left out of the model: {contract.excluded[name]}"


def _apart(name: str, contract: ServingContract, made_of: tuple[str, ...]) -> str:
    """Why live rows are not compared by it."""
    if name == contract.target:
        return "it is what is predicted, so no live row has it; labels are on the quality page"
    if name == contract.time:
        return "the time of a live row is never that of a row of training"
    if name == contract.entity:
        return "entities come and go"
    if name in contract.features and name not in contract.inputs:
        return f"the model computes it itself, and the log does not hold it; it is made of {', '.join(made_of)}"
    if name not in contract.inputs and name not in contract.protected:
        return "it is no model input, so the log may not hold it"
    return ""


def _definition(name: str, contract: ServingContract) -> str:
    form = contract.features.get(name, "")
    return described(form, entity=contract.entity) if isinstance(form, Aggregate) else form


def _made_of(contract: ServingContract) -> dict[str, tuple[str, ...]]:
    """The columns and features that each feature reads, whatever builds on whatever."""
    kinds = {name: kind_of(column.type) for name, column in contract.contract.columns.items()}
    found: dict[str, tuple[str, ...]] = {}
    waiting = dict(contract.features)
    while waiting:
        ready = {name: read for name, form in waiting.items() if (read := _read(name, form, kinds)) is not None}
        if not ready:
            return found
        for name, (kind, columns) in ready.items():
            kinds[name] = kind
            found[name] = columns
            del waiting[name]
    return found


def _read(name: str, form: str | Aggregate, kinds: Mapping[str, Kind]) -> tuple[Kind, tuple[str, ...]] | None:
    """Kind and columns of a feature; None where it builds on one that is not known yet."""
    try:
        parsed = [parse(text, kinds, where=name) for text in ([form] if isinstance(form, str) else texts(form))]
    except RoadworthyError:
        return None
    columns = dict.fromkeys(one for expression in parsed for one in sorted(expression.columns))
    if isinstance(form, Aggregate):
        by = [part.by for part in (form, *(form.ratio or ())) if part.by]
        return Kind.NUMBER, tuple(dict.fromkeys([*columns, *by]))
    return parsed[0].kind, tuple(columns)


def _reliance(version: Version) -> dict[str, int]:
    """Places of the columns without which the model is worse, the most needed first."""
    for exhibit in version.evidence.exhibits:
        if exhibit.name == "importance" and {"column", "drop"} <= set(exhibit.columns):
            pairs = zip(exhibit.columns["column"], exhibit.columns["drop"], strict=True)
            drops = {str(name): float(drop) for name, drop in pairs if isinstance(drop, int | float) and drop > 0}
            return {name: place for place, name in enumerate(sorted(drops, key=lambda one: -drops[one]), 1)}
    return {}


def _rules(column: ColumnContract, *, hidden: bool) -> Iterator[str]:
    """What the contract asks of one column."""
    if column.missing is MissingPolicy.REJECT:
        yield "a row without it is refused"
    if column.unique:
        yield "no value comes twice"
    if column.freshness:
        yield f"not older than {column.freshness}"
    if hidden:
        return
    yield from _range(column)
    if column.allowed:
        yield f"one of {', '.join(column.allowed)}"
    if column.pattern:
        yield f"of the form `{column.pattern}`"
    if column.sentinels:
        yield f"{', '.join(column.sentinels)} means missing"


def _range(column: ColumnContract) -> Iterator[str]:
    if column.min is not None and column.max is not None:
        yield f"from {number(column.min, 6)} to {number(column.max, 6)}"
    elif column.min is not None:
        yield f"at least {number(column.min, 6)}"
    elif column.max is not None:
        yield f"at most {number(column.max, 6)}"


def _rules_by_column(contract: ServingContract) -> dict[str, list[str]]:
    """Rules across columns, at each column that they name."""
    kinds = {name: kind_of(column.type) for name, column in contract.contract.columns.items()}
    found: dict[str, list[str]] = {}
    for rule in contract.contract.rules:
        for name in parse(rule, kinds, where="rule").columns:
            found.setdefault(name, []).append(f"`{rule}`")
    return found


def _by_column(reasons: Mapping[str, int], contract: ServingContract) -> dict[str, dict[str, int]]:
    """Reasons (``COLUMN: WHAT``) at their columns, without the name; of a rule at each that it names."""
    found: dict[str, dict[str, int]] = {}
    names = sorted(contract.contract.columns, key=len, reverse=True)
    for name, rules in _rules_by_column(contract).items():
        own = {reason: reasons[reason] for rule in rules if (reason := f"rule: {rule[1:-1]} is false") in reasons}
        if own:
            found[name] = own
    for reason, rows in reasons.items():
        name = next((one for one in names if reason.startswith(f"{one}: ")), "")
        if name:
            found.setdefault(name, {})[reason.removeprefix(f"{name}: ")] = rows
    return found
