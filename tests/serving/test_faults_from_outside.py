"""What the server's surroundings do to it: the disk is full, registry and lake are gone or do not answer.

It serves on, says what is wrong where it can be seen, and catches up by itself. Journal, feedback and follower are
tested one by one elsewhere; here they are what a server in a process of its own shows to those who ask it.
"""

from __future__ import annotations

import http.client
import json
import re
import resource
import secrets
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from roadworthy import assembly
from roadworthy.adapters.prediction_log import read_log
from roadworthy.errors import RoadworthyError
from roadworthy.lifecycle.registry import Registry

Start = Callable[..., Any]
ROW = {"a": 1.0, "b": 0.2, "c": 0.0}


def asked(address: str, path: str, value: object = None) -> tuple[int, Any]:
    """Status and body: JSON, or text for metrics."""
    host, _, port = address.partition("//")[2].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=15)
    try:
        if value is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(value), {"content-type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, body.decode() if path == "/metrics" else json.loads(body)
    finally:
        connection.close()


def predicted(address: str, rows: int = 1) -> int:
    status, _ = asked(address, "/predict", {"rows": [ROW] * rows})
    return status


def warned(address: str) -> str:
    """What /readyz warns of; it has to call the server ready."""
    status, found = asked(address, "/readyz")
    assert (status, found["ready"]) == (200, True)
    return "; ".join(found.get("warnings", []))


def counted(address: str, name: str) -> int:
    lines = asked(address, "/metrics")[1].splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")))


def eventually(true: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


@contextmanager
def no_room(server: Any) -> Iterator[None]:
    """No file of the server grows any more: to a process its disk is full, and no other one notices."""
    none = resource.RLIM_INFINITY
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, none))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (none, none))


# --- the disk is full ------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_no_answer_and_its_losses_are_counted_and_told(pair: Path, serving: Start) -> None:
    server = serving(pair)
    address, rows = server.address, 0
    assert predicted(address) == 200
    rows += 1
    assert eventually(lambda: counted(address, "roadworthy_log_rows_total") == rows)
    with no_room(server):
        while counted(address, "roadworthy_log_lost_rows_total") == 0:
            assert rows < 400_000, "what waits for the disk is bounded"
            for _ in range(8):
                assert predicted(address, 2_000) == 200
                rows += 2_000
        said = warned(address)
        assert "the prediction log cannot be written: File too large" in said
        assert "were lost so far" in said
        status, found = asked(address, "/feedback", {"id": "x", "label": "1"})
        assert (status, found["problems"][0]["found"]) == (503, "feedback was not written: File too large")
    assert eventually(lambda: not warned(address)), "well again, once there is room"
    assert asked(address, "/feedback", {"id": "x", "label": "1"})[0] == 202
    assert predicted(address) == 200
    rows += 1
    kept, lost = (f"roadworthy_log_{name}_total" for name in ("rows", "lost_rows"))
    assert eventually(lambda: counted(address, kept) + counted(address, lost) == rows), "each is kept or counted"
    written = counted(address, kept)
    assert server.end() == 0
    assert read_log(assembly.open_project(pair).settings.lake).collect().height == written


def test_durable_on_a_full_disk_answers_503_until_there_is_room(pair: Path, serving: Start) -> None:
    server = serving(pair, "--log", "durable")
    assert predicted(server.address) == 200
    with no_room(server):
        status, found = asked(server.address, "/predict", {"row": ROW})
        assert status == 503
        assert "could not be written to the log" in found["error"]
        assert "the prediction log cannot be written" in warned(server.address)
    assert eventually(lambda: predicted(server.address) == 200)
    assert eventually(lambda: not warned(server.address))
    assert server.end() == 0
    assert read_log(assembly.open_project(pair).settings.lake).collect().height >= 2


# --- registry and lake are gone for a while --------------------------------------------------------------------------

QUICKLY = """
import msgspec
from roadworthy import serve
from roadworthy.api.serving import following
following._AGAIN_S = 0.5
serve({project!r}, port=0, grace_s=0, poll_s=0.1,
      ready=lambda found: print(msgspec.json.encode(found).decode(), flush=True))
"""


def test_registry_and_lake_gone_together_then_a_promotion_at_once(pair: Path, serving: Start) -> None:
    server = serving(pair, code=QUICKLY.format(project=str(pair)))
    state = pair / ".roadworthy"
    assert predicted(server.address) == 200
    away = pair / "away"
    away.mkdir()
    moved = [state / "lake", *state.glob("registry.db*")]
    for one in moved:
        shutil.move(one, away)
    assert eventually(lambda: "the registry cannot be read since" in warned(server.address))
    for _ in range(30):
        assert predicted(server.address) == 200
    assert eventually(lambda: "the prediction log cannot be written: No such file" in warned(server.address))
    assert "31 rows wait for it, 0 were lost" in warned(server.address) or "30 rows wait" in warned(server.address)
    assert not (state / "lake").exists(), "what is gone may be a mount: nobody makes another in its place"
    for one in moved:
        shutil.move(away / one.name, state)
    with assembly.opened_registry(assembly.open_project(pair)) as registry:
        registry.promote("pair", 2)
    assert eventually(lambda: asked(server.address, "/version")[1]["version"] == "pair-2")
    assert eventually(lambda: not warned(server.address))
    assert server.end() == 0
    log = read_log(state / "lake").collect()
    assert log.height == 31, "what was answered meanwhile is in the log"


def test_a_promotion_while_the_lake_is_gone_is_served_when_it_is_back(pair: Path, serving: Start) -> None:
    server = serving(pair, code=QUICKLY.format(project=str(pair)))
    project = assembly.open_project(pair)
    lake = project.settings.lake
    shutil.move(lake, lake.with_name("away"))
    with assembly.opened_registry(project) as registry:
        registry.promote("pair", 2)
    assert eventually(lambda: "pair-2 cannot be put in service, pair-1 goes on" in warned(server.address))
    assert predicted(server.address) == 200
    shutil.move(lake.with_name("away"), lake)
    assert eventually(lambda: asked(server.address, "/version")[1]["version"] == "pair-2")
    assert eventually(lambda: not warned(server.address))
    assert server.end() == 0


# --- keys are not here -----------------------------------------------------------------------------------------------


def test_without_personal_columns_no_key_is_needed(pair: Path, serving: Start) -> None:
    shutil.rmtree(pair / ".roadworthy" / "keys")
    server = serving(pair)
    assert predicted(server.address) == 200
    assert server.end() == 0
    assert not (pair / ".roadworthy" / "keys").exists(), "who serves makes no keys"


# --- a registry on another machine -----------------------------------------------------------------------------------


class Line:
    """The line to a server on another machine: ``cut`` refuses and ends everything, ``dead`` swallows what is sent."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: list[socket.socket] = []
        self.dead = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                if not self.dead:
                    other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        with suppress(OSError):  # it may have been cut before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()


@pytest.fixture
def far(pair: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Line, Registry]]:
    """A registry on PostgreSQL at the end of a line, with the versions of ``pair``; who is on the spot sees it, too."""
    here = Registry(postgres, assembly.SystemClock())
    with assembly.opened_registry(assembly.open_project(pair)) as registry:
        for key in registry.trusted_keys():
            here.trust(key)
        for version in reversed(registry.versions("pair")):
            here.register(version)
    here.promote("pair", 1)
    line = Line(int(postgres.rpartition(":")[2].partition("/")[0]))
    head, _, rest = postgres.rpartition(":")
    (pair / "url").write_text(f"{head}:{line.port}/{rest.partition('/')[2]}\n")
    monkeypatch.setenv("ROADWORTHY_REGISTRY_FILE", str(pair / "url"))
    yield line, here
    line.cut()
    here.close()


def test_a_server_needs_no_more_than_to_read_the_registry(
    pair: Path, far: tuple[Line, Registry], postgres: str, serving: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, registry = far
    engine = sa.create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
    role = f"reader_{secrets.token_hex(4)}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"create role {role} login password 'only-reads'"))
        connection.execute(sa.text(f"grant select on all tables in schema public to {role}"))
    engine.dispose()
    own = re.sub(r"//[^@]*@", f"//{role}:only-reads@", postgres)
    monkeypatch.setenv("ROADWORTHY_REGISTRY_FILE", str(pair / "own"))
    (pair / "own").write_text(own)
    server = serving(pair, code=QUICKLY.format(project=str(pair)))
    assert predicted(server.address) == 200
    registry.promote("pair", 2)
    assert eventually(lambda: asked(server.address, "/version")[1]["version"] == "pair-2")
    assert not warned(server.address)
    with assembly.opened_registry(assembly.open_project(pair)) as there, pytest.raises(RoadworthyError):
        there.promote("pair", 1)


def test_a_registry_on_postgres_that_refuses_and_one_that_does_not_answer(
    pair: Path, far: tuple[Line, Registry], serving: Start
) -> None:
    line, registry = far
    server = serving(pair, code=QUICKLY.format(project=str(pair)))
    line.cut()
    assert eventually(lambda: "the registry cannot be read since" in warned(server.address))
    assert predicted(server.address) == 200
    line.mend()
    registry.promote("pair", 2)
    assert eventually(lambda: asked(server.address, "/version")[1]["version"] == "pair-2")
    assert not warned(server.address)
    line.dead = True
    assert eventually(lambda: "the registry has not answered" in warned(server.address))
    assert predicted(server.address) == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(15) == 0, "nobody waits for a registry on the way out"
