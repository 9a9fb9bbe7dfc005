"""The expression tree: four kinds of values, four kinds of nodes, nothing that knows how to compile itself.

Owns the frozen nodes. What flows in: ``parse`` makes them. What flows out: ``polars_form`` and ``onnx_form``
compile them.

Laws: every node has one kind; a node's operands have the kinds that ``functions`` declares; comparison forms that
can be said with others (``<>``, ``between``, ``not in``, ``is not null``, ``nullif``, ``case x when``) are already
said with them, so that both compilations see few operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from roadworthy.records.contract import ColumnType

__all__ = [
    "Apply",
    "Case",
    "Column",
    "Expression",
    "Kind",
    "Literal",
    "Node",
    "Operation",
    "kind_of",
    "operands",
    "round_digits",
]


class Kind(StrEnum):
    """What a value is."""

    NUMBER = "number"  # double; integers enter as doubles, exact to 2**53
    TEXT = "text"  # compared for equality only
    BOOLEAN = "boolean"  # true, false or missing
    TIME = "time"  # microseconds since 1970 in UTC


_KINDS = {
    ColumnType.INTEGER: Kind.NUMBER,
    ColumnType.NUMBER: Kind.NUMBER,
    ColumnType.BOOLEAN: Kind.BOOLEAN,
    ColumnType.CATEGORY: Kind.TEXT,
    ColumnType.TEXT: Kind.TEXT,
    ColumnType.TIME: Kind.TIME,
}


def kind_of(column_type: ColumnType) -> Kind:
    """The kind of value that a column of this type holds.

    >>> kind_of(ColumnType.INTEGER)
    <Kind.NUMBER: 'number'>
    """
    return _KINDS[column_type]


class Operation(StrEnum):
    """What an ``Apply`` node does; every member is compiled by both forms."""

    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    REMAINDER = "remainder"
    NEGATE = "negate"
    ABS = "abs"
    LN = "ln"
    EXP = "exp"
    SQRT = "sqrt"
    FLOOR = "floor"
    ROUND = "round"  # operands: number, digits (a literal)
    SECONDS_BETWEEN = "seconds_between"  # operands: time, time; first minus second
    HOUR = "hour"
    WEEKDAY = "weekday"
    MONTH = "month"
    EQUAL = "equal"
    LESS = "less"
    LESS_EQUAL = "less_equal"
    AND = "and"
    OR = "or"
    NOT = "not"
    IS_NULL = "is_null"
    IN = "in"  # operands: a value, then literals of its kind
    COALESCE = "coalesce"
    LEAST = "least"
    GREATEST = "greatest"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the expression: float, str, bool, or int (microseconds) for a time; None is missing."""

    value: float | str | bool | int | None
    kind: Kind


@dataclass(frozen=True, slots=True)
class Column:
    """The value of a column or of an earlier feature."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on one or more operands."""

    operation: Operation
    operands: tuple[Node, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Case:
    """The value of the first branch whose condition is true, otherwise ``otherwise``."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node
    kind: Kind


Node = Literal | Column | Apply | Case


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed and type-checked expression: its text, its tree, and the columns it reads."""

    text: str
    tree: Node
    columns: frozenset[str]

    @property
    def kind(self) -> Kind:
        """The kind of its value."""
        return self.tree.kind


def operands(node: Node) -> Iterator[Node]:
    """The nodes directly below, from left to right."""
    if isinstance(node, Apply):
        yield from node.operands
    elif isinstance(node, Case):
        for condition, value in node.branches:
            yield condition
            yield value
        yield node.otherwise


def round_digits(node: Apply) -> int:
    """The written number of decimals of a ``round``; raises TypeError for a tree that no parser makes."""
    digits = node.operands[1]
    if not isinstance(digits, Literal) or not isinstance(digits.value, float):
        raise TypeError(f"round takes written decimals, not {digits!r}")
    return int(digits.value)
