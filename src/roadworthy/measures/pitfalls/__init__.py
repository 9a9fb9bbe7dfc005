"""Pitfalls: what makes a good-looking number worthless.

In: a scored sample, or an ``Examined`` model with the rows that it learned from. Out: ``Finding``s in plain words, and
the measurement ``overfit_gap``.

- ``paradox``: accuracy that a constant answer reaches, and the rare class behind it;
- ``gaps``: what was learned by heart, what cross-validation promised;
- ``simpler``: models that cost less and are not provably worse, trained beside or standing in;
- ``splitting``: what a random split would have promised;
- ``trust``: probabilities that are off, a holdout that was looked at too often;
- ``check``: all of it on one model.

Laws: a pitfall fails a model only where an interval proves it; otherwise it is suspected or noted; being better is
never a pitfall.
"""

from roadworthy.measures.pitfalls.check import pitfalls
from roadworthy.measures.pitfalls.gaps import cross_validation_gap, overfit_gap, overfit_gap_of, overfitting
from roadworthy.measures.pitfalls.paradox import accuracy_paradox, class_imbalance
from roadworthy.measures.pitfalls.simpler import simpler_model, simpler_stand_in
from roadworthy.measures.pitfalls.splitting import random_against_honest
from roadworthy.measures.pitfalls.trust import miscalibration, wear

__all__ = [
    "accuracy_paradox",
    "class_imbalance",
    "cross_validation_gap",
    "miscalibration",
    "overfit_gap",
    "overfit_gap_of",
    "overfitting",
    "pitfalls",
    "random_against_honest",
    "simpler_model",
    "simpler_stand_in",
    "wear",
]
