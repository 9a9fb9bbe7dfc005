"""The expression language: one syntax tree, compiled to Polars for history and to ONNX for live rows.

What flows in: SQL expressions over cleaned, typed columns. What flows out: an ``Expression``, a ``pl.Expr``, or
nodes in an ``OnnxBuilder``. Law: for every expression and every row both compilations give the same value and the
same missing mask.
"""

from __future__ import annotations

from roadworthy.transforms.expressions.functions import SUPPORTED, Supported, describe_supported
from roadworthy.transforms.expressions.onnx_form import to_onnx
from roadworthy.transforms.expressions.parse import parse
from roadworthy.transforms.expressions.polars_form import to_polars
from roadworthy.transforms.expressions.syntax import Expression, Kind, kind_of

__all__ = [
    "SUPPORTED",
    "Expression",
    "Kind",
    "Supported",
    "describe_supported",
    "kind_of",
    "parse",
    "to_onnx",
    "to_polars",
]
