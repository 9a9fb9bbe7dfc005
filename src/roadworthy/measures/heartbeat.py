"""The monitor watches itself: when it last came to its end, and what a person is told when it has not.

In: instants that the monitor wrote down. Out: ``Pulse``. Pure: who reads the clock and who stores the beat stands
elsewhere. Laws: a monitor that never beat is stalled once its first round is overdue; a clock that was set back is told
as such, and never taken for health; what is overdue by less than one round is late, and nobody is woken.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Beat", "Health", "Pulse", "pulse", "stalled"]

_PATIENCE = 3.0
_CLOCK_S = 5.0


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One round that came to its end: when it began to be due, when it ended, and what it did.

    ``every_s`` is how often a round is due, ``window`` the last window judged (``"1h/420"``), ``failures`` how many
    rounds in a row have failed, ``why`` what the last of them said.
    """

    started_us: int
    at_us: int
    every_s: float
    window: str = ""
    failures: int = 0
    why: str = ""


class Health(StrEnum):
    """How a monitor is."""

    WELL = "well"
    LATE = "late"
    STALLED = "stalled"
    FAILING = "failing"
    CLOCK = "clock"


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """How the monitor is, in a word and a sentence. ``ready``: its answers are of now."""

    health: Health
    sentence: str
    look_first: str = ""

    @property
    def ready(self) -> bool:
        """Whether it may be relied on: it is well, or a moment late."""
        return self.health in {Health.WELL, Health.LATE}


def stalled(last_us: int | None, now_us: int, expected_s: float, *, since_us: int = 0) -> bool:
    """Whether a round is overdue by more than two others. ``since_us``: when it should have begun to beat."""
    begun = since_us if last_us is None else last_us
    return now_us - begun > _PATIENCE * expected_s * 1e6


def pulse(beat: Beat | None, now_us: int, *, expected_s: float, since_us: int = 0) -> Pulse:
    """How a monitor is at ``now_us`` by its last beat; ``since_us`` is when whoever asks began to wait for one."""
    if beat is None:
        if stalled(None, now_us, expected_s, since_us=since_us):
            return Pulse(
                health=Health.STALLED,
                sentence=f"the monitor has never finished a round, and one is due every {_span(expected_s)}",
                look_first="is `roadworthy watch` running, and does it reach the registry and the lake?",
            )
        return Pulse(health=Health.LATE, sentence="the monitor has not finished its first round yet")
    return _since(beat, (now_us - beat.at_us) / 1e6, max(beat.every_s, expected_s))


def _since(beat: Beat, gap_s: float, every_s: float) -> Pulse:
    """How a monitor is whose last round ended ``gap_s`` ago."""
    if gap_s < -_CLOCK_S:
        return Pulse(
            health=Health.CLOCK,
            sentence=f"the monitor's last round ended {_span(-gap_s)} in the future: a clock was set, or two disagree",
            look_first="the clocks of the machines that serve and watch (timedatectl, chronyc tracking)",
        )
    after = f" (window {beat.window})" if beat.window else ""
    if gap_s > _PATIENCE * every_s:
        return Pulse(
            health=Health.STALLED,
            sentence=f"the monitor has not finished a round for {_span(gap_s)}{after}; one is due every "
            f"{_span(every_s)}. What happened since was judged by nobody",
            look_first="is `roadworthy watch` running? Its last words are on its standard error; start it again, and "
            "it goes on behind the last window that it judged",
        )
    if beat.failures:
        return Pulse(
            health=Health.FAILING,
            sentence=f"the monitor's last {_times(beat.failures)} failed: {beat.why}",
            look_first="what it names; nothing that was not judged is lost, it is tried again with the next round",
        )
    if gap_s > 2.0 * every_s:
        return Pulse(
            health=Health.LATE, sentence=f"the monitor's next round is late: the last ended {_span(gap_s)} ago"
        )
    return Pulse(health=Health.WELL, sentence=f"the monitor finished a round {_span(max(gap_s, 0.0))} ago{after}")


def _times(count: int) -> str:
    return "round" if count == 1 else f"{count} rounds"


def _span(seconds: float) -> str:
    """A length of time for people.

    >>> _span(40), _span(150), _span(7_200), _span(200_000)
    ('40 s', '2.5 min', '2 h', '2.3 days')
    """
    for size, name in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {name}"
    return f"{seconds:.0f} s"
