"""The kept past against the computed one: a replay gives the same bits, whatever comes late, twice or at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from roadworthy.adapters.entity_state import EntityStore, KeptState
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.project import Aggregate, DataSpec, ProjectSpec, Task
from roadworthy.transforms.aggregates import chunks
from roadworthy.transforms.aggregates.lookback import TooOld
from roadworthy.transforms.entity_state import Arrived, StateLayout, owner_key
from roadworthy.transforms.features import FeaturePlan

Row = dict[str, Any]
SECOND = 1_000_000
DAY = 86_400 * SECOND

KINDS: dict[str, tuple[ColumnType, Any]] = {
    "who": (ColumnType.TEXT, pl.String()),
    "shop": (ColumnType.INTEGER, pl.Int64()),
    "at": (ColumnType.TIME, pl.Datetime("us")),
    "seen": (ColumnType.TIME, pl.Datetime("us")),
    "value": (ColumnType.NUMBER, pl.Float64()),
    "whole": (ColumnType.INTEGER, pl.Int64()),
    "flag": (ColumnType.BOOLEAN, pl.Boolean()),
}
WINDOWS = ("", "1 second", "3 seconds")


def spec(features: dict[str, str | Aggregate]) -> ProjectSpec:
    columns = {name: ColumnContract(type=kind) for name, (kind, _) in KINDS.items()}
    columns["y"] = ColumnContract(type=ColumnType.INTEGER)
    data = DataSpec(source="", time="at", entity="who")
    return ProjectSpec(
        name="p", task=Task.BINARY, target="y", data=data, contract=Contract(columns=columns), features=features
    )


def every_function() -> dict[str, str | Aggregate]:
    found: dict[str, str | Aggregate] = {"double": "value * 2"}
    for at, window in enumerate(WINDOWS):
        for name in ("sum", "mean", "min", "max", "last", "count"):
            found[f"{name}{at}"] = Aggregate(**cast("Any", {name: "value"}), window=window)
        found[f"since{at}"] = Aggregate(seconds_since_last="seen", where="flag", window=window)
        found[f"star{at}"] = Aggregate(count="*", window=window, by="shop")
        found[f"whole{at}"] = Aggregate(sum="whole", where="value > 0", window=window, by="shop")
        found[f"twice{at}"] = Aggregate(max="double", window=window, by="flag")
        found[f"rate{at}"] = Aggregate(ratio=(Aggregate(sum="value"), Aggregate(count="value")), window=window)
    return found


SPEC = spec(every_function())
PLAN = FeaturePlan.build(SPEC)
LAYOUT = StateLayout.build(SPEC)

VALUES = st.one_of(
    st.none(),
    st.floats(-1e6, 1e6),
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 0.2, -0.3, 1e16, -0.0, 1.7e308, -1.7e308, 5e-324]),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "who": st.sampled_from(["a", "b", None]),
            "shop": st.sampled_from([1, 2, None]),
            "at": st.one_of(st.none(), st.integers(0, 12).map(lambda s: s * SECOND)),
            "seen": st.one_of(st.none(), st.integers(0, 12 * SECOND)),
            "value": VALUES,
            "whole": st.one_of(st.none(), st.integers(-5, 5)),
            "flag": st.sampled_from([True, False, None]),
        }
    ),
    max_size=30,
)


def table(rows: Sequence[Row]) -> pl.DataFrame:
    made = {}
    for name, (_, kind) in KINDS.items():
        values = [row[name] for row in rows]
        made[name] = (
            pl.Series(values, dtype=pl.Int64()).cast(kind) if kind.is_temporal() else pl.Series(values, dtype=kind)
        )
    return pl.DataFrame(made)


class Sink:
    """Keeps what it was given in memory."""

    def __init__(self) -> None:
        self.rows: list[pl.DataFrame] = []

    def append(self, rows: pl.DataFrame) -> None:
        self.rows.append(rows)


@contextmanager
def store(folder: Path | None = None, now: float = 1e9) -> Iterator[EntityStore]:
    with tempfile.TemporaryDirectory() as own, pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MOST", 3)  # so that a few rows are several chunks
        made = EntityStore(folder or Path(own), Sink(), lambda: now)
        try:
            yield made
        finally:
            made.close()


def arrived(rows: pl.DataFrame, ids: Sequence[bytes | None] = ()) -> Arrived:
    marks = tuple(str(row).encode()[:16].ljust(16) for row in rows.rows())
    return Arrived(rows, tuple(ids) or (None,) * rows.height, marks)


def seen(state: KeptState, row: Row) -> list[float | None]:
    if row["at"] is None:
        return [None] * len(state.layout.features)
    owners = [
        None if row[group.by] is None else owner_key(group.by, row[group.by], group.kind)
        for group in state.layout.groups
    ]
    return state.values(owners, row["at"])


def bits(values: Sequence[float | None]) -> list[bytes | None]:
    return [None if value is None else np.float64(value).tobytes() for value in values]


def offline(rows: Sequence[Row]) -> list[list[float | None]]:
    names = [name for name, _ in LAYOUT.features]
    applied = PLAN.apply(table(rows).with_row_index("_row").cast({"_row": pl.Int64}))
    return [list(row) for row in applied.select(names).rows()]


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(rows=ROWS)
def test_a_replay_in_time_order_gives_the_bits_of_history(rows: list[Row]) -> None:
    rows = sorted(rows, key=lambda row: -1 if row["at"] is None else row["at"])
    wanted = offline(rows)
    with store() as kept:
        state = kept.filled(LAYOUT, "none", lambda: table([]).with_columns(pl.lit(0, pl.Int64).alias("_row")))
        for row, values in zip(rows, wanted, strict=True):
            assert bits(seen(state, row)) == bits(values)
            kept.commit([arrived(table([row]))])


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(rows=ROWS, first=st.integers(0, 30), batch=st.integers(1, 7), data=st.data())
def test_events_in_any_order_beside_any_history_give_the_bits_of_all_together(
    rows: list[Row], first: int, batch: int, data: st.DataObject
) -> None:
    wanted = offline(rows)
    with store() as kept:
        state = kept.filled(LAYOUT, "some", lambda: table(rows[:first]).with_row_index("_row").cast({"_row": pl.Int64}))
        rest = rows[first:]
        times = [row["at"] for row in rest]
        order = list(range(len(rest)))
        if len(set(times)) == len(times):  # ties are in the order in which they come
            order = data.draw(st.permutations(order))
        for begin in range(0, len(order), batch):
            kept.commit([arrived(table([rest[at] for at in order[begin : begin + batch]]))])
        for row, values in zip(rows, wanted, strict=True):
            assert bits(seen(state, row)) == bits(values)


def test_what_is_pruned_is_refused_and_never_wrong() -> None:
    row = {"who": "a", "shop": 1, "seen": None, "value": 1.0, "whole": 1, "flag": True}
    windowed = StateLayout.build(spec({"near": Aggregate(sum="value", window="1 day")}))
    with store(now=1e9) as kept:
        state = kept.filled(windowed, "none", lambda: table([]).with_columns(pl.lit(0, pl.Int64).alias("_row")).clear())
        for day in range(30):
            kept.commit([arrived(table([{**row, "at": day * DAY}]))])
        assert kept.size[0] < 10
        assert seen(state, {**row, "at": 30 * DAY}) == [1.0]
        with pytest.raises(TooOld):
            seen(state, {**row, "at": 2 * DAY})
        assert kept.commit([arrived(table([{**row, "at": DAY}]))])[0].too_old == 1
        assert seen(state, {**row, "at": 30 * DAY}) == [1.0]
