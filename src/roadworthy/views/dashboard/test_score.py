"""The ML Test Score of the version in service, with what would raise it.

In: a ``Site``. Out: a ``Score``. Laws: the score is the least of its four sections, so that what raises it are tests of
those sections; what is shown is the evidence of the version, nothing is counted anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.formats.report import ChartView
from roadworthy.formats.report.test_score import is_test_score, test_score_sections
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.records.test_score import TESTS_PER_SECTION
from roadworthy.records.version import Version
from roadworthy.standard import Standard
from roadworthy.views.dashboard.requirement_cells import standard_of
from roadworthy.views.dashboard.site import Site

__all__ = ["Anchor", "MlTest", "Part", "Score", "score_in", "score_of"]

_NAME = "ml_test_score"
_EARN, _BY_HAND = "1 point: ", "0.5 points: "


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """What points rest on: its words, and the key of a requirement's page where there is one."""

    words: str
    key: str = ""


class MlTest(msgspec.Struct, frozen=True, kw_only=True):
    """One of the 28 tests. ``badge`` is class, sign and words.

    ``earn`` says what would earn the whole point, ``sign`` is the command by which a person signs for half of one.
    """

    test: str
    title: str
    points: float
    badge: tuple[str, str, str]
    sentence: str
    anchors: tuple[Anchor, ...]
    earn: str
    sign: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One of the four sections; ``decides``: no other has fewer points."""

    name: str
    points: float
    most: int
    decides: bool
    tests: tuple[MlTest, ...]


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The score of 0 to 7. ``first`` are the tests whose points would raise it, what can be earned before the rest."""

    version: Version
    score: float
    meaning: str
    parts: tuple[Part, ...]
    first: tuple[MlTest, ...]


def score_of(site: Site) -> Score | None:
    """The score of the version in service, else of the newest; None without versions, or where it was not taken."""
    versions = site.versions()
    version = site.champion() or (versions[0] if versions else None)
    return None if version is None else score_in(version, standard_of(site, version)[0])


def score_in(version: Version, standard: Standard) -> Score | None:
    """The score that a version's evidence holds; None where it was not taken, or in another form."""
    exhibit = next((one for one in version.evidence.exhibits if one.name == _NAME), None)
    measured = next((one for one in version.evidence.measurements if one.metric == _NAME), None)
    if exhibit is None or measured is None or measured.value is None:
        return None
    chart = ChartView(name=exhibit.name, title=exhibit.title, note=exhibit.note, columns=exhibit.columns)
    if not is_test_score(chart):
        return None
    keys = {one.metric: rule_of(one) for one in reversed(standard.requirements)}
    sections = test_score_sections(chart)["sections"]
    parts = tuple(
        Part(
            name=name,
            points=section["points"],
            most=max(TESTS_PER_SECTION, len(section["tests"])),
            decides=section["points"] <= measured.value,
            tests=tuple(_test(one, keys) for one in section["tests"]),
        )
        for name, section in sections.items()
    )
    return Score(version=version, score=measured.value, meaning=_meaning(measured.reason), parts=parts,
                 first=_first(parts))  # fmt: skip


def _test(line: dict[str, Any], keys: dict[str, str]) -> MlTest:
    earn, sign = _ways(str(line["raises"] or ""))
    return MlTest(
        test=str(line["test"]),
        title=str(line["title"]),
        points=float(line["points"] or 0),
        badge=line["badge"],
        sentence=str(line["sentence"]),
        anchors=tuple(_anchor(one, keys) for one in line["anchors"]),
        earn=earn,
        sign=sign,
    )


def _anchor(words: str, keys: dict[str, str]) -> Anchor:
    kind, _, name = words.partition(":")
    return Anchor(words=words, key=keys.get(name, "") if kind == "measurement" else "")


def _ways(raises: str) -> tuple[str, str]:
    """What earns a whole point, and the command for half of one.

    >>> _ways("1 point: rehearse a rollback; 0.5 points: roadworthy attest x")
    ('rehearse a rollback', 'roadworthy attest x')
    """
    earn, found, sign = raises.rpartition(_BY_HAND)
    if not found:
        return raises.removeprefix(_EARN), ""
    return earn.removesuffix("; ").removeprefix(_EARN), sign


def _first(parts: Sequence[Part]) -> tuple[MlTest, ...]:
    lacking = [one for part in parts if part.decides for one in part.tests if one.points < 1 and (one.earn or one.sign)]
    return tuple(sorted(lacking, key=lambda one: not one.earn))


def _meaning(reason: str) -> str:
    """How the score reads, after the points of the sections."""
    return reason.rpartition("): ")[2].removesuffix(".")
