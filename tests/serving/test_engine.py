"""A bundle on live rows: the same scores as offline, rules kept, faults isolated, and someone who answers instead."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.errors import ModelError, RoadworthyError
from roadworthy.formats.bundle import OpenBundle
from roadworthy.records.project import Task
from roadworthy.serving.batching import Batcher, DeadlinePassed, Given, Overloaded, Run, Ticket
from roadworthy.serving.chain import CONSTANT, BreakerState, Chain, Constant
from roadworthy.serving.engine import Cost, Engine, Scored
from roadworthy.serving.rows import Row, RowsRefused


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Iterator[OpenBundle]:
    with assembly.opened_bundle(assembly.open_project(finished), "latest") as (_, found):
        yield found


@pytest.fixture(scope="module")
def engine(bundle: OpenBundle) -> Engine:
    return Engine(bundle, "clicks-1")


@pytest.fixture(scope="module")
def live(clicks: pl.DataFrame, engine: Engine) -> list[dict[str, Any]]:
    """Rows as a caller would send them: without the answer, missing cells as null."""
    names = [name for name in clicks.columns if name in engine.reader.known and name != engine.contract.target]
    kept = clicks.select(names).drop("user_id", "timestamp", strict=False).to_dicts()
    rows = []
    for row in kept:
        try:
            engine.reader.take([row])
        except RowsRefused:
            continue
        rows.append(row)
    return rows[:300]


def test_live_scores_and_decisions_are_those_of_the_same_rows_offline(
    engine: Engine, live: list[dict[str, Any]]
) -> None:
    rows = engine.reader.read(json.dumps({"rows": live}).encode())
    scored = engine.score(rows)
    offline = engine.predictor.answer(pl.DataFrame(live, infer_schema_length=None))
    assert offline.decisions is not None
    sound = offline.problems.is_null().to_numpy()
    assert sound.sum() > 200
    np.testing.assert_array_equal(scored.scores[sound], offline.scores[sound])
    found = np.array(engine.decisions(scored.scores))[sound].tolist()
    assert found == offline.decisions.filter(pl.Series(sound)).to_list()
    assert sorted(scored.broken) == np.flatnonzero(~sound).tolist()


def test_a_row_that_breaks_a_rule_is_told_which_and_its_neighbours_are_answered(
    engine: Engine, live: list[dict[str, Any]]
) -> None:
    bad = {**live[0], "clicks": 9, "impressions": 3}
    rows = engine.reader.take([live[1], bad, live[2]])
    scored = engine.score(rows)
    assert scored.broken == {1: ("clicks <= impressions",)}
    assert np.isfinite(scored.scores).all()


def test_features_of_the_past_are_given_all_or_none(engine: Engine, live: list[dict[str, Any]]) -> None:
    names = engine.predictor.aggregates
    assert names
    plain = engine.reader.take([live[0]])[0]
    first = engine.reader.named(plain)
    offline = engine.predictor.prepare(pl.DataFrame([live[0]]))[0].row(0, named=True)
    assert {name: first[name] for name in names} == {name: offline[name] for name in names}
    (given,) = engine.reader.take([{**live[0], **dict.fromkeys(names, 3.5)}])
    assert {engine.reader.named(given)[name] for name in names} == {3.5}


class Faulty(Engine):
    """An engine whose graph breaks where it is told to."""

    poison: Callable[[Row], bool]
    broken = False

    def score(self, rows: Sequence[Row]) -> Scored:
        if self.broken or any(map(self.poison, rows)):
            raise ModelError("the graph failed on these rows")
        return super().score(rows)

    def sound(self) -> bool:
        return not self.broken and super().sound()


@pytest.fixture
def faulty(bundle: OpenBundle) -> Faulty:
    made = Faulty(bundle, "clicks-2")
    made.poison = lambda _row: False
    return made


def test_one_bad_row_among_eight_fails_alone(faulty: Faulty, live: list[dict[str, Any]]) -> None:
    rows = faulty.reader.take(live[:8])
    faulty.poison = lambda row: row is rows[5]
    chain = Chain([faulty])
    run = chain.run(rows)
    assert list(run.failures) == [5]
    assert [score is None for score in run.scores] == [place == 5 for place in range(8)]
    assert chain.states() == {"clicks-2": BreakerState.CLOSED}


def test_whoever_comes_next_answers_for_a_broken_model_and_says_so(
    faulty: Faulty, engine: Engine, live: list[dict[str, Any]]
) -> None:
    now = [0.0]
    chain = Chain([faulty, engine], clock=lambda: now[0])
    rows = faulty.reader.take(live[:4])
    faulty.broken = True
    for _ in range(3):
        run = chain.run(rows)
        assert set(run.others.values()) == {"clicks-1"}
        assert run.scores == engine.score(rows).scores.tolist()
    assert chain.states()["clicks-2"] is BreakerState.OPEN
    faulty.broken = False
    assert set(chain.run(rows).others.values()) == {"clicks-1"}, "it rests, though it is well again"
    now[0] = 1.5
    assert chain.run(rows).others == {}
    assert chain.states()["clicks-2"] is BreakerState.CLOSED


def test_a_model_that_stays_broken_rests_twice_as_long_each_time(faulty: Faulty, live: list[dict[str, Any]]) -> None:
    now = [0.0]
    chain = Chain([faulty], clock=lambda: now[0])
    faulty.broken = True
    rows = faulty.reader.take(live[:1])
    for _ in range(3):
        chain.run(rows)
    rests = []
    for _ in range(8):
        begun = now[0]
        while chain.breakers[0].state is BreakerState.OPEN and not chain.breakers[0].allows():
            now[0] += 0.25
        rests.append(now[0] - begun)
        chain.run(rows)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_model_that_does_not_come_back_is_left_behind_and_the_next_answers(
    faulty: Faulty, engine: Engine, live: list[dict[str, Any]]
) -> None:
    stuck = threading.Event()

    def hangs(_row: Row) -> bool:
        stuck.wait(30)
        return False

    rows = faulty.reader.take(live[:2])
    faulty.poison = hangs
    chain = Chain([faulty, engine])

    async def ask() -> list[Run]:
        loop = asyncio.get_running_loop()
        batcher = Batcher(chain.run, Cost(0.0, 0.002), loop, lambda _t, _r: None, hung=chain.hung)
        until = time.perf_counter() + 20
        return [(await submitted(batcher, "a", rows, until)).run for _ in range(3)]

    begun = time.perf_counter()
    try:
        runs = asyncio.run(ask())
    finally:
        stuck.set()
    assert time.perf_counter() - begun < 10
    assert all(set(run.others.values()) == {"clicks-1"} for run in runs)
    assert runs[0].scores == engine.score(rows).scores.tolist()
    assert chain.states()["clicks-2"] is BreakerState.OPEN


def test_the_declared_constant_is_the_last_to_answer(faulty: Faulty, live: list[dict[str, Any]]) -> None:
    faulty.broken = True
    chain = Chain([faulty], constant=Constant(score=0.05, decision="0"))
    run = chain.run(faulty.reader.take(live[:2]))
    assert run.others == {0: CONSTANT, 1: CONSTANT}
    assert (run.scores, run.decisions, run.failures) == ([0.05, 0.05], ["0", "0"], {})


# --- the queue ------------------------------------------------------------------------------------------------------


def submitted(batcher: Batcher, id_: str, rows: Sequence[Row], until: float) -> asyncio.Future[Given]:
    """What becomes of rows, as something to wait for."""
    done: asyncio.Future[Given] = asyncio.get_running_loop().create_future()

    def tell(found: Given | RoadworthyError) -> None:
        if isinstance(found, RoadworthyError):
            done.set_exception(found)
        else:
            done.set_result(found)

    batcher.submit(id_, rows, until, tell)
    return done


def answered_after(seconds: float) -> Callable[[Sequence[Row]], Run]:
    def run(rows: Sequence[Row]) -> Run:
        time.sleep(seconds)
        return Run("m-1", [float(row[0]) for row in rows], None, {}, {}, {}, None)

    return run


def test_what_came_while_a_run_was_on_is_the_next_run() -> None:
    sizes: list[int] = []

    def delivered(_tickets: Sequence[Ticket], run: Run) -> None:
        sizes.append(len(run.scores))

    async def ask() -> list[float]:
        batcher = Batcher(answered_after(0.02), Cost(0.0, 0.002), asyncio.get_running_loop(), delivered)
        until = time.perf_counter() + 5
        futures = [submitted(batcher, "a", [(0.0,)], until)]
        await asyncio.sleep(0.005)
        futures += [submitted(batcher, "b", [(float(place),)], until) for place in range(1, 6)]
        done = [await future for future in futures]
        return [given.run.scores[given.start] for given in done]

    assert asyncio.run(ask()) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert sizes == [1, 5]


def test_no_request_waits_for_others_to_come() -> None:
    async def ask() -> float:
        batcher = Batcher(answered_after(0.0), Cost(0.0, 1e-5), asyncio.get_running_loop(), lambda _t, _r: None)
        begun = time.perf_counter()
        for _ in range(200):
            await submitted(batcher, "a", [(0.0,)], begun + 5)
        return (time.perf_counter() - begun) / 200

    assert asyncio.run(ask()) < 0.005


def test_more_than_can_be_done_in_time_is_refused_at_once_with_when_to_come_again() -> None:
    async def ask() -> tuple[int, list[float]]:
        batcher = Batcher(answered_after(0.005), Cost(0.005, 0.0), asyncio.get_running_loop(), lambda _t, _r: None)
        waits, futures = [], []
        until = time.perf_counter() + 5
        for _ in range(50):
            try:
                futures.append(submitted(batcher, "a", [(0.0,)], until))
            except Overloaded as refused:
                waits.append(refused.retry_after)
        await asyncio.gather(*futures)
        return len(futures), waits

    taken, waits = asyncio.run(ask())
    assert 3 <= taken <= 6
    assert all(wait > 0 for wait in waits)


def test_whose_time_is_over_costs_no_run() -> None:
    asked: list[int] = []

    def run(rows: Sequence[Row]) -> Run:
        asked.append(len(rows))
        time.sleep(0.05)
        return Run("m-1", [0.0] * len(rows), None, {}, {}, {}, None)

    async def ask() -> None:
        batcher = Batcher(run, Cost(0.0, 0.002), asyncio.get_running_loop(), lambda _t, _r: None)
        now = time.perf_counter()
        first = submitted(batcher, "a", [(0.0,)], now + 5)
        await asyncio.sleep(0.01)
        late = submitted(batcher, "b", [(0.0,)], time.perf_counter() + 0.02)
        await first
        with pytest.raises(DeadlinePassed):
            await late

    asyncio.run(ask())
    assert asked == [1]


@pytest.mark.parametrize("seconds", [1e-5, 0.002], ids=["on the event loop", "in a thread"])
def test_a_run_that_raises_is_an_answer_too_and_the_queue_goes_on(seconds: float) -> None:
    def run(rows: Sequence[Row]) -> Run:
        if rows[0][0] is None:
            raise ValueError("cell of a person")
        return Run("m-1", [0.0] * len(rows), None, {}, {}, {}, None)

    async def ask() -> float:
        batcher = Batcher(run, Cost(0.0, seconds), asyncio.get_running_loop(), lambda _t, _r: None)
        until = time.perf_counter() + 5
        with pytest.raises(ModelError) as failed:
            await asyncio.wait_for(submitted(batcher, "a", [(None,)], until), 5)
        assert "person" not in str(failed.value)
        given = await asyncio.wait_for(submitted(batcher, "b", [(0.0,)], until), 5)
        return float(given.run.scores[given.start])

    assert asyncio.run(ask()) == 0.0


def stand_in(title: str, classes: tuple[str, ...] = ("0", "1")) -> Any:
    """An engine that breaks on whatever it is asked."""

    def score(_rows: Sequence[Row]) -> Scored:
        raise ModelError("broken")

    contract = SimpleNamespace(target="y", task=Task.BINARY, classes=classes)
    return SimpleNamespace(
        title=title,
        contract=contract,
        classes=classes,
        reader=None,
        constant=None,
        refers=False,
        score=score,
        sound=lambda: False,
    )


def test_who_answers_another_question_does_not_stand_by() -> None:
    chain = Chain([stand_in("m-2"), stand_in("m-1", ("no", "yes")), stand_in("m-0")])
    assert [engine.title for engine in chain.engines] == ["m-2", "m-0"]


def test_whoever_does_not_come_back_is_blamed_for_it() -> None:
    first, second = stand_in("m-2"), stand_in("m-1")
    second.reader = first.reader
    chain = Chain([first, second])
    chain.breakers[0].hung(again=True)
    chain.run([(0.0,)])
    chain.hung(True)
    assert chain.states() == {"m-2": BreakerState.OPEN, "m-1": BreakerState.OPEN}


def test_a_caller_whose_time_is_over_while_the_model_runs_is_told_then() -> None:
    async def ask() -> float:
        batcher = Batcher(answered_after(0.5), Cost(0.0, 0.002), asyncio.get_running_loop(), lambda _t, _r: None)
        begun = time.perf_counter()
        with pytest.raises(DeadlinePassed, match="while the model ran"):
            await submitted(batcher, "a", [(0.0,)], begun + 0.1)
        return time.perf_counter() - begun

    assert asyncio.run(ask()) < 0.45


def test_a_large_batch_of_a_cheap_model_does_not_hold_the_event_loop() -> None:
    async def ask() -> int:
        batcher = Batcher(answered_after(0.3), Cost(1e-4, 1e-5), asyncio.get_running_loop(), lambda _t, _r: None)
        answer = submitted(batcher, "a", [(0.0,)] * 1_000, time.perf_counter() + 5)
        turns = 0
        while not answer.done():
            await asyncio.sleep(0.005)
            turns += 1
        return turns

    assert asyncio.run(ask()) > 10
