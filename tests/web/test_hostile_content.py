"""Names, values and comments that try to be more than text: every page shows them, and nothing of them runs."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest

from roadworthy import api
from roadworthy.adapters.prediction_log import FeedbackStore
from roadworthy.records.feedback import Feedback

SCRIPT = "<script>window.hacked = 1</script>"
IMAGE = '<img src=x onerror="window.hacked = 2">'
CLOSING = "\"'></td></table><b>bold</b>{{ 7 * 7 }}"
TURNED = "\u202eغير \u05d0\u05d1\u05d2 \u2066\u202dabc"
ENDLESS = "endless " + "x" * 10_000
VALUES = (SCRIPT, IMAGE, CLOSING, TURNED, ENDLESS, "javascript:alert(1)")
COLUMN = '<i>c</i> & "d" \' `e`'
HOURS = 6
AN_HOUR = 60
PROJECT = """
[project]
name = "hostile"
task = "binary"
target = "y"
positive = "1"
[data]
source = "rows.parquet"
[contract.columns.x]
type = "number"
[contract.columns.kind]
type = "category"
[contract.columns.{column}]
type = "category"
[contract.columns.y]
type = "integer"
[training]
candidates = ["logistic"]
folds = 2
seed = 1
[standard]
extends = "none"
accuracy = {{ at_least = 0.5, slice = "kind" }}
[monitor]
window = "1 h"
settle_s = 1.0
"""


def _conftest() -> ModuleType:
    """The module beside this one, for its ``served``."""
    spec = importlib.util.spec_from_file_location("dashboard_conftest", Path(__file__).parent / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("dashboard_conftest", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, made_up_traffic: Callable[[Path], Any]) -> Iterator[Any]:
    """The dashboard of a project in which everything that has a name has a hostile one."""
    folder = tmp_path_factory.mktemp("hostile")
    random = np.random.default_rng(1)
    x, kinds = random.normal(size=900), random.integers(0, len(VALUES), 900)
    rows = pl.DataFrame({"x": x, "kind": [VALUES[one] for one in kinds], COLUMN: [VALUES[-one] for one in kinds]})
    rows.with_columns(y=pl.Series((x + 0.2 * random.normal(size=900) > 0).astype(int))).write_parquet(
        folder / "rows.parquet"
    )
    quoted = '"' + COLUMN.replace('"', '\\"') + '"'
    (folder / "roadworthy.toml").write_text(PROJECT.format(column=quoted))
    api.run(folder)
    traffic = made_up_traffic(folder)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)
    swapped = pl.col("kind").replace({SCRIPT: IMAGE, CLOSING: "new " + SCRIPT}).alias("kind")
    drawn = traffic.draw(HOURS * AN_HOUR, change=lambda frame: frame.with_columns(swapped))
    logged = traffic.predict(drawn, start, every_s=3_600 / AN_HOUR)
    _comment(traffic.lake, logged)
    api.watch(folder, once=True)
    api.alerts("silence", "drift:*", reason=SCRIPT, by=IMAGE, span="1 h", project=folder)
    with _conftest().served(folder) as (url, site):
        yield url, site, logged["id"][0]


def _comment(lake: Path, logged: pl.DataFrame) -> None:
    """Labels with every hostile text as a comment."""
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    pairs = zip(logged["id"].to_list(), logged["outcome"].to_list(), strict=True)
    told = [
        Feedback(at_us=now_us, id=id_, label=label, comment=VALUES[place % len(VALUES)][:4_000])
        for place, (id_, label) in enumerate(pairs)
    ]

    async def add() -> None:
        store = FeedbackStore(lake, worker="hostile")
        await store.add(told)
        store.close()

    asyncio.run(add())


def test_hostile_text_is_text_on_every_page(hostile: Any, opened: Callable[..., Any]) -> None:
    url, site, first = hostile
    with site.reading() as connection:
        series = site.series(connection)
    from roadworthy.lifecycle import watching  # noqa: PLC0415 - beside its use

    with site.reading() as connection:
        newest = watching.summaries(connection, site.name, series, newest=1)[0].number
    shown = ""
    for path in (
        "/",
        "/data",
        "/data/kind",
        f"/data/{quote(COLUMN, safe='')}",
        "/quality",
        "/predictions",
        f"/predictions/{first}/0",
        f"/predictions?id={quote(SCRIPT)}",
        f"/data?q={quote(IMAGE)}",
        "/alerts",
        f"/alerts?q={quote(SCRIPT)}",
        "/versions",
        "/versions/1",
        "/runs",
        f"/windows/{series}/{newest}",
    ):
        one = opened(path, width=390, base=url)
        assert one.page.evaluate("window.hacked") is None, path
        assert one.overflowing() == [], path
        assert one.page.locator("main b:text-is('bold'), main i:text-is('c')").count() == 0, path
        shown += one.page.locator("main").inner_text()
    assert SCRIPT in shown
    assert "49" not in shown.partition("bold</b>")[2][:8]
