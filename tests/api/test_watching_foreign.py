"""A model that others serve, watched from its log: from the call to the registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import roadworthy as rw
from roadworthy.errors import DataError, UsageError

PROJECT = """
[project]
name = "loans"
task = "binary"
target = "paid"
positive = "yes"
[data]
source = "reference.parquet"
[contract.columns]
income = { type = "number" }
region = { type = "category" }
paid = { type = "category", allowed = ["no", "yes"] }
[standard]
extends = "none"
accuracy = ">= 0.65"
[monitor]
window = "400 rows"
"""
COLUMNS = {"id": "number", "score": "chance", "decision": "said", "label": "paid"}


def rows(count: int, seed: int, *, regions: str = "abc") -> pl.DataFrame:
    """What a model of others has logged: it is right as often as its score says."""
    random = np.random.default_rng(seed)
    income = random.normal(size=count)
    chance = 1 / (1 + np.exp(-2 * income))
    return pl.DataFrame({
        "number": np.arange(count) + 100_000 * seed,
        "income": income,
        "region": random.choice(list(regions), count),
        "chance": chance,
        "said": np.where(chance >= 0.4, "yes", "no"),
        "paid": np.where(random.uniform(size=count) < chance, "yes", "no"),
    })  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "roadworthy.toml").write_text(PROJECT)
    return tmp_path


def test_a_quiet_log_is_judged_and_calls_nobody_and_a_changed_one_does(project: Path) -> None:
    reference, now = rows(3000, 1), rows(1600, 2)
    found = rw.watch(project, once=True, log=now, reference=reference, columns=COLUMNS)
    assert (found.judged, found.firing) == (4, ())
    windows = rw.windows(project=project).windows
    assert [(one.rows, one.labelled) for one in windows] == [(400, 400)] * 4
    assert {one.outcomes["accuracy >= 0.65"] for one in windows} == {"pass"}

    later = pl.concat([now, rows(800, 3, regions="c")])
    found = rw.watch(project, once=True, log=later, reference=reference, columns=COLUMNS)
    assert found.judged == 2
    assert found.firing == ("drift:columns",)
    assert "region" in rw.alerts(project=project).alerts[0].alert.first.sentence


def test_without_labels_quality_is_estimated_from_those_of_the_reference(project: Path) -> None:
    bare = rows(800, 2).with_columns(pl.lit(None, dtype=pl.String).alias("paid"))
    rw.watch(project, once=True, log=bare, reference=rows(3000, 1), columns=COLUMNS)
    (first, _) = rw.windows(project=project).windows
    assert first.labelled == 0
    assert first.estimated == ("accuracy >= 0.65",)
    value, lower, upper = first.values["accuracy >= 0.65"]
    assert lower < value < upper  # type: ignore[operator]  # they are there
    assert value == pytest.approx(0.78, abs=0.05)


def test_what_cannot_be_watched_is_refused_before_anything_is_kept(project: Path) -> None:
    with pytest.raises(UsageError, match="beside a reference"):
        rw.watch(project, once=True, log=rows(400, 2))
    with pytest.raises(DataError, match="cannot be read as a prediction log") as refused:
        rw.watch(project, once=True, log=rows(400, 2), reference=rows(3000, 1), columns={**COLUMNS, "score": "chanse"})
    assert "did you mean 'chance'" in str(refused.value)
    mixed = rows(3000, 1).with_columns(pl.lit("yes").alias("said"), pl.col("chance").reverse())
    odd = mixed.with_columns(pl.when(pl.col("number") % 2 == 0).then(pl.lit("no")).otherwise("said").alias("said"))
    with pytest.raises(DataError, match="no threshold explains"):
        rw.watch(project, once=True, log=rows(400, 2), reference=odd, columns=COLUMNS)
    assert rw.windows(project=project).windows == ()


def test_a_log_without_a_column_of_the_reference_is_told_and_no_check_breaks(project: Path) -> None:
    whole = rows(800, 2).with_columns(pl.lit(None, dtype=pl.String).alias("paid"))
    assert rw.watch(project, once=True, log=whole[:400], reference=rows(3000, 1), columns=COLUMNS).judged == 1
    found = rw.watch(project, once=True, log=whole.drop("region"), reference=rows(3000, 1), columns=COLUMNS)
    assert (found.judged, found.firing) == (1, ())
    (_, second) = rw.windows(project=project).windows
    judged = rw.windows(second.number, project=project).revisions[0]
    assert judged.notes == ("The prediction log does not hold region: nothing is known of these columns.",)
    estimated = next(one for one in judged.measurements if one.method == "estimated")
    assert "does not hold region, which the estimator reads" in estimated.insufficient
    assert not any(one.error for one in judged.measurements)
