"""A page under a name of its own does not reach a server that answers without a key."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.serving.calls import Failure
from roadworthy.serving.hosts import Hosts

Start = Callable[..., Any]
LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=9)
FOREIGN = st.lists(LABELS, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"]))
PORTS = st.sampled_from(["", ":80", ":8080"])


@given(name=FOREIGN, port=PORTS)
def test_a_name_with_dots_is_a_strangers(name: str, port: str) -> None:
    with pytest.raises(Failure) as caught:
        Hosts(["127.0.0.1", "model.internal"]).admit(f"{name}{port}".encode())
    assert caught.value.status == 403
    assert caught.value.problems[0].where == "host"
    assert "--allow-host" in caught.value.next_step


@given(host=st.one_of(LABELS, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map("[{}]".format)), port=PORTS)
def test_addresses_and_names_without_dots_are_ours(host: str, port: str) -> None:
    Hosts().admit(f"{host}{port}".encode())


@given(name=FOREIGN, port=PORTS, dot=st.sampled_from(["", "."]))
def test_a_name_that_was_allowed_is_ours_however_it_is_written(name: str, port: str, dot: str) -> None:
    Hosts([name]).admit(f"{name.upper()}{dot}{port}".encode())


@given(host=st.binary(max_size=30))
def test_nothing_but_a_refusal_comes_of_any_bytes(host: bytes) -> None:
    ours = Hosts()
    for _ in range(2):
        try:
            ours.admit(host)
        except Failure as refused:
            assert refused.status == 403  # noqa: PT017 - any bytes may be refused, none may be a fault


def test_what_is_remembered_has_an_end() -> None:
    ours = Hosts()
    for at in range(1_000):
        ours.admit(f"name{at}".encode())
    assert len(ours._known) <= 64


def test_a_server_without_keys_answers_to_no_strangers_name(serving: Start, pair: Path) -> None:
    server = serving(pair, "--log", "off", "--allow-host", "model.example.org")
    wanted = {"evil.example": 403, "127.0.0.1.evil.example:80": 403, "localhost": 200, "web": 200}
    wanted |= {"model.example.org": 200, "[::1]:80": 200}
    found = {}
    for host in wanted:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/version", headers={"Host": host})
        found[host] = connection.getresponse().status
        connection.close()
    assert found == wanted
