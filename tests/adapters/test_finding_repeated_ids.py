"""One prediction among many of the same id, and the labels of it that count."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from roadworthy.adapters.prediction_log import FeedbackStore, finding, read_feedback
from roadworthy.adapters.prediction_log.finding import Wanted, find, find_one, labels_of
from roadworthy.adapters.prediction_log.segments import by_day, publish
from roadworthy.records.feedback import Feedback

START = datetime(2026, 3, 1, 8)  # noqa: DTZ001 - columns are UTC without a zone


def test_of_very_many_with_one_id_the_newest_alone_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 500
    at = [START + timedelta(seconds=place * 7 % count) for place in range(count)]
    rows = pl.DataFrame(
        {
            "id": ["same"] * count,
            "row": pl.Series([0] * count, dtype=pl.Int64),
            "at": pl.Series(at, dtype=pl.Datetime("us")),
            "version": ["shop-1"] * count,
            "score": [place / count for place in range(count)],
            "decision": ["no"] * count,
            "referred": pl.Series([None] * count, dtype=pl.String),
        }
    )
    root = tmp_path / "predictions"
    root.mkdir()
    publish(root, "w0", by_day(rows))
    read: list[int] = []
    whole = finding._whole

    def counted(part: pl.LazyFrame, place: int) -> pl.DataFrame:
        read.append(place)
        return whole(part, place)

    monkeypatch.setattr(finding, "_whole", counted)
    found = find_one(tmp_path, "same", 0)
    assert found.height == 1
    assert found["at"][0] == START + timedelta(seconds=count - 1)
    assert found["score"][0] == rows.filter(pl.col("at") == found["at"][0])["score"][0]
    assert len(read) == 1


def test_a_label_that_does_not_count_is_not_listed_as_told(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "id": ["a", "b"],
            "row": pl.Series([0, 0], dtype=pl.Int64),
            "at": pl.Series([START, START], dtype=pl.Datetime("us")),
            "version": ["shop-1", "shop-1"],
            "score": [0.5, 0.5],
            "decision": ["no", "no"],
            "referred": pl.Series([None, None], dtype=pl.String),
        }
    )
    root = tmp_path / "predictions"
    root.mkdir()
    publish(root, "w0", by_day(rows))
    at_us = int(START.replace(tzinfo=UTC).timestamp() * 1e6) + 1_000_000

    async def tell() -> None:
        store = FeedbackStore(tmp_path)
        await store.add([Feedback(at_us=at_us, id="a", label="yes", key="k")])
        await store.add([Feedback(at_us=at_us + 1, id="b", label="yes", key="k")])  # under a key that was used before
        await store.add([Feedback(at_us=at_us + 2, id="b", row=1, label="yes")])
        await asyncio.to_thread(store.close)

    asyncio.run(tell())
    counted = {id_: read_feedback(tmp_path, ids=[id_]).latest.filter(pl.col("row") == 0).height for id_ in "ab"}
    assert counted == {"a": 1, "b": 0}
    listed = {id_: labels_of(tmp_path, find_one(tmp_path, id_, 0)).height for id_ in "ab"}
    assert listed == counted
    shown = find(tmp_path, Wanted(labelled=True)).rows
    assert shown["id"].to_list() == ["a"]
