"""Alerts: what fires, one of them, and what people do about it.

In: words of a request. Out: pages of ``views.dashboard.alerts``; calls of ``api.alerts``. Law: whoever acts is named;
where a call refuses, the page says why, and what was typed stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadworthy import api
from roadworthy.errors import Problem, RegistryError, RoadworthyError, UsageError
from roadworthy.views.dashboard.alerts import alert_list, alert_sheet
from roadworthy.web.desk import Answer, Asked, Desk, Door, Moved, Page

__all__ = ["DOORS"]

_FIELDS = {"--by": "your name", "--reason": "the reason", "RULE": "the rule", "--for": "how long"}
_DONE = {
    "ack": "Alert {} is yours now: no more reminders of it go out.",
    "resolve": "Alert {} is resolved. The next alarm of its rule is another alert.",
    "silence": "Nobody is told of {} until the silence ends. It stays in the list.",
    "unsilence": "Silence {} is over: messages go out again.",
}
_SPANS = ("30 min", "1 h", "2 h", "8 h", "1 day", "1 week")
_ABOUT = "alert"


def _list(desk: Desk, asked: Asked) -> Page:
    return _list_page(desk, asked)


def _one(desk: Desk, asked: Asked) -> Page:
    return _one_page(desk, asked, _number(asked))


def _ack(desk: Desk, asked: Asked) -> Answer:
    return _done(desk, asked, "ack", str(_number(asked)))


def _resolve(desk: Desk, asked: Asked) -> Answer:
    return _done(desk, asked, "resolve", str(_number(asked)))


def _silence(desk: Desk, asked: Asked) -> Answer:
    return _done(desk, asked, "silence", asked.form.get("rule", "").strip())


def _unsilence(desk: Desk, asked: Asked) -> Answer:
    return _done(desk, asked, "unsilence", asked.form.get("silence", "").strip())


def _done(desk: Desk, asked: Asked, action: str, which: str) -> Answer:
    """Do it and go back to where it was asked; where it is refused, that page again, with why."""
    form = asked.form
    by = asked.person or form.get("by", "").strip()
    span = form.get("other", "").strip() or form.get("span", "").strip()
    try:
        if not by:
            raise UsageError("nobody is named", problems=[Problem("nothing", where="--by", expected="who does this")])
        if not which:
            raise UsageError("nothing is named", problems=[Problem("nothing", where="RULE", expected="a rule")])
        api.alerts(
            action,
            which,
            reason=form.get("reason", ""),
            by=by,
            span=span if action == "silence" else "",
            project=desk.file,
        )
    except RegistryError:
        raise  # nothing that was typed is to blame
    except RoadworthyError as error:
        refused = {"action": action, "message": error.message, "problems": _problems(error), "typed": dict(form)}
        return _again(desk, asked, refused)
    place = asked.place.get(_ABOUT, "") or form.get(_ABOUT, "")
    return Moved(f"/alerts/{place}" if _is_number(place) else "/alerts", _DONE[action].format(which))


def _again(desk: Desk, asked: Asked, refused: Mapping[str, Any]) -> Page:
    place = asked.place.get(_ABOUT, "") or asked.form.get(_ABOUT, "")
    if _is_number(place):
        return _one_page(desk, asked, int(place), refused)
    return _list_page(desk, asked, refused)


def _list_page(desk: Desk, asked: Asked, refused: Mapping[str, Any] | None = None) -> Page:
    searched = asked.query.get("rule", "").strip()[:200]
    shown = alert_list(desk.site, searched=searched, page=_turn(asked))
    return Page(
        "alerts.html.j2",
        "Alerts",
        {"list": shown, **_forms(asked, refused)},
        refresh_s=0 if refused else 15,
        status=400 if refused else 200,
    )


def _one_page(desk: Desk, asked: Asked, number: int, refused: Mapping[str, Any] | None = None) -> Page:
    shown = alert_sheet(desk.site, number)
    return Page(
        "alert.html.j2",
        f"Alert {number}",
        {"sheet": shown, **_forms(asked, refused)},
        status=400 if refused else 200,
    )


def _forms(asked: Asked, refused: Mapping[str, Any] | None) -> dict[str, Any]:
    nothing = {"action": "", "message": "", "problems": (), "typed": {}}
    return {"refused": refused or nothing, "lengths": _SPANS, "named": asked.person}


def _problems(error: RoadworthyError) -> tuple[str, ...]:
    """What is wrong with what was typed, in the words of the form."""
    return tuple(
        f"{_FIELDS.get(one.where, one.where)}: {one.found}" + (f"; expected {one.expected}" if one.expected else "")
        for one in error.problems
    )


def _number(asked: Asked) -> int:
    text = asked.place[_ABOUT]
    if not _is_number(text):
        raise UsageError(f"{text[:40]!r} is no number of an alert", next_step="open /alerts, which lists them")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 12


def _turn(asked: Asked) -> int:
    text = asked.query.get("page", "1")
    if not text.isdecimal() or len(text) > 9:
        raise UsageError(f"{text[:40]!r} is no page", next_step="open /alerts")
    return int(text)


DOORS = (
    Door("/alerts", _list, "alerts"),
    Door("/alerts/silence", _silence, "alerts", "POST"),
    Door("/alerts/unsilence", _unsilence, "alerts", "POST"),
    Door("/alerts/{alert}", _one, "alerts"),
    Door("/alerts/{alert}/ack", _ack, "alerts", "POST"),
    Door("/alerts/{alert}/resolve", _resolve, "alerts", "POST"),
)
