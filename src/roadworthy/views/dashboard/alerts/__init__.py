"""Alerts to be looked at: what fires, who has it, what its figure did, and what was done about it.

In: a ``Site``, words of a search. Out: ``AlertList`` and ``AlertSheet``. Laws: nothing is changed; what people did is
shown only as the audit chain tells it; the worst of what nobody has taken stands first.

- ``listing``: all of them, and the channels; ``sheet``: one alert; ``figures``: its figure over time, as chart and
  picture; ``evidence``: what a signal knew, as tables for people; ``advice``: what to do, by the kind of alert.
"""

from roadworthy.views.dashboard.alerts.figures import alert_png
from roadworthy.views.dashboard.alerts.listing import AlertList, AlertRow, alert_list
from roadworthy.views.dashboard.alerts.sheet import AlertSheet, alert_sheet

__all__ = ["AlertList", "AlertRow", "AlertSheet", "alert_list", "alert_png", "alert_sheet"]
