"""What the expression language has: every operator and function, with its operands and its meaning.

Owns the list, and nothing else decides what is supported. What flows in: nothing. What flows out: ``SUPPORTED``
for the parser's refusals and for the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from roadworthy.transforms.expressions.syntax import Operation

__all__ = ["CARRIES_NON_FINITE", "SUPPORTED", "Supported", "describe_supported"]


@dataclass(frozen=True, slots=True)
class Supported:
    """One entry of the language: how it is written and what it means."""

    form: str
    meaning: str


SUPPORTED: Final[dict[str, Supported]] = {
    "+": Supported("a + b", "sum of numbers"),
    "-": Supported("a - b, -a", "difference; of two times: seconds, as a number"),
    "*": Supported("a * b", "product"),
    "/": Supported("a / b", "exact division, never whole-number division; missing where b is 0"),
    "%": Supported("a % b", "remainder with the sign of a; missing where b is 0"),
    "=": Supported("a = b", "equal: numbers, texts, booleans, times"),
    "<>": Supported("a <> b", "not equal; also !="),
    "<": Supported("a < b", "less: numbers, times"),
    "<=": Supported("a <= b", "less or equal: numbers, times"),
    ">": Supported("a > b", "greater: numbers, times"),
    ">=": Supported("a >= b", "greater or equal: numbers, times"),
    "and": Supported("p and q", "false where one is false, otherwise missing where one is missing"),
    "or": Supported("p or q", "true where one is true, otherwise missing where one is missing"),
    "not": Supported("not p", "missing stays missing"),
    "is null": Supported("a is null, a is not null", "whether the value is missing; never missing itself"),
    "between": Supported("a between low and high", "low <= a and a <= high; also not between"),
    "in": Supported("a in (x, y)", "equal to one of the written values; also not in"),
    "case": Supported("case when p then a else b end", "first branch that is true; missing without else"),
    "coalesce": Supported("coalesce(a, b)", "first operand that is not missing"),
    "nullif": Supported("nullif(a, b)", "missing where a = b, otherwise a"),
    "least": Supported("least(a, b)", "smallest of the numbers or times that are not missing"),
    "greatest": Supported("greatest(a, b)", "greatest of the numbers or times that are not missing"),
    "abs": Supported("abs(a)", "size without sign"),
    "ln": Supported("ln(a)", "natural logarithm; missing where a is 0 or less"),
    "exp": Supported("exp(a)", "e to the power of a; missing where it exceeds a double"),
    "sqrt": Supported("sqrt(a)", "square root; missing where a is negative"),
    "floor": Supported("floor(a)", "greatest whole number that is not above a"),
    "round": Supported("round(a), round(a, 2)", "half away from zero, to a written number of decimals, -15 to 15"),
    "hour": Supported("hour(t)", "hour of a time in UTC, 0 to 23; also extract(hour from t)"),
    "weekday": Supported("weekday(t)", "day of the week, 1 (Monday) to 7 (Sunday)"),
    "month": Supported("month(t)", "month of a time, 1 to 12; also extract(month from t)"),
}
"""Every operator and function, by the name under which messages list it."""

CARRIES_NON_FINITE: Final = frozenset(
    {
        Operation.ADD,
        Operation.SUBTRACT,
        Operation.MULTIPLY,
        Operation.DIVIDE,
        Operation.NEGATE,
        Operation.ABS,
        Operation.SQRT,
        Operation.FLOOR,
    }
)
"""Operations whose result is never finite when an operand is not (for a division: the dividend).

Where a result goes only into these, whether it is finite need not be asked yet: the answer is the same after them.
"""


def describe_supported() -> str:
    """The whole language as text, one line per entry.

    >>> print(describe_supported().splitlines()[0])
    +         a + b                          sum of numbers
    """
    return "\n".join(f"{name:<9} {entry.form:<30} {entry.meaning}" for name, entry in SUPPORTED.items())
