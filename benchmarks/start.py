"""How long a person waits before anything happens: start-up of the command, of the import, and of ``make demo``.

Every figure is a fresh process with warm file caches (one start before the first does not count). The demo runs in
a copy of ``examples`` without data, lake or report, so that it does all that a fresh clone does after set-up.

    python benchmarks/start.py --starts 10 --demos 3
"""

from __future__ import annotations

import argparse
import runpy
import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from processes import Spent, spent
from result import Result, add_results_option, middle

EXAMPLES = Path(__file__).parent.parent / "examples"
HELP_S, DEMO_S = 0.3, 20.0
LEFT_OVER = shutil.ignore_patterns(".roadworthy", "data", "report.html", "__pycache__")
SEVERAL = (0, 1, 3)  # every verdict is an answer


def command() -> list[str]:
    """``roadworthy`` as it was installed beside this Python, or else as a module of it."""
    script = Path(sys.executable).with_name("roadworthy")
    return [str(script)] if script.exists() else [sys.executable, "-m", "roadworthy"]


def repeated(words: Sequence[str], times: int, *, folder: Path, codes: Collection[int] = (0,)) -> list[Spent]:
    """The command's cost, ``times`` times after one that does not count."""
    return [spent(words, folder=folder, codes=codes) for _ in range(times + 1)][1:]


def demo(folder: Path, times: int) -> list[Spent]:
    """``examples/demo.py``, each time in a fresh copy."""
    costs = []
    for turn in range(times):
        home = folder / f"copy-{turn}"
        shutil.copytree(EXAMPLES / "clicks", home / "clicks", ignore=LEFT_OVER)
        shutil.copyfile(EXAMPLES / "demo.py", home / "demo.py")
        costs.append(spent([sys.executable, "demo.py"], folder=home, codes=SEVERAL))
    return costs


def with_project(project: Path, times: int) -> dict[str, list[Spent]]:
    """What a project is asked for after its run."""
    return {
        "roadworthy predict, one row": repeated([*command(), "predict", the_row()], times, folder=project),
        "roadworthy status": repeated([*command(), "status"], times, folder=project),
        "roadworthy run, nothing changed": repeated([*command(), "run"], 1, folder=project, codes=SEVERAL),
    }


def the_row() -> str:
    """The row that the demo asks about."""
    return str(runpy.run_path(str(EXAMPLES / "demo.py"))["VISIT"])


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--demos", type=int, default=3, help="0: only what needs no project")
    parser.add_argument("--folder", type=Path, help="where the copies lie meanwhile; a temporary one by default")
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """All figures, the demo first: it makes the project that ``predict`` asks."""
    asked_for = arguments()
    full = asked_for.starts >= 10 and asked_for.demos >= 3
    result = Result("start", "Start-up and the demo", full=full)
    result.say(
        "Fresh processes, warm file caches; median (lowest–highest). The demo makes its data, runs the seven stages",
        "and asks for one prediction.",
    )
    if asked_for.folder is not None:
        asked_for.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="roadworthy-start-", dir=asked_for.folder) as temporary:
        here = Path(temporary)
        demos = demo(here, asked_for.demos)
        found = {
            "roadworthy --help": repeated([*command(), "--help"], asked_for.starts, folder=here),
            "import roadworthy": repeated([sys.executable, "-c", "import roadworthy"], asked_for.starts, folder=here),
            "python, nothing else": repeated([sys.executable, "-c", "pass"], asked_for.starts, folder=here),
        }
        if demos:
            found |= {**with_project(here / "copy-0" / "clicks", asked_for.starts), "make demo": demos}
    result.table(
        ("what", "runs", "wall s", "CPU s"),
        [
            (f"`{what}`", len(costs), middle(cost.wall_s for cost in costs), middle(cost.cpu_s for cost in costs))
            for what, costs in found.items()
        ],
    )
    for what, most in (("roadworthy --help", HELP_S), ("make demo", DEMO_S)):
        if what not in found:
            continue
        wall = median(cost.wall_s for cost in found[what])
        result.target(f"`{what}`", f"<= {most:g} s", f"{wall:.2f} s", met=wall <= most)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
