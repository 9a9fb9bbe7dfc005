"""Rows that a person is to decide, from the project file to every form of an answer; and the declared constant."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]  # ships without types
import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import roadworthy as rw
from roadworthy import api, assembly
from roadworthy.adapters.client import Client
from roadworthy.adapters.prediction_log import read_log
from roadworthy.errors import BundleError, DataError, ModelError, ProjectFileError
from roadworthy.formats.bundle import FALLBACK, REFER, OpenBundle
from roadworthy.serving.chain import CONSTANT, Chain
from roadworthy.serving.engine import Engine, Scored
from roadworthy.serving.referring import Referee
from roadworthy.serving.rows import Row

Start = Callable[..., Any]

PROJECT = """
[project]
name = "small"
task = "{task}"
target = "{target}"
[data]
source = "rows.parquet"
[contract.columns]
u = {{ type = "number" }}
v = {{ type = "number" }}
city = {{ type = "category" }}
{target} = {{ type = "{kind}" }}
[training]
candidates = ["logistic"]
folds = 2
[serving]
fallback = {fallback}
refer = {{ confidence = 0.9, outside_support = true }}
[standard]
extends = "none"
parity = "<= 1e-5"
"""
TASKS = {
    "multiclass": ("kind", "category", "{ a = 0.5, b = 0.3, c = 0.2 }"),
    "regression": ("price", "number", "3"),
}
USUAL = {"u": 1.5, "v": -1.0, "city": "Ulm"}
STRANGE = {"u": 1.5, "v": 90.0, "city": "Ulm"}


def made(folder: Path, task: str) -> Path:
    """A small project of a task, run and promoted."""
    target, kind, fallback = TASKS[task]
    random = np.random.default_rng(5)
    x, city = random.normal(size=(700, 2)), random.choice(["Ulm", "Bonn"], 700)
    if task == "multiclass":
        reached = x @ np.array([[2.0, -1.0, 0.0], [0.0, 2.0, -2.0]]) + random.gumbel(size=(700, 3))
        y: Any = np.array(["a", "b", "c"])[reached.argmax(axis=1)]
    else:
        y = 3 * x[:, 0] - x[:, 1] + random.normal(size=700) * np.where(x[:, 0] > 0, 2.0, 0.3)
    pl.DataFrame({"u": x[:, 0], "v": x[:, 1], "city": city, target: y}).write_parquet(folder / "rows.parquet")
    file = folder / "roadworthy.toml"
    file.write_text(PROJECT.format(task=task, target=target, kind=kind, fallback=fallback))
    assembly.project_keys(assembly.open_project(file))
    api.run(file)
    api.promote(1, file)
    return folder


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("classes"), "multiclass")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("numbers"), "regression")


@pytest.fixture(scope="module")
def clicks_project(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clicks project, packaged once more with a refer policy: entity features, categories, missing cells."""
    folder = tmp_path_factory.mktemp("refer") / "clicks"
    shutil.copytree(finished, folder)
    file = folder / "roadworthy.toml"
    serving = '[serving]\nfallback = "0"\nrefer = { confidence = 0.85, outside_support = true }\n\n'
    file.write_text(file.read_text().replace("[standard]", serving + "[standard]", 1))
    api.run(file)
    return folder


def opened(folder: Path, version: str = "latest") -> OpenBundle:
    with assembly.opened_bundle(assembly.open_project(folder), version) as (_, bundle):
        return bundle


def rows_of(folder: Path, without: str) -> list[dict[str, Any]]:
    return pl.read_parquet(folder / "rows.parquet").drop(without).to_dicts()


class Breaking(Engine):
    """An engine whose graph breaks when it is told to."""

    broken = False

    def score(self, rows: Sequence[Row]) -> Scored:
        if self.broken:
            raise ModelError("the graph failed on these rows")
        return super().score(rows)

    def sound(self) -> bool:
        return not self.broken and super().sound()


# --- one judgement, wherever it is asked ----------------------------------------------------------------------------


def test_live_rows_and_frames_are_referred_alike_for_the_same_reasons(
    clicks_project: Path, clicks: pl.DataFrame
) -> None:
    engine = Engine(opened(clicks_project), "clicks-2")
    names = [name for name in clicks.columns if name in engine.reader.known and name != engine.contract.target]
    live = clicks.select(names).drop("user_id", "timestamp", strict=False).to_dicts()[:400]
    live[7]["dwell_seconds"] = 9e8
    live[8]["device"] = None
    offline = engine.predictor.answer(pl.DataFrame(live, infer_schema_length=None))
    assert offline.referred is not None
    sound = offline.problems.is_null().to_list()
    rows = engine.reader.take([row for row, good in zip(live, sound, strict=True) if good])
    run = Chain([engine]).run(rows)
    assert run.doubts is not None
    expected = [why for why, good in zip(offline.referred.to_list(), sound, strict=True) if good]
    assert {at: list(why) for at, why in run.doubts.referred.items()} == {
        at: why for at, why in enumerate(expected) if why is not None
    }
    assert 5 < len(run.doubts.referred) < 300
    assert "dwell_seconds is outside what the model was trained on" in (expected[sum(sound[:7])] or ())
    assert run.decisions is not None
    assert offline.decisions is not None
    assert [one or None for one in run.decisions] == [
        one for one, good in zip(offline.decisions.to_list(), sound, strict=True) if good
    ]
    assert [one == "" for one in run.decisions] == [at in run.doubts.referred for at in range(len(rows))]


def test_a_row_is_referred_alone_as_it_is_among_others(classes: Path) -> None:
    engine = Engine(opened(classes), "small-1")
    rows = engine.reader.take([*rows_of(classes, "kind")[:60], STRANGE])
    together = Chain([engine]).run(rows).doubts
    assert together is not None
    for at, row in enumerate(rows):
        alone = Chain([engine]).run([row]).doubts
        assert alone is not None
        assert alone.referred.get(0) == together.referred.get(at)


def test_no_value_of_a_row_is_in_a_reason(clicks_project: Path, clicks: pl.DataFrame) -> None:
    engine = Engine(opened(clicks_project), "clicks-2")
    referee = engine.predictor.referee
    assert referee is not None
    assert not {"user_id", "timestamp"} & {*referee.numbers, *referee.texts}
    frame = clicks.head(50).with_columns(campaign=pl.lit("somebody-private"))
    told = engine.predictor.answer(frame)
    assert told.referred is not None
    assert told.referred.drop_nulls().len() > 0
    assert "somebody-private" not in str(told.referred.to_list())
    assert "campaign is outside" in str(told.referred.to_list())


def test_the_quick_path_has_no_doubts_where_nothing_is_declared(finished: Path, clicks: pl.DataFrame) -> None:
    bundle = opened(finished)
    assert not {REFER, FALLBACK} & set(bundle.parts.reference)
    engine = Engine(bundle, "clicks-1")
    assert (engine.refers, engine.intervals, engine.constant) == (False, False, None)
    names = [name for name in clicks.columns if name in engine.reader.known and name != engine.contract.target]
    row = clicks.select(names).drop("user_id", "timestamp", strict=False).drop_nulls().to_dicts()[0]
    assert Chain([engine]).run(engine.reader.take([row])).doubts is None


# --- over HTTP ------------------------------------------------------------------------------------------------------


def test_each_form_of_an_answer_says_who_is_to_decide(classes: Path, serving: Start) -> None:
    server = serving(classes)
    rows = [*rows_of(classes, "kind")[:80], STRANGE]
    offline = Engine(opened(classes), "small-1").predictor.answer(pl.DataFrame(rows))
    assert offline.referred is not None
    assert offline.decisions is not None
    referred = {at: why for at, why in enumerate(offline.referred.to_list()) if why is not None}
    assert 5 < len(referred) < 75
    with httpx.Client(base_url=server.address) as client:
        told = client.post("/predict", json={"rows": rows}).json()
        for at, one in enumerate(told["predictions"]):
            assert set(one) == ({"scores", "refer"} if at in referred else {"scores", "decision"})
            assert one.get("refer") == referred.get(at)
            assert one.get("decision") == offline.decisions[at]
        assert told["predictions"][80]["refer"] == ["v is outside what the model was trained on"]
        inputs = [
            {"name": name, "shape": [81, 1], "datatype": kind, "data": [row[name] for row in rows]}
            for name, kind in (("u", "FP64"), ("v", "FP64"), ("city", "BYTES"))
        ]
        outputs = client.post("/v2/models/small/infer", json={"inputs": inputs}).json()["outputs"]
        tensors = {one["name"]: one for one in outputs}
        assert tensors["refer"]["data"] == ["; ".join(referred.get(at, [])) for at in range(81)]
        assert tensors["decision"]["data"] == [one or "" for one in offline.decisions.to_list()]
        declared = client.get("/v2/models/small").json()["outputs"]
        assert [one["name"] for one in declared] == ["score", "decision", "refer"]
        document = client.get("/openapi.json").json()
        schema = document["components"]["schemas"]["Predictions"]
        assert_fits(schema, told)
        muddled = {**told["predictions"][80], "decision": "a"}
        with pytest.raises(AssertionError):
            assert_fits(schema, {**told, "predictions": [muddled]})
        counted = client.get("/metrics").text
    assert f"roadworthy_referred_rows_total {2 * len(referred)}" in counted
    with Client(server.address) as own:
        found = own.predict(rows)
    assert found.referred == referred
    assert found.decisions == offline.decisions.to_list()
    assert server.end() == 0
    logged = read_log(classes / ".roadworthy" / "lake").filter(pl.col("id") == told["id"]).sort("row").collect()
    assert logged["referred"].to_list() == ["; ".join(referred[at]) if at in referred else None for at in range(81)]
    assert logged["decision"].to_list() == offline.decisions.to_list()
    assert logged["score"].null_count() == 0


def assert_fits(schema: dict[str, Any], value: Any) -> None:
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError as error:
        raise AssertionError(error.message) from error


def test_an_estimate_comes_with_its_interval(numbers: Path, serving: Start) -> None:
    server = serving(numbers)
    offline = Engine(opened(numbers), "small-1").predictor.answer(pl.DataFrame([USUAL, STRANGE]))
    assert offline.intervals is not None
    with httpx.Client(base_url=server.address) as client:
        told = client.post("/predict", json={"rows": [USUAL, STRANGE]}).json()
        schema = client.get("/openapi.json").json()["components"]["schemas"]["Predictions"]
        assert_fits(schema, told)
        inputs = [
            {"name": "u", "shape": [1, 1], "datatype": "FP64", "data": [1.5]},
            {"name": "v", "shape": [1, 1], "datatype": "FP64", "data": [-1.0]},
            {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Ulm"]},
        ]
        outputs = client.post("/v2/models/small/infer", json={"inputs": inputs}).json()["outputs"]
    first, second = told["predictions"]
    assert set(first) == {"score", "interval"}
    assert first["interval"] == offline.intervals[0].tolist()
    assert first["interval"][0] < first["score"] < first["interval"][1]
    assert second["refer"] == ["v is outside what the model was trained on"]
    assert {one["name"]: one["data"] for one in outputs} == {
        "score": [first["score"]],
        "interval": first["interval"],
        "refer": [""],
    }


# --- commands -------------------------------------------------------------------------------------------------------


def test_predict_and_score_say_the_same(classes: Path, numbers: Path, tmp_path: Path) -> None:
    left = rw.predict(STRANGE, classes)
    assert (left.decision, left.referred) == ("", ("v is outside what the model was trained on",))
    assert left.scores
    assert rw.predict(USUAL, numbers).interval is not None
    offline = Engine(opened(classes), "small-1").predictor.answer(pl.DataFrame(rows_of(classes, "kind")))
    assert offline.referred is not None
    result = rw.score(classes / "rows.parquet", tmp_path / "out.csv", classes)
    table = pl.read_csv(tmp_path / "out.csv")
    assert result.referred == 700 - offline.referred.null_count() > 0
    assert table["referred"].to_list() == offline.referred.list.join("; ").to_list()
    assert (table["decision"].is_null() == table["referred"].is_not_null()).all()
    rw.score(numbers / "rows.parquet", tmp_path / "out.parquet", numbers)
    estimates = pl.read_parquet(tmp_path / "out.parquet")
    truth = pl.read_parquet(numbers / "rows.parquet")["price"]
    held = truth.is_between(estimates["interval_low"], estimates["interval_high"])
    assert held.sum() >= 0.88 * len(held)


def test_the_card_says_how_much_is_referred(classes: Path) -> None:
    card = opened(classes).parts.card_md
    assert "would be referred" in card
    assert "stranger than 99%" in card


# --- the fallback ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_declared_constant_answers_when_nobody_else_can_and_is_never_referred(
    task: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("classes" if task == "multiclass" else "numbers")
    engine = Breaking(opened(folder), "small-1")
    chain = Chain([engine])
    rows = engine.reader.take([USUAL, STRANGE])
    well = chain.run(rows)
    assert well.doubts is not None
    assert 1 in well.doubts.referred
    engine.broken = True
    run = chain.run(rows)
    assert run.others == {0: CONSTANT, 1: CONSTANT}
    assert run.failures == {}
    assert run.doubts is not None
    assert run.doubts.referred == {}
    if task == "multiclass":
        assert (run.scores, run.decisions) == ([[0.5, 0.3, 0.2]] * 2, ["a", "a"])
    else:
        assert (run.scores, run.decisions, run.doubts.intervals) == ([3.0, 3.0], None, [None, None])


def test_the_version_before_refers_by_its_own_plan_and_only_where_the_one_in_service_refers_at_all(
    classes: Path,
) -> None:
    bundle = opened(classes)
    plain = {name: content for name, content in bundle.parts.reference.items() if name != REFER}
    without = carrying(bundle, plain)
    rows = Engine(bundle, "x").reader.take([USUAL, STRANGE])
    broken = Breaking(bundle, "small-2")
    broken.broken = True
    run = Chain([broken, Engine(bundle, "small-1")]).run(rows)
    assert set(run.others.values()) == {"small-1"}
    assert run.doubts is not None
    assert 1 in run.doubts.referred
    assert run.decisions is not None
    assert run.decisions[1] == ""
    silent = Breaking(without, "small-2")
    silent.broken = True
    run = Chain([silent, Engine(bundle, "small-1")]).run(rows)
    assert run.doubts is None
    assert run.decisions is not None
    assert all(run.decisions)
    run = Chain([broken, Engine(without, "small-1")]).run(rows)
    assert run.doubts is not None
    assert run.doubts.referred == {}


def carrying(bundle: OpenBundle, reference: dict[str, bytes]) -> OpenBundle:
    return replace(bundle, parts=replace(bundle.parts, reference=reference))


BROKEN = """
import json
import roadworthy as rw
from roadworthy.errors import ModelError
from roadworthy.serving.engine import Engine

def broken(self, rows):
    raise ModelError("the graph failed")

Engine.score, Engine.sound = broken, lambda self: False
rw.serve('{project}', port=0, grace_s=0, ready=lambda it: print(json.dumps({{"address": it.address}}), flush=True))
"""


def test_an_answer_of_the_constant_is_labelled_over_http(classes: Path, serving: Start) -> None:
    server = serving(classes, code=BROKEN.format(project=str(classes)))
    with httpx.Client(base_url=server.address) as client:
        told = client.post("/predict", json={"rows": [USUAL, STRANGE]})
    assert told.status_code == 200, told.text
    answer = told.json()
    assert answer["answered_by"] == {"0": CONSTANT, "1": CONSTANT}
    assert answer["predictions"] == [{"scores": {"a": 0.5, "b": 0.3, "c": 0.2}, "decision": "a"}] * 2


def test_a_model_that_others_trained_refers_and_falls_back_too(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    x = pl.DataFrame({"u": random.normal(size=900), "v": random.normal(size=900)})
    y = np.where(x["u"].to_numpy() * 2 + random.logistic(size=900) * 0.4 > 0, "yes", "no")
    model = LogisticRegression().fit(x.to_numpy()[:300], y[:300])
    file = tmp_path / "roadworthy.toml"
    rows, labels = x[300:], y[300:].tolist()
    rw.package(model, rows, labels, project=file, standard={"extends": "none", "parity": "<= 1e-5"}, quick=True)
    declared = '[serving]\nfallback = "no"\nrefer = { confidence = 0.95, outside_support = true }\n\n'
    file.write_text(file.read_text().replace("[standard]", f"{declared}[standard]"))
    made = rw.package(model, rows, labels, project=file, quick=True)
    engine = Engine(opened(tmp_path), made.version.title)
    assert engine.constant is not None
    assert engine.constant.decision == "no"
    sure, unsure = rw.predict({"u": 2.0, "v": 0.0}, file), rw.predict({"u": 0.0, "v": 0.0}, file)
    assert (sure.decision, sure.referred) == ("yes", ())
    assert unsure.referred == ("the prediction set holds 2 labels: no, yes",)
    strange = rw.predict({"u": 2.0, "v": 70.0}, file)
    assert strange.referred == ("v is outside what the model was trained on",)


# --- what does not fit is refused -----------------------------------------------------------------------------------


def test_a_fallback_that_is_no_class_is_refused_before_a_bundle_is_written(clicks_project: Path) -> None:
    file = clicks_project / "roadworthy.toml"
    text = file.read_text()
    before = sorted((clicks_project / ".roadworthy" / "lake" / "package").iterdir())
    file.write_text(text.replace('fallback = "0"', 'fallback = "perhaps"'))
    try:
        with pytest.raises(ProjectFileError, match="does not fit the classes") as refused:
            api.run(file)
    finally:
        file.write_text(text)
    assert [one.found for one in refused.value.problems] == ["the target has no class 'perhaps'"]
    assert sorted((clicks_project / ".roadworthy" / "lake" / "package").iterdir()) == before


def test_a_confidence_that_the_rows_cannot_show_is_refused(numbers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(numbers, folder)
    file = folder / "roadworthy.toml"
    file.write_text(file.read_text().replace("confidence = 0.9", "confidence = 0.9999"))
    with pytest.raises(DataError, match="cannot be fitted") as refused:
        api.run(file)
    assert "at least 10000 rows" in refused.value.problems[0].found


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda _plan: b"{", "does not parse"),
        (lambda plan: msgspec.json.encode({**plan, "code": "import os"}), "does not parse"),
        (lambda plan: msgspec.json.encode({**plan, "format": 9}), "does not fit"),
        (lambda plan: msgspec.json.encode({**plan, "support": {**plan["support"], "centre": [0.0]}}), "does not fit"),
    ],
    ids=["no JSON", "an unknown member", "another format", "arrays that do not fit"],
)
def test_a_plan_is_audited_before_anything_is_made_of_it(classes: Path, spoil: Any, said: str) -> None:
    parts = opened(classes).parts
    plan = msgspec.json.decode(parts.reference[REFER])
    with pytest.raises(BundleError, match=said):
        Referee.read({REFER: spoil(plan)}, parts.contract)


def test_no_row_of_the_data_is_in_the_plan(classes: Path) -> None:
    text = json.dumps(json.loads(opened(classes).parts.reference[REFER]))
    assert len(text) < 60_000
    assert "timestamp" not in text
