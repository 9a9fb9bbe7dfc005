"""Weak slices: groups of rows on which the model is provably worse, found automatically.

In: an ``Examined`` model. Out: the metric ``weak_slices``, findings that name the groups, the exhibit ``weak_slices``.

- ``axes``: columns as fine bins and levels, and conditions on them as people read them;
- ``search``: groups over one and two columns, and by trees on the loss, on rows that find;
- ``proof``: what holds on the rows that did not find them, under control of false discoveries;
- ``groups``: parts of the rows, each proving what the others find;
- ``check``: what is said of it.

Laws: no row takes part in finding a group and in proving it; the rows of one entity lie in one part; where errors are
independent of every column, a group is reported in at most 5 % of inspections.
"""

from roadworthy.measures.weak_slices.check import weak_slices

__all__ = ["weak_slices"]
