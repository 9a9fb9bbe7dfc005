"""The inspection: every check on one model and its labelled rows, for ``run`` and for ``inspect`` alike.

In: an ``Examined`` model, a ``Brief``. Out: one ``Found``, each of its parts stamped with the check that made it.

- ``checks``: the table of checks, in the order in which people read them;
- ``running``: one after the other, shown as they run;
- ``counting``: how many findings fail, and how many wait for an answer;
- ``concluding``: what people signed for, and the ML Test Score.

Laws: a check that breaks is an error of every metric that it owns, and blocks where one is required; no check stops
another.
"""

from roadworthy.stages.inspection.checks import CHECKS, RETRAINED, RETRAININGS, Check, checks_named
from roadworthy.stages.inspection.concluding import concluded
from roadworthy.stages.inspection.counting import counted
from roadworthy.stages.inspection.running import inspect_all

__all__ = [
    "CHECKS",
    "RETRAINED",
    "RETRAININGS",
    "Check",
    "checks_named",
    "concluded",
    "counted",
    "inspect_all",
]
