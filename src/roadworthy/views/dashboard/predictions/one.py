"""One prediction, opened up: what was asked and answered, whether that was sound, why, and what came of it.

In: a ``Site``, an id and a row. Out: a ``Prediction``. Laws: whatever cannot be shown says why, and hides nothing else:
a version that is gone takes its trace and its drivers with it, never the inputs, the labels or the answer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log import column_name
from roadworthy.adapters.prediction_log.finding import find_one
from roadworthy.errors import RoadworthyError, UnknownName
from roadworthy.formats import wording
from roadworthy.formats.bundle import ServingContract
from roadworthy.records.project import Task
from roadworthy.serving.chain import CONSTANT
from roadworthy.transforms.kept import key_text
from roadworthy.views.dashboard.predictions.asked import exact_words, link_of, place_link
from roadworthy.views.dashboard.predictions.drivers import Drivers, drivers_of
from roadworthy.views.dashboard.predictions.findings import Input, inputs_of, logged_inputs, objections
from roadworthy.views.dashboard.predictions.labels import LabelForm, Told, Within, form_of, told_of, within
from roadworthy.views.dashboard.predictions.layers import Layers, layers_of
from roadworthy.views.dashboard.predictions.logged import Opened, Unopened, opened
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["Prediction", "labelling", "prediction"]

_AROUND_US = 5 * 60 * 1_000_000
_Made = TypeVar("_Made")


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction. ``sentence`` says it in words; whatever is None has its reason beside it, under ``why_…``.

    ``number`` is the version's, None where the registry does not know it; ``before`` says who is in service now.
    ``scores`` are (class, score, share), the highest first, for several classes. ``objections`` are the contract's,
    ``remarks`` counts unusual values.
    """

    id: str
    row: int
    link: str
    at_us: int
    at: str
    at_words: str
    version: str
    number: int | None
    sentence: str
    answered_by: str
    score: str
    share: float | None
    scores: tuple[tuple[str, str, float], ...]
    threshold: float | None
    decision: str
    positive: str
    referred: tuple[str, ...]
    told: tuple[Told, ...]
    form: LabelForm
    within: Within
    inputs: tuple[Input, ...]
    remarks: int
    objections: tuple[str, ...] | None
    why_no_objections: str
    layers: Layers | None
    why_no_layers: str
    drivers: Drivers | None
    why_no_drivers: str
    same_entity: str
    around: str
    entity: str
    hides: bool


def prediction(site: Site, id_: str, row: int) -> Prediction:
    """One prediction; UnknownName where the log has none of that id and row."""
    found = _row(site, id_, row)
    own = found.select(pl.col("at").to_physical(), "version", "score", "decision", "referred").row(0, named=True)
    title, decision, scores = own["version"] or "", own["decision"] or "", _scores(own["score"])
    at_hand = opened(site, found, title)
    contract = at_hand.contract if isinstance(at_hand, Opened) else None
    told = told_of(site, found, decision)
    at, at_words = exact_words(own["at"])
    inputs = inputs_of(at_hand) if isinstance(at_hand, Opened) else logged_inputs(found, site.spec.data)
    binary = len(scores) == 1 and site.spec.task is Task.BINARY and 0 <= scores[0] <= 1
    return Prediction(
        id=id_,
        row=row,
        link=place_link(id_, row),
        at_us=own["at"],
        at=at,
        at_words=at_words,
        version=title,
        number=at_hand.version.number if at_hand.version is not None else None,
        sentence=_sentence(site.spec.task, scores, own, contract, told),
        answered_by=_answered_by(site, title),
        score=_score(site.spec.task, scores),
        share=scores[0] if binary else None,
        scores=_by_class(contract, scores),
        threshold=contract.threshold if contract is not None and binary else None,
        decision=decision,
        positive="" if contract is None else contract.positive,
        referred=tuple(filter(None, (own["referred"] or "").split("; "))),
        told=told,
        form=form_of(site, id_, row, at_hand),
        within=within(site, own["at"], id_, row),
        inputs=inputs,
        remarks=sum(bool(one.remark) for one in inputs),
        **_looked_into(at_hand, id_, row, scores),
        **_links(site, found, own["at"]),
    )


def labelling(site: Site, id_: str, row: int) -> tuple[LabelForm, Within]:
    """What may be told of a prediction, and the window that will count it; UnknownName as ``prediction``."""
    found = _row(site, id_, row)
    at_us, title = found.select(pl.col("at").to_physical(), "version").row(0)
    return form_of(site, id_, row, opened(site, found, title or "")), within(site, at_us, id_, row)


def _row(site: Site, id_: str, row: int) -> pl.DataFrame:
    found = find_one(site.settings.lake, id_, row)
    if not found.height:
        shown = f"{wording.clipped(id_, 80)}, row {row}"
        raise UnknownName("prediction", shown, [], next_step="look for it on the page Predictions by how its id begins")
    return found


def _looked_into(at_hand: Opened | Unopened, id_: str, row: int, scores: Sequence[float]) -> dict[str, Any]:
    """What takes the version's own contract and graph, each with the reason where it cannot be had."""
    if isinstance(at_hand, Unopened):
        nothing = dict.fromkeys(("objections", "layers", "drivers"))
        return {**nothing, **dict.fromkeys(("why_no_objections", "why_no_layers", "why_no_drivers"), at_hand.why)}
    objected, why_no_objections = _tried(lambda: objections(at_hand))
    layers: Layers | None = None
    drivers: Drivers | None = None
    why_no_layers = why_no_drivers = _why_lacking(at_hand)
    if not why_no_layers:
        layers, why_no_layers = _tried(lambda: layers_of(at_hand, scores))
        drivers, why_no_drivers = _tried(lambda: drivers_of(at_hand, id_, row))
    return {
        "objections": objected,
        "why_no_objections": why_no_objections,
        "layers": layers,
        "why_no_layers": why_no_layers,
        "drivers": drivers,
        "why_no_drivers": why_no_drivers,
    }


def _tried(make: Callable[[], _Made]) -> tuple[_Made | None, str]:
    """What a part of the page shows, or why it cannot."""
    try:
        return make(), ""
    except RoadworthyError as error:
        return None, f"{error.message[:1].upper()}{error.message[1:]}."


def _why_lacking(at_hand: Opened) -> str:
    if not at_hand.lacking:
        return ""
    names = ", ".join(wording.clipped(name, 40) for name in at_hand.lacking[:6])
    more = f" and {len(at_hand.lacking) - 6} more" if len(at_hand.lacking) > 6 else ""
    personal = set(at_hand.lacking) <= set(at_hand.contract.personal)
    why = "personal, so the log does not hold it" if personal else "not in the log"
    return f"The graph cannot be asked again: {names}{more} is {why}."


def _scores(score: Any) -> list[float]:
    if score is None:
        return []
    return [float(one) for one in score] if isinstance(score, list) else [float(score)]


def _score(task: Task, scores: Sequence[float]) -> str:
    if not scores:
        return wording.NOTHING
    return wording.number(max(scores), 6 if task is Task.REGRESSION else 4)


def _by_class(contract: ServingContract | None, scores: Sequence[float]) -> tuple[tuple[str, str, float], ...]:
    """Several scores by class, the highest first."""
    if len(scores) < 2:
        return ()
    classes = contract.classes if contract is not None and len(contract.classes) == len(scores) else ()
    named = list(classes) or [f"score {place}" for place in range(len(scores))]
    ordered = sorted(zip(named, scores, strict=True), key=lambda one: -one[1])
    return tuple((name, wording.number(score, 4), min(1.0, max(0.0, score))) for name, score in ordered)


def _sentence(
    task: Task,
    scores: Sequence[float],
    own: Mapping[str, Any],
    contract: ServingContract | None,
    told: Sequence[Told],
) -> str:
    """What was answered and what came of it, in words."""
    title, decision = wording.clipped(own["version"] or "nobody", 60), wording.clipped(own["decision"] or "", 60)
    score = _score(task, scores)
    if title == CONSTANT:
        said = f"No model could answer, so the declared constant did: `{decision or score}`."
    elif own["referred"]:
        said = f"{title} left it to a person; its score was {score}."
    elif task is Task.REGRESSION:
        said = f"{title} estimated {score}."
    elif task is Task.BINARY and contract is not None and contract.threshold is not None:
        side = "at or above" if scores and scores[0] >= contract.threshold else "below"
        threshold = wording.number(contract.threshold)
        said = f"{title} decided `{decision}`: the score {score} is {side} its threshold {threshold}."
    else:
        said = f"{title} decided `{decision}`, with a score of {score}."
    if not told:
        return f"{said} What really came of it was not told yet."
    label = wording.clipped(told[0].label, 60)
    if not decision or not scores:
        return f"{said} It turned out as `{label}`."
    return f"{said} It turned out as `{label}`: the decision was {'wrong' if told[0].wrong else 'right'}."


def _answered_by(site: Site, title: str) -> str:
    """Who answered, beside who is in service now."""
    champion = site.champion()
    if title == CONSTANT:
        return "the constant that the project declares for when no model can answer (a fallback)"
    if champion is None:
        return "no version is in service now"
    if title == champion.title:
        return "in service now"
    return f"not in service now: {champion.title} is"


def _links(site: Site, found: pl.DataFrame, at_us: int) -> dict[str, Any]:
    """Where to look further: the same entity, the same time."""
    around = Span(since_us=at_us - _AROUND_US, until_us=at_us + _AROUND_US)
    name = column_name(site.spec.data.entity) if site.spec.data.entity else ""
    who = None
    if name in found.columns:
        who = found.select(key_text(name, found.schema[name])).item()
    return {
        "same_entity": link_of({"entity": who}) if who else "",
        "around": f"/predictions?{around.link}",
        "entity": site.spec.data.entity,
        "hides": bool(site.spec.data.personal),
    }
