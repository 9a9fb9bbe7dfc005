"""How values are written for people: numbers, shapes, durations, sizes and foreign text.

In: plain values. Out: short texts, the same on the page and in the terminal. Laws: a figure is never rounded
onto a bound that it does not reach; text from the data never carries a control character, and is never
longer than its limit.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = [
    "NOTHING_FOUND",
    "against",
    "cell",
    "clipped",
    "count",
    "duration",
    "first_sentence",
    "interval",
    "metric_name",
    "milliseconds",
    "number",
    "quantity",
    "shape",
    "size",
    "spaced",
    "visible",
]

NOTHING_FOUND = "nothing to report"
"""What a check says that found nothing; a terminal tells all such checks in one line."""

NOTHING = "–"
"""What stands where there is no value."""

_CONTROL = {code: chr(0x2400 + code) for code in range(32) if code not in {9, 10, 13}}
_CONTROL |= {9: " ", 10: " ", 13: " ", 127: "\u2421"}
_CONTROL |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_CONTROL |= dict.fromkeys((0x2028, 0x2029), " ")
_CONTROL |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")


_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z])")
_INITIALS = {"roc": "ROC", "auc": "AUC", "pr": "PR", "mae": "MAE", "rmse": "RMSE", "mcc": "MCC", "f1": "F1", "r2": "R²"}
_INITIALS |= {"f05": "F0.5", "f2": "F2", "ml": "ML"}


def metric_name(metric: str) -> str:
    """A metric's name for people.

    >>> metric_name("roc_auc"), metric_name("log_loss"), metric_name("latency_p99")
    ('ROC AUC', 'Log loss', 'Latency p99')
    """
    words = spaced(metric)
    return words[:1].upper() + words[1:]


def spaced(name: str) -> str:
    """A name from code as words.

    >>> spaced("roc_auc"), spaced("false_positive_rate")
    ('ROC AUC', 'false positive rate')
    """
    return " ".join(_INITIALS.get(word, word) for word in name.split("_"))


def count(value: int) -> str:
    """A whole number with separators.

    >>> count(336776)
    '336,776'
    """
    return f"{value:,}"


def shape(rows: int, columns: int) -> str:
    """Rows by columns.

    >>> shape(9800, 12)
    '9,800 × 12'
    """
    return f"{count(rows)} × {count(columns)}"


def number(value: float | None, digits: int = 3) -> str:
    """A figure with ``digits`` significant digits, without an exponent where people would not write one.

    >>> number(0.89234), number(1234567.0), number(0.0000123), number(12.0), number(None)
    ('0.892', '1,234,567', '1.23e-05', '12', '–')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    sign = "−" if value < 0 else ""
    size_ = abs(value)
    if size_ == 0:
        return "0"
    if size_ >= 1e15 or size_ < 1e-4:
        return sign + f"{size_:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(size_)))
    text = f"{size_:,.{places}f}"
    if size_ >= 1 and "." in text:
        text = text.rstrip("0").rstrip(".")
    return sign + text


def duration(seconds: float) -> str:
    """How long something took.

    >>> duration(0.04), duration(0.43), duration(12.3), duration(125)
    ('0.0 s', '0.4 s', '12 s', '2 min 05 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def size(octets: float) -> str:
    """Bytes in decimal units.

    >>> size(812), size(48_312), size(4_200_000)
    ('812 B', '48.3 kB', '4.2 MB')
    """
    value = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5 or unit == "GB":
            break
        value /= 1000
    return f"{number(value)} {unit}"


def milliseconds(value: float, digits: int = 3) -> str:
    """A latency in the unit that keeps a digit before the point.

    >>> milliseconds(0.0421), milliseconds(12.31), milliseconds(4200.0)
    ('42.1 µs', '12.3 ms', '4.2 s')
    """
    if 0 < abs(value) < 0.0995:
        return f"{number(value * 1000, digits)} µs"
    if abs(value) >= 999.5:
        return f"{number(value / 1000, digits)} s"
    return f"{number(value, digits)} ms"


def quantity(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A figure in one of the standard's base units: a ratio, ``ms``, ``bytes``, ``count`` or ``target``.

    >>> quantity(0.892), quantity(12.31, "ms"), quantity(48312, "bytes"), quantity(3.0, "count")
    ('0.892', '12.3 ms', '48.3 kB', '3')
    """
    if value is None:
        return NOTHING
    if unit == "bytes":
        return size(value)
    if unit == "ms":
        return milliseconds(value, digits)
    return number(value, digits)


def against(value: float | None, bound: float | None, unit: str = "") -> str:
    """A figure beside its bound: with as many digits as it takes to see on which side it lies.

    >>> against(0.7996, 0.8), against(0.89234, 0.8)
    ('0.7996', '0.892')
    """
    if value is None or bound is None or unit == "bytes":
        return quantity(value, unit)
    for digits in range(3, 9):
        text = quantity(value, unit, digits)
        if value == bound or text != quantity(bound, unit, digits):
            return text
    return quantity(value, unit, 9)


def interval(lower: float | None, upper: float | None, unit: str = "", bound: float | None = None) -> str:
    """Both ends of an interval; empty where there is none, one word where it has no width.

    >>> interval(0.88, 0.91), interval(3.0, 3.0), interval(None, None), interval(1.5, 2.25, "ms")
    ('0.880 to 0.910', 'exact', '', '1.5 to 2.25 ms')
    """
    if lower is None and upper is None:
        return ""
    if lower is not None and lower == upper:
        return "exact"
    if lower is None:
        return f"up to {against(upper, bound, unit)}"
    if upper is None:
        return f"{against(lower, bound, unit)} or more"
    low, high = against(lower, bound, unit), against(upper, bound, unit)
    same = low.partition(" ")[2]
    return f"{low.partition(' ')[0] if same and high.endswith(' ' + same) else low} to {high}"


def visible(text: str) -> str:
    r"""Text from anywhere, made safe to show: control characters become signs, directions stay where they are.

    >>> visible("a\x1b[31mb\nc")
    'a␛[31mb c'
    """
    return text.translate(_CONTROL).encode("utf-8", "replace").decode("utf-8")


def clipped(text: str, limit: int = 80) -> str:
    """Visible text of at most ``limit`` characters; what is left out is marked.

    >>> clipped("abcdefgh", 5)
    'abcd…'
    """
    shown = visible(text[: limit + 1])
    return shown if len(text) <= limit else shown[: limit - 1] + "…"


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence.

    >>> first_sentence("Quality falls by 0.5 points. Plan to renew it.")
    'Quality falls by 0.5 points.'
    """
    return _SENTENCE_END.split(text, maxsplit=1)[0]


def cell(value: Any) -> str:
    """Any value of a table behind a picture.

    >>> cell(0.88), cell(1234), cell(None), cell(True), cell("a")
    ('0.88', '1,234', '–', 'yes', 'a')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        text = number(value, 4)
        return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    return str(value)
