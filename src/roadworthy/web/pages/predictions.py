"""Predictions: find one, open it up, give its label."""

from __future__ import annotations

from roadworthy import api
from roadworthy.errors import DataError, UnknownName, UsageError
from roadworthy.views.dashboard.predictions import (
    hidden_entity,
    labelling,
    link_of,
    noted,
    place_link,
    prediction,
    predictions,
)
from roadworthy.web.desk import Asked, Desk, Door, Moved, Page

__all__ = ["DOORS"]

_ONE = "/predictions/{id:path}/{row}"
_DIGITS = 18
_ROLES = {
    "input": "the model takes it",
    "past": "from the past, as it was then",
    "who": "who",
    "when": "when",
    "beside": "not taken by the model",
    "logged": "",
}
"""What a column is to the model, in words."""


def _list(desk: Desk, asked: Asked) -> Page:
    return Page("predictions.html.j2", "Predictions", {"p": predictions(desk.site, asked.query)})


def _found(desk: Desk, asked: Asked) -> Moved:
    """The form of the list as a link: an entity that is personal is hashed before it stands in one."""
    words = {name: value.strip() for name, value in asked.form.items()}
    if words.get("entity"):
        words["entity"] = hidden_entity(desk.site, words["entity"])
    return Moved(link_of(words))


def _one(desk: Desk, asked: Asked) -> Page:
    return _shown(desk, asked)


def _shown(desk: Desk, asked: Asked, refused: tuple[str, ...] = ()) -> Page:
    one = prediction(desk.site, *_named(asked))
    shown = {"p": one, "refused": refused, "given": asked.form, "roles": _ROLES}
    return Page("predictions_one.html.j2", f"Prediction {one.id}", shown, status=422 if refused else 200)


def _told(desk: Desk, asked: Asked) -> Page | Moved:
    """A label by hand. One that this model could not have predicted is refused on the page, with what was typed."""
    id_, row = _named(asked)
    form, within = labelling(desk.site, id_, row)
    label, comment = (asked.form.get(name, "").strip() for name in ("label", "comment"))
    if form.why_not:
        raise UsageError(form.why_not)
    if not label:
        return _shown(desk, asked, ("Say what it turned out as.",))
    try:
        said = api.feedback(
            id=id_,
            row=str(row),
            label=label,
            comment=comment,
            by=asked.person,
            version=form.version,
            project=desk.file,
        )
    except DataError as error:
        words = (
            f"{problem.found[:1].upper()}{problem.found[1:]}; expected {problem.expected}."
            for problem in error.problems
        )
        return _shown(desk, asked, ("This cannot be taken, and nothing was stored.", *words))
    return Moved(place_link(id_, row), noted(label, within, fresh=said.accepted > 0, changed=said.changed > 0))


def _named(asked: Asked) -> tuple[str, int]:
    """The id and the row of a path."""
    id_, row = asked.place["id"], asked.place["row"]
    if not (row.isascii() and row.isdecimal() and len(row) <= _DIGITS):
        raise UnknownName("row", row[:40], [], next_step="rows of a request count from 0")
    return id_, int(row)


DOORS = (
    Door("/predictions", _list, "predictions"),
    Door("/predictions/find", _found, "predictions", "POST"),
    Door(_ONE, _one, "predictions"),
    Door(_ONE, _told, "predictions", "POST"),
)
