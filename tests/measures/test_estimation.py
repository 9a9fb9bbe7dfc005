"""Quality before labels come: laws of expected metrics, simulations of error and coverage, and when nothing is said."""

from __future__ import annotations

import itertools
from functools import cache

import lightgbm
import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadworthy.errors import DataError, UnknownName, UsageError
from roadworthy.measures.estimation import (
    EstimatorState,
    ReferenceRows,
    estimable,
    estimated,
    estimated_slices,
    estimator_bytes,
    fit_estimator,
    read_estimator,
)
from roadworthy.measures.estimation.backtest import Reckoning, Trial, planned
from roadworthy.measures.estimation.bands import bounds
from roadworthy.measures.estimation.binning import fit_binning
from roadworthy.measures.estimation.expected import BINARY, Moments
from roadworthy.measures.estimation.support import effective_rows
from roadworthy.measures.estimation.telling import Telling
from roadworthy.measures.estimation.trees import Trees, _packed, grow
from roadworthy.measures.estimation.valuing import Told, valued
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task

Floats = NDArray[np.float64]
FIVE = ("roc_auc", "f1", "accuracy", "precision", "recall")


def made(rng: np.random.Generator, rows: int, shift: float = 0.0) -> tuple[pl.DataFrame, Floats, NDArray[np.int64]]:
    """A law in which the model misses what a group is about; ``shift`` moves the mix of rows, not the law."""
    x = rng.normal(shift, 1, rows)
    share = np.clip(0.1 + 0.35 * shift, 0.02, 0.9)
    group = np.where(rng.random(rows) < share, "c", rng.choice(["a", "b"], rows))
    lift = np.where(group == "c", -1.8, 0.2)
    y = (rng.random(rows) < 1 / (1 + np.exp(-(1.4 * x + lift)))).astype(np.int64)
    return pl.DataFrame({"x": x, "group": group}), 1 / (1 + np.exp(-1.7 * x)), y


@cache
def reference() -> tuple[Sample, pl.DataFrame]:
    frame, score, y = made(np.random.default_rng(1), 6_000)
    return Sample(task=Task.BINARY, y=y, score=score, threshold=0.5), frame


@cache
def state() -> EstimatorState:
    return fit_estimator(*reference(), metrics=[*FIVE, "brier"])


def band(one: Measurement) -> tuple[float, float, float]:
    """Value, lower, upper of a measurement that has them."""
    assert one.value is not None, one
    assert one.lower is not None
    assert one.upper is not None
    return one.value, one.lower, one.upper


def holds(one: Measurement, truth: float) -> bool:
    _, lower, upper = band(one)
    return lower <= truth <= upper


def wide(one: Measurement) -> float:
    _, lower, upper = band(one)
    return upper - lower


def real(metric: str, sample: Sample) -> float:
    return band(measure(metric, sample))[0]


def told(score: Floats, chance: Floats) -> Told:
    return Told(Task.BINARY, score, chance, (0.5, 0.5), (score >= 0.5).astype(np.float64))


# --- laws of expected metrics -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), ties=st.booleans())
@settings(max_examples=15, deadline=None)
def test_with_outcomes_in_place_of_chances_a_metric_is_the_realised_one(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    score = rng.random(600)
    score = score.round(1) if ties else score
    y = (rng.random(600) < score).astype(np.int64)
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)
    for metric in BINARY:
        moments = valued(metric, told(score, y.astype(np.float64))._replace(base=tuple(np.bincount(y) / 600)))
        assert moments.value == pytest.approx(measure(metric, sample).value, abs=1e-9), metric
        assert moments.variance == 0


@pytest.mark.parametrize("metric", sorted(BINARY))
def test_mean_and_spread_are_those_of_drawn_outcomes(metric: str) -> None:
    rng = np.random.default_rng(3)
    score = rng.random(400)
    chance = np.clip(score * 0.8 + 0.05, 0, 1)
    moments = valued(metric, told(score, chance))
    drawn = np.array(
        [valued(metric, told(score, (rng.random(400) < chance).astype(np.float64))).value for _ in range(800)]
    )
    assert moments.value == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 28 + 0.002)
    assert moments.variance**0.5 == pytest.approx(drawn.std(), rel=0.12)


def test_a_row_is_no_pair_with_itself() -> None:
    rng = np.random.default_rng(24)
    score = rng.random(40)
    chance = np.full(40, 0.5)
    drawn = [valued("roc_auc", told(score, rng.permutation(np.repeat([0.0, 1.0], 20)))).value for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.02)
    assert valued("roc_auc", told(score, chance)).value == pytest.approx(0.5)
    sharp = valued("roc_auc", told(np.arange(40.0), np.where(np.arange(40) < 20, 0.2, 0.8)))
    outcomes = [(rng.random(40) < np.where(np.arange(40) < 20, 0.2, 0.8)).astype(np.float64) for _ in range(3_000)]
    truth = np.mean([valued("roc_auc", told(np.arange(40.0), y)).value for y in outcomes])
    assert sharp.value == pytest.approx(truth, abs=0.004)


def test_classes_and_amounts_are_realised_ones_with_outcomes() -> None:
    rng = np.random.default_rng(4)
    score = rng.dirichlet([1, 1, 1, 1], 500)
    y = np.array([rng.choice(4, p=row) for row in score])
    base = tuple(np.bincount(y) / 500)
    sample = Sample(task=Task.MULTICLASS, y=y, score=score)
    rows = Told(Task.MULTICLASS, score, np.eye(4)[y], base)
    for metric in set(estimable(Task.MULTICLASS)) - {"top_5_accuracy"}:
        assert valued(metric, rows).value == pytest.approx(measure(metric, sample).value, abs=1e-9), metric
    with pytest.raises(NotEnough, match="needs more than 5 classes, has 4"):
        valued("top_5_accuracy", rows)
    truth = rng.normal(size=500)
    guess = truth + rng.normal(size=500)
    numbers = Sample(task=Task.REGRESSION, y=truth, score=guess)
    error = truth - guess
    base = (float(truth.mean()),)
    rows = Told(Task.REGRESSION, guess, np.abs(error), base, square=error**2, signed=error)
    for metric in estimable(Task.REGRESSION):
        assert valued(metric, rows).value == pytest.approx(measure(metric, numbers).value, abs=1e-9), metric


def test_a_large_window_in_groups_is_the_window_row_by_row() -> None:
    rng = np.random.default_rng(5)
    score = rng.beta(0.6, 3, 60_000)
    rows = Telling(state(), score)
    groups, direct = rows.told("CBPE"), rows.direct("CBPE")
    assert len(groups.score) < len(direct.score) / 5
    for metric in BINARY:
        one, other = valued(metric, groups), valued(metric, direct)
        assert one.value == pytest.approx(other.value, abs=0.05 * other.variance**0.5 + 1e-9), metric
        assert one.variance == pytest.approx(other.variance, rel=0.01), metric


@given(
    value=st.floats(0.05, 0.95), variance=st.floats(1e-8, 0.01), skew=st.floats(-2, 2), rows=st.integers(50, 100_000)
)
@settings(max_examples=60, deadline=None)
def test_more_confidence_never_narrows(value: float, variance: float, skew: float, rows: int) -> None:
    moments = Moments(value, variance, skew * variance**1.5)
    ends = [
        bounds(moments, level, rows=rows, support=500.0, between=0.01) for level in (0.6, 0.9, 0.975, 0.999, 1 - 1e-6)
    ]
    assert all(lower <= value <= upper for lower, upper in ends)
    assert all(a[0] >= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(ends))


# --- what is stored ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 3])
def test_stored_trees_give_what_lightgbm_gave(classes: int) -> None:
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 60, (4, 3_000)).astype(np.uint8)
    y = (codes[0] > 30).astype(int) + (codes[1] * codes[2] > 900)
    y = np.minimum(y, classes) if classes > 1 else np.minimum(y, 1)
    asked = {"objective": "multiclass", "num_class": 3} if classes > 1 else {"objective": "binary"}
    rows = lightgbm.Dataset(codes.T.astype(np.float32), y, params={"verbosity": -1, "min_data_in_bin": 1})
    parameters = {**asked, "verbosity": -1, "num_leaves": 31, "boost_from_average": False, "use_missing": False}
    booster = lightgbm.train({**parameters, "num_threads": 1}, rows, 20)
    trees = _packed([one["tree_structure"] for one in booster.dump_model()["tree_info"]], 4, classes)
    raw = np.asarray(booster.predict(codes.T.astype(np.float32), raw_score=True)).reshape(3_000, -1)
    assert trees.predict(codes) == pytest.approx(raw, abs=1e-5)


def test_trees_that_do_not_fit_together_are_refused() -> None:
    trees = grow(np.zeros((2, 100), dtype=np.uint8), np.zeros(100), objective="regression", rounds=2)
    for broken in ({"leaves": trees.leaves[:-1]}, {"outputs": 0}, {"sizes": (40, *trees.sizes[1:])}):
        with pytest.raises(DataError, match="do not fit together"):
            Trees(**{name: getattr(trees, name) for name in trees.__struct_fields__} | broken)


def test_the_state_survives_writing_is_the_same_twice_and_holds_no_row() -> None:
    frame, score, y = made(np.random.default_rng(7), 1_500)
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)
    rare = pl.Series("group", ["seen_once" if place == 7 else value for place, value in enumerate(frame["group"])])
    made_twice = [fit_estimator(sample, frame.with_columns(rare), metrics=["recall", "f1"]) for _ in range(2)]
    content = estimator_bytes(made_twice[0])
    assert content == estimator_bytes(made_twice[1])
    assert b"seen_once" not in content
    assert len(content) < 150_000
    back = read_estimator(content)
    assert back == made_twice[0]
    now = made(np.random.default_rng(8), 700, 0.3)
    first, second = (estimated(one, now[1], frame=now[0]) for one in (made_twice[0], back))
    assert first == second
    with pytest.raises(DataError, match="cannot be read"):
        read_estimator(content[:-20])
    with pytest.raises(DataError, match="format 9"):
        read_estimator(content.replace(b'"format":1', b'"format":9'))


def test_codes_of_new_values_missing_ones_and_categories() -> None:
    frame = pl.DataFrame(
        {"n": [1.0, 2.0, None, 4.0] * 5, "t": ["10", "9", None, "10"] * 5}, schema_overrides={"t": pl.Categorical}
    )
    binning = fit_binning(np.linspace(0, 1, 20), np.zeros(20), frame, frame.columns)
    assert [one.name for one in binning.columns] == ["n", "t"]
    now = pl.DataFrame({"n": [None, 9.0, 1.0], "t": ["new", "10", None]})
    codes, seen = binning.codes(np.array([0.5, 0.5, 2.0]), now)
    assert codes.shape == (4, 3)
    assert seen.shape == (3, 3)
    assert codes[1, 0] == 0
    assert (codes[2, 0], codes[2, 1], codes[2, 2]) == (3, 2, 0)  # labels by size: 9, 10, then what is new
    assert binning.beyond(np.array([0.5, 0.5, 2.0]), now) == pytest.approx({"score": 1 / 3, "n": 1 / 3, "t": 1 / 3})
    with pytest.raises(DataError, match="lack columns of the reference: t"):
        binning.codes(np.array([0.5]), pl.DataFrame({"n": [1.0]}))


# --- how far off, and how sure ----------------------------------------------------------------------------------


def test_columns_beat_scores_when_the_mix_moves_and_bands_hold() -> None:
    """The quick form of benchmarks/estimation.py: 120 windows of 500 rows, in half of which a group grows."""
    rng = np.random.default_rng(11)
    missed: dict[str, list[list[float]]] = {"ours": [], "CBPE": []}
    held = []
    for turn in range(120):
        frame, score, y = made(rng, 500, 0.8 * (turn % 2))
        truths = [real(name, Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)) for name in FIVE]
        ours = estimated(state(), score, frame=frame, metrics=FIVE, confidence=0.975)
        alone = Telling(state(), score).told("CBPE")
        missed["ours"].append([abs(band(one)[0] - truth) for one, truth in zip(ours, truths, strict=True)])
        missed["CBPE"].append([abs(valued(n, alone).value - truth) for n, truth in zip(FIVE, truths, strict=True)])
        held.append([holds(one, truth) for one, truth in zip(ours, truths, strict=True)])
    assert all(state().plans[name].method == "conditional" for name in FIVE)
    ratio = np.mean(missed["ours"], axis=0) / np.mean(missed["CBPE"], axis=0)
    assert (ratio < (0.8, 0.6, 0.6, 0.6, 0.98)).all(), ratio
    assert np.mean(held) >= 0.93
    assert np.mean(held, axis=0).min() >= 0.88
    assert np.mean(held) < 0.995


def test_scores_alone_are_enough_where_columns_say_nothing_more() -> None:
    rng = np.random.default_rng(12)
    score = rng.random(4_000)
    y = (rng.random(4_000) < score**1.5).astype(np.int64)
    frame = pl.DataFrame({"noise": rng.normal(size=4_000)})
    made_of = fit_estimator(Sample(task=Task.BINARY, y=y, score=score, threshold=0.5), frame, metrics=FIVE)
    assert [plan.method for plan in made_of.plans.values()].count("CBPE") == 5
    assert "missed least" in made_of.plans["f1"].why
    assert made_of.learned.trees is None


def test_pape_is_tried_and_usable_where_reference_rows_are_given() -> None:
    rng = np.random.default_rng(13)
    frame, score, y = made(rng, 1_000)
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)
    tried = fit_estimator(sample, frame, metrics=["accuracy"], weighted=True)
    assert {"CBPE", "PAPE", "conditional", "constant"} == set(tried.plans["accuracy"].missed)
    plan = msgspec.structs.replace(tried.plans["accuracy"], method="PAPE")
    forced = msgspec.structs.replace(tried, plans={"accuracy": plan})
    window = made(rng, 800, 0.8)
    with_rows = estimated(forced, window[1], frame=window[0], reference=ReferenceRows(sample, frame))[0]
    without = estimated(forced, window[1], frame=window[0])[0]
    assert (with_rows.method, without.method) == ("estimated: PAPE", "estimated: CBPE")
    truth = float((window[2] == (window[1] >= 0.5)).mean())
    assert abs(band(with_rows)[0] - truth) < abs(band(without)[0] - truth)


def test_periods_that_differ_widen_the_band_and_it_holds_for_later_ones() -> None:
    rng = np.random.default_rng(23)

    def period(rows: int, spread: float) -> tuple[Floats, NDArray[np.int64]]:
        x = rng.normal(size=rows)
        moved = 1.5 * x + spread * rng.normal()
        return 1 / (1 + np.exp(-1.5 * x)), (rng.random(rows) < 1 / (1 + np.exp(-moved))).astype(np.int64)

    def joined(spread: float) -> Sample:
        parts = [period(200, spread) for _ in range(20)]
        score, y = (np.concatenate(side) for side in zip(*parts, strict=True))
        return Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)

    steady, moving = (fit_estimator(joined(spread), metrics=["recall", "precision"]) for spread in (0.0, 0.6))
    assert steady.plans["precision"].between["CBPE"] < 0.03
    assert moving.plans["precision"].between["CBPE"] > 0.05
    held = []
    for _ in range(60):
        score, y = period(1_000, 0.6)
        sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)
        held += [holds(one, real(one.metric, sample)) for one in estimated(moving, score, confidence=0.975)]
    assert np.mean(held) >= 0.88


def test_entities_widen_the_band() -> None:
    rng = np.random.default_rng(14)
    entity = np.arange(3_000) // 10
    shared = rng.normal(size=300)[entity]
    x = rng.normal(size=3_000)
    y = (rng.random(3_000) < 1 / (1 + np.exp(-(x + 1.5 * shared)))).astype(np.int64)
    sample = Sample(task=Task.BINARY, y=y, score=1 / (1 + np.exp(-x)), threshold=0.5, clusters=entity)
    clustered = fit_estimator(sample, metrics=["accuracy"])
    assert clustered.design > 1.5
    assert state().design == 1.0


def test_several_classes_and_amounts_are_estimated() -> None:
    rng = np.random.default_rng(15)

    def classes(rows: int, shift: float) -> tuple[Floats, NDArray[np.int64]]:
        logits = rng.normal(size=(rows, 3)) + np.array([shift, 0.0, 0.0])
        chance = np.exp(1.5 * logits) / np.exp(1.5 * logits).sum(axis=1, keepdims=True)
        y = (chance.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
        sharp = np.exp(2.5 * logits)
        return sharp / sharp.sum(axis=1, keepdims=True), y

    score, y = classes(4_000, 0.0)
    many = fit_estimator(Sample(task=Task.MULTICLASS, y=y, score=score), metrics=["accuracy", "macro_f1", "log_loss"])
    held: list[bool] = []
    for shift in np.linspace(-1, 1, 20):
        score, y = classes(500, shift)
        sample = Sample(task=Task.MULTICLASS, y=y, score=score)
        found = estimated(many, score, confidence=0.975)
        held += [holds(one, real(one.metric, sample)) for one in found]
    assert np.mean(held) >= 0.9

    def amounts(rows: int, shift: float) -> tuple[pl.DataFrame, Floats, Floats]:
        x = rng.normal(shift, 1, rows)
        return pl.DataFrame({"x": x}), 2 * x, 2 * x + rng.normal(size=rows) * np.exp(0.5 * x)

    frame, guess, truth = amounts(4_000, 0.0)
    numbers = fit_estimator(Sample(task=Task.REGRESSION, y=truth, score=guess), frame)
    assert {plan.method for plan in numbers.plans.values()} == {"DLE"}
    held = []
    for shift in np.linspace(-0.8, 0.8, 20):
        frame, guess, truth = amounts(500, shift)
        sample = Sample(task=Task.REGRESSION, y=truth, score=guess, reference=numbers.base)
        found = estimated(numbers, guess, frame=frame, confidence=0.975)
        held += [holds(one, real(one.metric, sample)) for one in found]
    assert np.mean(held) >= 0.9


# --- when nothing is said ---------------------------------------------------------------------------------------


def test_a_window_outside_of_the_reference_is_refused() -> None:
    frame, score, _ = made(np.random.default_rng(16), 600)
    elsewhere = frame.with_columns(group=pl.lit("d"))
    found = estimated(state(), score, frame=elsewhere, metrics=["accuracy"])[0]
    assert found.value is None
    assert found.insufficient.startswith(
        "cannot estimate: 100% of the rows have a group that the reference has never had"
    )
    # a corner of the reference: the rows exist, but they are few
    narrow = frame.with_columns(x=pl.lit(float(reference()[1]["x"].to_numpy().max()) - 1e-9))
    few = estimated(state(), score, frame=narrow, metrics=["accuracy"])[0]
    assert "rows' worth like these by x" in few.insufficient
    assert estimated(state(), score, frame=frame, metrics=["accuracy"])[0].value is not None


def test_effective_rows_of_the_same_mix_are_all_of_them() -> None:
    counts = np.array([500.0, 300.0, 200.0])
    rng = np.random.default_rng(17)
    same = [1 / effective_rows(counts, rng.choice(3, 40, p=counts / 1000).astype(np.uint8)) for _ in range(400)]
    assert 1 / np.mean(same) == pytest.approx(1000, rel=0.03)
    assert effective_rows(counts, np.full(400, 2, dtype=np.uint8)) == pytest.approx(200)


def test_too_few_rows_unknown_metrics_and_events_that_do_not_come() -> None:
    frame, score, _ = made(np.random.default_rng(18), 600)
    few = estimated(state(), score[:20], frame=frame[:20], metrics=["accuracy"])[0]
    assert few.insufficient == "cannot estimate: needs at least 50 rows, has 20"
    none = estimated(state(), score, frame=frame, metrics=["calibration_error"])[0]
    assert none.insufficient == "cannot estimate: nothing is known of this metric without labels"
    low = score[score < 0.5]
    assert "rows decided as events, has 0.0" in estimated(state(), low, metrics=["precision"])[0].insufficient
    with pytest.raises(UnknownName):
        estimated(state(), score, metrics=["acuracy"])
    with pytest.raises(UsageError, match="out of range"):
        estimated(state(), score, confidence=0.2)


def test_an_estimate_that_is_no_better_than_a_constant_is_refused() -> None:
    rng = np.random.default_rng(19)
    score = rng.random(4_000)
    y = (rng.random(4_000) < score).astype(np.float64)
    blocks = [Trial(part, period=True) for part in np.array_split(np.arange(4_000), 10)]

    def rows(part: NDArray[np.int64], chance: Floats) -> Told:
        return told(score[part], chance)

    def plan(wrong: float) -> tuple[str, str]:
        given_ = Reckoning(
            4_000,
            blocks,
            {"CBPE": lambda trial: rows(trial.rows, np.clip(score[trial.rows] + wrong, 0, 1))},
            lambda part: rows(part, y[part]),
            1.0,
        )
        found = planned("recall", given_)
        return found.method, found.why

    assert plan(0.0)[0] == "CBPE"
    method, why = plan(0.3)
    assert method == ""
    assert "no estimate was better than the reference's own value" in why


def test_a_reference_without_rows_or_with_other_rows_is_refused() -> None:
    sample, frame = reference()
    with pytest.raises(DataError, match="at least 200"):
        fit_estimator(sample.take(np.arange(150)))
    with pytest.raises(DataError, match="rows for"):
        fit_estimator(sample, frame[:10])
    with pytest.raises(DataError, match="the reference has 1 for each row"):
        estimated(state(), np.ones((5, 2)) / 2)
    with pytest.raises(DataError, match="not finite"):
        estimated(state(), np.array([0.5, np.nan]))
    with pytest.raises(DataError, match="decisions for"):
        estimated(state(), np.array([0.5, 0.4]), decisions=np.array([1]))


def test_a_check_that_breaks_is_an_error_and_not_a_number() -> None:
    frame, score, _ = made(np.random.default_rng(20), 600)
    plan = msgspec.structs.replace(state().plans["accuracy"], between={})
    broken = msgspec.structs.replace(state(), plans={"accuracy": plan})
    found = estimated(broken, score, frame=frame)[0]
    assert found.value is None
    assert found.error.startswith("accuracy could not be estimated: KeyError")


# --- the form ---------------------------------------------------------------------------------------------------


def test_measurements_are_live_named_and_by_slice() -> None:
    frame, score, _ = made(np.random.default_rng(21), 2_000)
    one = estimated(state(), score, frame=frame, metrics=["recall"], confidence=0.9)[0]
    assert (one.phase, one.method, one.n, one.confidence) == (Phase.LIVE, "estimated: conditional", 2_000, 0.9)
    assert "missed least on the reference" in one.reason
    alone = estimated(state(), score, metrics=["recall"])[0]
    assert alone.method == "estimated: CBPE"
    assert alone.reason.endswith("here without columns or reference rows, so CBPE")
    groups = frame["group"].to_numpy()
    sliced = estimated_slices(
        state(), score, groups, "group", "accuracy", frame=frame, expected=["a", "b", "c", "z"], confidence=0.9
    )
    assert [found.slice for found in sliced] == ["group=a", "group=b", "group=c", "group=z"]
    assert all(found.confidence == pytest.approx(0.975) for found in sliced)
    assert sliced[3].insufficient == "cannot estimate: needs at least 50 rows, has 0"
    own = estimated(state(), score[groups == "a"], frame=frame.filter(groups == "a"), metrics=["accuracy"])[0]
    assert sliced[0].value == own.value


def test_other_decisions_than_the_threshold_are_heard() -> None:
    frame, score, _ = made(np.random.default_rng(22), 1_000)
    same = estimated(state(), score, frame=frame, decisions=score >= 0.5, metrics=["precision"])[0]
    assert same.value == estimated(state(), score, frame=frame, metrics=["precision"])[0].value
    all_of_them = estimated(state(), score, frame=frame, decisions=np.ones(1_000, dtype=bool), metrics=["recall"])[0]
    assert all_of_them.value == pytest.approx(1.0)
