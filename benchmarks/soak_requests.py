"""The requests of a soak: whole HTTP/1.1 messages of every kind that a server has, sound ones and wrong ones.

In: a server, some rows, a seed. Out: the next request with the statuses that answer it properly. Law: the same seed
gives the same kinds in the same order.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

__all__ = ["Ask", "Mixture", "answered", "plain"]

SHARES = {
    "predict, 1 row": 45,
    "predict, 100 rows": 8,
    "V2, JSON": 10,
    "V2, binary": 10,
    "feedback by id": 8,
    "feedback by entity": 4,
    "wrong": 10,
    "metrics": 2,
    "readyz": 3,
}
"""How often each kind comes, of a hundred; ``events`` take another ten where the server has them."""

_REMEMBERED = 5_000
_KEYS = 500
_NOT_FOUND = 404
_PACKED: Mapping[str, Callable[[Any], bytes]] = {
    "FP64": lambda value: struct.pack("<d", value),
    "INT64": lambda value: struct.pack("<q", value),
    "BOOL": lambda value: struct.pack("<?", value),
    "BYTES": lambda value: struct.pack("<I", len(value.encode())) + value.encode(),
}


class Ask(NamedTuple):
    """A request, and the statuses that answer it properly."""

    kind: str
    request: bytes
    expected: frozenset[int]


class Mixture:
    """Requests of all kinds, drawn by their shares. ``said`` is what a reader should know of them."""

    def __init__(self, port: int, rows: Sequence[dict[str, Any]], chance: random.Random) -> None:
        self._rows, self._chance = rows, chance
        self._ids: deque[str] = deque(maxlen=_REMEMBERED)
        self._inputs = _asked(port, "/v2/models/clicks")["inputs"]
        events = _status(port, "/events") != _NOT_FOUND
        self._makers: dict[str, Callable[[], Ask]] = {
            "predict, 1 row": lambda: self._predict("predict, 1 row", 1),
            "predict, 100 rows": lambda: self._predict("predict, 100 rows", 100),
            "V2, JSON": self._json_tensors,
            "V2, binary": self._binary_tensors,
            "feedback by id": self._by_id,
            "feedback by entity": self._by_entity,
            "wrong": self._wrong,
            "metrics": lambda: Ask("metrics", _get("/metrics"), frozenset({200})),
            "readyz": lambda: Ask("readyz", _get("/readyz"), frozenset({200})),
            "events": self._events,
        }
        shares = {**SHARES, **({"events": 10} if events else {})}
        self._kinds, self._weights = list(shares), list(shares.values())
        self.said = "Events are among the requests." if events else "This server takes no events."

    def next(self) -> Ask:
        """The next request."""
        (kind,) = self._chance.choices(self._kinds, self._weights)
        return self._makers[kind]()

    def one_row(self) -> Ask:
        """A prediction of one row."""
        return self._predict("predict, 1 row", 1)

    def known(self, id_: str) -> None:
        """A prediction that feedback may name."""
        self._ids.append(id_)

    def _row(self) -> dict[str, Any]:
        return dict(self._chance.choice(self._rows))

    def _predict(self, kind: str, rows: int) -> Ask:
        body = {"row": self._row()} if rows == 1 else {"rows": [self._row() for _ in range(rows)]}
        return Ask(kind, _post("/predict", json.dumps(body).encode()), frozenset({200}))

    def _json_tensors(self) -> Ask:
        row = self._row()
        tensors = [{**tensor, "shape": [1, 1], "data": [row[tensor["name"]]]} for tensor in self._inputs]
        body = json.dumps({"inputs": tensors}).encode()
        return Ask("V2, JSON", _post("/v2/models/clicks/infer", body), frozenset({200}))

    def _binary_tensors(self) -> Ask:
        row, blobs, tensors = self._row(), [], []
        for tensor in self._inputs:
            blob = _PACKED[tensor["datatype"]](row[tensor["name"]])
            blobs.append(blob)
            tensors.append({**tensor, "shape": [1, 1], "parameters": {"binary_data_size": len(blob)}})
        head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
        more = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
        return Ask("V2, binary", _post("/v2/models/clicks/infer", head + b"".join(blobs), more), frozenset({200}))

    def _by_id(self) -> Ask:
        """Most without a key; the others under one of some hundred keys, each of which always says the same."""
        key = self._chance.randrange(4 * _KEYS)
        if key < _KEYS:
            body, more = {"id": f"known-{key}", "label": str(key % 2)}, {"idempotency-key": f"key-{key}"}
        else:
            id_ = self._chance.choice(self._ids) if self._ids else "none yet"
            body, more = {"id": id_, "label": self._chance.choice("01"), "comment": "looked at"}, {}
        return Ask("feedback by id", _post("/feedback", json.dumps(body).encode(), more), frozenset({202}))

    def _by_entity(self) -> Ask:
        row = self._row()
        labels = [{"entity": row["user_id"], "time": row["timestamp"], "label": "1"}] * 3
        return Ask(
            "feedback by entity", _post("/feedback", json.dumps({"feedback": labels}).encode()), frozenset({202})
        )

    def _events(self) -> Ask:
        """What happened to an entity, in the columns of the contract."""
        row = self._row() | {"timestamp": datetime.now(UTC).isoformat()}
        return Ask("events", _post("/events", json.dumps({"row": row}).encode()), frozenset({200}))

    def _wrong(self) -> Ask:
        """One of many ways in which a request can be wrong; each is the caller's fault, and told so."""
        row = self._row()
        missing, unknown = {**row}, {**row, f"x{self._chance.randrange(10_000)}": 1}
        del missing["impressions"]
        sound = json.dumps({"row": row}).encode()
        made = self._chance.choice(
            (
                _post("/predict", json.dumps({"row": missing}).encode()),
                _post("/predict", json.dumps({"row": unknown}).encode()),
                _post("/predict", json.dumps({"row": {**row, "clicks": "many"}}).encode()),
                _post("/predict", json.dumps({"row": {**row, "position": 77}}).encode()),
                _post("/predict", json.dumps({"row": {**row, "device": f"d{self._chance.random()}"}}).encode()),
                _post("/predict", sound.replace(b'"impressions": ', b'"impressions": NaN, "y": ')),
                _post("/predict", sound[: self._chance.randrange(len(sound))]),
                _post("/predict", b"[" * 5_000),
                _post("/predict", sound, {"content-type": "text/plain"}),
                _post(
                    "/v2/models/clicks/infer",
                    b'{"inputs":[{"name":"device","shape":[3],"datatype":"BYTES","data":[]}]}',
                ),
                _post("/v2/models/clicks/infer", b"{}abc", {"inference-header-content-length": "2"}),
                _post(f"/v2/models/m{self._chance.randrange(10_000)}/infer", sound),
                _post("/feedback", b'{"id":"x","label":"maybe"}'),
                _get(f"/nowhere/{self._chance.randrange(10_000)}"),
            )
        )
        return Ask("wrong", made, frozenset({400, 404, 415, 422}))


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a caller writes it in JSON."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection ends with it. Raises IncompleteReadError where no answer comes."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length), b"connection: close" in head


def _post(path: str, body: bytes, more: Mapping[str, str] | None = None) -> bytes:
    headers = {"host": "x", "content-type": "application/json", "content-length": str(len(body)), **(more or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def _asked(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _status(port: int, path: str) -> int:
    """What an empty request is answered with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, "{}", {"content-type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()
