"""Which changes call a person: within the level and above the floor; and what is said of the others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roadworthy.measures.alarms.budget import Allotment, Family, allot, parse_budget
from roadworthy.measures.alarms.deciding import FLOORS, Compared, Outcome, data_signals, members_of, named, rulings
from roadworthy.measures.alarms.scales import Block, blocks_ending_at
from roadworthy.measures.drift import by_chance
from roadworthy.records.alert import Signal, Word
from roadworthy.records.shift import Shift, ShiftKind

HOUR = 3600.0
BUDGET = parse_budget("1 per 30 days")


def shift(subject: str, p: float | None, effect: float = 0.5, kind: ShiftKind = ShiftKind.DISTRIBUTION) -> Shift:
    why = "" if p is not None else "only 3 rows"
    return Shift(
        subject=subject, kind=kind, p=p, effect=effect, n=900, sentence=f"`{subject}` moved.", insufficient=why
    )


def look(*shifts: Shift, scale: int = 0, last: int = 63) -> Compared:
    block = Block(scale=scale, first=last + 1 - 2**scale, last=last)
    return Compared(block=block, seconds=HOUR * 2**scale, shifts=shifts)


def allotted(shifts: tuple[Shift, ...], scales: int = 8) -> Allotment:
    return allot(BUDGET, members_of(shifts), window_s=HOUR, scales=scales)


def signals(*looks: Compared, standing: dict[str, int] | None = None) -> dict[str, Signal]:
    decided = rulings(looks, allotted(looks[0].shifts))
    return {one.rule: one for one in data_signals(decided, at_us=5, source="1h/63", standing=standing)}


def test_an_alarm_needs_proof_and_size() -> None:
    found = signals(
        look(
            shift("score", 1e-9, 0.01),
            shift("device", 1e-9, 0.4),
            shift("age", 1e-9, 0.01),
            shift("city", 0.3),
            shift("age", 1e-9, 0.3, ShiftKind.MISSING),
            shift("city", 0.2, 0.3, ShiftKind.MISSING),
        )
    )
    assert set(found) == {"drift:score", "drift:columns", "missing:age", "missing:city"}
    assert found["drift:score"].word is Word.CLEAR
    assert "too little to call anybody: `score` moved." in found["drift:score"].sentence
    assert found["drift:columns"].word is Word.ALARM
    assert found["drift:columns"].sentence == "`device` moved. Seen in this window alone."
    assert [one["subject"] for one in found["drift:columns"].evidence["changed"]] == ["device"]
    assert [one["subject"] for one in found["drift:columns"].evidence["too_small"]] == ["age"]
    assert "`device`" in found["drift:columns"].look_first
    assert found["missing:age"].word is Word.ALARM
    assert found["missing:city"].word is Word.CLEAR
    for one in found.values():
        assert (one.source, one.at_us, one.group) == ("1h/63", 5, "data")
        json.dumps(one.evidence)


def test_a_longer_look_finds_what_no_window_shows_and_keeps_its_alert_open() -> None:
    alone, longer = look(shift("score", 0.2)), look(shift("score", 1e-7, 0.1), scale=5)
    first = signals(alone, longer)["drift:score"]
    assert first.word is Word.ALARM
    assert "the last 32 windows together" in first.sentence
    assert first.evidence["scale"] == 5
    assert (first.evidence["first_window"], first.evidence["last_window"]) == (32, 63)
    later = signals(alone, standing={"drift:score": 5})["drift:score"]
    assert later.word is Word.UNKNOWN
    assert "no look as long" in later.sentence
    over = signals(alone, look(shift("score", 0.6), scale=5), standing={"drift:score": 5})["drift:score"]
    assert over.word is Word.CLEAR


def test_what_could_not_be_looked_at_is_never_clear() -> None:
    nothing = signals(look(shift("score", None)))["drift:score"]
    assert (nothing.word, nothing.sentence) == (Word.UNKNOWN, "only 3 rows")
    broke = Shift(subject="age", kind=ShiftKind.DISTRIBUTION, error="no memory")
    found = signals(look(broke, shift("city", 0.5)))
    assert found["drift:columns"].word is Word.CLEAR
    assert found["check:distribution:age"].word is Word.BROKEN
    assert found["check:distribution:age"].group == "monitor"
    assert signals(look(broke))["drift:columns"].word is Word.UNKNOWN
    well = signals(look(shift("age", 0.5)), standing={"check:distribution:age": 0})
    assert well["check:distribution:age"].word is Word.CLEAR


def test_columns_are_named_by_benjamini_and_hochberg() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        p = rng.random(30) ** 3
        expected = stats.false_discovery_control(p) <= 0.1
        assert named(p.tolist(), 0.1) == expected.tolist()
    assert named([0.01], 0.1, members=100) == [False]  # those that could not be tested count too
    assert named([], 0.1) == []


@settings(max_examples=40, deadline=None)
@given(p=st.lists(st.floats(1e-12, 1), min_size=1, max_size=12), level=st.floats(1e-6, 0.5))
def test_a_smaller_p_is_named_wherever_a_greater_one_is(p: list[float], level: float) -> None:
    found = named(p, level)
    assert all(found[a] or not found[b] for a in range(len(p)) for b in range(len(p)) if p[a] <= p[b])


def test_the_expected_number_of_false_alarms_is_within_the_budget() -> None:
    """Uniform p of charts that look back over the same windows, with an effect above every floor."""
    subjects = [shift("score", 0.5), *(shift(f"c{place}", 0.5) for place in range(5))]
    subjects += [shift(f"c{place}", 0.5, kind=ShiftKind.MISSING) for place in range(3)]
    allotment = allot(parse_budget("1 per hour"), members_of(subjects), window_s=600, scales=4)
    rng, alarms, windows = np.random.default_rng(3), 0, 1200
    for number in range(windows):
        looks = [
            Compared(
                block=block,
                seconds=600.0 * 2**block.scale,
                shifts=tuple(shift(one.subject, float(rng.random()), 0.5, one.kind) for one in subjects),
            )
            for block in blocks_ending_at(number, 4)
        ]
        alarms += sum(
            s.word is Word.ALARM for s in data_signals(rulings(looks, allotment), at_us=0, source=str(number))
        )
    expected = windows * 600 / 3600
    low, high = stats.poisson.ppf(0.005, 0.7 * expected), stats.poisson.ppf(0.995, expected)
    assert low <= alarms <= high


def test_a_family_has_one_rule_for_pairs_and_one_per_column_for_what_is_new() -> None:
    found = signals(
        look(
            shift("a × b", 1e-12, 0.5, ShiftKind.TOGETHER),
            shift("a", 1e-12, 0.5, ShiftKind.NEW),
            shift("score.yes", 1e-12),
            shift("score.no", 0.9),
        )
    )
    assert {rule for rule, one in found.items() if one.word is Word.ALARM} == {"drift:together", "new:a", "drift:score"}
    decided = rulings([look(shift("x", 1e-12, 0.2))], allotted((shift("x", 1.0),)), floors={Family.COLUMNS: 0.3})
    assert [one.outcome for one in decided] == [Outcome.REPORTED]
    assert decided[0].level == pytest.approx(1 / 720 / 8)


# --- what looks leave to each other ------------------------------------------------------------------------------


def told(subject: str, rows: int, groups: int, p: float = 0.5) -> Shift:
    cells = [f"cell {index}" for index in range(groups)]
    return Shift(
        subject=subject, kind=ShiftKind.DISTRIBUTION, p=p, n=rows, reference_n=20_000, details={"cells": cells}
    )


def level_at(scale: int, rows: int, groups: int, columns: int, allotment: Allotment) -> float:
    shifts = [told(f"x{index}", rows * 2**scale, groups, p=1e-12 if index == 0 else 0.9) for index in range(columns)]
    decided = rulings([look(*shifts, scale=scale, last=1023)], allotment)
    return columns * decided[0].level


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(20, 20_000), groups=st.integers(2, 12), columns=st.integers(1, 40), scales=st.integers(1, 10))
def test_what_scales_hand_on_never_adds_up_to_more_than_the_family_has(
    rows: int, groups: int, columns: int, scales: int
) -> None:
    allotment = allot(BUDGET, {Family.COLUMNS: columns, Family.SCORE: 1}, window_s=HOUR, scales=scales)
    spent = 0.0
    for scale in range(scales):
        level = level_at(scale, rows, groups, columns, allotment)
        one = told("x", rows * 2**scale, groups)
        floor = columns * by_chance(one, FLOORS[Family.COLUMNS])
        equal = allotment.level(Family.COLUMNS, seconds=HOUR * 2**scale, scale=scale)
        assert equal * (1 - 1e-9) <= level <= max(equal, 0.01) * (1 + 1e-9)
        assert level <= 10 * equal * (1 + 1e-9)
        spent += min(level, floor) / max(1.0, 2.0 ** (scale - 1))
    assert spent <= allotment.level(Family.COLUMNS, seconds=HOUR) * scales * (1 + 1e-9)


def test_short_looks_have_what_the_floor_spares_long_ones() -> None:
    allotment = allot(BUDGET, {Family.COLUMNS: 10}, window_s=HOUR, scales=8)
    equal = allotment.level(Family.COLUMNS, seconds=HOUR)
    assert level_at(0, 500, 6, 10, allotment) > 3 * equal
    assert level_at(0, 5, 6, 10, allotment) == pytest.approx(equal)
    untold = look(*(shift(f"x{index}", 1e-12 if index == 0 else 0.9) for index in range(10)))
    assert 10 * rulings([untold], allotment)[0].level == pytest.approx(equal)


def test_a_few_strange_rows_of_a_small_window_call_nobody() -> None:
    small, large = (
        Shift(subject="age", kind=ShiftKind.NEW, p=1e-12, effect=0.024, n=rows, reference_n=20_000)
        for rows in (500, 50_000)
    )
    decided = [rulings([look(one)], allotted((one,)))[0] for one in (small, large)]
    assert [one.outcome for one in decided] == [Outcome.REPORTED, Outcome.ALARM]
    assert decided[0].floor == pytest.approx(0.02 + np.sqrt(0.02 * 0.98 / 500))
