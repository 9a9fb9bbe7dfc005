"""Alerts, their history and silences as rows of the registry's database.

In: a connection inside a transaction. Out: records. Laws: an alarm is in the history once, whoever tells it how often;
numbers count from 1 in each project and are never used again; a record that does not parse is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, func, select

from roadworthy.errors import RegistryError, UnknownName
from roadworthy.lifecycle import schema
from roadworthy.lifecycle.chain import broken
from roadworthy.records.alert import Alert, AlertEvent, AlertState, Signal, Silence

__all__ = [
    "OPEN",
    "add_event",
    "add_silence",
    "all_alerts",
    "count_past",
    "events",
    "known_signals",
    "newest_of",
    "of_rule",
    "one_alert",
    "open_alerts",
    "past_alerts",
    "put",
    "signal_key",
    "silences",
]

OPEN = (AlertState.PENDING, AlertState.FIRING, AlertState.ACKNOWLEDGED)
"""The states of an alert that is not over."""

_MANY = 500  # values of one IN, which SQLite bounds


def signal_key(signal: Signal) -> str:
    """SHA-256 of rule and source: what makes a signal unique."""
    return hashlib.sha256(f"{signal.rule}\0{signal.source}".encode()).hexdigest()


def open_alerts(connection: Connection, project: str) -> tuple[Alert, ...]:
    """Those that are not over, by number."""
    table = schema.alerts
    wanted = select(table).where(table.c.project == project, table.c.state.in_(OPEN)).order_by(table.c.number)
    return tuple(_alert(row) for row in connection.execute(wanted).mappings())


def all_alerts(connection: Connection, project: str, most: int) -> tuple[Alert, ...]:
    """The newest ``most`` alerts, whatever their state, newest first."""
    table = schema.alerts
    wanted = select(table).where(table.c.project == project).order_by(table.c.number.desc()).limit(most)
    return tuple(_alert(row) for row in connection.execute(wanted).mappings())


def past_alerts(connection: Connection, project: str, words: str, *, most: int, skip: int = 0) -> tuple[Alert, ...]:
    """Alerts that are over, newest first, whose rule has ``words`` in it, whatever their case; all for no words."""
    table = schema.alerts
    wanted = select(table).where(*_past(project, words)).order_by(table.c.number.desc()).limit(most).offset(skip)
    return tuple(_alert(row) for row in connection.execute(wanted).mappings())


def count_past(connection: Connection, project: str, words: str) -> int:
    """How many ``past_alerts`` there are."""
    wanted = select(func.count()).select_from(schema.alerts).where(*_past(project, words))
    return int(connection.execute(wanted).scalar() or 0)


def of_rule(connection: Connection, project: str, rule: str, *, most: int) -> tuple[Alert, ...]:
    """The newest alerts of one rule, newest first."""
    table = schema.alerts
    wanted = select(table).where(table.c.project == project, table.c.rule == rule)
    found = connection.execute(wanted.order_by(table.c.number.desc()).limit(most)).mappings()
    return tuple(_alert(row) for row in found)


def one_alert(connection: Connection, project: str, number: int) -> Alert:
    """One alert; UnknownName names the open ones."""
    table = schema.alerts
    here = (table.c.project == project, table.c.number == number)
    row = connection.execute(select(table).where(*here)).mappings().first() if 0 < number < 2**31 else None
    if row is None:
        known = [str(alert.number) for alert in open_alerts(connection, project)]
        raise UnknownName("alert", str(number), known, next_step="roadworthy alerts --all")
    return _alert(row)


def newest_of(connection: Connection, project: str, rules: Iterable[str]) -> dict[str, Alert]:
    """Each rule's newest alert, where it has one."""
    table = schema.alerts
    found: dict[str, Alert] = {}
    for some in _portions(sorted(set(rules))):
        newest = (
            select(func.max(table.c.number))
            .where(table.c.project == project, table.c.rule.in_(some))
            .group_by(table.c.rule)
        )
        wanted = select(table).where(table.c.project == project, table.c.number.in_(newest))
        for row in connection.execute(wanted).mappings():
            found[row["rule"]] = _alert(row)
    return found


def known_signals(connection: Connection, project: str, keys: Iterable[str]) -> set[str]:
    """Those of the alarms that are in the history already."""
    table = schema.alert_events
    known: set[str] = set()
    for some in _portions(sorted(set(keys))):
        wanted = select(table.c.signal).where(table.c.project == project, table.c.signal.in_(some))
        known.update(connection.execute(wanted).scalars())
    return known


def put(connection: Connection, alert: Alert) -> Alert:
    """Write an alert as it is now; a new one (number 0) gets the next number."""
    table = schema.alerts
    new = alert.number == 0
    if new:
        alert = msgspec.structs.replace(alert, number=_next(connection, table, alert.project))
    values = {
        "rule": alert.rule,
        "state": alert.state.value,
        "severity": alert.severity.value,
        "record": msgspec.json.encode(alert).decode(),
    }
    here = {"project": alert.project, "number": alert.number}
    if new:
        connection.execute(table.insert().values(**here, **values))
    else:
        connection.execute(
            table.update().where(table.c.project == alert.project, table.c.number == alert.number).values(**values)
        )
    return alert


def add_event(
    connection: Connection,
    alert: Alert,
    what: str,
    at_us: int,
    *,
    who: str = "",
    words: str = "",
    source: str = "",
    signal: str | None = None,
) -> None:
    """Add a line to an alert's history."""
    table = schema.alert_events
    here = (table.c.project == alert.project, table.c.number == alert.number)
    place = (connection.execute(select(func.max(table.c.place)).where(*here)).scalar() or 0) + 1
    connection.execute(
        table.insert().values(
            project=alert.project,
            number=alert.number,
            place=place,
            at_us=at_us,
            what=what,
            who=who,
            words=words,
            source=source,
            signal=signal,
        )
    )


def events(connection: Connection, project: str, number: int) -> tuple[AlertEvent, ...]:
    """An alert's history, oldest first."""
    table = schema.alert_events
    columns = [table.c[name] for name in AlertEvent.__struct_fields__]
    wanted = select(*columns).where(table.c.project == project, table.c.number == number).order_by(table.c.place)
    return tuple(AlertEvent(**row) for row in connection.execute(wanted).mappings())


def silences(connection: Connection, project: str, now_us: int) -> tuple[Silence, ...]:
    """Those that are not over, by number."""
    table = schema.silences
    wanted = select(table).where(table.c.project == project, table.c.ends_us > now_us).order_by(table.c.number)
    rows = connection.execute(wanted).mappings()
    return tuple(
        Silence(
            project=project,
            number=row["number"],
            rule=row["rule"],
            starts_us=row["starts_us"],
            ends_us=row["ends_us"],
            by=row["who"],
            reason=row["reason"],
        )
        for row in rows
    )


def add_silence(connection: Connection, silence: Silence) -> Silence:
    """Write a silence under the next number."""
    table = schema.silences
    numbered = msgspec.structs.replace(silence, number=_next(connection, table, silence.project))
    values = msgspec.structs.asdict(numbered)
    connection.execute(table.insert().values(**{("who" if name == "by" else name): v for name, v in values.items()}))
    return numbered


def _past(project: str, words: str) -> tuple[ColumnElement[bool], ...]:
    table = schema.alerts
    here = (table.c.project == project, table.c.state == AlertState.RESOLVED)
    return (*here, table.c.rule.icontains(words, autoescape=True)) if words else here


def _next(connection: Connection, table: Table, project: str) -> int:
    last = connection.execute(select(func.max(table.c.number)).where(table.c.project == project)).scalar()
    return (last or 0) + 1


def _alert(row: RowMapping) -> Alert:
    title = f"alert {row['number']} of {row['project']}"
    try:
        alert = msgspec.json.decode(row["record"], type=Alert)
    except msgspec.MsgspecError as error:
        raise broken(f"{title} does not parse: its row was edited behind the registry's back") from error
    said = (alert.project, alert.number, alert.rule, alert.state, alert.severity)
    if said != tuple(row[name] for name in ("project", "number", "rule", "state", "severity")):
        raise _edited(title)
    return alert


def _edited(title: str) -> RegistryError:
    return broken(f"{title} is not as it was written: its row was edited behind the registry's back")


def _portions(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _MANY] for start in range(0, len(values), _MANY))
