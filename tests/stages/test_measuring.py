"""Metrics of one class: measured for each class where they are required by the target."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task
from roadworthy.records.verdict import Outcome
from roadworthy.stages.measuring import measurable, measured, measurements
from roadworthy.standard import Requirement
from roadworthy.standard.judge import judge_requirement

NAMES = ("setosa", "versicolor", "virginica")


def flowers(n: int = 900) -> tuple[Sample, pl.DataFrame]:
    """Three classes, of which the last is found only half the time."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    said = np.where((y == 2) & (rng.random(n) < 0.5), 1, y)
    sample = Sample(task=Task.MULTICLASS, y=y, score=np.eye(3)[said], classes=NAMES)
    rows = pl.DataFrame({"kind": [NAMES[place] for place in y], "device": rng.choice(["a", "b"], n)})
    return sample, rows


def test_recall_by_the_target_is_measured_for_each_class_and_the_worst_decides() -> None:
    sample, rows = flowers()
    required = [Requirement(metric="recall", at_least=0.8, slice="kind")]
    found = measurements(sample, rows, required)
    sliced = [one for one in found if one.slice]
    assert [(one.metric, one.slice) for one in sliced] == [("recall", f"kind={name}") for name in NAMES]
    assert [one.value for one in sliced[:2]] == [1.0, 1.0]
    assert sliced[2].value == pytest.approx(0.5, abs=0.08)
    verdict = judge_requirement(required[0], found)
    assert verdict.outcome is Outcome.FAIL
    assert "recall on kind=virginica" in verdict.sentence
    assert not any(one.metric == "recall" and not one.slice for one in found)


def test_a_class_without_a_row_does_not_pass_by_being_absent() -> None:
    sample, rows = flowers()
    kept = sample.y != 2
    required = [Requirement(metric="recall", at_least=0.8, slice="kind")]
    found = measured(sample.take(kept), rows.filter(kept), required)
    assert [one.insufficient for one in found] == ["", "", "recall cannot be measured: no row is positive"]
    assert judge_requirement(required[0], found).outcome is Outcome.INSUFFICIENT


def test_a_metric_of_one_class_by_another_column_is_an_error_that_says_why() -> None:
    sample, rows = flowers()
    found = measured(sample, rows, [Requirement(metric="precision", at_least=0.8, slice="device")])
    assert all("precision is not defined for a multiclass task" in one.error for one in found)


def test_other_metrics_by_the_target_are_slices_as_ever() -> None:
    sample, rows = flowers()
    found = measured(sample, rows, [Requirement(metric="accuracy", at_least=0.5, slice="kind")])
    assert [one.n for one in found] == np.bincount(sample.y).tolist()


def test_binary_rows_by_the_target_give_both_classes() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(500) < 0.3).astype(np.int64)
    sample = Sample(task=Task.BINARY, y=y, score=np.clip(0.2 + 0.5 * y + 0.2 * rng.normal(size=500), 0, 1),
                    threshold=0.5, classes=("no", "yes"))  # fmt: skip
    rows = pl.DataFrame({"bought": np.where(y == 1, "yes", "no"), "half": np.where(np.arange(500) < 250, "x", "z")})
    by_class = measured(sample, rows, [Requirement(metric="recall", at_least=0.5, slice="bought")])
    assert [one.slice for one in by_class] == ["bought=no", "bought=yes"]
    specificity, recall = measured(sample, rows, [Requirement(metric=name, at_least=0.5)
                                                  for name in ("specificity", "recall")])  # fmt: skip
    assert [one.value for one in by_class] == [specificity.value, recall.value]
    by_half = measured(sample, rows, [Requirement(metric="recall", at_least=0.5, slice="half")])
    assert [one.slice for one in by_half] == ["half=x", "half=z"]
    assert all(one.value is not None for one in by_half)


def test_what_is_measurable() -> None:
    assert measurable("recall", Task.MULTICLASS)
    assert measurable("recall", Task.BINARY)
    assert not measurable("recall", Task.REGRESSION)
    assert not measurable("f2", Task.MULTICLASS)
    assert measurable("top_3_accuracy", Task.MULTICLASS)
    assert not measurable("top_3_accuracy", Task.BINARY)
