"""One worker that is the whole process: ``python -m roadworthy.api.serving.alone JSON``, which the command becomes.

In: what ``serve`` takes, whether the line with the address is JSON, and who shows an error (``module:name`` of a
context manager). Out: that line; then answers until the end. Law: from outside it is the command itself, with its
process number. What reads a command's words takes 10 MB, which a server would keep for as long as it runs.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import msgspec

from roadworthy.api.serving import Serving, serve

__all__ = ["become", "main", "words"]


def become(given: dict[str, Any], *, as_json: bool, shown: str) -> NoReturn:
    """This process goes on as the server."""
    text = json.dumps({"given": given, "as_json": as_json, "shown": shown})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", __name__, text])  # noqa: S606 - our own module


def words(found: Serving, *, as_json: bool) -> str:
    """The line that says where the server is."""
    if as_json:
        return msgspec.json.encode(found).decode()
    also = f" and, over gRPC, at {found.grpc}" if found.grpc else ""
    return f"{found.version} is served at {found.address}{also}"


def main(text: str) -> None:
    """Serves until it is told to end; shows what keeps it from that as the command does."""
    asked = json.loads(text)
    try:
        serve(**asked["given"], ready=lambda found: _told(words(found, as_json=asked["as_json"])))
    except BaseException:
        module, _, name = asked["shown"].partition(":")
        with getattr(import_module(module), name)():  # only now: it is what this process was to be without
            raise


def _told(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
