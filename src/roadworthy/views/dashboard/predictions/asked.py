"""What is looked for, from the words of a link and back.

In: words of a query. Out: ``Wanted`` for the log, a place to begin at, a link. Laws: words that mean nothing are
refused, not ignored; a personal value stands in no link, only its keyed hash does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, urlencode

from roadworthy.adapters.keys import load_hasher
from roadworthy.adapters.prediction_log.finding import Wanted
from roadworthy.errors import Problem, UsageError
from roadworthy.records.window import Place
from roadworthy.transforms.kept import cleaned, hidden, key_text, plain_text
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import LATEST_US, Span

__all__ = [
    "KNOWN",
    "Asked",
    "asked_for",
    "entity_is_hidden",
    "exact_words",
    "hidden_entity",
    "link_of",
    "place_link",
    "place_word",
]

KNOWN = {
    "": "all",
    "wrong": "decided wrong",
    "yes": "with a label",
    "no": "no label yet",
    "referred": "left to a person",
}
"""What can be asked of a prediction's label, and of who decided."""

_WORDS = ("id", "entity", "span", "since", "until", "decision", "version", "least", "most", "known")
_LONGEST = 1_000
_HASH = re.compile("#[0-9a-f]{32}")


class Asked(NamedTuple):
    """``words`` are those of the link that say something, ``span`` is None for all times."""

    wanted: Wanted
    words: dict[str, str]
    span: Span | None
    before: Place | None
    after: Place | None


def asked_for(query: Mapping[str, str], now_us: int) -> Asked:
    """What a link asks for; UsageError names the word that means nothing."""
    words = {name: query[name].strip() for name in _WORDS if query.get(name, "").strip()}
    long = next((name for name, value in words.items() if len(value) > _LONGEST), "")
    if long:
        raise UsageError(f"{long} is {len(words[long]):,} characters long; at most {_LONGEST:,} are looked for")
    known = words.get("known", "")
    if known not in KNOWN:
        raise UsageError(
            f"known {known[:40]!r} means nothing here", next_step=f"one of {', '.join(filter(None, KNOWN))}"
        )
    span = Span.parse(words, now_us) if words.keys() & {"span", "since", "until"} else None
    wanted = Wanted(
        id=words.get("id", ""),
        entities=(words["entity"],) if "entity" in words else (),
        since_us=None if span is None else span.since_us,
        until_us=None if span is None or (span.chosen or "until" not in words) else span.until_us,
        decision=words.get("decision", ""),
        version=words.get("version", ""),
        least=_number(words, "least"),
        most=_number(words, "most"),
        labelled={"yes": True, "no": False}.get(known),
        wrong=known == "wrong",
        referred=known == "referred",
    )
    before, after = (_place(query[name], name) if query.get(name) else None for name in ("before", "after"))
    return Asked(wanted, words, span, None if after else before, after)


def link_of(words: Mapping[str, str], **changed: str) -> str:
    """The link to a list, of the words that say something.

    >>> link_of({"id": "a b", "known": ""}, known="wrong")
    '/predictions?id=a+b&known=wrong'
    """
    said = {name: value for name, value in {**words, **changed}.items() if value}
    return f"/predictions?{urlencode(said)}" if said else "/predictions"


def place_link(id_: str, row: int) -> str:
    """The link to one prediction.

    >>> place_link("0a/b", 3)
    '/predictions/0a%2Fb/3'
    """
    return f"/predictions/{quote(id_, safe='')}/{row}"


def exact_words(at_us: int) -> tuple[str, str]:
    """An instant for machines, and for people to the second.

    >>> exact_words(1_772_409_601_250_000)
    ('2026-03-02T00:00:01.250000+00:00', '2026-03-02 00:00:01')
    """
    moment = datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(microsecond=at_us % 1_000_000)
    return moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M:%S")


def place_word(place: Place) -> str:
    """A place in the log as a word of a link."""
    return f"{place.at_us}.{place.row}.{place.id}"


def entity_is_hidden(site: Site) -> bool:
    """Whether the log has the entity as a keyed hash."""
    return site.spec.data.entity in site.spec.data.personal


def hidden_entity(site: Site, text: str) -> str:
    """A typed entity as the log has it: hashed where it is personal, else as its column types it.

    ``#`` and a hash is that hash. Raises UsageError where the key that hides such values is not here.
    """
    name, text = site.spec.data.entity, plain_text(text) or ""
    if not name or not text:
        return text
    column = site.spec.contract.columns[name]
    if not entity_is_hidden(site):
        typed = cleaned([text], name, column)
        return typed.to_frame().select(key_text(name, typed.dtype)).item() or text
    if _HASH.fullmatch(text):
        return text[1:]
    file = site.settings.hashing_key
    if not file.exists():
        raise UsageError(
            f"{name} is personal, and the key that hides it is not here",
            next_step="look for the keyed hash, as a prediction's page shows it: # and 32 characters",
        )
    found = hidden([text], column, load_hasher(file).hash_one)[0]
    if found is None:
        raise UsageError(f"this stands for nobody in {name}, so no prediction is about it", next_step="another value")
    return found


def _number(words: Mapping[str, str], name: str) -> float | None:
    if name not in words:
        return None
    try:
        value = float(words[name])
    except ValueError:
        value = math.nan
    if math.isnan(value):
        problem = Problem(words[name][:40], where="score at least" if name == "least" else "score at most")
        raise UsageError("a bound of the score is no number", problems=[problem], next_step="a number such as 0.5")
    return value


def _place(text: str, name: str) -> Place:
    at_us, _, rest = text.partition(".")
    row, _, id_ = rest.partition(".")
    plain = (one.isascii() and one.isdigit() and len(one) <= 18 for one in (at_us, row or "0"))
    if not all(plain) or int(at_us) > LATEST_US:
        raise UsageError(f"{name} {text[:60]!r} is no place in the log", next_step="begin at the newest")
    return Place(int(at_us), id_, int(row or "0"))
