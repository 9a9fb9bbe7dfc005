"""Whether ``[serving]`` fits the task.

In: a typed ``ProjectSpec``. Out: ``Fault`` per value that could never be an answer. Whether a class exists is known
here only where the contract lists the target's labels; otherwise packaging says so, before anything is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from roadworthy.errors import nearest
from roadworthy.formats.project.typing_rules import Fault
from roadworthy.records.project import ProjectSpec, Task

__all__ = ["serving_faults"]

_PATH = "serving.fallback"
_ROUNDING = 1e-6
_EXPECTED = {
    Task.BINARY: "a class as text, or the probability of the positive class from 0 to 1",
    Task.MULTICLASS: "a class as text, or a table with a probability for each class",
    Task.REGRESSION: "a finite number",
}


def serving_faults(spec: ProjectSpec) -> Iterator[Fault]:
    """The faults of both keys."""
    yield from _fallback_faults(spec)
    yield from _refer_faults(spec)


def _fallback_faults(spec: ProjectSpec) -> Iterator[Fault]:
    answer, expected = spec.serving.fallback, _EXPECTED[spec.task]
    if answer is None:
        return
    if isinstance(answer, str):
        yield from [Fault(_PATH, f"the class {answer!r}", expected)] if spec.task is Task.REGRESSION else ()
        yield from _label_faults(spec, [answer]) if spec.task is not Task.REGRESSION else ()
    elif isinstance(answer, dict):
        if spec.task is not Task.MULTICLASS:
            yield Fault(_PATH, f"a table for a {spec.task} task", expected)
            return
        yield from _label_faults(spec, list(answer))
        odd = {label: share for label, share in answer.items() if not 0 <= share <= 1}
        for label, share in odd.items():
            yield Fault(f"{_PATH}.{label}", f"a probability of {share}", "a number from 0 to 1")
        if not odd and abs(sum(answer.values()) - 1) > _ROUNDING:
            yield Fault(_PATH, f"probabilities that add up to {sum(answer.values()):.6g}", "a sum of 1")
    elif spec.task is Task.MULTICLASS:
        yield Fault(_PATH, f"the number {answer}", expected)
    elif spec.task is Task.BINARY and not 0 <= answer <= 1:
        yield Fault(_PATH, f"a probability of {answer}", expected)
    elif not math.isfinite(answer):
        yield Fault(_PATH, f"the number {answer}", expected)


def _label_faults(spec: ProjectSpec, labels: list[str]) -> Iterator[Fault]:
    column = spec.contract.columns.get(spec.target)
    known = column.allowed if column is not None else ()
    for label in labels:
        if not label:
            yield Fault(_PATH, "an empty class", "a class of the target")
        elif known and label not in known:
            close = nearest(label, known)
            hint = f"; did you mean {close!r}?" if close else ""
            yield Fault(_PATH, f"the target has no class {label!r}{hint}", ", ".join(known))


def _refer_faults(spec: ProjectSpec) -> Iterator[Fault]:
    refer = spec.serving.refer
    if refer is None:
        return
    if refer.confidence is None and not refer.outside_support:
        yield Fault("serving.refer", "nothing that refers a row", "confidence, or outside_support = true, or both")
    if refer.confidence is not None and not 0.5 <= refer.confidence < 1:
        found = f"a confidence of {refer.confidence}"
        yield Fault("serving.refer.confidence", found, "a number from 0.5 to below 1, such as 0.9")
