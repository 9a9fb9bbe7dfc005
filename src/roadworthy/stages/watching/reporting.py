"""What users report wrong, as a stream: whether more reports come than before, for as many decisions.

In: hours (``trends.Hour``), oldest first. Out: a signal. Pure. Laws: a report counts in the hour in which it comes,
whenever its prediction was made, so that a later report changes no past hour; labels that come in an hour in which most
confirm the decision are outcomes that somebody delivers, no reports (quality and the stream of errors look at them).

The test is exact: given all reports, those of the newest hours are binomial with the share of decisions that these
hours have (Przyborowski and Wilenski 1940), at the size that the reports' own variation between hours leaves (Korn and
Graubard 1998). Until reports came in a dozen hours, nothing is known of that variation, and who reports is not known at
all: so an hour with reports counts as one report then, and it takes three of them, which one person in a bad mood
hardly gives. Decisions are counted over the day that ends with an hour, since people report later than they ask. It is
looked at over the last 1, 2, 4 … 64 hours, of four weeks, which share the level of ``Family.FEEDBACK``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.measures.alarms.scales import blocks_ending_at
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.operations.shares import size_of
from roadworthy.records.alert import Signal, Word
from roadworthy.stages.watching.trends import Hour, hour_title

__all__ = ["RULE", "reports_signal"]

RULE = "reported_wrong_rise"

_SCALES = 7
_MOST_HOURS = 4 * 168
_LEAST_HOURS, _LEAST_DECISIONS, _LEAST_REPORTS = 48, 500, 5
_KNOWN_HOURS, _LEAST_REPORTED = 12, 3
_MOST_LEVEL = 0.05
_MORE, _HALF_AS_MANY = 0.002, 1.5
_DAY, _HOUR_S = 24, 3_600
_LOOK_FIRST = (
    "ten of the rows that were reported, and what people wrote beside them (`<lake>/feedback/`): are they right? "
    "Then which slice they come from, and what changed in the data"
)

Floats = NDArray[np.float64]


def reports_signal(hours: Sequence[Hour], *, per_hour: float) -> Signal:
    """The word of the newest hour. ``per_hour`` is the rate of false alarms that the budget leaves to reports."""
    hours = hours[-_MOST_HOURS:]
    newest = hours[-1]
    reports = np.array([one.wrong if one.wrong > one.right else 0 for one in hours], dtype=np.float64)
    decided = _over_a_day(np.array([one.decided for one in hours], dtype=np.float64))
    ends = [block.last - block.first + 1 for block in blocks_ending_at(newest.at_s // _HOUR_S, _SCALES)]
    looks = [_look(reports, decided, size, per_hour) for size in ends if size < len(hours)]
    known = [one for one in looks if one]
    alarms = [one for one in known if one["p"] <= one["level"] and _matters(one) and _spread(one)]
    alone = [one for one in known if _matters(one) and not one["known"]]
    if alarms:
        found = alarms[0]
        before = f"{100 * found['usual']:.2g} % of decisions before" if found["usual"] else "none before"
        word = Word.ALARM
        sentence = (
            f"Users report more wrong answers: {found['reports']:,.0f} in {found['hours']:.0f} h, "
            f"{100 * found['value']:.2g} % of decisions; {before}."
        )
    elif alone:
        found, word = alone[0], Word.UNKNOWN
        sentence = (
            f"{found['reports']:,.0f} wrong answers were reported in {found['reported']:.0f} of the last "
            f"{found['hours']:.0f} h; that may be one person, since hardly any reports came before."
        )
    elif known:
        found, word = known[0], Word.CLEAR
        sentence = f"Users report as many wrong answers as before, {100 * found['usual']:.2g} % of decisions."
    else:
        found, word = {}, Word.UNKNOWN
        there = sum(one.decided > 0 for one in hours[:-1])
        sentence = (
            f"Learning how many answers are reported wrong: {there} of {_LEAST_HOURS} hours with decisions are known, "
            f"and at least {_LEAST_DECISIONS} decisions are needed."
        )
    return Signal(
        rule=RULE,
        word=word,
        at_us=(newest.at_s + _HOUR_S) * 1_000_000,
        source=hour_title(newest.at_s),
        group="feedback",
        sentence=sentence,
        evidence=dict(found),
        look_first=_LOOK_FIRST,
        chart=RULE,
    )


def _look(reports: Floats, decided: Floats, size: int, per_hour: float) -> dict[str, float]:
    """The last ``size`` hours beside all before them; nothing where these are too few."""
    past, now = slice(None, -size), slice(-size, None)
    there = decided[past] > 0
    total, share_of = float(decided[past].sum()), float(decided[now].sum())
    if there.sum() < _LEAST_HOURS or total < _LEAST_DECISIONS or share_of <= 0:
        return {}
    before, after = float(reports[past].sum()), float(reports[now].sum())
    try:
        weight = min(size_of(np.minimum(reports[past], decided[past]), decided[past], 0.95) / total, 1.0)
    except NotEnough:
        return {}
    part = share_of / (share_of + total)
    hours_before, hours_after = (float((reports[span] > 0).sum()) for span in (past, now))
    is_known = hours_before >= _KNOWN_HOURS
    more, usual = (after * weight, before * weight) if is_known else (hours_after, hours_before)
    p = float(special.betainc(more, usual + 1.0, part)) if after else 1.0
    new = 1 if size == 1 else size // 2
    return {
        "p": p,
        "level": min(per_hour * new / _SCALES, _MOST_LEVEL),
        "reports": after,
        "hours": float(size),
        "value": after / share_of,
        "usual": before / total,
        "rows": share_of,
        "reported": hours_after,
        "known": float(is_known),
        "bound": max(before / total * _HALF_AS_MANY, before / total + _MORE),
    }


def _matters(look: dict[str, float]) -> bool:
    """Whether there are so many more that somebody is called."""
    return look["reports"] >= _LEAST_REPORTS and look["value"] >= look["bound"]


def _spread(look: dict[str, float]) -> bool:
    """Whether it is known how reports come together, or these came in several hours."""
    return bool(look["known"]) or look["reported"] >= _LEAST_REPORTED


def _over_a_day(decided: Floats) -> Floats:
    """Decisions an hour over the day that ends with each hour, or over what is known of it."""
    sums = np.cumsum(np.concatenate([[0.0], decided]))
    places = np.arange(1, len(decided) + 1)
    first = np.maximum(places - _DAY, 0)
    found: Floats = (sums[places] - sums[first]) / (places - first)
    return found
