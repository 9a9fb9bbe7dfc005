"""The protocol over gRPC, in the same event loop and in front of the same service as HTTP.

In: calls of ``inference.GRPCInferenceService``. Out: answers, or a status with all problems in its details. Laws: what
is refused over HTTP is refused here for the same reason; a call waits no longer than its own deadline; a message larger
than the limit is never read whole; whoever sends raw tensors gets raw tensors, whoever sends typed ones typed ones.

Needs the extra ``grpc``. Several workers may listen at one port, where that is asked for; otherwise a port that is
taken is refused, which gRPC by itself would share.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from traceback import format_tb
from typing import Any, Final

from roadworthy.errors import MissingExtra, Problem, RoadworthyError, UsageError
from roadworthy.serving.calls import Failure, failure_of
from roadworthy.serving.open_inference.models import Models, is_ready, server_metadata
from roadworthy.serving.open_inference.outputs import Output, notes
from roadworthy.serving.open_inference.tensors import Tensor, checked_head, from_bytes, from_values, path
from roadworthy.serving.service import Service
from roadworthy.serving.web import Web

try:
    import grpc
    from google.protobuf.message import DecodeError
    from grpc import StatusCode, aio

    from roadworthy.serving.open_inference.grpc_messages import MESSAGES, SERVICE
except ImportError as error:
    raise MissingExtra(
        "the protocol over gRPC needs grpcio and protobuf, which are not installed",
        next_step='pip install "roadworthy[grpc]", or ask over HTTP',
    ) from error

__all__ = ["GrpcServer"]

_LOG = logging.getLogger(__name__)
_LONGEST_DETAILS = 3_000
_MOST_PROBLEMS = 100
_GONE: Final = 499
"""What a call is counted as whose caller did not wait for its answer."""

_STATUS: Final = {
    401: StatusCode.UNAUTHENTICATED,
    404: StatusCode.NOT_FOUND,
    413: StatusCode.RESOURCE_EXHAUSTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    500: StatusCode.INTERNAL,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the typed elements of a datatype stand; FP16 and BF16 come raw only."""

Message = Any
"""A protobuf message of the table."""

Handler = Callable[[Service, Message, float], Awaitable[Message]]


class GrpcServer:
    """The gRPC side of one worker. ``web`` is its HTTP side: they share the service, the keys and the limits."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._models = Models()
        live, unready = MESSAGES["ServerLiveResponse"](live=True), MESSAGES["ServerReadyResponse"](ready=False)
        found = (
            _Method(web, "ServerLive", _server_live, starting=live),
            _Method(web, "ServerReady", _server_ready, starting=unready),
            _Method(web, "ServerMetadata", _server_metadata),
            _Method(web, "ModelReady", self._model_ready),
            _Method(web, "ModelMetadata", self._model_metadata),
            _Method(web, "ModelInfer", self._infer),
        )
        methods = {method.name: grpc.unary_unary_rpc_method_handler(method.serve) for method in found}
        self._handlers = (grpc.method_handlers_generic_handler(SERVICE, methods),)
        self._server: Any = None

    async def start(
        self, address: str, *, credentials: grpc.ServerCredentials | None = None, shared: bool = False
    ) -> int:
        """Listens at ``host:port`` or ``unix:path``, and gives the port. Raises UsageError where it cannot.

        ``shared``: others of ours may listen there, too, and each gets a part of the connections. Whoever asks for that
        has made sure that the port is nobody else's.
        """
        most = ("grpc.max_receive_message_length", self._web.limits.most_bytes)
        server = aio.server(options=[most, ("grpc.so_reuseport", int(shared))], handlers=self._handlers)
        try:
            if credentials is None:
                port: int = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            await server.stop(None)
            raise UsageError(f"gRPC cannot listen at {address}", next_step="choose another port") from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace_s: float) -> None:
        """Takes no more calls, and ends after those that are on, or after ``grace_s`` seconds."""
        if self._server is not None:
            await self._server.stop(grace_s)

    async def _model_ready(self, service: Service, request: Message, _until: float) -> Message:
        self._models.find(service, request.name, request.version)
        return MESSAGES["ModelReadyResponse"](ready=is_ready(service))

    async def _model_metadata(self, service: Service, request: Message, _until: float) -> Message:
        model = self._models.find(service, request.name, request.version)
        answer = MESSAGES["ModelMetadataResponse"](
            name=model.name, versions=[model.version], platform=model.platform, properties=model.properties()
        )
        for messages, tensors in ((answer.inputs, model.input_metadata()), (answer.outputs, model.output_metadata())):
            for one in tensors:
                messages.add(name=one.name, datatype=one.datatype, shape=one.shape)
        return answer

    async def _infer(self, service: Service, request: Message, until: float) -> Message:
        model = self._models.find(service, request.model_name, request.model_version)
        wanted = model.outputs.wanted([one.name for one in request.outputs])
        model.inputs.refuse_crowd(len(request.inputs))
        given = await model.answer(service, _tensors(request), until)
        answer = MESSAGES["ModelInferResponse"](
            model_name=model.name, model_version=given.run.title, id=request.id or given.id
        )
        for name, note in notes(given).items():
            answer.parameters[name].string_param = str(note)
        _write(answer, model.outputs.tensors(given, wanted), raw=bool(request.raw_input_contents))
        return answer


class _Method:
    """One method of the service. ``starting`` is answered to everyone, and before there is a service."""

    def __init__(self, web: Web, name: str, handler: Handler, *, starting: Message | None = None) -> None:
        self.name = name
        self._web, self._handler, self._starting = web, handler, starting
        self._request = MESSAGES[f"{name}Request"]

    async def serve(self, raw: bytes, context: aio.ServicerContext) -> bytes:
        """One call, from the bytes of its message to those of its answer."""
        begun = time.perf_counter()
        service = self._web.service
        if service is not None:
            service.in_flight += 1
        status = 500
        try:
            answer = await self._answered(service, raw, context, begun)
            status = 200
        except RoadworthyError as error:
            failure = failure_of(error)
            status = failure.status
            await _abort(context, failure)
            raise
        except asyncio.CancelledError:
            status = _GONE
            raise
        except Exception as error:  # its words may quote a row
            _LOG.error("%s failed: %s\n%s", self.name, type(error).__name__, "".join(format_tb(error.__traceback__)))
            await context.abort(StatusCode.INTERNAL, "the server met a fault of its own; next: look at its log")
            raise
        else:
            return answer
        finally:
            if service is not None:
                service.in_flight -= 1
                service.metrics.request("grpc", status, time.perf_counter() - begun)

    async def _answered(self, service: Service | None, raw: bytes, context: aio.ServicerContext, begun: float) -> bytes:
        if self._starting is None:
            self._refuse_stranger(context)
        if service is not None:
            left, most = context.time_remaining(), self._web.limits.answer_s
            until = begun + (most if left is None else min(left, most))
            reply = await self._handler(service, _parsed(self._request, raw), until)
        elif self._starting is not None:
            reply = self._starting
        else:
            raise Failure(503, "the server is starting")
        found: bytes = reply.SerializeToString()
        return found

    def _refuse_stranger(self, context: aio.ServicerContext) -> None:
        keys = self._web.keys
        if keys and keys.holder(_headers(context.invocation_metadata() or ())) is None:
            message = "this server answers only to those who have a key"
            raise Failure(401, message, next_step="send authorization: Bearer KEY")


async def _server_live(_service: Service, _request: Message, _until: float) -> Message:
    return MESSAGES["ServerLiveResponse"](live=True)


async def _server_ready(service: Service, _request: Message, _until: float) -> Message:
    return MESSAGES["ServerReadyResponse"](ready=is_ready(service))


async def _server_metadata(_service: Service, _request: Message, _until: float) -> Message:
    return MESSAGES["ServerMetadataResponse"](**server_metadata())


def _parsed(request_class: Any, raw: bytes) -> Message:
    try:
        return request_class.FromString(raw)
    except DecodeError as error:
        raise Failure(400, f"the message is no {request_class.DESCRIPTOR.name}") from error


def _headers(metadata: Iterable[tuple[str, str | bytes]]) -> dict[bytes, bytes]:
    return {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in metadata}


async def _abort(context: aio.ServicerContext, failure: Failure) -> None:
    """Ends a call with a status; its details travel in a header, so that they have a length to keep to."""
    details = failure.message
    for at, problem in enumerate(failure.problems):
        line = f"; {problem}"
        if len(details) + len(line) > _LONGEST_DETAILS:
            details += f"; {len(failure.problems) - at} more problems"
            break
        details += line
    if failure.next_step:
        details += f"; next: {failure.next_step}"
    trailing = tuple(
        (name.decode(), value.decode("latin-1")) for name, value in failure.headers if name == b"retry-after"
    )
    await context.abort(_STATUS.get(failure.status, StatusCode.INVALID_ARGUMENT), details, trailing)


# --- tensors --------------------------------------------------------------------------------------------------------


def _tensors(request: Message) -> list[Tensor]:
    """The tensors of a request, raw or typed. Raises Failure 400 with all problems."""
    problems: list[Problem] = []
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        wanted = f"{len(request.inputs)}, one for each input"
        problems.append(Problem(f"{len(raw)} tensors", expected=wanted, where="raw_input_contents"))
    tensors: list[Tensor | None] = []
    for at, one in enumerate(request.inputs):
        if len(problems) >= _MOST_PROBLEMS:
            break
        head = checked_head(one.name, one.datatype, one.shape, problems)
        if raw:
            if one.contents.ByteSize():
                wanted = "contents of every input, or raw_input_contents for all"
                problems.append(Problem("contents beside raw_input_contents", expected=wanted, where=path(one.name)))
            if head is not None and at < len(raw):
                tensors.append(from_bytes(head, raw[at], problems))
        elif head is not None and head.datatype.name in _CONTENTS:
            tensors.append(from_values(head, list(getattr(one.contents, _CONTENTS[head.datatype.name])), problems))
        elif head is not None:
            problems.append(Problem(f"{one.datatype} as contents", expected="raw_input_contents", where=path(one.name)))
    if problems:
        raise Failure(400, "the request's tensors are not as they say", problems=problems)
    return [tensor for tensor in tensors if tensor is not None]


def _write(answer: Message, outputs: Sequence[Output], *, raw: bool) -> None:
    for one in outputs:
        tensor = answer.outputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        if raw:
            answer.raw_output_contents.append(one.as_bytes())
        elif one.datatype == "BYTES":
            tensor.contents.bytes_contents.extend(text.encode() for text in one.data)
        else:
            tensor.contents.fp64_contents.extend(one.data)
