"""Hot swap: a server follows the alias that it serves, request by request, and nothing that fails stops it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.adapters.lake import Lake
from roadworthy.api.serving.following import Follower, ring_of
from roadworthy.errors import RegistryError
from roadworthy.lifecycle.api_keys import KeyRecord
from roadworthy.serving.engine import Engine

Start = Callable[..., Any]
Post = Callable[..., bytes]

ROWS = [{"a": a, "b": b, "c": 0.1} for a in (-2.0, -0.3, 0.0, 0.4, 1.5) for b in (-1.0, 0.2, 2.0)]

CODE = """
import msgspec
from roadworthy import serve
serve({project!r}, port=0, workers={workers}, log="off", grace_s=0, poll_s=0.01,
      ready=lambda found: print(msgspec.json.encode(found).decode(), flush=True))
"""


def promote(project: assembly.Project, number: int) -> None:
    with assembly.opened_registry(project) as registry:
        registry.promote(project.spec.name, number)


def offline(folder: Path, number: int) -> list[float]:
    """What a version says of ROWS through the predictor that ``score`` uses."""
    project = assembly.open_project(folder)
    with assembly.opened_bundle(project, str(number)) as (_, bundle):
        model = assembly.predictor(project, bundle)
    scores: list[float] = model.answer(pl.DataFrame(ROWS)).scores.tolist()
    return scores


async def version_in(load: Any, title: str, seconds: float = 10) -> bool:
    """Whether the newest answer of a running load comes from a version, before long."""
    end = time.monotonic() + seconds
    wanted = f'"version":"{title}"'.encode()
    while time.monotonic() < end:
        if load.counted.answers and wanted in load.counted.answers[-1][3]:
            return True
        await asyncio.sleep(0.002)
    return False


@pytest.mark.parametrize(("workers", "swaps"), [(1, 100), (2, 10)])
def test_swaps_under_load(pair: Path, serving: Start, closed_loop: Any, post: Post, workers: int, swaps: int) -> None:
    expected = {f"pair-{number}": offline(pair, number) for number in (1, 2)}
    assert np.abs(np.subtract(expected["pair-1"], expected["pair-2"])).max() > 1e-3, "the versions can be told apart"
    server = serving(pair, code=CODE.format(project=str(pair), workers=workers))
    load = closed_loop(server.address, [post("/predict", {"row": row}) for row in ROWS], 3)
    project = assembly.open_project(pair)

    async def swapped() -> None:
        task = asyncio.create_task(load.run())
        for swap in range(swaps):
            number = 2 - swap % 2
            await asyncio.to_thread(promote, project, number)
            assert await version_in(load, f"pair-{number}"), f"swap {swap} did not reach the answers"
        load.stopped = True
        await task

    asyncio.run(swapped())
    assert load.counted.dropped == []
    assert load.counted.statuses() == {200}
    served = dict.fromkeys(expected, 0)
    for _, which, _, body in load.counted.answers:
        answer = json.loads(body)
        served[answer["version"]] += 1
        assert "answered_by" not in answer
        assert answer["predictions"][0]["score"] == pytest.approx(expected[answer["version"]][which], rel=1e-6)
    assert min(served.values()) > swaps
    assert server.end() == 0


@pytest.fixture
def project(pair: Path) -> assembly.Project:
    return assembly.open_project(pair)


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_champion_before_stands_by_and_the_old_one_stays_warm(project: assembly.Project) -> None:
    promote(project, 2)
    follower = Follower(project, "champion", local=True)
    chain, _ = follower.start()
    assert [engine.title for engine in chain.engines] == ["pair-2", "pair-1"]
    assert follower.look().chain is None
    promote(project, 1)
    swapped = follower.look().chain
    assert swapped is not None
    assert [engine.title for engine in swapped.engines] == ["pair-1", "pair-2"]
    assert swapped.engines == chain.engines[::-1], "both were warm: none was loaded again"
    assert not follower.warnings


def test_at_most_two_engines_stay(project: assembly.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(project, "champion", local=True)
    chain, _ = follower.start()
    monkeypatch.setattr(Engine, "sound", lambda _self: False)  # so that none is taken again
    loaded = [weakref.ref(engine) for engine in chain.engines]
    del chain
    for number in (2, 1, 2, 1):
        promote(project, number)
        swapped = follower.look().chain
        assert swapped is not None
        loaded.append(weakref.ref(swapped.first))
        del swapped
    assert [reference() is not None for reference in loaded] == [False] * (len(loaded) - 2) + [True, True]


@pytest.mark.parametrize(("wanted", "title"), [("latest", "pair-2"), ("2", "pair-2"), ("1", "pair-1")])
def test_a_number_stays_and_latest_has_no_fallback(project: assembly.Project, wanted: str, title: str) -> None:
    follower = Follower(project, wanted, local=True)
    chain, _ = follower.start()
    assert [engine.title for engine in chain.engines] == [title]
    promote(project, 2)
    assert follower.look().chain is None


def test_a_version_that_does_not_open_leaves_the_old_one_in_service_until_it_does(project: assembly.Project) -> None:
    ticks = Ticks()
    follower = Follower(project, "champion", local=True, clock=ticks)
    follower.start()
    with assembly.opened_registry(project) as registry:
        digest = registry.version("pair", 2).digest
    model = Lake(project.settings.lake).path("package", digest) / "bundle" / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    promote(project, 2)
    assert follower.look().chain is None
    (warning,) = follower.warnings
    assert warning.startswith("pair-2 cannot be put in service, pair-1 goes on: ")
    model.write_bytes(whole)
    assert follower.look().chain is None, "it is not tried again at once"
    ticks.now += 11
    chain = follower.look().chain
    assert chain is not None
    assert chain.first.title == "pair-2"
    assert not follower.warnings


def test_back_to_the_old_one_while_the_new_one_does_not_open(project: assembly.Project) -> None:
    follower = Follower(project, "champion", local=True)
    follower.start()
    lake = project.settings.lake
    shutil.move(lake, lake.with_name("gone"))
    promote(project, 2)
    assert follower.look().chain is None
    assert len(follower.warnings) == 1
    promote(project, 1)
    assert follower.look().chain is None
    assert not follower.warnings


def test_the_registry_may_be_gone_and_come_back_as_another_file(project: assembly.Project) -> None:
    follower = Follower(project, "champion", local=True)
    follower.start()
    file = Path(project.settings.registry.removeprefix("sqlite:///"))
    away = file.with_name("away.db")
    for _ in range(2):  # a second look finds it gone all the same: nobody made a new one
        if file.exists():
            shutil.copy(file, away)
            for one in file.parent.glob("registry.db*"):
                one.unlink()
        assert follower.look() == type(follower.look())()
        (warning,) = follower.warnings
        assert warning.startswith("the registry cannot be read since ")
        assert not file.exists()
    shutil.copy(away, file)
    promote(project, 2)
    chain = follower.look().chain
    assert chain is not None
    assert chain.first.title == "pair-2"
    assert not follower.warnings


def test_a_registry_that_was_tampered_with_swaps_nothing(project: assembly.Project) -> None:
    import sqlite3  # noqa: PLC0415 - the fault is planted as somebody would who goes round the registry

    follower = Follower(project, "champion", local=True)
    follower.start()
    file = project.settings.registry.removeprefix("sqlite:///")
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE aliases SET number = 2")
        raw.execute("UPDATE audit SET hash = 'x' WHERE sequence = (SELECT max(sequence) FROM audit)")
    raw.close()
    assert follower.look().chain is None
    assert "cannot be read" in follower.warnings[0]


def test_a_worker_that_starts_while_the_registry_is_gone_serves_what_was_known(
    project: assembly.Project, tmp_path: Path
) -> None:
    memory = tmp_path / "registry.json"
    first = Follower(project, "champion", local=True, memory=memory)
    first.start()
    assert memory.stat().st_mode & 0o077 == 0
    for one in Path(project.settings.registry.removeprefix("sqlite:///")).parent.glob("registry.db*"):
        one.unlink()
    later = Follower(project, "champion", local=True, memory=memory)
    chain, _ = later.start()
    assert chain.first.title == "pair-1"
    assert later.warnings[0].startswith("the registry cannot be read")
    with pytest.raises(RegistryError):
        Follower(project, "champion", local=True).start()


def test_taking_keys_away_lets_nobody_in(project: assembly.Project) -> None:
    key = KeyRecord(id="k", name="n", digest="00" * 32, created_at="now")
    with assembly.opened_registry(project) as registry:
        known = assembly.seen(project, registry, "champion")

    def asks(*keys: KeyRecord, local: bool) -> bool:
        import msgspec  # noqa: PLC0415 - for this alone

        return bool(ring_of(msgspec.structs.replace(known, keys=keys), local=local))

    revoked = KeyRecord(id="k", name="n", digest="00" * 32, created_at="now", revoked_at="later")
    assert [asks(local=True), asks(key, local=True), asks(revoked, local=True)] == [False, True, True]
    assert [asks(local=False), asks(key, local=False), asks(revoked, local=False)] == [True, True, True]
