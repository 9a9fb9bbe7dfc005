"""From comparisons to words: which changes call a person, which are only reported, and what is said.

In: the ``Shift``s of one window at each of its looks back, the allotment, the floors. Out: a ``Ruling`` per shift and
look, and a ``Signal`` per rule. Laws: an alarm needs a p within its level and an effect of at least the floor; what
is beyond chance and below the floor is said and calls nobody; what could not be looked at is never clear; a rule whose
alert was proven over many windows is clear again only after as long a look.

Score columns, columns and pairs of columns are decided by the procedure of Benjamini and Hochberg (1995) within their
family at the family's level, and raise one alarm together, which names them. Missing and unknown values have a rule of
their own for each column, at an equal part of the family's level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from roadworthy.measures.alarms.budget import Allotment, Family
from roadworthy.measures.alarms.scales import Block
from roadworthy.measures.drift import EFFECT_FLOOR, chances
from roadworthy.records.alert import Severity, Signal, Word
from roadworthy.records.shift import Shift, ShiftKind

__all__ = ["FLOORS", "Compared", "Outcome", "Ruling", "data_signals", "members_of", "named", "rulings"]

FLOORS: Mapping[Family, float] = {
    Family.SCORE: EFFECT_FLOOR[ShiftKind.DISTRIBUTION] / 1.5,  # what the model answers reaches users directly
    Family.COLUMNS: EFFECT_FLOOR[ShiftKind.DISTRIBUTION],
    Family.TOGETHER: EFFECT_FLOOR[ShiftKind.TOGETHER],
    Family.MISSING: EFFECT_FLOOR[ShiftKind.MISSING],
    Family.NEW: EFFECT_FLOOR[ShiftKind.NEW],
}
"""The least effect that calls a person, between 0 and 1 as in ``Shift.effect``."""

_MOST_TIMES, _MOST_HANDED = 10.0, 0.01
"""By how many times what others leave raises a scale's level, and how far: rows of real traffic are not quite as alike
as their dispersion says, so p has to say something too."""
_SHOWN = 3
_LOOK_FIRST = {
    Family.SCORE: "Which columns changed in the same window; if none did, which version of the model answered.",
    Family.COLUMNS: "Where {first} comes from: a changed source, unit or default, before a changed world.",
    Family.TOGETHER: "How {first} go together in the rows of this window: a join or an order that broke.",
    Family.MISSING: "The last change of whatever fills {first}.",
    Family.NEW: "The values of {first} that were never seen in training: a new category, another spelling or unit.",
}


class Outcome(StrEnum):
    """Of one comparison."""

    ALARM = "alarm"  # beyond its level and its floor
    REPORTED = "reported"  # beyond its level, smaller than the floor
    QUIET = "quiet"  # what chance does
    UNKNOWN = "unknown"  # too few rows
    BROKEN = "broken"  # the check broke


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The comparisons of one block; ``seconds`` is the time that its windows cover together."""

    block: Block
    seconds: float
    shifts: tuple[Shift, ...]


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison decided: ``level`` is what p had to be within, ``floor`` what the effect had to reach."""

    shift: Shift
    family: Family
    block: Block
    outcome: Outcome
    level: float
    floor: float


def family_of(shift: Shift) -> Family:
    """The family that a comparison belongs to."""
    if shift.kind is ShiftKind.TOGETHER:
        return Family.TOGETHER
    if shift.kind is ShiftKind.MISSING:
        return Family.MISSING
    if shift.kind is ShiftKind.NEW:
        return Family.NEW
    is_score = shift.subject == "score" or shift.subject.startswith("score.")
    return Family.SCORE if is_score else Family.COLUMNS


def members_of(shifts: Iterable[Shift]) -> dict[Family, int]:
    """How many charts of each family such comparisons are, as ``allot`` takes them."""
    found: dict[Family, int] = {}
    for shift in shifts:
        found[family_of(shift)] = found.get(family_of(shift), 0) + 1
    return found


def named(p_values: Sequence[float], level: float, members: int | None = None) -> list[bool]:
    """Which are rejected at a false discovery rate of ``level`` among ``members`` (default: as many as there are).

    Benjamini and Hochberg (1995). Were nothing changed, it rejects anything in at most a share ``level`` of
    repetitions where tests depend on each other positively (Simes; Benjamini and Yekutieli 2001), as those do that
    share a reference.
    """
    count = max(len(p_values), members or 0)
    ranked = sorted(p_values)
    limit = max((p for place, p in enumerate(ranked, 1) if p <= level * place / count), default=-1.0)
    return [p <= limit for p in p_values]


def rulings(
    looks: Iterable[Compared], allotment: Allotment, *, floors: Mapping[Family, float] = FLOORS
) -> tuple[Ruling, ...]:
    """Decide every comparison at every look."""
    found: list[Ruling] = []
    for look in looks:
        by_family: dict[Family, list[Shift]] = {}
        for shift in look.shifts:
            by_family.setdefault(family_of(shift), []).append(shift)
        for family, shifts in by_family.items():
            found.extend(_family_rulings(look, family, shifts, allotment, floors[family]))
    return tuple(found)


def data_signals(
    decided: Sequence[Ruling], *, at_us: int, source: str, standing: Mapping[str, int] | None = None
) -> tuple[Signal, ...]:
    """One signal per rule: ``drift:score``, ``drift:columns``, ``drift:together``, ``missing:C``, ``new:C``.

    A check that broke is ``check:KIND:SUBJECT``. ``standing`` maps the rules that have an open alert to the scale it
    was proven at (``Signal.evidence["scale"]``): such a rule is unknown, not clear, until a look as long was taken.
    """
    open_at = dict(standing or {})
    by_rule: dict[str, list[Ruling]] = {}
    for ruling in decided:
        by_rule.setdefault(_rule(ruling), []).append(ruling)
    signals = [_signal(rule, group, at_us, source, open_at.get(rule, 0)) for rule, group in sorted(by_rule.items())]
    return (*signals, *_broken(decided, at_us, source, open_at))


def _family_rulings(
    look: Compared, family: Family, shifts: Sequence[Shift], allotment: Allotment, floor: float
) -> list[Ruling]:
    scale = look.block.scale
    tested = [shift for shift in shifts if shift.p is not None and not shift.error]
    floors = [_floor_at(shift, floor) for shift in shifts]
    whole = _level(look, family, tested, allotment, floor)
    part = allotment.member_level(family, seconds=look.seconds, scale=scale)
    p_values = [shift.p for shift in tested if shift.p is not None]
    together = family not in {Family.MISSING, Family.NEW}
    beyond = named(p_values, whole, allotment.members[family]) if together else [p <= part for p in p_values]
    rejected = {id(shift) for shift, is_beyond in zip(tested, beyond, strict=True) if is_beyond}
    level = whole * max(sum(beyond), 1) / allotment.members[family] if together else part
    return [
        Ruling(
            shift=shift,
            family=family,
            block=look.block,
            outcome=_outcome(shift, beyond=id(shift) in rejected, floor=least),
            level=level,
            floor=least,
        )
        for shift, least in zip(shifts, floors, strict=True)
    ]


def _floor_at(shift: Shift, floor: float) -> float:
    """A share of missing or new values is over its floor by a standard error: of few rows one in 100 may seem two."""
    if shift.kind not in {ShiftKind.MISSING, ShiftKind.NEW} or not shift.n:
        return floor
    return floor + math.sqrt(float(shift.details.get("dispersion", 1.0)) * floor * (1 - floor) / shift.n)


def _level(look: Compared, family: Family, tested: Sequence[Shift], allotment: Allotment, floor: float) -> float:
    """The family's level at a look, with what looks of other scales leave over.

    Without a change a look calls somebody with a probability of at most its level, and of at most that with which
    chance takes any effect over the floor, ``spent``. Over many rows the floor alone is enough: such a scale hands on
    what it does not spend. So the scales share the family's budget as water fills vessels of unequal height: none gets
    more than it can spend before the others have as much. Other windows are taken to have as many rows as these.
    """
    if family not in {Family.SCORE, Family.COLUMNS}:
        return allotment.level(family, seconds=look.seconds, scale=look.block.scale)
    window = look.seconds / 2**look.block.scale
    new = [window * max(1.0, 2.0 ** (scale - 1)) for scale in range(allotment.scales)]
    equal = [allotment.level(family, seconds=window * 2**scale, scale=scale) for scale in range(allotment.scales)]
    times = [2.0 ** (scale - look.block.scale) for scale in range(allotment.scales)]
    spent = [math.fsum(row) for row in chances(tested, floor, times).tolist()]
    rate = _filled([one / time for one, time in zip(spent, new, strict=True)], equal[0] / new[0] * len(new))
    own = look.block.scale
    return float(max(equal[own], min(rate * new[own], _MOST_TIMES * equal[own], _MOST_HANDED)))


def _filled(needs: Sequence[float], whole: float) -> float:
    """The greatest part that none has to exceed where ``whole`` is divided and nobody takes more than it needs."""
    left = whole
    for place, need in enumerate(sorted(needs)):
        part = left / (len(needs) - place)
        if need >= part:
            return part
        left -= need
    return math.inf


def _outcome(shift: Shift, *, beyond: bool, floor: float) -> Outcome:
    if shift.error:
        return Outcome.BROKEN
    if shift.p is None:
        return Outcome.UNKNOWN
    if not beyond:
        return Outcome.QUIET
    return Outcome.ALARM if shift.effect >= floor else Outcome.REPORTED


def _rule(ruling: Ruling) -> str:
    if ruling.family in {Family.MISSING, Family.NEW}:
        return f"{ruling.family}:{ruling.shift.subject}"
    return f"drift:{ruling.family}"


def _signal(rule: str, group: Sequence[Ruling], at_us: int, source: str, open_scale: int) -> Signal:
    alarms = [ruling for ruling in group if ruling.outcome is Outcome.ALARM]
    reported = [ruling for ruling in group if ruling.outcome is Outcome.REPORTED]
    tested = [ruling for ruling in group if ruling.shift.p is not None and ruling.outcome is not Outcome.BROKEN]
    longest = max((ruling.block.scale for ruling in tested), default=-1)
    chart = rule
    if alarms:
        best = _shortest(alarms)
        family = best[0].family
        first = f"`{best[0].shift.subject}`"
        return Signal(
            rule=rule, word=Word.ALARM, at_us=at_us, source=source, group="data", chart=chart,
            severity=Severity.TICKET,
            sentence=f"{_changed(best)} {_over(best[0].block)}",
            evidence=_evidence(best, reported),
            look_first=_LOOK_FIRST[family].format(first=first),
        )  # fmt: skip
    if longest < open_scale:
        word = Word.UNKNOWN
        sentence = f"The change was proven over {2**open_scale} windows; no look as long ended now."
        if not tested:
            sentence = _why_unknown(group)
    elif not tested:
        word, sentence = Word.UNKNOWN, _why_unknown(group)
    elif reported:
        word = Word.CLEAR
        sentence = f"More than chance, too little to call anybody: {_changed(_shortest(reported))}"
    else:
        word, sentence = Word.CLEAR, "No change beyond chance."
    return Signal(
        rule=rule, word=word, at_us=at_us, source=source, group="data", chart=chart, sentence=sentence,
        evidence=_evidence(_shortest(tested), reported) if tested else {},
    )  # fmt: skip


def _shortest(decided: Sequence[Ruling]) -> list[Ruling]:
    """Those of the shortest look, the greatest effect first: what a person can look at soonest."""
    scale = min(ruling.block.scale for ruling in decided)
    chosen = [ruling for ruling in decided if ruling.block.scale == scale]
    return sorted(chosen, key=lambda ruling: (-ruling.shift.effect, ruling.shift.p, ruling.shift.subject))


def _changed(decided: Sequence[Ruling]) -> str:
    told = [ruling.shift.sentence or f"`{ruling.shift.subject}` changed." for ruling in decided[:_SHOWN]]
    more = len(decided) - len(told)
    ended = [one if one.endswith(".") else f"{one}." for one in told]
    return " ".join([*ended, *([f"{more} more changed."] if more else [])])


def _over(block: Block) -> str:
    return f"Seen over the last {2**block.scale} windows together." if block.scale else "Seen in this window alone."


def _why_unknown(group: Sequence[Ruling]) -> str:
    reasons = [ruling.shift.insufficient for ruling in group if ruling.shift.insufficient]
    return reasons[0] if reasons else "The check broke, and says nothing of this window."


def _evidence(decided: Sequence[Ruling], reported: Sequence[Ruling]) -> dict[str, Any]:
    """Plain data; the first of ``decided`` leads."""
    lead = decided[0]
    shown: dict[str, Any] = {
        "p": lead.shift.p,
        "level": lead.level,
        "effect": lead.shift.effect,
        "floor": lead.floor,
        "rows": lead.shift.n,
        "reference_rows": lead.shift.reference_n,
        "scale": lead.block.scale,
        "first_window": lead.block.first,
        "last_window": lead.block.last,
    }
    if lead.outcome is Outcome.ALARM:
        shown["changed"] = [_brief(ruling) for ruling in decided]
    small = [_brief(ruling) for ruling in reported]
    return shown | ({"too_small": small} if small else {})


def _brief(ruling: Ruling) -> dict[str, Any]:
    return {
        "subject": ruling.shift.subject,
        "p": ruling.shift.p,
        "effect": ruling.shift.effect,
        "scale": ruling.block.scale,
        "sentence": ruling.shift.sentence,
    }


def _broken(decided: Sequence[Ruling], at_us: int, source: str, open_at: Mapping[str, int]) -> list[Signal]:
    """Each check that broke, and those that broke before and are well again."""
    found: dict[str, Signal] = {}
    for ruling in decided:
        rule = f"check:{ruling.shift.kind}:{ruling.shift.subject}"
        broke = ruling.outcome is Outcome.BROKEN
        if not broke and (rule not in open_at or rule in found):
            continue
        sentence = (
            f"The check of `{ruling.shift.subject}` broke: {ruling.shift.error}" if broke else "The check works again."
        )
        found[rule] = Signal(
            rule=rule,
            word=Word.BROKEN if broke else Word.CLEAR,
            at_us=at_us,
            source=source,
            group="monitor",
            sentence=sentence,
            look_first="The monitor's own log; nothing is known of this column until the check works again.",
        )
    return list(found.values())
