"""Operations on live traffic: how fast, how reliably and with what the model is served, with honest bounds.

In: readings of servers (``records.reading``) and rows of the prediction log. Out: ``Measurement`` of phase live, series
for charts and for control charts, and how the monitor itself is.

- ``traffic``: counts between readings;
- ``shares``: shares with bounds that know that faults come together;
- ``latency``: quantiles from histograms; ``memory``: what workers take, and whether it grows;
- ``rows``: age, volume, gaps, labels; ``reports``: what users report wrong;
- ``heartbeat``: the monitor watches itself;
- ``measuring``: the table from metric to figure.
"""

from __future__ import annotations

from roadworthy.measures.operations.measuring import OPERATIONS, Live, availability_buckets, measured, merged_buckets
from roadworthy.measures.operations.reports import reported_over_time, reported_wrong
from roadworthy.measures.operations.rows import Volume, volume
from roadworthy.measures.operations.traffic import Block, Traffic, traffic_of

__all__ = [
    "OPERATIONS",
    "Block",
    "Live",
    "Traffic",
    "Volume",
    "availability_buckets",
    "measured",
    "merged_buckets",
    "reported_over_time",
    "reported_wrong",
    "traffic_of",
    "volume",
]
