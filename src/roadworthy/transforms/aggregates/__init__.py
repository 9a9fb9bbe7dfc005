"""Aggregates over an entity's own past: what they mean (``looks``), computed over history (``past``).

``exact`` is the arithmetic beneath: sums that depend on no order. ``declared`` reads them from a project.
"""

from roadworthy.transforms.aggregates.looks import Function, Look, Ratio
from roadworthy.transforms.aggregates.past import ROW, compute

__all__ = ["ROW", "Function", "Look", "Ratio", "compute"]
