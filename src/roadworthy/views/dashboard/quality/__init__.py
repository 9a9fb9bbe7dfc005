"""What the page on quality shows: how good the model is now, over time, by group, and at other thresholds.

In: a ``Site`` and a ``Span``. Out: frozen structs. ``snapshot`` is the page, ``metric`` one metric of it, ``explorer``
what another threshold would give, ``held_out`` the rows that a release was judged on; ``held``, ``windows``,
``labelled``, ``release``, ``groups`` and ``state`` are what these are made of. Laws: as in ``views.dashboard``; every
figure comes from a record or from ``measures``.
"""

from roadworthy.views.dashboard.quality.explorer import Explorer, explore
from roadworthy.views.dashboard.quality.held_out import HeldOut, held_out
from roadworthy.views.dashboard.quality.metric import MetricPage, metric_page
from roadworthy.views.dashboard.quality.snapshot import Quality, quality_of

__all__ = ["Explorer", "HeldOut", "MetricPage", "Quality", "explore", "held_out", "metric_page", "quality_of"]
