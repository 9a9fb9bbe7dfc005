"""The compilation for live rows: an expression as nodes of an ONNX graph.

What flows in: an ``Expression``, a builder, and the tensors of the columns. What flows out: the pair of tensors
(value, missing). Numbers are double, texts string, booleans bool, times int64 microseconds.

Laws: the value and the missing mask are those of ``polars_form``, bit for bit, for any batch size; under the
missing mask the value is 0, "" or false, so nothing that is not finite leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple

from onnx import TensorProto

from roadworthy.errors import ExpressionError, Problem
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
from roadworthy.transforms.onnx_builder import OnnxBuilder, Pair

__all__ = ["DTYPES", "OnnxMachine", "to_onnx"]

DTYPES: Final[dict[Kind, int]] = {
    Kind.NUMBER: TensorProto.DOUBLE,
    Kind.TEXT: TensorProto.STRING,
    Kind.BOOLEAN: TensorProto.BOOL,
    Kind.TIME: TensorProto.INT64,
}
"""The ``TensorProto`` type of each kind's value."""

_EMPTY: Final[dict[Kind, float | str | bool | int]] = {
    Kind.NUMBER: 0.0,
    Kind.TEXT: "",
    Kind.BOOLEAN: False,
    Kind.TIME: 0,
}
_MICROS_PER_HOUR: Final = 3_600_000_000


class _Part(NamedTuple):
    """A value, its mask, and whether its numbers are known to be finite."""

    value: str
    missing: str
    settled: bool


class OnnxMachine:
    """``formulas`` as graph nodes; every operation is one IEEE 754 operation of ONNX Runtime."""

    def __init__(self, builder: OnnxBuilder) -> None:
        self._builder = builder

    def constant(self, value: float) -> str:
        """A double."""
        return self._builder.constant(float(value))

    def call(self, op: str, *operands: str) -> str:
        """One operation."""
        return self._builder.node(op, operands)

    def power_of_two(self, exponent: str) -> str:
        """C's ``pow``, exact for a base of 2 and whole exponents."""
        return self._builder.node("Pow", [self.constant(2.0), exponent])

    def rough_log(self, x: str) -> str:
        """ONNX Runtime's logarithm."""
        return self._builder.node("Log", [x])


def to_onnx(expression: Expression, builder: OnnxBuilder, columns: Mapping[str, Pair]) -> Pair:
    """Adds the expression's nodes to ``builder`` and returns the names of its value and its mask, both [N, 1].

    ``columns`` are the tensors of every column that the expression reads; an integer column may come as int64, all
    other numbers as double. Raises ExpressionError when an expression without columns has no row to stand beside.
    """
    compiler = _Compiler(builder, columns)
    part = compiler.settled(compiler.compiled(expression.tree))
    value, missing = compiler.masked_value(expression.kind, part), part.missing
    if not (builder.is_constant(value) or builder.is_constant(missing)):
        return Pair(value, missing)
    if builder.is_constant(value):
        if not columns:
            problem = Problem(f"{expression.text!r} reads no column", expected="an expression over columns")
            raise ExpressionError("a constant has no rows in a graph without columns", problems=[problem])
        rows = next(iter(columns.values())).missing
    else:
        rows = value
    shape = builder.node("Shape", [rows])
    return Pair(builder.node("Expand", [value, shape]), builder.node("Expand", [missing, shape]))


class _Compiler:
    """One expression on its way into one graph; parts that occur twice are compiled once."""

    def __init__(self, builder: OnnxBuilder, columns: Mapping[str, Pair]) -> None:
        self._builder = builder
        self._columns = columns
        self._machine = OnnxMachine(builder)
        self._done: dict[int, _Part] = {}
        self.never = builder.constant(False)  # noqa: FBT003 - the constant itself is the operand

    # ---- logic on masks ------------------------------------------------------------------------------------

    def either(self, *masks: str) -> str:
        """True where one is; constants that are never true are left out."""
        result = self.never
        for mask in masks:
            if mask in {self.never, result}:
                continue
            result = mask if result == self.never else self._builder.node("Or", [result, mask])
        return result

    def both(self, *masks: str) -> str:
        """True where all are."""
        if self.never in masks:
            return self.never
        result = masks[0]
        for mask in masks[1:]:
            result = result if mask == result else self._builder.node("And", [result, mask])
        return result

    def negated(self, mask: str) -> str:
        """True where it is false."""
        return self._builder.node("Not", [mask])

    def chosen(self, condition: str, first: str, second: str) -> str:
        """``first`` where the condition holds, ``second`` elsewhere."""
        return first if first == second else self._builder.node("Where", [condition, first, second])

    def chosen_mask(self, condition: str, first: str, second: str) -> str:
        """The same for masks, in logic, which every runtime has for bool."""
        if first == second:
            return first
        return self.either(self.both(condition, first), self.both(self.negated(condition), second))

    def settled(self, part: _Part) -> _Part:
        """Missing where the number is not finite: x − x is NaN there, and 0 elsewhere."""
        if part.settled:
            return part
        broken = self._builder.node("IsNaN", [self._builder.node("Sub", [part.value, part.value])])
        return _Part(part.value, self.either(part.missing, broken), settled=True)

    def masked_value(self, kind: Kind, part: _Part) -> str:
        """The value with 0, "" or false where it is missing."""
        if part.missing == self.never:
            return part.value
        if kind is Kind.BOOLEAN:
            return self._builder.node("And", [part.value, self.negated(part.missing)])
        return self._builder.node("Where", [part.missing, self._builder.constant(_EMPTY[kind]), part.value])

    # ---- nodes ---------------------------------------------------------------------------------------------

    def compiled(self, node: Node) -> _Part:
        """The part for a node, made once."""
        if id(node) not in self._done:
            self._done[id(node)] = self._compile(node)
        return self._done[id(node)]

    def _compile(self, node: Node) -> _Part:
        if isinstance(node, Literal):
            absent = node.value is None
            value = _EMPTY[node.kind] if node.value is None else node.value
            return _Part(self._builder.constant(value), self._builder.constant(absent), settled=True)
        if isinstance(node, Column):
            return self._column(node)
        if isinstance(node, Case):
            return self._case(node)
        parts = [self.compiled(operand) for operand in node.operands]
        if node.operation in CARRIES_NON_FINITE:
            return self._carrying(node.operation, parts)
        return self._applied(node, [self.settled(part) for part in parts])

    def _column(self, node: Column) -> _Part:
        value, missing = self._columns[node.name]
        if node.kind is Kind.NUMBER and self._builder.dtype_of_input(value) not in {None, TensorProto.DOUBLE}:
            value = self._builder.node("Cast", [value], to=TensorProto.DOUBLE)
        return _Part(value, missing, settled=True)

    def _case(self, node: Case) -> _Part:
        result = self.settled(self.compiled(node.otherwise))
        for condition, value in reversed(node.branches):
            when, then = self.settled(self.compiled(condition)), self.settled(self.compiled(value))
            holds = when.value if when.missing == self.never else self.both(when.value, self.negated(when.missing))
            result = _Part(
                self._chosen_value(node.kind, holds, then.value, result.value),
                self.chosen_mask(holds, then.missing, result.missing),
                settled=True,
            )
        return result

    def _chosen_value(self, kind: Kind, condition: str, first: str, second: str) -> str:
        return (
            self.chosen_mask(condition, first, second)
            if kind is Kind.BOOLEAN
            else self.chosen(condition, first, second)
        )

    def _carrying(self, operation: Operation, parts: list[_Part]) -> _Part:
        if operation is Operation.DIVIDE:
            parts = [parts[0], self.settled(parts[1])]
        value = self._builder.node(_ARITHMETIC[operation], [part.value for part in parts])
        keeps = operation in {Operation.NEGATE, Operation.ABS, Operation.FLOOR} and parts[0].settled
        return _Part(value, self.either(*(part.missing for part in parts)), settled=keeps)

    def _applied(self, node: Apply, parts: list[_Part]) -> _Part:
        operation = node.operation
        missing = self.either(*(part.missing for part in parts))
        values = [part.value for part in parts]
        if operation in {Operation.LN, Operation.EXP, Operation.REMAINDER, Operation.ROUND}:
            return _Part(self._formula(node, values), missing, settled=False)
        if operation in self._combining:
            return self._combining[operation](self, node, parts)
        return _Part(_PLAIN[operation](self._builder, values, node.operands[0].kind), missing, settled=True)

    def _formula(self, node: Apply, values: list[str]) -> str:
        if node.operation is Operation.LN:
            return formulas.logarithm(self._machine, values[0])
        if node.operation is Operation.EXP:
            return formulas.exponential(self._machine, values[0])
        if node.operation is Operation.REMAINDER:
            return formulas.remainder(self._machine, values[0], values[1])
        return formulas.rounded(self._machine, values[0], round_digits(node))

    # ---- operations with a say in what is missing -------------------------------------------------------------

    def _and(self, _: Apply, parts: list[_Part]) -> _Part:
        """A false that is known decides; so a missing side matters only where the other is true or missing."""
        a, b = parts
        unknown = self.both(
            self.either(a.missing, b.missing), self._or(a.missing, a.value), self._or(b.missing, b.value)
        )
        return _Part(self._builder.node("And", [a.value, b.value]), self._masked(unknown, a, b), settled=True)

    def _either_side(self, _: Apply, parts: list[_Part]) -> _Part:
        """A true that is known decides."""
        a, b = parts
        unknown = self.both(
            self.either(a.missing, b.missing),
            self._or(a.missing, self.negated(a.value)),
            self._or(b.missing, self.negated(b.value)),
        )
        return _Part(self._builder.node("Or", [a.value, b.value]), self._masked(unknown, a, b), settled=True)

    def _or(self, missing: str, value: str) -> str:
        return value if missing == self.never else self._builder.node("Or", [missing, value])

    def _masked(self, unknown: str, a: _Part, b: _Part) -> str:
        return self.never if a.missing == b.missing == self.never else unknown

    def _is_null(self, _: Apply, parts: list[_Part]) -> _Part:
        return _Part(parts[0].missing, self.never, settled=True)

    def _coalesce(self, node: Apply, parts: list[_Part]) -> _Part:
        result = parts[-1]
        for part in reversed(parts[:-1]):
            if part.missing == self.never:
                result = part
                continue
            value = self._chosen_value(node.kind, part.missing, result.value, part.value)
            result = _Part(value, self.both(part.missing, result.missing), settled=True)
        return result

    def _extreme(self, node: Apply, parts: list[_Part]) -> _Part:
        op = "Min" if node.operation is Operation.LEAST else "Max"
        result = parts[0]
        for part in parts[1:]:
            value = self._builder.node(op, [result.value, part.value])
            value = value if part.missing == self.never else self.chosen(part.missing, result.value, value)
            value = value if result.missing == self.never else self.chosen(result.missing, part.value, value)
            result = _Part(value, self.both(result.missing, part.missing), settled=True)
        return result

    _combining: ClassVar[dict[Operation, Callable[[_Compiler, Apply, list[_Part]], _Part]]] = {
        Operation.AND: _and,
        Operation.OR: _either_side,
        Operation.IS_NULL: _is_null,
        Operation.COALESCE: _coalesce,
        Operation.LEAST: _extreme,
        Operation.GREATEST: _extreme,
    }


def _equal(builder: OnnxBuilder, values: list[str], _: Kind) -> str:
    return builder.node("Equal", values)


def _in(builder: OnnxBuilder, values: list[str], _: Kind) -> str:
    value, *items = values
    result = builder.node("Equal", [value, items[0]])
    for item in items[1:]:
        result = builder.node("Or", [result, builder.node("Equal", [value, item])])
    return result


def _seconds(builder: OnnxBuilder, values: list[str], _: Kind) -> str:
    micros = builder.node("Cast", [builder.node("Sub", values)], to=TensorProto.DOUBLE)
    return builder.node("Div", [micros, builder.constant(1e6)])


def _floor_divided(builder: OnnxBuilder, value: str, divisor: int) -> str:
    """Whole-number division that rounds down, also before 1970 (ONNX truncates)."""
    by = builder.constant(divisor)
    return builder.node("Div", [builder.node("Sub", [value, builder.node("Mod", [value, by])]), by])


def _as_number(builder: OnnxBuilder, value: str) -> str:
    return builder.node("Cast", [value], to=TensorProto.DOUBLE)


def _hour(builder: OnnxBuilder, values: list[str], _: Kind) -> str:
    hours = _floor_divided(builder, values[0], _MICROS_PER_HOUR)
    return _as_number(builder, builder.node("Mod", [hours, builder.constant(24)]))


def _weekday(builder: OnnxBuilder, values: list[str], _: Kind) -> str:
    """1970-01-01 was a Thursday, three days after a Monday."""
    days = _floor_divided(builder, values[0], 24 * _MICROS_PER_HOUR)
    since_monday = builder.node("Mod", [builder.node("Add", [days, builder.constant(3)]), builder.constant(7)])
    return _as_number(builder, builder.node("Add", [since_monday, builder.constant(1)]))


def _month(builder: OnnxBuilder, values: list[str], _: Kind) -> str:
    """Howard Hinnant's ``civil_from_days``: days since 1 March 0000, in eras of 400 years, all remainders ≥ 0."""

    def whole(value: str, divisor: int) -> str:
        return builder.node("Div", [value, builder.constant(divisor)])

    def calc(op: str, first: str, second: str | int) -> str:
        return builder.node(op, [first, builder.constant(second) if isinstance(second, int) else second])

    days = calc("Add", _floor_divided(builder, values[0], 24 * _MICROS_PER_HOUR), 719_468)
    day = calc("Mod", days, 146_097)
    leaps = calc("Sub", calc("Add", calc("Sub", day, whole(day, 1_460)), whole(day, 36_524)), whole(day, 146_096))
    year = whole(leaps, 365)
    before = calc("Sub", calc("Add", calc("Mul", year, 365), whole(year, 4)), whole(year, 100))
    since_march = whole(calc("Add", calc("Mul", calc("Sub", day, before), 5), 2), 153)
    month = calc("Add", calc("Mod", calc("Add", since_march, 2), 12), 1)
    return _as_number(builder, month)


_ARITHMETIC: Final[dict[Operation, str]] = {
    Operation.ADD: "Add",
    Operation.SUBTRACT: "Sub",
    Operation.MULTIPLY: "Mul",
    Operation.DIVIDE: "Div",
    Operation.NEGATE: "Neg",
    Operation.ABS: "Abs",
    Operation.SQRT: "Sqrt",
    Operation.FLOOR: "Floor",
}
_PLAIN: Final[dict[Operation, Callable[[OnnxBuilder, list[str], Kind], str]]] = {
    Operation.SECONDS_BETWEEN: _seconds,
    Operation.HOUR: _hour,
    Operation.WEEKDAY: _weekday,
    Operation.MONTH: _month,
    Operation.EQUAL: _equal,
    Operation.LESS: lambda b, values, _: b.node("Less", values),
    Operation.LESS_EQUAL: lambda b, values, _: b.node("LessOrEqual", values),
    Operation.NOT: lambda b, values, _: b.node("Not", values),
    Operation.IN: _in,
}
