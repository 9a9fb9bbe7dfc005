"""``judge``: its laws as properties, its verdicts as examples."""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Evidence, Measurement
from roadworthy.records.project import Task
from roadworthy.records.verdict import Outcome, Readiness, Waiver
from roadworthy.standard import CATALOGUE, Requirement, Standard, Trigger, judge
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.metric import Direction

RANK = {Outcome.ERROR: 0, Outcome.FAIL: 1, Outcome.INSUFFICIENT: 2, Outcome.PASS: 3}
ratios = st.floats(0, 1)


def standard_of(*requirements: Requirement) -> Standard:
    return Standard(preset="none", requirements=requirements)


def evidence_of(*measurements: Measurement) -> Evidence:
    return Evidence(subject="sha256:s", holdout="sha256:h", measurements=measurements)


def measured(lower: float, value: float, upper: float, metric: str = "accuracy", **more: object) -> Measurement:
    return Measurement(metric=metric, value=value, lower=lower, upper=upper, n=100, **more)  # type: ignore[arg-type]


ACCURACY = Requirement(metric="accuracy", at_least=0.8)


@given(st.lists(ratios, min_size=3, max_size=3), ratios, st.floats(0, 0.5), st.sampled_from(list(Trigger)))
def test_better_evidence_never_gets_a_worse_outcome(
    points: list[float], bound: float, shift: float, trigger: Trigger
) -> None:
    lower, value, upper = sorted(points)
    up = Requirement(metric="accuracy", at_least=bound, trigger=trigger)
    before = judge_requirement(up, [measured(lower, value, upper)])
    after = judge_requirement(up, [measured(lower + shift, value + shift, upper + shift)])
    assert RANK[after.outcome] >= RANK[before.outcome]
    down = Requirement(metric="log_loss", at_most=bound, trigger=trigger)
    before = judge_requirement(down, [measured(lower, value, upper, "log_loss")])
    after = judge_requirement(down, [measured(lower - shift, value - shift, upper - shift, "log_loss")])
    assert RANK[after.outcome] >= RANK[before.outcome]


@given(
    st.sampled_from(
        [
            (),
            (Measurement(metric="accuracy", error="it broke"),),
            (Measurement(metric="accuracy", insufficient="too few rows"),),
            (Measurement(metric="accuracy", value=0.99, n=10),),
            (measured(0.9, float("nan"), 1.0),),
            (measured(float("nan"), 0.95, 1.0),),
            (measured(0.9, 0.95, 1.0, confidence=0.5),),
            (measured(0.9, 0.95, 1.0, slice="device=a"),),
            (measured(0.9, 0.95, 1.0), Measurement(metric="accuracy", error="it broke")),
        ]
    )
)
def test_absence_of_evidence_never_passes(measurements: tuple[Measurement, ...]) -> None:
    verdict = judge(standard_of(ACCURACY), evidence_of(*measurements))
    assert verdict.readiness is not Readiness.READY
    assert verdict.exit_code != 0


def test_a_standard_that_requires_nothing_proves_nothing() -> None:
    assert judge(standard_of(), evidence_of(measured(0.9, 0.95, 1.0))).readiness is Readiness.NOT_PROVEN


def test_the_interval_decides_not_the_point() -> None:
    for lower, upper, outcome in (
        (0.81, 0.9, Outcome.PASS),
        (0.7, 0.9, Outcome.INSUFFICIENT),
        (0.6, 0.79, Outcome.FAIL),
    ):
        assert judge_requirement(ACCURACY, [measured(lower, (lower + upper) / 2, upper)]).outcome is outcome


def test_observed_trigger_lets_the_value_decide() -> None:
    observed = Requirement(metric="accuracy", at_least=0.8, trigger=Trigger.OBSERVED)
    assert judge_requirement(observed, [measured(0.5, 0.81, 0.9)]).outcome is Outcome.PASS
    assert judge_requirement(observed, [measured(0.5, 0.79, 0.9)]).outcome is Outcome.FAIL


def test_insufficient_says_how_many_rows_would_settle_it() -> None:
    verdict = judge_requirement(ACCURACY, [measured(0.76, 0.82, 0.88)])
    assert abs(verdict.rows_needed - 800) <= 1  # the half-width 0.06 must shrink threefold: nine times the rows


def test_every_slice_must_meet_the_bound() -> None:
    by_device = Requirement(metric="recall", at_least=0.7, slice="device")
    good = measured(0.8, 0.85, 0.9, "recall", slice="device=phone")
    bad = measured(0.4, 0.5, 0.6, "recall", slice="device=tablet")
    verdict = judge_requirement(by_device, [good, bad])
    assert verdict.outcome is Outcome.FAIL
    assert verdict.measurement is not None
    assert verdict.measurement.slice == "device=tablet"


def test_a_waiver_counts_until_it_expires_and_never_hides_a_broken_check() -> None:
    waiver = Waiver(requirement=ACCURACY.line(), person="Ada", reason="pilot", expires="2026-12-01")
    failing = evidence_of(measured(0.5, 0.6, 0.7))
    before = judge(standard_of(ACCURACY), failing, waivers=[waiver], today=date(2026, 12, 1))
    after = judge(standard_of(ACCURACY), failing, waivers=[waiver], today=date(2026, 12, 2))
    broken = judge(
        standard_of(ACCURACY),
        evidence_of(Measurement(metric="accuracy", error="boom")),
        waivers=[waiver],
        today=date(2026, 12, 1),
    )
    assert before.readiness is Readiness.READY
    assert before.requirements[0].outcome is Outcome.WAIVED
    assert after.readiness is Readiness.NOT_READY
    assert broken.readiness is Readiness.NOT_READY


SAID = ("too few rows", "It needs 40 rows.", "is this known?", "none at all!", "runs/1 (see above)")


@pytest.mark.parametrize("words", SAID)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_sentence_is_ended_once_whatever_others_said(outcome: Outcome, words: str) -> None:
    told = {
        Outcome.PASS: (measured(0.85, 0.9, 0.95, reason=words),),
        Outcome.FAIL: (measured(0.5, 0.6, 0.7, reason=words),),
        Outcome.INSUFFICIENT: (Measurement(metric="accuracy", insufficient=words),),
        Outcome.ERROR: (Measurement(metric="accuracy", error=words),),
        Outcome.WAIVED: (measured(0.5, 0.6, 0.7),),
    }
    waivers = [Waiver(requirement=ACCURACY.line(), person="Ada", reason=words, expires="2026-12-01")]
    verdict = judge(
        standard_of(ACCURACY),
        evidence_of(*told[outcome]),
        waivers=waivers if outcome is Outcome.WAIVED else (),
        today=date(2026, 12, 1),
    )
    (one,) = verdict.requirements
    assert one.outcome is outcome
    for sentence in (one.sentence, verdict.sentence):
        assert sentence.endswith((".", "?", "!"))
        assert not re.search(r"[.?!]\.", sentence)
    ended = words if words.endswith((".", "?", "!")) else f"{words}."
    assert f"{ended} With 95 %" in one.sentence or one.sentence.endswith(ended)


def test_the_sentence_of_a_slice_ends_before_the_count_of_the_others() -> None:
    by_device = Requirement(metric="recall", at_least=0.7, slice="device")
    few = Measurement(metric="recall", slice="device=tv", insufficient="it has 3 events, needs 20")
    verdict = judge_requirement(by_device, [few, measured(0.8, 0.85, 0.9, "recall", slice="device=phone")])
    assert verdict.sentence.endswith("needs 20. (1 of 2 slices: insufficient.)")


def test_readiness_and_exit_codes() -> None:
    two = standard_of(ACCURACY, Requirement(metric="recall", at_least=0.5))
    good = measured(0.9, 0.95, 1.0)
    open_recall = measured(0.4, 0.6, 0.8, "recall")
    assert judge(two, evidence_of(good, measured(0.6, 0.7, 0.8, "recall"))).exit_code == 0
    assert judge(two, evidence_of(good, open_recall)).exit_code == 3
    assert judge(two, evidence_of(measured(0.1, 0.2, 0.3), open_recall)).exit_code == 1


def test_an_exact_figure_holds_at_any_confidence() -> None:
    for metric, value, bound in (("size", 4e6, 5e6), ("leaks", 0.0, 0.0), ("decision_flips", 0.0, 0.001)):
        required = Requirement(metric=metric, at_most=bound, confidence=0.99)
        assert judge_requirement(required, [measured(value, value, value, metric)]).outcome is Outcome.PASS
        over = bound + 1
        assert judge_requirement(required, [measured(over, over, over, metric)]).outcome is Outcome.FAIL
    sampled = Requirement(metric="accuracy", at_least=0.8, confidence=0.99)
    verdict = judge_requirement(sampled, [measured(0.85, 0.9, 0.95)])
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "holds at 95 %, required are 99 %" in verdict.sentence


def test_rounding_never_contradicts_the_verdict() -> None:
    missed = judge_requirement(ACCURACY, [measured(0.7, 0.75, 0.79998)])
    assert missed.outcome is Outcome.FAIL
    assert "it is at most 0.79998, which rules out >= 0.8" in missed.sentence
    opened = judge_requirement(ACCURACY, [measured(0.799998, 0.79999, 0.81)])
    assert "accuracy is 0.79999 over" in opened.sentence
    assert "from 0.799998 to 0.81" in opened.sentence
    parity = judge_requirement(
        Requirement(metric="parity", at_most=1e-5), [measured(1.0004e-5, 1.0004e-5, 1.0004e-5, "parity")]
    )
    assert parity.sentence.startswith("parity is 1.0004e-05")


def test_a_share_names_the_rows_that_it_is_counted_over() -> None:
    required = Requirement(metric="recall", at_least=0.7)
    verdict = judge_requirement(required, [measured(0.8, 0.9, 0.95, "recall", among=52)])
    assert verdict.sentence.startswith("recall is 0.9 over 52 events in 100 rows.")


def test_a_requirement_has_one_bound() -> None:
    with pytest.raises(ValueError, match="both at_least and at_most"):
        Requirement(metric="accuracy", at_least=0.8, at_most=0.9)
    with pytest.raises(ValueError, match="no bound"):
        Requirement(metric="accuracy")


def test_a_line_says_the_bound_and_no_other() -> None:
    assert Requirement(metric="accuracy", at_least=0.80004).line() == "accuracy >= 0.80004"
    assert Requirement(metric="size", at_most=5 * 2**20).line() == "size <= 5.24288 MB"


@pytest.mark.parametrize("events", [0.5, 0.1])
def test_a_model_exactly_at_the_bound_seldom_passes(events: float) -> None:
    # 200 holdouts of 400 rows: 5 % of them is 10, and 21 are exceeded once in a thousand by chance
    rng = np.random.default_rng(3)

    def draw(n: int) -> Sample:
        y = (rng.random(n) < events).astype(np.int64)
        score = 1 / (1 + np.exp(-(2 * rng.normal(size=n) + 3 * y - 1.5)))
        return Sample(task=Task.BINARY, y=y, score=score, threshold=0.5, reference=(1 - events, events))

    names = ("accuracy", "balanced_accuracy", "recall", "f05", "f2", "mcc", "macro_f1", "log_loss", "brier", "lift")
    big = draw(1_000_000)
    truth = {name: measure(name, big).value or 0.0 for name in names}
    passed, failed = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for _ in range(200):
        sample = draw(400)
        for name, value in truth.items():
            up = CATALOGUE[name].direction is Direction.UP
            at = Requirement(metric=name, at_least=value) if up else Requirement(metric=name, at_most=value)
            outcome = judge_requirement(at, [measure(name, sample)]).outcome
            passed[name] += outcome is Outcome.PASS
            failed[name] += outcome is Outcome.FAIL
    assert {name: count for name, count in passed.items() if count > 21} == {}
    assert {name: count for name, count in failed.items() if count > 21} == {}
    assert all(count > 0 for count in passed.values()), "bounds that nothing ever clears would say nothing"
