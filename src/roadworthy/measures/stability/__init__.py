"""Stability: what changes when nothing but the seed, the sample or the date changes.

In: an ``Examined`` model that can be trained anew, or rows with a time. Out: ``Found``.

- ``trainings``: other seeds, bootstrap samples, twice the same: spread of skill, churn of decisions, reproducibility;
- ``ageing``: the model over the quarters of its rows, and how much a model loses that is not renewed.
"""

from roadworthy.measures.stability.ageing import AGEING_TRAININGS, ageing, over_time
from roadworthy.measures.stability.trainings import retrained, trainings_of

__all__ = ["AGEING_TRAININGS", "ageing", "over_time", "retrained", "trainings_of"]
