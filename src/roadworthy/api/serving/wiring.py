"""What a worker is wired with beside its model: prediction log, feedback, and the protocols in front of it.

In: options, the project. Out: a service with its routes; a gRPC server. The only place that knows which there are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from roadworthy import assembly
from roadworthy.adapters.prediction_log import FeedbackStore, PredictionLog
from roadworthy.api.serving.durable import DurableService
from roadworthy.api.serving.entity_states import states_of
from roadworthy.api.serving.options import Options
from roadworthy.serving.calls import Route
from roadworthy.serving.chain import Chain
from roadworthy.serving.events import Events
from roadworthy.serving.feedback import feedback_handler
from roadworthy.serving.keys import Holder
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.open_inference.rest import OpenInference
from roadworthy.serving.openapi import openapi
from roadworthy.serving.service import NoLog, Service
from roadworthy.serving.web import Web

if TYPE_CHECKING:
    from roadworthy.serving.open_inference.grpc_server import GrpcServer

__all__ = ["Wired", "grpc_started", "wired"]


class Wired(NamedTuple):
    """A service, the routes in front of it, whom to ask for troubles, and what to close at the end."""

    service: Service
    routes: dict[str, Route]
    prefixes: dict[str, Route]
    troubles: tuple[Callable[[], str], ...]
    closes: tuple[Callable[[], None], ...]


def wired(
    options: Options, project: assembly.Project, chain: Chain, metrics: Metrics, worker: int, *, holder: Holder
) -> Wired:
    """Everything of one worker but its sockets; ``holder`` names who sent headers. Call it in a running event loop."""
    name, lake, label = project.spec.name, project.settings.lake, f"w{worker}"
    hasher = assembly.hasher_of(project)  # a model without personal columns needs none
    hash_one = None if hasher is None else hasher.hash_one
    labels = FeedbackStore(lake, worker=label, metrics=metrics)
    inference = OpenInference()
    states = states_of(project)
    events = Events(lambda: states.store)
    routes = {
        "/events": Route("events", ("POST",), events),
        "/feedback": Route("feedback", ("POST",), feedback_handler(labels, hash_personal=hash_one, holder=holder)),
        "/openapi.json": Route("other", ("GET", "HEAD"), openapi),
        **inference.routes(),
    }
    troubles: tuple[Callable[[], str], ...] = (labels.trouble, lambda: states.trouble(service.line.chain.engines))
    closes: tuple[Callable[[], None], ...] = (labels.close, events.close, states.close)
    if options.log == "off":
        service = Service(name, chain, log=NoLog(), metrics=metrics)
        return Wired(service, routes, inference.prefixes(), troubles, closes)
    durable = options.log == "durable"
    log = PredictionLog(lake, worker=label, hash_personal=hash_one, durable=durable, metrics=metrics)
    make = DurableService if durable else Service
    service = make(name, chain, log=log, metrics=metrics)
    return Wired(service, routes, inference.prefixes(), (log.trouble, *troubles), (log.close, *closes))


async def grpc_started(options: Options, web: Web) -> GrpcServer | None:
    """The gRPC server, listening, if one was asked for. Raises MissingExtra where its library is not there."""
    if options.grpc_port is None:
        return None
    # an extra, and memory that only those pay who ask for it
    from roadworthy.serving.open_inference.grpc_server import GrpcServer  # noqa: PLC0415 - as said above

    credentials = None
    if options.tls_cert:
        import grpc  # noqa: PLC0415 - as said above

        pair = (Path(options.tls_key).read_bytes(), Path(options.tls_cert).read_bytes())
        credentials = grpc.ssl_server_credentials([pair])
    server = GrpcServer(web)
    host = f"[{options.host.strip('[]')}]" if ":" in options.host else options.host
    await server.start(f"{host}:{options.grpc_port}", credentials=credentials, shared=True)
    return server
