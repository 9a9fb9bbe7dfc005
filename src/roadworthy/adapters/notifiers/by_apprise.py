"""A notifier over apprise, which speaks to more than a hundred services.

In: an address as apprise reads it (``slack://…``, ``mailto://…``, ``json://…``). Out: messages at that service. Laws:
what the service did not take is a RoadworthyError; the idempotency key is the last line of every message, and where the
service takes headers or fields of one's own also the header ``Idempotency-Key`` and the field ``idempotency_key``;
nothing that apprise or the HTTP library says reaches a log, for it may quote an address. Apprise is imported with the
first message.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from roadworthy.errors import Problem, RoadworthyError, UsageError

if TYPE_CHECKING:
    import apprise

__all__ = ["AppriseNotifier"]

_DEADLINE_S = 20.0
_CODE = re.compile(r"error=(\d{3})\b")
_QUIET = ("apprise", "urllib3.connectionpool")
_loading = threading.Lock()


class AppriseNotifier:
    """One channel. UsageError where no service answers to the address, which is not quoted."""

    def __init__(self, address: str, *, where: str = "[alerts] notify") -> None:
        scheme = address.partition("://")[0]
        service = _service(address)
        if service is None:
            raise UsageError(
                "an alert channel cannot be opened",
                problems=[Problem(f"{scheme}://… is no address that apprise can use", where=where, expected="such as "
                                  '"slack://…", "mailto://…" or "jsons://host/path"')],
                next_step="https://appriseit.com/services/   # how each service's address is written",
            )  # fmt: skip
        self._service = service
        self._scheme = scheme
        self._sending = threading.Lock()

    def notify(self, key: str, title: str, body: str) -> None:
        """Send, within 20 s; RoadworthyError where the service did not take it, for whichever reason."""
        self.notify_with(key, title, body, {})

    def takes_pictures(self) -> bool:
        """Whether the service takes attachments."""
        return bool(getattr(self._service, "attachment_support", False))

    def notify_with(self, key: str, title: str, body: str, pictures: Mapping[str, bytes]) -> None:
        """As ``notify``, with PNG bytes by file name; RoadworthyError also where the service took the text alone."""
        import apprise  # noqa: PLC0415 - loaded already, by the constructor
        from apprise.attachment.memory import AttachMemory  # noqa: PLC0415 - as above

        attached = [
            AttachMemory(content=png, name=name, mimetype="image/png")  # type: ignore[no-untyped-call]  # apprise's
            for name, png in pictures.items()
        ]

        with self._sending:
            _give_key(self._service, key)
            alone = apprise.Apprise()
            alone.add(self._service)
            result = alone.notify(
                body=f"{body}\n\nkey {key}",
                title=title,
                notify_type=apprise.NotifyType.WARNING,
                body_format=apprise.NotifyFormat.TEXT,
                attach=attached or None,
                interpret_escapes=False,
                timeout=_DEADLINE_S,
            )
        if not result:
            codes = [found[1] for entry in result.logs() if (found := _CODE.search(entry.message))]
            raise RoadworthyError(
                f"{self._scheme} answered {codes[-1]}" if codes else f"{self._scheme} could not be reached, or refused"
            )


def _service(address: str) -> apprise.NotifyBase | None:
    """What apprise makes of an address; None where it knows no such service."""
    with _loading:
        for name in _QUIET:
            logger = logging.getLogger(name)
            logger.propagate = False
            if not logger.handlers:
                logger.addHandler(logging.NullHandler())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of modules that one of its services imports
            import apprise  # noqa: PLC0415 - half a second that only a message costs

            return apprise.Apprise.instantiate(address)


def _give_key(service: object, key: str) -> None:
    """The key beside the message, at services that take fields or headers of one's own."""
    for holder, name in (("headers", "Idempotency-Key"), ("payload_extras", "idempotency_key")):
        place = getattr(service, holder, None)
        if isinstance(place, dict):
            place[name] = key
