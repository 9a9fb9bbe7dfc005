"""A model that breaks while it serves, through the real server: it is cut off, the one before answers and is named.

What a graph can do of itself (a row that keeps it busy, that makes it raise or say NaN) is done by a real graph. That
a model breaks as a whole is brought about below everything of ours but the session of ONNX Runtime: a file says so.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def projects() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("load_projects")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def moody(projects: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("faults") / "moody"
    return folder, projects.moody_project(folder)[0]


def ask(address: str, row: dict[str, Any], timeout: float = 30) -> dict[str, Any]:
    """The answer to one row; HTTPError for anything but a 200."""
    question = urllib.request.Request(  # noqa: S310 - our own server
        f"{address}/predict", json.dumps({"row": row}).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(question, timeout=timeout) as answer:  # noqa: S310 - our own server
        found: dict[str, Any] = json.load(answer)
        return found


def get(address: str, path: str) -> str:
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as answer:  # noqa: S310 - our own server
        found: str = answer.read().decode()
        return found


def breakers(address: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(get(address, "/readyz"))["breakers"]
    return found


def sound(answer: dict[str, Any]) -> bool:
    score = answer["predictions"][0]["score"]
    return isinstance(score, float) and math.isfinite(score)


# --- what single rows do to a graph ----------------------------------------------------------------------------------


def test_a_row_that_keeps_the_model_busy_is_answered_by_the_one_before(
    moody: tuple[Path, dict[str, Any]], projects: Any, serving: Start
) -> None:
    folder, row = moody
    server = serving(folder)
    usual = ask(server.address, row)
    assert (usual["version"], usual.get("answered_by")) == ("moody-2", None)
    with ThreadPoolExecutor(2) as both:
        begun = time.monotonic()
        hung = both.submit(ask, server.address, {**row, "mood": projects.HANGS})
        time.sleep(0.2)
        alive = json.loads(get(server.address, "/livez"))
        assert time.monotonic() - begun < 1.2, "the event loop is not what hangs"
        answer = hung.result(20)
    assert alive == {"live": True}
    assert time.monotonic() - begun < 15, "half a minute is not waited for"
    assert answer["answered_by"] == {"0": "moody-1"}
    assert sound(answer)
    assert breakers(server.address)["moody-2"] == "open"
    meanwhile = ask(server.address, row)
    assert meanwhile["answered_by"] == {"0": "moody-1"}, "cut off"
    end = time.monotonic() + 10
    while ask(server.address, row).get("answered_by") and time.monotonic() < end:
        time.sleep(0.2)
    assert breakers(server.address)["moody-2"] == "closed", "it was one row"
    server.end()


def patient(address: str, row: dict[str, Any]) -> dict[str, Any]:
    """The answer, also where twelve callers are more than a busy machine can do at once."""
    while True:
        try:
            return ask(address, row)
        except urllib.error.HTTPError as error:
            if error.code != 429:
                raise
            time.sleep(0.05)


def test_rows_that_make_the_model_raise_or_say_nan_fail_alone(
    moody: tuple[Path, dict[str, Any]], projects: Any, serving: Start
) -> None:
    folder, row = moody
    server = serving(folder)
    kinds = [row["mood"], projects.NAN, projects.RAISES]
    rows = [{**row, "mood": kinds[at % 3]} for at in range(60)]
    with ThreadPoolExecutor(12) as many:
        answers = list(many.map(lambda one: patient(server.address, one), rows))
    for asked, answer in zip(rows, answers, strict=True):
        by = None if asked["mood"] == row["mood"] else {"0": "moody-1"}
        assert answer.get("answered_by") == by
        assert sound(answer)
    assert breakers(server.address)["moody-2"] == "closed", "bad rows do not open a breaker"
    text = get(server.address, "/metrics")
    assert "roadworthy_fallback_rows_total 40" in text
    assert server.end() == 0


# --- a model that is broken as a whole -------------------------------------------------------------------------------

BREAKS = """
import sys, threading, time
from pathlib import Path
import msgspec, numpy as np
from roadworthy import serve
from roadworthy.errors import ModelError
from roadworthy.serving.feeding import Asked

said, well, seen = Path({said!r}), Asked.run, []

def run(self, arrays):
    if self not in seen and len(seen) < 1 and threading.current_thread() is threading.main_thread():
        seen.append(self)  # the first one that is opened is the champion
    mood = said.read_text() if said.exists() and self is seen[0] else ""
    if mood == "raises":
        raise ModelError("the session failed")
    found = well(self, arrays)
    if mood == "hangs":
        time.sleep(60)
    return [np.full_like(one, np.nan) for one in found] if mood == "nan" else found

Asked.run = run
serve({project!r}, port=0, log="off", grace_s=0,
      ready=lambda found: print(msgspec.json.encode(found).decode(), flush=True))
"""


@pytest.mark.parametrize("mood", ["raises", "nan"])
def test_a_model_that_is_broken_is_cut_off_and_comes_back_when_it_is_well(
    mood: str, moody: tuple[Path, dict[str, Any]], serving: Start, tmp_path: Path
) -> None:
    folder, row = moody
    said = tmp_path / "mood"
    server = serving(folder, code=BREAKS.format(said=str(said), project=str(folder)))
    assert "answered_by" not in ask(server.address, row)
    said.write_text(mood)
    for _ in range(6):
        answer = ask(server.address, row)
        assert answer["answered_by"] == {"0": "moody-1"}, "labelled from the first failure on"
        assert sound(answer)
    assert breakers(server.address) == {"moody-2": "open", "moody-1": "closed"}
    assert 'roadworthy_breaker_open{version="moody-2"} 1' in get(server.address, "/metrics")
    said.unlink()
    end = time.monotonic() + 20
    while "answered_by" in ask(server.address, row) and time.monotonic() < end:
        time.sleep(0.1)
    assert breakers(server.address)["moody-2"] == "closed"
    assert server.end() == 0


def test_a_model_that_hangs_again_and_again_is_not_asked_any_more(
    moody: tuple[Path, dict[str, Any]], serving: Start, tmp_path: Path
) -> None:
    folder, row = moody
    said = tmp_path / "mood"
    server = serving(folder, code=BREAKS.format(said=str(said), project=str(folder)))
    assert "answered_by" not in ask(server.address, row)
    said.write_text("hangs")
    slow = 0
    end = time.monotonic() + 20
    while slow < 3 and time.monotonic() < end:
        begun = time.monotonic()
        answer = ask(server.address, row)
        slow += time.monotonic() - begun > 0.8
        assert answer["answered_by"] == {"0": "moody-1"}
        time.sleep(0.1)
    assert slow == 3
    quick_until = time.monotonic() + 3
    while time.monotonic() < quick_until:
        begun = time.monotonic()
        assert ask(server.address, row)["answered_by"] == {"0": "moody-1"}
        assert time.monotonic() - begun < 0.8, "three runs are stuck; there is no fourth"
        time.sleep(0.1)
    assert breakers(server.address)["moody-2"] == "open"
    server.end()


# --- a model that leaks ----------------------------------------------------------------------------------------------

LEAKS = """
import msgspec
from roadworthy import serve
from roadworthy.api.serving import supervisor
supervisor._MOST_TIMES, supervisor._LEAST_GROWTH = 1.0, 96 << 20
serve({project!r}, port=0, workers=2, log="off", grace_s=0.3,
      ready=lambda found: print(msgspec.json.encode(found).decode(), flush=True))
"""

LEAKING = """
import os
import roadworthy.serving.feeding as feeding
well, kept = feeding.Asked.run, []
def run(self, arrays):
    if os.path.exists({leaks!r}):
        kept.append(bytearray(os.urandom(1 << 20)))
    return well(self, arrays)
feeding.Asked.run = run
"""


def test_a_worker_that_leaks_finishes_what_it_has_and_is_replaced(
    pair: Path, serving: Start, closed_loop: Any, post: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio  # noqa: PLC0415 - for this alone

    leaks = tmp_path / "leaks"
    (tmp_path / "sitecustomize.py").write_text(_on_import(LEAKING.format(leaks=str(leaks))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    server = serving(pair, code=LEAKS.format(project=str(pair)))
    before = set(server.workers())
    leaks.write_text("")
    load = closed_loop(server.address, [post("/predict", {"row": {"a": 0.1, "b": 0.2, "c": 0.3}})], 6)

    async def asked() -> bool:
        task = asyncio.create_task(load.run())
        end = time.monotonic() + 25
        while time.monotonic() < end and "has grown to" not in server.errors.read_text():
            await asyncio.sleep(0.1)
        leaks.unlink()
        while time.monotonic() < end and set(server.workers()) == before:
            await asyncio.sleep(0.1)
        replaced = set(server.workers()) != before
        load.stopped = True
        await task
        return replaced

    assert asyncio.run(asked()), server.errors.read_text()
    assert load.counted.dropped == []
    assert load.counted.statuses() <= {200, 429}
    assert "MiB at its start; it finishes what it has and is started again" in server.errors.read_text()
    assert "killed" not in server.errors.read_text()
    assert server.end() == 0


def _on_import(code: str) -> str:
    """A ``sitecustomize`` that runs code once the worker's model is about to be imported."""
    return f"""
import sys
if "roadworthy.api.serving.child" in " ".join(sys.orig_argv):
    {code.strip().replace(chr(10), chr(10) + "    ")}
"""
