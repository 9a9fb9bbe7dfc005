"""What servers refuse by column is kept as what was new at each reading, and adds up over any span."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from roadworthy import assembly
from roadworthy.adapters.scraping import target
from roadworthy.api.watching.servers import Servers
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.registry import Registry
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.alarms.budget import Family, allot, parse_budget
from roadworthy.measures.operations.traffic import newly_refused
from roadworthy.records.alert import Policy
from roadworthy.records.contract import Breach
from roadworthy.records.reading import Reading
from roadworthy.serving.metrics import Metrics

HOUR_US = 3_600_000_000
FAR_US = 1 << 60


class Answering:
    """A server's ``/metrics`` over HTTP; a new ``metrics`` is what a restart makes."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.silent = False
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = ours.metrics.text()
                self.send_response(503 if ours.silent else 200)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Nothing is told of it."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def refuse(self, column: str, breach: Breach, rows: int = 1) -> None:
        self.metrics.refused(rows, {(column, breach): rows})

    def end(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    yield made
    made.end()


@pytest.fixture
def transactions(tmp_path: Path) -> Iterator[Transactions]:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    Registry(url, assembly.SystemClock()).close()
    made = Transactions(url)
    yield made
    made.close()


def looked(transactions: Transactions, answering: Answering) -> int:
    """One look of a monitor that has just been started; when the server was asked."""
    servers = Servers("p", [target(answering.address)], transactions, AlertStore("p"), Policy())
    allotment = allot(parse_budget("1 per month"), {Family.OPERATIONS: 1}, window_s=3_600.0)
    servers.look(time.time_ns() // 1_000, (), allotment)
    return readings(transactions)[-1].at_us


def readings(transactions: Transactions) -> tuple[Reading, ...]:
    with transactions.reading() as connection:
        return cursors.readings(connection, "p", 0, FAR_US)


def refused(transactions: Transactions, after_us: int, until_us: int) -> dict[str, dict[str, float]]:
    with transactions.reading() as connection:
        return cursors.refusals(connection, "p", after_us, until_us)


def test_refusals_add_up_over_readings_restarts_of_the_server_and_of_the_monitor(
    transactions: Transactions, answering: Answering
) -> None:
    answering.refuse("device", Breach.ALLOWED, 7)  # before anybody looked
    first = looked(transactions, answering)
    answering.refuse("device", Breach.ALLOWED, 2)
    answering.refuse("", Breach.UNKNOWN)
    second = looked(transactions, answering)
    third = looked(transactions, answering)  # nothing was new
    answering.metrics = Metrics()
    answering.refuse("device", Breach.ALLOWED, 4)
    answering.refuse("'\"%", Breach.TYPE)
    fourth = looked(transactions, answering)
    answering.refuse("device", Breach.MISSING, 5)
    fifth = looked(transactions, answering)
    of_second = {"device": {"not_allowed": 2}, "": {"unknown": 1}}
    assert refused(transactions, 0, third) == refused(transactions, first, second) == of_second
    assert refused(transactions, second, fourth) == {"device": {"not_allowed": 4}, "'\"%": {"type": 1}}
    assert refused(transactions, first, fifth)["device"] == {"not_allowed": 6, "missing": 5}
    kept = readings(transactions)
    assert [bool(one.newly_refused) for one in kept] == [False, True, False, True, True]
    assert not any(one.refused for one in kept)


def test_a_silence_hides_nothing_and_a_long_absence_of_the_monitor_is_no_moment(
    transactions: Transactions, answering: Answering
) -> None:
    first = looked(transactions, answering)
    answering.silent = True
    answering.refuse("a", Breach.TYPE)
    second = looked(transactions, answering)
    with transactions.reading() as connection:
        assert cursors.was_read(connection, "p", 0, first)
        assert not cursors.was_read(connection, "p", first, second)
    answering.silent = False
    third = looked(transactions, answering)
    assert refused(transactions, second, third) == {"a": {"type": 1}}
    with transactions.changing() as connection:
        before = cursors.last_read(connection, "p", answering.address)
        assert before is not None
        cursors.set_last_read(connection, "p", msgspec.structs.replace(before, at_us=before.at_us - HOUR_US))
    answering.refuse("a", Breach.TYPE, 100)  # some time in that hour: it is of no window
    assert refused(transactions, third, looked(transactions, answering)) == {}
    with transactions.changing() as connection:  # another monitor was here in the meantime, and has counted
        before = cursors.last_read(connection, "p", answering.address)
        assert before is not None
        cursors.set_last_read(connection, "p", msgspec.structs.replace(before, at_us=FAR_US))
    answering.refuse("a", Breach.TYPE, 100)
    assert refused(transactions, third, looked(transactions, answering)) == {}


def test_what_is_kept_of_500_columns_is_what_was_new() -> None:
    counts = {f"column_{at}": {"missing": 3.0} for at in range(500)}
    before = Reading(at_us=1, address="a", counters={"rows": 1.0}, refused=counts)
    now = Reading(at_us=2, address="a", counters={"rows": 2.0}, refused=counts | {"column_7": {"missing": 4.0}})
    kept = msgspec.structs.replace(now, refused={}, newly_refused=newly_refused(before, now))
    assert kept.newly_refused == {"column_7": {"missing": 1.0}}
    assert len(msgspec.json.encode(kept)) * 100 < len(msgspec.json.encode(now))
    assert msgspec.json.decode(b'{"at_us":1,"address":"a"}', type=Reading).newly_refused == {}
