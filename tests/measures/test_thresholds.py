from __future__ import annotations

import numpy as np
import pytest

from roadworthy.errors import DataError, ProjectFileError, RoadworthyError, UnknownName
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.measures.thresholds import ThresholdChoice, choose_threshold
from roadworthy.records.project import DecisionSpec, Task


def sample(n: int = 2000, seed: int = 0, steep: float = 3.0) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    p = 1 / (1 + np.exp(-(steep * x - 1)))
    return Sample(task=Task.BINARY, y=(rng.random(n) < p).astype(np.int64), score=p)


def choose(threshold: object, rows: Sample | None = None) -> ThresholdChoice:
    return choose_threshold(DecisionSpec(threshold=threshold), rows or sample())  # type: ignore[arg-type]  # wrong ones too


def test_a_fixed_number_stands() -> None:
    assert choose(0.3).threshold == 0.3


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1", "mcc"])
def test_the_maximum_is_the_best_of_all_thresholds(metric: str) -> None:
    rows = sample(300)
    found = choose({"maximize": metric}, rows)
    reached = measure(metric, rows.at(found.threshold)).value or 0.0
    others = [measure(metric, rows.at(t)).value or 0.0 for t in np.unique(rows.score)]
    assert reached == pytest.approx(max(others), abs=1e-9)


def test_cost_weighs_the_two_errors() -> None:
    rows = sample()
    dear_misses = choose({"minimize": "cost", "false_positive": 1, "false_negative": 9}, rows)
    dear_alarms = choose({"minimize": "cost", "false_positive": 9, "false_negative": 1}, rows)
    # scores are the true probabilities here, so the best threshold is known: fp / (fp + fn)
    assert dear_misses.threshold == pytest.approx(0.1, abs=0.06)
    assert dear_alarms.threshold == pytest.approx(0.9, abs=0.06)
    assert "cost" in dear_misses.exhibit.columns


def test_f_beta_leans_to_recall_with_beta() -> None:
    assert choose({"maximize": "f_beta", "beta": 3}).threshold < choose({"maximize": "f_beta", "beta": 0.3}).threshold


def test_the_lower_bound_clears_the_constraint_not_just_the_value() -> None:
    rows = sample()
    found = choose({"maximize": "recall", "subject_to": "precision >= 0.80"}, rows)
    at = measure("precision", rows.at(found.threshold))
    assert (at.lower or 0) >= 0.80
    assert "prove precision >= 0.8" in found.explanation
    free = choose({"maximize": "recall"}, rows)
    assert free.threshold < found.threshold
    assert "nothing was asked of the other kind of error" in free.explanation


def test_after_tuning_the_bounds_claim_no_more_than_they_hold() -> None:
    spec = DecisionSpec(threshold={"maximize": "recall", "subject_to": "precision >= 0.80"})
    plain, tuned = (choose_threshold(spec, sample(), tuned=tuned) for tuned in (False, True))
    assert plain.threshold == tuned.threshold
    assert "all thresholds tried on these scores hold together with 95% confidence" in plain.explanation
    assert "tuning" not in plain.explanation
    assert "picked the candidate's parameters on the same folds" in tuned.explanation
    free = choose_threshold(DecisionSpec(threshold={"maximize": "recall"}), sample(), tuned=True)
    assert "tuning" not in free.explanation  # nothing is claimed, so nothing is taken back


def test_a_constraint_that_nothing_proves_is_said_plainly() -> None:
    found = choose({"maximize": "recall", "subject_to": "precision >= 99.9 %"}, sample(300))
    assert "No threshold proves precision >= 0.999" in found.explanation
    assert "The constraint is not met." in found.explanation


def test_chosen_thresholds_meet_the_constraint_in_truth() -> None:
    # picking among many thresholds that pass by luck would miss far more often than 5 %
    truth = sample(400_000, 99)
    order = np.sort(truth.score)
    precision = {}
    missed = 0
    for seed in range(120):
        found = choose({"maximize": "recall", "subject_to": "precision >= 0.80"}, sample(500, seed))
        if "No threshold" in found.explanation:
            continue
        called = truth.score >= found.threshold
        precision[seed] = truth.y[called].mean()
        missed += precision[seed] < 0.80
    assert len(order) == truth.n
    assert len(precision) > 100
    assert missed <= 0.05 * len(precision) + 3.3 * np.sqrt(0.05 * 0.95 * len(precision))
    assert missed <= 6


def test_recall_and_specificity_can_constrain_too() -> None:
    rows = sample()
    sensitive = choose({"maximize": "precision", "subject_to": "recall >= 0.9"}, rows)
    assert (measure("recall", rows.at(sensitive.threshold)).lower or 0) >= 0.9
    specific = choose({"maximize": "recall", "subject_to": "specificity >= 0.9"}, rows)
    assert (measure("specificity", rows.at(specific.threshold)).lower or 0) >= 0.9


def test_the_exhibit_is_small_and_right() -> None:
    rows = sample(5000)
    table = choose({"maximize": "accuracy"}, rows).exhibit
    assert table.name == "tradeoff"
    assert len(table.columns["threshold"]) <= 200
    at = 100
    decided = rows.at(table.columns["threshold"][at])
    assert table.columns["precision"][at] == pytest.approx(measure("precision", decided).value)
    assert table.columns["recall"][at] == pytest.approx(measure("recall", decided).value)


def test_no_score_lies_on_a_chosen_threshold() -> None:
    rows = sample(400)
    assert choose({"maximize": "f1"}, rows).threshold not in set(rows.score)


@pytest.mark.parametrize(
    ("declared", "error", "words"),
    [
        ({"maximize": "acuracy"}, UnknownName, "did you mean 'accuracy'"),
        ({"maximise": "accuracy"}, UnknownName, "did you mean 'maximize'"),
        ({"maximize": "recall", "minimize": "cost"}, ProjectFileError, "exactly one"),
        ({"maximize": "recall", "subject_to": "precision > 0.8"}, ProjectFileError, "lower bound"),
        ({"maximize": "recall", "subject_to": "precision >= 80"}, ProjectFileError, "from -1 to 1"),
        ({"maximize": "recall", "subject_to": "brier >= 0.8"}, UnknownName, "brier"),
        ({"minimize": "cost", "false_positive": 1}, ProjectFileError, "false_negative"),
        ({"minimize": "cost", "false_positive": -1, "false_negative": 1}, ProjectFileError, "false_positive"),
        (1.5, ProjectFileError, "from 0 to 1"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_refused(
    declared: object, error: type[RoadworthyError], words: str
) -> None:
    with pytest.raises(error) as caught:
        choose(declared)
    assert words in str(caught.value)


def test_only_binary_rows_have_a_threshold() -> None:
    with pytest.raises(DataError):
        choose(0.5, Sample(task=Task.REGRESSION, y=np.ones(3), score=np.ones(3)))
