"""Two replicas behind the proxy that ``deploy/`` brings: one is killed, both are exchanged, and who notices."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
Start = Callable[..., Any]
Post = Callable[..., bytes]
ROW = {"a": 1.0, "b": 0.2, "c": 0.0}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Proxied:
    """Two replicas of one project, as processes that can be ended and started, and the proxy before them."""

    address: str
    ports: list[int]
    start: Callable[[int], None]
    replicas: list[Any]

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"{self.address}{path}", timeout=5) as answer:  # noqa: S310 - our own proxy
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def served(self, replica: int) -> int:
        """Rows that a replica has answered since it was started."""
        url = f"http://127.0.0.1:{self.ports[replica]}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith("roadworthy_rows_total")))


@pytest.fixture
def proxied(pair: Path, serving: Start, tmp_path: Path) -> Iterator[Proxied]:
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        pytest.skip("HAProxy is not installed (Debian package haproxy)")
    ports = [free_port(), free_port()]

    replicas: list[Any] = []

    def start(replica: int) -> None:
        replicas.append(serving(pair, "--port", str(ports[replica]), "--grace", "1.5"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, (0, 1)))
    replicas.sort(key=lambda one: ports.index(one.port))
    port = free_port()
    words = {"BIND": f"127.0.0.1:{port}", **{f"REPLICA_{at + 1}": f"127.0.0.1:{ports[at]}" for at in (0, 1)}}
    with (tmp_path / "proxy.log").open("w") as log:
        command = [haproxy, "-db", "-f", str(CONFIGURATION)]
        proxy = subprocess.Popen(command, env={**os.environ, **words}, stdout=log, stderr=log)
    found = Proxied(f"http://127.0.0.1:{port}", ports, start, replicas)
    try:
        up = eventually(lambda: answers(port) and found.status("/proxyz") == 200)
        assert up, (tmp_path / "proxy.log").read_text()
        yield found
    finally:
        proxy.terminate()
        proxy.wait(10)
        for one in replicas:
            one.process.kill()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def eventually(true: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


@dataclass
class Asked:
    """A request: when it was sent, when its outcome was known, and its status; 0 where nothing came."""

    sent: float
    known: float
    status: int


class Load:
    """Clients that ask again as soon as they know, on a new connection where the old one has ended."""

    def __init__(self, address: str, request: bytes, clients: int, *, good: int = 200) -> None:
        self._host, _, port = address.partition("//")[2].rpartition(":")
        self._port, self._request, self._clients = int(port), request, clients
        self.asked: list[Asked] = []
        self.stopped = False
        self._good = good

    async def run(self) -> list[Asked]:
        await asyncio.gather(*(self._client() for _ in range(self._clients)))
        return self.asked

    async def _client(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        while not self.stopped:
            sent = time.monotonic()
            status, ends = 0, True
            try:
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                ends = b"connection: close" in head
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await (reader.readexactly(int(length)) if length else reader.read())
                status = int(head[9:12])
            except (OSError, asyncio.IncompleteReadError):
                ends = True
            self.asked.append(Asked(sent, time.monotonic(), status))
            if ends:
                writer.close()
                reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.close()

    def failed(self) -> list[Asked]:
        return [one for one in self.asked if one.status != self._good]


def test_one_replica_is_killed_and_only_what_it_had_in_its_hands_fails(proxied: Proxied, post: Post) -> None:
    clients = 12
    load = Load(proxied.address, post("/predict", {"row": ROW}), clients)
    label = post("/feedback", {"id": "some", "label": "1"}, "idempotency-key: once\r\n")
    again = Load(proxied.address, label, 6, good=202)
    gone = 0.0

    async def killed() -> None:
        nonlocal gone
        tasks = [asyncio.create_task(one.run()) for one in (load, again)]
        await asyncio.sleep(0.5)
        proxied.replicas[0].process.kill()
        await asyncio.to_thread(proxied.replicas[0].process.wait, 10)
        gone = time.monotonic()
        await asyncio.sleep(1.5)
        load.stopped = again.stopped = True
        await asyncio.gather(*tasks)

    asyncio.run(killed())
    failed = load.failed()
    assert len(failed) <= clients, "no client lost more than the request that it had there"
    assert all(one.sent <= gone for one in failed), "whoever came later was not harmed"
    assert len([one for one in load.asked if one.sent > gone]) > 100
    assert {one.status for one in failed} <= {0, 502}
    assert len(again.asked) > 50
    assert again.failed() == [], "what may be sent twice is sent to the other one"
    proxied.start(0)
    assert eventually(lambda: comes_back(proxied, 0, post))
    assert (proxied.status("/readyz"), proxied.status("/metrics")) == (200, 404), "figures are not for everybody"
    for replica in proxied.replicas:
        replica.process.kill()
        replica.process.wait(10)
    assert eventually(lambda: proxied.status("/proxyz") == 503)
    assert proxied.status("/readyz") == 503


def comes_back(proxied: Proxied, replica: int, post: Post) -> bool:
    """Whether a replica gets requests again."""
    before = proxied.served(replica)
    load = Load(proxied.address, post("/predict", {"row": ROW}), 4)

    async def some() -> None:
        task = asyncio.create_task(load.run())
        await asyncio.sleep(0.2)
        load.stopped = True
        await task

    asyncio.run(some())
    assert not load.failed()
    return proxied.served(replica) > before


def test_both_replicas_are_exchanged_one_after_the_other_and_no_request_fails(proxied: Proxied, post: Post) -> None:
    load = Load(proxied.address, post("/predict", {"row": ROW}), 8)

    async def rolled() -> None:
        task = asyncio.create_task(load.run())
        await asyncio.sleep(0.3)
        for replica in (0, 1):
            assert await asyncio.to_thread(proxied.replicas[replica].end, signal.SIGTERM) == 0
            await asyncio.to_thread(proxied.start, replica)
            assert await asyncio.to_thread(eventually, lambda: proxied.served(replica) > 50)  # noqa: B023 - at once
        load.stopped = True
        await task

    asyncio.run(rolled())
    assert load.failed() == []
