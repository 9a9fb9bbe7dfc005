"""From a ``ReportView`` to one HTML text.

Owns what the page derives from the view (which figures stand on top, which picture belongs to which part, how
foreign text is shown) and the template beside it. Laws: every text from the view is escaped, shortened and kept
from changing the direction of what stands around it; the page refers to nothing outside itself.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from roadworthy.formats import wording
from roadworthy.formats.report.bars import interval_bar
from roadworthy.formats.report.chapters import shown_chapter, worth_reading
from roadworthy.formats.report.pictures import checked_svg
from roadworthy.formats.report.tables import MOST_OPEN, behind_picture, by_itself
from roadworthy.formats.report.view import ChartView, ReportView, RequirementRow
from roadworthy.records.evidence import Finding
from roadworthy.records.verdict import Outcome, Readiness
from roadworthy.standard import CATALOGUE, format_quantity
from roadworthy.standard.metric import MetricKind

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

__all__ = ["render_report"]

MOST_KEY_FIGURES = 6
MOST_SIGNS = 44
"""Of one row of a table that stands in half the page's width."""
MOST_LISTED = 500
_TITLE = 2000
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')

_STATUS = {
    Readiness.READY: ("ready", "✓", "Ready"),
    Readiness.NOT_PROVEN: ("open", "?", "Not proven"),
    Readiness.NOT_READY: ("bad", "✕", "Not ready"),
}
_OUTCOME = {
    Outcome.PASS: ("ready", "✓", "passes"),
    Outcome.FAIL: ("bad", "✕", "fails"),
    Outcome.ERROR: ("bad", "!", "check broke"),
    Outcome.INSUFFICIENT: ("open", "?", "not proven"),
    Outcome.WAIVED: ("waived", "~", "waived"),
}
_TALLY = {
    Outcome.PASS: ("passes", "pass"),
    Outcome.FAIL: ("fails", "fail"),
    Outcome.ERROR: ("check broke", "checks broke"),
    Outcome.INSUFFICIENT: ("not proven", "not proven"),
    Outcome.WAIVED: ("waived", "waived"),
}
_GRADES = {"fails": ("bad", "✕", "fails"), "suspects": ("open", "?", "suspect"), "notes": ("quiet", "i", "note")}
_PARTS = {
    "candidates": "choice",
    "training": "training",
    "confusion": "decision",
    "tradeoff": "decision",
    "scores": "decision",
}
_RANK = {grade: place for place, grade in enumerate(_GRADES)}
_URGENCY = [Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS]


def render_report(view: ReportView) -> str:
    """The whole page. It needs no network, no script and no other file; equal views give equal pages.

    A picture that holds anything but a drawing raises ValueError.
    """
    charts: dict[str, list[ChartView]] = {"choice": [], "training": [], "decision": [], "evidence": []}
    for chart in view.charts:
        charts[_PARTS.get(chart.name.partition(":")[0], "evidence")].append(chart)
    key, more = _key_figures(view.requirements)
    chapters = [shown_chapter(chapter, place) for place, chapter in enumerate(view.chapters, 1)]
    return _template().render(
        view=view,
        status=_STATUS[view.readiness],
        outcome=_OUTCOME,
        grades=_GRADES,
        key_figures=key,
        more_figures=more,
        by_urgency=sorted(view.requirements, key=lambda row: _URGENCY.index(row.verdict.outcome)),
        findings=_findings(view),
        chapters=chapters,
        anchors=_anchors(chapters, view),
        links={finding.check: chapter for chapter in chapters for finding in chapter["view"].findings},
        tally=_tally(view.requirements),
        charts=charts,
        w=wording,
    )


def _anchors(chapters: list[dict[str, Any]], view: ReportView) -> dict[str, str]:
    """Where on the page evidence stands: ``"exhibit:importance"`` to the anchor of its chapter."""
    found: dict[str, str] = {f"stage:{row.stage}": "h-stages" for row in view.stages}
    for chapter in chapters:
        shown = chapter["view"]
        names = [f"exhibit:{chart.name}" for chart in shown.charts]
        names += [f"measurement:{row.measurement.metric}" for row in shown.measurements]
        names += [f"finding:{one.kind}" for one in shown.findings]
        found |= dict.fromkeys((name for name in names if name not in found), chapter["id"])
    return found


def _key_figures(rows: tuple[RequirementRow, ...]) -> tuple[list[RequirementRow], int]:
    """The figures on top: what is unmet, the key ones, then quality; and how many requirements stand further down."""
    measured = [
        row for row in rows if row.verdict.measurement is not None and row.verdict.measurement.value is not None
    ]
    unmet = [row for row in measured if row.verdict.outcome in _URGENCY[:3]]
    ranked = sorted(measured, key=lambda row: (not row.key, not _is_quality(row)))
    chosen = [*unmet, *(row for row in ranked if row not in unmet)][:MOST_KEY_FIGURES]
    return chosen, len(rows) - len(chosen)


def _is_quality(row: RequirementRow) -> bool:
    metric = CATALOGUE.get(row.verdict.metric)
    return metric is not None and metric.kind is MetricKind.QUALITY


def _findings(view: ReportView) -> list[Finding]:
    """The gravest first; where chapters hold the notes, only what fails or asks a person."""
    if view.chapters:
        return worth_reading(view.findings)
    return sorted(view.findings, key=lambda finding: _RANK.get(finding.grade, len(_RANK)))


def _tally(rows: tuple[RequirementRow, ...]) -> list[tuple[str, str, str]]:
    counts = {outcome: sum(row.verdict.outcome is outcome for row in rows) for outcome in _URGENCY}
    return [
        (*_OUTCOME[outcome][:2], f"{number} {_TALLY[outcome][number > 1]}")
        for outcome, number in counts.items()
        if number
    ]


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


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    import jinja2  # noqa: PLC0415 - the view beside this is imported by commands that render nothing

    folder = resources.files("roadworthy.formats.report") / "templates"
    names = ("report.html.j2", "parts.html.j2", "report.css")
    files = {name: (folder / name).read_text("utf-8") for name in names}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(files),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["narrow"] = _narrow
    environment.filters |= {
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
    return environment.get_template("report.html.j2")
