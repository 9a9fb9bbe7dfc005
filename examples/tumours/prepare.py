"""Breast tumours, 569 of them with 30 measurements (scikit-learn's copy of the Wisconsin diagnostic set, CC BY 4.0).

A missed malignant tumour costs far more than a false alarm, so recall comes first; and 114 holdout rows are few, so
much that one would like to promise cannot be proven.

    python prepare.py            # writes data/tumours.csv
    roadworthy run
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from sklearn.datasets import load_breast_cancer


def make_tumours() -> pl.DataFrame:
    """569 × 31: the measurements and ``diagnosis`` (malignant or benign)."""
    bunch = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in bunch.feature_names]
    labels = [str(bunch.target_names[code]) for code in bunch.target]
    return pl.DataFrame(bunch.data, schema=names).with_columns(diagnosis=pl.Series(labels))


if __name__ == "__main__":
    target = Path(__file__).parent / "data" / "tumours.csv"
    target.parent.mkdir(exist_ok=True)
    make_tumours().write_csv(target)
