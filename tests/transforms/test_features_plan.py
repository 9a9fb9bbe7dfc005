"""The feature plan: order, refusals, and one definition in two places."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadworthy.errors import ExpressionError
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.project import Aggregate, DataSpec, ProjectSpec, Task
from roadworthy.transforms.encoding import Encoder, feature_graph
from roadworthy.transforms.expressions import Kind
from roadworthy.transforms.features import FeaturePlan

START = datetime(2026, 1, 1)  # noqa: DTZ001 - clean times are UTC without a zone
COLUMNS = {
    "timestamp": ColumnType.TIME,
    "user_id": ColumnType.TEXT,
    "device": ColumnType.CATEGORY,
    "impressions": ColumnType.INTEGER,
    "clicks": ColumnType.INTEGER,
    "price": ColumnType.NUMBER,
    "premium": ColumnType.BOOLEAN,
    "secret": ColumnType.CATEGORY,
    "converted": ColumnType.BOOLEAN,
}
CLICKS: dict[str, str | Aggregate] = {
    "click_rate": "clicks / nullif(impressions, 0)",
    "time_since_last_click": Aggregate(seconds_since_last="timestamp", where="clicks > 0", by="user_id"),
}


def project(features: dict[str, str | Aggregate], **data: Any) -> ProjectSpec:
    declared: dict[str, Any] = {"time": "timestamp", "entity": "user_id", "exclude": {"secret": "a test"}}
    return ProjectSpec(
        name="clicks",
        task=Task.BINARY,
        target="converted",
        data=DataSpec(source="rows.parquet", **{**declared, **data}),
        contract=Contract(columns={name: ColumnContract(type=kind) for name, kind in COLUMNS.items()}),
        features=features,
    )


def rows(count: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    times = [START + timedelta(seconds=int(s)) for s in np.sort(rng.integers(0, count * 20, count))]
    frame = pl.DataFrame(
        {
            "_row": np.arange(count),
            "timestamp": pl.Series(times, dtype=pl.Datetime("us")),
            "user_id": [f"u{k}" for k in rng.integers(0, max(count // 5, 1), count)],
            "device": np.array(["mobile", "tv", "pc"])[rng.integers(0, 3, count)],
            "impressions": rng.integers(0, 5, count),
            "clicks": rng.integers(0, 3, count),
            "price": rng.normal(size=count) * 10,
            "premium": rng.integers(0, 2, count).astype(bool),
            "secret": ["s"] * count,
            "converted": rng.integers(0, 2, count).astype(bool),
        }
    )
    holes = pl.Series(rng.random(count) < 0.1)
    return frame.with_columns(pl.when(holes).then(None).otherwise(pl.col("price", "device", "premium")).name.keep())


def problems(features: dict[str, str | Aggregate], **data: Any) -> str:
    with pytest.raises(ExpressionError) as caught:
        FeaturePlan.build(project(features, **data))
    return str(caught.value)


def test_the_two_features_of_the_clicks_example() -> None:
    plan = FeaturePlan.build(project(dict(CLICKS)))
    frame = pl.DataFrame(
        {
            "_row": [0, 1, 2, 3],
            "timestamp": pl.Series([START + timedelta(seconds=s) for s in (0, 10, 30, 31)], dtype=pl.Datetime("us")),
            "user_id": ["a", "a", "a", "b"],
            "impressions": [4, 0, 2, 2],
            "clicks": [1, 0, 1, 1],
        }
    )
    found = plan.apply(frame)
    assert found["click_rate"].to_list() == [0.25, None, 0.5, 0.5]
    assert found["time_since_last_click"].to_list() == [None, 10.0, 30.0, None]
    assert found.columns == [*frame.columns, *CLICKS]
    assert [(info.name, info.type, info.aggregate) for info in plan.infos] == [
        ("click_rate", "number", False),
        ("time_since_last_click", "number", True),
    ]
    assert plan.infos[1].definition == "seconds_since_last(timestamp) where clicks > 0 by user_id"


def test_features_build_on_features_in_any_order_of_declaration() -> None:
    ordered: dict[str, str | Aggregate] = {
        "rate": "clicks / nullif(impressions, 0)",
        "past_rate": Aggregate(mean="rate"),
        "lift": "rate - coalesce(past_rate, 0)",
        "best_lift": Aggregate(max="lift", window="1 h"),
        "beats": "lift > coalesce(best_lift, 0)",
    }
    backwards = dict(reversed(ordered.items()))
    frame = rows(60)
    one = FeaturePlan.build(project(ordered)).apply(frame)
    other = FeaturePlan.build(project(backwards)).apply(frame)
    assert other.columns == [*frame.columns, *backwards]
    assert one.equals(other.select(one.columns))
    assert one["best_lift"].null_count() < 60


def test_lazy_and_eager_frames_give_the_same() -> None:
    plan = FeaturePlan.build(project({**CLICKS, "again": "time_since_last_click / 60"}))
    frame = rows(200)
    lazy = plan.apply(frame.lazy())
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().equals(plan.apply(frame))


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 50), seed=st.integers(0, 100))
def test_history_stands_in_for_the_rows_before(cut: int, seed: int) -> None:
    plan = FeaturePlan.build(
        project(
            {
                **CLICKS,
                "spent": Aggregate(sum="price", where="premium", window="3 min"),
                "last_price": Aggregate(last="price"),
                "jump": "price - last_price",
                "greatest_jump": Aggregate(max="jump"),
            }
        )
    )
    frame = rows(50, seed)
    whole = plan.apply(frame)
    part = plan.apply(frame.slice(cut), frame.head(cut))
    assert part.equals(whole.slice(cut))


def test_history_counts_as_earlier_at_equal_times() -> None:
    plan = FeaturePlan.build(project({"last_price": Aggregate(last="price")}))
    frame = rows(1).with_columns(_row=pl.lit(0, dtype=pl.Int64), user_id=pl.lit("a"), price=pl.lit(1.0))
    later = frame.with_columns(timestamp=pl.col("timestamp") + pl.duration(seconds=1), _row=pl.lit(1, dtype=pl.Int64))
    history = frame.with_columns(price=pl.lit(2.0), _row=pl.lit(99, dtype=pl.Int64))
    assert plan.apply(pl.concat([frame, later]), history)["last_price"].to_list() == [None, 1.0]


def test_model_columns_and_raw_inputs() -> None:
    spec = project(
        {
            "hour_of_day": "hour(timestamp)",
            "visits": Aggregate(count="*"),
            "helper": "timestamp",
            "often": "visits > 3",
            "kind": "case when secret = 's' then 'x' else device end",
        },
        exclude={"secret": "leaks", "price": "leaks"},
    )
    plan = FeaturePlan.build(spec)
    assert plan.model_columns(spec) == {
        "device": Kind.TEXT,
        "impressions": Kind.NUMBER,
        "clicks": Kind.NUMBER,
        "premium": Kind.BOOLEAN,
        "hour_of_day": Kind.NUMBER,
        "visits": Kind.NUMBER,
        "often": Kind.BOOLEAN,
        "kind": Kind.TEXT,
    }
    assert plan.raw_inputs == {
        "timestamp": ColumnType.TIME,
        "device": ColumnType.CATEGORY,
        "impressions": ColumnType.INTEGER,
        "clicks": ColumnType.INTEGER,
        "premium": ColumnType.BOOLEAN,
        "secret": ColumnType.CATEGORY,
        "visits": None,
    }


def feeds(frame: pl.DataFrame, names: set[str]) -> dict[str, NDArray[Any]]:
    fed: dict[str, NDArray[Any]] = {}
    for column in frame:
        series = column.dt.timestamp("us") if column.dtype == pl.Datetime else column
        blank = {pl.String: "", pl.Boolean: False}.get(type(series.dtype), 0)
        values = series.fill_null(blank).to_numpy()
        fed[column.name] = (values.astype(object) if series.dtype == pl.String else values)[:, None]
        fed[f"{column.name}.missing"] = column.is_null().to_numpy()[:, None]
    return {name: value for name, value in fed.items() if name in names}


def test_the_graph_gives_the_matrix_that_history_gives() -> None:
    spec = project(
        {
            **CLICKS,
            "hour_of_day": "hour(timestamp)",
            "recent": "time_since_last_click < 60",
            "band": "case when price > 5 then 'dear' when price > 0 then 'fair' end",
            "logged": "ln(1 + abs(price))",
            "always": "1",
            "tag": "'same'",
        }
    )
    plan = FeaturePlan.build(spec)
    table = plan.apply(rows(300))
    encoder = Encoder.fit(table.head(200), plan.model_columns(spec))
    session = onnxruntime.InferenceSession(feature_graph(spec, plan, encoder).SerializeToString())
    names = {node.name for node in session.get_inputs()}
    assert names <= {suffixed for name in plan.raw_inputs for suffixed in (name, f"{name}.missing")}
    for part in (table, table.head(1), table.head(0)):
        (inside,) = session.run(["X"], feeds(part, names))
        assert (encoder.encode(part) == inside).all()


def test_a_cycle_is_shown() -> None:
    message = problems({"a": "b + 1", "b": "c * 2", "c": "a - 1", "fine": "clicks + 1", "above": "a + 1"})
    assert "feature a: it refers to itself: a → b → c → a" in message
    assert "4 of 5 features" in message


def test_a_feature_that_refers_to_itself() -> None:
    assert "feature a: it refers to itself: a → a" in problems({"a": "a + 1"})
    assert "feature a: it refers to itself: a → a" in problems({"a": Aggregate(sum="a")})


@pytest.mark.parametrize(
    "leak",
    [
        "case when converted then 1 else 0 end",
        '"converted" = true',
        Aggregate(mean="converted"),
        Aggregate(count="*", where="converted"),
        Aggregate(ratio=(Aggregate(count="*", where="converted"), Aggregate(count="*"))),
        Aggregate(count="*", by="converted"),
    ],
)
def test_the_target_is_refused_by_whichever_way(leak: str | Aggregate) -> None:
    message = problems({"above": "below + 1", "below": leak})
    assert "feature below: it looks at the target: below → converted" in message
    assert "feature above: it looks at the target: above → below → converted" in message


def test_a_text_that_only_says_the_target_is_none() -> None:
    assert FeaturePlan.build(project({"a": "device = 'converted'"})).infos[0].type == "boolean"


def test_everything_wrong_is_said_at_once() -> None:
    message = problems(
        {
            "clicks": "1",
            "typo": "clik / 2",
            "strange": "median(clicks)",
            "both": Aggregate(sum="clicks", mean="clicks"),
            "none": Aggregate(),
            "text": Aggregate(mean="device"),
            "span": Aggregate(sum="clicks", window="7 dais"),
            "number": Aggregate(seconds_since_last="clicks"),
            "who": Aggregate(count="*", by="user"),
            "when": Aggregate(count="*", where="clicks + 1"),
            "nested": Aggregate(ratio=(Aggregate(ratio=(Aggregate(), Aggregate())), Aggregate(count="*"))),
            "star": Aggregate(sum="*"),
        }
    )
    for says in (
        "feature clicks: a column has this name",
        "clicks",
        "median",
        "feature both: sum and mean in one aggregate",
        "feature none: no function in one aggregate; expected exactly one of count, sum",
        "feature text: mean of a text (device); expected number or boolean",
        "did you mean 'days'",
        "feature number: seconds_since_last of a number (clicks); expected time",
        "by = 'user', which is no column; did you mean 'user_id'?",
        "feature when: where of a number (clicks + 1); expected boolean",
        "feature nested: a ratio inside a ratio",
        'feature star: sum = "*"; expected an expression',
        "12 of 12 features cannot be used",
    ):
        assert says in message


def test_aggregates_need_a_time_and_an_entity() -> None:
    message = problems({"visits": Aggregate(count="*")}, time="", entity="")
    assert "feature visits: an aggregate without a time column" in message
    assert "feature visits: an aggregate without an entity" in message
    assert "the time column 'clicks' holds no times" in problems({"visits": Aggregate(count="*")}, time="clicks")


def test_a_ratio_hands_its_entity_window_and_condition_to_its_parts() -> None:
    ratio = Aggregate(
        ratio=(Aggregate(sum="clicks"), Aggregate(sum="impressions", window="1 min")),
        by="device",
        window="30 s",
        where="premium",
    )
    plan = FeaturePlan.build(project({"rate": ratio}, entity=""))
    spelled = project(
        {
            "clicked": Aggregate(sum="clicks", by="device", window="30 s", where="premium"),
            "shown": Aggregate(sum="impressions", by="device", window="1 min", where="premium"),
            "rate": "clicked / nullif(shown, 0)",
        }
    )
    frame = rows(80)
    found = plan.apply(frame)["rate"]
    assert found.equals(FeaturePlan.build(spelled).apply(frame)["rate"])
    assert found.null_count() < 80


def test_booleans_count_as_zero_and_one() -> None:
    plan = FeaturePlan.build(project({"share": Aggregate(mean="clicks > 0"), "any": Aggregate(max="premium")}))
    frame = rows(3).with_columns(
        user_id=pl.lit("a"), clicks=pl.Series([1, 0, 2]), premium=pl.Series([False, True, None])
    )
    spread = frame.with_columns(timestamp=pl.col("timestamp") + pl.duration(days=pl.col("_row")))
    found = plan.apply(spread)
    assert found["share"].to_list() == [None, 1.0, 0.5]
    assert found["any"].to_list() == [None, 0.0, 1.0]


def test_a_column_may_be_called_like_the_matrix() -> None:
    spec = project({"twice": "X * 2"})
    columns = {**spec.contract.columns, "X": ColumnContract(type=ColumnType.NUMBER)}
    spec = msgspec.structs.replace(spec, contract=Contract(columns=columns))
    plan = FeaturePlan.build(spec)
    table = plan.apply(rows(5).with_columns(X=pl.Series([1.0, 2.0, 3.0, 4.0, 5.0])))
    encoder = Encoder.fit(table, plan.model_columns(spec))
    graph = feature_graph(spec, plan, encoder)
    assert [output.name for output in graph.graph.output] == ["X/encoded"]
    names = {node.name for node in graph.graph.input}
    (inside,) = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, feeds(table, names))
    assert (inside == encoder.encode(table)).all()


@settings(max_examples=20, deadline=None)
@given(seen=st.integers(0, 50), seed=st.integers(0, 100))
def test_rows_that_come_later_change_no_feature(seen: int, seed: int) -> None:
    plan = FeaturePlan.build(
        project({**CLICKS, "mean_price": Aggregate(mean="price", window="5 min"), "above": "price > mean_price"})
    )
    frame = rows(50, seed)
    assert plan.apply(frame.head(seen)).equals(plan.apply(frame).head(seen))
