"""The report: one self-contained page about one version, made from plain data.

In: a ``ReportView``. Out: one HTML text that needs no network, no script and no other file. The pictures come
ready-made as SVG; nothing here measures or draws charts.
"""

from __future__ import annotations

from roadworthy.formats.report.page import render_report
from roadworthy.formats.report.view import (
    ChapterState,
    ChapterView,
    ChartView,
    CostView,
    DataView,
    MeasureRow,
    MonitoringView,
    ProvenanceView,
    ReportView,
    RequirementRow,
    StageRow,
    WatchRow,
)

__all__ = [
    "ChapterState",
    "ChapterView",
    "ChartView",
    "CostView",
    "DataView",
    "MeasureRow",
    "MonitoringView",
    "ProvenanceView",
    "ReportView",
    "RequirementRow",
    "StageRow",
    "WatchRow",
    "render_report",
]
