"""The README's `make demo`: the main job on `examples/clicks`, then one prediction.

In: nothing. Out: what `roadworthy run` and `roadworthy predict` print, and their exit code.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "clicks"
VISIT = """{"device": "phone", "age_band": "30-44", "campaign": "retarget", "position": 1, "impressions": 10, \
"clicks": 6, "dwell_seconds": 31.5, "time_since_last_click": 5400}"""


def say(command: list[str]) -> int:
    """Show a command as a person would type it, run it, and hand back its exit code."""
    shown = [f"'{word}'" if word.startswith("{") else word for word in command]
    sys.stdout.write(f"\n$ roadworthy {' '.join(shown)}\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "roadworthy", *command], cwd=HERE, check=False).returncode  # noqa: S603 - the project's own command


def main() -> int:
    """Make the data if it is not there, run, predict."""
    if not (HERE / "data" / "clicks.parquet").exists():
        subprocess.run([sys.executable, "prepare.py", "data/clicks.parquet"], cwd=HERE, check=True)
    code = say(["run"])
    if code in {0, 1, 3}:
        say(["predict", VISIT])
        sys.stdout.write("\nopen examples/clicks/report.html, or try in examples/clicks:\n")
        for line in (f"roadworthy trace '{VISIT}'", "roadworthy promote 1", "roadworthy status"):
            sys.stdout.write(f"  {line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
