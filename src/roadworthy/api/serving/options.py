"""How a server is asked for: typed, checked before anything heavy is loaded, and handed on to workers as JSON.

In: what a person asks for. Out: ``Options``; a TLS context. Law: what cannot work is refused here, all at once.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec

from roadworthy.adapters.listening import is_loopback
from roadworthy.errors import Problem, UnknownName, UsageError

__all__ = ["LOGS", "Options", "tls_context"]

LOGS = ("on", "off", "durable")
_MOST_WORKERS = 256


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What ``serve`` was asked for. ``project`` is the project file; ``wanted`` champion, latest or a number.

    ``grace_s`` is how long a server that was told to end goes on before it takes no more connections, ``poll_s`` how
    often it looks at the registry, ``hung_s`` after how long a worker counts as hung whose event loop does not answer;
    ``allow_hosts`` are names under which it answers without keys, besides addresses and names without a dot.
    """

    project: str
    wanted: str = "champion"
    host: str = "127.0.0.1"
    port: int = 8080
    uds: str = ""
    workers: int = 1
    tls_cert: str = ""
    tls_key: str = ""
    log: str = "on"
    grpc_port: int | None = None
    allow_hosts: tuple[str, ...] = ()
    grace_s: float = 3.0
    poll_s: float = 1.0
    hung_s: float = 10.0

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return (bool(self.uds) and self.grpc_port is None) or is_loopback(self.host)

    def check(self) -> None:
        """UsageError with everything that cannot work."""
        if self.log not in LOGS:
            raise UnknownName("log", self.log, LOGS, next_step="--log on")
        problems = [
            *_outside("--workers", self.workers, 1, _MOST_WORKERS),
            *_outside("--grace", self.grace_s, 0, 3600),
            *(_missing("--tls-cert", self.tls_cert) if self.tls_cert or self.tls_key else ()),
            *(_missing("--tls-key", self.tls_key) if self.tls_cert or self.tls_key else ()),
        ]
        if problems:
            raise UsageError(
                "the server cannot be started like this", problems=problems, next_step="roadworthy serve --help"
            )


def tls_context(options: Options) -> ssl.SSLContext | None:
    """The TLS context of a certificate and its key; None without them. Raises UsageError where they do not fit."""
    if not options.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            "the certificate and its key cannot be used",
            problems=[
                Problem(str(error), where=f"{options.tls_cert}, {options.tls_key}", expected="PEM files that fit")
            ],
            next_step="--tls-cert CERTIFICATE --tls-key KEY",
        ) from error
    return context


def _outside(name: str, value: float, least: float, most: float) -> list[Problem]:
    if least <= value <= most:
        return []
    return [Problem(f"{value:g}", where=name, expected=f"{least:g} to {most:g}")]


def _missing(name: str, file: str) -> list[Problem]:
    if file and Path(file).is_file():
        return []
    return [Problem("no such file" if file else "not given", where=f"{name} {file}".strip(), expected="a PEM file")]
