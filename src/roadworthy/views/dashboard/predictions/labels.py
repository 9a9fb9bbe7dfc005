"""What was told of one prediction, what may be told, and the window of the monitor that counts it.

In: a row of the log and the labels of the lake. Out: ``Told``s, a ``LabelForm``, a ``Within``. Laws: every label that
was ever told is listed, as text; what may be chosen are the classes of the version that answered; a window that was
not judged yet is not made up.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log.finding import labels_of
from roadworthy.errors import RoadworthyError
from roadworthy.formats import wording
from roadworthy.formats.bundle import ServingContract
from roadworthy.lifecycle import watching
from roadworthy.records.project import Task
from roadworthy.records.window import Cut, Place, WindowKind, WindowSummary
from roadworthy.serving.feedback import LONGEST_COMMENT, LONGEST_ID
from roadworthy.views.dashboard.predictions.logged import Opened, Unopened
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["LabelForm", "Told", "Within", "form_of", "noted", "told_of", "within"]

_MOST_RADIO = 6


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One label as it came. ``stands``: it is the last one, which counts; ``by_entity``: it named who and when.

    ``who`` told it, empty where that is not known.
    """

    at_us: int
    label: str
    comment: str
    who: str
    stands: bool
    wrong: bool
    by_entity: bool


class LabelForm(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told. ``classes`` to choose from (none: a number), ``version`` whose classes they are.

    ``why_not`` says why nothing can be told here, empty where it can.
    """

    classes: tuple[str, ...] = ()
    radio: bool = False
    bounds: str = ""
    version: str = ""
    target: str = ""
    longest_comment: int = LONGEST_COMMENT
    why_not: str = ""


class Within(msgspec.Struct, frozen=True, kw_only=True):
    """The window that a prediction is counted in. ``title`` is its name, ``link`` where it is shown.

    ``sentence`` says what is known of it, also where it was not judged yet.
    """

    sentence: str
    title: str = ""
    link: str = ""
    start_us: int = 0
    end_us: int = 0


def told_of(site: Site, row: pl.DataFrame, decision: str) -> tuple[Told, ...]:
    """All labels of a prediction, the newest first."""
    data = site.spec.data
    found = labels_of(site.settings.lake, row, entity=data.entity, time=data.time)
    found = found.with_columns(pl.col("at").to_physical())
    last = found.height - 1
    return tuple(
        Told(
            at_us=one["at"],
            label=wording.number(one["value"], 6) if one["value"] is not None else one["label"],
            comment=one["comment"],
            who=one["who"],
            stands=place == last,
            wrong=bool(decision and one["label"] and one["label"] != decision),
            by_entity=one["by"] == "entity",
        )
        for place, one in enumerate(found.iter_rows(named=True))
    )[::-1]


def form_of(site: Site, id_: str, row: int, opened: Opened | Unopened) -> LabelForm:
    """What may be told of a prediction: the classes of its version, else of the version in service."""
    if not 0 < len(id_) <= LONGEST_ID:
        return LabelForm(why_not=f"A label names a prediction by an id of at most {LONGEST_ID} characters.")
    if row >= 2**31:
        return LabelForm(why_not="A label names a row by a number below 2,147,483,648.")
    if isinstance(opened, Opened):
        return _form(opened.contract, str(opened.version.number))
    version = opened.version or site.champion() or next(iter(site.versions()), None)
    if version is None:
        return LabelForm(why_not="No version is registered, so it is not known what a label may be.")
    try:
        return _form(site.bundle(version).parts.contract, str(version.number))
    except RoadworthyError as error:
        return LabelForm(why_not=f"It is not known what a label may be: {error.message}.")


def _form(contract: ServingContract, version: str) -> LabelForm:
    if contract.task is not Task.REGRESSION:
        few = len(contract.classes) <= _MOST_RADIO
        return LabelForm(classes=contract.classes, radio=few, version=version, target=contract.target)
    column = contract.contract.columns.get(contract.target)
    ends = (
        []
        if column is None
        else [
            f"{words} {wording.number(end, 6)}"
            for words, end in (("at least", column.min), ("at most", column.max))
            if end is not None
        ]
    )
    return LabelForm(bounds=" and ".join(ends), version=version, target=contract.target)


def within(site: Site, at_us: int, id_: str, row: int) -> Within:
    """The window of the series that is looked at in which a place of the log lies."""
    place = Place(at_us, id_, row)
    with site.reading() as connection:
        series = site.series(connection)
        near = watching.summaries(connection, site.name, series, since_us=at_us - 1, until_us=at_us + 1)
        last = watching.last(connection, site.name, series)
    found = next((one for one in near if one.start_us <= at_us and one.until >= place), None)
    if found is not None:
        return _judged(series, found)
    if last is None:
        return Within(sentence="Nobody watches this project yet, so it was counted in no window.")
    if place > last.until:
        when = _ends(series, at_us)
        return Within(sentence=f"It is in a window that was not judged yet{when}.")
    return Within(sentence="It came before the first window that was judged.")


def _judged(series: str, found: WindowSummary) -> Within:
    title = f"{series}/{found.number}"
    revised = (
        ""
        if not found.revision
        else f", revised {found.revision} times since"
        if found.revision > 1
        else ", revised once since"
    )
    rows = f"{wording.count(found.rows)} rows, {wording.count(found.labelled)} of them with a label"
    return Within(
        sentence=f"{rows}; {found.readiness}{revised}",
        title=title,
        link=f"/windows/{quote(series, safe='')}/{found.number}",
        start_us=found.start_us,
        end_us=found.end_us,
    )


def _ends(series: str, at_us: int) -> str:
    cut = Cut.parse(series)
    if cut.kind is WindowKind.COUNT:
        return ""
    size = cut.size * 1_000_000
    span = Span(since_us=at_us // size * size, until_us=(at_us // size + 1) * size)
    return f": {span.words}"


def noted(label: str, counted: Within, *, fresh: bool, changed: bool) -> str:
    """What to say to somebody who told a label."""
    if not fresh:
        return f"This was told before: it turned out as `{label}`. Nothing was stored."
    what = f"Noted: it turned out as `{label}`{', otherwise than told before' if changed else ''}."
    if counted.title:
        return f"{what} Window {counted.title} will be revised with it when the monitor looks next."
    return f"{what} Its window will count it."
