"""The conformance check of notifiers: the one in memory passes, and each broken law is caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from roadworthy.protocols import Notifier
from roadworthy.testing import ConformanceError, MemoryNotifier, check_notifier

SECRET = "hunter2"  # noqa: S105 - of no service


def texts(memory: MemoryNotifier) -> list[str]:
    return ["\n".join(message) for message in memory.messages]


def failing() -> MemoryNotifier:
    notifier = MemoryNotifier()
    notifier.failing = True
    return notifier


def test_the_in_memory_notifier_conforms() -> None:
    memory = MemoryNotifier()
    typed: Notifier = memory
    check_notifier(lambda: typed, lambda: texts(memory), unreachable=failing, secrets=[SECRET])


class Faulty(MemoryNotifier):
    """Its faults are switched on by name."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def notify(self, key: str, title: str, body: str) -> None:
        if self.fault == "late":
            return
        if self.fault == "once" and self.messages:
            return
        if self.fault == "twice":
            super().notify(key, title, body)
        key = "" if self.fault == "keyless" else "rw-conformance-1" if self.fault == "one key" else key
        title = title.upper() if self.fault == "title" else title
        body = body.replace("<", "&lt;").replace("≥", ">=") if self.fault == "body" else body
        super().notify(key, title, body)


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("late", "has come in when notify returns"),
        ("twice", "has come in when notify returns, once"),
        ("keyless", "idempotency key is in the message"),
        ("title", "the title comes in as it was sent"),
        ("body", "the body comes in as it was sent; lost or changed: .*à la carte"),
        ("once", "sent again comes in again"),
        ("one key", "the key that it was sent with"),
    ],
)
def test_broken_notifiers_are_caught(fault: str, law: str) -> None:
    faulty = Faulty(fault)
    with pytest.raises(ConformanceError, match=law):
        check_notifier(lambda: faulty, lambda: texts(faulty), unreachable=failing)


class Talkative:
    def notify(self, key: str, title: str, body: str) -> None:  # noqa: ARG002 - the protocol's signature
        raise ValueError(f"https://ann:{SECRET}@hooks.example does not answer")


@pytest.mark.parametrize(
    ("unreachable", "law"), [(MemoryNotifier, "could not be delivered raises"), (Talkative, "no secret is in what")]
)
def test_silence_and_secrets_are_caught(unreachable: Callable[[], Notifier], law: str) -> None:
    memory = MemoryNotifier()
    with pytest.raises(ConformanceError, match=law):
        check_notifier(lambda: memory, lambda: texts(memory), unreachable=unreachable, secrets=[SECRET])
