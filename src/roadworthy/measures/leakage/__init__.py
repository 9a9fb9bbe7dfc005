"""Leaks: columns and rows that give the answer away.

In: a model's inputs on labelled rows, and the rows that it learned from where they are known. Out: ``Finding``s in
two grades and the metric ``leaks``, the number of findings that fail. A finding *fails* where the data prove a leak;
it *suspects* where only a person can tell, and then carries the question.

- ``check``: the whole check, one finding per subject;
- ``powers``: what each column says alone, against its family;
- ``missing``: columns that are filled only where the answer is known;
- ``sums``: columns that add up to the target;
- ``reliance``: what quality of a surrogate would be without a column, and the control on shuffled labels;
- ``twins``: rows of the holdout that training has seen, exactly or nearly;
- ``sides``: entities and times on both sides of the split, columns dated after the prediction.

Laws: a column is judged against its family, the other columns of the same table, so that a table in which all columns
are strong accuses none; rows that coincide as often as the table's own columns make them coincide accuse nobody; no
value of any column is named.
"""

from roadworthy.measures.leakage.check import leakage
from roadworthy.measures.leakage.grading import LEAK_KINDS, leaks_measurement
from roadworthy.measures.leakage.powers import Power, column_powers, target_leaks
from roadworthy.measures.leakage.sides import entity_overlap
from roadworthy.measures.leakage.twins import duplicates_across

__all__ = [
    "LEAK_KINDS",
    "Power",
    "column_powers",
    "duplicates_across",
    "entity_overlap",
    "leakage",
    "leaks_measurement",
    "target_leaks",
]
