"""Sources: rows from files, databases, object stores and frames, all behind ``protocols.Source``.

In: what ``[data] source`` declares, or a frame from Python. Out: a ``Source``. Laws: reading never changes the
source; the same bytes with the same options give the same fingerprint; text formats come as text, exactly as
written, with an empty unquoted cell as null; whatever cannot be read whole raises SourceError and is never
shortened; no password is ever shown.
"""

from __future__ import annotations

from roadworthy.adapters.sources.frames import frame_source
from roadworthy.adapters.sources.opening import open_source

__all__ = ["frame_source", "open_source"]
