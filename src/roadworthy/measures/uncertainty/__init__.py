"""Uncertainty and refusal: what a model knows that it does not know, and what a person would have to look at.

In: an ``Examined`` model. Out: the metrics ``coverage``, ``set_size``, ``referred``, ``outside_support`` and, for
regression, ``pinball``, with the exhibits and findings beside them; and two small fitted plans, ``ConformalPlan`` and
``SupportPlan``, that serving applies to refuse and refer.

- ``refer``: both as one plan, fitted so that what is answered is right as often as declared;
- ``conformal``: label sets and intervals that hold the truth in nine of ten rows;
- ``support``: how unlike the training rows a row is;
- ``parts``: which rows calibrate and which measure;
- ``referral``: what remains when the least certain rows go to a person;
- ``check``: all of it on one model.

Laws: no row is measured by a plan that it calibrated; a plan is numbers and names alone and survives JSON unchanged.
"""

from roadworthy.measures.uncertainty.check import uncertainty
from roadworthy.measures.uncertainty.conformal import ConformalPlan
from roadworthy.measures.uncertainty.support import SupportPlan

__all__ = ["ConformalPlan", "SupportPlan", "uncertainty"]
