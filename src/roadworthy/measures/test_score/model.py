"""Model development: the seven tests of the second section.

In: facts. Out: a ``Ruling`` each.
"""

from __future__ import annotations

from roadworthy.measures.test_score.facts import Ruling, Tested, TestScoreFacts, earned, named, refuted, sound, unknown
from roadworthy.records.evidence import Phase
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.metric import MetricKind

__all__ = ["MODEL"]

_FAIRNESS = "protected"
_SLICES = "weak_slices"
_ALIKE = {"linear": ("logistic", "linear"), "tree": ("tree",), "constant": ("constant",)}
"""Stand-ins of the inspection, and the candidates that are of their kind."""


def _offline_online(facts: TestScoreFacts) -> Ruling:
    both = sorted(
        {
            one.metric
            for one in facts.found.measurements
            if one.phase is not Phase.RELEASE
            and CATALOGUE[one.metric].kind is MetricKind.QUALITY
            and sound(one)
            and facts.measured(one.metric) is not None
        }
    )
    if not both:
        return unknown(
            "no quality was measured both on held-out rows and on live ones",
            "measure a release's quality on live requests beside the holdout's",
        )
    return earned(f"measurement:{both[0]}", f"{named(both)} was measured on held-out rows and on live ones")


def _tuned(facts: TestScoreFacts) -> Ruling:
    if facts.trials < 2:
        return unknown("no settings but the defaults were tried", 'tune = "20 trials" in [training]')
    return earned("stage:train", f"{facts.trials} settings of {facts.chosen} were tried by cross-validation")


def _staleness(facts: TestScoreFacts) -> Ruling:
    aged = facts.measured("staleness")
    if aged is None or aged.value is None:
        return unknown(
            facts.why("staleness", "how a model ages was not measured"),
            'time in [data], and staleness = "<= 0.05" in [standard], which makes `roadworthy run` measure it',
        )
    return earned("measurement:staleness", f"over the time that the rows span, a model loses {aged.value:.3g} of skill")


def _not_simpler(facts: TestScoreFacts) -> Ruling:
    measure = "name at least two candidates in [training], a simple one among them"
    open_ = ""
    for one in facts.findings("simpler_model"):
        as_good = one.details.get("as_good") or _ALIKE.get(one.details.get("stand_in", ""), ())
        if facts.chosen and facts.chosen in as_good:
            continue
        if one.grade == "notes" and "stand_in" in one.details:
            open_ = one.sentence  # a stand-in of the inspection's own, as good as far as these rows can tell
            continue
        return refuted(f"finding:{one.kind}:{one.subject}", one.sentence, "take the simpler model: it does as well")
    if open_:
        return unknown(open_, "bring more labelled rows, or take the simpler model")
    if len(facts.compared) < 2 or not facts.chosen:
        return unknown("no simpler model was trained beside it", measure)
    others = [name for name in facts.compared if name != facts.chosen]
    return earned(
        "stage:validate", f"{facts.chosen} was compared with {named(others)}, and none that is simpler is as good"
    )


def _slices(facts: TestScoreFacts) -> Ruling:
    weak = facts.measured(_SLICES)
    if weak is None or weak.value is None:
        return unknown(
            facts.why(_SLICES, "no weak group of rows was looked for"),
            "roadworthy run, or `roadworthy inspect` with more labelled rows",
        )
    if weak.value > 0:
        named_in = [f"finding:{one.kind}:{one.subject}" for one in facts.findings("weak_slice")]
        evidence = ", ".join([f"measurement:{_SLICES}", *named_in[:2]])
        return refuted(evidence, f"{weak.value:.0f} groups of rows are provably worse", "gather rows of these groups")
    return earned(f"measurement:{_SLICES}", f"the search over {weak.n:,} rows found no group that is provably worse")


def _inclusion(facts: TestScoreFacts) -> Ruling:
    about = [
        one for one in facts.found.measurements if one.metric in CATALOGUE and CATALOGUE[one.metric].cut == _FAIRNESS
    ]
    compared = {one.slice.partition("=")[2] for one in about if one.slice and sound(one)}
    protected = facts.spec.data.protected if facts.spec is not None else ()
    left = [name for name in protected if name not in compared]
    if not compared or left:
        tried = next((one.error or one.insufficient for one in about if not sound(one)), "")
        what = f"the groups of {named(left)} were not compared" if left else "no groups of people were compared"
        what += f": {tried}" if tried else ""
        raises = (
            "bring more labelled rows of each group"
            if left
            else "name the columns of such groups under protected in [data]"
        )
        return unknown(what, raises)
    metrics = sorted({one.metric for one in about if sound(one)})
    columns = sorted(compared)
    return earned(f"measurement:{metrics[0]}", f"the groups of {named(columns)} were compared by {named(metrics)}")


MODEL: tuple[Tested, ...] = (
    Tested("The model's specification was reviewed by another person", None),
    Tested("Quality on held-out rows goes with quality in use", _offline_online),
    Tested("All settings of the training were tuned", _tuned),
    Tested("What a stale model costs is known", _staleness),
    Tested("No simpler model is as good", _not_simpler),
    Tested("Quality suffices on every important group of rows", _slices),
    Tested("The model was tested for fairness between groups of people", _inclusion),
)
"""In the paper's order."""
