"""The prediction log and feedback: append-only streams in the lake, and how they are read.

In: runs and labels, from a server's event loop. Out: ``<lake>/predictions/`` and ``<lake>/feedback/``, one writer's
files beside another's, so that any number of workers and replicas share a lake. How it is kept:
docs/decisions/0032-how-the-log-is-kept.md.
"""

from __future__ import annotations

from roadworthy.adapters.prediction_log.events import EventLog, read_events
from roadworthy.adapters.prediction_log.journal import Limits
from roadworthy.adapters.prediction_log.labels import FeedbackStore
from roadworthy.adapters.prediction_log.log import PredictionLog
from roadworthy.adapters.prediction_log.reading import (
    FeedbackRead,
    Joined,
    joined,
    read_feedback,
    read_log,
    with_labels,
)
from roadworthy.adapters.prediction_log.tables import column_name

__all__ = [
    "EventLog",
    "FeedbackRead",
    "FeedbackStore",
    "Joined",
    "Limits",
    "PredictionLog",
    "column_name",
    "joined",
    "read_events",
    "read_feedback",
    "read_log",
    "with_labels",
]
