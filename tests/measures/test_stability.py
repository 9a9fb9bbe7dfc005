"""Stability: seeds, bootstrap samples, one seed twice, and models that grow old."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, LogisticRegression

from roadworthy.measures.examined import Answer, Answered, Brief, Examined
from roadworthy.measures.samples import Sample
from roadworthy.measures.stability import AGEING_TRAININGS, ageing, over_time, retrained, trainings_of
from roadworthy.records.evidence import Found, Measurement
from roadworthy.records.project import Task

Fit = Callable[[NDArray[Any], NDArray[Any], int], Callable[[NDArray[Any]], NDArray[np.float64]]]


def logistic(x: NDArray[Any], y: NDArray[Any], _seed: int) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    model = LogisticRegression().fit(x, y)
    return lambda asked: np.asarray(model.predict_proba(asked)[:, 1])


def noisy(x: NDArray[Any], _y: NDArray[Any], seed: int) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """A model that learns nothing but its seed."""
    weights = np.random.default_rng(seed).normal(size=x.shape[1])
    return lambda asked: np.asarray(1 / (1 + np.exp(-asked @ weights)))


def unrepeatable() -> Fit:
    draws = np.random.default_rng(1)

    def fit(x: NDArray[Any], y: NDArray[Any], _seed: int) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
        return noisy(x, y, int(draws.integers(1 << 30)))

    return fit


def examined(
    fit: Fit | None, *, rows: int = 3_000, drift: float = 0.0, train: bool = True, times: bool = True
) -> Examined:
    """A binary model on two columns whose meaning turns by ``drift`` radians over time."""
    rng = np.random.default_rng(3)
    total = rows * 2
    x = rng.normal(size=(total, 2))
    angle = drift * np.arange(total) / total
    signal = 2.5 * (x[:, 0] * np.cos(angle) + x[:, 1] * np.sin(angle))
    y = (rng.random(total) < 1 / (1 + np.exp(-signal))).astype(np.int64)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1]})
    if times:
        frame = frame.with_columns(at=pl.Series([start + timedelta(minutes=place) for place in range(total)]))

    def refit(given: pl.DataFrame, outcome: NDArray[Any], seed: int) -> Answer:
        assert fit is not None
        predict = fit(given.select("a", "b").to_numpy(), outcome, seed)

        def answer(asked: pl.DataFrame) -> Answered:
            return Answered(predict(asked.select("a", "b").to_numpy()), np.zeros(asked.height, dtype=np.bool_))

        return answer

    def constant(asked: pl.DataFrame) -> Answered:
        return Answered(np.full(asked.height, 0.5), np.zeros(asked.height, dtype=np.bool_))

    answer = refit(frame[:rows], y[:rows], 7) if fit else constant
    held = frame[rows:]
    return Examined(
        sample=Sample(task=Task.BINARY, y=y[rows:], score=answer(held).score, threshold=0.5),
        rows=held,
        columns=("a", "b"),
        answer=answer,
        time="at" if times else "",
        train=frame[:rows] if train else None,
        train_y=y[:rows] if train else None,
        refit=refit if fit else None,
    )


def named(found: Found, metric: str, cut: str = "") -> Measurement:
    return next(one for one in found.measurements if one.metric == metric and one.slice == cut)


def value_of(found: Found, metric: str, cut: str = "") -> float:
    value = named(found, metric, cut).value
    assert value is not None
    return value


def test_a_model_that_ignores_its_seed_is_the_same_every_time() -> None:
    found = retrained(examined(logistic), Brief(retrainings=10))
    assert value_of(found, "churn", "trainings=seeds") == 0
    assert value_of(found, "training_spread", "trainings=seeds") == pytest.approx(0, abs=1e-12)
    assert value_of(found, "irreproducibility") == 0
    assert 0 < value_of(found, "churn", "trainings=bootstrap") < 0.05
    assert value_of(found, "churn") == value_of(found, "churn", "trainings=bootstrap")
    assert not found.findings


def test_a_model_that_learns_only_its_seed_churns_and_is_told_so() -> None:
    found = retrained(examined(noisy), Brief(retrainings=10))
    assert value_of(found, "churn", "trainings=seeds") > 0.3
    assert [one.kind for one in found.findings] == ["churn"]
    assert found.findings[0].grade == "suspects"
    assert value_of(found, "irreproducibility") == 0


def test_a_training_that_cannot_be_repeated_is_told_so() -> None:
    found = retrained(examined(unrepeatable()), Brief(retrainings=8))
    assert value_of(found, "irreproducibility") > 0.1
    assert "irreproducible" in [one.kind for one in found.findings]


def test_without_training_rows_one_half_trains_and_the_other_is_asked() -> None:
    found = retrained(examined(logistic, train=False), Brief(retrainings=8))
    assert 1_300 < named(found, "churn").n < 1_700


def test_every_announced_training_is_told() -> None:
    steps: list[int] = []
    brief = Brief(retrainings=12, advance=steps.append)
    subject = examined(logistic, rows=600)
    retrained(subject, brief)
    assert sum(steps) == trainings_of(subject, brief) == 12
    steps.clear()
    ageing(examined(logistic, rows=1_200), brief)
    assert sum(steps) == AGEING_TRAININGS


def test_nothing_is_claimed_where_nothing_can_be_trained() -> None:
    assert retrained(examined(None), Brief(retrainings=8)) == Found()
    assert ageing(examined(None), Brief()) == Found()


def test_churn_bounds_hold_over_new_rows_and_new_seeds() -> None:
    """The truth: two trainings with random seeds on random rows disagree with a probability that can be computed."""
    rng = np.random.default_rng(5)

    def disagreement(first: NDArray[Any], second: NDArray[Any]) -> float:
        """Two half planes through the origin disagree on twice their angle over a turn."""
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        return float(np.arccos(np.clip(cosine, -1, 1)) / np.pi)

    pairs = [disagreement(rng.normal(size=2) + 2, rng.normal(size=2) + 2) for _ in range(20_000)]
    truth, held = float(np.mean(pairs)), []
    subject = examined(None, rows=400)

    def refit(_rows: pl.DataFrame, _y: NDArray[Any], _seed: int) -> Answer:
        weights = rng.normal(size=2) + 2
        return lambda asked: Answered(
            (asked.select("a", "b").to_numpy() @ weights > 0).astype(float), np.zeros(asked.height, dtype=np.bool_)
        )

    for repeat in range(150):
        fresh = Examined(
            sample=Sample(task=Task.BINARY, y=subject.sample.y, score=np.zeros(400), threshold=0.5),
            rows=pl.DataFrame(np.random.default_rng(repeat).normal(size=(400, 2)), schema=["a", "b"]),
            columns=("a", "b"),
            answer=subject.answer,
            train=subject.train,
            train_y=subject.train_y,
            refit=refit,
        )
        churn = named(retrained(fresh, Brief(retrainings=14, seed=repeat)), "churn", "trainings=seeds")
        assert churn.lower is not None
        assert churn.upper is not None
        held.append((churn.lower <= truth, truth <= churn.upper))
    shares = np.mean(held, axis=0)
    assert shares.min() > 0.9, shares


def test_a_world_that_turns_makes_an_old_model_stale() -> None:
    found = ageing(examined(logistic, drift=2.5), Brief())
    measured = named(found, "staleness")
    assert measured.lower is not None
    assert measured.lower > 0.1
    assert found.findings[0].kind == "staleness"
    assert len(found.exhibits[0].columns["period"]) == AGEING_TRAININGS


def test_a_world_that_stands_still_makes_no_model_stale() -> None:
    found = ageing(examined(logistic), Brief())
    measured = named(found, "staleness")
    assert measured.lower is not None
    assert measured.upper is not None
    assert measured.lower <= 0.01
    assert measured.upper < 0.1
    assert not found.findings


def test_too_few_rows_to_tell_staleness_say_so() -> None:
    found = ageing(examined(logistic, rows=300), Brief())
    assert "staleness needs 1,200 rows" in named(found, "staleness").insufficient


def test_falling_quality_is_seen_over_the_rows_own_time() -> None:
    falling = over_time(examined(logistic, drift=4.0), Brief())
    assert [one.kind for one in falling.findings] == ["falling_quality"]
    assert not over_time(examined(logistic), Brief()).findings


def test_regression_has_a_spread_but_no_decisions_to_churn() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(1_000, 2))
    y = x @ [1.0, 2.0] + rng.normal(size=1_000)
    frame = pl.DataFrame(x, schema=["a", "b"])

    def refit(given: pl.DataFrame, outcome: NDArray[Any], _seed: int) -> Answer:
        model = LinearRegression().fit(given.to_numpy(), outcome)
        return lambda asked: Answered(model.predict(asked.to_numpy()), np.zeros(asked.height, dtype=np.bool_))

    answer = refit(frame, y, 0)
    subject = Examined(
        sample=Sample(task=Task.REGRESSION, y=y, score=answer(frame).score),
        rows=frame,
        columns=("a", "b"),
        answer=answer,
        refit=refit,
    )
    found = retrained(subject, Brief(retrainings=8))
    assert {one.metric for one in found.measurements} == {"training_spread", "irreproducibility"}
