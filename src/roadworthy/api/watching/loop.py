"""The monitor's process: look, judge, send, again; until it is told to end.

In: a monitor, what it sends with, the time. Out: windows and messages; one line on standard error for whatever goes
wrong. Laws: a failure pauses and is tried again, it never ends the watch; messages are sent from a thread of their
own, so that no channel delays a window; the heartbeat is written with every look, so that a monitor that stopped is
noticed by whoever looks at it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from roadworthy.api.watching.monitor import Monitor, Ticked
from roadworthy.measures.heartbeat import Beat
from roadworthy.protocols import Clock
from roadworthy.stages.watching.judging import told_of

__all__ = ["Loop", "ended_by_signal"]

_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Loop:
    """``look`` does one turn's work besides windows; ``beat`` keeps the heartbeat; ``send`` sends messages.

    ``told`` hears what each turn came to. Whoever looks once does so again after ``once_every_s``.
    """

    monitor: Monitor
    clock: Clock
    look: Callable[[int], None]
    beat: Callable[[Beat], None]
    send: Callable[[], None]
    told: Callable[[Ticked], None]
    poll_s: float = 2.0
    once_every_s: float = 3_600.0

    def once(self) -> None:
        """Everything that is over by now; what fails is raised."""
        now_us = self._now_us()
        self.look(now_us)
        behind = True
        while behind:
            ticked = self.monitor.tick(now_us)
            self.told(ticked)
            behind = ticked.behind
        self.beat(Beat(started_us=now_us, at_us=self._now_us(), every_s=self.once_every_s))
        self.send()

    def run(self, ending: threading.Event) -> None:
        """Until ``ending`` is set; the window that is being judged is finished."""
        sender = threading.Thread(target=self._sending, args=(ending,), name="roadworthy-messages", daemon=True)
        sender.start()
        failures = 0
        while not ending.is_set():
            now_us, why = self._now_us(), ""
            try:
                behind = self._turn(now_us)
                failures, pause = 0, 0.0 if behind else self.poll_s
            except Exception as error:  # noqa: BLE001 - whatever it is, the watch goes on and people are told
                failures, why = failures + 1, told_of(error)
                pause = min(self.poll_s * 2 ** min(failures, 10), _LONGEST_PAUSE_S)
                _say(f"looking at traffic failed {failures} times, tried again in {pause:.0f} s: {why}")
            ended_us = self._now_us()
            every_s = pause + max(self.poll_s, (ended_us - now_us) / 1e6)
            self._beaten(Beat(started_us=now_us, at_us=ended_us, every_s=every_s, failures=failures, why=why))
            ending.wait(pause)
        sender.join(self.poll_s + 1.0)

    def _turn(self, now_us: int) -> bool:
        """One look; whether more windows wait."""
        self.look(now_us)
        ticked = self.monitor.tick(now_us, most=16)
        self.told(ticked)
        return ticked.behind

    def _beaten(self, beat: Beat) -> None:
        try:
            self.beat(beat)
        except Exception as error:  # noqa: BLE001 - the registry is gone: whoever asks for the heartbeat finds it old
            _say(f"the heartbeat could not be kept: {told_of(error)}")

    def _sending(self, ending: threading.Event) -> None:
        while not ending.is_set():
            try:
                self.send()
            except Exception as error:  # noqa: BLE001 - as above; what was not sent stays in the outbox
                _say(f"sending messages failed: {told_of(error)}")
            ending.wait(self.poll_s)

    def _now_us(self) -> int:
        return int(self.clock.now().timestamp() * 1e6)


@contextlib.contextmanager
def ended_by_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the handlers that were there are back afterwards."""
    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"roadworthy: {text}\n")
        sys.stderr.flush()
