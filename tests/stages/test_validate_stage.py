from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.adapters.trainers import TRAINERS
from roadworthy.errors import DataError, TargetError, UnknownName
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.data import CleanRows, FeatureTable, Split
from roadworthy.records.evidence import Evidence, Measurement
from roadworthy.records.model import GraphCost, TrainedModel, Validation
from roadworthy.records.project import DataSpec, DecisionSpec, ProjectSpec, Task, TrainingSpec
from roadworthy.records.verdict import Outcome
from roadworthy.stages import features, train, validate
from roadworthy.stages.validate_rows import Slices
from roadworthy.standard import Requirement
from roadworthy.standard.judge import judge_requirement
from roadworthy.testing.memory import SilentReporter

COST = GraphCost(size_bytes=1000, p50_ms=0.1, p99_ms=0.2, runs=10)
REQUIRED = (
    Requirement(metric="skill", at_least=0.05),
    Requirement(metric="leaks", at_most=0.0),
    Requirement(metric="overfit_gap", at_most=0.2),
    Requirement(metric="recall", at_least=0.2, slice="device", confidence=0.9),
    Requirement(metric="latency_p99", at_most=50.0),
)


@dataclass
class World:
    """A project trained on generated rows, ready for validation."""

    spec: ProjectSpec
    trained: TrainedModel
    split: Split
    folder: Path

    @property
    def rows(self) -> Path:
        return self.folder / "features" / "rows.parquet"

    @property
    def parts(self) -> Path:
        return self.folder / "split" / "parts.parquet"

    @property
    def models(self) -> Path:
        return self.folder / "train"

    def validate(self, **changed: object) -> Validation:
        out = self.folder / "validate"
        out.mkdir(exist_ok=True)
        given: dict[str, object] = {
            "requirements": REQUIRED,
            "costs": {"logistic": COST, "gbdt": msgspec.structs.replace(COST, size_bytes=90_000)},
            "trainers": {name: TRAINERS[name]() for name in ("logistic", "gbdt")},
            "looks": 2,
            "reporter": SilentReporter(),
            "trained": self.trained,
        } | changed
        return validate.run(
            trained_folder=self.models,
            split=self.split,
            parts=self.parts,
            rows=self.rows,
            spec=self.spec,
            folder=out,
            digest="sha256:validation",
            **given,  # type: ignore[arg-type]  # one mapping of mixed arguments
        )


def clean_frame(task: Task, rows: int = 1500) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=rows), rng.normal(size=rows)
    device = rng.choice(["phone", "tablet", "desk"], rows, p=[0.5, 0.3, 0.2])
    logit = 2 * x + z + np.where(device == "phone", 0.5, 0.0)
    if task is Task.BINARY:
        target: object = np.where(rng.random(rows) < 1 / (1 + np.exp(-logit)), "yes", "no")
    elif task is Task.MULTICLASS:
        noise = rng.gumbel(size=(rows, 3))
        target = np.array(["red", "green", "blue"])[(np.column_stack([2 * x, 2 * z, x * 0]) + noise).argmax(axis=1)]
    else:
        target = logit + rng.normal(size=rows)
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - clean times carry no zone and mean UTC
    return pl.DataFrame(
        {
            "_row": np.arange(rows),
            "when": [start + timedelta(minutes=k) for k in range(rows)],
            "user": rng.integers(0, 400, rows).astype(str),
            "x": x,
            "z": z,
            "device": device,
            "outcome": target,
        }
    )


def build(tmp: Path, task: Task, frame: pl.DataFrame, *, candidates: tuple[str, ...], time: bool = True) -> World:
    columns = {
        "when": ColumnContract(type=ColumnType.TIME),
        "user": ColumnContract(type=ColumnType.TEXT),
        **{
            name: ColumnContract(type=ColumnType.NUMBER if frame[name].dtype.is_float() else ColumnType.CATEGORY)
            for name in frame.columns
            if name not in {"_row", "when", "user"}
        },
    }
    spec = ProjectSpec(
        name="made",
        task=task,
        target="outcome",
        positive="yes" if task is Task.BINARY else "",
        data=DataSpec(source="made", time="when" if time else "", entity="user" if time else ""),
        contract=Contract(columns=columns),
        training=TrainingSpec(candidates=candidates, folds=3),
        decision=DecisionSpec(threshold={"maximize": "recall", "subject_to": "precision >= 0.6"}),
    )
    for name in ("clean", "features", "split", "train"):
        (tmp / name).mkdir()
    frame.write_parquet(tmp / "clean" / "rows.parquet")
    clean = CleanRows(
        digest="sha256:clean",
        parent="sha256:snapshot",
        rows_in=frame.height,
        rows=frame.height,
        quarantined=0,
        columns=tuple(frame.columns),
        reasons={},
        repairs={},
    )
    table: FeatureTable = features.run(
        clean, tmp / "clean" / "rows.parquet", spec, tmp / "features", "sha256:features", SilentReporter()
    )
    split = train.run_split(table, tmp / "features" / "rows.parquet", spec, tmp / "split", "sha256:split")
    trained = train.run(
        table,
        tmp / "features" / "rows.parquet",
        split,
        tmp / "split" / "parts.parquet",
        spec,
        {name: TRAINERS[name]() for name in candidates},
        tmp / "train",
        "sha256:trained",
        SilentReporter(),
    )
    return World(spec, trained, split, tmp)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(
        tmp_path_factory.mktemp("binary"), Task.BINARY, clean_frame(Task.BINARY), candidates=("logistic", "gbdt")
    )


@pytest.fixture(scope="module")
def validation(world: World) -> Validation:
    return world.validate()


def of(evidence: Evidence, metric: str, part: str = "") -> Measurement:
    (found,) = [item for item in evidence.measurements if item.metric == metric and item.slice == part]
    return found


def test_every_required_quality_is_measured_on_the_whole_holdout(world: World, validation: Validation) -> None:
    evidence = validation.evidence
    assert evidence.holdout == world.split.holdout_digest
    assert evidence.looks == 2
    for metric in ("skill", "accuracy", "roc_auc", "log_loss", "calibration_error", "overfit_gap", "leaks"):
        assert of(evidence, metric).error == "", metric
    assert of(evidence, "skill").n == world.split.holdout_rows
    assert of(evidence, "skill").clusters > 100
    assert of(evidence, "leaks").value == 0.0
    assert {"confusion", "roc", "pr", "calibration", "scores", "tradeoff", "importance"} <= {
        exhibit.name for exhibit in evidence.exhibits
    }
    assert msgspec.json.decode((world.folder / "validate" / "evidence.json").read_bytes(), type=Evidence) == evidence


def test_required_slices_hold_together(validation: Validation) -> None:
    slices = [item for item in validation.evidence.measurements if item.slice.startswith("device=")]
    assert [item.slice for item in slices] == ["device=desk", "device=phone", "device=tablet"]
    assert all(item.confidence == pytest.approx(1 - 0.1 / 3) for item in slices)
    assert sum(item.n for item in slices) == of(validation.evidence, "accuracy").n


def test_unseen_entities_are_a_slice_of_their_own(world: World, validation: Validation) -> None:
    unseen = of(validation.evidence, "accuracy", "seen_in_training=no")
    seen = of(validation.evidence, "accuracy", "seen_in_training=yes")
    assert unseen.n > 0
    assert unseen.n + seen.n == world.split.holdout_rows


def test_what_a_random_split_would_have_promised_is_told(world: World, validation: Validation) -> None:
    assert world.trained.split_gap is not None
    (told,) = [finding for finding in validation.evidence.findings if finding.kind == "split_gap"]
    assert (told.grade, told.sentence) == ("notes", world.trained.split_gap.sentence)
    assert told.sentence.startswith("A random split would have promised a log loss of")


def test_the_choice_never_looks_at_holdout_labels(world: World, validation: Validation, tmp_path: Path) -> None:
    frame = pl.read_parquet(world.rows)
    held = pl.read_parquet(world.parts).filter(pl.col("part") == "holdout")["_row"].implode()
    flipped = (
        pl.when(pl.col("_row").is_in(held))
        .then(pl.when(pl.col("outcome") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes")))
        .otherwise(pl.col("outcome"))
    )
    (tmp_path / "features").mkdir()
    frame.with_columns(flipped.alias("outcome")).write_parquet(tmp_path / "features" / "rows.parquet")
    (tmp_path / "split").symlink_to(world.folder / "split")
    (tmp_path / "train").symlink_to(world.folder / "train")
    other = World(world.spec, world.trained, world.split, tmp_path).validate()
    assert other.choice == validation.choice
    assert of(other.evidence, "accuracy").value == pytest.approx(1 - (of(validation.evidence, "accuracy").value or 0))


def test_the_cheaper_candidate_that_is_not_worse_is_chosen_and_explained(validation: Validation) -> None:
    choice = validation.choice
    assert choice.candidate == "logistic"  # the truth is linear: boosting has nothing to add
    assert "logistic is chosen" in choice.explanation
    assert "prove precision >= 0.6" in choice.threshold_explanation
    assert choice.threshold is not None
    assert {row["candidate"] for row in choice.table} == {"logistic", "gbdt"}
    assert sum(row["chosen"] for row in choice.table) == 1


def test_a_candidate_that_provably_fails_the_standard_is_passed_over(world: World) -> None:
    impossible = Requirement(metric="accuracy", at_least=0.999)
    choice = world.validate(requirements=(impossible,)).choice
    assert all(row["fails"] == ["accuracy >= 0.999"] for row in choice.table)
    assert "Every candidate fails the standard" in choice.explanation


def test_a_candidate_that_is_too_large_is_passed_over(world: World) -> None:
    required = (Requirement(metric="size", at_most=50_000.0), Requirement(metric="skill", at_least=0.05))
    large = {"logistic": msgspec.structs.replace(COST, size_bytes=60_000), "gbdt": COST}
    choice = world.validate(requirements=required, costs=large).choice
    assert choice.candidate == "gbdt"
    assert {row["candidate"]: row["fails"] for row in choice.table} == {"logistic": ["size <= 50 kB"], "gbdt": []}
    assert "logistic provably fails size <= 50 kB" in choice.explanation


def test_a_slice_that_does_not_exist_is_an_error_not_a_gap(world: World) -> None:
    evidence = world.validate(requirements=(Requirement(metric="accuracy", at_least=0.1, slice="devise"),)).evidence
    assert "devise" in of(evidence, "accuracy", "devise=?").error


def test_a_broken_model_file_leaves_an_error_not_a_silence(world: World, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ("logistic", "gbdt"):
        (tmp_path / "train" / name).mkdir()
        for file in ("oof.parquet", "holdout.parquet", "encoder.json"):
            (tmp_path / "train" / name / file).symlink_to(world.models / name / file)
        (tmp_path / "train" / name / "model.onnx").write_bytes(b"broken")
    (tmp_path / "split").symlink_to(world.folder / "split")
    (tmp_path / "features").symlink_to(world.folder / "features")
    evidence = World(world.spec, world.trained, world.split, tmp_path).validate().evidence
    assert "broke" in of(evidence, "overfit_gap").error
    assert "broken_check" in [one.kind for one in evidence.findings]
    assert of(evidence, "accuracy").value is not None


def test_what_does_not_match_is_refused(world: World) -> None:
    with pytest.raises(DataError, match="another split"):
        world.validate(trained=msgspec.structs.replace(world.trained, parent="sha256:other"))
    with pytest.raises(UnknownName, match="cost of candidate"):
        world.validate(costs={"logistic": COST})
    with pytest.raises(TargetError, match="no candidate was trained on"):
        world.validate(trained=msgspec.structs.replace(world.trained, classes=("no", "maybe")))


def test_other_scores_of_the_same_rows_are_measured_alike(world: World, validation: Validation) -> None:
    scores = pl.read_parquet(world.models / "logistic" / "holdout.parquet").sort("_row")["score"].to_numpy()
    again = validate.remeasure(
        world.trained,
        world.models,
        world.parts,
        world.rows,
        world.spec,
        REQUIRED,
        validation.choice.threshold,
        scores,
    )
    counts = {"pitfalls", "questions"}
    kept = [item for item in validation.evidence.measurements if not item.check and item.metric not in counts]
    assert list(again) == kept


def test_a_leaking_column_and_copied_rows_fail(tmp_path: Path) -> None:
    frame = clean_frame(Task.BINARY, 1200)
    rng = np.random.default_rng(0)
    others = {f"n{k}": rng.normal(size=frame.height) for k in range(3)}
    told = np.where(frame["outcome"] == "yes", 1.0, 0.0) + 0.05 * rng.normal(size=frame.height)
    frame = frame.with_columns(**others, refund=told)
    copied = frame.head(60).with_columns(
        pl.Series("_row", np.arange(1200, 1260)), pl.lit(frame["when"].max()).alias("when")
    )
    made = build(tmp_path, Task.BINARY, pl.concat([frame, copied]), candidates=("logistic",))
    evidence = made.validate(costs={"logistic": COST}).evidence
    assert of(evidence, "leaks").value == 2.0
    failing = {finding.subject for finding in evidence.findings if finding.grade == "fails"}
    assert failing == {"refund", "holdout"}


@pytest.mark.parametrize("task", [Task.MULTICLASS, Task.REGRESSION])
def test_the_other_tasks_reach_evidence_too(tmp_path: Path, task: Task) -> None:
    made = build(tmp_path, task, clean_frame(task, 900), candidates=("logistic",), time=False)
    metric = "r2" if task is Task.REGRESSION else "macro_f1"
    result = made.validate(requirements=(Requirement(metric=metric, at_least=0.1),), costs={"logistic": COST})
    assert result.choice.threshold is None
    assert (of(result.evidence, metric).lower or 0) > 0.1
    assert of(result.evidence, "overfit_gap").error == ""
    assert all(item.error == "" for item in result.evidence.measurements)


def test_numbers_of_many_values_are_sliced_into_quarters() -> None:
    age = pl.Series("age", [*range(100), None])
    cut = Slices.learned(age)
    labels = cut.labels(age)
    quarters = ["1 of 4: below 25", "2 of 4: 25 to below 50", "3 of 4: 50 to below 75", "4 of 4: 75 or more"]
    assert sorted({label for label in labels if label is not None}) == quarters
    assert cut.groups == (*quarters, "missing")
    assert labels[-1] is None
    # the edges are those of the rows it was learned from, whatever is asked
    assert list(cut.labels(pl.Series("age", [49, 50, 5000]))) == [quarters[1], quarters[2], quarters[3]]


@pytest.mark.parametrize("start", [1_700_000_000.0, 0.123456789, 1e-9])
def test_quarters_of_close_values_stay_apart(start: float) -> None:
    step = 1.0 if start > 1 else start * 1e-9
    values = pl.Series("at", [start + place * step for place in range(100)])
    cut = Slices.learned(values)
    assert pl.Series(list(cut.labels(values))).value_counts()["count"].to_list() == [25] * 4
    assert len(set(cut.groups)) == 4


@given(st.lists(st.integers(-3, 40), min_size=1, max_size=200))
def test_every_group_that_is_learned_has_rows(values: list[int]) -> None:
    column = pl.Series("x", values)
    cut = Slices.learned(column)
    assert set(cut.labels(column)) == set(cut.groups)


def test_a_group_that_the_holdout_lacks_is_not_met_by_its_absence(world: World, tmp_path: Path) -> None:
    frame = pl.read_parquet(world.rows)
    held = pl.read_parquet(world.parts).filter(pl.col("part") == "holdout")["_row"].implode()
    tablet = pl.col("_row").is_in(held) & (pl.col("device") == "tablet")
    (tmp_path / "features").mkdir()
    frame.with_columns(pl.when(tablet).then(pl.lit("phone")).otherwise(pl.col("device")).alias("device")).write_parquet(
        tmp_path / "features" / "rows.parquet"
    )
    (tmp_path / "split").symlink_to(world.folder / "split")
    (tmp_path / "train").symlink_to(world.folder / "train")
    columns = dict(world.spec.contract.columns)
    columns["device"] = msgspec.structs.replace(columns["device"], allowed=("desk", "phone", "tablet", "watch"))
    spec = msgspec.structs.replace(world.spec, contract=Contract(columns=columns))
    evidence = World(spec, world.trained, world.split, tmp_path).validate().evidence
    by_device = {item.slice: item for item in evidence.measurements if item.slice.startswith("device=")}
    assert set(by_device) == {"device=desk", "device=phone", "device=tablet", "device=watch"}
    for absent in ("device=tablet", "device=watch"):
        assert (by_device[absent].n, by_device[absent].insufficient) == (0, "no row to measure")
    assert all(item.confidence == pytest.approx(1 - 0.1 / 4) for item in by_device.values())
    (required,) = [item for item in REQUIRED if item.slice]
    assert judge_requirement(required, evidence.measurements).outcome is Outcome.INSUFFICIENT
