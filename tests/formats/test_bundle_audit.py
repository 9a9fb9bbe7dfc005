"""One audit of the graph inside a bundle, and what binds a bundle to its version."""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper

from roadworthy.errors import BundleError, ModelError
from roadworthy.formats.bundle import (
    BundleParts,
    ServingContract,
    read_bundle,
    require_made_by,
    require_registered,
    write_bundle,
)
from roadworthy.graphs.loading import load_graph
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.digests import canonical_json, digest_bytes
from roadworthy.records.evidence import Evidence, Measurement
from roadworthy.records.model import Bundle, GraphCost
from roadworthy.records.project import Task
from roadworthy.records.verdict import Readiness, Verdict
from roadworthy.records.version import Version

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
EVIDENCE = Evidence(
    subject="sha256:m", holdout="sha256:h", measurements=(Measurement(metric="mae", value=1, lower=0.5),)
)


def model() -> onnx.ModelProto:
    price = helper.make_tensor_value_info("price", TensorProto.DOUBLE, ["N", 1])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])
    cast = helper.make_node("Cast", ["price"], ["score"], to=TensorProto.FLOAT)
    graph = helper.make_graph([cast], "g", [price], [score])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def write(folder: Path) -> None:
    contract = ServingContract(
        name="homes",
        task=Task.REGRESSION,
        target="sold",
        classes=(),
        contract=Contract(columns={"price": ColumnContract(type=ColumnType.NUMBER)}),
        inputs=("price",),
    )
    parts = BundleParts(
        model=model().SerializeToString(),
        contract=contract,
        standard_toml="[standard]\n",
        monitor={"format": 1},
        evidence=EVIDENCE,
        card_md="# homes\n",
        reference={},
        parents={"validation": "sha256:v"},
    )
    write_bundle(folder, parts, sign=KEY.sign, public_key_pem=PEM)


def replaced(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and its entry, signed again: what a faulty maker with the key could write."""
    (folder / name).write_bytes(content)
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": digest_bytes(content), "size": len(content)}
    signed = canonical_json(manifest)
    (folder / "manifest.json").write_bytes(signed)
    (folder / "manifest.sig").write_bytes(KEY.sign(signed))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write(tmp_path / "bundle")
    return tmp_path / "bundle"


def outside() -> onnx.TensorProto:
    tensor = helper.make_tensor("weights", TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def with_function(node: onnx.NodeProto) -> onnx.ModelProto:
    """The plain model with a local function beside it; the checker alone finds nothing in its body."""
    made = model()
    body = [node, helper.make_node("Identity", ["given"], ["result"])]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("evil", 1)]
    made.functions.append(helper.make_function("mine", "spare", ["given"], ["result"], body, opsets))
    made.opset_import.append(helper.make_opsetid("mine", 1))
    return made


def in_branch(inner: list[onnx.NodeProto]) -> onnx.NodeProto:
    result = helper.make_tensor_value_info("kept", TensorProto.FLOAT, [1])
    branch = helper.make_graph(inner, "branch", [], [result])
    return helper.make_node("If", ["given"], ["chosen"], then_branch=branch, else_branch=branch)


CONSTANT = helper.make_node("Constant", [], ["kept"], value=outside())
FOREIGN = helper.make_node("Shell", [], ["kept"], domain="evil")
SPARSE = onnx.SparseTensorProto(values=outside(), indices=outside(), dims=[1])
KEPT = helper.make_node("Constant", [], ["kept"])
KEPT.attribute.append(onnx.AttributeProto(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR))
KEPT.attribute[0].sparse_tensor.CopyFrom(SPARSE)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (with_function(CONSTANT), "in other files"),
        (with_function(in_branch([CONSTANT])), "in other files"),
        (with_function(KEPT), "in other files"),
        (with_function(FOREIGN), "not standard: evil.Shell"),
        (with_function(in_branch([FOREIGN])), "not standard: evil.Shell"),
    ],
)
def test_a_file_and_a_bundle_meet_the_same_audit(bundle: Path, made: onnx.ModelProto, words: str) -> None:
    content = made.SerializeToString()
    with pytest.raises(ModelError, match=words):
        load_graph(content)
    replaced(bundle, "model.onnx", content)
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, [PEM])
    assert words in str(caught.value)


def test_an_operator_outside_the_standard_is_refused_in_a_bundle(bundle: Path) -> None:
    made = model()
    made.graph.node[0].domain = "evil"
    made.opset_import.append(helper.make_opsetid("evil", 1))
    replaced(bundle, "model.onnx", made.SerializeToString())
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, [PEM])
    assert "evil.Cast" in str(caught.value)


@pytest.mark.parametrize("name", ["card.md", "standard.toml", "contract.json", "monitor.json", "evidence.json"])
def test_a_part_that_is_no_text_is_refused(bundle: Path, name: str) -> None:
    replaced(bundle, name, b'{"a": "\xff\xfe"}')
    with pytest.raises(BundleError, match=name):
        read_bundle(bundle, [PEM])


def made(evidence: Evidence = EVIDENCE, *, name: str = "homes", parent: str = "") -> Bundle:
    cost = GraphCost(size_bytes=1, p50_ms=1, p99_ms=1, runs=1)
    return Bundle(
        digest="sha256:p",
        parent=parent,
        name=name,
        before=cost,
        after=cost,
        variant="float32",
        parity=0.0,
        flips=0.0,
        notes=(),
        evidence=evidence,
    )


def test_a_run_knows_its_own_bundle(bundle: Path) -> None:
    opened = read_bundle(bundle, [PEM])
    assert require_made_by(opened, made(parent="sha256:v")) == opened.digest
    better = msgspec.structs.replace(EVIDENCE, holdout="sha256:another")
    for other, where in (
        (made(better, parent="sha256:v"), "evidence"),
        (made(parent="sha256:w"), "validation"),
        (made(name="cars", parent="sha256:v"), "name"),
    ):
        with pytest.raises(BundleError) as caught:
            require_made_by(opened, other)
        assert [problem.where for problem in caught.value.problems] == [where]


def test_only_the_registered_manifest_opens_as_a_version(bundle: Path) -> None:
    opened = read_bundle(bundle, [PEM])
    verdict = Verdict(subject="s", standard="s", readiness=Readiness.READY, requirements=(), sentence="Because.")
    version = Version(
        name="homes",
        number=3,
        digest="sha256:p",
        manifest=opened.digest,
        verdict=verdict,
        evidence=EVIDENCE,
        report="r",
        created_at="",
        lineage={},
    )
    assert require_registered(opened, version) is opened
    with pytest.raises(BundleError, match="registered as homes-3"):
        require_registered(opened, msgspec.structs.replace(version, manifest="sha256:other"))
