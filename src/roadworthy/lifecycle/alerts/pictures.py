"""Pictures that go with messages: asked for once a round, and never a reason that a message waits or is lost.

In: what is about to be sent, something that draws. Out: for each message what goes with it, or why nothing does. Laws:
only channels that take pictures are drawn for; whatever drawing raises is told in the message, which goes without; a
message that a channel did not take with its pictures is given to it without them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from roadworthy.errors import RoadworthyError
from roadworthy.lifecycle.alerts.messages import Message
from roadworthy.lifecycle.alerts.outbox import Waiting
from roadworthy.protocols import Notifier

__all__ = ["MOST_PICTURES", "Draw", "Illustrated", "Pictures", "illustrated"]

Draw = Callable[[Sequence[int]], Mapping[int, bytes | str]]
"""From numbers of alerts to PNG bytes of each, or why there are none."""

MOST_PICTURES = 3
"""Of one message; the alerts that it tells first."""
_PAGE = "the figures are on the alert's page"


@runtime_checkable
class Illustrated(Protocol):
    """A notifier whose service may take pictures."""

    def takes_pictures(self) -> bool:
        """Whether it does. UsageError where the channel cannot be opened."""
        ...

    def notify_with(self, key: str, title: str, body: str, pictures: Mapping[str, bytes]) -> None:
        """As ``notify``; ``pictures`` are PNG bytes by file name."""
        ...


class Pictures(msgspec.Struct, frozen=True):
    """What was drawn for a round: PNG bytes by an alert's number, or why there are none."""

    drawn: dict[int, bytes | str] = {}

    @classmethod
    def for_round(cls, draw: Draw | None, due: Sequence[Waiting], notifiers: Mapping[str, Notifier]) -> Pictures:
        """Everything that the messages of a round need, drawn at once."""
        fresh = [one for one in due if one.attempts == 1 and one.message.alerts]
        wanted = [one for one in fresh if illustrated(notifiers[one.channel])]
        numbers = list(dict.fromkeys(number for one in wanted for number in one.message.alerts[:MOST_PICTURES]))
        if draw is None or not numbers:
            return cls()
        try:
            return cls(dict(draw(numbers)))
        except Exception as error:  # noqa: BLE001 - whatever breaks while drawing, the message goes
            why = error.message if isinstance(error, RoadworthyError) else type(error).__name__
            return cls(dict.fromkeys(numbers, f"drawing broke: {why}"))

    def of(self, message: Message) -> dict[str, bytes]:
        """The pictures of a message, by file name."""
        told = {number: self.drawn.get(number) for number in message.alerts[:MOST_PICTURES]}
        return {f"alert-{number}.png": png for number, png in told.items() if isinstance(png, bytes)}

    def why_not(self, message: Message) -> str:
        """Why a message goes without a picture; empty where it has one, or nobody asked for any."""
        told = [self.drawn[number] for number in message.alerts[:MOST_PICTURES] if number in self.drawn]
        return "" if self.of(message) else next((one for one in told if isinstance(one, str)), "")

    def send(self, notifier: Notifier, message: Message) -> None:
        """Give a message to a channel, with its pictures where there are any and it takes them."""
        pictures = self.of(message)
        if pictures and isinstance(notifier, Illustrated) and illustrated(notifier):
            try:
                notifier.notify_with(message.key, message.title, message.body, pictures)
            except Exception:  # noqa: BLE001 - anybody's notifier: without the picture it is tried at once, and told
                body = _noted(message, "the channel did not take it")
                notifier.notify(message.key, message.title, body)
            return
        why = self.why_not(message)
        notifier.notify(message.key, message.title, _noted(message, why) if why else message.body)


def illustrated(notifier: Notifier) -> bool:
    """Whether a channel takes pictures; not one that cannot be opened, which sending tells of."""
    try:
        return isinstance(notifier, Illustrated) and notifier.takes_pictures()
    except RoadworthyError:
        return False


def _noted(message: Message, why: str) -> str:
    return f"{message.body}\n\nno picture: {why}; {_PAGE}"
