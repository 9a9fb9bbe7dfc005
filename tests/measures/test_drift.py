"""Drift: p holds at any number of rows and far out, changes are found, said in words, and measured without chance."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roadworthy.errors import DataError
from roadworthy.measures.drift import EFFECT_FLOOR, by_chance, compared, with_dispersion
from roadworthy.measures.drift.cells import dispersion_at
from roadworthy.measures.drift.effects import moved
from roadworthy.measures.drift.tails import log_more, log_p_two_sided, widened
from roadworthy.measures.sketches import NumberSketch, Reference, merge, sketch, sketch_like, sketch_scores
from roadworthy.records.digests import canonical_json
from roadworthy.records.shift import Shift, ShiftKind

LABELS = np.array([f"label {index}" for index in range(500)])
ZIPF = 1 / np.arange(1, 501)
ZIPF /= ZIPF.sum()


def shift_of(shifts: tuple[Shift, ...], subject: str, kind: ShiftKind = ShiftKind.DISTRIBUTION) -> Shift:
    return next(one for one in shifts if one.subject == subject and one.kind is kind)


def seen(p: float | None) -> float:
    assert p is not None
    return p


# --- tails ------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_tails_are_those_of_exact_integers(data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 300))
    drawn, hits = data.draw(st.integers(1, rows)), data.draw(st.integers(0, rows))
    low, high = max(0, drawn + hits - rows), min(drawn, hits)
    found = data.draw(st.integers(low, high))
    ways = comb(rows, drawn)
    masses = {k: comb(hits, k) * comb(rows - hits, drawn - k) for k in range(low, high + 1)}
    upper = Fraction(sum(mass for k, mass in masses.items() if k >= found), ways)
    lower = Fraction(sum(mass for k, mass in masses.items() if k <= found), ways)
    side = upper if found * rows >= drawn * hits else lower
    assert np.exp(log_more(found, drawn, hits, rows)[0]) == pytest.approx(float(upper), rel=1e-9)
    two = np.exp(log_p_two_sided(found, drawn, hits, rows)[0])
    assert two == pytest.approx(float(min(Fraction(1), 2 * side)), rel=1e-9)


@pytest.mark.parametrize("margins", [(10**5, 5_000, 30_000), (11 * 10**6, 10**6, 5 * 10**6), (2 * 10**7, 10**7, 100)])
@pytest.mark.parametrize("far", [0.0, 1.0, 3.0, 6.0, 12.0, 30.0])
def test_tails_of_large_counts_equal_the_sum_of_all_terms(margins: tuple[int, int, int], far: float) -> None:
    rows, drawn, hits = margins
    share = hits / rows
    spread = np.sqrt(drawn * share * (1 - share) * (rows - drawn) / (rows - 1))
    first = int(min(np.ceil(drawn * share + far * spread), drawn, hits))
    k = np.arange(first, min(drawn, hits, int(first + 60 * spread + 2_000)) + 1, dtype=np.float64)
    ratio = (hits - k[:-1]) * (drawn - k[:-1]) / ((k[:-1] + 1) * (rows - hits - drawn + k[:-1] + 1))
    expected = stats.hypergeom.logpmf(first, rows, hits, drawn) + np.log1p(np.cumprod(ratio).sum())
    assert log_more(first, drawn, hits, rows)[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_wider_variance_shrinks_the_score_and_one_of_one_changes_nothing() -> None:
    logs = np.log([0.5, 1e-4, 1e-200])
    assert widened(logs, 1.0, 7) == pytest.approx(logs)
    wide = widened(np.log([2 * stats.norm.sf(6.0)]), 4.0, 1e9)
    assert np.exp(wide[0]) == pytest.approx(2 * stats.norm.sf(3.0), rel=1e-6)
    assert widened(logs, 4.0, 7)[1] > wide[0] > logs[1]  # little known of it: Student's tail
    assert widened(logs, np.array([1.0, 4.0, 1.0]), 7) == pytest.approx([logs[0], widened(logs, 4.0, 7)[1], logs[2]])


# --- what holds where nothing changed -----------------------------------------------------------------------------


def traffic(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    number = rng.normal(size=rows)
    return pl.DataFrame(
        {
            "normal": np.where(rng.random(rows) < 0.02, np.nan, number),
            "whole": rng.poisson(3, rows),
            "heaped": np.where(rng.random(rows) < 0.7, 0.0, rng.lognormal(size=rows)),
            "four": LABELS[rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])],
            "many": LABELS[rng.choice(500, rows, p=ZIPF)],
            "even": LABELS[rng.integers(0, 500, rows)],
            "rare": np.where(rng.random(rows) < 0.003, "yes", "no"),
        }
    ).with_columns(pl.col("normal").fill_nan(None))


def most(hits: int, level: float) -> float:
    """More than so many of ``hits`` tests have p within ``level`` once in ten thousand times."""
    return float(stats.binom.isf(1e-4, hits, level))


@pytest.mark.parametrize(("reference_rows", "rows"), [(500, 100), (500, 2_000), (5_000, 1_000)])
def test_p_holds_where_nothing_changed_whatever_the_rows(reference_rows: int, rows: int) -> None:
    rng = np.random.default_rng(reference_rows + rows)
    found: dict[tuple[str, ShiftKind], list[float]] = {}
    for _ in range(40):
        reference = sketch(traffic(rng, reference_rows), traffic(rng, 1).columns)
        for _ in range(2):
            for one in compared(reference, sketch_like(reference, traffic(rng, rows))):
                found.setdefault((one.subject, one.kind), []).append(seen(one.p))
    for name, values in found.items():
        for level in (0.1, 0.01):
            assert np.sum(np.array(values) <= level) <= most(len(values), level), name


def drawn_counts(rng: np.random.Generator, shares: np.ndarray, rows: int, columns: int) -> dict[str, NumberSketch]:
    edges = tuple(float(edge) for edge in range(len(shares) - 1))
    return {
        f"x{index}": NumberSketch(edges=edges, counts=tuple(counts.tolist()), count=rows)
        for index, counts in enumerate(rng.multinomial(rows, shares, size=columns))
    }


@pytest.mark.parametrize(("bins", "rows", "reference_rows"), [(12, 100, 500), (33, 1_000, 20_000), (10, 5_000, 5_000)])
def test_p_holds_far_out(bins: int, rows: int, reference_rows: int) -> None:
    rng = np.random.default_rng(bins)
    shares = rng.dirichlet(np.ones(bins))
    logs: list[float] = []
    for _ in range(10):
        reference = Reference(rows=reference_rows, numbers=drawn_counts(rng, shares, reference_rows, 200))
        current = Reference(rows=rows, numbers=drawn_counts(rng, shares, rows, 200))
        shifts = compared(reference, current)
        logs += [seen(one.p) for one in shifts if one.kind is ShiftKind.DISTRIBUTION]
    for level in (0.01, 1e-3, 1e-4):
        assert np.sum(np.array(logs) <= level) <= most(len(logs), level)


def test_one_count_holds_to_one_in_a_hundred_thousand() -> None:
    rng = np.random.default_rng(3)
    for rows, reference_rows, share in ((100, 1_000, 0.01), (2_000, 5_000, 0.3)):
        old, new = (rng.binomial(size, share, 200_000) for size in (reference_rows, rows))
        logs = log_p_two_sided(new, rows, old + new, rows + reference_rows)
        for level in (1e-3, 1e-4, 1e-5):
            assert np.sum(logs <= np.log(level)) <= most(200_000, level)


def test_effects_of_chance_are_near_nought_at_any_number_of_rows() -> None:
    rng = np.random.default_rng(5)
    reference = sketch(traffic(rng, 20_000), traffic(rng, 1).columns)
    for rows, mean in ((200, 0.05), (1_000, 0.02), (5_000, 0.01)):
        shifts = [one for _ in range(20) for one in compared(reference, sketch_like(reference, traffic(rng, rows)))]
        effects = [one.effect for one in shifts if one.kind is ShiftKind.DISTRIBUTION]
        assert np.mean(effects) < mean
        assert min(effects) >= 0


# --- what is found -----------------------------------------------------------------------------------------------


def changed(rng: np.random.Generator, rows: int, how: str) -> np.ndarray:
    values = rng.normal(size=rows)
    if how == "mean":
        return values + 0.15
    if how == "spread":
        return values * 1.15
    return np.where(rng.random(rows) < 0.01, values + 6, values)


@pytest.mark.parametrize("how", ["mean", "spread", "tail"])
def test_changes_of_numbers_are_found_at_least_as_often_as_by_kolmogorov_and_smirnov(how: str) -> None:
    rng = np.random.default_rng(7)
    base = rng.normal(size=5_000)
    reference = sketch(pl.DataFrame({"x": base}), ["x"])
    ours, theirs = [], []
    for _ in range(40):
        rows = changed(rng, 1_000, how)
        shifts = compared(reference, sketch_like(reference, pl.DataFrame({"x": rows})))
        both = [seen(shift_of(shifts, "x", kind).p) for kind in (ShiftKind.DISTRIBUTION, ShiftKind.NEW)]
        ours.append((min(1.0, 2 * min(both)) if how == "tail" else both[0]) <= 0.001)
        theirs.append(stats.ks_2samp(base, rows, method="asymp").pvalue <= 0.001)
    assert np.mean(ours) >= max(0.35, np.mean(theirs))


def test_one_label_of_many_is_found_sooner_than_by_chi_square() -> None:
    rng = np.random.default_rng(8)
    shares = np.full(30, 1 / 30)
    after = shares.copy()
    after[3] *= 1.9
    after /= after.sum()
    base = LABELS[rng.choice(30, 20_000, p=shares)]
    reference = sketch(pl.DataFrame({"c": base}), ["c"])
    ours, theirs = [], []
    for _ in range(40):
        rows = LABELS[rng.choice(30, 1_000, p=after)]
        shifts = compared(reference, sketch_like(reference, pl.DataFrame({"c": rows})))
        ours.append(seen(shift_of(shifts, "c").p) <= 0.001)
        table = [[np.sum(side == label) for label in LABELS[:30]] for side in (base, rows)]
        theirs.append(stats.chi2_contingency(table).pvalue <= 0.001)
    assert np.mean(ours) >= max(0.5, np.mean(theirs))


def test_a_change_spread_over_all_labels_is_found_by_the_sum() -> None:
    shares = np.full(20, 0.05)
    after = shares * (1 + 0.12 * np.where(np.arange(20) % 2, 1, -1))
    rows = {name: np.repeat(LABELS[:20], np.rint(100_000 * part).astype(int)) for name, part in
            {"old": shares, "new": after}.items()}  # fmt: skip
    reference = sketch(pl.DataFrame({"c": rows["old"]}), ["c"])
    tenth = pl.DataFrame({"c": rows["new"]}).gather_every(10)
    assert seen(shift_of(compared(reference, sketch_like(reference, tenth)), "c").p) < 1e-13


def test_effects_and_floors() -> None:
    rng = np.random.default_rng(9)
    base = pl.DataFrame({"x": rng.normal(size=50_000), "c": ["ios"] * 15_500 + ["web"] * 34_500})
    reference = sketch(base, ["x", "c"])
    after = pl.DataFrame({"x": rng.normal(0.3, size=5_000), "c": ["ios"] * 200 + ["web"] * 4_800})
    shifts = compared(reference, sketch_like(reference, after))
    floor = EFFECT_FLOOR[ShiftKind.DISTRIBUTION]
    assert shift_of(shifts, "x").effect == pytest.approx(0.119, abs=0.02)
    assert shift_of(shifts, "x").effect > floor
    assert shift_of(shifts, "c").effect == pytest.approx(0.31, abs=0.01)
    little = pl.DataFrame({"x": rng.normal(0.1, size=5_000), "c": ["ios"] * 1_650 + ["web"] * 3_350})
    for one in compared(reference, sketch_like(reference, little)):
        assert one.effect < EFFECT_FLOOR[one.kind]


def counts_of(old: list[float], new: list[float], wider: float = 1.0) -> float:
    return moved(np.array(old), np.array(new), wider)


def test_an_effect_is_the_share_of_rows_that_a_normal_column_would_have_moved() -> None:
    edges = np.linspace(-6, 6, 400)
    for between in (0.1, 0.5, 2.0):
        old, new = (1e9 * np.diff(stats.norm.cdf(edges, mean)) for mean in (0.0, between))
        assert moved(old, new, 1.0) == pytest.approx(2 * stats.norm.cdf(between / 2) - 1, rel=0.01)
    assert counts_of([5.0, 0.0], [0.0, 7.0]) == 1.0
    assert counts_of([0.0, 0.0], [3.0, 4.0]) == 0.0
    # half as many rows moved, but what is rare became twice as frequent
    assert counts_of([95e6, 5e6], [90e6, 10e6]) > 1.5 * counts_of([50e6, 50e6], [55e6, 45e6])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=12),
    st.floats(1, 5),
)
def test_effects_lie_between_0_and_1_and_are_the_same_both_ways(pairs: list[tuple[int, int]], wider: float) -> None:
    old, new = (np.array(side, np.float64) for side in zip(*pairs, strict=True))
    effect = moved(old, new, wider)
    assert 0 <= effect <= 1
    assert moved(new, old, wider) == pytest.approx(effect)
    assert moved(old, old, wider) == 0.0
    assert moved(old, new, wider + 1) <= effect


@pytest.mark.parametrize(("shares", "rows"), [([0.1] * 10, 500), ([0.5, 0.3, 0.2], 1_000), ([0.2] * 5, 2_000)])
def test_how_often_chance_takes_an_effect_over_a_floor_is_foretold(shares: list[float], rows: int) -> None:
    rng = np.random.default_rng(rows)
    old, new = (rng.multinomial(size, shares, size=4_000) for size in (10_000, rows))
    effects = np.array([moved(*both, 1.0) for both in zip(old.astype(float), new.astype(float), strict=True)])
    told = Shift(
        subject="x", kind=ShiftKind.DISTRIBUTION, n=rows, reference_n=10_000, details={"cells": ["c"] * len(shares)}
    )
    for floor in (0.02, 0.03, 0.04):
        expected = by_chance(told, floor)
        spread = np.sqrt(expected * (1 - expected) / len(effects))
        assert np.mean(effects >= floor) == pytest.approx(expected, abs=4 * spread + 0.1 * expected + 1e-3)
    assert by_chance(told, 0.04, times=4) < by_chance(told, 0.04) < by_chance(told, 0.04, times=0.25)
    alone = msgspec.structs.replace(told, details={"cells": ["c"]})
    assert by_chance(alone, 0.04) == 0.0
    assert by_chance(msgspec.structs.replace(told, details={}), 0.04) == 1.0
    assert by_chance(msgspec.structs.replace(told, details=told.details | {"dispersion": 3.0}), 0.04) > by_chance(
        told, 0.04
    )


def test_values_beyond_the_range_are_new_and_change_no_distribution() -> None:
    rng = np.random.default_rng(11)
    base = rng.normal(size=10_000)
    reference = sketch(pl.DataFrame({"x": base}), ["x"])
    few = np.where(rng.random(500) < 0.02, 99.0, rng.choice(base, 500))
    shifts = compared(reference, sketch_like(reference, pl.DataFrame({"x": few})))
    assert seen(shift_of(shifts, "x", ShiftKind.NEW).p) < 1e-5
    assert seen(shift_of(shifts, "x").p) > 0.01
    all_of_them = compared(reference, sketch_like(reference, pl.DataFrame({"x": [99.0] * 500})))
    assert seen(shift_of(all_of_them, "x").p) < 1e-9


# --- words -------------------------------------------------------------------------------------------------------


def told(base: dict[str, Any], after: dict[str, Any], **more: Any) -> dict[tuple[str, ShiftKind], str]:
    reference = sketch(pl.DataFrame(base), list(base), **more)
    return {
        (one.subject, one.kind): one.sentence
        for one in compared(reference, sketch_like(reference, pl.DataFrame(after, strict=False)))
    }


def test_changes_are_said_in_words() -> None:
    ages = [20 + index % 80 for index in range(8_000)]
    base = {"device": ["ios"] * 2_480 + ["web"] * 5_520, "age": ages, "gone": [1.0] * 7_992 + [None] * 8}
    after = {
        "device": ["ios"] * 32 + ["web"] * 704 + ["vr"] * 64,
        "age": [min(age + 12, 130) if index % 8 else 150 for index, age in enumerate(ages[:800])],
        "gone": [1.0] * 744 + [None] * 56,
    }
    said = told(base, after)
    assert said["device", ShiftKind.DISTRIBUTION].startswith("device = ios fell from 31 % to 4 % (p = ")
    assert said["device", ShiftKind.NEW].startswith("8 % of device are labels that the reference does not list (p = ")
    assert said["age", ShiftKind.DISTRIBUTION].startswith("the middle half of age was 40 to 80 and is ")
    assert " lie above the highest value of the reference (99) (p" in said["age", ShiftKind.NEW]
    assert said["gone", ShiftKind.MISSING].startswith("missing values of gone rose from 0.1 % to 7 % (p = ")
    assert "shows no change (p = 1," in said["age", ShiftKind.MISSING]


def test_no_value_of_a_hidden_column_is_said_or_kept() -> None:
    base = {"user": ["ann@example.org"] * 500 + ["bob@example.org"] * 500, "pin": [44_321, 77_123] * 500}
    after = {"user": ["eve@example.org"] * 400 + [None] * 100, "pin": [44_321] * 500}
    said = told(base, after, hidden=["user", "pin"], together=["user", "pin"])
    assert set(said) == {("user", ShiftKind.MISSING), ("pin", ShiftKind.MISSING)}
    assert "rose from 0 % to 20 %" in said["user", ShiftKind.MISSING]
    assert not any(part in text for text in said.values() for part in ("example", "44", "77"))


# --- edges -------------------------------------------------------------------------------------------------------


def test_where_nothing_can_be_said_it_is_said_why() -> None:
    base = sketch(
        pl.DataFrame({"x": [1.0, 2.0] * 50, "none": pl.Series([None] * 100, dtype=pl.Float64)}), ["x", "none"]
    )
    empty = compared(
        base, sketch_like(base, pl.DataFrame({"x": [], "none": []}, schema=dict.fromkeys(["x", "none"], pl.Float64)))
    )
    assert {one.insufficient for one in empty} == {"there are no rows"}
    assert all(one.p is None for one in empty)
    gone = pl.DataFrame({"x": [None, None], "none": [1.0, 2.0]}, schema=dict.fromkeys(["x", "none"], pl.Float64))
    shifts = compared(base, sketch_like(base, gone))
    assert shift_of(shifts, "x").insufficient == "every value is missing"
    assert shift_of(shifts, "none").insufficient == "the reference has no value of it"
    assert seen(shift_of(shifts, "x", ShiftKind.MISSING).p) < 0.01


def test_three_rows_have_honest_tails() -> None:
    base = sketch(pl.DataFrame({"x": np.arange(1_000.0)}), ["x"])
    shifts = compared(base, sketch_like(base, pl.DataFrame({"x": [5e6, 6e6, 7e6]})))
    assert seen(shift_of(shifts, "x", ShiftKind.NEW).p) == pytest.approx(2 / comb(1_003, 3))


def test_a_column_that_is_not_there_is_an_error_and_another_frame_is_refused() -> None:
    base = sketch(pl.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}), ["x", "y"])
    (lost,) = [one for one in compared(base, sketch(pl.DataFrame({"x": [1.0, 2.0]}), ["x"])) if one.error]
    assert (lost.subject, lost.p) == ("y", None)
    with pytest.raises(DataError, match="other edges"):
        compared(base, sketch(pl.DataFrame({"x": [1.0, 3.0], "y": [1.0, 2.0]}), ["x", "y"]))


def test_scores_come_first_and_are_named_by_class() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet([1, 1, 1], 2_000)
    base = Reference(rows=2_000, scores=sketch_scores(scores))
    after = Reference(rows=500, scores=sketch_scores(scores[:500] ** 2, like=base.scores))
    shifts = compared(base, after, classes=["a", "b", "c"])
    assert [one.subject for one in shifts[::3]] == ["score.a", "score.b", "score.c"]
    assert seen(shifts[0].p) < 1e-6
    single = Reference(rows=2_000, scores=sketch_scores(scores[:, 0]))
    assert compared(single, single)[0].subject == "score"


# --- rows that are not independent -------------------------------------------------------------------------------


def sessions(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Ten rows of one entity after the other, alike."""
    who = np.arange(rows) // 10
    shared = rng.normal(size=who[-1] + 1)[who]
    return pl.DataFrame({"x": shared + 0.6 * rng.normal(size=rows), "who": who})


def test_rows_that_come_in_sessions_raise_no_alarm_and_a_change_still_does() -> None:
    rng = np.random.default_rng(4)
    plain, wide = [], []
    for _ in range(6):
        base = sessions(rng, 20_000)
        reference = sketch(base, ["x"])
        knowing = with_dispersion(reference, base, entity="who")
        for _ in range(15):
            rows = sketch_like(reference, sessions(rng, 1_000))
            plain.append(seen(compared(reference, rows)[0].p))
            wide.append(seen(compared(knowing, rows)[0].p))
    assert np.mean(np.array(plain) <= 0.01) > 0.1
    assert np.sum(np.array(wide) <= 0.01) <= most(len(wide), 0.01)
    after = sessions(rng, 1_000).with_columns(pl.col("x") + 1.2)
    assert seen(compared(knowing, sketch_like(knowing, after))[0].p) < 1e-6


def test_independent_rows_have_next_to_no_dispersion_and_hours_have() -> None:
    rng = np.random.default_rng(6)
    hour = np.arange(48_000) // 1_000 % 24
    frame = pl.DataFrame(
        {"free": rng.normal(size=48_000), "hourly": hour + rng.normal(size=48_000), "at": range(48_000)}
    )
    found = with_dispersion(
        sketch(frame, ["free", "hourly"]), frame.sample(fraction=1, shuffle=True, seed=1), time="at"
    )
    free, hourly = (found.dispersion[name].values for name in ("free", "hourly"))
    assert max(free[:6]) < 1.2
    assert found.blocks[:3] == (32, 64, 128)
    assert hourly[found.blocks.index(1024)] > 100
    assert found.dispersion["free"].missing[0] == 1.0


def test_a_dispersion_of_independent_rows_is_near_1_however_few_blocks_it_was_learnt_of() -> None:
    rng = np.random.default_rng(16)
    figures: dict[int, list[float]] = {}
    for _ in range(30):
        frame = pl.DataFrame({"x": rng.normal(size=8_000), "c": LABELS[rng.choice(6, 8_000)]})
        reference = with_dispersion(sketch(frame, frame.columns), frame)
        for rows in (64, 512, 1_000, 8_000):
            values = [dispersion_at(reference.blocks, one.values, rows) for one in reference.dispersion.values()]
            figures.setdefault(rows, []).extend(values)
    assert {rows: np.mean(found) < 1.12 for rows, found in figures.items()} == dict.fromkeys(figures, True)
    learnt = (10.0,) * len(reference.blocks)
    assert 7 < dispersion_at(reference.blocks, learnt, 1_000) < dispersion_at(reference.blocks, learnt, 64) < 10


# --- columns together --------------------------------------------------------------------------------------------


def pairs(rng: np.random.Generator, rows: int, strength: float) -> pl.DataFrame:
    x, noise = rng.normal(size=(2, rows))
    y = strength * x + np.sqrt(1 - strength**2) * noise
    label = np.where(x + rng.normal(size=rows) > 0.5, "a", "b")
    others = {f"z{index}": rng.lognormal(size=rows) for index in range(6)}
    return pl.DataFrame({"age": x, "income": np.exp(y), "label": label, **others})


def test_columns_that_no_longer_go_together_are_named() -> None:
    rng = np.random.default_rng(2)
    base = pairs(rng, 20_000, 0.62)
    reference = sketch(base, base.columns, together=base.columns)
    shift = compared(reference, sketch_like(reference, pairs(rng, 1_000, 0.05)))[-1]
    assert shift.kind is ShiftKind.TOGETHER
    assert shift.subject == "age × income"
    assert shift.sentence.startswith("age and income no longer go together (rank correlation 0.")
    assert seen(shift.p) < 1e-30
    assert shift.effect == pytest.approx(0.28, abs=0.05)
    few = compared(reference, sketch_like(reference, pairs(rng, 299, 0.05)))[-1]
    assert "it takes 300" in few.insufficient
    lacking = pairs(rng, 1_000, 0.05).drop("label")
    part = msgspec.structs.replace(reference, categories={})
    assert compared(part, sketch_like(part, lacking))[-1].subject == "age × income"


def test_columns_together_of_rows_in_sessions_raise_no_alarm() -> None:
    rng = np.random.default_rng(21)
    plain, wide = [], []
    for _ in range(4):
        parts = [sessions(rng, 20_000).rename({"x": name}).drop("who") for name in ("x", "y", "z")]
        base = pl.concat(parts, how="horizontal")
        reference = sketch(base, base.columns, together=base.columns)
        knowing = with_dispersion(reference, base)
        for _ in range(15):
            again = [sessions(rng, 1_000).rename({"x": name}).drop("who") for name in ("x", "y", "z")]
            rows = sketch_like(reference, pl.concat(again, how="horizontal"))
            plain.append(seen(compared(reference, rows)[-1].p))
            wide.append(seen(compared(knowing, rows)[-1].p))
    assert np.mean(np.array(plain) <= 0.01) > 0.05
    assert np.sum(np.array(wide) <= 0.01) <= most(len(wide), 0.01)


def test_columns_together_hold_where_nothing_changed() -> None:
    rng = np.random.default_rng(12)
    found = []
    for _ in range(8):
        base = pairs(rng, 4_000, 0.62)
        reference = sketch(base, base.columns, together=base.columns)
        found += [seen(compared(reference, sketch_like(reference, pairs(rng, 400, 0.62)))[-1].p) for _ in range(12)]
    for level in (0.1, 0.01):
        assert np.sum(np.array(found) <= level) <= most(len(found), level)


def test_missing_values_alone_are_no_change_of_columns_together() -> None:
    rng = np.random.default_rng(13)
    base = pairs(rng, 20_000, 0.62)
    reference = sketch(base, base.columns, together=base.columns)
    after = pairs(rng, 5_000, 0.62).with_columns(
        pl.when(pl.Series(rng.random(5_000) < 0.3)).then(None).otherwise(pl.col("income")).alias("income")
    )
    assert seen(compared(reference, sketch_like(reference, after))[-1].p) > 0.05


# --- on disk -----------------------------------------------------------------------------------------------------


def test_a_reference_of_fifty_columns_is_small_and_reads_back() -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({f"number {index}": rng.normal(size=5_000) for index in range(30)})
    frame = frame.with_columns(
        pl.Series(f"label {index}", [f"a rather long label, {name}" for name in LABELS[rng.choice(500, 5_000, p=ZIPF)]])
        for index in range(20)
    )
    reference = with_dispersion(sketch(frame, frame.columns, together=frame.columns), frame)
    text = canonical_json(reference)
    assert len(text) < 400_000
    assert msgspec.json.decode(text, type=Reference) == reference


def test_a_file_of_format_one_is_still_compared() -> None:
    written = (
        b'{"rows":100,"format":1,"categories":{"c":{"labels":["a","b"],"counts":[60,40],"other":0,"missing":0}},'
        b'"numbers":{"x":{"edges":[0.0,1.0,2.0],"counts":[0,50,50,0],"count":100,"missing":0,"lowest":0.0,"highest":1.9,'
        b'"mean":1.0,"m2":20.0}},"scores":[]}'
    )
    reference = msgspec.json.decode(written, type=Reference)
    assert (reference.format, reference.blocks, reference.joint) == (1, (), None)
    rows = sketch_like(reference, pl.DataFrame({"x": [0.5] * 30, "c": ["b"] * 30}))
    assert {one.subject for one in compared(reference, merge(rows, rows)) if seen(one.p) < 1e-6} == {"x", "c"}
