"""How each column stands in a window: alarmed, changed, quiet, or not comparable, worst first.

In: a window with its rulings, the open alerts, what the version declares. Out: ``ColumnRow``s. Laws: a column stands as
the worst of its comparisons; an open alert is never passed over because the newest window happens to be quiet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from roadworthy.measures.alarms.deciding import Outcome, Ruling
from roadworthy.measures.drift.words import p_words
from roadworthy.records.alert import Alert
from roadworthy.records.shift import ShiftKind
from roadworthy.views.dashboard.data.facts import ColumnFacts
from roadworthy.views.dashboard.data.refused import Refused, Tally

__all__ = [
    "CHANGED",
    "Change",
    "ColumnRow",
    "Standing",
    "alerts_by_subject",
    "change_of",
    "row_of",
    "without_p",
    "worst_first",
]


class Standing(StrEnum):
    """Worst first."""

    BROKEN = "check broke"
    ALARM = "alarm"  # proven, and large enough to call a person
    OPEN = "alert open"  # an alert of before is open; this window alone does not alarm
    CHANGED = "changed"  # proven, too small to call anybody
    QUIET = "no change"
    UNKNOWN = "cannot say"
    APART = "not compared"


CHANGED = frozenset({Standing.BROKEN, Standing.ALARM, Standing.OPEN, Standing.CHANGED})
_TELLING = 0.05
"""Up to this probability a comparison's sentence tells what moved."""
_ORDER = {standing: place for place, standing in enumerate(Standing)}
_OF_OUTCOME = {
    Outcome.BROKEN: Standing.BROKEN,
    Outcome.ALARM: Standing.ALARM,
    Outcome.REPORTED: Standing.CHANGED,
    Outcome.QUIET: Standing.QUIET,
    Outcome.UNKNOWN: Standing.UNKNOWN,
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison for people: ``words`` say what, ``chance`` how likely chance alone would do it.

    ``level`` is what the probability had to be within, ``floor`` the least effect that calls a person. ``before`` and
    ``now`` are shares of missing or new values.
    """

    kind: ShiftKind
    standing: Standing
    words: str
    effect: float | None
    floor: float
    p: float | None
    level: float
    chance: str = ""
    before: float | None = None
    now: float | None = None
    n: int = 0
    reference_n: int = 0


class ColumnRow(msgspec.Struct, frozen=True, kw_only=True):
    """A column in the list. ``main`` is the comparison that it stands by; ``others`` are proven besides.

    ``violations`` are rows that were set aside for it when the version was made, ``refused`` those that were refused in
    the window, ``refused_since`` since. ``alert`` is the number of an open alert on it, 0 for none; ``trend`` its
    effects in the last windows, oldest first, None where there was nothing to compare; ``trend_points`` the same as
    points of a drawing 72 by 20.
    """

    facts: ColumnFacts
    standing: Standing
    main: Change | None
    others: tuple[Change, ...] = ()
    missing: Change | None = None
    new: Change | None = None
    alert: int = 0
    violations: int = 0
    refused: Tally = Tally()
    refused_since: Tally = Tally()
    trend: tuple[float | None, ...] = ()
    trend_points: str = ""

    @property
    def order(self) -> tuple[float, float, float, int, int, int]:
        """Worst first, what is quiet after all that has refused rows.

        Of equals the greater effect, then what was missing, refused, set aside, and what the model needs.
        """
        main = self.main
        proven = main.effect or 0.0 if main is not None and self.standing in CHANGED else 0.0
        grown = 0.0
        if self.missing is not None and self.missing.now is not None and self.missing.before is not None:
            grown = max(0.0, self.missing.now - self.missing.before)
        needed = self.facts.reliance or 1_000_000
        refused = self.refused.rows + self.refused_since.rows
        standing = min(_ORDER[self.standing], _ORDER[Standing.CHANGED] + 0.5) if refused else _ORDER[self.standing]
        return (standing, -proven, -round(grown, 3), -refused, -self.violations, needed)


def change_of(ruling: Ruling) -> Change:
    """A ruling for people."""
    shift = ruling.shift
    tested = shift.p is not None
    sides = shift.details if shift.kind in {ShiftKind.MISSING, ShiftKind.NEW} else {}
    return Change(
        kind=shift.kind,
        standing=_OF_OUTCOME[ruling.outcome],
        words=_words(ruling),
        effect=shift.effect if tested else None,
        floor=ruling.floor,
        p=shift.p,
        level=ruling.level,
        chance="" if shift.p is None else p_words(shift.p),
        before=sides.get("reference"),
        now=sides.get("current"),
        n=shift.n,
        reference_n=shift.reference_n,
    )


def _words(ruling: Ruling) -> str:
    """What is said of a comparison; of one that is within what chance does in so many looks, that too."""
    shift = ruling.shift
    if shift.error:
        return f"the check broke: {shift.error}"
    said = without_p(shift.sentence)
    doubtful = ruling.outcome is Outcome.QUIET and shift.p is not None and shift.p <= _TELLING
    return f"not proven: {said}" if doubtful else said


def without_p(sentence: str) -> str:
    """What a sentence says, without the figures that it ends with.

    >>> without_p("x moved (it was 2 %) (p = 2e-9, effect 0.27)")
    'x moved (it was 2 %)'
    """
    start = max(sentence.rfind(" (p = "), sentence.rfind(" (p < "))
    return sentence[:start] if start > 0 and sentence.endswith(")") else sentence


def row_of(
    facts: ColumnFacts, found: Sequence[Ruling], alert: Alert | None, refused: Refused | None = None
) -> ColumnRow:
    """How a column stands by its comparisons of one window, and by the alert that is open on it; what was refused."""
    changes = sorted(map(change_of, found), key=worst_first)
    by_kind = {change.kind: change for change in changes}
    standing = changes[0].standing if changes else Standing.APART
    if alert is not None and _ORDER[standing] > _ORDER[Standing.OPEN]:
        standing = Standing.OPEN
    main = changes[0] if changes else None
    if main is not None and main.standing is Standing.QUIET:
        main = by_kind.get(ShiftKind.DISTRIBUTION, main)
    return ColumnRow(
        facts=facts,
        standing=standing,
        main=main,
        others=tuple(one for one in changes if one is not main and one.standing in CHANGED),
        missing=by_kind.get(ShiftKind.MISSING),
        new=by_kind.get(ShiftKind.NEW),
        alert=0 if alert is None else alert.number,
        violations=sum(facts.violations.values()),
        refused=Tally() if refused is None else refused.of(facts.name),
        refused_since=Tally() if refused is None else refused.later(facts.name),
    )


def worst_first(change: Change) -> tuple[int, float]:
    """Worst first; a comparison that could not be made does not hide one that could."""
    order = _ORDER[change.standing]
    if change.standing is Standing.UNKNOWN:
        order = _ORDER[Standing.QUIET] if change.kind is ShiftKind.DISTRIBUTION else order
    return order, -(change.effect or 0.0)


def alerts_by_subject(alerts: Iterable[Alert]) -> Mapping[str, Alert]:
    """Open alerts on data by what they name: columns, ``score``, pairs joined by ×."""
    found: dict[str, Alert] = {}
    for alert in alerts:
        family, _, rest = alert.rule.partition(":")
        if family in {"missing", "new"} and rest:
            found.setdefault(rest, alert)
        elif family == "check" and ":" in rest:
            found.setdefault(rest.partition(":")[2], alert)
        elif family == "drift":
            for sighting in (alert.last, alert.worst, alert.first):
                for changed in sighting.evidence.get("changed", ()):
                    found.setdefault(str(changed.get("subject", "")), alert)
    return found
