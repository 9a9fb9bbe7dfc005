"""The messages of ``inference.GRPCInferenceService``, built from a table.

Out: one message class for each name of the protocol's text. Law: names, numbers and types of the fields are those of
the Open Inference Protocol, so that every stock client's bytes are read. The classes live in a descriptor pool of their
own: a client's generated code may be loaded in the same process.

No generated code is kept: the table is shorter, can be read beside the protocol, and fits any protobuf runtime.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["MESSAGES", "SERVICE"]

SERVICE: Final = "inference.GRPCInferenceService"

_PACKAGE = "inference"
_TABLE: Final[dict[str, str]] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live = 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready = 1",
    "ModelReadyRequest": "string name = 1; string version = 2",
    "ModelReadyResponse": "bool ready = 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name = 1; string version = 2; repeated string extensions = 3",
    "ModelMetadataRequest": "string name = 1; string version = 2",
    "ModelMetadataResponse": """string name = 1; repeated string versions = 2; string platform = 3;
        repeated .TensorMetadata inputs = 4; repeated .TensorMetadata outputs = 5; map string properties = 6""",
    "ModelMetadataResponse.TensorMetadata": "string name = 1; string datatype = 2; repeated int64 shape = 3",
    "ModelInferRequest": """string model_name = 1; string model_version = 2; string id = 3;
        map InferParameter parameters = 4; repeated .InferInputTensor inputs = 5;
        repeated .InferRequestedOutputTensor outputs = 6; repeated bytes raw_input_contents = 7""",
    "ModelInferRequest.InferInputTensor": """string name = 1; string datatype = 2; repeated int64 shape = 3;
        map InferParameter parameters = 4; InferTensorContents contents = 5""",
    "ModelInferRequest.InferRequestedOutputTensor": "string name = 1; map InferParameter parameters = 2",
    "ModelInferResponse": """string model_name = 1; string model_version = 2; string id = 3;
        map InferParameter parameters = 4; repeated .InferOutputTensor outputs = 5;
        repeated bytes raw_output_contents = 6""",
    "ModelInferResponse.InferOutputTensor": """string name = 1; string datatype = 2; repeated int64 shape = 3;
        map InferParameter parameters = 4; InferTensorContents contents = 5""",
    "InferParameter": """oneof bool bool_param = 1; oneof int64 int64_param = 2; oneof string string_param = 3;
        oneof double double_param = 4; oneof uint64 uint64_param = 5""",
    "InferTensorContents": """repeated bool bool_contents = 1; repeated int32 int_contents = 2;
        repeated int64 int64_contents = 3; repeated uint32 uint_contents = 4; repeated uint64 uint64_contents = 5;
        repeated float fp32_contents = 6; repeated double fp64_contents = 7; repeated bytes bytes_contents = 8""",
}
"""For each message its fields as ``[repeated|map|oneof] type name = number``; a type with a dot is the message's own.

A map has texts for keys. All fields of a message that are ``oneof`` are one choice, ``parameter_choice``.
"""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final[dict[str, int]] = {
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=_PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for path, fields in _TABLE.items():
        outer, _, inner = path.rpartition(".")
        message = made[path] = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        for line in filter(None, map(str.strip, fields.split(";"))):
            _add_field(message, path, line.split())
    return file


def _add_field(message: Any, path: str, words: list[str]) -> None:
    """One field of the table: ``words`` are those of its line."""
    how = words[0] if words[0] in {"repeated", "map", "oneof"} else ""
    kind, name, _, number = words[1:] if how else words
    if how == "map":
        kind = _add_entry(message, path, name, kind)
    label = _Field.LABEL_REPEATED if how in {"repeated", "map"} else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=int(number), label=label)
    _set_type(field, kind, path)
    if how == "oneof":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0


def _add_entry(message: Any, path: str, name: str, kind: str) -> str:
    """The entry type of a map, which protobuf wants as a message of its own."""
    entry = message.nested_type.add(name="".join(word.title() for word in name.split("_")) + "Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), kind, path)
    return f".{entry.name}"


def _set_type(field: Any, kind: str, path: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _Field.TYPE_MESSAGE
    field.type_name = f".{_PACKAGE}.{path}{kind}" if kind.startswith(".") else f".{_PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    names = [name for name in _TABLE if "." not in name]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names}


MESSAGES: Final[dict[str, Any]] = _classes()
"""Message classes by name, without the package."""
