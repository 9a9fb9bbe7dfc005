"""The pages: one module each, which reads words of a request, asks a view or a call, and names a template.

``DOORS`` is every path of the dashboard, in the order in which they are tried.
"""

from __future__ import annotations

from roadworthy.web.desk import Door
from roadworthy.web.pages import (
    alerts,
    data,
    live,
    overview,
    predictions,
    quality,
    requirements,
    runs,
    versions,
    windows,
)

__all__ = ["DOORS"]

DOORS: tuple[Door, ...] = (
    *overview.DOORS,
    *requirements.DOORS,
    *windows.DOORS,
    *live.DOORS,
    *data.DOORS,
    *quality.DOORS,
    *predictions.DOORS,
    *alerts.DOORS,
    *versions.DOORS,
    *runs.DOORS,
)
"""All of them."""
