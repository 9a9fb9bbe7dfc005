"""Explanation: what drives a model, overall and for one row.

In: an ``Examined`` model, a ``Brief``; or an ``Answer`` and rows. Out: ``explanation``, a check that measures nothing
and shows what each column is worth, how the score depends on it, and three telling rows.

- ``importance``: what is lost when a column is shuffled, and which columns earn nothing;
- ``dependence``: how the mean score moves with one column;
- ``shapley``: how one row's score is made up of its columns;
- ``telling_rows``: which three rows are shown, and what of them;
- ``check``: the check itself.

Laws: the same seed gives the same explanation; no value of a column that may name a person is shown; whatever the
model raises leaves a note and stops nothing.
"""

from roadworthy.measures.explanation.check import explanation, explanation_steps
from roadworthy.measures.explanation.dependence import dependence_exhibit
from roadworthy.measures.explanation.importance import idle_columns, importance_exhibit
from roadworthy.measures.explanation.shapley import RowExplanation, explain_row
from roadworthy.measures.explanation.telling_rows import explained_rows_exhibit

__all__ = [
    "RowExplanation",
    "dependence_exhibit",
    "explain_row",
    "explained_rows_exhibit",
    "explanation",
    "explanation_steps",
    "idle_columns",
    "importance_exhibit",
]
