"""What a yes/no model gives at one threshold, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import DataError
from roadworthy.measures.at_threshold import AT_THRESHOLD, figures_at
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task


def sample(count: int, seed: int, threshold: float) -> Sample:
    random = np.random.default_rng(seed)
    score = random.random(count)
    return Sample(task=Task.BINARY, y=(random.random(count) < score).astype(np.int64), score=score, threshold=threshold)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(40, 400),
    st.integers(0, 99),
    st.floats(0.05, 0.95),
    st.tuples(st.floats(0, 100), st.floats(0, 100)),
)
def test_figures_are_the_counts(count: int, seed: int, threshold: float, costs: tuple[float, float]) -> None:
    rows = sample(count, seed, threshold)
    said, event = rows.score >= threshold, rows.y == 1
    false, missed = int((said & ~event).sum()), int((~said & event).sum())
    found = {one.metric: one for one in figures_at(rows, costs)}
    assert tuple(found) == AT_THRESHOLD
    assert found["positive_share"].value == pytest.approx(said.mean())
    assert found["false_alarm_share"].value == pytest.approx(false / count)
    assert found["missed_share"].value == pytest.approx(missed / count)
    assert found["recall"].value == pytest.approx(1 - missed / event.sum())
    if said.any():
        assert found["precision"].value == pytest.approx(1 - false / said.sum())
    if found["cost"].value is not None:
        assert found["cost"].value == pytest.approx((costs[0] * false + costs[1] * missed) / count)
    for one in found.values():
        if one.value is not None:
            assert one.lower is not None
            assert one.upper is not None
            assert one.lower <= one.value <= one.upper


def test_what_cannot_be_said_says_why() -> None:
    rows = sample(60, 1, 1.0)
    precision = figures_at(rows, (1.0, 1.0))[0]
    assert precision.value is None
    assert "no row was predicted positive" in precision.insufficient


def test_only_yes_no_models_have_a_threshold() -> None:
    numbers = Sample(task=Task.REGRESSION, y=np.arange(40.0), score=np.arange(40.0))
    with pytest.raises(DataError, match="yes/no models"):
        figures_at(numbers, (1.0, 1.0))
