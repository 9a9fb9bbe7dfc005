"""From bytes to a checked ONNX graph: sniff, parse, audit.

In: bytes that claim to be a model. Out: an ``onnx.ModelProto`` that is whole, valid, self-contained and made of
standard operators only; otherwise one ModelError. Law: nothing is executed or unpickled to find out what a file
is; the kind is told from its bytes.
"""

from __future__ import annotations

import itertools
import pickletools
from enum import StrEnum
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from roadworthy.errors import ModelError
from roadworthy.graph_audit import graph_fault

__all__ = ["FileKind", "load_graph", "model_file_kind", "read_model"]


class FileKind(StrEnum):
    """What a model's file is, by its first bytes."""

    ONNX = "ONNX"
    LIGHTGBM = "LightGBM text"
    XGBOOST = "XGBoost JSON or UBJSON"


_HEAD = 4096
"""Bytes that are looked at to tell a file's kind."""

_PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_PICKLE_STEPS = 10_000
_TELLING_STEPS = 12
"""So many sound pickle instructions in a row, with one that names a class, are no accident."""
_NAMING = frozenset({"GLOBAL", "INST", "STACK_GLOBAL"})
_EXPORT = (
    "export it to ONNX where it was trained, for scikit-learn: "
    "skl2onnx.to_onnx(estimator, X[:1].astype('float32'), options={'zipmap': False}); then pass the .onnx file. "
    "Or pass the estimator itself from Python: rw.inspect(estimator, X, y)"
)
_OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive (a PyTorch file, which holds a pickle, or a Keras or skops file)"),
    (b"\x89HDF", "an HDF5 file (a Keras model)"),
    (b"\x1f\x8b", "a gzip file (perhaps a compressed pickle)"),
    (b"x\x9c", "a zlib stream (perhaps a joblib pickle)"),
    (b"x\x01", "a zlib stream (perhaps a joblib pickle)"),
    (b"x\x5e", "a zlib stream (perhaps a joblib pickle)"),
    (b"x\xda", "a zlib stream (perhaps a joblib pickle)"),
    (b"BZh", "a bzip2 file (perhaps a joblib pickle)"),
    (b"]\x00\x00", "an lzma stream (perhaps a joblib pickle)"),
    (b"\x04\x22\x4d\x18", "an lz4 stream (perhaps a joblib pickle)"),
    (b"\x28\xb5\x2f\xfd", "a zstd stream"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"<?xml", "an XML file (perhaps PMML)"),
    (b"\xfd7zXZ", "an xz file (perhaps a joblib pickle)"),
    (b"PAR1", "a Parquet file"),
    (b"tree\n", "a LightGBM text model"),
    (b"{", "a JSON file (perhaps an XGBoost model)"),
    (b"\x7fELF", "a program"),
)


def model_file_kind(path: Path) -> FileKind:
    """What the file is, by its first 4,096 bytes; ONNX where they say nothing else.

    Raises ModelError for a pickle, never read beyond those bytes, and for other files that are never models here, with
    the way out.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if head.startswith((b"tree\n", b"tree\r\n")):
        return FileKind.LIGHTGBM
    text = head.lstrip()
    if text.startswith(b"{") and b"learner" in text[:64]:
        return FileKind.XGBOOST
    if text.startswith((b"{", b"[")):
        raise ModelError(
            f"{path} is a JSON file, but no model that XGBoost saved",
            next_step="save the booster with save_model (LightGBM: .txt, XGBoost: .json or .ubj); a dump is no model",
        )
    _refuse_other_kinds(head, str(path))
    return FileKind.ONNX


def read_model(path: Path) -> bytes:
    """The file's bytes; ModelError when it is missing, a folder or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist", next_step="check the path of the model file") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a model file", next_step="pass the .onnx file inside it") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def load_graph(content: bytes, *, where: str = "the model") -> onnx.ModelProto:
    """Parse and audit; ``where`` is how a person knows the file. Raises ModelError, never anything else.

    Refused: pickles and other kinds of file (sniffed, with the way out), truncated or damaged files, graphs that
    the ONNX checker refuses, weights kept in other files, operators that are not standard.
    """
    _refuse_other_kinds(content, where)
    try:
        model = onnx.load_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{where} is not an ONNX model, or is cut off: {len(content):,} bytes that cannot be parsed",
            next_step="export or copy the model again, then compare sizes",
        ) from error
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError(
            f"{where} is not an ONNX model: its {len(content):,} bytes hold no graph with outputs",
            next_step="export the model again",
        )
    fault = graph_fault(model)
    if fault is not None:
        raise ModelError(f"{where} {fault.found}", next_step=fault.expected)
    return model


def _refuse_other_kinds(content: bytes, where: str) -> None:
    if not content:
        raise ModelError(f"{where} is empty", next_step="export the model again")
    for start, kind in _OTHER_KINDS:
        if content.startswith(start):
            raise ModelError(f"{where} is {kind}, not an ONNX model", next_step=_EXPORT)
    if content.startswith(_PICKLE_STARTS) or _reads_as_pickle(content):
        raise ModelError(
            f"{where} is a pickle; loading one runs whatever code it holds, so it is never loaded", next_step=_EXPORT
        )


def _reads_as_pickle(content: bytes) -> bool:
    """Whether the bytes are pickle instructions, listed and never followed (protocols 0 and 1 have no mark).

    Of a whole one the end is found; one that is cut off by the look at its first bytes names a module and a class.
    """
    steps: list[str] = []
    try:
        for step, _, _ in itertools.islice(pickletools.genops(content), _PICKLE_STEPS):
            if step.name == "STOP":
                return True
            steps.append(step.name)
    except (ValueError, UnicodeError, IndexError, OverflowError):
        return len(steps) >= _TELLING_STEPS and not _NAMING.isdisjoint(steps)
    return True
