"""The dashboard: server-rendered pages over the snapshots of ``views.dashboard``, and what people do there.

In: requests of browsers. Out: pages that need no network, and calls of ``api`` for what changes something. Laws: a page
shows what a view says and computes nothing; nothing is changed by a GET; every text from outside is shown as text; no
page loads anything from elsewhere, and the content security policy says so.

- ``desk``: what every page has at hand; ``rendering``: templates; ``app``: routes, guards, errors;
- ``guards``: who may ask, and from where; ``running``: the server; ``child``: the dashboard beside a server (``up``);
- ``pages``: one module each, with its template under ``templates``.
"""

from roadworthy.web.running import dashboard

__all__ = ["dashboard"]
