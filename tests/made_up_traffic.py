"""A prediction log as a server would have written it, made from the rows that a finished project learned from.

The rows are the project's own clean rows with their features, in an order and at times that a test chooses; the scores
come from the packaged graph. Labels go through the real feedback store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from roadworthy import assembly
from roadworthy.adapters.lake import Lake
from roadworthy.adapters.prediction_log import FeedbackStore
from roadworthy.adapters.prediction_log.segments import by_day, publish
from roadworthy.graphs.runner import GraphModel
from roadworthy.records.feedback import Feedback

START = datetime(2026, 3, 2, tzinfo=UTC)
Change = Callable[[pl.DataFrame], pl.DataFrame]


class MadeUpTraffic:
    """Writes to the lake of a finished project in ``folder``."""

    def __init__(self, folder: Path, version: str = "latest") -> None:
        project = assembly.open_project(folder)
        self.lake = project.settings.lake
        with assembly.opened_bundle(project, version) as (found, bundle):
            self.version, self.parts = found, bundle.parts
            lake = Lake(self.lake)
            features = lake.path("features", found.lineage["features"]) / "rows.parquet"
            parts = lake.path("split", found.lineage["split"]) / "parts.parquet"
        train = pl.scan_parquet(parts).filter(pl.col("part") == "train").select("_row")
        rows = pl.scan_parquet(features).join(train, on="_row", how="semi")
        self.rows = rows.collect().drop_nulls(self.parts.contract.target)
        self._graph = GraphModel(self.parts.model)
        self._written = 0

    def draw(self, count: int, seed: int = 7, change: Change | None = None) -> pl.DataFrame:
        """Rows with their outcomes, drawn with replacement."""
        rows = self.rows[np.random.default_rng(seed).integers(0, self.rows.height, count)]
        return rows if change is None else change(rows)

    def predict(
        self,
        rows: pl.DataFrame,
        start: datetime = START,
        every_s: float = 1.0,
        *,
        version: str = "",
        scores: np.ndarray[Any, np.dtype[np.float64]] | None = None,
    ) -> pl.DataFrame:
        """Log the rows, one every so many seconds; what was logged, with the outcome as ``outcome``.

        ``scores`` stand in place of the graph's own.
        """
        contract = self.parts.contract
        scores = self._graph.score(rows) if scores is None else scores
        self._written += 1
        names = [*contract.inputs, *({contract.time, contract.entity} - {"", *contract.inputs})]
        at = [start + timedelta(seconds=every_s * place) for place in range(rows.height)]
        logged = pl.DataFrame(
            {
                "id": [f"{self._written:06x}{place:010x}" for place in range(rows.height)],
                "row": pl.Series(np.zeros(rows.height), dtype=pl.Int64),
                "at": pl.Series([moment.replace(tzinfo=None) for moment in at], dtype=pl.Datetime("us")),
                "version": [version or self.version.title] * rows.height,
                "score": scores,
                "decision": [contract.classes[int(score >= (contract.threshold or 0.0))] for score in scores],
                "referred": pl.Series([None] * rows.height, dtype=pl.String),
            }
        ).hstack(rows.select(names))
        root = self.lake / "predictions"
        root.mkdir(parents=True, exist_ok=True)
        publish(root, f"made-up-{self._written}", by_day(logged))
        return logged.with_columns(rows.get_column(contract.target).cast(pl.String).alias("outcome"))

    def label(self, ids: Sequence[str], labels: Sequence[str], at: datetime) -> None:
        """Tell what came of predictions, as it came at an instant."""
        moment_us = int(at.timestamp() * 1e6)
        told = [Feedback(at_us=moment_us, id=id_, label=label) for id_, label in zip(ids, labels, strict=True)]

        async def add() -> None:
            store = FeedbackStore(self.lake, worker=f"labels-{self._written}")
            await store.add(told)
            store.close()

        asyncio.run(add())
