"""The monitor beside a server: ``python -m roadworthy.api.watching.child JSON``.

In: what ``up`` hands on: project, addresses, its own process id. Out: windows and alerts. Law: it ends when it is told
to, and when ``up`` is gone, however that ended.
"""

from __future__ import annotations

import json
import os
import sys

from roadworthy.api.beside import end_with_parent
from roadworthy.api.watching import watch
from roadworthy.errors import RoadworthyError

__all__ = ["main"]

_NICE = 5


def main(text: str) -> int:
    """Watches until it is told to end; the exit code."""
    given = json.loads(text)
    os.nice(_NICE)  # whoever waits for an answer comes first
    end_with_parent(given["parent"], lambda: os._exit(0))  # a window that is judged now is judged by the next monitor
    try:
        watch(given["project"], servers=given["servers"], authority=given["authority"])
    except RoadworthyError as error:
        sys.stderr.write(f"roadworthy: the monitor ended: {error.message}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
