"""From bytes to a checked ONNX graph: sniff, parse, audit.

In: bytes that claim to be a model. Out: an ``onnx.ModelProto`` that is whole, valid, self-contained and made of
standard operators only; otherwise one ModelError. Law: nothing is executed or unpickled to find out what a file
is; the kind is told from its bytes.
"""

from __future__ import annotations

import pickletools
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx, without types

from roadworthy.errors import ModelError
from roadworthy.graph_audit import graph_fault

__all__ = ["load_graph", "read_model"]

_PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_PICKLE_STEPS = 10_000
_EXPORT = (
    "export it to ONNX where it was trained, for scikit-learn: "
    "skl2onnx.to_onnx(estimator, X[:1].astype('float32'), options={'zipmap': False}); then pass the .onnx file"
)
_OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive (a PyTorch, Keras or skops file)"),
    (b"\x89HDF", "an HDF5 file (a Keras model)"),
    (b"\x1f\x8b", "a gzip file (perhaps a compressed pickle)"),
    (b"x\x9c", "a zlib stream (perhaps a joblib pickle)"),
    (b"BZh", "a bzip2 file (perhaps a joblib pickle)"),
    (b"\xfd7zXZ", "an xz file (perhaps a joblib pickle)"),
    (b"PAR1", "a Parquet file"),
    (b"tree\n", "a LightGBM text model"),
    (b"{", "a JSON file (perhaps an XGBoost model)"),
    (b"\x7fELF", "a program"),
)


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
    """Whether the bytes are pickle instructions, listed and never followed (protocols 0 and 1 have no mark)."""
    try:
        for _, (step, _, _) in zip(range(_PICKLE_STEPS), pickletools.genops(content), strict=False):
            if step.name == "STOP":
                return True
    except (ValueError, UnicodeError, IndexError, OverflowError):
        return False
    return True
