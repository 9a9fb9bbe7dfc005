"""Infrastructure: the seven tests of the third section.

In: facts. Out: a ``Ruling`` each. A canary that is configured earns nothing; one that was carried out does.
"""

from __future__ import annotations

from roadworthy.measures.test_score.facts import Ruling, Tested, TestScoreFacts, bounded, earned, named, sound, unknown
from roadworthy.records.evidence import Phase
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.metric import MetricKind

__all__ = ["INFRA"]

_SAME = 1e-6
_WAY = ("collect", "clean", "features", "train", "validate", "package")


def _reproducible(facts: TestScoreFacts) -> Ruling:
    return bounded(
        facts,
        "irreproducibility",
        _SAME,
        good="two trainings with the same seed differ by {} in their scores",
        bad="two trainings with the same seed differ by {} in their scores",
        raises="give the training every seed and one thread",
        measure='irreproducibility = "<= 0.000001" in [standard], which makes `roadworthy run` train twice',
    )


def _specification(facts: TestScoreFacts) -> Ruling:
    if not facts.golden:
        return unknown(
            "no golden rows were answered by the packaged graph", "roadworthy run   # makes them and asks them"
        )
    return earned(
        "file:reference/golden.json", f"the packaged graph was audited and has answered {facts.golden} golden rows"
    )


def _integration(facts: TestScoreFacts) -> Ruling:
    left = [stage for stage in _WAY if stage not in facts.stages]
    if left or facts.measured("parity") is None:
        what = (
            f"the rows did not go through {named(left)}" if left else "the package was not compared with the training"
        )
        return unknown(what, "roadworthy run   # from raw rows to the package")
    evidence = ", ".join(f"stage:{stage}" for stage in _WAY)
    return earned(evidence, "raw rows went through every stage, and the package answered as the training framework did")


def _gate(facts: TestScoreFacts) -> Ruling:
    quality = [name for name in facts.required if CATALOGUE[name].kind is MetricKind.QUALITY]
    held = [name for name in quality if facts.measured(name) is not None]
    if not held:
        return unknown(
            "the standard bounds no quality that was measured", 'a bound such as accuracy = ">= 0.8" in [standard]'
        )
    evidence = ", ".join(f"measurement:{name}" for name in held[:3])
    return earned(
        evidence, f"a version becomes champion only where the bounds on {named(held)} are met on held-out rows"
    )


def _debuggable(facts: TestScoreFacts) -> Ruling:
    if not facts.traced:
        return unknown("no example was followed through the graph", "roadworthy trace ROW")
    return earned("file:model.onnx", f"one example was followed through {facts.traced} layers of the packaged graph")


def _canary(facts: TestScoreFacts) -> Ruling:
    live = [one.metric for one in facts.found.measurements if one.phase is Phase.ROLLOUT and sound(one)]
    if not live:
        return unknown("this version was not tried on a small share of live requests", "carry out a rollout in steps")
    return earned(f"measurement:{live[0]}", f"{named(sorted(set(live)))} was measured on a share of live requests")


def _rollback(_facts: TestScoreFacts) -> Ruling:
    return unknown("going back to an earlier version was not rehearsed", "rehearse a rollback")


INFRA: tuple[Tested, ...] = (
    Tested("Training gives the same model again", _reproducible),
    Tested("The model's specification is unit tested", _specification),
    Tested("The whole way from raw rows to the package is tested", _integration),
    Tested("Quality is proven before a model serves", _gate),
    Tested("One example can be followed step by step", _debuggable),
    Tested("A model serves a small share of requests before all", _canary),
    Tested("Serving can go back to an earlier model quickly and safely", _rollback),
)
"""In the paper's order."""
