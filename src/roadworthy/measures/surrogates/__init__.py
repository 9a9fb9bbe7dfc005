"""Surrogates: simple models that stand beside the one inspected and say what the rows alone can tell.

In: rows, the columns that a model reads, outcomes. Out: scores of rows that did not train the surrogate, or what they
are worth. Laws: a row is scored by a model that did not learn from it; encodings look at no outcome; the same seed
gives the same scores; one core.

- ``encoding``: columns as the numbers that surrogates read;
- ``stand_ins``: constant, tree, linear and boosted, trained on some rows and asked about others;
- ``on_columns``: how good boosted trees are on any choice of columns.

They are never kept, served or chosen.
"""

from __future__ import annotations

from roadworthy.measures.surrogates.boosting import DRAWN
from roadworthy.measures.surrogates.encoding import Encoded, encode_rows
from roadworthy.measures.surrogates.on_columns import Quality, Surrogate
from roadworthy.measures.surrogates.stand_ins import SURROGATES, Lesson, fit_predict, out_of_fold, stacked

__all__ = [
    "DRAWN",
    "SURROGATES",
    "Encoded",
    "Lesson",
    "Quality",
    "Surrogate",
    "encode_rows",
    "fit_predict",
    "out_of_fold",
    "stacked",
]
