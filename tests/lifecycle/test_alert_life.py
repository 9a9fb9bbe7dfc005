"""An alert's life: latched, with hysteresis, never resolved by what is missing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import UsageError
from roadworthy.lifecycle.alerts import life
from roadworthy.lifecycle.alerts.life import acknowledged, heard_as, reminder, resolved, step
from roadworthy.records.alert import Alert, AlertState, Notice, NoticeKind, Policy, Severity, Signal, Word

HOUR = 3_600_000_000
LATCHED = Policy()


def signal(
    word: Word, place: int, *, severity: Severity = Severity.TICKET, source: str = "", **evidence: Any
) -> Signal:
    return Signal(
        rule="accuracy_low",
        word=word,
        at_us=place * HOUR,
        source=source or f"1h/{place}",
        group="quality",
        sentence=f"accuracy is {evidence.get('value')}",
        severity=severity,
        evidence=evidence,
    )


def lived(words: list[Signal], policy: Policy = LATCHED) -> tuple[Alert | None, list[Notice]]:
    alert: Alert | None = None
    notices: list[Notice] = []
    for one in words:
        alert, due = step(alert, one, policy, one.at_us + 1, project="clicks")
        notices += due
    return alert, notices


def judged(values: list[float], bound: float, *, low_is_bad: bool) -> list[Signal]:
    """The signals of ``trigger = "observed"``: the plain value decides."""
    bad = [value < bound if low_is_bad else value > bound for value in values]
    return [
        signal(Word.ALARM if wrong else Word.CLEAR, place, value=value, bound=bound)
        for place, (value, wrong) in enumerate(zip(values, bad, strict=True), start=1)
    ]


def alive(alert: Alert | None) -> Alert:
    assert alert is not None
    return alert


def test_accuracy_under_the_bound_fires_and_stays_latched_when_the_next_window_is_good() -> None:
    alert, notices = lived(judged([0.85, 0.79, 0.91], 0.80, low_is_bad=True))
    assert alive(alert).state is AlertState.FIRING
    assert [one.kind for one in notices] == [NoticeKind.FIRED]
    assert alive(alert).worst.evidence["value"] == 0.79
    assert (alive(alert).heard, alive(alert).clear_in_row) == (Word.CLEAR, 1)


def test_latencies_around_the_bound_leave_the_alert_on() -> None:
    alert, notices = lived(judged([90, 110, 95, 105], 100, low_is_bad=False))
    assert alive(alert).state is AlertState.FIRING
    assert len(notices) == 1
    assert (alive(alert).alarms, alive(alert).worst.evidence["value"]) == (2, 110)


def test_a_falling_accuracy_alerts() -> None:
    alert, _ = lived(judged([0.95, 0.94, 0.92, 0.85, 0.80], 0.90, low_is_bad=True))
    found = alive(alert)
    assert found.state is AlertState.FIRING
    assert [one.evidence["value"] for one in (found.first, found.worst, found.last)] == [0.85, 0.80, 0.80]


def test_a_later_better_alarm_does_not_hide_the_worst_one() -> None:
    alert, _ = lived(judged([0.70, 0.50, 0.79, 0.95], 0.80, low_is_bad=True))
    found = alive(alert)
    assert [one.evidence["value"] for one in (found.first, found.worst, found.last)] == [0.70, 0.50, 0.79]


def test_so_many_clear_windows_resolve_where_the_policy_says_so() -> None:
    policy = Policy(resolve_after=2)
    words = [signal(Word.ALARM, 1), signal(Word.CLEAR, 2), signal(Word.ALARM, 3), signal(Word.CLEAR, 4)]
    alert, _ = lived([*words, signal(Word.UNKNOWN, 5), signal(Word.BROKEN, 6)], policy)
    assert alive(alert).state is AlertState.FIRING, "an alarm ends the row, and no data is no step of it"
    told = msgspec.structs.replace(alive(alert), told=1)
    over, notices = step(told, signal(Word.CLEAR, 7), policy, 0)
    assert alive(over).state is AlertState.RESOLVED
    assert alive(over).reason == "2 clear windows since the last alarm"
    assert [one.kind for one in notices] == [NoticeKind.RESOLVED]


def test_an_alarm_after_the_end_is_another_alert() -> None:
    alert, _ = lived([signal(Word.ALARM, 1)])
    over, _ = resolved(alive(alert), "ann", "labels were wrong", 5)
    again, notices = step(over, signal(Word.ALARM, 2), LATCHED, 6)
    assert alive(again).state is AlertState.FIRING
    assert (alive(again).number, alive(again).first.source, alive(again).project) == (0, "1h/2", "clicks")
    assert [one.kind for one in notices] == [NoticeKind.FIRED]


def test_labels_that_come_late_for_a_window_that_was_resolved_open_no_other_alert() -> None:
    alert, _ = lived([signal(Word.ALARM, 5, value=0.7, bound=0.8)])
    over, _ = resolved(alive(alert), "ann", "known", 5)
    again, notices = step(over, signal(Word.ALARM, 5, source="1h/5.1", value=0.6, bound=0.8), LATCHED, 6)
    assert alive(again).state is AlertState.RESOLVED
    assert (alive(again).alarms, alive(again).worst.evidence["value"], notices) == (2, 0.6, ())


def test_late_labels_of_a_window_after_the_last_alarm_fire_anew_where_only_the_policy_resolved() -> None:
    words = [signal(Word.ALARM, 1), signal(Word.CLEAR, 2), signal(Word.CLEAR, 3)]
    over, _ = lived(words, Policy(resolve_after=2))
    assert alive(over).state is AlertState.RESOLVED
    again, notices = step(over, signal(Word.ALARM, 2, source="1h/2.1"), LATCHED, 6)
    assert alive(again).state is AlertState.FIRING
    assert len(notices) == 1


def test_labels_that_come_after_a_person_mended_it_are_evidence_of_what_was_mended() -> None:
    """Labels are a day late: what was bad before the repair goes on coming in after it."""
    words = [signal(Word.UNKNOWN, 1), signal(Word.UNKNOWN, 2), signal(Word.ALARM, 1, source="1h/1.1")]
    alert, _ = lived([*words, signal(Word.UNKNOWN, 3)])
    over, _ = resolved(alive(alert), "ann", "mended", 5)
    for place in (2, 3):
        over_, notices = step(over, signal(Word.ALARM, place, source=f"1h/{place}.1"), LATCHED, 6)
        assert (alive(over_).state, notices) == (AlertState.RESOLVED, ())
    again, notices = step(over, signal(Word.ALARM, 4, source="1h/4.1"), LATCHED, 7)
    assert (alive(again).state, len(notices)) == (AlertState.FIRING, 1)


def test_clear_windows_count_though_their_labels_come_a_day_late() -> None:
    policy = Policy(resolve_after=2)
    alert, _ = lived([signal(Word.ALARM, 1), *(signal(Word.UNKNOWN, place) for place in range(2, 25))], policy)
    for place in (2, 2, 3):
        assert alive(alert).state is AlertState.FIRING
        alert, _ = step(alert, signal(Word.CLEAR, place, source=f"1h/{place}.1"), policy, 30)
        alert, _ = step(alert, signal(Word.UNKNOWN, 23 + place), policy, 30)
    assert alive(alert).state is AlertState.RESOLVED


def test_a_clear_revision_of_an_old_window_is_no_step_towards_the_end() -> None:
    policy = Policy(resolve_after=1)
    alert, _ = lived([signal(Word.ALARM, 5), signal(Word.CLEAR, 4, source="1h/4.1")], policy)
    assert (alive(alert).state, alive(alert).clear_in_row) == (AlertState.FIRING, 0)
    alert, _ = lived([signal(Word.ALARM, 5), signal(Word.CLEAR, 5, source="1h/5.1")], policy)
    assert alive(alert).state is AlertState.FIRING


def test_pending_waits_for_as_many_windows_as_the_policy_says() -> None:
    policy = Policy(hold=2)
    words = [signal(Word.ALARM, place) for place in (1, 2)]
    alert, notices = lived(words, policy)
    assert (alive(alert).state, notices) == (AlertState.PENDING, [])
    fired, due = step(alert, signal(Word.ALARM, 3), policy, 9)
    assert (alive(fired).state, len(due)) == (AlertState.FIRING, 1)
    cleared, due = step(alert, signal(Word.CLEAR, 3), policy, 9)
    assert (alive(cleared).state, due) == (AlertState.RESOLVED, ())
    waiting, _ = step(alert, signal(Word.UNKNOWN, 3), policy, 9)
    assert alive(waiting).state is AlertState.PENDING


def test_a_check_that_broke_is_an_alarm_of_its_own_and_says_nothing_of_its_rule() -> None:
    own = msgspec.structs.replace(signal(Word.BROKEN, 1), group="monitor", rule="check:ks:age")
    assert [(one.rule, one.word) for one in heard_as(own)] == [("check:ks:age", Word.ALARM)]
    of_rule, of_check = heard_as(signal(Word.BROKEN, 1))
    assert (of_rule.rule, of_rule.word) == ("accuracy_low", Word.UNKNOWN)
    assert (of_check.rule, of_check.word, of_check.group) == ("broken:accuracy_low", Word.ALARM, "monitor")
    assert [heard_as(signal(word, 1))[1].word for word in (Word.ALARM, Word.CLEAR, Word.UNKNOWN)] == [
        Word.CLEAR,
        Word.CLEAR,
        Word.UNKNOWN,
    ]


def test_somebody_takes_it_and_a_greater_severity_makes_it_fire_again() -> None:
    alert, _ = lived([signal(Word.ALARM, 1)])
    taken = acknowledged(alive(alert), "ann", "", 2)
    same, notices = step(taken, signal(Word.ALARM, 2), LATCHED, 3)
    assert (alive(same).state, alive(same).by, notices) == (AlertState.ACKNOWLEDGED, "ann", ())
    worse, notices = step(same, signal(Word.ALARM, 3, severity=Severity.PAGE), LATCHED, 4)
    assert (alive(worse).state, alive(worse).by) == (AlertState.FIRING, "")
    assert [one.kind for one in notices] == [NoticeKind.WORSE]
    over, _ = resolved(alive(worse), "ann", "mended", 5)
    for call in (lambda: acknowledged(over, "bob", "", 6), lambda: resolved(over, "bob", "again", 6)):
        with pytest.raises(UsageError, match="resolved already: mended"):
            call()


def test_reminders_while_it_fires_and_nobody_has_taken_it() -> None:
    alert = msgspec.structs.replace(alive(lived([signal(Word.ALARM, 1)])[0]), told=1, told_us=10 * HOUR)
    policy = Policy(repeat_us=4 * HOUR)
    assert reminder(alert, policy, 14 * HOUR - 1) == ()
    assert [one.kind for one in reminder(alert, policy, 14 * HOUR)] == [NoticeKind.REMINDER]
    assert reminder(alert, Policy(repeat_us=0), 99 * HOUR) == ()
    assert reminder(acknowledged(alert, "ann", "", 0), policy, 99 * HOUR) == ()
    assert reminder(alert, Policy(least=Severity.PAGE), 99 * HOUR) == ()
    muted = msgspec.structs.replace(alert, told=0, muted=True)
    assert [one.kind for one in reminder(muted, policy, 10 * HOUR)] == [NoticeKind.FIRED]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"value": 0.79, "bound": 0.8}, {"value": 0.7, "bound": 0.8}),
        ({"value": 105, "bound": 100}, {"value": 110, "bound": 100}),
        ({"effect": 0.1, "p": 1e-20}, {"effect": 0.2, "p": 1e-9}),
        ({"p": 1e-8}, {"p": 0.0}),
        ({}, {"p": 1e-8}),
        ({"value": float("nan"), "bound": 0.8}, {"value": 0.7, "bound": 0.8}),
    ],
    ids=["value falls", "value rises", "effect before p", "p of zero", "nothing said", "no number"],
)
def test_what_counts_as_worse(better: dict[str, Any], worse: dict[str, Any]) -> None:
    assert life.badness(better) < life.badness(worse)


words = st.sampled_from([Word.ALARM, Word.CLEAR, Word.UNKNOWN])
policies = st.builds(
    Policy, hold=st.integers(0, 3), resolve_after=st.integers(0, 3), least=st.sampled_from(list(Severity))
)
streams = st.lists(
    st.builds(
        signal,
        words,
        st.integers(0, 12),
        severity=st.sampled_from(list(Severity)),
        source=st.sampled_from(["", "late/1", "late/2"]),
        value=st.floats(0, 1),
        bound=st.just(1.5),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(stream=streams, policy=policies)
def test_law_a_change_to_firing_gives_one_notice_and_firing_is_never_pending_again(
    stream: list[Signal], policy: Policy
) -> None:
    alert: Alert | None = None
    for one in stream:
        after, notices = step(alert, one, policy, one.at_us, project="clicks")
        fires = [notice for notice in notices if notice.kind in {NoticeKind.FIRED, NoticeKind.WORSE}]
        began = after is not None and after.state is AlertState.FIRING
        fired_before = alert is not None and alert.state is AlertState.FIRING
        if began and not fired_before:
            assert len(fires) == 1
        if fires:
            assert began
        if fired_before:
            assert alive(after).state in {AlertState.FIRING, AlertState.RESOLVED}
        if alert is not None and alert.state is AlertState.RESOLVED and one.word is not Word.ALARM:
            assert after == alert
        alert = after


@settings(max_examples=200, deadline=None)
@given(stream=streams, quiet=st.lists(st.sampled_from([Word.CLEAR, Word.UNKNOWN]), max_size=20), taken=st.booleans())
def test_law_without_hysteresis_nothing_but_a_person_resolves(
    stream: list[Signal], quiet: list[Word], *, taken: bool
) -> None:
    alert, _ = lived([signal(Word.ALARM, 0), *stream])
    before = acknowledged(alive(alert), "ann", "", 1) if taken else alive(alert)
    after: Alert | None = before
    for place, word in enumerate(quiet):
        after, notices = step(after, signal(word, 20 + place), LATCHED, 20)
        assert notices == ()
    assert alive(after).state is before.state
    assert (alive(after).first, alive(after).worst, alive(after).last) == (before.first, before.worst, before.last)


@settings(max_examples=100, deadline=None)
@given(stream=streams, policy=policies, quiet=st.integers(1, 30))
def test_law_missing_data_alone_never_resolves(stream: list[Signal], policy: Policy, quiet: int) -> None:
    alert, _ = lived([signal(Word.ALARM, 0), *stream], policy)
    before = alive(alert)
    for place in range(quiet):
        alert, _ = step(alert, signal(Word.UNKNOWN, 20 + place), policy, 20)
    assert alive(alert).state is before.state


@settings(max_examples=200, deadline=None)
@given(stream=streams, policy=policies)
def test_law_the_same_signal_again_changes_nothing(stream: list[Signal], policy: Policy) -> None:
    alert: Alert | None = None
    for one in stream:
        alert, _ = step(alert, one, policy, one.at_us, project="clicks")
        again, notices = step(alert, one, policy, one.at_us, project="clicks")
        assert again == alert
        assert notices == ()


@settings(max_examples=100, deadline=None)
@given(stream=streams)
def test_law_the_worst_never_gets_better(stream: list[Signal]) -> None:
    alert, _ = lived([signal(Word.ALARM, 0, value=1.0, bound=1.5)])
    for one in stream:
        after, _ = step(alert, one, LATCHED, one.at_us)
        assert life.badness(alive(after).worst.evidence) >= life.badness(alive(alert).worst.evidence)
        assert alive(after).alarms >= alive(alert).alarms
        alert = after
