"""A server of its own for tests: ``python served.py FOLDER`` serves a finished project on free ports of loopback.

Prints its ports as one line of JSON once it is ready, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

from roadworthy import assembly
from roadworthy.adapters.http_server import HttpServer
from roadworthy.adapters.keys import load_keys
from roadworthy.serving.chain import Chain
from roadworthy.serving.engine import Engine
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.open_inference.grpc_server import GrpcServer
from roadworthy.serving.open_inference.rest import OpenInference
from roadworthy.serving.service import NoLog, Service, State
from roadworthy.serving.web import Web


async def main(folder: Path) -> None:
    project = assembly.open_project(folder)
    with assembly.opened_bundle(project, "latest") as (version, bundle):
        hasher = load_keys(project.folder).hasher
        engine = Engine(bundle, version.title, hash_personal=hasher.hash, hashing_key=hasher.fingerprint)
    protocol = OpenInference()
    web = Web(routes=protocol.routes(), prefixes=protocol.prefixes())
    web.service = Service(project.spec.name, Chain([engine]), log=NoLog(), metrics=Metrics())
    web.service.state = State.READY
    remote = GrpcServer(web)
    grpc_port = await remote.start("127.0.0.1:0")
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = HttpServer(web)
    await server.start(listening)
    print(json.dumps({"port": port, "grpc_port": grpc_port}), flush=True)  # noqa: T201 - to the test
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(1.0)
    await remote.stop(1.0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
