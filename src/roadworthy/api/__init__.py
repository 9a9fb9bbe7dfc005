"""The Python calls, one per command: what the command line prints, these return.

In: paths, rows, frames. Out: records. Nothing here prints; progress goes to the ``Reporter`` that is passed.
"""

from roadworthy.api.answers import Prediction, ScoreResult, predict, score, trace
from roadworthy.api.inspection import Inspection, inspect
from roadworthy.api.project import InitResult, RunOutcome, init, promote, run, status

__all__ = [
    "InitResult",
    "Inspection",
    "Prediction",
    "RunOutcome",
    "ScoreResult",
    "init",
    "inspect",
    "predict",
    "promote",
    "run",
    "score",
    "status",
    "trace",
]
