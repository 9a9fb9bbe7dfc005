"""What a connection asks of the application behind it.

In: whole requests. Out: answers. ``serving.web.Web`` is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from roadworthy.adapters.http_heads import Fields, Replied

__all__ = ["App"]


class App(Protocol):
    """What answers."""

    @property
    def most_bytes(self) -> int:
        """Bytes of a body."""
        ...

    @property
    def body_s(self) -> float:
        """Seconds until a request is there."""
        ...

    def take(  # noqa: PLR0917 - called for every request: names would cost
        self,
        method: str,
        path: str,
        headers: Fields,
        body: bytes,
        begun: float,
        answer: Callable[[Replied], None],
    ) -> None:
        """Calls ``answer`` once, now or later. ``begun`` is by ``time.perf_counter``. It must not raise."""
        ...

    def crowded(self) -> bool:
        """Whether there is more to do than can be done in time. Asked at every read."""
        ...

    def refusal(self, method: str, path: str, headers: Fields) -> Replied | None:
        """The answer where it is clear from the head that the body would be read in vain."""
        ...

    def turned_away(self, head: bytes) -> bytes | None:
        """The whole answer to a request that is not read, because there are too many; None: read it as any."""
        ...

    def unread(self, status: int, length: int | None = None) -> Replied:
        """The answer to what never became a request; ``length`` is how long its body was said to be."""
        ...
