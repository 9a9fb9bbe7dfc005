"""What a fresh process runs: load a model, predict, time it. Started by ``fresh_process``, never imported.

In: three arguments: a loader (a Python file of Roadworthy's with ``load(path) -> predict``), the model's file, a folder
with ``one.npz`` and ``many.npz`` (input name → array, no pickle); then one line of JSON on standard input. Out: the
line ``ready`` after the first prediction; then one line of JSON: milliseconds of every run, resident memory before the
model was loaded and after the last prediction. Laws: nothing is imported that prediction does not need, so that the
start is the model's own; one thread.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_WARM_UP = 20


def _feed(path: Path) -> dict[str, Any]:
    """Arrays by name; text becomes objects again, as ONNX Runtime takes it."""
    with np.load(path, allow_pickle=False) as arrays:
        named = {name: arrays[name] for name in arrays.files}
    return {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in named.items()}


def _resident() -> tuple[int, str]:
    """Bytes of this process in memory, and how they were told: now on Linux, the most so far elsewhere, else 0."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE"), "resident"
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return 0, ""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "greatest resident"


def _timed(predict: Callable[[Any], Any], feed: Any, runs: tuple[int, int], seconds: float, most: float) -> list[float]:
    """Milliseconds of each run: as many as ``runs`` says first, fewer once ``seconds`` have passed.

    Until there are as many as ``runs`` says last, it goes on for up to ``most`` seconds.
    """
    wanted, least = runs
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < wanted:
        passed = time.perf_counter() - begun
        if taken and passed > (most if len(taken) < least else seconds):
            break
        start = time.perf_counter_ns()
        predict(feed)
        taken.append((time.perf_counter_ns() - start) / 1e6)
    return taken


def _main(loader: str, model: str, folder: str) -> None:
    before, _ = _resident()
    predict = runpy.run_path(loader)["load"](model)
    one = _feed(Path(folder) / "one.npz")
    predict(one)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    asked = json.loads(sys.stdin.readline())
    many = _feed(Path(folder) / "many.npz")
    seconds = asked["seconds"]
    gc.disable()
    _timed(predict, one, (_WARM_UP, 0), seconds / 10, 0)
    single = _timed(predict, one, asked["single"], seconds, asked["most"])
    _timed(predict, many, (_WARM_UP, 0), seconds / 10, 0)
    batch = _timed(predict, many, asked["batch"], seconds, asked["most"])
    after, how = _resident()
    told = {"single": single, "batch": batch, "before": before, "after": after, "how": how}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:4])
