"""Diabetes, 442 patients: how far the disease will have progressed in a year (scikit-learn's bundled regression set).

python prepare.py            # writes data/diabetes.csv
roadworthy run
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from sklearn.datasets import load_diabetes

NAMES = {"s1": "cholesterol", "s2": "ldl", "s3": "hdl", "s4": "ratio", "s5": "triglycerides", "s6": "glucose"}


def make_diabetes() -> pl.DataFrame:
    """442 × 11: ten measurements in their own units and ``progression``."""
    bunch = load_diabetes(scaled=False)
    columns = [NAMES.get(str(name), str(name)) for name in bunch.feature_names]
    return pl.DataFrame(bunch.data, schema=columns).with_columns(progression=pl.Series(bunch.target))


if __name__ == "__main__":
    target = Path(__file__).parent / "data" / "diabetes.csv"
    target.parent.mkdir(exist_ok=True)
    make_diabetes().write_csv(target)
