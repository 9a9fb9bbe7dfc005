"""What people are shown: read-only snapshots gathered from records.

In: a run's records, or an inspection. Out: ``ReportView``, for the page, the terminal, JUnit and Markdown alike.
Nothing is computed here but words; nothing that is returned is alive.

- ``run``: a run's version; ``inspected``: an inspection;
- ``chapters``: what each check of the inspection gave, in the order of reading;
- ``steps``: what a person can do now;
- ``pictures``: the same view with its pictures drawn.
"""

from roadworthy.views.inspected import Inspected, inspection_view
from roadworthy.views.pictures import with_pictures
from roadworthy.views.run import report_view, with_charts

__all__ = ["Inspected", "inspection_view", "report_view", "with_charts", "with_pictures"]
