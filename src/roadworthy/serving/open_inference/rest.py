"""The protocol over HTTP: its paths, each with and without a slash at its end.

In: ``Call``s of the HTTP edge. Out: ``Reply``s. Laws: whether the server lives and is ready is told to everyone, all
else to those who have a key; a model or version that is not in service is a 404, another method a 405.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from roadworthy.serving.calls import Call, Failure, Reply, Route, json_reply
from roadworthy.serving.open_inference.bodies import Answer, read_body, write_body
from roadworthy.serving.open_inference.models import Model, Models, is_ready, server_metadata
from roadworthy.serving.open_inference.outputs import notes
from roadworthy.serving.service import Service

__all__ = ["OpenInference"]

_GET = ("GET", "HEAD")
_POST = ("POST",)
_START = "/v2/models/"


class _Every(tuple[str, ...]):
    """Of a model's paths each takes methods of its own, and refuses all others itself."""

    __slots__ = ()

    def __contains__(self, method: object) -> bool:
        return True


class OpenInference:
    """The protocol's part of a ``Web``: ``Web(routes=own.routes(), prefixes=own.prefixes())``."""

    def __init__(self) -> None:
        self._models = Models()

    def routes(self) -> dict[str, Route]:
        """The exact paths."""
        live = Route("other", _GET, _live, open=True, starting=_health(live=True, ready=False, status=200))
        ready = Route("other", _GET, _ready, open=True, starting=_health(live=True, ready=False, status=503))
        server = Route("other", _GET, _server)
        found = {"/v2/health/live": live, "/v2/health/ready": ready, "/v2": server}
        return {**found, **{f"{path}/": route for path, route in found.items()}}

    def prefixes(self) -> dict[str, Route]:
        """The beginnings of paths: everything about a model."""
        return {_START: Route("infer", _Every(), self._model)}

    def _model(self, service: Service, call: Call) -> Reply | Coroutine[Any, Any, Reply]:
        name, version, verb = _parted(call.path)
        allowed = _POST if verb == "infer" else _GET
        if call.method not in allowed:
            headers = ((b"allow", ", ".join(allowed).encode()),)
            words = ", ".join(allowed)
            raise Failure(405, f"this path takes {words}", headers=headers, next_step=f"send {words}")
        model = self._models.find(service, name, version)
        if verb == "infer":
            return _infer(service, call, model)
        return _model_ready(service, model) if verb == "ready" else json_reply(_metadata(model))


async def _infer(service: Service, call: Call, model: Model) -> Reply:
    asked = read_body(call, model.inputs, model.outputs)
    given = await model.answer(service, asked.tensors, call.until)
    outputs = model.outputs.tensors(given, tuple(asked.outputs))
    answer = Answer(asked.id or given.id, model.name, given.run.title, notes(given), outputs)
    return write_body(answer, asked.outputs)


def _parted(path: str) -> tuple[str, str, str]:
    """Model, version and what is asked (``ready``, ``infer`` or nothing for its metadata); Failure 404.

    >>> _parted("/v2/models/m/versions/2/infer/"), _parted("/v2/models/m")
    (('m', '2', 'infer'), ('m', '', ''))
    """
    words = path.removeprefix(_START).removesuffix("/").split("/")
    name, rest = words[0], words[1:]
    version = ""
    if len(rest) > 1 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    if not name or len(rest) > 1 or (rest and rest[0] not in {"ready", "infer"}):
        known = f"{_START}MODEL[/versions/VERSION][/ready or /infer]"
        raise Failure(404, "there is nothing at this path", next_step=f"paths: {known}")
    return name, version, rest[0] if rest else ""


def _health(*, live: bool, ready: bool, status: int) -> Reply:
    """Both words for both questions: clients look for one or the other."""
    return json_reply({"live": live, "ready": ready}, status)


def _live(service: Service, _call: Call) -> Reply:
    return _health(live=True, ready=is_ready(service), status=200)


def _ready(service: Service, _call: Call) -> Reply:
    ready = is_ready(service)
    return _health(live=True, ready=ready, status=200 if ready else 503)


def _server(_service: Service, _call: Call) -> Reply:
    return json_reply(server_metadata())


def _model_ready(service: Service, model: Model) -> Reply:
    ready = is_ready(service)
    return json_reply({"name": model.name, "ready": ready}, 200 if ready else 503)


def _metadata(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": model.platform,
        "inputs": model.input_metadata(),
        "outputs": model.output_metadata(),
        "properties": model.properties(),
    }
