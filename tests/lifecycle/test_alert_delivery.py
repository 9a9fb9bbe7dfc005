"""Messages are sent at least once, under one key each, whatever is killed or fails; a channel that fails is seen."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import select

from roadworthy.lifecycle import schema
from roadworthy.lifecycle.alerts import AlertStore, Channel, deliver, outbox, rows
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import AlertState, Policy, Severity, Signal, Word
from roadworthy.testing import FixedClock, MemoryNotifier

HOUR = 3_600_000_000
POLICY = Policy()
TABLE = schema.notifications
A, B = "scrypt:aaaaaa", "scrypt:bbbbbb"
START = datetime(2026, 1, 2, tzinfo=UTC)
START_US = int(START.timestamp() * 1e6)


def signal(place: int, rule: str = "accuracy_low", word: Word = Word.ALARM) -> Signal:
    return Signal(
        rule=rule, word=word, at_us=place * HOUR, source=f"1h/{place}", group=rule, sentence=f"{rule} is wrong"
    )


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Transactions]:
    opened = Transactions(f"sqlite:///{tmp_path / 'registry.db'}")
    yield opened
    opened.close()


class Two:
    """Two channels in memory, and a clock that is moved by hand."""

    def __init__(self, kept: Transactions) -> None:
        self.kept, self.clock = kept, FixedClock(START)
        self.store = AlertStore("clicks", channels=[A, B])
        self.a, self.b = MemoryNotifier(), MemoryNotifier()
        self.channels = {A: Channel("slack aaaaaa", self.a), B: Channel("mail bbbbbb", self.b)}

    def apply(self, *signals: Signal) -> None:
        with self.kept.changing() as connection:
            self.store.apply(connection, signals, POLICY, START_US)

    def deliver(self, most: int = 10) -> tuple[int, int]:
        done = deliver(self.kept, self.store, self.channels, POLICY, self.clock, most=most)
        return done.sent, done.failed

    def wait(self, seconds: float) -> None:
        self.clock.moment += timedelta(seconds=seconds)

    def state(self, rule: str) -> AlertState | None:
        with self.kept.reading() as connection:
            return next((one.state for one in rows.all_alerts(connection, "clicks", 99) if one.rule == rule), None)


@pytest.fixture
def two(kept: Transactions) -> Two:
    return Two(kept)


def test_every_channel_gets_every_message_once(two: Two) -> None:
    two.apply(signal(1), signal(1, "drift"))
    assert two.deliver() == (4, 0)
    assert two.deliver() == (0, 0)
    assert sorted(two.a.messages) == sorted(two.b.messages)
    assert len({key for key, _, _ in two.a.messages}) == 2


def test_a_channel_that_fails_is_tried_later_and_keeps_no_other_from_being_served(two: Two) -> None:
    two.a.failing = True
    two.apply(signal(1), signal(1, "drift"), signal(1, "errors"))
    assert two.deliver() == (3, 1), "of a channel that fails, the others wait"
    assert (len(two.a.messages), len(two.b.messages)) == (0, 3)
    assert two.deliver() == (0, 0), "not at once"
    two.a.failing = False
    two.wait(10)
    assert two.deliver() == (3, 0)
    assert sorted(two.a.messages) == sorted(two.b.messages)


def test_the_waits_grow_to_an_hour_and_never_end(two: Two) -> None:
    two.a.failing = True
    two.apply(signal(1))
    waits: list[float] = []
    for _ in range(14):
        two.deliver(most=1)
        with two.kept.reading() as connection:
            wanted = select(TABLE.c.next_us).where(TABLE.c.channel == A, TABLE.c.created_us == START_US)
            next_us = connection.execute(wanted).scalar_one()
        waits.append(next_us / 1e6 - two.clock.moment.timestamp())
        two.wait(waits[-1])
    assert waits[:5] == [10, 20, 40, 80, 160]
    assert waits[-1] == 3600


def test_a_channel_that_goes_on_failing_is_an_alert_that_the_others_hear(two: Two) -> None:
    two.a.failing = True
    two.apply(signal(1))
    for _ in range(3):
        two.deliver()
        two.wait(60)
    rule = "channel_unreachable:slack aaaaaa"
    assert two.state(rule) is AlertState.FIRING
    two.deliver()
    titles = [title for _, title, _ in two.b.messages]
    assert titles[-1].startswith("[page] clicks: alerts do not get through to slack aaaaaa: the memory takes nothing")
    with two.kept.reading() as connection:
        behind = {one.channel: one for one in outbox.backlog(connection, "clicks")}
    assert (behind[A].waiting, behind[A].problem) == (2, "the memory takes nothing now")
    two.a.failing = False
    two.wait(3600)
    two.deliver()
    assert two.state(rule) is AlertState.FIRING, "latched: somebody says that it is over"
    assert len(two.a.messages) == 2
    with two.kept.reading() as connection:
        assert outbox.backlog(connection, "clicks") == ()


class Rude:
    """A foreign notifier that quotes its address in what it raises."""

    def notify(self, key: str, title: str, body: str) -> None:
        raise ValueError(f"https://hooks.example/secret {key}{title}{body}")


def test_what_a_foreign_notifier_raises_is_kept_without_its_words(two: Two) -> None:
    two.channels[A] = Channel("slack aaaaaa", Rude())
    two.apply(signal(1))
    assert two.deliver() == (1, 1)
    with two.kept.reading() as connection:
        (behind,) = outbox.backlog(connection, "clicks")
    assert behind.problem == "the notifier broke: ValueError"


def test_what_one_sender_has_claimed_another_gets_only_when_the_first_is_gone(two: Two) -> None:
    two.apply(signal(1))
    with two.kept.changing() as connection:
        assert len(outbox.claim(connection, "clicks", [A, B], START_US)) == 2
    assert two.deliver() == (0, 0)
    two.wait(119)
    assert two.deliver() == (0, 0)
    two.wait(1)
    assert two.deliver() == (2, 0)


def test_messages_wait_for_a_channel_that_is_not_declared_now(two: Two) -> None:
    two.apply(signal(1))
    mail = two.channels.pop(B)
    assert two.deliver() == (1, 0)
    with two.kept.reading() as connection:
        assert [one.channel for one in outbox.backlog(connection, "clicks")] == [B]
    two.channels[B] = mail
    assert two.deliver() == (1, 0)


def test_sent_messages_are_forgotten_after_a_while_and_waiting_ones_never(two: Two) -> None:
    two.a.failing = True
    two.apply(signal(1))
    two.deliver()
    with two.kept.changing() as connection:
        assert outbox.forget(connection, "clicks", START_US + 1) == 1
        assert [one.channel for one in outbox.backlog(connection, "clicks")] == [A]


def test_lesser_alerts_are_kept_and_sent_to_nobody(kept: Transactions) -> None:
    store = AlertStore("clicks", channels=[A])
    with kept.changing() as connection:
        applied = store.apply(connection, [signal(1)], Policy(least=Severity.PAGE), START_US)
    assert (len(applied.alerts), applied.queued) == (1, 0)


class Receiver:
    """A webhook on a free port: the keys of what came in, as they came."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.keys.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["key"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                """Nothing on standard error."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


SENDER = """
import json, os, signal, sys, urllib.request
from datetime import UTC, datetime, timedelta
from roadworthy.lifecycle.alerts import AlertStore, Channel, deliver
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import Policy
from roadworthy.testing import FixedClock

url, port, turn, after = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

class Post:
    count = 0

    def notify(self, key, title, body):
        data = json.dumps({"key": key}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", data, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()
        Post.count += 1
        if Post.count == after:
            os.kill(os.getpid(), signal.SIGKILL)  # between sending and marking

clock = FixedClock(datetime(2026, 1, 2, tzinfo=UTC) + timedelta(hours=turn))
store = AlertStore("clicks", channels=["scrypt:aaaaaa"])
deliver(Transactions(url), store, {"scrypt:aaaaaa": Channel("hook", Post())}, Policy(), clock, most=50)
"""


def test_a_sender_that_is_killed_between_sending_and_marking_loses_nothing(
    kept: Transactions, receiver: Receiver, tmp_path: Path
) -> None:
    rules = [f"rule-{place}" for place in range(8)]
    with kept.changing() as connection:
        AlertStore("clicks", channels=["scrypt:aaaaaa"]).apply(
            connection, [signal(1, rule) for rule in rules], POLICY, START_US
        )
        keys = [row.key for row in connection.execute(select(TABLE))]
    url, port = f"sqlite:///{tmp_path / 'registry.db'}", str(receiver.server.server_address[1])
    ends = []
    for turn, after in enumerate((1, 3, 2, 99), start=1):
        done = subprocess.run(
            [sys.executable, "-c", SENDER, url, port, str(turn), str(after)], check=False, capture_output=True
        )
        ends.append(done.returncode)
    assert ends == [-9, -9, -9, 0], done.stderr
    assert set(receiver.keys) == set(keys), "none is lost, none is new"
    assert len(receiver.keys) == len(keys) + 3, "what was sent and not marked comes again under its own key"
    with kept.reading() as connection:
        assert outbox.backlog(connection, "clicks") == ()


def test_judging_does_not_wait_for_a_slow_channel(two: Two) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow:
        def notify(self, key: str, title: str, body: str) -> None:  # noqa: ARG002 - the protocol's signature
            entered.set()
            assert leave.wait(20)

    two.channels = {A: Channel("slow", Slow())}
    two.apply(signal(1))
    sending = threading.Thread(target=two.deliver)
    sending.start()
    assert entered.wait(20)
    begun = time.perf_counter()
    two.apply(signal(2, "drift"))
    took = time.perf_counter() - begun
    leave.set()
    sending.join()
    assert took < 5
    assert two.state("drift") is AlertState.FIRING
