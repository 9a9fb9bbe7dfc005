"""The graph of an alert beside its message, drawn by a process of its own.

In: the project file and numbers of alerts. Out: PNG bytes of each, or why there are none. Laws: drawing changes
nothing; it has ten seconds, however many alerts; whatever becomes of it (no memory, a crash, an endless wait), the
process that sends messages goes on, and has neither loaded nor kept anything that draws.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from roadworthy import assembly
from roadworthy.errors import RoadworthyError
from roadworthy.lifecycle.alerts.pictures import Draw

__all__ = ["drawing", "main"]

_SECONDS = 10.0
_MODULE = "roadworthy.api.alert_pictures"


class _Drawn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One alert's picture in base64, or why there is none."""

    png: str = ""
    why: str = ""


_answers = msgspec.json.Decoder(dict[str, _Drawn])


def drawing(file: Path, *, seconds: float = _SECONDS) -> Draw:
    """What draws alerts of a project, within so many seconds."""
    return partial(_drawn, file, seconds)


def main(words: Sequence[str]) -> int:
    """Draw alerts of a project and write them to standard output; the exit code."""
    from roadworthy.views.dashboard import Site  # noqa: PLC0415 - a second that only this process pays
    from roadworthy.views.dashboard.alerts import alert_png  # noqa: PLC0415 - as above

    opened = assembly.open_project(words[0])
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    found: dict[str, _Drawn] = {}
    try:
        for number in words[1:]:
            try:
                png = alert_png(site, int(number))
            except RoadworthyError as error:
                found[number] = _Drawn(why=error.message)
                continue
            found[number] = (
                _Drawn(why="nothing was kept that could be drawn")
                if png is None
                else _Drawn(png=base64.b64encode(png).decode())
            )
    finally:
        site.close()
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


def _drawn(file: Path, seconds: float, numbers: Sequence[int]) -> Mapping[int, bytes | str]:
    command = [sys.executable, "-m", _MODULE, str(file), *map(str, numbers)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, in our own interpreter
            command, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(numbers, f"it was not drawn within {seconds:g} s")
    if done.returncode:
        return dict.fromkeys(numbers, f"drawing ended with {done.returncode}")
    answers = _answers.decode(done.stdout)
    return {
        number: base64.b64decode(one.png) if one.png else one.why
        for number in numbers
        if (one := answers.get(str(number))) is not None
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
