"""The four numeric functions that libraries compute differently, each as one formula for every machine.

Owns ``round``, ``%``, ``exp`` and ``ln``. The C libraries under Polars and ONNX Runtime differ in the last bit of
``exp`` and ``ln`` (ONNX Runtime even from one batch size to another), and a last bit decides on which side of a
comparison or a ``floor`` a row falls. Here each is written once in operations that IEEE 754 rounds exactly, so
history and live rows get the same bits.

What flows in: a ``Machine`` and its values. What flows out: a value of the same machine. Laws: both machines give
the same bits for every double; ``exp`` and ``ln`` are within one unit in the last place of the true value.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

__all__ = ["Machine", "exponential", "logarithm", "remainder", "rounded"]

V = TypeVar("V")

_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
_LOG2_E: Final = 1.44269504088896338700
_SQRT_2: Final = 1.4142135623730951
_SQRT_HALF: Final = 0.7071067811865476
_EXP_TERMS: Final = (
    1.66666666666666019037e-01,
    -2.77777777770155933842e-03,
    6.61375632143793436117e-05,
    -1.65339022054652515390e-06,
    4.13813679705723846039e-08,
)
_LN_TERMS: Final = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_EXACT_INTEGERS: Final = 2.0**52


class Machine(Protocol[V]):
    """Arithmetic on doubles, each operation rounded once as IEEE 754 says; conditions are values too."""

    def constant(self, value: float) -> V:
        """A double."""
        ...

    def call(self, op: str, *operands: V) -> V:
        """One of Add, Sub, Mul, Div, Neg, Abs, Floor, Less (a condition), Where (condition, value, value)."""
        ...

    def power_of_two(self, exponent: V) -> V:
        """2 to a whole exponent within ±1022, exactly."""
        ...

    def rough_log(self, x: V) -> V:
        """The natural logarithm of a positive double, to about 1e-12."""
        ...


def rounded(m: Machine[V], x: V, digits: int) -> V:
    """Rounds half away from zero at ``digits`` decimals (negative: tens, hundreds).

    ``floor(|x|·10^digits)`` plus one where the rest, which is exact, is a half or more; a number without decimals
    at that place (2**52 or more) stays as it is.
    """
    scale = m.constant(10.0 ** abs(digits))
    up, down = ("Mul", "Div") if digits >= 0 else ("Div", "Mul")
    size = m.call("Abs", x)
    scaled = m.call(up, size, scale) if digits else size
    whole = m.call("Floor", scaled)
    rest = m.call("Sub", scaled, whole)
    half_up = m.call("Where", m.call("Less", rest, m.constant(0.5)), whole, m.call("Add", whole, m.constant(1.0)))
    back = m.call(down, half_up, scale) if digits else half_up
    kept = m.call("Where", m.call("Less", scaled, m.constant(_EXACT_INTEGERS)), back, size)
    return m.call("Where", m.call("Less", x, m.constant(0.0)), m.call("Neg", kept), kept)


def remainder(m: Machine[V], a: V, b: V) -> V:
    """What is left of ``a`` after whole multiples of ``b``, with the sign of ``a``.

    Exact for whole numbers within ±2**53. NaN where ``b`` is zero or the quotient is 2**53 or more, where a double
    no longer counts multiples.
    """
    dividend, divisor = m.call("Abs", a), m.call("Abs", b)
    quotient = m.call("Div", dividend, divisor)
    rest = m.call("Sub", dividend, m.call("Mul", m.call("Floor", quotient), divisor))
    rest = m.call("Where", m.call("Less", rest, m.constant(0.0)), m.call("Add", rest, divisor), rest)
    signed = m.call("Where", m.call("Less", a, m.constant(0.0)), m.call("Neg", rest), rest)
    return m.call("Where", m.call("Less", quotient, m.constant(2.0**53)), signed, m.constant(float("nan")))


def exponential(m: Machine[V], x: V) -> V:
    """Euler's number to the power of ``x``; infinite above 709.78, 0 below -745.13.

    Argument reduction and rational approximation of FreeBSD's msun ``e_exp.c`` (error under one unit in the last
    place).
    """
    low, high = m.constant(-746.0), m.constant(710.0)
    bounded = m.call("Where", m.call("Less", x, low), low, x)
    bounded = m.call("Where", m.call("Less", high, bounded), high, bounded)
    turns = m.call("Floor", m.call("Add", m.call("Mul", bounded, m.constant(_LOG2_E)), m.constant(0.5)))
    major = m.call("Sub", bounded, m.call("Mul", turns, m.constant(_LN2_HIGH)))
    minor = m.call("Mul", turns, m.constant(_LN2_LOW))
    reduced = m.call("Sub", major, minor)
    square = m.call("Mul", reduced, reduced)
    series = m.call("Sub", reduced, m.call("Mul", square, _horner(m, square, _EXP_TERMS)))
    ratio = m.call("Div", m.call("Mul", reduced, series), m.call("Sub", m.constant(2.0), series))
    result = m.call("Sub", m.constant(1.0), m.call("Sub", m.call("Sub", minor, ratio), major))
    return _scaled(m, result, turns)


def logarithm(m: Machine[V], x: V) -> V:
    """Natural logarithm; NaN where ``x`` is zero or less.

    ``x = 2^k·(1+f)`` with ``1+f`` in [√½, √2), then the series of FreeBSD's msun ``e_log.c`` (error under one unit
    in the last place). The rough logarithm only finds ``k``, and one exact step mends it at the edges.
    """
    zero, one = m.constant(0.0), m.constant(1.0)
    positive = m.call("Less", zero, x)
    safe = m.call("Where", positive, x, one)
    turns = m.call("Floor", m.call("Add", m.call("Mul", m.rough_log(safe), m.constant(_LOG2_E)), m.constant(0.5)))
    mantissa = _scaled(m, safe, m.call("Neg", turns))
    small, fits = m.call("Less", mantissa, m.constant(_SQRT_HALF)), m.call("Less", mantissa, m.constant(_SQRT_2))
    factor = m.call("Where", small, m.constant(2.0), m.call("Where", fits, one, m.constant(0.5)))
    shift = m.call("Where", small, one, m.call("Where", fits, zero, m.constant(-1.0)))
    turns = m.call("Sub", turns, shift)
    f = m.call("Sub", m.call("Mul", mantissa, factor), one)
    s = m.call("Div", f, m.call("Add", m.constant(2.0), f))
    square = m.call("Mul", s, s)
    series = m.call("Mul", square, _horner(m, square, _LN_TERMS))
    half = m.call("Mul", m.constant(0.5), m.call("Mul", f, f))
    tail = m.call("Add", m.call("Mul", s, m.call("Add", half, series)), m.call("Mul", turns, m.constant(_LN2_LOW)))
    inner = m.call("Sub", m.call("Sub", half, tail), f)
    result = m.call("Sub", m.call("Mul", turns, m.constant(_LN2_HIGH)), inner)
    return m.call("Where", positive, result, m.constant(float("nan")))


def _horner(m: Machine[V], x: V, terms: tuple[float, ...]) -> V:
    result = m.constant(terms[-1])
    for term in reversed(terms[:-1]):
        result = m.call("Add", m.constant(term), m.call("Mul", x, result))
    return result


def _scaled(m: Machine[V], x: V, exponent: V) -> V:
    """``x·2^exponent`` in two steps, because the power alone may overflow; rounded once."""
    first = m.call("Floor", m.call("Mul", exponent, m.constant(0.5)))
    second = m.call("Sub", exponent, first)
    return m.call("Mul", m.call("Mul", x, m.power_of_two(first)), m.power_of_two(second))
