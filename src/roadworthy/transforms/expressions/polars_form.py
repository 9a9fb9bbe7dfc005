"""The compilation for history: an expression as a ``pl.Expr`` over clean, typed columns.

What flows in: an ``Expression``. What flows out: a ``pl.Expr`` of Float64, String, Boolean or Datetime("us"),
null where missing, row by row, without looking at other rows.

Laws: the value and the missing mask are those of ``onnx_form``, bit for bit; NaN and infinity never leave.
Polars' own null logic is SQL's. A part of the tree that is used twice is written out twice, so a check for finite
numbers on anything large is a single call instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.transforms.expressions import formulas
from roadworthy.transforms.expressions.functions import CARRIES_NON_FINITE
from roadworthy.transforms.expressions.syntax import (
    Apply,
    Case,
    Column,
    Expression,
    Kind,
    Literal,
    Node,
    Operation,
    round_digits,
)

__all__ = ["NumpyMachine", "to_polars"]

_DTYPES: Final[dict[Kind, pl.DataType]] = {
    Kind.NUMBER: pl.Float64(),
    Kind.TEXT: pl.String(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.TIME: pl.Datetime("us"),
}
_WRITTEN_TWICE_AT_MOST: Final = 16
_Doubles = NDArray[np.float64]


class _Part(NamedTuple):
    """An expression, how many parts it holds, and whether its numbers are known to be finite."""

    expr: pl.Expr
    size: int
    settled: bool


class NumpyMachine:
    """``formulas`` over numpy arrays; every operation is one IEEE 754 operation."""

    _OPERATIONS: Final[dict[str, Callable[..., _Doubles]]] = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Neg": np.negative,
        "Abs": np.abs,
        "Floor": np.floor,
        "Less": np.less,
        "Where": np.where,
    }

    def constant(self, value: float) -> _Doubles:
        """A double."""
        return np.asarray(value)

    def call(self, op: str, *operands: _Doubles) -> _Doubles:
        """One operation."""
        return self._OPERATIONS[op](*operands)

    def power_of_two(self, exponent: _Doubles) -> _Doubles:
        """Exact, through the exponent bits."""
        return np.asarray(np.ldexp(1.0, np.nan_to_num(exponent).astype(np.int32)))

    def rough_log(self, x: _Doubles) -> _Doubles:
        """The logarithm of numpy."""
        return np.log(x)


_MACHINE: Final = NumpyMachine()


def _identity(x: _Doubles) -> _Doubles:
    return x


def _on_series(function: Callable[..., _Doubles], series: Sequence[pl.Series]) -> pl.Series:
    """``function`` over doubles with NaN for null; what is not finite comes back as null."""
    with np.errstate(all="ignore"):
        result = function(*(one.to_numpy() for one in series))
        result = np.where(np.isfinite(result), result, np.nan)
    return pl.Series(series[0].name, result, dtype=pl.Float64, nan_to_null=True)


def _divided(a: _Doubles, b: _Doubles) -> _Doubles:
    # Polars divides by a single value through its reciprocal, which rounds twice
    return np.where(np.isfinite(b), a / b, np.nan)


def _micros_to_seconds(micros: _Doubles) -> _Doubles:
    return micros / 1e6


def _exp(x: _Doubles) -> _Doubles:
    # NaN stands for missing here; the formula's bounds would turn it into a number
    return np.where(np.isnan(x), np.nan, formulas.exponential(_MACHINE, x))


def _called(function: Callable[..., _Doubles], *parts: _Part) -> _Part:
    expr = pl.map_batches(
        [part.expr for part in parts], partial(_on_series, function), return_dtype=pl.Float64, is_elementwise=True
    )
    return _Part(expr, 1 + sum(part.size for part in parts), settled=True)


def _settled(part: _Part) -> _Part:
    """Null where the number is not finite."""
    if part.settled:
        return part
    if part.size > _WRITTEN_TWICE_AT_MOST:
        return _called(_identity, part)
    return _Part(pl.when(part.expr.is_finite()).then(part.expr), 2 * part.size + 1, settled=True)


def to_polars(expression: Expression) -> pl.Expr:
    """The expression for Polars; integers are taken as doubles, missing results are null.

    The columns must be clean: no NaN, no infinity, times as Datetime("us") without zone.
    """
    expr = _settled(_compiled(expression.tree)).expr
    if not expression.columns:
        return expr
    rows = pl.col(min(expression.columns))
    return pl.map_batches([expr, rows], _in_full_length, return_dtype=_DTYPES[expression.kind], is_elementwise=True)


def _in_full_length(series: Sequence[pl.Series]) -> pl.Series:
    """One value per row: Polars shrinks a choice between literals to a single row where all rows choose alike."""
    result, rows = series
    return result.new_from_index(0, len(rows)) if len(result) != len(rows) else result


def _compiled(node: Node) -> _Part:
    if isinstance(node, Literal):
        return _Part(_literal(node), 1, settled=True)
    if isinstance(node, Column):
        column = pl.col(node.name)
        return _Part(column.cast(pl.Float64) if node.kind is Kind.NUMBER else column, 1, settled=True)
    if isinstance(node, Case):
        return _case(node)
    parts = [_compiled(operand) for operand in node.operands]
    if node.operation is Operation.DIVIDE:
        return _called(_divided, *parts)
    if node.operation in CARRIES_NON_FINITE:
        return _carrying(node.operation, parts)
    return _applied(node, [_settled(part) for part in parts])


def _literal(node: Literal) -> pl.Expr:
    if node.kind is Kind.TIME and node.value is not None:
        return pl.lit(node.value, dtype=pl.Int64).cast(_DTYPES[Kind.TIME])
    return pl.lit(node.value, dtype=_DTYPES[node.kind])


def _case(node: Case) -> _Part:
    otherwise = _settled(_compiled(node.otherwise))
    result, size = otherwise.expr, otherwise.size
    for condition, value in reversed(node.branches):
        when, then = _settled(_compiled(condition)), _settled(_compiled(value))
        result = pl.when(when.expr).then(then.expr).otherwise(result)
        size += when.size + then.size + 1
    return _Part(result, size, settled=True)


def _carrying(operation: Operation, parts: list[_Part]) -> _Part:
    """Arithmetic whose result shows by itself that an operand was not finite."""
    first, *rest = (part.expr for part in parts)
    expr: pl.Expr
    match operation:
        case Operation.ADD:
            expr = first + rest[0]
        case Operation.SUBTRACT:
            expr = first - rest[0]
        case Operation.MULTIPLY:
            expr = first * rest[0]
        case _:
            expr = {
                Operation.NEGATE: first.neg,
                Operation.ABS: first.abs,
                Operation.SQRT: first.sqrt,
                Operation.FLOOR: first.floor,
            }[operation]()
    keeps = operation in {Operation.NEGATE, Operation.ABS, Operation.FLOOR} and parts[0].settled
    return _Part(expr, 1 + sum(part.size for part in parts), settled=keeps)


def _applied(node: Apply, parts: list[_Part]) -> _Part:
    """Operations on finite numbers and on other kinds."""
    if node.operation is Operation.SECONDS_BETWEEN:
        first, second = (part.expr.cast(pl.Int64) for part in parts)
        micros = _Part((first - second).cast(pl.Float64), 1 + parts[0].size + parts[1].size, settled=True)
        return _called(_micros_to_seconds, micros)
    numeric: dict[Operation, Callable[..., _Doubles]] = {
        Operation.LN: partial(formulas.logarithm, _MACHINE),
        Operation.EXP: _exp,
    }
    if node.operation in numeric:
        return _called(numeric[node.operation], *parts)
    if node.operation is Operation.REMAINDER:
        return _called(partial(formulas.remainder, _MACHINE), *parts)
    if node.operation is Operation.ROUND:
        return _called(_rounding(node), parts[0])
    if node.operation is Operation.IN:
        return _Part(_is_in(parts[0].expr, node), 1 + parts[0].size, settled=True)
    expr = _SIMPLE[node.operation]([part.expr for part in parts])
    return _Part(expr, 1 + sum(part.size for part in parts), settled=True)


def _rounding(node: Apply) -> Callable[[_Doubles], _Doubles]:
    digits = round_digits(node)
    return lambda x: formulas.rounded(_MACHINE, x, digits)


def _first_present(operands: list[pl.Expr]) -> pl.Expr:
    # pl.coalesce drops inputs that are all null and may lose the number of rows with them
    return reduce(lambda rest, operand: operand.fill_null(rest), reversed(operands))


def _is_in(value: pl.Expr, node: Apply) -> pl.Expr:
    kind = node.operands[0].kind
    written = [item.value for item in node.operands[1:] if isinstance(item, Literal)]
    items = pl.Series(written, dtype=pl.Int64 if kind is Kind.TIME else _DTYPES[kind]).cast(_DTYPES[kind])
    return value.is_in(pl.lit(items).implode())


_SIMPLE: Final[dict[Operation, Callable[[list[pl.Expr]], pl.Expr]]] = {
    Operation.HOUR: lambda x: x[0].dt.hour().cast(pl.Float64),
    Operation.WEEKDAY: lambda x: x[0].dt.weekday().cast(pl.Float64),
    Operation.MONTH: lambda x: x[0].dt.month().cast(pl.Float64),
    Operation.EQUAL: lambda x: x[0] == x[1],
    Operation.LESS: lambda x: x[0] < x[1],
    Operation.LESS_EQUAL: lambda x: x[0] <= x[1],
    Operation.AND: lambda x: x[0] & x[1],
    Operation.OR: lambda x: x[0] | x[1],
    Operation.NOT: lambda x: ~x[0],
    Operation.IS_NULL: lambda x: x[0].is_null(),
    Operation.COALESCE: _first_present,
    Operation.LEAST: pl.min_horizontal,
    Operation.GREATEST: pl.max_horizontal,
}
