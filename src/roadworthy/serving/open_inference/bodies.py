"""The bodies of inference requests and answers over HTTP: JSON, or JSON and then binary tensors.

In: a ``Call``, or the outputs of an answer. Out: ``Asked``, or a ``Reply``. Laws: an answer without binary tensors has
no ``Inference-Header-Content-Length``, since clients choose their parser by it; what is wrong with the form of a
request is a 400 with all of its problems, by input.

The binary form is JSON, then the bytes of the tensors in the order of their mention; the header tells how long the JSON
is. A length of 0 is a raw request: one row of FP64, and every output comes back in binary form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from roadworthy.errors import Problem
from roadworthy.serving.calls import Call, Failure, Reply
from roadworthy.serving.open_inference.datatypes import DATATYPES
from roadworthy.serving.open_inference.inputs import Inputs
from roadworthy.serving.open_inference.outputs import Note, Output, Outputs
from roadworthy.serving.open_inference.tensors import Head, Tensor, checked_head, from_bytes, from_json, path, short

__all__ = ["Answer", "Asked", "read_body", "write_body"]

_HEADER = b"inference-header-content-length"
_JSON = (b"content-type", b"application/json")
_OCTETS = (b"content-type", b"application/octet-stream")
_DIGITS = re.compile(rb"[0-9]{1,12}\Z")
_ROW = "raw"
_MOST_PROBLEMS = 100

Parameters = dict[str, Any]


class Asked(NamedTuple):
    """A request: the caller's own identity for it, its tensors, and its outputs with whether each is to be binary."""

    id: str
    tensors: list[Tensor]
    outputs: Mapping[str, bool]


class Answer(NamedTuple):
    """An answer before it is written; ``id`` is the caller's own, or the request's identity in the log."""

    id: str
    model: str
    version: str
    parameters: Mapping[str, Note]
    outputs: Sequence[Output]


class TensorGiven(msgspec.Struct, gc=False):
    """An input of a request."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class OutputAsked(msgspec.Struct, gc=False):
    """An output that a request asks for."""

    name: str
    parameters: Parameters | None = None


class Request(msgspec.Struct, gc=False):
    """A request. Members that the protocol does not know are left alone: clients send their own."""

    inputs: list[TensorGiven]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[OutputAsked] | None = None


class TensorWritten(msgspec.Struct, gc=False, omit_defaults=True):
    """An output of an answer; without ``data`` its bytes follow."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class Written(msgspec.Struct, gc=False):
    """An answer."""

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Note]
    outputs: list[TensorWritten]


_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


def read_body(call: Call, inputs: Inputs, outputs: Outputs) -> Asked:
    """What a request asks for. Raises Failure 400 or 415."""
    length = _header_length(call)
    if length == 0:
        return Asked("", [_raw_row(call.body, inputs)], dict.fromkeys(outputs.wanted(()), True))
    end = len(call.body) if length is None else length
    request = _decoded(call.body[:end], header=length is not None)
    inputs.refuse_crowd(len(request.inputs))
    tensors = _tensors(request.inputs, None if length is None else memoryview(call.body)[end:])
    return Asked(request.id or "", tensors, _wanted(request, outputs))


def write_body(answer: Answer, binary: Mapping[str, bool]) -> Reply:
    """The answer, those outputs in binary form that are to be so."""
    written: list[TensorWritten] = []
    parts: list[bytes] = []
    for name, datatype, shape, data in answer.outputs:
        if binary[name]:
            parts.append(Output(name, datatype, shape, data).as_bytes())
            written.append(TensorWritten(name, datatype, shape, parameters={"binary_data_size": len(parts[-1])}))
        else:
            written.append(TensorWritten(name, datatype, shape, data))
    head = _encode(Written(answer.model, answer.version, answer.id, answer.parameters, written))
    if not parts:
        return Reply(200, head)
    return Reply(200, b"".join((head, *parts)), (_OCTETS, (_HEADER, str(len(head)).encode())))


# --- what a request says -------------------------------------------------------------------------------------------


def _header_length(call: Call) -> int | None:
    """How long the JSON is where tensors follow it; None where the whole body is JSON."""
    kind = call.headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    said = call.headers.get(_HEADER)
    if said is not None and (not _DIGITS.match(said) or int(said) > len(call.body)):
        wanted = f"bytes of JSON, at most the {len(call.body):,} of the body"
        problem = Problem(said.decode("latin-1")[:40], expected=wanted, where=_HEADER.decode())
        raise Failure(400, "the header does not fit the body", problems=[problem])
    known = {b"", b"application/json", b"text/json", b"application/octet-stream"}
    if kind not in known and not kind.endswith(b"+json"):
        expected = "application/json, or application/octet-stream with binary tensors"
        problem = Problem(kind.decode("latin-1")[:60], expected=expected, where="content-type")
        raise Failure(415, "the body is not said to be JSON or tensors", problems=[problem])
    return None if said is None else int(said)


def _decoded(body: bytes, *, header: bool) -> Request:
    """The JSON of a request; raises Failure 400. ``header``: that is where its length was told."""
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        problem = Problem(what, where=where.strip("`").removeprefix("$.") or "body")
        raise Failure(400, "the request has another form", problems=[problem], next_step=_FORM) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if problems := _not_finite(body):
            raise Failure(400, "the body is not JSON", problems=problems, next_step=_FORM) from error
        found = "empty" if not body.strip() else f"not JSON: {error}"
        found = "nested too deep" if isinstance(error, RecursionError) else found
        problem = Problem(found, expected="JSON", where="body")
        if header:
            wanted = "the bytes of the JSON that the tensors follow"
            problem = Problem(f"{len(body):,} bytes are {found}", expected=wanted, where=_HEADER.decode())
        raise Failure(400, "the body cannot be read", problems=[problem], next_step=_FORM) from error


def _not_finite(body: bytes) -> list[Problem]:
    """Where a body that would be JSON writes numbers that are none; empty for a body that is wrong in another way."""
    if b"NaN" not in body and b"Infinity" not in body:
        return []
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        return []
    given = plain.get("inputs") if isinstance(plain, dict) else None
    found: list[Problem] = []
    for one in given if isinstance(given, list) else []:
        if isinstance(one, dict) and isinstance(name := one.get("name"), str):
            places = islice(_places(one.get("data"), f"{path(name)}.data"), _MOST_PROBLEMS - len(found))
            found += [Problem(word, expected=_FINITE, where=where) for where, word in places]
    return found


def _places(data: Any, where: str) -> Iterator[tuple[str, str]]:
    """The places of numbers that are not finite, and what they are."""
    if isinstance(data, list):
        for at, value in enumerate(data):
            yield from _places(value, f"{where}[{at}]")
    elif isinstance(data, float) and not math.isfinite(data):
        yield where, "NaN" if math.isnan(data) else "Infinity"


_FINITE = "a finite number; null where it may be missing"
_FORM = 'send {"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}'


def _tensors(given: Sequence[TensorGiven], buffer: memoryview | None) -> list[Tensor]:
    """The tensors of a request; ``buffer`` holds the binary ones. Raises Failure 400 with all problems."""
    problems: list[Problem] = []
    tensors: list[Tensor | None] = []
    place = 0
    for one in given:
        if len(problems) >= _MOST_PROBLEMS:
            break
        head = checked_head(one.name, one.datatype, one.shape, problems)
        size = _binary_size(one, problems, alone=buffer is None)
        if size is not None and buffer is not None:
            part, place = buffer[place : place + size], place + size
            if place > len(buffer):
                lacks = f"the body ends {place - len(buffer):,} bytes too early"
                problems.append(Problem(lacks, expected=f"{size:,} bytes (binary_data_size)", where=path(one.name)))
                break
            tensors.append(None if head is None else from_bytes(head, part, problems))
        elif head is not None and size is None:
            tensors.append(_of_json(one, head, problems))
    if buffer is not None and place < len(buffer) and len(problems) < _MOST_PROBLEMS:
        wanted = f"{place:,} bytes of tensors, the sum of binary_data_size"
        problems.append(Problem(f"{len(buffer):,} bytes after the JSON", expected=wanted, where="body"))
    if problems:
        raise Failure(400, "the request's tensors are not as they say", problems=problems)
    return [tensor for tensor in tensors if tensor is not None]


def _of_json(one: TensorGiven, head: Head, problems: list[Problem]) -> Tensor | None:
    if isinstance(one.data, msgspec.Raw):
        return from_json(head, one.data, problems)
    wanted = "data, or binary_data_size among its parameters"
    problems.append(Problem("an input without data", expected=wanted, where=path(one.name)))
    return None


def _binary_size(one: TensorGiven, problems: list[Problem], *, alone: bool) -> int | None:
    """How many bytes of the body are this input's; None where its data are JSON."""
    if not one.parameters or "binary_data_size" not in one.parameters:
        return None
    size = one.parameters["binary_data_size"]
    where = f"{path(one.name)}.parameters.binary_data_size"
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        problems.append(Problem("no size", expected="a whole number of bytes, 0 or more", where=where))
        return 0
    if one.data is not msgspec.UNSET:
        problems.append(Problem("both data and binary_data_size", expected="one of them", where=path(one.name)))
    if alone:
        wanted = "the header Inference-Header-Content-Length, and the bytes after the JSON"
        problems.append(Problem("binary data are announced", expected=wanted, where=where))
    return min(size, 1 << 40)


def _wanted(request: Request, outputs: Outputs) -> dict[str, bool]:
    """The outputs to give, and whether each is to be binary: its own word goes before the request's."""
    asked = request.outputs or []
    every = _flag(request.parameters, "binary_data_output", "parameters", otherwise=False)
    own: dict[str, bool] = {}
    for one in asked:
        where = f"{path(one.name, 'outputs')}.parameters"
        for unknown in ("classification", "shared_memory_region"):
            if one.parameters and unknown in one.parameters:
                problem = Problem(f"{unknown} is not offered", expected="binary_data, or nothing", where=where)
                raise Failure(400, "the output cannot be given like that", problems=[problem])
        own[one.name] = _flag(one.parameters, "binary_data", where, otherwise=every)
    return {name: own.get(name, every) for name in outputs.wanted([one.name for one in asked])}


def _flag(parameters: Parameters | None, name: str, where: str, *, otherwise: bool) -> bool:
    value = (parameters or {}).get(name)
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        problem = Problem(short(repr(value)), expected="true or false", where=f"{where}.{name}")
        raise Failure(400, "the request has another form", problems=[problem])
    return value


def _raw_row(body: bytes, inputs: Inputs) -> Tensor:
    """The one row of a raw request. Raises Failure 400 where a model takes more than one tensor of numbers."""
    problems: list[Problem] = []
    head = Head(_ROW, DATATYPES["FP64"], (1, inputs.matrix), inputs.matrix)
    tensor = from_bytes(head, body, problems) if inputs.matrix else None
    if tensor is None:
        problems = problems or [
            Problem("a raw request", expected="inputs by name: not all of them are numbers", where="body")
        ]
        raise Failure(400, "the body is no row of this model", problems=problems)
    return tensor
