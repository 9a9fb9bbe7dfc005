"""Wrong labels: planted ones are counted, honest ones are not accused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.label_noise import Contradictions, label_noise, noise_share
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Found, Measurement
from roadworthy.records.project import Task


def silent(frame: pl.DataFrame) -> Answered:
    raise AssertionError(frame.columns)


def examined_of(frame: pl.DataFrame, y: np.ndarray, **more: Any) -> Examined:
    """The model itself knows nothing: only the rows are asked."""
    classes = int(y.max()) + 1
    blank = np.full(len(y), 0.5) if classes == 2 else np.full((len(y), classes), 1 / classes)
    task, threshold = (Task.BINARY, 0.5) if classes == 2 else (Task.MULTICLASS, None)
    sample = Sample(task=task, y=y, score=blank, threshold=threshold)
    return Examined(sample=sample, rows=frame, columns=tuple(frame.columns), answer=silent, **more)


def planted(load: Any, share: float, seed: int) -> tuple[Examined, np.ndarray]:
    table, rng = load(), np.random.default_rng(seed)
    frame = pl.DataFrame(table.data, schema=[f"c{place}" for place in range(table.data.shape[1])])
    y, classes = table.target.astype(np.int64), int(table.target.max()) + 1
    wrong = rng.permutation(len(y)) < round(share * len(y))
    y = np.where(wrong, (y + rng.integers(1, classes, len(y))) % classes, y)
    return examined_of(frame, y), wrong


def measured(found: Found) -> Measurement:
    (one,) = found.measurements
    return one


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_planted_noise_is_estimated(load: Any, share: float) -> None:
    values = []
    for seed in range(4):
        examined, wrong = planted(load, share, seed)
        found = label_noise(examined, Brief(seed=seed))
        one = measured(found)
        assert one.value is not None, one.insufficient
        assert (one.lower or 0) <= share + 0.02
        assert share <= (one.upper or 0) + 0.02
        values.append(one.value)
        rows = found.exhibits[0].columns["row"]
        if share >= 0.05:
            assert wrong[rows].mean() >= 0.5  # most of those named are those that were planted
        if not share:
            assert found.findings == ()
            assert one.value <= 0.01
    assert np.mean(values) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_planted_noise_of_ten_classes(share: float) -> None:
    examined, wrong = planted(load_digits, share, 1)
    found = label_noise(examined, Brief())
    assert measured(found).value == pytest.approx(share, abs=0.025)
    assert [one.grade for one in found.findings] == (["suspects"] if share else [])
    if share:
        rows, shown = found.exhibits[0].columns["row"], found.exhibits[0].columns
        assert (len(rows), wrong[rows].mean()) == (50, pytest.approx(1.0, abs=0.05))
        truth = load_digits().target
        assert np.mean([str(truth[row]) == name for row, name in zip(rows, shown["likelier"], strict=True)]) > 0.9
        assert "%" in found.findings[0].sentence


def hard(n: int, seed: int, slope: float) -> tuple[pl.DataFrame, np.ndarray]:
    """Honest labels that nobody could predict better."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8))
    y = (rng.random(n) < 1 / (1 + np.exp(-slope * (x[:, 0] + x[:, 1])))).astype(np.int64)
    return pl.DataFrame(x, schema=[f"c{place}" for place in range(8)]), y


def test_hard_rows_are_not_taken_for_wrong_labels() -> None:
    accused = 0
    for seed in range(5):
        for n, slope in ((500, 2.0), (2000, 1.5), (4000, 1.5)):
            found = label_noise(examined_of(*hard(n, seed, slope)), Brief(quick=seed % 2 == 1))
            accused += len(found.findings)
    assert accused == 0


def test_where_columns_say_too_little_nothing_is_claimed() -> None:
    frame, y = hard(2000, 1, 0.3)
    assert "tell a wrong label from a hard row" in measured(label_noise(examined_of(frame, y), Brief())).insufficient
    rare = (np.random.default_rng(0).random(2000) < 0.06).astype(np.int64)
    assert measured(label_noise(examined_of(frame, rare), Brief())).insufficient
    assert "100 rows" in measured(label_noise(examined_of(frame[:80], y[:80]), Brief())).insufficient
    few = np.where(np.arange(2000) < 4, 1, 0)
    assert "of each class" in measured(label_noise(examined_of(frame, few), Brief())).insufficient
    number = Sample(task=Task.REGRESSION, y=y.astype(float), score=y.astype(float))
    assert label_noise(Examined(sample=number, rows=frame, columns=("c0",), answer=silent), Brief()) == Found()


def test_the_interval_holds_where_noise_is_all_there_is() -> None:
    """Cut to proportions: rows that are sure, of which a known share is wrong."""
    held = np.zeros(2, dtype=np.int64)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        said = rng.integers(0, 2, 1000)
        sure = 0.95 + 0.04 * rng.random(1000)
        probability = np.where(np.arange(2) == said[:, None], sure[:, None], 1 - sure[:, None])
        y = np.where(rng.random(1000) < 0.05, 1 - said, said)
        bounds = noise_share(Contradictions(probability, y, np.arange(1000), None), 0.95)
        held += [bounds.lower <= 0.05, bounds.upper >= 0.05]
    assert min(held) >= 181  # 200 at 95 %: 180 or fewer come up once in a thousand


def test_training_rows_help_and_rows_inspected_alone_are_named() -> None:
    frame, y = hard(600, 3, 8.0)
    wrong = np.arange(300) < 30
    given = np.where(wrong, 1 - y[:300], y[:300])
    alone = label_noise(examined_of(frame[:300], given), Brief())
    helped = label_noise(examined_of(frame[:300], given, train=frame[300:], train_y=y[300:]), Brief())
    for found in (alone, helped):
        assert measured(found).n == 300
        assert max(found.exhibits[0].columns["row"]) < 300
        json.dumps(found.exhibits[0].columns, allow_nan=False)
    hits = [wrong[found.exhibits[0].columns["row"]].sum() for found in (alone, helped)]
    assert hits[1] >= hits[0] >= 15
    assert helped == label_noise(examined_of(frame[:300], given, train=frame[300:], train_y=y[300:]), Brief())
