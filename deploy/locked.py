# ruff: noqa: INP001 - a script by itself, copied alone into an image
"""A part of a lock: the packages that a list names and whatever these need, with their pins, markers and hashes.

In: ``requirements.lock`` as uv writes it (each package with ``# via`` whom it is needed by), a list of names. Out: the
same blocks on standard output. Laws: a name that the lock does not have is an error; a package that only others need
is left out. It needs nothing but Python, so that an image can be built with it.

    python deploy/locked.py requirements.lock deploy/serving.txt > serving.lock
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["locked", "named"]

_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")
_VIA = re.compile(r"^ +# (?:via )? *([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


def named(text: str) -> list[str]:
    """The names of a list, one on each line; what follows a ``#`` is for people."""
    return [word for line in text.splitlines() if (word := line.partition("#")[0].strip())]


def locked(lock: str, wanted: list[str]) -> str:
    """The blocks of the packages wanted and of all that these need. KeyError names what the lock does not have."""
    blocks = _blocks(lock)
    if unknown := sorted(set(wanted) - set(blocks)):
        raise KeyError(f"not in the lock: {', '.join(unknown)}")
    needed_by = {name: set(_VIA.findall(block)) for name, block in blocks.items()}
    taken = set(wanted)
    while more := {name for name, by in needed_by.items() if by & taken} - taken:
        taken |= more
    return "".join(block for name, block in blocks.items() if name in taken)


def _blocks(lock: str) -> Mapping[str, str]:
    """Each package's lines, in the lock's order; one that is pinned twice, for two versions of Python, has both."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if match := _NAME.match(line):
            name = match[1]
            found.setdefault(name, "")
        if name:
            found[name] += line
    return found


def main() -> None:
    """The part on standard output."""
    lock, names = (Path(word).read_text(encoding="utf-8") for word in sys.argv[1:3])
    sys.stdout.write(locked(lock, named(names)))


if __name__ == "__main__":
    main()
