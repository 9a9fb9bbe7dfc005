"""What a feature costs is timed, what it is worth is taken over, and one that is dear for nothing is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.samples import Sample
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.evidence import Exhibit, Found
from roadworthy.records.project import Aggregate, DataSpec, ProjectSpec, Task
from roadworthy.stages.feature_cost import feature_cost_check
from roadworthy.transforms.features import FeaturePlan

ROWS = 4_000
COLUMNS = {
    "n": ColumnType.NUMBER,
    "user": ColumnType.CATEGORY,
    "at": ColumnType.TIME,
    "y": ColumnType.INTEGER,
}
SPEC = ProjectSpec(
    name="made up",
    task=Task.BINARY,
    target="y",
    data=DataSpec(source="x", time="at", entity="user"),
    contract=Contract(columns={name: ColumnContract(type=type_) for name, type_ in COLUMNS.items()}),
    features={
        "half": "n / 2",
        "gap": "n / nullif(n, n)",
        "before": Aggregate(mean="n", by="user"),
    },
)


@pytest.fixture(scope="module")
def examined() -> Examined:
    rng = np.random.default_rng(5)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "n": rng.normal(size=ROWS),
            "user": [f"u{place}" for place in rng.integers(0, 50, ROWS)],
            "at": [start + timedelta(minutes=place) for place in range(ROWS)],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    rows = FeaturePlan.build(SPEC).apply(rows)
    score = rng.uniform(size=ROWS)
    sample = Sample(task=Task.BINARY, y=(score > 0.5).astype(np.int64), score=score, classes=("0", "1"))
    return Examined(
        sample=sample,
        rows=rows,
        columns=("n", "half", "gap", "before"),
        answer=lambda frame: Answered(np.zeros(frame.height), np.zeros(frame.height, dtype=bool)),
    )


def importance(**uppers: float | None) -> Found:
    columns: dict[str, list[Any]] = {"column": list(uppers), "drop": [0.0] * len(uppers), "lower": [-0.1] * len(uppers)}
    shown = Exhibit(name="importance", title="", columns={**columns, "upper": list(uppers.values())})
    return Found(exhibits=(shown,))


def test_every_declared_feature_is_timed_alone_and_keeps_its_benefit(examined: Examined) -> None:
    done: list[int] = []
    check = feature_cost_check(SPEC, importance(n=0.5, half=0.4, before=0.3))
    assert check.steps(examined, Brief()) == 3
    found = check.run(examined, Brief(advance=done.append))
    assert sum(done) == 3
    assert not found.findings
    table = found.exhibits[0].columns
    assert set(table["column"]) == {"half", "gap", "before"}
    assert table["column"][0] == "before", "a look at the past of 50 users costs more than a division"
    assert all(took > 0 for took in table["microseconds"])
    assert sum(table["time_share"]) == pytest.approx(1.0)
    lines = {name: place for place, name in enumerate(table["column"])}
    assert table["benefit_upper"][lines["half"]] == 0.4
    assert table["benefit"][lines["gap"]] is None, "nobody shuffled it"
    assert table["missing_share"][lines["gap"]] == 1.0
    assert table["missing_share"][lines["half"]] == 0.0


def test_a_feature_that_is_dear_and_provably_useless_is_named(examined: Examined) -> None:
    found = feature_cost_check(SPEC, importance(half=0.4, gap=0.4, before=0.002)).run(examined, Brief())
    assert [one.subject for one in found.findings] == ["before"]
    assert "leave it out" in found.findings[0].sentence
    worth = feature_cost_check(SPEC, importance(half=0.4, gap=0.4, before=0.02)).run(examined, Brief())
    assert not worth.findings, "it may be worth 0.02"
    silent = feature_cost_check(SPEC, importance(before=None)).run(examined, Brief(quick=True))
    assert not silent.findings, "nothing is proven without a bound"


def test_a_project_without_features_is_not_asked(examined: Examined) -> None:
    bare = ProjectSpec(name="bare", task=Task.BINARY, target="y", data=SPEC.data, contract=SPEC.contract)
    assert feature_cost_check(bare, Found()).lacks(examined, Brief()) == "no feature is declared"
