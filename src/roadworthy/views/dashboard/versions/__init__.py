"""Versions to be looked at: all of them, one with what it came from, and two side by side.

In: a ``Site``. Out: ``VersionList``, ``VersionSheet``, ``Beside``. Laws: a figure is the one that was measured at
release and stands in the registry; what the lake no longer holds is said, and costs that part alone.

- ``listing``: the table; ``sheet``: one version; ``kept``: records of its stages in the lake; ``lineage``: what it came
  from and who shares it; ``beside``: two versions, part by part; ``pairing``: their quality on the same rows.
"""

from roadworthy.views.dashboard.versions.beside import Beside, beside
from roadworthy.views.dashboard.versions.kept import report_of
from roadworthy.views.dashboard.versions.listing import VersionList, VersionRow, version_list
from roadworthy.views.dashboard.versions.sheet import VersionSheet, version_sheet

__all__ = [
    "Beside",
    "VersionList",
    "VersionRow",
    "VersionSheet",
    "beside",
    "report_of",
    "version_list",
    "version_sheet",
]
