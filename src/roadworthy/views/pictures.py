"""From a view without pictures to the same view with them.

In: a ``ReportView``. Out: the same, each table that a chart is known for with its SVG and the words for it. Drawing
takes a second to load and about 30 ms a picture, so only a page asks for it. Law: of one family of pictures
(``dependence:age``, ``dependence:job``, …) only the first 24 are drawn, the others stay tables; so a page's size does
not grow with the number of columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from roadworthy.formats.report import ChartView, ReportView
from roadworthy.records.evidence import Exhibit

if TYPE_CHECKING:
    from roadworthy.measures.charts import Reference

__all__ = ["MOST_OF_A_FAMILY", "with_pictures"]

MOST_OF_A_FAMILY = 24
_COST_COLUMNS = {"latency_p50": "p50_ms", "latency_p99": "p99_ms", "size": "size_bytes"}


def with_pictures(view: ReportView) -> ReportView:
    """The same view with its pictures drawn; those that are drawn already stay as they are."""
    references = _references(view)
    chapters = tuple(
        msgspec.structs.replace(chapter, charts=_drawn(chapter.charts, references)) for chapter in view.chapters
    )
    return msgspec.structs.replace(view, charts=_drawn(view.charts, references), chapters=chapters)


def _references(view: ReportView) -> list[Reference]:
    """Every bound on all rows, and the chosen threshold, as lines to compare with."""
    from roadworthy.measures.charts import Reference  # noqa: PLC0415 - a second to import, and only pages draw

    lines = [
        Reference(
            of=_COST_COLUMNS.get(row.verdict.metric, row.verdict.metric), value=bound, label=row.verdict.requirement
        )
        for row in view.requirements
        for bound in (row.at_least, row.at_most)
        if bound is not None and " for every " not in row.verdict.requirement
    ]
    threshold = view.choice.threshold if view.choice is not None else None
    return [*lines, *([] if threshold is None else [Reference(of="threshold", value=threshold, label="chosen")])]


def _drawn(charts: Sequence[ChartView], references: Sequence[Reference]) -> tuple[ChartView, ...]:
    seen: Counter[str] = Counter()
    shown = []
    for chart in charts:
        family = chart.name.partition(":")[0]
        seen[family] += 1
        wanted = not chart.svg and seen[family] <= MOST_OF_A_FAMILY
        shown.append(_picture(chart, references) if wanted else chart)
    return tuple(shown)


def _picture(view: ChartView, references: Sequence[Reference]) -> ChartView:
    from roadworthy.measures import charts  # noqa: PLC0415 - as above

    exhibit = Exhibit(name=view.name, title=view.title, columns=view.columns, note=view.note)
    chart = charts.chart_for(exhibit, references)
    return msgspec.structs.replace(
        view, svg="" if chart is None else charts.to_svg(chart), alt=charts.describe(exhibit)
    )
