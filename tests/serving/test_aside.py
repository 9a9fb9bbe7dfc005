"""A question that nobody has to wait for."""

from __future__ import annotations

import threading
import time

import pytest

from roadworthy.api.serving.aside import Aside, NoAnswerYet


def test_answers_come_now_later_or_as_what_was_raised() -> None:
    let, asked = threading.Event(), 0

    def question() -> int:
        nonlocal asked
        asked += 1
        if asked == 2:
            let.wait(10)
        if asked == 3:
            raise LookupError("gone")
        return asked

    aside = Aside(question)
    assert aside.ask(5) == 1
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(NoAnswerYet):
            aside.ask(0.05)
    assert time.monotonic() - begun < 2
    assert asked == 2, "it is not asked again while it is being asked"
    let.set()
    assert aside.ask(5) == 2
    with pytest.raises(LookupError, match="gone"):
        aside.ask(5)
    assert aside.ask(5) == 4
    assert not any(thread.name == "asking" and not thread.daemon for thread in threading.enumerate())
