"""The registry goes and comes back while a project is watched: it is said, it is tried again, and nothing is lost."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import roadworthy as rw
from roadworthy import assembly
from roadworthy.api import watching
from roadworthy.api.watching.monitor import Ticked
from roadworthy.lifecycle import opening
from roadworthy.lifecycle.transactions import Transactions

START = datetime(2026, 3, 2, tzinfo=UTC)


class Watching:
    """``rw.watch`` in a thread, with a clock that a test moves and servers' signals left alone."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.ending = START + timedelta(hours=1, seconds=10), threading.Event()
        self.judged: list[int] = []
        self.failed: list[str] = []
        outer = self

        class Clock:
            def now(self) -> datetime:
                return outer.now

        @contextmanager
        def ended() -> Iterator[threading.Event]:
            yield self.ending

        monkeypatch.setattr(assembly, "SystemClock", Clock)
        monkeypatch.setattr(watching, "ended_by_signal", ended)
        monkeypatch.setattr("roadworthy.api.watching.loop._say", self.failed.append)
        self.thread = threading.Thread(target=self._run, args=(folder,))
        self.thread.start()

    def _run(self, folder: Path) -> None:
        rw.watch(folder, poll_s=0.02, told=self._told)

    def _told(self, ticked: Ticked) -> None:
        self.judged += [one.window.number for one in ticked.judged]

    def until(self, what: Callable[[], bool]) -> None:
        ends = time.monotonic() + 60  # a connection that is lost half-way is given up after ten seconds
        while not what():
            assert time.monotonic() < ends, self.failed[-3:]
            assert self.thread.is_alive()
            time.sleep(0.02)

    def end(self) -> None:
        self.ending.set()
        self.thread.join(40)
        assert not self.thread.is_alive()


@contextmanager
def moved(folder: Path) -> Iterator[str]:
    """The file is moved away, and back."""
    home = folder / ".roadworthy"
    away = folder / "away"
    away.mkdir()
    for file in home.glob("registry.db*"):
        shutil.move(file, away / file.name)
    yield "is gone: it was moved or deleted"
    assert not list(home.glob("registry.db*"))  # nothing was made in its place
    for file in away.glob("registry.db*"):
        shutil.move(file, home / file.name)


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Somebody else holds it."""
    connection = sqlite3.connect(folder / ".roadworthy" / "registry.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield "database is locked"
    connection.execute("ROLLBACK")
    connection.close()


@pytest.mark.parametrize("gone", [moved, locked])
def test_a_registry_that_is_gone_for_a_while_delays_windows_and_loses_none(
    copied: Path, made_up_traffic: Any, monkeypatch: pytest.MonkeyPatch, gone: Any
) -> None:
    settings = opening._sqlite_settings

    def impatient(connection: Any, record: object) -> None:
        settings(connection, record)
        connection.execute("PRAGMA busy_timeout=50")

    monkeypatch.setattr(opening, "_sqlite_settings", impatient)
    traffic = made_up_traffic(copied)
    traffic.predict(traffic.draw(900), every_s=18)
    watch = Watching(copied, monkeypatch)
    try:
        watch.until(lambda: len(watch.judged) == 1)
        with gone(copied) as words:
            watch.now += timedelta(hours=2)
            watch.until(lambda: sum(words in said for said in watch.failed) >= 3)
            assert any("tried again" in said for said in watch.failed)
            assert len(watch.judged) == 1
        watch.now += timedelta(hours=1)
        watch.until(lambda: len(watch.judged) == 4)
    finally:
        watch.end()
    found = rw.windows(project=copied).windows
    assert [one.number for one in found] == watch.judged == list(range(watch.judged[0], watch.judged[0] + 4))
    assert [one.rows for one in found] == [200] * 4


class Door(threading.Thread):
    """A way to a database that can be shut: connections are refused, and those that there are end."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.target, self.pairs = port, list[socket.socket]()
        self.server = self._bound(0)
        self.port = self.server.getsockname()[1]

    def _bound(self, port: int) -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()
        return server

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            self.pairs += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
        except OSError:
            return
        finally:
            other.close()

    def shut(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for one in self.pairs:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                one.close()
        self.pairs.clear()

    def open(self) -> None:
        self.server = self._bound(self.port)


def test_a_database_that_refuses_connections_for_a_while_delays_windows_and_loses_none(
    copied: Path, made_up_traffic: Any, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    port = int(postgres.rpartition(":")[2].partition("/")[0])
    door = Door(port)
    url = postgres.replace(f":{port}/", f":{door.port}/")
    registry = Transactions(url)
    _copied_into(copied / ".roadworthy" / "registry.db", registry)
    registry.close()
    monkeypatch.setenv("ROADWORTHY_REGISTRY", url)
    traffic = made_up_traffic(copied)
    traffic.predict(traffic.draw(900), every_s=18)
    watch = Watching(copied, monkeypatch)
    try:
        watch.until(lambda: len(watch.judged) == 1)
        door.shut()
        watch.now += timedelta(hours=2)
        watch.until(lambda: sum("refused" in said for said in watch.failed) >= 3)
        assert len(watch.judged) == 1
        door.open()
        watch.until(lambda: len(watch.judged) == 3)
    finally:
        watch.end()
    assert [one.number for one in rw.windows(project=copied).windows] == watch.judged


def _copied_into(file: Path, registry: Transactions) -> None:
    """All rows of a registry in a file into another."""
    from roadworthy.lifecycle import schema  # noqa: PLC0415 - of this alone

    source = Transactions(f"sqlite:///{file}")
    with source.reading() as old, registry.changing() as new:
        for table in schema.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in old.execute(table.select())]
            if rows and table.name != "schema_state":
                new.execute(table.insert(), rows)
    source.close()
