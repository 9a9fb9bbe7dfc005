"""Pictures of live servers over a span.

In: ``Steps`` and the requirements that hold live. Out: ``Picture``s. Law: what the standard bounds is drawn as a line
in the picture that it is about, and told in its note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec
from altair.utils.schemapi import debug_mode

from roadworthy.measures.charts import Reference
from roadworthy.measures.charts.live import Line, timeline, timeline_columns, timeline_words
from roadworthy.standard import Requirement
from roadworthy.views.dashboard.live.figures import Figures
from roadworthy.views.dashboard.live.over_time import Step, Steps
from roadworthy.views.dashboard.pictures import Picture, draw

__all__ = ["pictures_of"]


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One picture: lines by name, what they are in, which requirements bound them and how a bound reads there."""

    title: str
    axis: str
    lines: dict[str, Callable[[Step], float | None]]
    note: str = ""
    form: str = ".3~g"
    logarithmic: bool = False
    bounds: dict[str, Callable[[float], float]] = {}


def _of(read: Callable[[Figures], float | None], scale: float = 1.0) -> Callable[[Step], float | None]:
    def value(step: Step) -> float | None:
        found = read(step.figures)
        return None if found is None else scale * found

    return value


def _same(bound: float) -> float:
    return bound


_PLANS = (
    _Plan(
        title="Requests",
        axis="requests a second",
        lines={"requests": _of(lambda f: f.rate)},
        note="Requests for predictions, whatever the answer.",
    ),
    _Plan(
        title="Latency",
        axis="milliseconds",
        lines={"p50": _of(lambda f: f.p50), "p95": _of(lambda f: f.p95), "p99": _of(lambda f: f.p99)},
        note="p99: 99 of 100 requests were answered faster. Each step up the axis is tenfold.",
        logarithmic=True,
        bounds={"latency_p50": _same, "latency_p95": _same, "latency_p99": _same},
    ),
    _Plan(
        title="Requests without an answer",
        axis="of 100 requests",
        lines={"server's fault (5xx)": _of(lambda f: f.faults, 100), "turned away (429)": _of(lambda f: f.shed, 100)},
        note="429: shed load; the server was asked for more than it can answer.",
        bounds={
            "availability": lambda bound: 100 * (1 - bound),
            "error_rate": lambda bound: 100 * bound,
            "shed_share": lambda bound: 100 * bound,
        },
    ),
    _Plan(
        title="Refusals and fallbacks",
        axis="of 100",
        lines={
            "caller's fault (4xx)": _of(lambda f: f.callers, 100),
            "rows refused": _of(lambda f: f.refused, 100),
            "by fallback": _of(lambda f: f.fallback, 100),
        },
        note="Refused rows break the contract. A fallback is the version before, or a constant.",
        bounds={"fallback_share": lambda bound: 100 * bound},
    ),
    _Plan(
        title="In flight",
        axis="requests at once",
        lines={"in flight": _of(lambda f: f.in_flight)},
        note="Requests that wait or are being answered, as read once in each step.",
        bounds={"in_flight": _same},
    ),
    _Plan(
        title="Memory",
        axis="megabytes",
        lines={"all workers": _of(lambda f: f.memory, 1e-6), "largest worker": _of(lambda f: f.most_memory, 1e-6)},
        note="Resident memory. A line that only rises is a leak.",
        bounds={"worker_memory": lambda bound: bound * 1e-6},
    ),
    _Plan(
        title="Processor",
        axis="% of one core",
        lines={"busiest worker": _of(lambda f: f.processor, 100)},
        note="At 100 % a worker can do no more, and requests wait.",
        bounds={"processor": lambda bound: 100 * bound},
    ),
    _Plan(
        title="Silence",
        axis="of 100 questions",
        lines={"no answer to the monitor": lambda step: 100 * step.vain / step.asked if step.asked else None},
        note="How often the monitor asked a server how it is, and heard nothing.",
    ),
)


def pictures_of(steps: Steps, required: Sequence[Requirement]) -> tuple[Picture, ...]:
    """One picture for each plan of which anything is known, and silence only where there was any."""
    at_us = tuple(step.until_us for step in steps.steps)
    found = []
    for number, plan in enumerate(_PLANS):
        if plan.title == "Silence" and not any(step.vain for step in steps.steps):
            continue
        lines = tuple(Line(name=name, values=tuple(map(read, steps.steps))) for name, read in plan.lines.items())
        references = tuple(
            Reference(of="value", value=plan.bounds[one.metric](one.bound), label=one.line())
            for one in required
            if one.metric in plan.bounds and not one.slice
        )
        drawn = _picture(number, at_us, lines, references)
        if drawn is not None:
            found.append(drawn)
    return tuple(found)


@lru_cache(maxsize=96)
def _picture(
    number: int, at_us: tuple[int, ...], lines: tuple[Line, ...], references: tuple[Reference, ...]
) -> Picture | None:
    """Drawn once for the same figures: a page that looks again every few seconds mostly finds nothing new."""
    plan = _PLANS[number]
    with debug_mode(arg=False):  # the renderer checks the whole
        chart = timeline(at_us, lines, plan.axis, references=references, form=plan.form, logarithmic=plan.logarithmic)
    if chart is None:
        return None
    bounded = f" The standard asks: {'; '.join(one.label for one in references)}." if references else ""
    return draw(
        chart,
        alt_text=timeline_words(lines, plan.axis),
        title=plan.title,
        note=plan.note + bounded,
        columns=timeline_columns(at_us, lines),
    )
