"""Fairness: what differs between the groups of protected columns, with intervals that hold for the greatest of many.

In: an ``Examined`` model with protected columns. Out: differences and ratios per column and over all, findings,
exhibits.

- ``cohorts``: protected columns as groups of rows;
- ``rates``: what is compared within each group, with bounds at any confidence;
- ``extremes``: bounds of the greatest difference and of the smallest ratio over all pairs of groups;
- ``check``: the measurements and what is said of them;
- ``tables``: the exhibits.

Laws: no group is dropped for being small: it is named, and says how many rows it would take; a missing value is a group
of its own; definitions are those of fairlearn's MetricFrame (Bird et al. 2020), worst case over groups.
"""

from roadworthy.measures.fairness.check import fairness

__all__ = ["fairness"]
