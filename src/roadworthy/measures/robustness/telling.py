"""What came of the faults, told: measurements, findings, and the table of all of them.

In: the effects of the faults that were tried. Out: ``Found``. Laws: refusing is never held against a model; every
family has one measurement and at most one finding of each grade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from roadworthy.measures.examined import Brief
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.robustness.asking import Reply
from roadworthy.measures.robustness.effects import FEWEST, Effect, worst
from roadworthy.measures.robustness.faults import EVERY, FAMILIES, SMALL, Family
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement
from roadworthy.records.project import Task

__all__ = ["Tried", "told"]

_COSTLY, _COSTLY_SMALL = 0.1, 0.05
_NOTICED = 0.5
_SHOWN = 8
_NAMED = 3
_LISTED = 30
_CUT = "fault"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tried:
    """The rows' ``sample``, the reply to them as they are, the effect of each fault, and columns that none touched."""

    sample: Sample
    plain: Reply
    effects: tuple[Effect, ...]
    left_out: tuple[str, ...] = ()

    def of(self, *families: str) -> list[Effect]:
        """The effects of these families' faults."""
        return [effect for effect in self.effects if effect.fault.family in families]

    @property
    def families(self) -> list[str]:
        """The families that were tried."""
        return list(dict.fromkeys(effect.fault.family for effect in self.effects))


def told(tried: Tried, brief: Brief) -> Found:
    """All that is to be said of what was tried."""
    metrics = ["robust_drop"] if tried.sample.task is Task.REGRESSION else ["robust_drop", "robust_flips"]
    measurements = [_crashes(tried)]
    for metric in metrics:
        measurements.append(_worst_of(metric, tried, SMALL, "", brief.confidence(metric)))
        each = 1 - (1 - brief.confidence(metric, _CUT)) / max(len(tried.families), 1)
        measurements += [_worst_of(metric, tried, (name,), f"{_CUT}={name}", each) for name in tried.families]
    findings = [*_crash_findings(tried), *_unnoticed(tried)]
    exhibits = (_exhibit(tried),) if tried.effects else ()
    return Found(measurements=tuple(measurements), findings=tuple(findings), exhibits=exhibits)


def _crashes(tried: Tried) -> Measurement:
    said = []
    if tried.plain.crashed:
        said.append(f"the rows as they are ({_broke(tried.plain)})")
    for name in tried.families:
        broken = [effect for effect in tried.of(name) if effect.reply.crashed]
        if broken:
            first = broken[0]
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            said.append(f"{name} ({first.fault.column} {first.fault.how}: {_broke(first.reply)}{more})")
    count = float(len(said))
    return Measurement(
        metric="crashes",
        value=count,
        lower=count,
        upper=count,
        unit="count",
        n=tried.sample.n,
        method="counted",
        reason=f"It breaks on {'; '.join(said)}." if said else "",
    )


def _broke(reply: Reply) -> str:
    if reply.raised:
        return reply.raised
    return f"{int(reply.broken.sum()):,} of {len(reply.broken):,} answers are no scores"


def _worst_of(metric: str, tried: Tried, families: Sequence[str], cut: str, confidence: float) -> Measurement:
    """The worst fault of some families; refusing all rows costs nothing."""
    facts: dict[str, Any] = {"metric": metric, "slice": cut, "confidence": confidence}
    effects = tried.of(*families)
    known = [effect for effect in effects if effect.measurable]
    if not known:
        return _silent(facts, tried, effects)
    try:
        bounds, effect = worst(known, metric.removeprefix("robust_"), confidence)
    except NotEnough as reason:
        return Measurement(**facts, n=max(one.n for one in known), insufficient=f"{metric} {_after(str(reason))}")
    of = FAMILIES[effect.fault.family]
    broken = sum(one.reply.crashed for one in effects)
    besides = f" {broken} more {'breaks' if broken == 1 else 'break'} the model." if broken else ""
    return Measurement(
        **facts,
        value=bounds.value,
        lower=bounds.lower,
        upper=bounds.upper,
        n=effect.n,
        clusters=bounds.clusters,
        method=bounds.method,
        reason=f"The worst: {_lower(of.says)}, {effect.fault.column} {effect.fault.how}.{besides}",
    )


def _silent(facts: dict[str, Any], tried: Tried, effects: Sequence[Effect]) -> Measurement:
    """No fault has enough answered rows: refused (which is right), broken (which is not), or too few rows to begin."""
    metric = facts["metric"]
    if not effects:
        n = int(tried.plain.sound.sum())
        reason = f"needs at least {FEWEST} rows that the model answers, has {n}"
        return Measurement(**facts, n=n, insufficient=f"{metric} {reason}")
    if any(effect.reply.crashed for effect in effects):
        reason = "cannot be measured: the model breaks on these faults"
        return Measurement(**facts, n=tried.sample.n, insufficient=f"{metric} {reason}")
    said = "Every row is refused." if min(one.refused for one in effects) == 1 else "All but a few rows are refused."
    return Measurement(**facts, value=0.0, lower=0.0, upper=0.0, n=tried.sample.n, method="refused", reason=said)


def _crash_findings(tried: Tried) -> list[Finding]:
    findings = []
    if tried.plain.crashed:
        sentence = f"The model breaks on the rows as they are: {_broke(tried.plain)}."
        findings.append(Finding(kind="robustness", subject="rows", grade="fails", sentence=sentence))
    for name in tried.families:
        broken = [effect for effect in tried.of(name) if effect.reply.crashed]
        if not broken:
            continue
        named = [f"{one.fault.column} {one.fault.how} ({_broke(one.reply)})" for one in broken[:_NAMED]]
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        sentence = (
            f"{FAMILIES[name].says} breaks the model: {', '.join(named)}{more}. It must answer such a row with a "
            f"finite score or refuse it. {FAMILIES[name].advice}"
        )
        details = {"columns": sorted({one.fault.column for one in broken}), "faults": len(broken)}
        findings.append(Finding(kind="robustness", subject=name, grade="fails", sentence=sentence, details=details))
    return findings


def _unnoticed(tried: Tried) -> list[Finding]:
    """Families whose faults cost much, provably, though most rows are answered as if nothing were wrong."""
    findings = []
    for name in tried.families:
        family = FAMILIES[name]
        if not (family.small or family.noticeable):
            continue
        known = [effect for effect in tried.of(name) if effect.measurable and effect.refused < _NOTICED]
        each = 1 - 0.05 / max(sum(one.measurable for one in tried.effects), 1)
        costly = [(lower, effect) for effect in known if (lower := _proven(effect, each)) > _least(family)]
        if costly:
            costly.sort(key=lambda pair: -float(pair[1].rise.mean()))
            findings.append(_unnoticed_finding(family, costly, tried.sample.task))
    return findings


def _least(family: Family) -> float:
    return _COSTLY_SMALL if family.small else _COSTLY


def _proven(effect: Effect, confidence: float) -> float:
    """What a fault costs at least; nothing where that cannot be told."""
    try:
        return effect.drop(confidence).lower
    except NotEnough:
        return 0.0


def _unnoticed_finding(family: Family, costly: Sequence[tuple[float, Effect]], task: Task) -> Finding:
    unit = "R²" if task is Task.REGRESSION else "skill"
    lower, first = costly[0]
    value = float(first.rise.mean())
    refused = "no row is refused" if first.refused == 0 else f"{first.refused:.0%} of the rows are refused"
    others = list(dict.fromkeys(one.fault.column for _, one in costly[1:]))
    others = [column for column in others if column != first.fault.column]
    also = f" Likewise: {', '.join(others[:_NAMED])}{_more(len(others) - _NAMED)}." if others else ""
    sentence = (
        f"{family.says} passes unnoticed: {first.fault.column} {first.fault.how} costs {_figure(value)} {unit} "
        f"(provably at least {_figure(lower)}), and {refused}.{also} {family.advice}"
    )
    details: dict[str, Any] = {
        "column": first.fault.column,
        "how": first.fault.how,
        "drop": value,
        "lower": lower,
        "refused": first.refused,
        "columns": [first.fault.column, *others],
    }
    return Finding(kind="robustness", subject=family.name, grade="suspects", sentence=sentence, details=details)


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _figure(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"


def _exhibit(tried: Tried) -> Exhibit:
    """One line per fault, the worst eight of each family."""
    lines: list[tuple[Any, ...]] = []
    for name in tried.families:
        effects = sorted(tried.of(name), key=_severity)
        lines += [_line(effect) for effect in effects[:_SHOWN]]
    names = (
        "fault", "column", "change", "refused", "nonfinite", "raised",
        "drop", "drop_lower", "drop_upper", "flips", "flips_lower", "flips_upper",
    )  # fmt: skip
    columns = {name: [line[place] for line in lines] for place, name in enumerate(names)}
    others = f"{', '.join(tried.left_out[:_LISTED])}{_more(len(tried.left_out) - _LISTED)}"
    left = f" Without faults of their own: {others}." if tried.left_out else ""
    note = (
        f"{len(tried.effects):,} faults on {tried.sample.n:,} rows; of each kind the worst {_SHOWN} are shown. Costs "
        f"are shares of the base rate's loss, over rows that are not refused.{left}"
    )
    return Exhibit(name="robustness", title="What faults in the input cost", columns=columns, note=note)


def _severity(effect: Effect) -> tuple[bool, float]:
    return not effect.reply.crashed, -float(effect.rise.mean()) if effect.n else 1.0


def _line(effect: Effect) -> tuple[Any, ...]:
    fault, reply = effect.fault, effect.reply
    drop = _bounds(effect, "drop") if effect.measurable else (None, None, None)
    flips = _bounds(effect, "flips") if effect.measurable else (None, None, None)
    raised = reply.raised and (f"{reply.raised} (refusal)" if reply.clean else reply.raised)
    column = fault.column if fault.column != EVERY else EVERY
    return (fault.family, column, fault.how, effect.refused, float(reply.broken.mean()), raised, *drop, *flips)


def _bounds(effect: Effect, what: str) -> tuple[float | None, float | None, float | None]:
    try:
        bounds = getattr(effect, what)(0.95)
    except NotEnough:
        value = float(effect.rise.mean()) if what == "drop" else None
        return value, None, None
    return bounds.value, bounds.lower, bounds.upper


def _lower(words: str) -> str:
    return words[0].lower() + words[1:]


def _after(reason: str) -> str:
    return reason if reason.startswith("needs") else f"cannot be measured: {reason}"
