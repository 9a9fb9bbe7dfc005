"""A worker that is killed while it has its hands full: the others go on, it comes back, and no promise is broken."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadworthy import assembly
from roadworthy.adapters.prediction_log import read_feedback, read_log

Start = Callable[..., Any]
CONNECTIONS = 8


def test_acknowledged_labels_outlive_workers_that_are_killed(
    pair: Path, serving: Start, closed_loop: Any, post: Any
) -> None:
    labels = [post("/feedback", {"id": f"{number:026x}", "label": str(number % 2)}) for number in range(40_000)]
    row = {"row": {"a": 0.1, "b": 0.2, "c": 0.3}}
    asked = [request for label in labels for request in (label, post("/predict", row))]
    server = serving(pair, "--workers", "2")
    loads = [closed_loop(server.address, asked[start::2], CONNECTIONS) for start in range(2)]

    async def killed() -> int:
        tasks = [asyncio.create_task(load.run()) for load in loads]
        kills = 0
        for _ in range(3):
            await asyncio.sleep(random.Random(kills).uniform(0.3, 0.6))  # noqa: S311 - moments, no secrets
            os.kill(server.workers()[kills % 2], signal.SIGKILL)
            kills += 1
            end = time.monotonic() + 15
            while len(server.workers()) < 2 and time.monotonic() < end:
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.5)
            for at, (load, task) in enumerate(zip(loads, tasks, strict=True)):
                if task.done():  # all of its connections were with the dead: others come
                    load.stopped = False
                    tasks[at] = asyncio.create_task(load.run())
        for load in loads:
            load.stopped = True
        await asyncio.gather(*tasks)
        return kills

    kills = asyncio.run(killed())
    assert server.end() == 0
    lost = [text for load in loads for text in load.counted.dropped]
    assert len(lost) <= kills * 2 * CONNECTIONS, "only what the killed had in their hands"
    acknowledged = {
        f"{which:026x}" for _, which, status, _ in loads[0].counted.answers if status == 202
    }  # every second request is a label, so the first load's are all labels
    assert len(acknowledged) > 200
    assert loads[0].counted.statuses() <= {202, 429}
    assert loads[1].counted.statuses() <= {200, 429}
    lake = assembly.open_project(pair).settings.lake
    stored = set(read_feedback(lake).latest.get_column("id").to_list())
    assert acknowledged <= stored, f"{len(acknowledged - stored)} acknowledged labels are lost"
    logged = read_log(lake).collect()
    assert logged.height > 0
    assert server.errors.read_text().count("was ended by SIGKILL") == kills
    assert not list(Path(lake).rglob("*.damaged"))
