"""The dashboard: server-rendered pages over the snapshots of ``views.dashboard``, and what people do there.

In: requests of browsers. Out: pages that need no network, and calls of ``api`` for what changes something. Laws: a page
shows what a view says and computes nothing; nothing is changed by a GET; every text from outside is shown as text; no
page loads anything from elsewhere, and the content security policy says so.

- ``desk``: what every page has at hand; ``rendering``: templates; ``app``: routes, guards, errors;
- ``guards``: who may ask, and from where; ``running``: the server; ``child``: the dashboard beside a server (``up``);
- ``pages``: one module each, with its template under ``templates``.
"""

import os

# Read by Polars' allocator (jemalloc) as Polars is imported, so it stands before. Left alone it holds what a page
# needed for a second or more, in four stores for each core. It replaces what is there: Polars leaves its own words to
# the processes that it starts.
os.environ["_RJEM_MALLOC_CONF"] = "narenas:1,dirty_decay_ms:10,muzzy_decay_ms:0"

from roadworthy.web.running import dashboard

__all__ = ["dashboard"]
