"""The data of live traffic beside that of the training part: the list of columns, and one column.

In: a ``Site``, which window is looked at. Out: ``DataList`` and ``ColumnPage``. Laws: what is decided of a window is
decided as its monitor decided it, by the version's own bundle and the alarm budget; no value of a hidden column is
read.

- ``looking``: the window that is looked at; ``facts``: what a version declares of its columns;
- ``refused``: rows that servers refused, by column;
- ``standing``: how columns stand in a window; ``trails``: how they stood in the windows before;
- ``listing``: the list; ``single``, ``tables`` and ``unlisted``: one column.
"""

from roadworthy.views.dashboard.data.listing import PER_PAGE, SHOWS, Choice, DataList, data_list
from roadworthy.views.dashboard.data.single import ColumnPage, column_page

__all__ = ["PER_PAGE", "SHOWS", "Choice", "ColumnPage", "DataList", "column_page", "data_list"]
