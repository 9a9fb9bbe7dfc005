"""Run the checks one after the other, each for itself.

In: an ``Examined`` model, a ``Brief``, a ``Reporter``. Out: what was found. Laws: a check that breaks leaves an error
for each of its metrics; what a check found carries its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec
import numpy as np

from roadworthy.formats.wording import NOTHING_FOUND
from roadworthy.measures.examined import Brief, Examined
from roadworthy.protocols import Reporter
from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement
from roadworthy.stages.inspection.checks import CHECKS, Check
from roadworthy.standard.catalogue import CATALOGUE

__all__ = ["inspect_all"]

_Part = TypeVar("_Part", Measurement, Finding, Exhibit)


def inspect_all(
    examined: Examined, brief: Brief, reporter: Reporter | None = None, checks: Iterable[Check] = CHECKS
) -> Found:
    """Everything that the checks find; those that lack something are left out.

    With a ``reporter`` each check is a piece of work of its own name, with the steps that it announces; the number of
    trainings is a part of that name, since they take longest.
    """
    found = Found()
    for check in checks:
        if check.lacks(examined, brief):
            continue
        if reporter is None:
            found += _checked(check, examined, brief)
            continue
        steps = check.steps(examined, brief)
        work = check.work(steps)
        reporter.begin(work, steps)
        watched = replace(brief, advance=partial(reporter.advance, work))
        new = _checked(check, examined, watched)
        reporter.end(work, _said(new))
        found += new
    return found


def _checked(check: Check, examined: Examined, brief: Brief) -> Found:
    try:
        return _stamped(check.run(examined, brief), check.name)
    except Exception as failure:  # noqa: BLE001 - whatever broke the check is evidence, and the judge must see it
        return _broken(check, examined, brief, failure)


def _broken(check: Check, examined: Examined, brief: Brief, failure: Exception) -> Found:
    """An error for every metric of a check. The exception's own words stay out: they may quote cells."""
    reason = f"the check '{check.title}' broke: {type(failure).__name__}"
    metrics = [name for name in check.metrics if examined.task in CATALOGUE[name].tasks]
    cuts = {(name, "") for name in metrics} | {(one.metric, one.slice) for one in brief.required if one.slice}
    measurements = tuple(
        Measurement(
            metric=metric,
            unit=CATALOGUE[metric].unit,
            slice=f"{cut}=?" if cut else "",
            confidence=brief.confidence(metric, cut),
            n=examined.sample.n,
            error=reason,
        )
        for metric, cut in sorted(cuts)
        if metric in metrics
    )
    finding = Finding(
        kind="broken_check", subject=check.name, grade="fails", sentence=f"{reason[0].upper()}{reason[1:]}."
    )
    return _stamped(Found(measurements=measurements, findings=(finding,)), check.name)


def _stamped(found: Found, check: str) -> Found:
    """The parts with the check's name, their numbers Python's own, as files and pages need them."""
    return Found(
        measurements=tuple(_plain(msgspec.structs.replace(one, check=check)) for one in found.measurements),
        findings=tuple(_plain(msgspec.structs.replace(one, check=check)) for one in found.findings),
        exhibits=tuple(_plain(msgspec.structs.replace(one, check=check)) for one in found.exhibits),
    )


def _plain(value: _Part) -> _Part:
    """The same record without numbers of numpy's types."""
    return msgspec.convert(msgspec.to_builtins(value, enc_hook=_python_number), type(value))


def _python_number(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a check returned a {type(value).__name__}, which no file can hold")


def _said(found: Found) -> str:
    grades = [one.grade for one in found.findings]
    told = [
        f"{grades.count(grade)} {word}"
        for grade, word in (("fails", "fail"), ("suspects", "to look at"))
        if grade in grades
    ]
    return ", ".join(told) or NOTHING_FOUND
