"""One row, one score: in training, from the graph, and through predict, score, trace and inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from roadworthy import api
from roadworthy.graphs.runner import GraphModel
from roadworthy.transforms.aggregates import ROW

FLOAT = 2e-6
"""What the packaged graph may differ from the training framework: the graph computes in float32."""


@pytest.fixture(params=["visits", "wine", "diabetes"])
def done(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def scored(done: Any, data: Any, out: Path, **more: Any) -> pl.DataFrame:
    api.score(data, out, done.folder, **more)
    return pl.read_parquet(out)


def same(left: NDArray[np.float64], right: NDArray[np.float64], scale: float = 1.0) -> None:
    np.testing.assert_allclose(left / scale, right / scale, rtol=0, atol=FLOAT)


def scale_of(done: Any) -> float:
    return 1.0 if done.classes else float(np.abs(done.scores(done.holdout)).max())


def test_the_graph_on_the_feature_table_is_what_training_predicted(done: Any) -> None:
    rows = done.table.join(done.holdout.select(ROW), on=ROW)
    same(GraphModel(done.model).score(rows), done.scores(done.holdout), scale_of(done))


def test_score_over_the_raw_rows_is_the_graph_on_the_feature_table_for_every_kept_row(
    done: Any, tmp_path: Path
) -> None:
    """What was trained is what is served: cleaning, features and aggregates are replayed, exactly."""
    answers = scored(done, done.raw, tmp_path / "all.parquet")
    assert answers["row"].to_list() == list(range(done.raw.height))
    kept = answers[done.table[ROW].to_list()]
    np.testing.assert_array_equal(done.scores(kept), GraphModel(done.model).score(done.table))
    assert kept["problems"].null_count() == kept.height


def test_the_holdout_with_its_history_has_exactly_the_offline_aggregates(visits: Any, tmp_path: Path) -> None:
    first = visits.holdout[ROW].min()
    answers = scored(visits, visits.raw[first:], tmp_path / "new.parquet", history=visits.raw[:first])
    kept = answers[(visits.holdout[ROW] - first).to_list()]
    offline = visits.table.join(visits.holdout.select(ROW), on=ROW)
    np.testing.assert_array_equal(visits.scores(kept), GraphModel(visits.model).score(offline))
    alone = scored(visits, visits.raw[first:], tmp_path / "alone.parquet")[(visits.holdout[ROW] - first).to_list()]
    assert (visits.scores(alone) != visits.scores(kept)).any(), "the history must matter"


def test_one_row_gets_the_same_score_from_every_way_to_ask(done: Any, tmp_path: Path) -> None:
    """``predict`` and ``trace`` of single rows, the past given as history, are the row's score in the file."""
    answers = scored(done, done.raw, tmp_path / "all.parquet")
    for row in done.holdout[ROW].gather_every(max(1, done.holdout.height // 4)).to_list():
        fields = done.raw.row(row, named=True)
        past = done.raw[:row]
        expected = np.atleast_1d(done.scores(answers[row : row + 1])[0])
        answer = api.predict(fields, done.folder, history=past)
        got = [answer.scores[label] for label in done.classes] if len(expected) > 1 else [answer.score]
        np.testing.assert_allclose(np.array(got, dtype=float), expected, rtol=1e-6)
        traced = api.trace(fields, done.folder, history=past)
        shown = next(layer for layer in reversed(traced.layers) if layer.kind != "decision")
        np.testing.assert_allclose(np.array(shown.values, dtype=float)[-len(expected) :], expected, rtol=1e-6)
        if done.classes:
            assert answer.decision == answers["decision"][row]


def test_inspect_measures_the_scores_that_score_gives(done: Any, tmp_path: Path) -> None:
    """Accuracy (mean absolute error) of the inspection is that of the scored file."""
    target = {"wine": "kind", "diabetes": "progression", "visits": "converted"}[done.folder.name]
    found = api.inspect("latest", done.raw, target=target, project=done.folder)
    answers = scored(done, done.raw, tmp_path / "all.parquet").with_columns(truth=done.raw[target])
    answers = answers.filter(pl.col("problems").is_null())
    if done.classes:
        metric, by_hand = "accuracy", (answers["decision"] == answers["truth"].cast(pl.String)).mean()
    else:
        metric, by_hand = "mae", (answers["score"] - answers["truth"]).abs().mean()
    measured = next(m for m in found.evidence.measurements if m.metric == metric and not m.slice)
    assert measured.value == pytest.approx(by_hand, rel=1e-9)
