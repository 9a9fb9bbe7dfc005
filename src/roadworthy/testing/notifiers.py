"""The laws of ``protocols.Notifier``, as a check that any implementation can be put through, and one in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from roadworthy.errors import RoadworthyError
from roadworthy.protocols import Notifier
from roadworthy.testing.failure import require

__all__ = ["MemoryNotifier", "check_notifier"]

_KEY, _OTHER = "rw-conformance-1", "rw-conformance-2"
_TITLE = "[ticket] clicks: accuracy is 0.71, below 0.80 & falling <now>"
_BODY = "Alert 12: accuracy_low\nvalue      0.71 (0.68 to 0.74)\nà la carte: ≥ 0.80 “quoted” $HOME {rule} %s"


class MemoryNotifier:
    """A ``Notifier`` that keeps what it is told: ``messages`` are (key, title, body). ``failing``: it takes nothing."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, str]] = []
        self.failing = False

    def notify(self, key: str, title: str, body: str) -> None:
        """Keep the message; RoadworthyError while ``failing``."""
        if self.failing:
            raise RoadworthyError("the memory takes nothing now", next_step="failing = False")
        self.messages.append((key, title, body))


def check_notifier(
    make: Callable[[], Notifier],
    received: Callable[[], Sequence[str]],
    *,
    unreachable: Callable[[], Notifier],
    secrets: Sequence[str] = (),
) -> None:
    """Check a notifier. ``make()`` gives one; ``received()`` the texts of all messages that came in, as they came.

    Laws: a message has come in when ``notify`` returns, whole, with its key; one that is sent again comes in again
    with the same key; what could not be delivered (``unreachable()`` gives one that nobody hears) is an exception,
    never silence, and shows none of ``secrets``. Raises ConformanceError.
    """
    notifier = make()
    before = len(received())
    notifier.notify(_KEY, _TITLE, _BODY)
    require(len(received()) == before + 1, "a message has come in when notify returns, once")
    message = received()[-1]
    require(_KEY in message, "the idempotency key is in the message, its fields or its headers")
    require(_TITLE in message, "the title comes in as it was sent")
    lines = [line for line in _BODY.splitlines() if line not in message]
    require(not lines, f"the body comes in as it was sent; lost or changed: {lines}")
    notifier.notify(_KEY, _TITLE, _BODY)
    make().notify(_OTHER, _TITLE, _BODY)
    require(len(received()) == before + 3, "a message that is sent again comes in again: the receiver decides")
    require(_KEY in received()[-2] and _OTHER in received()[-1], "each message has the key that it was sent with")
    _check_failure(unreachable, secrets)


def _check_failure(unreachable: Callable[[], Notifier], secrets: Sequence[str]) -> None:
    try:
        unreachable().notify(_KEY, _TITLE, _BODY)
    except Exception as error:  # noqa: BLE001 - anybody's notifier may raise anything: only silence breaks the law
        shown = f"{error} {error!r}"
        require(not any(secret in shown for secret in secrets), "no secret is in what is raised")
        return
    require(False, "what could not be delivered raises")  # noqa: FBT003 - reads as an assertion
