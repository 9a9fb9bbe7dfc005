from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper, numpy_helper

from roadworthy.errors import BundleError
from roadworthy.formats.bundle import BundleParts, read_bundle
from roadworthy.graphs.runner import GraphModel
from roadworthy.measures.samples import Sample
from roadworthy.measures.sketches import Reference
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.data import Split
from roadworthy.records.digests import canonical_json, digest_bytes
from roadworthy.records.evidence import Evidence, Exhibit, Measurement, Phase
from roadworthy.records.model import Bundle, Candidate, Choice, TrainedModel, Validation
from roadworthy.records.project import AlertSpec, DataSpec, ProjectSpec, Task
from roadworthy.records.verdict import Readiness
from roadworthy.stages import monitor, package, package_checks
from roadworthy.stages.package_checks import decisions, int8_refused, parity_between
from roadworthy.standard import CATALOGUE, Requirement, Standard, Trigger, judge
from roadworthy.testing.memory import SilentReporter
from roadworthy.transforms.encoding import Encoder
from roadworthy.transforms.expressions import Kind

KEY = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CLASSES: dict[Task, tuple[str, ...]] = {
    Task.BINARY: ("no", "yes"),
    Task.MULTICLASS: ("a", "b", "c"),
    Task.REGRESSION: (),
}
STANDARD = Standard(
    preset="service",
    requirements=(
        Requirement(metric="accuracy", at_least=0.8),
        Requirement(metric="recall", at_least=0.7, slice="device", trigger=Trigger.OBSERVED),
        Requirement(metric="latency_p99", at_most=50.0),
        Requirement(metric="parity", at_most=1e-5, phases=(Phase.RELEASE,)),
        Requirement(metric="availability", at_least=0.999, phases=(Phase.LIVE,)),
    ),
)


class Network:
    """A float32 network with the framework's own arithmetic beside its graph."""

    def __init__(self, sizes: tuple[int, ...], task: Task, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.task = task
        self.layers = [
            ((rng.normal(size=pair) / np.sqrt(pair[0])).astype(np.float32), rng.normal(size=pair[1]).astype(np.float32))
            for pair in itertools.pairwise(sizes)
        ]

    def predict(self, x: np.ndarray) -> np.ndarray:
        for weights, bias in self.layers[:-1]:
            x = np.maximum(x @ weights + bias, 0)
        z = (x @ self.layers[-1][0] + self.layers[-1][1]).astype(np.float64)
        if self.task is Task.BINARY:
            return np.asarray(1 / (1 + np.exp(-z)))
        if self.task is Task.MULTICLASS:
            powers = np.exp(z - z.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        return np.asarray(z)

    def to_onnx(self, shift: float = 0.0) -> bytes:
        nodes, weights, current = [], [], "X"
        for index, (matrix, bias) in enumerate(self.layers):
            last = index == len(self.layers) - 1
            weights += [
                numpy_helper.from_array(matrix, f"W{index}"),
                numpy_helper.from_array((bias + (shift if last else 0)).astype(np.float32), f"b{index}"),
            ]
            nodes.append(helper.make_node("Gemm", [current, f"W{index}", f"b{index}"], [f"z{index}"]))
            activation = {Task.BINARY: "Sigmoid", Task.MULTICLASS: "Softmax", Task.REGRESSION: "Identity"}[self.task]
            current = "score" if last else f"h{index}"
            nodes.append(helper.make_node(activation if last else "Relu", [f"z{index}"], [current]))
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", self.layers[0][0].shape[0]])],
            [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", self.layers[-1][0].shape[1]])],
            weights,
        )
        content: bytes = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString(deterministic=True)
        return content


def table(task: Task, rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(11)
    price = rng.lognormal(size=rows)
    outcome: Any = price + rng.normal(scale=0.3, size=rows)
    if task is Task.BINARY:
        outcome = np.where(outcome > 1, "yes", "no")
    if task is Task.MULTICLASS:
        outcome = np.array(["a", "b", "c"])[np.digitize(outcome, [0.7, 1.4])]
    return pl.DataFrame(
        {
            "_row": np.arange(rows),
            "user": [f"hash{index % 20}" for index in range(rows)],
            "price": price,
            "rooms": rng.integers(1, 6, rows),
            "device": rng.choice(["mobile", "desktop", "tablet"], rows),
            "sold": outcome,
        }
    ).with_columns(pl.when(pl.col("rooms") == 3).then(None).otherwise(pl.col("price")).alias("price"))


def score_frame(numbers: pl.Series, scores: np.ndarray) -> pl.DataFrame:
    names = ["score"] if scores.shape[1] == 1 else [f"score_{index}" for index in range(scores.shape[1])]
    return pl.DataFrame({"_row": numbers, **{name: scores[:, index] for index, name in enumerate(names)}})


def make(
    folder: Path, task: Task = Task.BINARY, *, rows: int = 600, hidden: tuple[int, ...] = (8, 4), shift: float = 0.0
) -> package.PackageInputs:
    spec = ProjectSpec(
        name="homes",
        task=task,
        target="sold",
        positive="yes" if task is Task.BINARY else "",
        data=DataSpec(source="homes.csv", entity="user", personal=("user",)),
        contract=Contract(
            columns={
                "user": ColumnContract(type=ColumnType.TEXT),
                "price": ColumnContract(type=ColumnType.NUMBER),
                "rooms": ColumnContract(type=ColumnType.INTEGER),
                "device": ColumnContract(type=ColumnType.CATEGORY),
                "sold": ColumnContract(type=ColumnType.NUMBER if task is Task.REGRESSION else ColumnType.CATEGORY),
            }
        ),
        alerts=AlertSpec(notify=("slack://secret-token",)),
    )
    fitting = tuple(item for item in STANDARD.requirements if task in CATALOGUE[item.metric].tasks)
    standard = msgspec.structs.replace(STANDARD, requirements=fitting)
    frame = table(task, rows)
    held = rows // 4
    parts = pl.DataFrame(
        {
            "_row": np.arange(rows),
            "part": ["train"] * (rows - held) + ["holdout"] * held,
            "fold": [index % 4 for index in range(rows - held)] + [None] * held,
        }
    )
    frame.write_parquet(folder / "rows.parquet")
    parts.write_parquet(folder / "parts.parquet")
    train, holdout = frame.head(rows - held), frame.tail(held)
    encoder = Encoder.fit(train, {"price": Kind.NUMBER, "rooms": Kind.NUMBER, "device": Kind.TEXT})
    network = Network((len(encoder.names), *hidden, max(len(CLASSES[task]), 1) if task is Task.MULTICLASS else 1), task)
    candidate = folder / "mlp"
    candidate.mkdir()
    (candidate / "model.onnx").write_bytes(network.to_onnx(shift))
    (candidate / "encoder.json").write_bytes(encoder.encoded())
    score_frame(holdout["_row"], network.predict(encoder.encode(holdout))).write_parquet(candidate / "holdout.parquet")
    score_frame(train["_row"], network.predict(encoder.encode(train))).write_parquet(candidate / "oof.parquet")
    trained = TrainedModel(
        digest="sha256:trained",
        parent="sha256:split",
        task=task,
        target="sold",
        classes=CLASSES[task],
        candidates=(Candidate(name="mlp", parameters={}, lines=(), best_step=1, seconds=1.0, inputs=6),),
        features=("price", "rooms", "device"),
    )
    validation = Validation(
        digest="sha256:validated",
        parent="sha256:trained",
        choice=Choice(
            candidate="mlp",
            threshold=0.5 if task is Task.BINARY else None,
            explanation="the only one",
            threshold_explanation="accuracy",
            table=(),
        ),
        evidence=Evidence(
            subject="sha256:trained",
            holdout="sha256:held",
            measurements=(
                Measurement(metric="accuracy", value=0.9, lower=0.85, upper=0.95),
                Measurement(metric="size", value=1.0),
            ),
        ),
    )
    split = Split(
        digest="sha256:split",
        parent="sha256:table",
        kind="random",
        train_rows=rows - held,
        holdout_rows=held,
        folds=4,
        holdout_digest="sha256:held",
        explanation="the last quarter",
    )
    return package.PackageInputs(
        trained=trained,
        trained_folder=folder,
        validation=validation,
        rows=folder / "rows.parquet",
        parts=folder / "parts.parquet",
        split=split,
        spec=spec,
        standard_toml=standard.to_toml(),
        monitor=monitor.monitor_plan(spec, standard),
    )


def never(scores: np.ndarray) -> tuple[Measurement, ...]:
    raise AssertionError(f"a float graph is not measured again ({len(scores)} rows)")


def as_it_stands(parts: BundleParts) -> Evidence:
    return parts.evidence


def packaged(
    inputs: package.PackageInputs,
    folder: Path,
    remeasure: package.Remeasure = never,
    conclude: package.Conclude = as_it_stands,
) -> Bundle:
    return package.run(
        inputs,
        sign=KEY.sign,
        public_key_pem=PEM,
        remeasure=remeasure,
        conclude=conclude,
        folder=folder,
        digest="sha256:bundle",
        reporter=SilentReporter(),
    )


def measured(bundle: Bundle) -> dict[str, Measurement]:
    return {item.metric: item for item in bundle.evidence.measurements if not item.slice}


@pytest.mark.parametrize("task", list(Task))
def test_the_bundle_scores_raw_rows_as_the_framework_did(task: Task, tmp_path: Path) -> None:
    inputs = make(tmp_path, task)
    bundle = packaged(inputs, tmp_path / "out")
    opened = read_bundle(tmp_path / "out" / package.BUNDLE, [PEM])
    rows = pl.read_parquet(inputs.rows).tail(150)
    expected = pl.read_parquet(tmp_path / "mlp" / "holdout.parquet").drop("_row").to_numpy()
    scores = GraphModel(opened.parts.model).score(rows).reshape(150, -1)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    assert bundle.variant.startswith("float32")
    assert bundle.parity <= 1e-5
    assert bundle.flips <= 1 / 150
    assert bundle.after.size_bytes == len(opened.parts.model) <= bundle.before.size_bytes
    assert bundle.evidence == opened.parts.evidence
    assert any("int8" in note for note in bundle.notes)
    assert opened.parts.contract.classes == CLASSES[task]
    assert opened.parts.contract.inputs == ("price", "rooms", "device")


def test_the_packages_own_measurements_join_the_evidence(tmp_path: Path) -> None:
    bundle = packaged(make(tmp_path), tmp_path / "out")
    found = measured(bundle)
    assert set(found) >= {"accuracy", "parity", "decision_flips", "size", "latency_p50", "latency_p99"}
    assert found["accuracy"].value == 0.9  # a float graph keeps what validation measured
    assert found["size"].value == found["size"].upper == bundle.after.size_bytes  # the stale one is replaced
    assert found["size"].unit == "bytes"
    assert found["parity"].upper == bundle.parity
    assert "int8" not in found["parity"].method
    assert found["latency_p99"].upper is not None
    assert sum(item.metric == "size" for item in bundle.evidence.measurements) == 1
    model = (tmp_path / "out" / package.BUNDLE / "model.onnx").read_bytes()
    assert bundle.evidence.subject == digest_bytes(model)


def test_latency_is_measured_at_the_confidence_that_is_asked(tmp_path: Path) -> None:
    strict = Requirement(metric="latency_p99", at_most=50.0, confidence=0.99, phases=(Phase.RELEASE,))
    standard = Standard(
        preset="none",
        requirements=(strict, Requirement(metric="size", at_most=5e6, confidence=0.99, phases=strict.phases)),
    )
    bundle = packaged(replace(make(tmp_path), standard_toml=standard.to_toml()), tmp_path / "out")
    assert measured(bundle)["latency_p99"].confidence == 0.99
    assert measured(bundle)["latency_p50"].confidence == 0.95
    assert judge(standard, bundle.evidence).readiness is Readiness.READY


def test_a_graph_that_differs_from_its_framework_is_evidence_not_silence(tmp_path: Path) -> None:
    bundle = packaged(make(tmp_path, shift=0.01), tmp_path / "out")
    assert bundle.parity > 1e-4
    assert measured(bundle)["parity"].lower == bundle.parity


def test_int8_ships_only_with_proof_and_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "pays", lambda *_: (True, "smaller"))
    monkeypatch.setattr(package, "int8_refused", lambda *_: "")
    seen: list[np.ndarray] = []

    def remeasure(scores: np.ndarray) -> tuple[Measurement, ...]:
        seen.append(scores)
        return (Measurement(metric="accuracy", value=0.8, lower=0.7, upper=0.9),)

    bundle = packaged(make(tmp_path, hidden=(64, 64)), tmp_path / "out", remeasure)
    assert bundle.variant == "int8"
    assert measured(bundle)["accuracy"].value == 0.8
    flips = measured(bundle)["decision_flips"]
    assert flips.lower is not None
    assert flips.upper is not None
    assert flips.lower < flips.upper
    assert bundle.parity <= 1e-5  # of the float graph that it was made from
    assert measured(bundle)["parity"].method.endswith("of the float graph that int8 was made from")
    operators = {
        node.op_type
        for node in onnx.load_from_string((tmp_path / "out" / package.BUNDLE / "model.onnx").read_bytes()).graph.node
    }
    assert "MatMulInteger" in operators
    assert len(seen[0]) == 150


def test_int8_that_is_not_proven_does_not_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "pays", lambda *_: (True, "smaller"))
    bundle = packaged(make(tmp_path, hidden=(64, 64)), tmp_path / "out")  # 450 rows cannot prove 0.1 %
    assert bundle.variant.startswith("float32")
    assert any("not taken" in note and "decisions change" in note for note in bundle.notes)


def changed_sample(rows: int, flips: int, entities: int) -> tuple[Sample, Sample]:
    score = np.full(rows, 0.4)
    after = score.copy()
    after[:flips] = 0.6
    clusters = np.arange(rows) % entities if entities else None
    before = Sample(task=Task.BINARY, y=np.zeros(rows, dtype=np.int64), score=score, clusters=clusters)
    return before, replace(before, score=after)


def test_rows_of_one_entity_prove_less_than_rows_of_many() -> None:
    assert int8_refused(*changed_sample(10_000, 0, 0), 0.5) == ""
    assert "up to" in int8_refused(*changed_sample(10_000, 0, 50), 0.5)
    assert "cannot tell how many decisions change: needs at least 10" in int8_refused(
        *changed_sample(10_000, 0, 4), 0.5
    )


def test_flips_are_counted_for_float_and_estimated_for_int8() -> None:
    changed = np.arange(4000) < 2
    counted = package_checks.flips_counted(changed)
    assert (counted.lower, counted.value, counted.upper) == (0.0005, 0.0005, 0.0005)
    assert counted.method == "counted on these 4,000 rows"
    alone = package_checks.flips_estimated(changed, None, 0.99)
    grouped = package_checks.flips_estimated(changed, np.arange(4000) // 20, 0.99)
    assert (alone.confidence, alone.n, grouped.clusters) == (0.99, 4000, 200)
    assert alone.lower is not None
    assert alone.upper is not None
    assert grouped.upper is not None
    assert alone.lower < 0.0005 < alone.upper < grouped.upper
    assert "needs at least 10" in package_checks.flips_estimated(changed, np.arange(4000) % 4).insufficient
    required = [Requirement(metric="decision_flips", at_most=0.001)]
    assert package_checks.flips_unprovable(4000, None, required) == ""
    assert "too few to prove decision_flips <= 0.001" in package_checks.flips_unprovable(2000, None, required)


def test_int8_that_the_holdout_could_never_prove_does_not_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "pays", lambda *_: (True, "smaller"))
    monkeypatch.setattr(package, "int8_refused", lambda *_: "")
    flips = Requirement(metric="decision_flips", at_most=0.001, phases=(Phase.RELEASE,))
    standard = Standard(preset="none", requirements=(flips,))
    inputs = replace(make(tmp_path, hidden=(64, 64)), standard_toml=standard.to_toml())
    bundle = packaged(inputs, tmp_path / "out")
    assert bundle.variant.startswith("float32")
    assert any("150 holdout rows are too few to prove decision_flips <= 0.001" in note for note in bundle.notes)


def test_the_reference_shows_no_personal_value_and_no_row(tmp_path: Path) -> None:
    inputs = make(tmp_path)
    packaged(inputs, tmp_path / "out")
    for path in (tmp_path / "out" / package.BUNDLE).rglob("*"):
        if path.is_file():
            assert b"hash1" not in path.read_bytes(), path
            assert b"secret-token" not in path.read_bytes(), path
    opened = read_bundle(tmp_path / "out" / package.BUNDLE, [PEM])
    columns = msgspec.json.decode(opened.parts.reference["columns.json"], type=Reference)
    assert columns.rows == 450
    assert columns.categories["user"].labels == ()
    assert columns.numbers["price"].missing == pl.read_parquet(inputs.rows).head(450)["price"].null_count()
    scores = msgspec.json.decode(opened.parts.reference["scores.json"], type=Reference)
    assert scores.scores[0].count == 150


def test_the_card_tells_what_follows_and_the_evidence_stays_as_measured(tmp_path: Path) -> None:
    exhibit = Exhibit(
        name="ml_test_score",
        title="The ML Test Score",
        columns={"section": ["monitoring"], "test": ["monitor-1"], "points": [1.0], "how": ["automatic"]},
        note="The score is 1 of 7.",
    )

    def conclude(parts: BundleParts) -> Evidence:
        assert monitor.self_test(parts) == 16
        assert len(monitor.plan_of(parts).rules) == 4
        return msgspec.structs.replace(parts.evidence, exhibits=(exhibit,))

    bundle = packaged(make(tmp_path), tmp_path / "out", conclude=conclude)
    opened = read_bundle(tmp_path / "out" / package.BUNDLE, [PEM])
    assert "| monitoring | 1 of 1 | – |" in opened.parts.card_md
    assert opened.parts.evidence == bundle.evidence
    assert opened.parts.evidence.exhibits == ()


def test_monitoring_needs_nothing_but_the_bundle(tmp_path: Path) -> None:
    packaged(make(tmp_path), tmp_path / "out")
    alone = tmp_path / "elsewhere"
    (tmp_path / "out" / package.BUNDLE).rename(alone)
    for name in ("rows.parquet", "parts.parquet"):
        (tmp_path / name).unlink()
    reporter = SilentReporter()
    plan = monitor.run(alone, [PEM], reporter)
    assert [rule.when for rule in plan.rules] == [
        "accuracy < 0.8",
        "recall < 0.7 for any device",
        "latency_p99 > 50 ms",
        "availability < 0.999",
    ]
    assert plan.rules[0].sentence.endswith("once labels come; estimated until then")
    assert plan.rules[1].trigger == "observed"
    assert {requirement.metric for requirement in plan.requirements} == {
        "accuracy",
        "recall",
        "latency_p99",
        "availability",
    }
    assert plan.alarm_budget == "1 per 30 days"
    assert reporter.steps == {"monitor": 2}


def test_golden_rows_catch_a_graph_that_computes_otherwise(tmp_path: Path) -> None:
    packaged(make(tmp_path), tmp_path / "out")
    opened = read_bundle(tmp_path / "out" / package.BUNDLE, [PEM])
    assert monitor.self_test(opened.parts) == 16
    golden = msgspec.json.decode(opened.parts.reference["golden.json"])
    golden["scores"][3][0] += 1e-3
    reference = {**opened.parts.reference, "golden.json": canonical_json(golden)}
    with pytest.raises(BundleError, match="golden row 3"):
        monitor.self_test(replace(opened.parts, reference=reference))


def test_a_bundle_without_its_reference_cannot_be_watched(tmp_path: Path) -> None:
    inputs = make(tmp_path)
    broken = {**inputs.monitor, "reference": {"columns": "reference/nowhere.json"}}
    packaged(replace(inputs, monitor=broken), tmp_path / "out")
    with pytest.raises(BundleError, match=r"nowhere\.json"):
        monitor.run(tmp_path / "out" / package.BUNDLE, [PEM], SilentReporter())


def test_parity_is_absolute_for_probabilities_and_relative_for_numbers() -> None:
    framework = np.array([0.5, 100.0, 0.0])
    packed = framework + np.array([0.001, 0.001, 0.001])
    assert parity_between(packed, framework, None) == pytest.approx(0.001)
    assert parity_between(packed, framework, 2.0) == pytest.approx(0.0005)
    assert parity_between(framework, framework, 0.0) == 0.0


def test_decisions_by_task() -> None:
    assert decisions(np.array([0.1, 0.4, 0.7]), Task.BINARY, 0.4).tolist() == [0, 1, 1]
    assert decisions(np.array([[0.2, 0.5, 0.3]]), Task.MULTICLASS, None).tolist() == [1]
    assert decisions(np.array([3.0, 4.0]), Task.REGRESSION, None).tolist() == [0, 0]


def samples(rows: int, noise: float, *, bias: float = 0.0) -> tuple[Sample, Sample]:
    rng = np.random.default_rng(8)
    score = rng.beta(0.3, 0.3, rows)
    y = (rng.random(rows) < score).astype(np.int64)
    other = np.clip(score * (1 - bias) + bias * 0.5 + noise * rng.normal(size=rows), 0, 1)
    before = Sample(task=Task.BINARY, y=y, score=score, classes=("no", "yes"))
    return before, Sample(task=Task.BINARY, y=y, score=other, classes=("no", "yes"))


@pytest.mark.parametrize(
    ("rows", "noise", "bias", "words"),
    [
        (20_000, 0.0, 0.0, ""),  # the same graph
        (20_000, 1e-4, 0.0, ""),  # what int8 does to a good network
        (2_000, 0.0, 0.0, "0 of 2000 decisions change"),  # equal, but too few rows to prove it
        (20_000, 0.05, 0.0, "decisions change"),
        (20_000, 0.0, 0.2, "mean loss may be up to"),  # no decision changes, yet probabilities are worse
    ],
)
def test_int8_must_prove_itself(rows: int, noise: float, bias: float, words: str) -> None:
    before, after = samples(rows, noise, bias=bias)
    why = int8_refused(before, after, 0.5)
    assert words in why
    assert bool(words) == bool(why)


def test_a_regression_is_refused_on_its_loss() -> None:
    rng = np.random.default_rng(8)
    y = rng.normal(size=5000)
    before = Sample(task=Task.REGRESSION, y=y, score=y + rng.normal(scale=0.5, size=5000))
    worse = Sample(task=Task.REGRESSION, y=y, score=before.score + rng.normal(scale=0.2, size=5000))
    close = Sample(task=Task.REGRESSION, y=y, score=before.score + rng.normal(scale=1e-3, size=5000))
    assert "mean loss" in int8_refused(before, worse, None)
    assert int8_refused(before, close, None) == ""
