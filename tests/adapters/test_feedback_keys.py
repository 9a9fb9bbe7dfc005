"""Labels under an idempotency key, read for some predictions: what stands is the same as read for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from roadworthy.adapters.prediction_log import FeedbackStore, read_feedback
from roadworthy.records.feedback import Feedback


def stored(lake: Path, *requests: Sequence[Feedback]) -> None:
    async def add() -> None:
        store = FeedbackStore(lake)
        for labels in requests:
            await store.add(labels)
        await asyncio.to_thread(store.close)

    asyncio.run(add())


def test_a_key_that_was_used_for_another_prediction_first_says_nothing_of_this_one(tmp_path: Path) -> None:
    stored(
        tmp_path,
        [Feedback(at_us=1_000_000, id="a", label="yes", key="k"), Feedback(at_us=1_000_000, id="d", label="no")],
        [Feedback(at_us=2_000_000, id="b", label="yes", key="k"), Feedback(at_us=2_000_000, id="b", row=1, label="no")],
        [
            Feedback(at_us=3_000_000, id="a", label="no", key="j"),
            Feedback(at_us=3_000_000, id="a", label="yes", key="k"),
        ],
    )
    whole = read_feedback(tmp_path).latest
    for ids in (["a"], ["b"], ["a", "b"], ["d"], ["nobody"]):
        found = read_feedback(tmp_path, ids=ids)
        assert found.latest.equals(whole.filter(whole["id"].is_in(ids)))
    found = read_feedback(tmp_path, ids=["b"])
    assert found.latest.select("id", "row", "label").rows() == [("b", 1, "no")]
    assert (found.received, found.repeated, found.changed) == (2, 1, 0)
    found = read_feedback(tmp_path, ids=["a"])
    assert (found.received, found.repeated, found.changed) == (3, 1, 1)
    assert found.latest.item(0, "label") == "no"
