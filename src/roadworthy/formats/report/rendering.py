"""What every page is made with: templates, how foreign text is shown, and the look that pages share.

In: templates by name. Out: a Jinja environment, a style sheet. Laws: every text is escaped, shortened and kept from
changing the direction of what stands around it; a picture is a drawing and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from roadworthy.formats import wording
from roadworthy.formats.report.bars import interval_bar
from roadworthy.formats.report.pictures import checked_svg
from roadworthy.formats.report.tables import MOST_OPEN, behind_picture, by_itself
from roadworthy.formats.report.view import ChartView, RequirementRow
from roadworthy.records.verdict import Outcome, Readiness
from roadworthy.standard import CATALOGUE, format_quantity

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import jinja2
    from markupsafe import Markup

__all__ = ["GRADES", "MOST_SIGNS", "OUTCOME", "SHARED", "STATUS", "environment", "look"]

SHARED = ("parts.html.j2", "look.css")
"""Templates that every page has at hand."""
MOST_SIGNS = 44
"""Of one row of a table that stands in half the page's width."""
MOST_LISTED = 500
_TITLE = 2000
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')

STATUS = {
    Readiness.READY: ("ready", "✓", "Ready"),
    Readiness.NOT_PROVEN: ("open", "?", "Not proven"),
    Readiness.NOT_READY: ("bad", "✕", "Not ready"),
}
OUTCOME = {
    Outcome.PASS: ("ready", "✓", "passes"),
    Outcome.FAIL: ("bad", "✕", "fails"),
    Outcome.ERROR: ("bad", "!", "check broke"),
    Outcome.INSUFFICIENT: ("open", "?", "not proven"),
    Outcome.WAIVED: ("waived", "~", "waived"),
}
GRADES = {"fails": ("bad", "✕", "fails"), "suspects": ("open", "?", "suspect"), "notes": ("quiet", "i", "note")}


def look() -> str:
    """The style sheet that all pages share: colours in both schemes, type, badges, tables, cards."""
    return (resources.files("roadworthy.formats.report") / "templates" / "look.css").read_text("utf-8")


def _titled(value: Any) -> str:
    metric = CATALOGUE.get(str(value))
    return metric.title if metric is not None else ""


def _bound_words(row: RequirementRow) -> str:
    unit = row.verdict.measurement.unit if row.verdict.measurement is not None else ""
    words = []
    if row.at_least is not None:
        words.append(f"at least {format_quantity(row.at_least, unit)}")
    if row.at_most is not None:
        words.append(f"at most {format_quantity(row.at_most, unit)}")
    return " and ".join(words)


def _value(row: RequirementRow) -> str:
    measured = row.verdict.measurement
    if measured is None:
        return wording.quantity(None)
    return wording.against(measured.value, _near(row), measured.unit)


def _near(row: RequirementRow) -> float | None:
    return row.at_least if row.at_least is not None else row.at_most


def _interval(row: RequirementRow) -> str:
    measured = row.verdict.measurement
    if measured is None or measured.value is None:
        return ""
    return wording.interval(measured.lower, measured.upper, measured.unit, _near(row))


def _narrow(chart: ChartView) -> bool:
    """Whether half the page's width is enough: for a picture, and for a table of a few short columns."""
    longest = sum(
        max((len(str(value)) for value in values[:MOST_OPEN] if isinstance(value, str)), default=8)
        for name, values in chart.columns.items()
        if not name.endswith("upper")
    )
    return bool(chart.svg) or longest <= MOST_SIGNS


def _balanced(charts: list[ChartView]) -> list[list[ChartView]]:
    """Two columns of about equal height, so that no hole is left beside a tall picture; order is kept inside each."""
    places: list[list[int]] = [[], []]
    heights = [0.0, 0.0]
    for place in sorted(range(len(charts)), key=lambda place: -_height(charts[place])):
        shorter = 0 if heights[0] <= heights[1] + 0.05 else 1
        places[shorter].append(place)
        heights[shorter] += _height(charts[place])
    ordered = sorted((sorted(column) for column in places if column), key=lambda column: column[0])
    return [[charts[place] for place in column] for column in ordered]


def _height(chart: ChartView) -> float:
    """About how tall a picture's card is, in widths of a column."""
    box = _BOX.search(chart.svg)
    rows = max((len(values) for values in chart.columns.values()), default=0)
    body = 1.06 * float(box[2]) / 440 if box else 0.09 * (1 + min(rows, MOST_OPEN))
    return body + 0.3


def _some(items: Any) -> list[Any]:
    return list(items)[:MOST_LISTED]


def _text(value: Any, limit: int = 120, tag: str = "bdi") -> Markup:
    """Foreign text: escaped, isolated, shortened; the longer form is in its title."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with Jinja, which is loaded only where a page is made

    whole = str(value)
    shown = wording.clipped(whole, limit)
    if len(whole) <= limit:
        return Markup("<{0}>{1}</{0}>").format(Markup(tag), shown)  # noqa: S704 - the tag is one of two fixed ones
    title = wording.clipped(whole, _TITLE)
    return Markup('<{0} title="{2}">{1}</{0}>').format(Markup(tag), shown, title)  # noqa: S704 - as above


def _code(value: Any, limit: int = 300) -> Markup:
    return _text(value, limit, "code")


def _prose(value: Any, limit: int = 600) -> Markup:
    """A sentence in which `words like this` are code."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - as in _text

    parts = wording.clipped(str(value), limit).split("`")
    pieces = [Markup("<code>{}</code>").format(part) if turn % 2 else escape(part) for turn, part in enumerate(parts)]
    return Markup("<bdi>{}</bdi>").format(Markup("").join(pieces))


def _picture(svg: str) -> Markup:
    from markupsafe import Markup  # noqa: PLC0415 - as in _text

    return Markup(checked_svg(svg))  # noqa: S704 - checked to be a drawing


def _bar(row: RequirementRow) -> Markup:
    from markupsafe import Markup  # noqa: PLC0415 - as in _text

    return Markup(interval_bar(row))  # noqa: S704 - made of numbers and fixed words


def environment(names: Sequence[str], folder: Traversable | None = None) -> jinja2.Environment:
    """Where templates become pages: ``names`` from ``folder`` (the report's own by default), and the shared parts.

    Every value that a template shows is escaped; a name that nobody gave is an error.
    """
    import jinja2  # noqa: PLC0415 - the view beside this is imported by commands that render nothing

    own = resources.files("roadworthy.formats.report") / "templates"
    files = {name: (own / name).read_text("utf-8") for name in SHARED}
    files |= {name: ((folder or own) / name).read_text("utf-8") for name in names}
    made = jinja2.Environment(
        loader=jinja2.DictLoader(files),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"w": wording, "outcome": OUTCOME, "grades": GRADES}
    made.tests["narrow"] = _narrow
    made.filters |= {
        "t": _text,
        "code": _code,
        "prose": _prose,
        "picture": _picture,
        "bar": _bar,
        "metric": wording.metric_name,
        "titled": _titled,
        "bound": _bound_words,
        "value": _value,
        "interval": _interval,
        "first": wording.first_sentence,
        "behind": behind_picture,
        "table": by_itself,
        "balanced": _balanced,
        "some": _some,
        "short": format_quantity,
    }
    return made
