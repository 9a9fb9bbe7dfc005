from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from roadworthy.errors import DataError, UnknownName, UsageError
from roadworthy.measures import confusion, quality
from roadworthy.measures.intervals import Bounds
from roadworthy.measures.quality import (
    METRICS,
    PER_CLASS,
    class_measure,
    measure,
    measure_safely,
    metrics_for,
    slice_measure,
)
from roadworthy.measures.ranking import auc_value
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task
from roadworthy.standard import CATALOGUE


def binary(n: int = 600, seed: int = 0, *, rounded: bool = True) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    p = 1 / (1 + np.exp(-2 * x))
    y = (rng.random(n) < p).astype(np.int64)
    return Sample(task=Task.BINARY, y=y, score=np.round(p, 2) if rounded else p, threshold=0.4)


def multiclass(n: int = 600) -> Sample:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(n, 3)) * 1.5
    score = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (logits + rng.gumbel(size=(n, 3))).argmax(axis=1)
    return Sample(task=Task.MULTICLASS, y=y, score=score)


def regression(n: int = 600) -> Sample:
    rng = np.random.default_rng(2)
    x = rng.normal(size=n)
    return Sample(task=Task.REGRESSION, y=2 * x + rng.normal(size=n), score=2 * x)


def value(metric: str, sample: Sample) -> float:
    measured = measure(metric, sample)
    assert measured.value is not None, measured
    assert measured.lower is not None
    assert measured.upper is not None
    assert measured.lower <= measured.value <= measured.upper
    return measured.value


def test_binary_values_are_scikit_learns() -> None:
    s = binary()
    said = s.decision
    expected = {
        "accuracy": reference.accuracy_score(s.y, said),
        "balanced_accuracy": reference.balanced_accuracy_score(s.y, said),
        "precision": reference.precision_score(s.y, said),
        "recall": reference.recall_score(s.y, said),
        "specificity": reference.recall_score(s.y, said, pos_label=0),
        "f1": reference.f1_score(s.y, said),
        "f05": reference.fbeta_score(s.y, said, beta=0.5),
        "f2": reference.fbeta_score(s.y, said, beta=2),
        "macro_f1": reference.f1_score(s.y, said, average="macro"),
        "mcc": reference.matthews_corrcoef(s.y, said),
        "roc_auc": reference.roc_auc_score(s.y, s.score),
        "pr_auc": reference.average_precision_score(s.y, s.score),
        "log_loss": reference.log_loss(s.y, np.clip(s.score, 1e-7, 1 - 1e-7)),
        "brier": reference.brier_score_loss(s.y, s.score),
    }
    assert {metric: value(metric, s) for metric in expected} == pytest.approx(expected)
    base = reference.log_loss(s.y, np.full(s.n, s.y.mean()))
    assert value("skill", s) == pytest.approx(1 - expected["log_loss"] / base)
    assert value("lift", s) == pytest.approx(expected["accuracy"] - max(s.y.mean(), 1 - s.y.mean()))


def test_multiclass_values_are_scikit_learns() -> None:
    s = multiclass()
    said = s.score.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(s.y, said),
        "balanced_accuracy": reference.balanced_accuracy_score(s.y, said),
        "macro_f1": reference.f1_score(s.y, said, average="macro"),
        "mcc": reference.matthews_corrcoef(s.y, said),
        "log_loss": reference.log_loss(s.y, s.score),
    }
    assert {metric: value(metric, s) for metric in expected} == pytest.approx(expected)


def test_regression_values_are_scikit_learns() -> None:
    s = regression()
    expected = {
        "mae": reference.mean_absolute_error(s.y, s.score),
        "rmse": reference.root_mean_squared_error(s.y, s.score),
        "r2": reference.r2_score(s.y, s.score),
        "median_absolute_error": reference.median_absolute_error(s.y, s.score),
    }
    assert {metric: value(metric, s) for metric in expected} == pytest.approx(expected)


def test_delongs_variance_is_the_jackknifes() -> None:
    s = binary(300, 4)
    bounds = measure("roc_auc", s)
    rest = np.arange(s.n)
    leave = np.array([auc_value(np.delete(s.y, i) == 1, np.delete(s.score, i)) for i in rest])
    error = np.sqrt((s.n - 1) / s.n * ((leave - leave.mean()) ** 2).sum())
    auc = bounds.value or 0.0
    half = 1.6449 * error / (auc * (1 - auc))
    assert bounds.lower == pytest.approx(1 / (1 + np.exp(-(np.log(auc / (1 - auc)) - half))), abs=2e-3)


@pytest.mark.parametrize("formula", [confusion._balanced, confusion._macro_f1, confusion._mcc])
def test_the_matrix_formulas_have_their_own_slopes(formula: confusion._Formula) -> None:
    counts = np.random.default_rng(0).integers(1, 50, (4, 4)).astype(float)

    def at(matrix: np.ndarray) -> float:
        return float(formula(confusion._margins(matrix)))

    slopes = confusion._slopes(formula, counts)
    for cell in np.ndindex(4, 4):
        step = np.zeros((4, 4))
        step[cell] = 1e-4
        assert slopes[cell] == pytest.approx((at(counts + step) - at(counts - step)) / 2e-4, abs=1e-8)


def test_every_metric_is_in_the_catalogue_for_the_same_tasks() -> None:
    for name, (_, tasks) in METRICS.items():
        by_class = {Task.MULTICLASS} if name in PER_CLASS else set()
        assert set(tasks) | by_class == set(CATALOGUE[name].tasks), name


def test_a_calibrated_model_shows_no_error_and_a_bent_one_does() -> None:
    good, n = binary(20_000, 5, rounded=False), 20_000
    measured = measure("calibration_error", good)
    assert measured.lower is not None
    assert measured.lower <= 0 < (measured.upper or 0) < 0.001
    bent = Sample(task=Task.BINARY, y=good.y, score=np.clip(good.score * 0.5, 0, 1))
    gap = np.mean((good.score * 0.5) ** 2)
    assert (measure("calibration_error", bent).lower or 0) == pytest.approx(gap, rel=0.1)
    assert n == bent.n


def test_perfect_separation_is_not_certainty() -> None:
    y = np.repeat([0, 1], 150)
    s = Sample(task=Task.BINARY, y=y, score=np.where(y == 1, 0.9, 0.1), threshold=0.5)
    for metric in metrics_for(Task.BINARY):
        measured = measure(metric, s)
        if metric in {"log_loss", "brier", "skill", "lift", "calibration_error"}:
            assert not measured.error
            continue
        assert measured.value == 1.0, metric
        assert measured.upper == 1.0, metric
        assert 0.85 < (measured.lower or 0) < 1.0, metric
    turned = Sample(task=Task.BINARY, y=1 - y, score=s.score)
    assert measure("roc_auc", turned).value == 0.0
    assert 0 < (measure("roc_auc", turned).upper or 0) < 0.1


@pytest.mark.parametrize(("metric", "truth"), [("roc_auc", 0.99), ("pr_auc", 0.9532)])
def test_a_perfect_order_does_not_hide_rare_false_alarms(metric: str, truth: float) -> None:
    """One non-event in a hundred ranks above all events; often a sample of 400 rows has none or one of them.

    Average precision of the law: events in half of the rows, 0.01 of false alarms at every recall t, so the mean of
    t / (t + 0.01) over t, which is 1 - 0.01 log(101).
    """
    rng = np.random.default_rng(3)
    bounds = []
    for _ in range(400):
        y = (rng.random(400) < 0.5).astype(np.int64)
        score = 0.4 * y + 0.2 * rng.random(400)
        score = np.where((y == 0) & (rng.random(400) < 0.01), 0.8 + 0.1 * rng.random(400), score)
        bounds.append(measure(metric, Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)))
    assert np.mean([(one.lower or 0.0) <= truth for one in bounds]) >= 0.95
    assert np.mean([(one.upper or 1.0) >= truth for one in bounds]) >= 0.93
    assert min(one.lower or 0.0 for one in bounds) > 0.7, "a bound near 0 says nothing"


def test_rank_metrics_need_a_hundred_rows_of_the_rarer_class() -> None:
    y = (np.arange(1000) < 42).astype(np.int64)
    s = Sample(task=Task.BINARY, y=y, score=np.linspace(1, 0, 1000), threshold=0.5)
    assert measure("roc_auc", s).insufficient == "roc_auc needs at least 100 rows of the rarer class, has 42"
    assert measure("pr_auc", s).value is None


def test_macro_f1_does_not_hang_on_single_rows() -> None:
    y = np.repeat([0, 1, 2], [90, 80, 30])
    said = np.eye(3)[np.where(np.arange(200) < 197, np.minimum(y, 1), 2)]
    few = measure("macro_f1", Sample(task=Task.MULTICLASS, y=y, score=said))
    many = measure("macro_f1", Sample(task=Task.MULTICLASS, y=np.tile(y, 20), score=np.tile(said, (20, 1))))
    assert few.value == many.value
    assert (few.upper or 1) - (few.value or 0) > 0.05
    assert (many.upper or 1) - (many.value or 0) < 0.02


def test_the_whole_matrix_needs_five_rows_of_the_rarest_class() -> None:
    for rare in (4, 5):
        y = np.repeat([0, 1, 2], [90, 80, rare])
        s = Sample(task=Task.MULTICLASS, y=y, score=np.eye(3)[y])
        for metric in ("balanced_accuracy", "macro_f1", "mcc"):
            found = measure(metric, s)
            assert (found.value is None) == (rare < 5)
            assert (f"{metric} needs at least 5 rows of the rarest class, has 4" == found.insufficient) == (rare < 5)


def test_bounds_of_the_matrix_repeat_and_know_no_order_and_widen_with_confidence() -> None:
    s = multiclass(150)
    turned = s.take(np.random.default_rng(0).permutation(s.n))
    for metric in ("balanced_accuracy", "macro_f1", "mcc"):
        assert measure(metric, s) == measure(metric, s) == measure(metric, turned)
        levels = [measure(metric, s, confidence=level) for level in (0.8, 0.95, 0.99, 0.9995)]
        ends = [(one.lower or 0.0, one.upper or 0.0) for one in levels]
        assert [low for low, _ in ends] == sorted((low for low, _ in ends), reverse=True)
        assert [high for _, high in ends] == sorted(high for _, high in ends)
    own = Sample(task=s.task, y=s.y, score=s.score, clusters=np.arange(s.n))
    assert measure("mcc", own).lower == measure("mcc", s).lower
    tripled = Sample(
        task=s.task,
        y=np.repeat(s.y, 3),
        score=np.repeat(s.score, 3, axis=0),
        clusters=np.repeat(np.arange(s.n), 3),
    )
    assert measure("mcc", tripled).lower == pytest.approx(measure("mcc", s).lower, abs=0.01)


def test_many_classes_are_measured_in_moments() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 40, 6000)
    said = np.where(rng.random(6000) < 0.7, y, rng.integers(0, 40, 6000))
    s = Sample(task=Task.MULTICLASS, y=y, score=np.eye(40)[said])
    for metric in ("balanced_accuracy", "macro_f1", "mcc"):
        found = measure(metric, s)
        assert (found.lower or 0) < 0.705 < (found.upper or 1)
        assert (found.upper or 1) - (found.lower or 0) < 0.03


@pytest.mark.parametrize("k", [3, 5])
def test_the_truth_is_looked_for_among_the_likeliest_classes(k: int) -> None:
    rng = np.random.default_rng(4)
    score = rng.dirichlet(np.ones(8), 500)
    y = (score * rng.random((500, 8))).argmax(axis=1)
    s = Sample(task=Task.MULTICLASS, y=y, score=score)
    wanted = reference.top_k_accuracy_score(y, score, k=k, labels=range(8))
    assert value(f"top_{k}_accuracy", s) == pytest.approx(wanted)
    few = Sample(task=Task.MULTICLASS, y=y % k, score=rng.dirichlet(np.ones(k), 500))
    assert f"needs more than {k} classes, has {k}" in measure(f"top_{k}_accuracy", few).insufficient
    level = Sample(task=Task.MULTICLASS, y=np.arange(8).repeat(50), score=np.full((400, 8), 1 / 8))
    assert measure(f"top_{k}_accuracy", level).value == k / 8


def test_each_class_is_measured_against_all_others() -> None:
    s = multiclass()
    named = Sample(task=s.task, y=s.y, score=s.score, classes=("a", "b", "c"))
    said = s.score.argmax(axis=1)
    recalls = reference.recall_score(s.y, said, average=None)
    precisions = reference.precision_score(s.y, said, average=None)
    for metric, wanted in (("recall", recalls), ("precision", precisions)):
        found = class_measure(metric, named, "species", confidence=0.94)
        assert [one.slice for one in found] == ["species=a", "species=b", "species=c"]
        assert [one.value for one in found] == pytest.approx(wanted)
        assert all(one.confidence == pytest.approx(0.98) for one in found)
    assert [one.among for one in class_measure("recall", named, "species")] == np.bincount(s.y).tolist()
    left = (said != 1)[s.y != 1].mean()
    assert class_measure("specificity", named, "species")[1].value == pytest.approx(left)
    without = named.take(s.y != 2)
    assert (
        class_measure("recall", without, "species")[2].insufficient == "recall cannot be measured: no row is positive"
    )
    two = class_measure("recall", binary(), "converted")
    assert two[0].value == measure("specificity", binary()).value
    assert two[1].value == measure("recall", binary()).value
    with pytest.raises(UnknownName):
        class_measure("accuracy", named, "species")
    with pytest.raises(DataError, match="no classes"):
        class_measure("recall", regression(), "species")


def test_what_cannot_be_answered_says_why() -> None:
    y = np.array([0] * 40, dtype=np.int64)
    s = Sample(task=Task.BINARY, y=y, score=np.full(40, 0.1), threshold=0.5)
    assert "no row is positive" in measure("recall", s).insufficient
    assert "no row was predicted positive" in measure("precision", s).insufficient
    assert measure("accuracy", s.take(np.zeros(40, dtype=bool))).insufficient == "no row to measure"
    flat = Sample(task=Task.REGRESSION, y=np.ones(50), score=np.ones(50))
    assert "constant" in measure("r2", flat).insufficient
    assert measure("mae", flat).insufficient


def test_wrong_words_raise() -> None:
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        measure("acuracy", binary())
    with pytest.raises(DataError, match="not defined for a regression task"):
        measure("recall", regression())
    with pytest.raises(UsageError, match="confidence"):
        measure("accuracy", binary(), confidence=95)


def test_a_check_that_breaks_becomes_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_sample: Sample, _confidence: float) -> Bounds:
        raise ZeroDivisionError("by nought")

    def endless(_sample: Sample, _confidence: float) -> Bounds:
        return Bounds(float("nan"), 0.0, 1.0, "")

    monkeypatch.setitem(quality.METRICS, "brier", (breaks, (Task.BINARY,)))
    assert "ZeroDivisionError: by nought" in measure_safely("brier", binary()).error
    monkeypatch.setitem(quality.METRICS, "brier", (endless, (Task.BINARY,)))
    assert measure_safely("brier", binary()).error
    undecided = Sample(task=Task.BINARY, y=binary().y, score=binary().score)
    assert "threshold" in measure_safely("precision", undecided).error


def test_a_share_says_how_many_rows_it_is_counted_over() -> None:
    s = binary()
    predicted = s.decision == 1
    among = {
        "recall": (s.y == 1).sum(),
        "specificity": (s.y == 0).sum(),
        "precision": predicted.sum(),
        "f1": (predicted | (s.y == 1)).sum(),
        "accuracy": 0,
    }
    assert {metric: measure(metric, s).among for metric in among} == among
    assert measure("recall", s).n == s.n


def test_slices_share_the_error_and_keep_missing_apart() -> None:
    s = binary()
    groups = np.array(["a", "b", None], dtype=object)[np.arange(s.n) % 3]
    found = slice_measure("accuracy", s, groups, "device", confidence=0.94)
    assert [item.slice for item in found] == ["device=a", "device=b", "device=missing"]
    assert all(item.confidence == pytest.approx(0.98) for item in found)
    assert sum(item.n for item in found) == s.n
    wanted = slice_measure("accuracy", s, groups, "device", expected=["a", "watch"], confidence=0.94)
    assert [(item.slice, item.insufficient) for item in wanted if item.n == 0] == [
        ("device=watch", "no row to measure")
    ]
    assert all(item.confidence == pytest.approx(0.985) for item in wanted)
    with pytest.raises(DataError, match="600 values"):
        slice_measure("accuracy", s, np.arange(s.n), "id")


def test_a_sample_that_does_not_fit_together_is_refused_with_every_fault() -> None:
    with pytest.raises(DataError) as caught:
        Sample(task=Task.BINARY, y=np.zeros(3, dtype=int), score=np.zeros(4), clusters=np.zeros(2, dtype=int))
    assert len(caught.value.problems) == 2
    for score in (np.array([0.1, np.nan]), np.array([0.1, 1.5])):
        with pytest.raises(DataError):
            Sample(task=Task.BINARY, y=np.array([0, 1]), score=score)
    with pytest.raises(DataError, match="sum to 1"):
        Sample(task=Task.MULTICLASS, y=np.array([0, 1]), score=np.full((2, 3), 0.9))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**31), st.sampled_from(list(Task)), st.booleans())
def test_nothing_that_is_not_finite_ever_comes_out(n: int, seed: int, task: Task, clustered: bool) -> None:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 12, n) if clustered else None
    if task is Task.REGRESSION:
        y, score = rng.choice([0.0, 1.0, 1e12, -5.5], n), rng.choice([0.0, 1.0, 1e12], n)
    elif task is Task.BINARY:
        y, score = rng.integers(0, 2, n), rng.choice([0.0, 0.5, 1.0], n)
    else:
        y, score = rng.integers(0, 3, n), np.eye(3)[rng.integers(0, 3, n)]
    s = Sample(task=task, y=y, score=score, threshold=0.5, clusters=clusters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in metrics_for(task):
            measured = measure(metric, s)
            assert not measured.error
            if measured.insufficient:
                assert measured.value is None
                continue
            numbers = (measured.lower, measured.value, measured.upper)
            assert all(number is not None and np.isfinite(number) for number in numbers)
            assert numbers == tuple(sorted(numbers))  # type: ignore[type-var]  # none is None, as just shown
