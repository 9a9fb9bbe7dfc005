"""The contract: what a row must look like, declared once, applied to history and to live rows.

Owns the declared nouns only. Deciding whether rows meet them is ``transforms.cleaning``; inferring a first
contract from data is ``transforms.inference``.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Breach", "ColumnContract", "ColumnType", "Contract", "MissingPolicy"]


class ColumnType(StrEnum):
    """What a cleaned column holds, and the type it travels as."""

    INTEGER = "integer"  # whole numbers within ±2**53; Int64
    NUMBER = "number"  # finite double; Float64
    BOOLEAN = "boolean"  # true or false; Boolean
    CATEGORY = "category"  # text from a modest vocabulary; String
    TEXT = "text"  # free text or identifiers; String; never a model input by itself
    TIME = "time"  # instant in UTC, microseconds; Datetime("us")


class MissingPolicy(StrEnum):
    """What happens to a row whose value is missing."""

    ALLOW = "allow"  # the value travels as missing
    REJECT = "reject"  # the row goes to quarantine


class Breach(StrEnum):
    """How a row breaks the contract: all that is ever counted, whatever the row holds."""

    MISSING = "missing"  # the field is not there, or has no value
    TYPE = "type"  # it is no value of the column's type
    RANGE = "range"  # it lies below ``min``, above ``max``, or beyond what can be kept
    ALLOWED = "not_allowed"  # it is none of ``allowed``
    PATTERN = "pattern"  # it does not match ``pattern``
    RULE = "rule"  # a rule that reads the column is false
    UNKNOWN = "unknown"  # a field that the contract does not name
    FORM = "form"  # it is no row at all


class ColumnContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The declared shape of one column.

    ``sentinels`` are written values that mean missing, compared as text after trimming (``"-200"``, ``"?"``).
    ``unit`` is a suffix stripped from numbers written as text (``"12 oz"`` with ``unit = "oz"``).
    ``thousands`` and ``decimal`` are the marks used inside numbers written as text.
    ``time_format`` is a chrono format, ``"epoch_s"``, ``"epoch_ms"`` or ``"epoch_us"``; empty means ISO 8601.
    ``strip_suffix`` is removed from the end of every label (``"."`` for Adult's ``>50K.``).
    Text is always trimmed of surrounding spaces. ``pattern`` is a regular expression for the whole value.
    ``freshness`` (times only) is the greatest age against the newest row's clock, as ``"90 days"``.
    """

    type: ColumnType
    missing: MissingPolicy = MissingPolicy.ALLOW
    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] = ()
    unique: bool = False
    pattern: str = ""
    sentinels: tuple[str, ...] = ()
    unit: str = ""
    thousands: str = ""
    decimal: str = "."
    time_format: str = ""
    strip_suffix: str = ""
    freshness: str = ""


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All columns, in order, and the rules across them.

    ``rules`` are SQL conditions in the feature language; a row for which one is false goes to quarantine
    (unknown, through a missing value, is not false). ``duplicates`` is "keep" or "drop": whole rows that are
    equal to an earlier one.
    """

    columns: dict[str, ColumnContract]
    rules: tuple[str, ...] = ()
    duplicates: str = "keep"
