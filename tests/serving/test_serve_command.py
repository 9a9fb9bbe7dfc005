"""``roadworthy serve``: it starts or says why not, ends without dropping a request, and keeps its workers alive."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from roadworthy import api, assembly
from roadworthy.adapters.listening import bind_unix, is_loopback
from roadworthy.adapters.prediction_log import PredictionLog, read_feedback, read_log
from roadworthy.api.serving.board import Board, Said
from roadworthy.api.serving.durable import DurableService
from roadworthy.api.serving.following import Follower
from roadworthy.errors import RegistryError, RoadworthyError, StorageError, UnknownName, UsageError
from roadworthy.serving.calls import Failure
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.predicting import answered

Start = Callable[..., Any]
Post = Callable[..., bytes]
ROW = {"a": 1.0, "b": 0.2, "c": 0.0}


def get(address: str, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    host, _, port = address.partition("//")[2].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ask(address: str, **headers: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{address}/predict",
        json.dumps({"row": ROW}).encode(),
        {"content-type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def never(found: object) -> None:
    """For a server that must not start."""
    raise AssertionError(found)


def eventually(true: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


# --- it starts, or says why not ------------------------------------------------------------------------------------


def test_one_line_with_the_real_port_once_it_is_ready(pair: Path, serving: Start) -> None:
    server = serving(pair)
    assert server.said == {
        "address": f"http://127.0.0.1:{server.port}", "grpc": "", "version": "pair-1", "workers": 1,
        "pid": server.process.pid,
    }  # fmt: skip
    assert server.port > 0
    status, found = ask(server.address)
    assert (status, found["version"]) == (200, "pair-1")
    assert get(server.address, "/readyz")[0] == 200
    assert server.end() == 0
    assert server.process.stdout.read() == ""
    assert server.errors.read_text() == ""


def test_what_a_person_reads(pair: Path) -> None:
    words = ["serve", "-p", str(pair), "--port", "0", "--grace", "0", "--log", "off", "-v", "2"]
    with subprocess.Popen([sys.executable, "-m", "roadworthy", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("pair-2 is served at http://127.0.0.1:")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("more", "error", "told"),
    [
        ({"version": "7"}, RegistryError, "no version 7"),
        ({"version": "newest"}, UnknownName, "unknown version 'newest'"),
        ({"workers": 0, "grace_s": -1}, UsageError, "--workers: 0; expected 1 to 256"),
        ({"tls_cert": "nowhere.pem"}, UsageError, "--tls-key: not given"),
        ({"log": "sometimes"}, UnknownName, "unknown log"),
        ({"host": "203.0.113.7"}, UsageError, "203.0.113.7"),
        ({"port": 70_000}, UsageError, "70000 is no port"),
        ({"host": "0.0.0.0"}, UsageError, "roadworthy key create"),  # noqa: S104 - it is refused
    ],
)
def test_what_cannot_work_is_one_clear_error(
    pair: Path, more: dict[str, Any], error: type[RoadworthyError], told: str
) -> None:
    with pytest.raises(error, match=re.escape(told)) as caught:
        api.serve(pair, **{"port": 0, "ready": never, **more})
    assert caught.value.exit_code == 2
    assert caught.value.next_step


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_a_champion_the_next_command_is_named(
    pair: Path, command: Callable[..., subprocess.CompletedProcess[str]], workers: str
) -> None:
    (pair / ".roadworthy" / "registry.db").unlink()
    done = command("serve", "--port", "0", "--workers", workers, cwd=pair)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pair has no champion yet" in done.stderr
    assert "roadworthy promote VERSION" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use_is_refused_also_where_workers_share_ports(pair: Path, workers: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken,
        pytest.raises(UsageError, match="is in use") as caught,
    ):
        api.serve(pair, port=taken.getsockname()[1], workers=workers, ready=never)
    assert "--port 0" in caught.value.next_step


def test_a_stale_unix_socket_is_replaced_a_served_one_and_any_other_file_are_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    stale = bind_unix(path)
    stale.close()
    again = bind_unix(path)
    again.listen()
    with pytest.raises(UsageError, match="another server listens"):
        bind_unix(path)
    again.close()
    other = tmp_path / "precious"
    other.write_text("data")
    with pytest.raises(UsageError, match="another kind"):
        bind_unix(other)
    assert other.read_text() == "data"
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False), ("127.0.0.1.example.org", False)],  # noqa: S104 - told apart
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_a_unix_socket_and_tls(pair: Path, serving: Start, closed_loop: Any, post: Post, tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    server = serving(pair, "--uds", str(path), "--workers", "2")
    assert server.address == f"unix:{path}"
    load = closed_loop(server.address, [post("/predict", {"row": ROW})], 2)

    async def few() -> None:
        task = asyncio.create_task(load.run())
        await asyncio.sleep(0.3)
        load.stopped = True
        await task

    asyncio.run(few())
    assert load.counted.statuses() == {200}
    assert server.end() == 0
    assert not path.exists()

    cert, key = certificate(tmp_path)
    server = serving(pair, "--tls-cert", str(cert), "--tls-key", str(key))
    assert server.address.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(cert))
    with urllib.request.urlopen(f"https://localhost:{server.port}/readyz", context=context) as answer:
        assert answer.status == 200
    with pytest.raises(UsageError, match="certificate and its key"):
        api.serve(pair, port=0, tls_cert=key, tls_key=cert, ready=never)


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


# --- it ends without dropping a request ----------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "grace"), [("1", "0.4"), ("1", "0"), ("2", "0.4")])
def test_sigterm_under_load_drops_no_request(
    pair: Path, serving: Start, closed_loop: Any, post: Post, workers: str, grace: str
) -> None:
    server = serving(pair, "--workers", workers, "--grace", grace)
    load = closed_loop(server.address, [post("/predict", {"row": ROW})], 12)

    async def ended() -> tuple[float, list[int]]:
        task = asyncio.create_task(load.run())
        await asyncio.sleep(0.4)
        told = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.15)
        ready = [await asyncio.to_thread(lambda: get(server.address, "/readyz")[0])] if grace != "0" else []
        await asyncio.wait_for(task, 20)
        return told, ready

    told, ready = asyncio.run(ended())
    assert load.counted.dropped == []
    assert load.counted.statuses() == {200}
    assert ready in ([], [503])
    assert load.counted.refused == 12  # everybody went on until nobody listened any more
    later = [at for at, _, _, _ in load.counted.answers if at > told + float(grace)]
    assert later, "it served until the end of its grace time"
    assert server.process.wait(20) == 0


def test_a_request_that_is_being_sent_is_waited_for(pair: Path, serving: Start, post: Post) -> None:
    server = serving(pair)
    request = post("/predict", {"row": ROW})
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as slow:
        slow.sendall(request[:-10])
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1.2)
        slow.sendall(request[-10:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
    assert server.process.wait(10) == 0


def test_what_was_answered_is_in_the_log_after_the_end(pair: Path, serving: Start) -> None:
    server = serving(pair)
    asked = [ask(server.address)[1]["id"] for _ in range(20)]
    assert server.end() == 0
    lake = assembly.open_project(pair).settings.lake
    assert sorted(read_log(lake).collect().get_column("id")) == sorted(asked)
    assert not list(lake.rglob("*.spool")), "it was closed: what is left open by a kill is a spool"


def test_durable_every_answer_is_on_the_disk_before_it_leaves(pair: Path, serving: Start) -> None:
    server = serving(pair, "--log", "durable")
    asked = [ask(server.address)[1]["id"] for _ in range(5)]
    server.process.kill()
    server.process.wait(10)
    kept = read_log(assembly.open_project(pair).settings.lake).collect()
    assert sorted(kept.get_column("id")) == sorted(asked)


def test_durable_the_answer_waits_for_the_disk_and_says_when_it_refuses(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, _ = Follower(assembly.open_project(pair), "1", local=True).start()
    log = PredictionLog(tmp_path / "lake", durable=True)
    flushed = log.flushed

    async def asked() -> None:
        disk = asyncio.Event()

        async def slowly(run: object = None) -> None:
            await disk.wait()
            await flushed(run)

        async def refused(_run: object = None) -> None:
            raise StorageError("the disk is full")

        service = DurableService("pair", chain, log=log, metrics=Metrics())
        rows, until = chain.reader.take([ROW]), time.perf_counter() + 9
        monkeypatch.setattr(log, "flushed", slowly)
        answer = asyncio.create_task(answered(service, service.line, rows, until))
        await asyncio.sleep(0.2)
        assert not answer.done()
        disk.set()
        assert (await answer).run.title == "pair-1"
        monkeypatch.setattr(log, "flushed", refused)
        with pytest.raises(Failure, match="could not be written to the log") as caught:
            await answered(service, service.line, rows, until)
        assert caught.value.status == 503

    asyncio.run(asked())
    log.close()


def test_the_other_protocols_are_in_front_of_the_same_service(pair: Path, serving: Start) -> None:
    server = serving(pair, "--grpc-port", "0")
    assert get(server.address, "/v2/models/pair")[1]["versions"] == ["pair-1"]
    assert "/predict" in get(server.address, "/openapi.json")[1]["paths"]
    id_ = ask(server.address)[1]["id"]
    label = json.dumps({"id": id_, "label": "1"}).encode()
    kind = {"content-type": "application/json"}
    request = urllib.request.Request(f"{server.address}/feedback", label, kind)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        assert answer.status == 202
    grpc = pytest.importorskip("grpc")
    with grpc.insecure_channel(server.said["grpc"]) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
    assert live == b"\x08\x01"
    assert server.end() == 0


# --- several workers -----------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_comes_back_and_the_others_go_on(pair: Path, serving: Start) -> None:
    server = serving(pair, "--workers", "2", "--log", "off")
    before = server.workers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    assert eventually(lambda: "worker 0 is being started" in warnings(server.address), 5)
    for _ in range(20):
        assert ask(server.address)[0] == 200
    assert eventually(lambda: not warnings(server.address))
    assert before[1] in server.workers()
    assert len(server.workers()) == 2
    rows = [line for line in text(server.address, "/metrics").splitlines() if line.startswith("roadworthy_rows_total")]
    assert rows == ["roadworthy_rows_total 20"]
    assert "was ended by SIGKILL" in server.errors.read_text()
    assert server.end() == 0


def warnings(address: str) -> list[str]:
    """What /readyz warns of; where the worker died with the question in its hand, that it did."""
    try:
        found: list[str] = get(address, "/readyz")[1].get("warnings", [])
    except ConnectionError:
        return ["it died"]
    return found


def text(address: str, path: str) -> str:
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as answer:  # noqa: S310 - our own server
        found: str = answer.read().decode()
        return found


def test_a_worker_whose_event_loop_hangs_is_killed(pair: Path, serving: Start) -> None:
    code = f"""
from roadworthy import serve
import msgspec
serve({str(pair)!r}, port=0, workers=2, log="off", grace_s=0, hung_s=1.5,
      ready=lambda found: print(msgspec.json.encode(found).decode(), flush=True))
"""
    server = serving(pair, code=code)
    hung, other = server.workers()
    os.kill(hung, signal.SIGSTOP)
    assert eventually(lambda: hung not in server.workers())
    assert eventually(lambda: len(server.workers()) == 2)
    assert other in server.workers()
    assert "did not answer for 2 s and is killed" in server.errors.read_text()
    assert server.end() == 0


def test_workers_that_die_again_and_again_end_the_server_with_the_reason(pair: Path, serving: Start) -> None:
    code = f"""
import sys
from roadworthy.api.serving import supervisor
from roadworthy.cli import main
supervisor._MOST_DEATHS = 2
sys.argv = ["roadworthy", "serve", "-p", {str(pair)!r}, "--port", "0", "--workers", "2", "--log", "off", "--json"]
main()
"""
    server = serving(pair, code=code)
    lake = assembly.open_project(pair).settings.lake
    shutil.move(lake, lake.with_name("elsewhere"))
    one, other = server.workers()
    os.kill(one, signal.SIGKILL)
    assert eventually(lambda: server.errors.read_text().count("ended: ") >= 2)
    assert server.process.poll() is None, "the other one serves on"
    os.kill(other, signal.SIGKILL)
    assert server.process.wait(30) == 70
    told = server.errors.read_text()
    assert "times in a row as soon as it was started" in told
    assert "the last time: ended: " in told


def test_workers_end_when_their_supervisor_is_killed(pair: Path, serving: Start) -> None:
    server = serving(pair, "--workers", "2", "--log", "off")
    orphans = server.workers()
    words = Path(f"/proc/{orphans[0]}/cmdline").read_text().split("\0")
    folder = Path(json.loads(words[3])["folder"])
    assert folder.exists()
    server.process.kill()
    server.process.wait(5)
    assert eventually(lambda: not any(Path(f"/proc/{one}").exists() for one in orphans))
    assert not folder.exists(), "the last ones clear up"


def test_whatever_workers_say_of_themselves_fits_and_is_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "board").open("w+b") as file:
        board = Board(file.fileno(), 3)
        assert board.all() == [None, None, None]
        long = tuple("\x01\U0001f600" * 1_000 for _ in range(9))
        board.tell(1, Said(pid=1, state="ready", version="\x02" * 1_000, warnings=long))
        board.tell(2, Said(pid=2, state="ready", version="v"))
        first, second, third = Board(file.fileno(), 3).all()
        assert first is None
        assert second is not None
        assert [len(text) for text in second.warnings] == [300] * 6
        assert third == Said(pid=2, state="ready", version="v")
        board.tell(2, None)
        assert board.all()[2] is None


# --- who may ask ---------------------------------------------------------------------------------------------------


def test_a_running_server_follows_its_keys(pair: Path, serving: Start) -> None:
    server = serving(pair, "--log", "off")
    assert ask(server.address)[0] == 200
    made = api.key("create", "ci", project=pair)
    assert eventually(lambda: ask(server.address)[0] == 401, 5)
    assert ask(server.address, authorization=f"Bearer {made.secret}")[0] == 200
    assert ask(server.address, authorization=f"Bearer {made.secret[:-1]}x")[0] == 401
    sent = {"content-type": "application/json", "authorization": f"Bearer {made.secret}"}
    label = urllib.request.Request(f"{server.address}/feedback", b'{"id": "a", "label": "1"}', sent)  # noqa: S310 - ours
    with urllib.request.urlopen(label, timeout=10):  # noqa: S310 - as above
        assert read_feedback(assembly.open_project(pair).settings.lake).latest["who"].to_list() == ["ci"]
    api.key("revoke", made.keys[0].id, project=pair)
    assert eventually(lambda: ask(server.address, authorization=f"Bearer {made.secret}")[0] == 401, 5)
    assert ask(server.address)[0] == 401, "taking the last key away lets nobody in"
    assert get(server.address, "/readyz")[0] == 200


def test_beyond_this_machine_only_with_a_key(pair: Path, serving: Start) -> None:
    made = api.key("create", "ci", project=pair)
    server = serving(pair, "--host", "0.0.0.0", "--log", "off")  # noqa: S104 - it asks for a key
    address = f"http://127.0.0.1:{server.port}"
    assert ask(address)[0] == 401
    assert ask(address, **{"x-api-key": made.secret})[0] == 200
    assert server.end() == 0
    api.key("revoke", made.keys[0].id, project=pair)
    with pytest.raises(UsageError, match="needs an API key"):
        api.serve(pair, host="0.0.0.0", port=0, ready=never)  # noqa: S104 - it is refused


# --- the head of a request -----------------------------------------------------------------------------------------


def test_a_large_body_that_is_refused_gets_its_answer(pair: Path, serving: Start) -> None:
    server = serving(pair, "--log", "off")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/predict", b"[" * (40 << 20), {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 413
    connection.close()
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000)
        assert endless.recv(100).startswith(b"HTTP/1.1 431")
    assert ask(server.address)[0] == 200


def test_a_head_that_does_not_come_is_not_waited_for(pair: Path, serving: Start) -> None:
    code = f"""
import msgspec
from roadworthy import serve
from roadworthy.adapters import http_server
http_server.HEAD_S, http_server._SWEEP_S = 0.6, 0.1
serve({str(pair)!r}, port=0, log="off", grace_s=0,
      ready=lambda found: print(msgspec.json.encode(found).decode(), flush=True))
"""
    server = serving(pair, code=code)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=15) as silent,
        socket.create_connection(("127.0.0.1", server.port), timeout=15) as slow,
        closing(http.client.HTTPConnection("127.0.0.1", server.port)) as idle,
    ):
        idle.request("GET", "/livez")
        assert idle.getresponse().read() == b'{"live":true}'
        used = idle.sock
        slow.sendall(b"GET /livez HTTP/1.1\r\nx:")
        for _ in range(3):
            time.sleep(0.1)
            slow.sendall(b"y")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        assert silent.recv(1000).startswith(b"HTTP/1.1 408")
        idle.request("GET", "/livez")
        assert idle.getresponse().read() == b'{"live":true}'
        assert idle.sock is used, "who has asked before may wait between requests"


def test_a_worker_that_is_ended_alone_leaves_the_socket_to_the_others(
    pair: Path, serving: Start, closed_loop: Any, post: Post, tmp_path: Path
) -> None:
    path = tmp_path / "m.sock"
    server = serving(pair, "--uds", str(path), "--workers", "2", "--log", "off")
    load = closed_loop(server.address, [post("/predict", {"row": ROW})], 4)

    async def one_ended() -> None:
        task = asyncio.create_task(load.run())
        await asyncio.sleep(0.2)
        os.kill(server.workers()[0], signal.SIGTERM)
        await asyncio.sleep(1.5)
        load.stopped = True
        await task

    asyncio.run(one_ended())
    assert (load.counted.dropped, load.counted.refused, load.counted.statuses()) == ([], 0, {200})
    assert path.is_socket()
    assert eventually(lambda: len(server.workers()) == 2)
    assert server.end() == 0


def test_importing_the_command_costs_nothing() -> None:
    heavy = "{'polars', 'onnxruntime', 'sqlalchemy', 'uvloop'}"
    loaded = f"import roadworthy.cli, roadworthy.api.serving, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_server_keeps_nothing_of_the_command_that_began_it(pair: Path, serving: Start) -> None:
    server = serving(pair)
    assert "pydantic" not in Path(f"/proc/{server.process.pid}/maps").read_text()
    assert server.end() == 0
