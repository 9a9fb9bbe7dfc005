"""Robustness: what a model does with input that is not as it should be.

In: an ``Examined`` model, a ``Brief``. Out: ``robustness``, a check: the metrics ``crashes``, ``robust_flips`` and
``robust_drop``, findings, and the exhibit "robustness".

- ``faults``: the faults, each a change to the input columns of a frame;
- ``values``: how values become wrong (noise, units, typos), within a column's type;
- ``asking``: ask the model, and tell refusals, crashes and answers apart;
- ``effects``: what a fault costs, paired row by row, with bounds;
- ``telling``: measurements, findings and the exhibit;
- ``check``: which faults are tried, and the check itself.

Laws: the same seed asks the same questions, on any machine; a row that is refused is neither wrong nor a crash;
whatever the model raises is evidence and stops nothing.
"""

from roadworthy.measures.robustness.asking import Reply, ask
from roadworthy.measures.robustness.check import robustness, robustness_steps
from roadworthy.measures.robustness.faults import FAMILIES, SMALL, Family, Fault, faults_for

__all__ = ["FAMILIES", "SMALL", "Family", "Fault", "Reply", "ask", "faults_for", "robustness", "robustness_steps"]
