"""Monitoring: the seven tests of the fourth section.

In: facts. Out: a ``Ruling`` each. An alert rule counts once it stands in the bundle, with what it compares with.
"""

from __future__ import annotations

from roadworthy.measures.test_score.facts import Ruling, Tested, TestScoreFacts, earned, named, refuted, unknown
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.metric import MetricKind

__all__ = ["MONITOR"]

_PLAN = "file:monitor.json"
_SPEED = ("latency_p50", "latency_p95", "latency_p99", "throughput")


def _dependencies(_facts: TestScoreFacts) -> Ruling:
    return unknown("no change of a source or a library was rehearsed", "rehearse a change of the source's columns")


def _invariants(facts: TestScoreFacts) -> Ruling:
    if "quarantined_share" not in facts.rules:
        return unknown(
            "no alert watches how many live rows break the contract",
            'quarantined_share = "<= 5 %" in [standard], live phase included',
        )
    return earned(_PLAN, "an alert fires where too many live rows break the contract")


def _skew(facts: TestScoreFacts) -> Ruling:
    skewed = [name for name in facts.rules if name in {"outside_support", "drift"}]
    if not skewed or not facts.reference:
        return unknown(
            "no alert compares live rows with those of the training", "rehearse rows of another distribution"
        )
    return earned(
        f"{_PLAN}, file:{facts.reference[0]}", f"an alert on {named(skewed)} compares live rows with the training's"
    )


def _age(facts: TestScoreFacts) -> Ruling:
    if "staleness" not in facts.rules:
        return unknown("no alert tells that a model has become too old", "rehearse a model that has become too old")
    return earned(_PLAN, "an alert fires where the model has become too old")


def _stable(facts: TestScoreFacts) -> Ruling:
    crashes = facts.measured("crashes")
    if crashes is None or crashes.value is None:
        return unknown(
            facts.why("crashes", "nobody tried whether the model stays finite on bad input"),
            "roadworthy inspect MODEL DATA --target COLUMN",
        )
    if crashes.value > 0:
        return refuted(
            "measurement:crashes",
            f"{crashes.value:.0f} kinds of bad input get no finite answer",
            crashes.reason or "refuse such rows by the contract",
        )
    return earned("measurement:crashes", "no kind of bad input crashed the model or got an answer that is not finite")


def _speed(facts: TestScoreFacts) -> Ruling:
    watched = [name for name in _SPEED if name in facts.rules and facts.measured(name) is not None]
    if not watched:
        return unknown("no alert watches how fast requests are answered", 'latency_p99 = "<= 50 ms" in [standard]')
    return earned(
        f"{_PLAN}, measurement:{watched[0]}", f"an alert watches {named(watched)}, beside what the release measured"
    )


def _quality(facts: TestScoreFacts) -> Ruling:
    quality = [name for name in facts.rules if CATALOGUE[name].kind is MetricKind.QUALITY]
    watched = [name for name in dict.fromkeys(quality) if facts.measured(name) is not None]
    if not watched:
        return unknown(
            "no alert watches the quality of live answers", 'a bound such as accuracy = ">= 0.8" in [standard]'
        )
    return earned(
        f"{_PLAN}, measurement:{watched[0]}", f"an alert watches {named(watched)} beside what the release measured"
    )


MONITOR: tuple[Tested, ...] = (
    Tested("A change of what the model depends on is noticed", _dependencies),
    Tested("Live inputs are held to what is expected of them", _invariants),
    Tested("Training and serving see the same", _skew),
    Tested("No model in service is too old", _age),
    Tested("The model is numerically stable", _stable),
    Tested("Speed and resources have not become worse", _speed),
    Tested("Quality on live requests has not become worse", _quality),
)
"""In the paper's order."""
