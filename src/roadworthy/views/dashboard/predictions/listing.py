"""A page of predictions, newest first, and what can be asked of them.

In: a ``Site`` and the words of a link. Out: ``Predictions``. Laws: 50 rows at most, whatever is asked; the links to
older and newer ones begin at a row, so that they show the same tomorrow; a search that took too long says how
far it came and goes on by a link.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log.finding import Found, find
from roadworthy.errors import RoadworthyError
from roadworthy.formats import wording
from roadworthy.records.project import Task
from roadworthy.records.window import Place
from roadworthy.serving.chain import CONSTANT
from roadworthy.views.dashboard.predictions.asked import (
    KNOWN,
    Asked,
    asked_for,
    entity_is_hidden,
    exact_words,
    link_of,
    place_link,
    place_word,
)
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import SPANS, instant_words

__all__ = ["PAGE", "Choice", "Line", "Predictions", "predictions"]

PAGE = 50
"""Rows of a page."""
_SHORT = 12
_MOST_CLASSES = 40
_RECENT_US = 2 * 86_400_000_000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction of a list.

    ``at`` is its instant for machines, ``at_words`` for people, UTC. ``share`` is a score within 0 to 1, else None.
    ``told`` is its label, empty where none is known; ``wrong``: another than the decision.
    """

    link: str
    id: str
    row: int
    at_us: int
    at: str
    at_words: str
    version: str
    score: str
    share: float | None
    decision: str
    referred: str
    entity: str
    entity_link: str
    told: str
    wrong: bool


class Choice(msgspec.Struct, frozen=True):
    """One thing that can be chosen: its word in a link, its words for people, the link, whether it is chosen now."""

    word: str
    words: str
    link: str
    chosen: bool


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """A page. ``sentence`` says what is shown; ``empty`` why nothing is, ``command`` what brings something.

    ``words`` are those of the link. ``older``, ``newer``, ``newest`` and ``further`` are links, empty where there is
    nothing to go to; ``further`` goes on where the search stopped. ``entity`` names who a prediction is about.
    """

    lines: tuple[Line, ...]
    sentence: str
    words: dict[str, str]
    known: tuple[Choice, ...]
    spans: tuple[Choice, ...]
    decisions: tuple[str, ...]
    versions: tuple[str, ...]
    entity: str
    entity_hidden: bool
    entity_shown: str
    several_scores: bool
    bounded: bool
    more_open: bool
    older: str = ""
    newer: str = ""
    newest: str = ""
    further: str = ""
    empty: str = ""
    command: str = ""


def predictions(site: Site, query: Mapping[str, str]) -> Predictions:
    """The page that a link asks for; UsageError for words that mean nothing."""
    asked = asked_for(query, site.now_us())
    data, task = site.spec.data, site.spec.task
    found = find(
        site.settings.lake,
        asked.wanted,
        before=asked.before,
        after=asked.after,
        count=PAGE,
        entity=data.entity,
        time=data.time,
    )
    hidden = entity_is_hidden(site)
    lines = tuple(
        _line(row, hidden=hidden, task=task)
        for row in found.rows.with_columns(pl.col("at").to_physical()).iter_rows(named=True)
    )
    decisions, versions = _choices(site, asked)
    empty, command = ("", "") if lines else _why_empty(asked, found)
    return Predictions(
        lines=lines,
        sentence=_sentence(lines, asked, found, site.now_us()),
        words=asked.words,
        known=_known(asked, task),
        spans=_spans(asked),
        decisions=decisions,
        versions=versions,
        entity=data.entity,
        entity_hidden=hidden,
        entity_shown=("#" if hidden and asked.words.get("entity") else "") + asked.words.get("entity", ""),
        several_scores=task is Task.MULTICLASS,
        bounded=task is not Task.REGRESSION,
        more_open=bool(asked.words.keys() & {"version", "least", "most", "since", "until"}),
        empty=empty,
        command=command,
        **_turns(asked, found),
    )


def _line(row: Mapping[str, Any], *, hidden: bool, task: Task) -> Line:
    score, who = row["score"], row["entity"] or ""
    at, at_words = exact_words(row["at"])
    share = score if score is not None and task is not Task.REGRESSION and 0 <= score <= 1 else None
    told = wording.number(row["value"], 6) if row["value"] is not None else (row["label"] or "")
    return Line(
        link=place_link(row["id"], row["row"]),
        id=row["id"],
        row=row["row"],
        at_us=row["at"],
        at=at,
        at_words=at_words,
        version=row["version"] or "",
        score=wording.number(score, 6) if share is None else f"{share:.4f}",
        share=share,
        decision=row["decision"] or "",
        referred=row["referred"] or "",
        entity=f"#{who[:_SHORT]}…" if hidden and who else who,
        entity_link=link_of({"entity": who}) if who else "",
        told=told,
        wrong=bool(row["label"] and row["decision"] and row["label"] != row["decision"]),
    )


def _turns(asked: Asked, found: Found) -> dict[str, str]:
    """Links to what is before and after this page."""
    rows = found.rows
    made = dict.fromkeys(("older", "newer", "newest", "further"), "")
    on = "before" if asked.after is None else "after"
    if found.reached is not None and not found.more:
        made["further"] = link_of(asked.words, **{on: place_word(found.reached)})
    if rows.height:
        first, last = (place_word(_place(rows, at)) for at in (0, -1))
        if found.more or asked.after is not None:
            made["older"] = link_of(asked.words, before=last)
        if asked.before is not None or (asked.after is not None and found.more):
            made["newer"] = link_of(asked.words, after=first)
    if asked.before is not None or asked.after is not None:
        made["newest"] = link_of(asked.words)
    return made


def _choices(site: Site, asked: Asked) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decisions and versions to choose from: those that are known, and whatever the link names."""
    versions = [*(version.title for version in site.versions()), CONSTANT]
    decisions = _classes(site)
    for names, word in ((decisions, asked.wanted.decision), (versions, asked.wanted.version)):
        if word and word not in names:
            names.append(word)
    return tuple(decisions), tuple(versions)


def _classes(site: Site) -> list[str]:
    """What may be decided, by the version in service; nothing where its bundle is not at hand."""
    version = site.champion() or next(iter(site.versions()), None)
    if version is None or site.spec.task is Task.REGRESSION:
        return []
    try:
        return list(site.bundle(version).parts.contract.classes[:_MOST_CLASSES])
    except RoadworthyError:
        return []  # the list of predictions does not need it, and a version's own page says what is wrong


def _known(asked: Asked, task: Task) -> tuple[Choice, ...]:
    now = asked.words.get("known", "")
    return tuple(
        Choice(word, words, link_of(asked.words, known=word), word == now)
        for word, words in KNOWN.items()
        if word != "wrong" or task is not Task.REGRESSION
    )


def _spans(asked: Asked) -> tuple[Choice, ...]:
    others = {name: value for name, value in asked.words.items() if name not in {"span", "since", "until"}}
    now = None if asked.span is None else asked.span.chosen
    made = [Choice(word, words, link_of(others, span=word), word == now) for word, (words, _) in SPANS.items()]
    return (Choice("", "any time", link_of(others), asked.span is None), *made)


def _sentence(lines: tuple[Line, ...], asked: Asked, found: Found, now_us: int) -> str:
    """What is shown, in words."""
    if not lines:
        return ""
    many = len(lines)
    which = {
        "wrong": " whose label says otherwise than the decision",
        "yes": " with a label",
        "no": " without a label yet",
        "referred": " that were left to a person",
    }.get(asked.words.get("known", ""), "")
    noun = "prediction" if many == 1 else "predictions"
    when = "" if asked.span is None else f", {asked.span.words}" if asked.span.chosen else f", from {asked.span.words}"
    on_top = asked.before is None and asked.after is None
    what = f"The newest {many} {noun}{which}" if on_top and found.more else f"{many} {noun}{which}"
    last = wording.duration(max(0.0, (now_us - lines[0].at_us) / 1e6))
    newest = f"; the latest came {last} ago" if on_top and now_us - lines[0].at_us < _RECENT_US else ""
    return f"{what}{when}{newest}."


def _why_empty(asked: Asked, found: Found) -> tuple[str, str]:
    """Why nothing is shown, and the command that brings something."""
    if found.reached is not None:
        return (
            f"Nothing like this was found back to {instant_words(found.reached.at_us)}; there is more of the log.",
            "",
        )
    if asked.words:
        return "No prediction in the log is like this. Ask for less: a shorter id, another time, any version.", ""
    if asked.before is not None or asked.after is not None:
        return "There is nothing further on in the log.", ""
    return "No prediction was logged yet. Every answer of a server will stand here, and be opened up.", "roadworthy up"


def _place(rows: pl.DataFrame, at: int) -> Place:
    at_us, id_, row = rows.select(pl.col("at").to_physical(), "id", "row").row(at)
    return Place(at_us, id_, row)
