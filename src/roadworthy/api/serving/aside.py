"""A question that nobody has to wait for: asked in a thread of its own, answered now, later, or never.

In: a call that may hang, such as one to a database that does not answer. Out: what it returned or raised, as soon as it
is known. Laws: ``ask`` returns or raises within its patience; one question is under way at a time; one that hangs keeps
no process from ending.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Aside", "NoAnswerYet"]

Answer = TypeVar("Answer")


class NoAnswerYet(Exception):
    """The question is still being asked."""


class Aside(Generic[Answer]):
    """Asks one question at a time."""

    def __init__(self, question: Callable[[], Answer]) -> None:
        self._question = question
        self._answers: queue.SimpleQueue[tuple[Answer, None] | tuple[None, Exception]] = queue.SimpleQueue()
        self._asking = False

    def ask(self, patience_s: float) -> Answer:
        """The answer, also of a question that was asked by an earlier call. Raises what it raised, or NoAnswerYet."""
        if not self._asking:
            self._asking = True
            threading.Thread(target=self._ask, name="asking", daemon=True).start()
        try:
            answer, error = self._answers.get(timeout=patience_s)
        except queue.Empty:
            raise NoAnswerYet from None
        self._asking = False
        if error is not None:
            raise error
        return answer  # type: ignore[return-value]  # an Answer may be None itself

    def _ask(self) -> None:
        try:
            self._answers.put((self._question(), None))
        except Exception as error:  # noqa: BLE001 - it is raised by ``ask``
            self._answers.put((None, error))
