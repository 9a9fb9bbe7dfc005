"""Quality before labels come, and with only a few of them.

In: a labelled reference once, then windows without labels (or with some). Out: ``Measurement``s of phase live.

- ``fitting``: the reference becomes an ``EstimatorState``, with a back-test that chooses the method per metric;
- ``estimating``: a window's quality without labels, with bands, or why it cannot be told;
- ``rectifying``: with some labels, prediction-powered inference;
- ``learning``, ``binning``, ``trees``, ``weighting``: the chance of each outcome, from score, columns, reference rows;
- ``expected``, ``classes``, ``amounts``, ``valuing``: metrics of chances; ``bands``, ``support``: how sure that is.
"""

from roadworthy.measures.estimation.estimating import MIN_ROWS, MIN_SUPPORT, estimated, estimated_of, estimated_slices
from roadworthy.measures.estimation.fitting import MIN_REFERENCE_ROWS, fit_estimator
from roadworthy.measures.estimation.rectifying import MIN_LABELS, rectified
from roadworthy.measures.estimation.state import EstimatorState, Plan, estimator_bytes, read_estimator
from roadworthy.measures.estimation.telling import Telling
from roadworthy.measures.estimation.valuing import estimable
from roadworthy.measures.estimation.weighting import ReferenceRows

__all__ = [
    "MIN_LABELS",
    "MIN_REFERENCE_ROWS",
    "MIN_ROWS",
    "MIN_SUPPORT",
    "EstimatorState",
    "Plan",
    "ReferenceRows",
    "Telling",
    "estimable",
    "estimated",
    "estimated_of",
    "estimated_slices",
    "estimator_bytes",
    "fit_estimator",
    "read_estimator",
    "rectified",
]
