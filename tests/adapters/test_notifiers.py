"""Messages leave through apprise to real receivers; failures are told; no address is in any log, error or name."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from roadworthy.adapters.notifiers import AppriseNotifier, DeclaredNotifier, channel_name
from roadworthy.errors import RoadworthyError, UsageError
from roadworthy.testing import check_notifier

SECRET = "hunter2-token"  # noqa: S105 - of the test's own receiver


class Webhook:
    """A receiver on a free port: ``came`` are (path, headers, payload), ``status`` is what it answers."""

    def __init__(self) -> None:
        self.came: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                payload = json.loads(self.rfile.read(length))
                outer.came.append((self.path, dict(self.headers), payload))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                """Nothing on standard error."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def address(self) -> str:
        return f"json://ann:{SECRET}@127.0.0.1:{self.port}/hooks/{SECRET}"

    def texts(self) -> list[str]:
        return ["\n".join([headers["Idempotency-Key"], *map(str, load.values())]) for _, headers, load in self.came]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_webhook_conforms(webhook: Webhook) -> None:
    check_notifier(
        lambda: AppriseNotifier(webhook.address()),
        webhook.texts,
        unreachable=lambda: AppriseNotifier(f"json://ann:{SECRET}@127.0.0.1:{closed_port()}/{SECRET}"),
        secrets=[SECRET],
    )


def test_a_webhook_gets_the_key_as_header_field_and_last_line(webhook: Webhook) -> None:
    AppriseNotifier(webhook.address()).notify("rw-7", "title", "first line\nsecond")
    ((path, headers, payload),) = webhook.came
    assert path == f"/hooks/{SECRET}"
    assert (headers["Idempotency-Key"], payload["idempotency_key"]) == ("rw-7", "rw-7")
    assert (payload["title"], payload["message"]) == ("title", "first line\nsecond\n\nkey rw-7")


def test_what_the_service_refuses_is_told_with_its_code_and_nothing_else(webhook: Webhook) -> None:
    webhook.status = 503
    with pytest.raises(RoadworthyError) as caught:
        AppriseNotifier(webhook.address()).notify("rw-7", "title", "body")
    assert str(caught.value) == "json answered 503"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What an application logs that asks for everything."""
    root, text = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.setLevel(level)
    root.removeHandler(handler)


def test_no_address_reaches_a_log(webhook: Webhook, logged: io.StringIO) -> None:
    logging.getLogger("urllib3").debug("this is heard")
    notifier = AppriseNotifier(webhook.address())
    notifier.notify("rw-7", "title", "body")
    webhook.status = 500
    with pytest.raises(RoadworthyError):
        notifier.notify("rw-8", "title", "body")
    assert len(webhook.came) == 2
    assert "this is heard" in logged.getvalue()
    assert SECRET not in logged.getvalue()


@pytest.mark.parametrize("address", ["nonsense://x-secret", "slack://x-secret", "mailto://", "json://"])
def test_an_address_that_no_service_answers_to_is_refused_and_not_quoted(address: str) -> None:
    with pytest.raises(UsageError, match="no address that apprise can use") as caught:
        AppriseNotifier(address, where="[alerts] notify, address 2")
    assert "secret" not in str(caught.value)
    assert "address 2" in str(caught.value)


def test_what_the_environment_gives_is_put_in_with_the_first_message(webhook: Webhook) -> None:
    environment: dict[str, str] = {}
    notifier = DeclaredNotifier("${HOOK}", environment)
    with pytest.raises(UsageError, match=r"\$\{HOOK\} is not set"):
        notifier.notify("rw-1", "title", "body")
    environment["HOOK"] = webhook.address()
    notifier.notify("rw-1", "title", "body")
    part = DeclaredNotifier(f"json://ann:${{WORD}}@127.0.0.1:{webhook.port}/", {"WORD": SECRET})
    part.notify("rw-2", "title", "body")
    assert len(webhook.came) == 2


def test_the_name_of_a_channel_has_no_secret() -> None:
    assert channel_name(f"slack://{SECRET}/b/c", "scrypt:0123456789") == "slack 012345"


def test_mail_comes_in_with_the_key(mailbox: Mailbox) -> None:
    address = (
        f"mailto://127.0.0.1:{mailbox.port}?smtp=127.0.0.1&mode=insecure&from=rw@clicks.example&to=ann@clicks.example"
    )
    AppriseNotifier(address).notify("rw-9", "[page] clicks: accuracy < 0.80", "Alert 1: a <b> & “c”\nsecond")
    (mail,) = [message_from_bytes(raw, policy=policy.default) for raw in mailbox.came]
    assert mail["Subject"] == "[page] clicks: accuracy < 0.80"
    assert mail["Idempotency-Key"] == "rw-9"
    body = mail.get_body(("plain",))
    assert body is not None
    assert "Alert 1: a <b> & “c”\nsecond" in body.get_content().replace("\r\n", "\n")
    assert "key rw-9" in body.get_content()


class Mailbox:
    """A receiver of mail on a free port that speaks as much SMTP as a client needs."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                self._converse(stream)

    def _converse(self, stream: Any) -> None:
        def say(line: bytes) -> None:
            stream.write(line + b"\r\n")
            stream.flush()

        say(b"220 here")
        for line in stream:
            word = line.split()[0].upper()
            if word == b"DATA":
                say(b"354 go on")
                lines = iter(stream.readline, b".\r\n")
                self.came.append(b"".join(one.removeprefix(b".") if one.startswith(b"..") else one for one in lines))
            say(b"221 bye" if word == b"QUIT" else b"250 ok")
            if word == b"QUIT":
                return


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.listening.close()


def test_a_declared_channel_costs_nothing_until_it_is_used() -> None:
    code = "import sys, roadworthy.adapters.notifiers as n; n.DeclaredNotifier('json://h')"
    code += "; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_picture_arrives_as_an_attachment(webhook: Webhook) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
    notifier = DeclaredNotifier(webhook.address(), {})
    assert notifier.takes_pictures()
    notifier.notify_with("rw-1", "title", "body", {"alert-7.png": png})
    ((_, headers, load),) = webhook.came
    (attached,) = load["attachments"]
    assert headers["Idempotency-Key"] == "rw-1"
    assert (attached["filename"], attached["mimetype"]) == ("alert-7.png", "image/png")
    assert base64.b64decode(attached["base64"]) == png


def test_a_picture_is_refused_like_any_message(webhook: Webhook) -> None:
    webhook.status = 413
    with pytest.raises(RoadworthyError, match="answered 413"):
        DeclaredNotifier(webhook.address(), {}).notify_with("rw-1", "title", "body", {"alert-7.png": b"\x89PNG"})
    assert not DeclaredNotifier("syslog://", {}).takes_pictures()
