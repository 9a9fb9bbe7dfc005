"""The gap between a random split and the honest one: seen where it is, not claimed where it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from roadworthy.adapters.trainers import trainer_named
from roadworthy.errors import DataError
from roadworthy.measures.samples import Sample
from roadworthy.measures.split_gap import split_gap, split_gap_finding, unmeasured_gap
from roadworthy.protocols import FittedModel, Trainer, TrainingData
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.data import FeatureTable
from roadworthy.records.model import ProgressLine, SplitGap, TrainedModel
from roadworthy.records.project import DataSpec, ProjectSpec, Task, TrainingSpec
from roadworthy.stages import train, train_folds, train_gap
from roadworthy.testing.memory import SilentReporter
from roadworthy.transforms.features import FeaturePlan

TABLE = FeatureTable(digest="sha256:table", parent="sha256:clean", rows=0, columns=(), features=())
ROWS = 1_200
START = datetime(2026, 1, 1)  # noqa: DTZ001 - clean times carry no zone and mean UTC
QUICK: dict[str, dict[str, Any]] = {"gbdt": {"rounds": 40}}


def made_table(task: Task = Task.BINARY, *, drift: float = 0.0, habit: float = 0.0, rows: int = ROWS) -> pl.DataFrame:
    """``z`` matters ever differently under ``drift``; under ``habit`` each user has a bias, and ``mark`` tells who."""
    rng = np.random.default_rng(11)
    x, z, noise = rng.normal(size=(3, rows))
    who = rng.integers(0, rows // 8, rows)
    mark, bias = rng.normal(size=(2, rows // 8))
    signal = x + drift * np.linspace(-1, 1, rows) * z + habit * bias[who]
    chance = 1 / (1 + np.exp(-signal))
    return pl.DataFrame(
        {
            "_row": np.arange(rows),
            "t": [START + timedelta(minutes=k) for k in range(rows)],
            "who": who.astype(str),
            "x": x,
            "z": z,
            "mark": mark[who],
            "y": signal + noise if task is Task.REGRESSION else np.where(rng.random(rows) < chance, "yes", "no"),
        }
    )


def made_spec(task: Task, candidate: str, *, time: str = "", entity: str = "", folds: int = 4) -> ProjectSpec:
    target = ColumnType.NUMBER if task is Task.REGRESSION else ColumnType.CATEGORY
    types = {"t": ColumnType.TIME, "who": ColumnType.TEXT, "y": target}
    types |= dict.fromkeys(("x", "z", "mark"), ColumnType.NUMBER)
    return ProjectSpec(
        name="gap",
        task=task,
        target="y",
        positive="yes" if task is Task.BINARY else "",
        data=DataSpec(source="made", time=time, entity=entity),
        contract=Contract(columns={name: ColumnContract(type=kind) for name, kind in types.items()}),
        training=TrainingSpec(candidates=(candidate,), folds=folds, parameters=QUICK),
    )


def trained(
    folder: Path, frame: pl.DataFrame, spec: ProjectSpec, trainers: Mapping[str, Trainer] | None = None
) -> TrainedModel:
    folder.mkdir(exist_ok=True)
    frame.write_parquet(folder / "rows.parquet")
    split = train.run_split(TABLE, folder / "rows.parquet", spec, folder, "sha256:split")
    return train.run(
        TABLE,
        folder / "rows.parquet",
        split,
        folder / "parts.parquet",
        spec,
        trainers or {name: trainer_named(name) for name in spec.training.candidates},
        folder / "model",
        "sha256:model",
        SilentReporter(),
    )


def gap_of(model: TrainedModel) -> SplitGap:
    assert model.split_gap is not None
    return model.split_gap


def figures(gap: SplitGap) -> tuple[float, float, float, float]:
    assert gap.insufficient == ""
    found = (gap.honest, gap.random, gap.lower, gap.upper)
    assert all(number is not None for number in found)
    return found  # type: ignore[return-value]  # none is None


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_drift_shows_a_gap_between_random_and_time_order(tmp_path: Path, task: Task) -> None:
    model = trained(tmp_path, made_table(task, drift=3.0), made_spec(task, "logistic", time="t"))
    gap = gap_of(model)
    honest, random, lower, upper = figures(gap)
    assert gap.kind == "time"
    assert 0 < lower < honest - random < upper
    loss = "log loss" if task is Task.BINARY else "mean squared error"
    assert gap.sentence.startswith(f"A random split would have promised a {loss} of {random:.4g}; in time order")
    assert "would have flattered the model" in gap.sentence
    assert "learn from rows later than those that it is asked about" in gap.sentence
    (finding,) = split_gap_finding(gap)
    assert (finding.kind, finding.grade, finding.sentence) == ("split_gap", "notes", gap.sentence)
    assert finding.details["lower"] == lower
    assert finding.details["candidate"] == "logistic"
    assert "to compare the split by time with a random one" in model.candidates[0].notes[-1]


@pytest.mark.parametrize(("time", "entity"), [("t", ""), ("", "who"), ("t", "who")])
def test_where_rows_are_alike_no_gap_is_claimed(tmp_path: Path, time: str, entity: str) -> None:
    gap = gap_of(trained(tmp_path, made_table(), made_spec(Task.BINARY, "logistic", time=time, entity=entity)))
    _, _, lower, upper = figures(gap)
    assert lower < 0 < upper
    assert "there is no provable gap" in gap.sentence
    assert "flattered" not in gap.sentence
    assert ("entity" in gap.method, "time" in gap.method) == (bool(entity), bool(time))


def test_a_random_split_lets_the_model_recognise_entities(tmp_path: Path) -> None:
    frame = made_table(Task.REGRESSION, habit=2.0)
    gap = gap_of(trained(tmp_path, frame, made_spec(Task.REGRESSION, "gbdt", entity="who")))
    honest, random, lower, _ = figures(gap)
    assert gap.kind == "entity"
    assert honest - random > lower > 0
    assert "for entities never trained on it is" in gap.sentence
    assert "learn from other rows of the same entity" in gap.sentence
    assert 10 <= gap.clusters < ROWS // 8


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_a_split_that_is_random_itself_has_no_gap(tmp_path: Path, task: Task) -> None:
    model = trained(tmp_path, made_table(task), made_spec(task, "logistic"))
    assert model.split_gap is None
    assert split_gap_finding(model.split_gap) == ()


def test_the_same_rows_and_seed_give_the_same_gap(tmp_path: Path) -> None:
    spec = made_spec(Task.BINARY, "gbdt", time="t", entity="who", folds=2)
    first, second = (gap_of(trained(tmp_path / name, made_table(drift=2.0), spec)) for name in ("1", "2"))
    assert first == second
    assert msgspec.json.decode(msgspec.json.encode(first), type=SplitGap) == first


@dataclass
class Spy:
    """A trainer that remembers which rows it was given: ``x`` is the row's number over ``scale``."""

    fails_at: int = 99
    name: str = "spy"
    trained: list[set[int]] = field(default_factory=list)
    asked: list[set[int]] = field(default_factory=list)

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's signature
        return {}

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:  # noqa: ARG002 - the protocol's signature
        return {}

    def fit(
        self, data: TrainingData, parameters: Mapping[str, Any], report: Callable[[ProgressLine], None]
    ) -> FittedModel:
        if len(self.trained) >= self.fails_at:
            raise ZeroDivisionError("no luck")
        assert parameters == {}
        report(
            ProgressLine(candidate="spy", step=1, train_loss=1.0, valid_loss=1.0, train_quality=0.5, valid_quality=0.5)
        )
        self.trained.append(self.numbers(data.x) | self.numbers(data.valid_x))
        return Answer(self)

    def numbers(self, x: NDArray[np.float32]) -> set[int]:
        """Two inputs of small whole numbers, told apart by rank, give back the row's number."""
        return {int(a) * 64 + int(b) for a, b in np.rint(x[:, :2].astype(float) * 32)}


@dataclass
class Answer:
    spy: Spy
    best_step: int = 1

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        self.spy.asked.append(self.spy.numbers(x))
        return np.full(len(x), 0.4)

    def to_onnx(self) -> bytes:
        return b"a graph"


@pytest.fixture
def plain_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder lets ``x`` and ``z`` through, divided by 32, so that rows can be told from inputs."""

    class Plain:
        names = ("x", "z")

        @classmethod
        def fit(cls, frame: pl.DataFrame, columns: Mapping[str, Any]) -> Plain:  # noqa: ARG003 - as the encoder's
            return cls()

        def encode(self, frame: pl.DataFrame) -> NDArray[np.float32]:
            return (frame.select("x", "z").to_numpy() / 32).astype(np.float32)

        def encoded(self) -> bytes:
            return b"{}"

    monkeypatch.setattr(train_folds, "Encoder", Plain)


def numbered(rows: int) -> pl.DataFrame:
    number = np.arange(rows)
    frame = made_table(rows=rows)
    return frame.with_columns(x=pl.Series((number // 64).astype(float)), z=pl.Series((number % 64).astype(float)))


@pytest.mark.usefixtures("plain_inputs")
@pytest.mark.parametrize(("time", "entity"), [("t", ""), ("", "who")])
@pytest.mark.parametrize("most", [20_000, 400])
def test_both_ways_are_alike_and_the_holdout_stays_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: str, entity: str, most: int
) -> None:
    monkeypatch.setattr(train_gap, "MOST_ROWS", most)
    spy, spec, frame = Spy(), made_spec(Task.BINARY, "spy", time=time, entity=entity), numbered(ROWS)
    gap = gap_of(trained(tmp_path, frame, spec, {"spy": spy}))
    parts = pl.read_parquet(tmp_path / "parts.parquet")
    held = set(parts.filter(part="holdout")["_row"])
    fits, asked = spy.trained[5:], spy.asked[5:]  # after four folds and the final training
    assert len(fits) == len(asked) == train_gap.TRAININGS
    assert {len(rows) for rows in fits} == {gap.trained_rows}
    assert not set().union(*fits, *asked) & held
    assert all(not learned & ahead for learned, ahead in zip(fits, asked, strict=True))
    assert set().union(*asked[:2]) == set().union(*asked[2:])
    assert sum(map(len, asked[:2])) == sum(map(len, asked[2:])) == gap.rows
    assert len(set().union(*fits, *asked)) <= most
    who = dict(frame.select("_row", "who").iter_rows())
    for learned, ahead in zip(fits[:2], asked[:2], strict=True):
        if time:
            assert max(learned) < min(ahead)  # rows are numbered in order of time
        else:
            assert not {who[row] for row in learned} & {who[row] for row in ahead}
    later = fits[2] if time else {row for row in fits[2] if who[row] in {who[ahead] for ahead in asked[2]}}
    assert max(later) > min(asked[2])  # at random, later rows and rows of the same entity do train


@pytest.mark.usefixtures("plain_inputs")
def test_with_disjoint_entities_both_ways_are_asked_about_newcomers(tmp_path: Path) -> None:
    spy, spec = Spy(), made_spec(Task.BINARY, "spy", time="t", entity="who")
    spec = msgspec.structs.replace(spec, data=msgspec.structs.replace(spec.data, entity_disjoint=True))
    frame = numbered(ROWS).with_columns(
        who=pl.when(pl.col("_row") % 3 == 0).then(pl.lit("old")).otherwise(pl.format("n{}", pl.col("_row") // 6))
    )
    gap_of(trained(tmp_path, frame, spec, {"spy": spy}))
    fits, asked = spy.trained[5:], spy.asked[5:]
    assert set().union(*asked[:2]) == set().union(*asked[2:]) != set()
    who = dict(frame.select("_row", "who").iter_rows())
    for learned, ahead in zip(fits[:2], asked[:2], strict=True):
        assert not {who[row] for row in learned} & {who[row] for row in ahead}
    assert not any(who[row] == "old" for row in set().union(*asked))


def test_a_large_training_part_is_thinned_by_whole_entities() -> None:
    rng = np.random.default_rng(0)
    groups = np.concatenate([np.zeros(9_000, dtype=np.int64), rng.integers(1, 9_000, 60_000)])
    groups = rng.permutation(np.unique(groups, return_inverse=True)[1].reshape(-1))
    kept = train_gap._entities(groups, 7, train_gap.MOST_ROWS)
    assert 0.95 * train_gap.MOST_ROWS < len(kept) <= train_gap.MOST_ROWS
    all_rows = np.bincount(groups)
    there = np.bincount(groups[kept], minlength=len(all_rows))
    whole = (there == 0) | (there == all_rows)
    assert set(np.flatnonzero(~whole)) <= {0}
    assert there[0] in {0, train_gap.MOST_ROWS // 10}


def test_a_large_training_part_is_thinned_by_whole_stretches_of_time() -> None:
    kept = train_gap._stretches(261_892, train_gap.MOST_ROWS)
    assert len(kept) == train_gap.MOST_ROWS
    assert (kept[0], kept[-1]) == (0, 261_891)
    assert np.count_nonzero(np.diff(kept) > 1) == 39


def test_a_training_that_breaks_is_told_and_spoils_nothing(tmp_path: Path) -> None:
    model = trained(tmp_path, made_table(), made_spec(Task.BINARY, "spy", time="t"), {"spy": Spy(fails_at=6)})
    gap = gap_of(model)
    assert gap.insufficient == "ZeroDivisionError: no luck"
    assert (gap.honest, gap.random, gap.lower, gap.upper) == (None, None, None, None)
    assert "could not be measured: ZeroDivisionError: no luck." in split_gap_finding(gap)[0].sentence
    assert [candidate.name for candidate in model.candidates] == ["spy"]


def test_too_few_rows_say_so(tmp_path: Path) -> None:
    gap = gap_of(trained(tmp_path, made_table(rows=50), made_spec(Task.BINARY, "logistic", time="t")))
    assert gap.insufficient == "only 24 rows could train each way, and 30 are needed"


def test_a_row_of_the_holdout_is_refused(tmp_path: Path) -> None:
    spec = made_spec(Task.BINARY, "logistic", time="t")
    made_table().write_parquet(tmp_path / "rows.parquet")
    train.run_split(TABLE, tmp_path / "rows.parquet", spec, tmp_path, "sha256:split")
    columns = FeaturePlan.build(spec).model_columns(spec)
    rows = train_folds.Rows(tmp_path / "rows.parquet", tmp_path / "parts.parquet", spec, columns, by_time=True)
    with pytest.raises(DataError, match="holdout"):
        rows.fitting(np.arange(100), np.array([ROWS - 1]), at_random=True)


def test_the_cheapest_candidate_compares() -> None:
    assert train_gap.cheapest(["mlp", "gbdt", "logistic"]) == "logistic"
    assert train_gap.cheapest(["mlp", "own.module:fit"]) == "mlp"


def test_wide_rows_and_slow_candidates_are_asked_for_fewer_rows() -> None:
    assert train_gap.most_rows("logistic", 1_000) == 4_000
    assert train_gap.most_rows("gbdt", 10) == train_gap.MOST_ROWS
    assert train_gap.most_rows("own.module:fit", 100_000) == 2_000


def sampled(score: NDArray[np.float64], y: NDArray[np.int64], clusters: NDArray[np.int64] | None = None) -> Sample:
    return Sample(task=Task.BINARY, y=y, score=score, clusters=clusters)


def test_a_random_split_may_also_promise_less() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 600)
    good, bad = (np.clip(0.5 + (y - 0.5) * size + rng.normal(0, 0.05, 600), 0.01, 0.99) for size in (0.7, 0.4))
    gap = split_gap(sampled(good, y), sampled(bad, y), kind="time", candidate="logistic", trained_rows=600)
    assert gap.upper is not None
    assert gap.upper < 0
    assert "would have promised less, not more" in gap.sentence


def test_bounds_widen_with_few_training_rows_and_with_entities() -> None:
    rng = np.random.default_rng(4)
    y, who = rng.integers(0, 2, 600), np.repeat(np.arange(60), 10)
    shift = rng.normal(0, 0.1, 60)[who]
    honest = np.clip(0.5 + (2 * y - 1) * (0.1 + shift) + rng.normal(0, 0.02, 600), 0.05, 0.95)
    random = np.full(600, 0.5)

    def width(trained_rows: int, clusters: NDArray[np.int64] | None) -> float:
        first, second = sampled(honest, y, clusters), sampled(random, y, clusters)
        gap = split_gap(first, second, kind="entity", candidate="logistic", trained_rows=trained_rows)
        assert gap.lower is not None
        assert gap.upper is not None
        return gap.upper - gap.lower

    assert width(600, None) == pytest.approx(width(600_000, None) * np.sqrt(2), rel=0.02)
    assert width(600, who) > 2 * width(600, None)


def test_the_same_predictions_leave_no_gap_and_no_rows_no_answer() -> None:
    y = np.array([0, 1] * 50)
    same = sampled(np.full(100, 0.5), y)
    gap = split_gap(same, same, kind="time", candidate="logistic", trained_rows=100)
    assert (gap.lower, gap.upper) == (0.0, 0.0)
    assert "no provable gap" in gap.sentence
    nothing = sampled(np.zeros(0), np.zeros(0, dtype=np.int64))
    none = split_gap(nothing, nothing, kind="time", candidate="logistic", trained_rows=100)
    assert none.insufficient == "no row to measure"
    assert none == unmeasured_gap("time", "logistic", Task.BINARY, "no row to measure")
