"""The dashboard beside a server: ``python -m roadworthy.web.child JSON``.

In: what ``up`` hands on: project, a listening socket, its own process id. Out: pages. Law: it ends when it is told to,
and when ``up`` is gone, however that ended.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

from roadworthy.api.beside import end_with_parent
from roadworthy.errors import RoadworthyError
from roadworthy.web.running import show

__all__ = ["main"]

_NICE = 5


def main(text: str) -> int:
    """Shows pages until it is told to end; the exit code."""
    given = json.loads(text)
    os.nice(_NICE)  # whoever waits for an answer comes first
    end_with_parent(given["parent"], lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with socket.socket(fileno=given["socket"]) as listener:
            show(
                given["project"],
                listener,
                host=given["host"],
                allow_hosts=given["allow_hosts"],
                tls_cert=given["tls_cert"],
                tls_key=given["tls_key"],
            )
    except RoadworthyError as error:
        sys.stderr.write(f"roadworthy: the dashboard ended: {error.message}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
