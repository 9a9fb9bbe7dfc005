"""What the dashboard shows: read-only snapshots of the registry and the lake, one module for each page.

In: a ``Site`` (where to read) and a ``Span`` (which stretch of time). Out: frozen structs of figures, sentences and
drawn pictures, ready to be written into a page. Laws: nothing is changed here; a page shows what a snapshot says and
computes nothing; whatever is missing is said in words, never as an empty picture.

- ``site``: where views read from; ``spans``: stretches of time and their words; ``pictures``: charts drawn once;
- ``overview``, ``live``, ``data``, ``quality``, ``predictions``, ``alerts``, ``versions``, ``runs``: one page each.
"""

from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["Site", "Span"]
