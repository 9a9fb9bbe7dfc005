"""Runs: the seven stages as they run, with shapes, what was dropped and why, time, and what a failed one said.

- ``listing``: all runs, newest first; ``telling``: one of them.
"""

from roadworthy.views.dashboard.runs.listing import Runs, RunState, runs
from roadworthy.views.dashboard.runs.telling import Run, StageState, run

__all__ = ["Run", "RunState", "Runs", "StageState", "run", "runs"]
