"""What a signal knew, as tables for people.

In: sightings of an alert. Out: words and tables. Law: whatever a signal says is shown, also what this module has no
words for; a figure that says nothing by itself stands beside what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from roadworthy.formats import wording
from roadworthy.records.alert import Alert, Sighting
from roadworthy.records.window import Cut, WindowKind
from roadworthy.views.dashboard.spans import instant_words

__all__ = ["Fact", "Listed", "beyond", "brief", "facts_of", "lists_of", "window_words"]

_WORDS = {
    "value": "value",
    "bound": "must not go beyond",
    "interval": "interval",
    "requirement": "requirement",
    "rows": "rows looked at",
    "reference_rows": "rows compared with",
    "effect": "size of the change (0 to 1)",
    "floor": "smallest change that calls anybody",
    "p": "probability by chance (p)",
    "level": "alarms below this probability",
    "confidence": "confidence",
    "slice": "group of rows",
    "trigger": "alarms when",
    "usual": "usual at this hour",
    "moved": "moved from the usual by",
    "hours": "for so many hours",
    "limit": "limit of the sum",
    "differ": "rows that differ",
    "worst": "largest difference",
    "first": "first such row",
    "objective": "share that must succeed",
    "before": "share before",
    "after": "share now",
    "rows_before": "rows before",
    "rows_after": "rows now",
    "among": "of so many rows",
    "decisions": "decisions",
    "reports": "reports",
}
_HIDDEN = frozenset({"lower", "upper", "scale", "first_window", "last_window"})  # told in other words
_TRIGGERS = {"proven": "the evidence proves the bound missed", "observed": "the plain value misses the bound"}
_LISTS = {
    "changed": "What changed",
    "too_small": "Changed beyond chance, but too little to call anybody",
    "burns": "How fast the error budget is used up",
}
_PER_CENT = frozenset({"confidence"})


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the evidence: what it is, and what the first, the worst and the last alarm knew of it."""

    words: str
    first: str
    worst: str
    last: str

    @property
    def constant(self) -> bool:
        """Whether all three said the same."""
        return self.first == self.worst == self.last


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A list inside the evidence, such as the columns that changed, as columns of a table."""

    title: str
    columns: dict[str, list[Any]]


def brief(sighting: Sighting) -> str:
    """The figure of an alarm in a few words: value and bound, else effect, else how it is.

    >>> brief(Sighting(source="1 h/3", at_us=1, sentence="", evidence={"value": 0.75, "bound": 0.8}))
    '0.750 (bound 0.800)'
    """
    evidence = sighting.evidence
    value, bound, effect = (_number(evidence.get(name)) for name in ("value", "bound", "effect"))
    if value is not None and bound is not None:
        return f"{wording.against(value, bound)} (bound {wording.number(bound)})"
    if value is not None:
        usual = _number(evidence.get("usual"))
        return wording.number(value) + ("" if usual is None else f" (usually {wording.number(usual)})")
    if effect is not None:
        return f"effect {wording.number(effect, 2)}"
    return ""


def beyond(evidence: Mapping[str, Any]) -> float:
    """How far an alarm lies beyond what is allowed, in units of that; 0 where the evidence does not say."""
    value, bound, effect, floor = (_number(evidence.get(name)) for name in ("value", "bound", "effect", "floor"))
    if value is not None and bound is not None:
        return abs(value - bound) / max(abs(bound), 1e-9)
    if effect is not None and floor:
        return effect / floor - 1
    return 0.0


def facts_of(alert: Alert) -> tuple[Fact, ...]:
    """The plain figures of the first, the worst and the last alarm."""
    three = (alert.first, alert.worst, alert.last)
    names = list(dict.fromkeys(name for one in three for name in one.evidence))
    if any("value" in one.evidence for one in three):
        names.insert(0, "value")
        names = list(dict.fromkeys(names))
    lines = [Fact(words="window that ended", **_three(three, lambda one: instant_words(one.at_us)))]
    for name in names:
        if name in _HIDDEN or any(isinstance(one.evidence.get(name), list) for one in three):
            continue
        words = _WORDS.get(name, wording.spaced(name))
        lines.append(Fact(words=words, **_three(three, lambda one, name=name: _told(name, one.evidence))))
    return tuple(line for line in lines if line.first or line.worst or line.last)


def lists_of(sighting: Sighting) -> tuple[Listed, ...]:
    """The lists inside the evidence of one alarm."""
    found = []
    for name, items in sighting.evidence.items():
        if isinstance(items, list) and items and all(isinstance(one, dict) for one in items):
            heads = list(dict.fromkeys(key for one in items for key in one if key not in _HIDDEN))
            columns = {
                _WORDS.get(head, wording.spaced(head)): [_plain(one.get(head)) for one in items] for head in heads
            }
            found.append(Listed(title=_LISTS.get(name, wording.spaced(name)), columns=columns))
    return tuple(found)


def window_words(source: str) -> str:
    """Which window a signal speaks of, for people.

    >>> window_words("1 h/498678"), window_words("1000 rows/3.2")
    ('window until 2026-11-21 07:00 UTC', 'window 1000 rows/3, looked at again')
    """
    name, _, number = source.rpartition("/")
    number, _, revision = number.partition(".")
    if not name or not number.isdecimal():
        return source
    again = ", looked at again" if revision else ""
    try:
        cut = Cut.parse("1 h" if name == "hour" else name)
    except ValueError:
        return source  # no window, but an instant that the source names itself
    if cut.kind is WindowKind.COUNT:
        return f"window {name}/{number}{again}"
    return f"window until {instant_words((int(number) + 1) * cut.size * 1_000_000)}{again}"


def _three(sightings: Sequence[Sighting], told: Any) -> dict[str, str]:
    return dict(zip(("first", "worst", "last"), map(told, sightings), strict=True))


def _told(name: str, evidence: Mapping[str, Any]) -> str:
    value = evidence.get(name)
    if name == "value" and _number(value) is not None:
        lower, upper = _number(evidence.get("lower")), _number(evidence.get("upper"))
        span = wording.interval(lower, upper)
        return wording.against(_number(value), _number(evidence.get("bound"))) + (f" ({span})" if span else "")
    if name == "trigger":
        return _TRIGGERS.get(str(value), str(value))
    if name in _PER_CENT and _number(value) is not None:
        return f"{wording.number(100 * float(value or 0.0), 6)} %"
    return "" if value is None else wording.cell(value) if not isinstance(value, str) else value


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None
