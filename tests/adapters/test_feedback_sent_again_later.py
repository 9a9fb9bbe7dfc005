"""A label that is sent again under its key is no news, however much later another worker stores it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from roadworthy.adapters.prediction_log import FeedbackStore, read_feedback
from roadworthy.adapters.prediction_log.segments import by_day, publish
from roadworthy.api.watching.traffic import LakeTraffic
from roadworthy.records.feedback import Feedback

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def us(hours: float) -> int:
    return int((START + timedelta(hours=hours)).timestamp() * 1e6)


def test_what_is_sent_again_in_a_later_span_is_counted_once_and_turns_nothing_back(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "id": ["a", "b"],
            "row": pl.Series([0, 0], dtype=pl.Int64),
            "at": pl.Series([START.replace(tzinfo=None)] * 2, dtype=pl.Datetime("us")),
            "version": ["shop-1", "shop-1"],
            "score": [0.5, 0.5],
            "decision": ["no", "no"],
            "referred": pl.Series([None, None], dtype=pl.String),
        }
    )
    root = tmp_path / "predictions"
    root.mkdir()
    publish(root, "w0", by_day(rows))

    async def tell() -> None:
        store = FeedbackStore(tmp_path)
        await store.add([Feedback(at_us=us(0.9), id="a", label="yes", key="k")])
        await store.add([Feedback(at_us=us(0.95), id="a", label="no", key="j")])  # a mind that was changed
        for hours in (1.1, 2.1, 3.1):  # the first request, sent again and again, stored by other workers
            await store.add([Feedback(at_us=us(hours), id="a", label="yes", key="k")])
        await store.add([Feedback(at_us=us(3.2), id="b", label="yes", key="m")])
        await asyncio.to_thread(store.close)

    asyncio.run(tell())
    traffic = LakeTraffic(tmp_path)
    seen = {hour: traffic.labelled_since(us(hour), us(hour + 1)).height for hour in range(4)}
    assert seen == {0: 1, 1: 0, 2: 0, 3: 1}
    found = read_feedback(tmp_path, since=START + timedelta(hours=1))
    assert (found.received, found.repeated, found.changed) == (4, 3, 0)
    assert found.latest["id"].to_list() == ["b"]
    assert read_feedback(tmp_path).latest.filter(pl.col("id") == "a")["label"].to_list() == ["no"]
