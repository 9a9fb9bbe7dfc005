from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from roadworthy.errors import BundleError, StorageError
from roadworthy.formats.bundle import BundleParts, Manifest, ServingContract, fingerprint, read_bundle, write_bundle
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.digests import canonical_json, digest_bytes
from roadworthy.records.evidence import Evidence, Measurement
from roadworthy.records.project import Aggregate, Task

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
OTHER_PEM = OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def model(name: str = "price", *, external: bool = False) -> bytes:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["N", 1]),
        helper.make_tensor_value_info(f"{name}.missing", TensorProto.BOOL, ["N", 1]),
    ]
    nodes = [
        helper.make_node("Where", [f"{name}.missing", "zero", name], ["filled"]),
        helper.make_node("Cast", ["filled"], ["score"], to=TensorProto.FLOAT),
    ]
    zero = numpy_helper.from_array(np.array(0.0), "zero")
    if external:
        zero.data_location = TensorProto.EXTERNAL
        zero.external_data.add(key="location", value="/etc/passwd")
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])], [zero]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


CONTRACT = ServingContract(
    name="homes",
    task=Task.BINARY,
    target="sold",
    classes=("no", "yes"),
    positive="yes",
    threshold=0.4,
    entity="seller",
    personal=("seller",),
    excluded={"notary": "known only after the sale"},
    contract=Contract(columns={"price": ColumnContract(type=ColumnType.NUMBER, min=0)}),
    features={"ratio": "price / 2", "earlier": Aggregate(count="*", window="7 days")},
    inputs=("price",),
)
EVIDENCE = Evidence(
    subject="sha256:m", holdout="sha256:h", measurements=(Measurement(metric="accuracy", value=0.9, lower=0.88),)
)
PARTS = BundleParts(
    model=model(),
    contract=CONTRACT,
    standard_toml='[standard]\nextends = "service"\n',
    monitor={"format": 1, "rules": []},
    evidence=EVIDENCE,
    card_md="# homes\n",
    reference={"columns.json": b"{}", "deep/scores.json": b"[]"},
    parents={"trained": "sha256:t"},
)


def write(folder: Path, parts: BundleParts = PARTS, key: Ed25519PrivateKey = KEY, pem: bytes = PEM) -> Manifest:
    return write_bundle(folder, parts, sign=key.sign, public_key_pem=pem)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write(tmp_path / "bundle")
    return tmp_path / "bundle"


def resigned(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and sign it again: what a maker with the key, but faulty, could write."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    change(manifest)
    signed = canonical_json(manifest)
    (folder / "manifest.json").write_bytes(signed)
    (folder / "manifest.sig").write_bytes(KEY.sign(signed))


def replaced(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and its entry, signed again."""
    (folder / name).write_bytes(content)
    resigned(folder, lambda m: m["files"].update({name: {"sha256": digest_bytes(content), "size": len(content)}}))


def test_what_was_written_is_what_opens(bundle: Path) -> None:
    opened = read_bundle(bundle, [OTHER_PEM, PEM])
    assert opened.parts == PARTS
    assert opened.signer == fingerprint(PEM)
    assert opened.manifest.name == "homes"
    assert opened.digest == digest_bytes((bundle / "manifest.json").read_bytes())
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert names == {*opened.manifest.files, "manifest.json", "manifest.sig"}


def test_the_same_parts_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_nothing_in_a_bundle_is_a_pickle_or_code(bundle: Path) -> None:
    for path in bundle.rglob("*"):
        if path.is_file():
            assert path.suffix in {".onnx", ".json", ".toml", ".md", ".sig"}
            assert not path.read_bytes().startswith(b"\x80")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_byte_keeps_it_shut(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("flip") / "bundle"
    write(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError):
        read_bundle(folder, [PEM])


def test_an_untrusted_signer_is_refused_and_the_bundle_has_no_say(bundle: Path) -> None:
    (bundle / "public.pem").write_bytes(PEM)
    for trusted in ([OTHER_PEM], []):
        with pytest.raises(BundleError, match="no trusted key signed"):
            read_bundle(bundle, trusted)


def test_a_claimed_signer_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path / "b", key=OTHER, pem=PEM)
    with pytest.raises(BundleError, match="no trusted key"):
        read_bundle(tmp_path / "b", [PEM])


def test_keys_of_another_kind_are_refused(bundle: Path) -> None:
    rsa = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    with pytest.raises(BundleError, match="expected Ed25519"):
        read_bundle(bundle, [rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)])
    with pytest.raises(BundleError, match="PEM"):
        read_bundle(bundle, [b"not a key"])


def test_all_faults_of_the_folder_are_named_at_once(bundle: Path) -> None:
    (bundle / "card.md").unlink()
    (bundle / "extra.py").write_text("print('hello')")
    (bundle / "standard.toml").write_bytes(b"longer than it was, certainly")
    content = bytearray((bundle / "contract.json").read_bytes())
    content[10] ^= 1
    (bundle / "contract.json").write_bytes(bytes(content))
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, [PEM])
    assert {problem.where for problem in caught.value.problems} == {
        "card.md",
        "extra.py",
        "standard.toml",
        "contract.json",
    }


def test_links_are_not_followed(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "model.onnx"
    shutil.move(bundle / "model.onnx", outside)
    (bundle / "model.onnx").symlink_to(outside)
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, [PEM])
    assert "link or a special file" in str(caught.value)


def test_a_linked_folder_is_not_entered(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / "reference", tmp_path / "elsewhere")
    (bundle / "reference").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="link or a special file"):
        read_bundle(bundle, [PEM])


def test_a_pipe_does_not_block_the_reader(bundle: Path) -> None:
    os.mkfifo(bundle / "reference" / "pipe")
    with pytest.raises(BundleError, match="link or a special file"):
        read_bundle(bundle, [PEM])


@pytest.mark.parametrize(
    "name", ["../outside.json", "/etc/passwd", "reference/../../x", "a\\b", "c:/x", "reference//x"]
)
def test_signed_names_that_leave_the_bundle_are_refused(bundle: Path, name: str) -> None:
    resigned(bundle, lambda m: m["files"].update({name: {"sha256": "sha256:0", "size": 0}}))
    with pytest.raises(BundleError, match="leaves the bundle"):
        read_bundle(bundle, [PEM])
    with pytest.raises(BundleError, match="cannot stand in a bundle"):
        write(bundle.parent / "new", msgspec_replace(reference={f"../{name}": b""}))


def msgspec_replace(**changes: Any) -> BundleParts:
    fields = {name: getattr(PARTS, name) for name in PARTS.__dataclass_fields__}
    return BundleParts(**(fields | changes))


def test_a_newer_format_says_upgrade(bundle: Path) -> None:
    resigned(bundle, lambda m: m.update(format=2, something_new=True))
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, [PEM])
    assert "format 2" in caught.value.message
    assert caught.value.next_step == "upgrade Roadworthy"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("format"), "no manifest"),
        (lambda m: m.update(surprise=1), "does not parse"),
        (lambda m: m["files"].pop("card.md"), "not in the manifest"),
    ],
)
def test_signed_but_faulty_manifests_are_refused(
    bundle: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    resigned(bundle, change)
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, [PEM])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("contract.json", b"{", "contract.json does not parse"),
        ("contract.json", canonical_json({**msgspec.to_builtins(CONTRACT), "evil": 1}), "evil"),
        ("contract.json", canonical_json({**msgspec.to_builtins(CONTRACT), "format": 9}), "format 9"),
        ("evidence.json", b"[]", "evidence.json does not parse"),
        ("standard.toml", b"x = ", "standard.toml does not parse"),
        ("model.onnx", b"\x80\x04.", "model.onnx"),
        ("model.onnx", model("other"), "other"),
        ("model.onnx", model(external=True), "other files"),
    ],
)
def test_signed_but_faulty_parts_are_refused(bundle: Path, name: str, content: bytes, words: str) -> None:
    replaced(bundle, name, content)
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, [PEM])
    assert words in str(caught.value)


def test_files_of_no_known_place_are_refused_even_when_signed(bundle: Path) -> None:
    replaced(bundle, "hook.py", b"print()")
    with pytest.raises(BundleError, match="no place in a bundle"):
        read_bundle(bundle, [PEM])


def test_what_is_no_bundle_says_so(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(BundleError, match="not a folder"):
        read_bundle(tmp_path / "nothing", [PEM])
    (bundle / "manifest.sig").unlink()
    with pytest.raises(BundleError, match=r"lacks manifest\.sig"):
        read_bundle(bundle, [PEM])


def test_a_used_folder_is_not_written_into(bundle: Path) -> None:
    with pytest.raises(BundleError, match="already holds files"):
        write(bundle)


def test_a_failing_disk_leaves_no_signed_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def full(self: Path, data: Any) -> int:
        if self.name == "manifest.json":
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        write(tmp_path / "b")
    assert not (tmp_path / "b" / "manifest.sig").exists()


def test_the_golden_manifest_of_format_1(bundle: Path) -> None:
    """The bytes that are signed, pinned: a change of them needs a new format number."""
    manifest = msgspec.json.decode((bundle / "manifest.json").read_bytes())
    assert sorted(manifest) == ["files", "format", "kind", "name", "parents", "signer"]
    assert manifest["format"] == 1
    assert manifest["kind"] == "roadworthy bundle"
    assert manifest["files"]["card.md"] == {"sha256": digest_bytes(b"# homes\n"), "size": 8}
    assert len((bundle / "manifest.sig").read_bytes()) == 64
    assert onnx.load_from_string((bundle / "model.onnx").read_bytes()).graph.output[0].name == "score"
