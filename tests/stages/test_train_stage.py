"""The training stage: files as the record says, honest folds, failures that do not spread, same bytes twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import polars as pl
import pytest
from numpy.typing import NDArray

from roadworthy.adapters.trainers import TRAINERS, trainer_named
from roadworthy.errors import TargetError, TrainingError, UnknownName, UsageError
from roadworthy.protocols import FittedModel, Trainer, TrainingData
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.data import FeatureTable, Split
from roadworthy.records.model import ProgressLine, TrainedModel
from roadworthy.records.project import DataSpec, ProjectSpec, Task, TrainingSpec
from roadworthy.stages import train, train_folds
from roadworthy.stages.train_tuning import Budget, search
from roadworthy.transforms.encoding import Encoder

TABLE = FeatureTable(digest="sha256:table", parent="sha256:clean", rows=0, columns=(), features=())
SHORT: dict[str, dict[str, Any]] = {"mlp": {"epochs": 12}, "gbdt": {"rounds": 40}}
TARGET_TYPES = {
    Task.BINARY: ColumnType.CATEGORY,
    Task.MULTICLASS: ColumnType.INTEGER,
    Task.REGRESSION: ColumnType.NUMBER,
}


@dataclass
class Told:
    """A reporter that remembers."""

    begun: dict[str, int | None] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    lines: list[ProgressLine] = field(default_factory=list)

    def begin(self, task: str, total: int | None = None) -> None:
        self.begun[task] = total

    def advance(self, task: str, steps: int = 1) -> None:
        self.steps[task] = self.steps.get(task, 0) + steps

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:  # noqa: ARG002  # the protocol's
        self.ended[task] = summary

    def line(self, line: ProgressLine) -> None:
        self.lines.append(line)


@dataclass
class Spy:
    """A trainer that remembers what it was given and answers the training mean."""

    name: str = "spy"
    given: list[tuple[TrainingData, dict[str, Any]]] = field(default_factory=list)
    seen: list[NDArray[np.float32]] = field(default_factory=list)
    fault: Exception | None = None
    values: tuple[Any, ...] = ()

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:  # noqa: ARG002  # the protocol's signature
        return {"offset": 0.0}

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:  # noqa: ARG002  # the protocol's signature
        return {"offset": self.values} if self.values else {}

    def fit(
        self, data: TrainingData, parameters: Mapping[str, Any], report: Callable[[ProgressLine], None]
    ) -> FittedModel:
        if self.fault is not None:
            raise self.fault
        self.given.append((data, dict(parameters)))
        report(
            ProgressLine(
                candidate=self.name, step=1, train_loss=1.0, valid_loss=1.0, train_quality=0.5, valid_quality=0.5
            )
        )
        return Constant(float(np.average(data.y, weights=data.weights)) + parameters["offset"], self.seen)


@dataclass
class Constant:
    value: float
    seen: list[NDArray[np.float32]]
    best_step: int = 1

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        self.seen.append(x)
        return np.full(len(x), self.value)

    def to_onnx(self) -> bytes:
        return b"a graph"


def made_spec(task: Task = Task.BINARY, *, time: str = "", entity: str = "", **training: Any) -> ProjectSpec:
    columns = {
        "a": ColumnContract(type=ColumnType.NUMBER),
        "b": ColumnContract(type=ColumnType.INTEGER),
        "device": ColumnContract(type=ColumnType.CATEGORY),
        "t": ColumnContract(type=ColumnType.TIME),
        "who": ColumnContract(type=ColumnType.TEXT),
        "y": ColumnContract(type=TARGET_TYPES[task]),
    }
    return ProjectSpec(
        name="trial",
        task=task,
        target="y",
        positive="yes" if task is Task.BINARY else "",
        data=DataSpec(source="rows.csv", time=time, entity=entity),
        contract=Contract(columns=columns),
        training=TrainingSpec(**training),
    )


def made_rows(folder: Path, task: Task = Task.BINARY, rows: int = 500) -> Path:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=rows), rng.integers(0, 9, rows)
    device = rng.choice(["desktop", "mobile", "tablet"], rows)
    signal = a + 0.3 * b - 1.2 + (device == "mobile") + 0.5 * rng.logistic(size=rows)
    y: Any = {
        Task.BINARY: np.where(signal > 0, "yes", "zero"),
        Task.MULTICLASS: np.digitize(signal, [-0.5, 1.0]) + 9,
        Task.REGRESSION: signal * 30 + 100,
    }[task]
    frame = pl.DataFrame(
        {
            "_row": pl.Series(range(rows), dtype=pl.Int64),
            "a": pl.Series(np.where(rng.random(rows) < 0.05, np.nan, a)).fill_nan(None),
            "b": b,
            "device": device,
            "t": pl.Series(rng.permutation(rows)).cast(pl.Int64).cast(pl.Datetime("us")),
            "who": pl.Series(rng.integers(0, 60, rows)).cast(pl.String),
            "y": y,
        }
    ).with_columns(pl.when(pl.col("_row") % 100 == 99).then(None).otherwise("y").alias("y"))
    path = folder / "rows.parquet"
    frame.write_parquet(path)
    return path


@dataclass
class Done:
    model: TrainedModel
    split: Split
    folder: Path
    rows: pl.DataFrame
    parts: pl.DataFrame
    told: Told


def trained(folder: Path, spec: ProjectSpec, trainers: Mapping[str, Trainer], *, rows: int = 500) -> Done:
    folder.mkdir(exist_ok=True)
    path = made_rows(folder, spec.task, rows)
    split = train.run_split(TABLE, path, spec, folder, "sha256:split")
    told = Told()
    model = train.run(
        TABLE, path, split, folder / "parts.parquet", spec, trainers, folder / "model", "sha256:model", told
    )
    parts = pl.read_parquet(folder / "parts.parquet")
    return Done(model, split, folder / "model", pl.read_parquet(path), parts, told)


@pytest.mark.parametrize(
    ("task", "time", "entity"),
    [(Task.BINARY, "t", "who"), (Task.MULTICLASS, "", "who"), (Task.REGRESSION, "", "")],
)
def test_every_candidate_leaves_its_files_and_its_graph_agrees(
    tmp_path: Path, task: Task, time: str, entity: str
) -> None:
    spec = made_spec(task, time=time, entity=entity, folds=3, balance=task is Task.BINARY, parameters=SHORT)
    done = trained(tmp_path, spec, {name: trainer_named(name) for name in TRAINERS})
    assert done.model.failures == {}
    assert [candidate.name for candidate in done.model.candidates] == ["logistic", "mlp", "gbdt"]
    assert done.model.features == ("a", "b", "device")
    assert done.model.parent == done.split.digest
    scores = ["score_0", "score_1", "score_2"] if task is Task.MULTICLASS else ["score"]
    held = done.parts.filter(part="holdout").select("_row").join(done.rows, on="_row").sort("_row")
    folds = done.parts.filter(pl.col("fold").is_not_null())
    for candidate in done.model.candidates:
        folder = done.folder / candidate.name
        encoder = Encoder.decoded((folder / "encoder.json").read_bytes())
        assert candidate.inputs == len(encoder.names)
        assert candidate.lines
        holdout, oof = pl.read_parquet(folder / "holdout.parquet"), pl.read_parquet(folder / "oof.parquet")
        assert holdout.columns == oof.columns == ["_row", *scores]
        assert holdout["_row"].to_list() == held["_row"].to_list()
        assert oof["_row"].to_list() == folds["_row"].sort().to_list()
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        answered = session.run(["score"], {"X": encoder.encode(held)})[0]
        own = holdout.select(scores).to_numpy()
        scale = np.maximum(np.abs(own), 30.0) if task is Task.REGRESSION else 1.0
        assert float(np.max(np.abs(answered - own) / scale)) <= 1e-5
        assert done.told.steps[f"train {candidate.name}"] == done.told.begun[f"train {candidate.name}"]
        assert [line for line in done.told.lines if line.candidate == candidate.name] == list(candidate.lines)


def test_training_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = made_spec(time="t", folds=2, parameters=SHORT)
    first, second = (trained(tmp_path / name, spec, {n: trainer_named(n) for n in TRAINERS}) for name in ("1", "2"))
    for name in TRAINERS:
        for file in ("model.onnx", "encoder.json", "oof.parquet", "holdout.parquet"):
            assert (first.folder / name / file).read_bytes() == (second.folder / name / file).read_bytes()


def test_classes_are_negative_then_positive(tmp_path: Path) -> None:
    done = trained(tmp_path, made_spec(candidates=("logistic",), folds=2), {"logistic": trainer_named("logistic")})
    assert done.model.classes == ("zero", "yes")
    scored = pl.read_parquet(done.folder / "logistic/holdout.parquet").join(done.rows, on="_row")
    by_label = dict(scored.group_by("y").agg(pl.col("score").mean()).iter_rows())
    assert by_label["yes"] > by_label["zero"] + 0.2


@pytest.mark.parametrize("time", ["t", ""])
def test_no_holdout_row_and_no_later_row_is_ever_fitted(tmp_path: Path, time: str) -> None:
    spy = Spy()
    rows_of = _row_numbers_as_inputs(tmp_path, spy, time)
    done, fits, predicted = rows_of
    held = set(done.parts.filter(part="holdout")["_row"])
    when = dict(done.rows.select("_row", pl.col("t").to_physical()).iter_rows())
    folds = done.split.folds
    assert len(fits) == folds + 1
    for fit, ahead in zip(fits, predicted, strict=True):
        assert not fit & held
        assert not fit & ahead
        if time:
            assert max(when[row] for row in fit) < min(when[row] for row in ahead)
    assert predicted[-1] == held
    assert fits[-1] == set(done.parts.filter(part="train")["_row"])


def _row_numbers_as_inputs(folder: Path, spy: Spy, time: str) -> tuple[Done, list[set[int]], list[set[int]]]:
    """Train on an input that is the row's number, so that what a trainer saw can be read back."""
    spec = made_spec(time=time, candidates=("spy",), folds=3)
    folder.mkdir(exist_ok=True)
    path = made_rows(folder)
    frame = pl.read_parquet(path).with_columns(a=pl.col("_row").cast(pl.Float64))
    frame.write_parquet(path)
    split = train.run_split(TABLE, path, spec, folder, "sha256:split")
    told = Told()
    model = train.run(TABLE, path, split, folder / "parts.parquet", spec, {"spy": spy}, folder / "m", "sha256:m", told)
    parts = pl.read_parquet(folder / "parts.parquet")
    fits, predicted = [], []
    fittings = train_folds.Rows(path, folder / "parts.parquet", spec, _kinds(spec), by_time=bool(time))
    own = [*fittings.folds(), fittings.final()]  # what the spy was given later compares the split with a random one
    for fitting, (data, _), ahead in zip(own, spy.given[: len(own)], spy.seen[: len(own)], strict=True):
        number = next(column for column in fitting.encoder.numbers if column.name == "a")
        back = [np.rint(x[:, 0].astype(float) * number.scale + number.mean) for x in (data.x, data.valid_x, ahead)]
        assert not set(back[0]) & set(back[1])
        fits.append({int(row) for row in np.concatenate(back[:2])})
        predicted.append({int(row) for row in back[2]})
        assert predicted[-1] == set(fitting.rows.tolist())
    return Done(model, split, folder / "m", frame, parts, told), fits, predicted


def test_disjoint_entities_neither_stop_nor_judge_what_learned_from_them(tmp_path: Path) -> None:
    spec = made_spec(time="t", entity="who", folds=3)
    spec = msgspec.structs.replace(spec, data=msgspec.structs.replace(spec.data, entity_disjoint=True))
    path = made_rows(tmp_path)
    frame = pl.read_parquet(path).with_columns(a=pl.col("_row").cast(pl.Float64))
    late = pl.Series(np.random.default_rng(0).integers(0, 80, frame.height))
    frame = frame.with_columns(who=((frame["t"].to_physical() + late) // 6).cast(pl.String))
    frame.write_parquet(path)
    train.run_split(TABLE, path, spec, tmp_path, "sha256:split")
    who = dict(frame.select("_row", "who").iter_rows())
    parts = dict(pl.read_parquet(tmp_path / "parts.parquet").select("_row", "fold").iter_rows())
    rows = train_folds.Rows(path, tmp_path / "parts.parquet", spec, _kinds(spec), by_time=True)
    fittings = [*rows.folds(), rows.final()]
    assert len(fittings) == 4
    for fitting in fittings:
        number = next(column for column in fitting.encoder.numbers if column.name == "a")
        learned, stopping = (
            {who[int(row)] for row in np.rint(x[:, 0].astype(float) * number.scale + number.mean)}
            for x in (fitting.data.x, fitting.data.valid_x)
        )
        judged = {who[row] for row in fitting.rows}
        assert learned
        assert stopping
        assert judged
        assert not learned & stopping
        assert not (learned | stopping) & judged
        assert {parts[row] for row in fitting.rows} == {fitting.fold}
    assert rows.notes == []


def _kinds(spec: ProjectSpec) -> Any:
    from roadworthy.transforms.features import FeaturePlan  # noqa: PLC0415  # one test only

    return FeaturePlan.build(spec).model_columns(spec)


def test_the_encoder_of_a_fold_has_not_seen_the_rows_that_it_judges(tmp_path: Path) -> None:
    spec = made_spec(time="t", folds=3)
    path = made_rows(tmp_path)
    train.run_split(TABLE, path, spec, tmp_path, "sha256:split")
    rows = train_folds.Rows(path, tmp_path / "parts.parquet", spec, _kinds(spec), by_time=True)
    means = [fitting.encoder.numbers[0].mean for fitting in (*rows.folds(), rows.final())]
    assert len(set(means)) == 4


def test_balance_weighs_classes_by_inverse_frequency(tmp_path: Path) -> None:
    spy = Spy()
    trained(tmp_path, made_spec(candidates=("spy",), folds=2, balance=True), {"spy": spy})
    data = spy.given[-1][0]
    assert data.weights.mean() == pytest.approx(1.0)
    assert data.weights[data.y == 1].sum() == pytest.approx(data.weights[data.y == 0].sum())


def test_a_candidate_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    trainers = {"spy": Spy(), "broken": Spy(name="broken", fault=ZeroDivisionError("no luck"))}
    done = trained(tmp_path, made_spec(candidates=("broken", "spy"), folds=2), trainers)
    assert done.model.failures == {"broken": "ZeroDivisionError: no luck"}
    assert [candidate.name for candidate in done.model.candidates] == ["spy"]
    assert not (done.folder / "broken").exists()
    assert done.told.ended["train broken"] == "failed: ZeroDivisionError: no luck"


def test_scores_that_are_no_probabilities_are_a_failure(tmp_path: Path) -> None:
    spec = made_spec(candidates=("spy", "logistic"), folds=2, parameters={"spy": {"offset": 2.0}})
    done = trained(tmp_path, spec, {"spy": Spy(), "logistic": trainer_named("logistic")})
    assert list(done.model.failures) == ["spy"]


def test_when_all_candidates_fail_every_reason_is_told(tmp_path: Path) -> None:
    trainers = {name: Spy(name=name, fault=ValueError(f"{name} broke")) for name in ("one", "two")}
    with pytest.raises(TrainingError, match=r"(?s)candidate one: ValueError: one broke.*two broke"):
        trained(tmp_path, made_spec(candidates=("one", "two"), folds=2), trainers)


def test_a_full_disk_is_not_a_candidates_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self), content[:1])

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        trained(tmp_path, made_spec(candidates=("spy",), folds=2), {"spy": Spy()})


def test_a_candidate_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown candidate 'spi'"):
        trained(tmp_path, made_spec(candidates=("spi",)), {"spy": Spy()})


def test_large_folds_are_capped_and_it_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_folds, "FOLD_TRAIN_ROWS", 150)
    monkeypatch.setattr(train_folds, "FOLD_VALID_ROWS", 50)
    spy = Spy()
    done = trained(tmp_path, made_spec(time="t", candidates=("spy",), folds=3), {"spy": spy})
    sizes = [len(data.y) + len(data.valid_y) for data, _ in spy.given[:4]]
    assert sizes == [99, 150, 150, 396]
    assert [len(x) for x in spy.seen[:4]] == [50, 50, 50, 99]
    notes = " ".join(done.model.candidates[0].notes)
    assert "at most 150 latest rows" in notes
    assert "at most 50 rows per fold" in notes


def test_tuning_finds_the_better_value_within_its_trials(tmp_path: Path) -> None:
    spy = Spy(values=(-0.2, 0.3, 40.0))
    spec = made_spec(Task.REGRESSION, candidates=("spy",), folds=2, tune="20 trials")
    done = trained(tmp_path, spec, {"spy": spy})
    assert done.model.candidates[0].parameters["offset"] != 40.0
    assert "tuning made 4 trials" in done.model.candidates[0].notes[-1]
    again = trained(tmp_path / "again", spec, {"spy": Spy(values=(-0.2, 0.3, 40.0))})
    assert again.model.candidates[0].parameters == done.model.candidates[0].parameters


@pytest.mark.parametrize("fault", [ValueError("too deep"), FloatingPointError(), MemoryError("too wide")])
def test_a_draw_that_breaks_is_counted_and_not_chosen(tmp_path: Path, fault: Exception) -> None:
    @dataclass
    class Brittle(Spy):
        def fit(
            self, data: TrainingData, parameters: Mapping[str, Any], report: Callable[[ProgressLine], None]
        ) -> FittedModel:
            if parameters["offset"] in breaking:
                raise fault
            return Spy.fit(self, data, parameters, report)

    breaking = {40.0}
    spec = made_spec(Task.REGRESSION, candidates=("spy",), folds=2, tune="20 trials")
    done = trained(tmp_path, spec, {"spy": Brittle(values=(-0.2, 40.0))})
    assert done.model.failures == {}
    assert done.model.candidates[0].parameters["offset"] != 40.0
    assert "tuning made 3 trials, 1 of which broke" in done.model.candidates[0].notes[-1]
    breaking.add(0.0)  # the defaults themselves
    with pytest.raises(TrainingError, match=type(fault).__name__):
        trained(tmp_path / "again", spec, {"spy": Brittle(values=(-0.2, 40.0))})


def test_what_the_project_file_says_is_not_tuned(tmp_path: Path) -> None:
    spec = made_spec(candidates=("spy",), folds=2, tune="5 trials", parameters={"spy": {"offset": 0.01}})
    done = trained(tmp_path, spec, {"spy": Spy(values=(0.1, 0.2))})
    assert done.model.candidates[0].parameters == {"offset": 0.01}


def test_a_budget_of_seconds_starts_no_trial_that_would_end_after_it() -> None:
    now = [0.0]

    def loss_of(drawn: Mapping[str, Any]) -> float:
        now[0] += 3.0
        return 1.0 / (1 + len(drawn))

    found = search({"p": tuple(range(100))}, loss_of, Budget(seconds=10.0), 7, clock=lambda: now[0])
    assert found.trials == 3
    assert found.parameters != {}
    assert "3 trials in 9 s" in found.sentence


def test_budgets_are_read_as_written() -> None:
    assert Budget.parse("") is None
    assert Budget.parse("20 trials") == Budget(trials=20)
    assert Budget.parse("2 min", candidates=3) == Budget(seconds=40.0)
    for wrong in ("0 trials", "soon", "20 trails"):
        with pytest.raises(UsageError):
            Budget.parse(wrong)


def test_the_holdout_is_pinned_to_the_clean_rows_not_to_the_features(tmp_path: Path) -> None:
    path = made_rows(tmp_path)
    wider = FeatureTable(digest="sha256:other", parent=TABLE.parent, rows=0, columns=(), features=())
    first = train.run_split(TABLE, path, made_spec(time="t"), tmp_path, "sha256:1")
    second = train.run_split(wider, path, made_spec(time="t"), tmp_path, "sha256:2")
    assert first.holdout_digest == second.holdout_digest
    assert (first.unlabelled, first.train_rows, first.holdout_rows) == (5, 396, 99)


def test_a_split_of_another_table_is_refused(tmp_path: Path) -> None:
    path = made_rows(tmp_path)
    spec = made_spec(candidates=("spy",))
    split = train.run_split(TABLE, path, spec, tmp_path, "sha256:split")
    other = FeatureTable(digest="sha256:other", parent="sha256:clean", rows=0, columns=(), features=())
    with pytest.raises(TrainingError, match="another feature table"):
        train.run(other, path, split, tmp_path / "parts.parquet", spec, {"spy": Spy()}, tmp_path, "sha256:m", Told())


def test_a_positive_label_that_is_none_is_refused_before_training(tmp_path: Path) -> None:
    path = made_rows(tmp_path, Task.REGRESSION)
    with pytest.raises(TargetError, match="classes, but the task is binary"):
        train.run_split(TABLE, path, made_spec(), tmp_path, "sha256:split")
