"""Turns sqlglot's tree into ours and checks kinds on the way.

What flows in: a sqlglot tree and the kinds of the columns. What flows out: a typed ``Node`` and a list of problems
with their positions. Law: a node is returned only where no problem was found below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from sqlglot import exp

from roadworthy.errors import Problem, nearest
from roadworthy.transforms.expressions.syntax import Apply, Case, Column, Kind, Literal, Node, Operation

__all__ = ["Reader"]

_EXACT_INTEGER: Final = 2**53
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ORDERED: Final = frozenset({Kind.NUMBER, Kind.TIME})
_ARITHMETIC: Final[dict[type, tuple[Operation, str]]] = {
    exp.Add: (Operation.ADD, "+"),
    exp.Mul: (Operation.MULTIPLY, "*"),
    exp.Div: (Operation.DIVIDE, "/"),
    exp.Mod: (Operation.REMAINDER, "%"),
}
_COMPARISONS: Final[dict[type, str]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_NUMERIC: Final[dict[type, tuple[Operation, str]]] = {
    exp.Abs: (Operation.ABS, "abs"),
    exp.Ln: (Operation.LN, "ln"),
    exp.Exp: (Operation.EXP, "exp"),
    exp.Sqrt: (Operation.SQRT, "sqrt"),
    exp.Floor: (Operation.FLOOR, "floor"),
}
_PARTS: Final = {"hour": Operation.HOUR, "weekday": Operation.WEEKDAY, "month": Operation.MONTH}
_SYMBOLS: Final[dict[str, str]] = {
    "dpipe": "||",
    "bitwiseand": "&",
    "bitwiseor": "|",
    "bitwisexor": "^",
    "bitwisenot": "~",
    "bitwiseleftshift": "<<",
    "bitwiserightshift": ">>",
    "nullsafeeq": "is not distinct from",
    "nullsafeneq": "is distinct from",
    "placeholder": "?",
    "star": "*",
}

Sql = Any
"""A node of sqlglot, whose classes differ from one of its versions to the next."""


class _Null:
    """A written ``null`` whose kind its neighbours decide."""


_NULL: Final = _Null()
_Read = Node | _Null | None


def _position(sql: Sql) -> int:
    starts = [int(node.meta["start"]) for node in sql.walk() if "start" in node.meta]
    return min(starts, default=0)


def _described(node: Node | _Null) -> str:
    if isinstance(node, _Null):
        return "null"
    if isinstance(node, Column):
        return f"column {node.name!r} ({node.kind})"
    if isinstance(node, Literal):
        return f"{node.value!r} ({node.kind})"
    return f"a {node.kind}"


class Reader:
    """Reads one expression. ``problems`` are (position, problem); ``refused`` tells whether a name was refused."""

    def __init__(self, columns: Mapping[str, Kind], reported: Mapping[int, str]) -> None:
        self._columns = columns
        self._reported = reported
        self.problems: list[tuple[int, Problem]] = []
        self.refused = False

    def root(self, sql: Sql) -> Node | None:
        """The whole tree; None when there are problems."""
        node = self._read(sql)
        if isinstance(node, _Null):
            return self._problem(sql, "null by itself has no kind", "an expression with a value")
        return None if self.problems else node

    # ---- problems ------------------------------------------------------------------------------------------

    def _problem(self, sql: Sql, found: str, expected: str) -> Node | None:
        self.problems.append((_position(sql), Problem(found, expected=expected)))
        return None

    def _was_reported(self, sql: Sql) -> bool:
        """Whether the words already told of this call; sqlglot renames some calls and keeps no place of others."""
        if sql.key in self._reported.values() or int(sql.meta.get("start", -1)) in self._reported:
            return True
        return bool(self._reported) and isinstance(sql, exp.Func)

    def _refuse(self, sql: Sql) -> Node | None:
        if self._was_reported(sql):
            return None
        self.refused = True
        if isinstance(sql, exp.Alias):
            self._problem(sql, "two values stand beside each other", "an operator between them, or a name in quotes")
            return None
        key = sql.key
        what = "function" if isinstance(sql, exp.Func) and key not in _SYMBOLS else "operator"
        name = sql.name if isinstance(sql, exp.Anonymous) else _SYMBOLS.get(key, key)
        return self._problem(sql, f"unknown {what} {name!r}", "a supported one")

    # ---- kinds ---------------------------------------------------------------------------------------------

    def _as(self, node: _Read, kind: Kind, sql: Sql, context: str) -> Node | None:
        """The node as a value of ``kind``; a written null takes any kind, a written text may be a time."""
        if node is None:
            return None
        if isinstance(node, _Null):
            return Literal(None, kind)
        if node.kind is kind:
            return node
        if kind is Kind.TIME and isinstance(node, Literal) and isinstance(node.value, str):
            return self._instant(node.value, sql)
        self._problem(sql, f"{_described(node)} in {context}", f"a {kind}")
        return None

    def _instant(self, text: str, sql: Sql) -> Node | None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self._problem(
                sql, f"{text!r} is compared with a time", "ISO 8601 such as '2024-01-31' or '2024-01-31T12:00'"
            )
            return None
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return Literal((aware - _EPOCH) // timedelta(microseconds=1), Kind.TIME)

    def _unified(self, sqls: Sequence[Sql], context: str) -> tuple[Node, ...] | None:
        """All of one kind, or None with a problem reported."""
        read = [self._read(sql) for sql in sqls]
        if any(node is None for node in read):
            return None
        kinds = [node.kind for node in read if isinstance(node, Literal | Column | Apply | Case)]
        if not kinds:
            self._problem(sqls[0], f"only null in {context}", "at least one value")
            return None
        kind = Kind.TIME if Kind.TIME in kinds else kinds[0]
        nodes = [self._as(node, kind, sql, context) for node, sql in zip(read, sqls, strict=True)]
        whole = tuple(node for node in nodes if node is not None)
        return whole if len(whole) == len(nodes) else None

    def _all_of(self, kind: Kind, sqls: Sequence[Sql], context: str) -> tuple[Node, ...] | None:
        nodes = [self._as(self._read(sql), kind, sql, context) for sql in sqls]
        whole = tuple(node for node in nodes if node is not None)
        return whole if len(whole) == len(nodes) else None

    def _apply(self, operation: Operation, kind: Kind, nodes: tuple[Node, ...] | None) -> Node | None:
        return None if nodes is None else Apply(operation, nodes, kind)

    # ---- nodes ---------------------------------------------------------------------------------------------

    def _read(self, sql: Sql) -> _Read:
        kind = type(sql)
        if kind in _ARITHMETIC:
            operation, symbol = _ARITHMETIC[kind]
            return self._apply(operation, Kind.NUMBER, self._all_of(Kind.NUMBER, [sql.left, sql.right], symbol))
        if kind in _NUMERIC:
            return self._numeric(sql)
        if kind in _COMPARISONS:
            return self._compared(_COMPARISONS[kind], self._unified([sql.left, sql.right], _COMPARISONS[kind]), sql)
        handler = self._handlers.get(kind)
        return self._refuse(sql) if handler is None else handler(self, sql)

    def _column(self, sql: Sql) -> _Read:
        name = sql.name
        if len(sql.parts) != 1:
            dotted = ".".join(part.name for part in sql.parts)
            return self._problem(sql, f"a name with a dot, {dotted}", f'"{dotted}" in double quotes, if it is a column')
        if name in self._columns:
            return Column(name, self._columns[name])
        folded = {known.lower(): known for known in self._columns}
        close = folded.get(name.lower()) or nearest(name, self._columns)
        hint = f"; did you mean {close!r}?" if close else ""
        shown = ", ".join(list(self._columns)[:20]) + (", …" if len(self._columns) > 20 else "")
        return self._problem(sql, f"unknown column {name!r}{hint}", f"one of: {shown or 'no columns'}")

    def _literal(self, sql: Sql) -> _Read:
        text = str(sql.this)
        if sql.is_string:
            return Literal(text, Kind.TEXT)
        number = float(text)
        if text.isdigit() and int(text) > _EXACT_INTEGER:
            return self._problem(sql, f"the whole number {text}", "at most 2**53 (9007199254740992), exact in a double")
        if math.isinf(number) or (number == 0 and any(c in "123456789" for c in text.lower().split("e")[0])):
            return self._problem(sql, f"the number {text}", "one that a double holds, 5e-324 to 1.79e308")
        return Literal(number, Kind.NUMBER)

    def _negative(self, sql: Sql) -> _Read:
        node = self._as(self._read(sql.this), Kind.NUMBER, sql.this, "-")
        if isinstance(node, Literal) and isinstance(node.value, float):
            return Literal(-node.value, Kind.NUMBER)
        return self._apply(Operation.NEGATE, Kind.NUMBER, None if node is None else (node,))

    def _difference(self, sql: Sql) -> _Read:
        sides = [sql.left, sql.right]
        read = [self._read(side) for side in sides]
        timely = any(isinstance(node, Literal | Column | Apply | Case) and node.kind is Kind.TIME for node in read)
        kind = Kind.TIME if timely else Kind.NUMBER
        first, second = (self._as(node, kind, side, "-") for node, side in zip(read, sides, strict=True))
        if first is None or second is None:
            return None
        return Apply(Operation.SECONDS_BETWEEN if timely else Operation.SUBTRACT, (first, second), Kind.NUMBER)

    def _numeric(self, sql: Sql) -> _Read:
        operation, name = _NUMERIC[type(sql)]
        if any(value for key, value in sql.args.items() if key != "this"):
            return self._problem(sql, f"{name} with more than one operand", f"{name}(a)")
        return self._apply(operation, Kind.NUMBER, self._all_of(Kind.NUMBER, [sql.this], name))

    def _rounded(self, sql: Sql) -> _Read:
        nodes = self._all_of(Kind.NUMBER, [sql.this], "round")
        written = sql.args.get("decimals")
        digits = Literal(0.0, Kind.NUMBER) if written is None else self._read(written)
        if digits is None:
            return None
        written_out = isinstance(digits, Literal) and isinstance(digits.value, float) and digits.value in range(-15, 16)
        if sql.args.get("truncate") or not written_out or isinstance(digits, _Null):
            return self._problem(written or sql, "round to decimals that are not written out", "-15 to 15")
        return None if nodes is None else Apply(Operation.ROUND, (*nodes, digits), Kind.NUMBER)

    def _compared(self, symbol: str, sides: tuple[Node, ...] | None, sql: Sql) -> Node | None:
        if sides is None:
            return None
        if symbol in {"=", "<>"}:
            equal = Apply(Operation.EQUAL, sides, Kind.BOOLEAN)
            return equal if symbol == "=" else Apply(Operation.NOT, (equal,), Kind.BOOLEAN)
        if sides[0].kind not in _ORDERED:
            return self._problem(
                sql, f"{sides[0].kind} has no order, in {symbol}", "numbers or times; = and <> for others"
            )
        operation = Operation.LESS_EQUAL if "=" in symbol else Operation.LESS
        return Apply(operation, sides if symbol.startswith("<") else sides[::-1], Kind.BOOLEAN)

    def _between(self, sql: Sql) -> _Read:
        low, high = sql.args["low"], sql.args["high"]
        if sql.args.get("symmetric"):
            return self._problem(sql, "unknown operator 'between symmetric'", "between")
        nodes = self._unified([sql.this, low, high], "between")
        if nodes is None:
            return None
        value, least, most = nodes
        if value.kind not in _ORDERED:
            return self._problem(sql, f"{value.kind} has no order, in between", "numbers or times")
        above, below = self._compared(">=", (value, least), sql), self._compared("<=", (value, most), sql)
        return None if above is None or below is None else Apply(Operation.AND, (above, below), Kind.BOOLEAN)

    def _logic(self, sql: Sql) -> _Read:
        operation = Operation.AND if isinstance(sql, exp.And) else Operation.OR
        return self._apply(operation, Kind.BOOLEAN, self._all_of(Kind.BOOLEAN, [sql.left, sql.right], operation))

    def _not(self, sql: Sql) -> _Read:
        return self._apply(Operation.NOT, Kind.BOOLEAN, self._all_of(Kind.BOOLEAN, [sql.this], "not"))

    def _is(self, sql: Sql) -> _Read:
        if not isinstance(sql.expression, exp.Null):
            return self._problem(sql, f"unknown operator 'is {sql.expression.sql().lower()}'", "is null or is not null")
        node = self._read(sql.this)
        if isinstance(node, _Null):
            return Literal(value=True, kind=Kind.BOOLEAN)
        return self._apply(Operation.IS_NULL, Kind.BOOLEAN, None if node is None else (node,))

    def _in(self, sql: Sql) -> _Read:
        written = sql.expressions
        if not written or sql.args.get("query") or sql.args.get("field") or sql.args.get("unnest"):
            return self._problem(sql, "in without a list of values", "in ('a', 'b')")
        nodes = self._unified([sql.this, *written], "in")
        if nodes is None:
            return None
        for item, item_sql in zip(nodes[1:], written, strict=True):
            if not isinstance(item, Literal):
                self._problem(item_sql, "a computed value in the list of in", "written values, or = and or")
            elif item.value is None:
                self._problem(item_sql, "null in the list of in, which equals nothing", "is null beside it")
        return Apply(Operation.IN, nodes, Kind.BOOLEAN)

    def _case(self, sql: Sql) -> _Read:
        ifs = sql.args["ifs"]
        conditions: list[Node | None] = []
        for branch in ifs:
            if sql.this is None:
                conditions.append(self._as(self._read(branch.this), Kind.BOOLEAN, branch.this, "when"))
            else:
                conditions.append(self._compared("=", self._unified([sql.this, branch.this], "case … when"), branch))
        written = [branch.args["true"] for branch in ifs]
        default = sql.args.get("default")
        values = self._unified([*written, default] if default is not None else written, "the branches of case")
        whole = [condition for condition in conditions if condition is not None]
        if values is None or len(whole) < len(conditions):
            return None
        kind = values[0].kind
        otherwise = values[-1] if default is not None else Literal(None, kind)
        return Case(tuple(zip(whole, values[: len(whole)], strict=True)), otherwise, kind)

    def _coalesce(self, sql: Sql) -> _Read:
        nodes = self._unified([sql.this, *sql.expressions], "coalesce")
        return None if nodes is None else Apply(Operation.COALESCE, nodes, nodes[0].kind)

    def _nullif(self, sql: Sql) -> _Read:
        nodes = self._unified([sql.this, sql.expression], "nullif")
        if nodes is None:
            return None
        value, unwanted = nodes
        equal = Apply(Operation.EQUAL, (value, unwanted), Kind.BOOLEAN)
        return Case(((equal, Literal(None, value.kind)),), value, value.kind)

    def _extreme(self, sql: Sql) -> _Read:
        operation = Operation.LEAST if isinstance(sql, exp.Least) else Operation.GREATEST
        nodes = self._unified([sql.this, *sql.expressions], operation)
        if nodes is not None and nodes[0].kind not in _ORDERED:
            return self._problem(sql, f"{nodes[0].kind} has no order, in {operation}", "numbers or times")
        return None if nodes is None else Apply(operation, nodes, nodes[0].kind)

    def _part(self, sql: Sql) -> _Read:
        """``hour(t)``, ``weekday(t)``, ``month(t)`` and ``extract(hour from t)``."""
        if isinstance(sql, exp.Extract):
            name, values = sql.this.name.lower(), [sql.expression]
        elif isinstance(sql, exp.Anonymous):
            name, values = sql.name.lower(), sql.expressions
        else:
            name, values = sql.key, [sql.this]
        if name not in _PARTS:
            if isinstance(sql, exp.Extract):
                return self._problem(sql, f"unknown part of a time {name!r}", f"one of: {', '.join(_PARTS)}")
            return self._refuse(sql)
        if len(values) != 1:
            return self._problem(sql, f"{name} with {len(values)} operands", f"{name}(t)")
        return self._apply(_PARTS[name], Kind.NUMBER, self._all_of(Kind.TIME, values, name))

    def _paren(self, sql: Sql) -> _Read:
        return self._read(sql.this)

    def _boolean(self, sql: Sql) -> _Read:
        return Literal(bool(sql.this), Kind.BOOLEAN)

    def _null(self, _: Sql) -> _Read:
        return _NULL

    _handlers: ClassVar[dict[type, Callable[[Reader, Sql], _Read]]] = {
        exp.Paren: _paren,
        exp.Column: _column,
        exp.Literal: _literal,
        exp.Boolean: _boolean,
        exp.Null: _null,
        exp.Neg: _negative,
        exp.Sub: _difference,
        exp.Round: _rounded,
        exp.Between: _between,
        exp.And: _logic,
        exp.Or: _logic,
        exp.Not: _not,
        exp.Is: _is,
        exp.In: _in,
        exp.Case: _case,
        exp.Coalesce: _coalesce,
        exp.Nullif: _nullif,
        exp.Least: _extreme,
        exp.Greatest: _extreme,
        exp.Extract: _part,
        exp.Hour: _part,
        exp.Month: _part,
        exp.Anonymous: _part,
    }
