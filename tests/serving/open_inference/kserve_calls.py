"""Asks a running server with kserve's own client: ``kserve_calls.py PORT GRPC_PORT MODEL``, rows on standard input.

Runs in an environment of its own, since kserve does not fit beside this project's dependencies. Prints scores as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any

import numpy as np


async def refused(answer: Awaitable[Any]) -> str:
    """The words with which a client refuses."""
    try:
        await answer
    except Exception as error:  # noqa: BLE001 - every client has errors of its own
        return f"{error} {getattr(getattr(error, 'response', None), 'text', '')}"
    return ""


async def main(port: str, grpc_port: str, model: str) -> dict[str, Any]:
    from kserve import (  # noqa: PLC0415 - this file is also imported where there is none
        InferenceGRPCClient,
        InferenceRESTClient,
        InferInput,
        InferRequest,
        RESTConfig,
    )

    url = f"http://127.0.0.1:{port}"
    x = np.array(json.load(sys.stdin), dtype=np.float32)
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    found: dict[str, Any] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, model),
    }
    for name, binary in (("json", False), ("binary", True)):
        given = InferInput("x", list(x.shape), "FP32")
        given.set_data_from_numpy(x, binary_data=binary)
        answer = await client.infer(url, InferRequest(model, [given]), model_name=model)
        found[name] = answer.outputs[0].as_numpy().tolist()
    wrong = x.copy()
    wrong[1, 2] = np.nan
    bad = InferInput("x", list(x.shape), "FP32")
    bad.set_data_from_numpy(wrong, binary_data=True)
    faults = {"NaN": InferRequest(model, [bad]), "other model": InferRequest("other", [given])}
    for name, request in faults.items():
        found[name] = await refused(client.infer(url, request, model_name=request.model_name))
    await client.close()
    remote = InferenceGRPCClient(url=f"127.0.0.1:{grpc_port}")
    found["grpc ready"] = [await remote.is_server_live(), await remote.is_model_ready(model)]
    given = InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x, binary_data=True)
    answer = await remote.infer(InferRequest(model, [given]))
    found["grpc"] = answer.outputs[0].as_numpy().tolist()
    for name, request in faults.items():
        found[f"grpc {name}"] = await refused(remote.infer(request))
    await remote.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))  # noqa: T201 - to the test
