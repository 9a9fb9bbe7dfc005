"""Cleaning by the contract: one implementation for history and for live rows.

Owns: how a raw cell becomes a typed value, which rows meet the contract, and why the others do not.
In: a ``Contract`` and raw rows (text or native types). Out: typed rows, quarantined rows with their reasons,
counts. Laws: rows in = rows kept + rows quarantined; ``_row`` names each row once; a value that cannot be read
is never silently turned into a missing one.
"""

from __future__ import annotations

from roadworthy.transforms.cleaning.compiled import refuse_absent
from roadworthy.transforms.cleaning.declared import contract_for_hashed, reserved_name, without_sentinels
from roadworthy.transforms.cleaning.plan import CleaningPlan
from roadworthy.transforms.cleaning.result import CleaningCounts, CleaningResult

__all__ = [
    "CleaningCounts",
    "CleaningPlan",
    "CleaningResult",
    "contract_for_hashed",
    "refuse_absent",
    "reserved_name",
    "without_sentinels",
]
