"""From text to a typed tree, or to every problem at once.

sqlglot reads the text; its tree is only input here. What flows in: an expression and the kinds of the columns.
What flows out: an ``Expression``, or an ``ExpressionError`` whose problems carry positions inside the text.

Laws: what is not in ``SUPPORTED`` is refused by name; a tree that leaves here is well typed, at most
``MAX_DEPTH`` deep and ``MAX_NODES`` large, so that both compilations end. Column names keep their case; words of
the language do not matter in case. A bare word that is a column's name is that column.
"""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy.transforms.expressions.limits import MAX_DEPTH, MAX_LENGTH, MAX_NESTING, MAX_NODES
from roadworthy.transforms.expressions.syntax import Expression, Kind

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "MAX_NESTING", "MAX_NODES", "parse"]


def parse(text: str, columns: Mapping[str, Kind], *, where: str) -> Expression:
    """The expression as a typed tree.

    ``columns`` are the names that may be used, with their kinds; ``where`` is the place of the text for messages
    (``"roadworthy.toml [features] click_rate"``). Raises ExpressionError with every problem found: unknown
    functions, operators and columns, operands of the wrong kind, numbers that a double does not hold.

    >>> parse("clicks / nullif(impressions, 0)", {"clicks": Kind.NUMBER, "impressions": Kind.NUMBER}, where="x").kind
    <Kind.NUMBER: 'number'>
    """
    from roadworthy.transforms.expressions.text_form import read  # noqa: PLC0415 - sqlglot: 8 MB that few servers need

    return read(text, columns, where=where)
