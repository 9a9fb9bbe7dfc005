"""A worker process of a supervisor: ``python -m roadworthy.api.serving.child JSON``.

In: what the supervisor hands on: options, the worker's number, the port or the open socket, the folder that all
share, and the pipe on which the worker says that it is ready, that it lives, or why it could not start.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from roadworthy import assembly
from roadworthy.adapters.listening import join
from roadworthy.api.serving.board import Board
from roadworthy.api.serving.following import Follower
from roadworthy.api.serving.options import Options, tls_context
from roadworthy.api.serving.worker import Place, Worker
from roadworthy.errors import RoadworthyError
from roadworthy.serving.metrics import Metrics

__all__ = ["main"]


def main(text: str) -> int:
    """Serves until it is told to end; the exit code."""
    given: dict[str, Any] = json.loads(text)
    pipe: int = given["pipe"]
    try:
        _serve(given, pipe)
    except RoadworthyError as error:
        _tell(pipe, json.dumps({**error.as_dict(), "exit": error.exit_code}))
        return error.exit_code
    finally:
        if not _tell(pipe, "end"):
            shutil.rmtree(given["folder"], ignore_errors=True)  # the supervisor was killed: nobody else clears up
    return 0


def _serve(given: dict[str, Any], pipe: int) -> None:
    options = msgspec.convert(given["options"], Options)
    folder = Path(given["folder"])
    worker: int = given["worker"]
    handle = os.open(folder / "board", os.O_RDWR)
    board = Board(handle, options.workers)
    os.close(handle)
    metrics = Metrics(folder / "metrics", worker=worker, workers=options.workers)
    project = assembly.open_project(Path(options.project))
    follower = Follower(project, options.wanted, local=options.local, memory=folder / "registry.json")
    tls = tls_context(options)
    sock = socket.socket(fileno=given["socket"]) if options.uds else join(options.host, given["port"])
    place = Place(worker, board, metrics, lambda word: _tell(pipe, word))
    Worker(options, project, follower, sock, tls=tls, place=place).run()


def _tell(pipe: int, word: str) -> bool:
    """Whether somebody was there to hear it."""
    try:
        os.write(pipe, word.encode() + b"\n")
    except BrokenPipeError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
