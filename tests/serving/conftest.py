"""A real server in a process of its own, a project with two versions that are ready, and a client that counts."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

PROJECT = """
[project]
name = "pair"
task = "binary"
target = "y"
positive = "1"
[data]
source = "rows.parquet"
[contract.columns]
a = { type = "number" }
b = { type = "number" }
c = { type = "number" }
y = { type = "integer" }
[training]
candidates = ["logistic"]
folds = 2
seed = 1
[standard]
extends = "prototype"
accuracy = ">= 0.6"
"""


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with versions 1 (champion) and 2, both ready and of different scores; treat it as read-only."""
    from roadworthy import api, assembly  # noqa: PLC0415 - heavy, and only these tests need it

    folder = tmp_path_factory.mktemp("pair")
    random = np.random.default_rng(3)
    x = random.normal(size=(900, 3))
    y = (x @ [1.5, -1.0, 0.5] + random.logistic(size=900) * 0.3 > 0).astype(int)
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}).write_parquet(folder / "rows.parquet")
    file = folder / "roadworthy.toml"
    file.write_text(PROJECT)
    assembly.project_keys(assembly.open_project(file))
    api.run(file)
    file.write_text(PROJECT.replace('["logistic"]', '["mlp"]'))
    api.run(file)
    api.promote(1, file)
    return folder


@pytest.fixture
def pair(two_versions: Path, tmp_path: Path) -> Path:
    """A copy of the project with two versions that a test may change."""
    target = tmp_path / "pair"
    shutil.copytree(two_versions, target)
    return target


@dataclass
class Server:
    """A server in a process of its own. ``errors`` holds what it wrote to standard error."""

    process: subprocess.Popen[str]
    said: dict[str, Any]
    errors: Path

    @property
    def address(self) -> str:
        """What it said that it is reached at."""
        return str(self.said["address"])

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.address.rpartition(":")[2])

    def workers(self) -> list[int]:
        """The processes of its workers, where there are several."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def end(self, number: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Signals it, waits, and gives its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


Start = Callable[..., Server]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Start]:
    """``serving(project, "--workers", "2")``: a server that is ready, ended after the test. Port 0, JSON, no grace.

    ``code``: Python that calls ``serve`` in place of the command.
    """
    started: list[Server] = []

    def start(project: Path, *words: str, code: str = "", ready: bool = True) -> Server:
        errors = Path(tempfile.mkstemp(dir=tmp_path, suffix=".err")[1])
        command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "roadworthy", "serve"]
        if not code:
            command += ["--project", str(project), "--json", *words]
            command += [] if {"--port", "--uds"} & set(words) else ["--port", "0"]
            command += [] if "--grace" in words else ["--grace", "0"]
        with errors.open("w") as stream:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stream, text=True, env={**os.environ, "NO_COLOR": "1"}
            )
        assert process.stdout is not None
        line = process.stdout.readline() if ready else "{}"
        assert line, f"the server did not start: {errors.read_text()}"
        server = Server(process, json.loads(line), errors)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            children = server.workers()
            server.process.terminate()
            try:
                server.process.wait(10)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait(10)
            for child in children:
                _kill(child)
        if server.process.stdout is not None:
            server.process.stdout.close()


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


@dataclass
class Counted:
    """What a load came to. ``dropped`` are requests that a connection took and nobody answered."""

    answers: list[tuple[float, int, int, bytes]] = field(default_factory=list)  # when, which request, status, body
    dropped: list[str] = field(default_factory=list)
    refused: int = 0

    def statuses(self) -> set[int]:
        """Every status that was answered."""
        return {status for _, _, status, _ in self.answers}


class ClosedLoop:
    """So many connections, each asking again as soon as it was answered; nothing is tried twice.

    ``requests`` are whole HTTP requests, asked in turn. A connection that is refused ends its client: nobody took
    that request.
    """

    def __init__(self, address: str, requests: Sequence[bytes], connections: int) -> None:
        self._address, self._requests, self._connections = address, requests, connections
        self.counted = Counted()
        self.stopped = False
        self._next = 0

    async def run(self) -> Counted:
        """Until ``stopped``, or until everybody was refused."""
        await asyncio.gather(*(self._client() for _ in range(self._connections)))
        return self.counted

    async def _client(self) -> None:
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self.stopped:
            if reader is None or writer is None:
                try:
                    reader, writer = await self._open()
                except (ConnectionRefusedError, FileNotFoundError):
                    self.counted.refused += 1
                    return
            which = self._next % len(self._requests)
            self._next += 1
            try:
                writer.write(self._requests[which])
                status, body, ends = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.counted.dropped.append(repr(error))
                return
            self.counted.answers.append((time.monotonic(), which, status, body))
            if ends:
                writer.close()
                reader = writer = None
        if writer is not None:
            writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.startswith("unix:"):
            return await asyncio.open_unix_connection(self._address.removeprefix("unix:"))
        host, _, port = self._address.partition("//")[2].rpartition(":")
        return await asyncio.open_connection(host, int(port))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length), b"connection: close" in head


@pytest.fixture(scope="session")
def closed_loop() -> type[ClosedLoop]:
    """``closed_loop(address, requests, connections)``."""
    return ClosedLoop


@pytest.fixture(scope="session")
def post() -> Callable[..., bytes]:
    """``post("/predict", {"row": …})``: the bytes of a request."""

    def made(path: str, value: object, headers: str = "") -> bytes:
        body = json.dumps(value).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    return made
