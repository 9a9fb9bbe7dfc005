"""Aggregates as a project declares them, made into looks.

Owns the reading of ``records.project.Aggregate``. What flows in: the declaration and the kinds of the columns it
may use. What flows out: a ``Look`` or ``Ratio``; or every problem at once, as an ``ExpressionError``.

What a ratio says in its own ``by`` and ``window`` holds for both of its parts unless they say otherwise; its
``where`` holds for both, beside their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from roadworthy.errors import ExpressionError, Problem, RoadworthyError, UsageError, nearest
from roadworthy.records.project import Aggregate
from roadworthy.transforms.aggregates.looks import Function, Look, Ratio
from roadworthy.transforms.durations import microseconds
from roadworthy.transforms.expressions import Expression, Kind, parse, to_polars

__all__ = ["described", "placed", "read", "texts"]

_FUNCTIONS = tuple(Function)
_EVERY = "*"
_NUMERIC = (Kind.NUMBER, Kind.BOOLEAN)


def read(aggregate: Aggregate, columns: Mapping[str, Kind], *, entity: str, where: str) -> Look | Ratio:
    """The look that an aggregate declares.

    ``columns`` are the columns and features it may use, ``entity`` the default of ``by`` ("" when the project
    declares none), ``where`` the place that problems name. Raises ExpressionError with all problems.
    """
    reader = _Reader(columns, entity, where)
    result = reader.ratio(aggregate) if aggregate.ratio is not None else reader.look(aggregate)
    if reader.problems or result is None:
        raise ExpressionError(f"{where} cannot be used", problems=reader.problems, next_step=reader.next_step)
    return result


def placed(error: RoadworthyError, place: str) -> list[Problem]:
    """An error's problems, each with ``place`` before its own; the error itself where it lists none."""
    problems = error.problems or [Problem(error.message)]
    wheres = [
        p.where if p.where.startswith(place) else ", ".join([place, p.where] if p.where else [place]) for p in problems
    ]
    return [Problem(p.found, expected=p.expected, where=where) for p, where in zip(problems, wheres, strict=True)]


def texts(aggregate: Aggregate) -> Iterator[str]:
    """Every expression written in it, its parts included; ``by`` is not one."""
    for function in _FUNCTIONS:
        text = getattr(aggregate, function)
        if text and text != _EVERY:
            yield text
    if aggregate.where:
        yield aggregate.where
    for part in aggregate.ratio or ():
        yield from texts(part)


def described(aggregate: Aggregate, *, entity: str) -> str:
    """One line for people.

    >>> described(Aggregate(sum="clicks", where="device = 'tv'", window="7 days"), entity="user_id")
    "sum(clicks) where device = 'tv' by user_id over 7 days"
    """
    parts = [f"{function}({getattr(aggregate, function)})" for function in _FUNCTIONS if getattr(aggregate, function)]
    if aggregate.ratio is not None:
        parts.append(" / ".join(f"({described(part, entity='')})" for part in aggregate.ratio))
    if aggregate.where:
        parts.append(f"where {aggregate.where}")
    if aggregate.by or entity:
        parts.append(f"by {aggregate.by or entity}")
    if aggregate.window:
        parts.append(f"over {aggregate.window}")
    return " ".join(parts)


class _Reader:
    """Reads one declaration and gathers what is wrong with it."""

    def __init__(self, columns: Mapping[str, Kind], entity: str, where: str) -> None:
        self.problems: list[Problem] = []
        self.next_step = ""
        self._columns = columns
        self._entity = entity
        self._where = where

    def ratio(self, aggregate: Aggregate) -> Ratio | None:
        self._one_function(aggregate)
        looks = []
        for part in aggregate.ratio or ():
            if part.ratio is not None:
                self._problem("a ratio inside a ratio", "two of " + ", ".join(_FUNCTIONS))
                continue
            looks.append(self.look(part, aggregate))
        if len(looks) != 2 or looks[0] is None or looks[1] is None:
            return None
        return Ratio(looks[0], looks[1])

    def look(self, aggregate: Aggregate, outer: Aggregate | None = None) -> Look | None:
        before = len(self.problems)
        function = self._one_function(aggregate)
        conditions = [c for part in (outer, aggregate) if part is not None for c in [part.where] if c]
        where = None
        for text in conditions:
            condition = self._parsed(text, (Kind.BOOLEAN,), "where")
            if condition is not None:
                form = to_polars(condition)
                where = form if where is None else where & form
        by = aggregate.by or (outer.by if outer else "") or self._entity
        self._known_entity(by)
        window = self._window(aggregate.window or (outer.window if outer else ""))
        value = None
        if function is not None and getattr(aggregate, function) != _EVERY:
            expression = self._parsed(getattr(aggregate, function), _wanted(function), function)
            value = None if expression is None else to_polars(expression)
        if function is None or len(self.problems) > before:
            return None
        return Look(function, by, value, where, window)

    def _one_function(self, aggregate: Aggregate) -> Function | None:
        """The one function that is set; None for a ratio, and where there is not exactly one."""
        named = [function for function in _FUNCTIONS if getattr(aggregate, function)]
        found = [*named, *(["ratio"] if aggregate.ratio is not None else [])]
        if len(found) != 1:
            what = " and ".join(found) if found else "no function"
            self._problem(f"{what} in one aggregate", f"exactly one of {', '.join((*_FUNCTIONS, 'ratio'))}")
            return None
        if named and named[0] is not Function.COUNT and getattr(aggregate, named[0]) == _EVERY:
            self._problem(f'{named[0]} = "*"', 'an expression; only count takes "*"')
            return None
        return named[0] if named else None

    def _parsed(self, text: str, kinds: tuple[Kind, ...], role: str) -> Expression | None:
        try:
            expression = parse(text, self._columns, where=self._where)
        except ExpressionError as error:
            self.problems.extend(placed(error, f"{self._where}, {role}"))
            self.next_step = error.next_step or self.next_step
            return None
        if expression.kind not in kinds:
            self._problem(f"{role} of a {expression.kind} ({text})", " or ".join(kinds))
            return None
        return expression

    def _known_entity(self, by: str) -> None:
        if not by:
            self._problem("an aggregate without an entity", "`by` here, or `entity` under [data]")
        elif by not in self._columns:
            close = nearest(by, self._columns)
            hint = f"; did you mean {close!r}?" if close else ""
            self._problem(f"by = {by!r}, which is no column{hint}", "a column that may be used in features")

    def _window(self, text: str) -> int | None:
        if not text:
            return None
        try:
            return microseconds(text)
        except UsageError as error:
            self._problem(f"window: {error.message}", "")
            return None

    def _problem(self, found: str, expected: str) -> None:
        self.problems.append(Problem(found, expected=expected, where=self._where))


def _wanted(function: Function) -> tuple[Kind, ...]:
    if function is Function.COUNT:
        return tuple(Kind)
    return (Kind.TIME,) if function is Function.SECONDS_SINCE_LAST else _NUMERIC
