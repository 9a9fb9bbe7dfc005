"""The rows of live traffic whose outcome is known: what realised quality of a span is made from.

In: the prediction log and the feedback of a lake, a span. Out: ``Known``. Laws: of very many labels the newest 30,000
are read, and what is left out is counted; only the columns that are shown are read; what was read is remembered for a
minute, because a page is looked at again and again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from roadworthy.adapters.prediction_log import FeedbackRead, column_name, read_feedback, read_log, with_labels
from roadworthy.adapters.prediction_log.labels import FEEDBACK, SCHEMA, FeedbackCodec
from roadworthy.adapters.prediction_log.log import PREDICTIONS
from roadworthy.adapters.prediction_log.predictions import PredictionCodec
from roadworthy.adapters.prediction_log.reading import stream
from roadworthy.errors import RoadworthyError
from roadworthy.measures.operations.reports import reported_over_time
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit
from roadworthy.stages.watching.observed import labelled, sample_of, scored
from roadworthy.views.dashboard.quality.held import Held
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["MOST_LABELS", "MOST_REPORTED", "Known", "columns_of", "known_rows"]

MOST_LABELS = 30_000
"""Of more labels the newest are read."""
MOST_REPORTED = 50_000
"""Predictions over which it is counted what users report wrong."""

_FRESH_S, _MOST = 60.0, 3
_DAY_US = 86_400_000_000
_PARTS, _LEAST_PART = 10, timedelta(days=1)
_EARLIER = timedelta(days=1)
"""A label may be there before its prediction by the clocks of two machines."""
_LOG: dict[str, pl.DataType] = {"at": pl.Datetime("us")}
_OWN = ("id", "row", "at", "version", "score", "decision")
_KNOWN = ("label", "value", "comment", "labelled_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What labels say of a span.

    ``sample`` is None where no row of the version has an outcome; ``rows`` are its rows in its order, the log's own
    columns as in ``stages.watching.observed``. ``delay_s`` holds the seconds from prediction to label. ``reported`` is
    the share of decisions that labels contradict, by hour or by day, over the newest ``predictions`` of all versions.
    ``labels`` counts those that came, ``read`` those that were read, ``strange`` those of a class that the version does
    not know. ``trouble`` says why nothing could be read.
    """

    sample: Sample | None
    rows: pl.DataFrame
    delay_s: pl.Series
    reported: Exhibit | None
    predictions: int
    labels: int
    read: int
    strange: int
    trouble: str = ""


_remembered: OrderedDict[tuple[Any, ...], tuple[float, Known]] = OrderedDict()
_lock = threading.Lock()


def columns_of(held: Held) -> tuple[str, ...]:
    """What quality is shown by: protected columns first, then those that the standard or the release slices by."""
    contract = held.watched.contract
    required = [item.slice for item in held.required if item.slice]
    names = dict.fromkeys((*contract.protected, *required, *held.watched.groups))
    kept = [name for name in names if name in contract.contract.columns or name in contract.features]
    return tuple(name for name in kept if name != contract.target and name not in contract.personal)


def known_rows(site: Site, held: Held, span: Span) -> Known:
    """The labelled rows that a version answered in a span; what cannot be read is said in ``trouble``."""
    ends = (span.chosen,) if span.chosen else (span.since_us, span.until_us)
    key = (str(site.settings.lake), held.version.manifest, *ends)
    with _lock:
        found = _remembered.get(key)
        if found is not None and time.monotonic() - found[0] < _FRESH_S:
            _remembered.move_to_end(key)
            return found[1]
    try:
        made = _read(site.settings.lake, held, span)
    except RoadworthyError as error:
        return _nothing(error.message)
    with _lock:
        _remembered[key] = (time.monotonic(), made)
        while len(_remembered) > _MOST:
            _remembered.popitem(last=False)
    return made


def _nothing(trouble: str) -> Known:
    return Known(
        sample=None,
        rows=pl.DataFrame(),
        delay_s=pl.Series("delay", [], dtype=pl.Float64),
        reported=None,
        predictions=0,
        labels=0,
        read=0,
        strange=0,
        trouble=trouble,
    )


def _read(lake: Path, held: Held, span: Span) -> Known:
    contract, watched = held.watched.contract, held.watched
    since, until = _moment(span.since_us), _moment(span.until_us)
    feedback, came, from_ = _newest_labels(lake, since)
    if from_ >= until:
        return _nothing(
            f"of {came:,} labels that came since, the newest {MOST_LABELS:,} are read, and all of them came after this "
            "stretch of time; what was judged then stands in its windows"
        )
    wanted = dict.fromkeys((*_OWN, *(column_name(one) for one in (*columns_of(held), contract.entity) if one)))
    # of predictions before the labels that were read, older labels are not known: they would count as not reported
    reported = _reported(lake, max(since, from_), until, feedback)
    by_entity = bool(contract.entity and contract.time) and feedback.latest.filter(pl.col("id") == "").height > 0
    if by_entity:
        wanted |= {column_name(contract.time): None}
    ids = None if by_entity else feedback.latest.get_column("id").unique().implode()
    own = _answered(lake, held.version.title, list(wanted), ids, (since, until))
    keys = {"entity": contract.entity, "time": contract.time} if by_entity else {}
    joined = with_labels(own, feedback, **keys).filter(pl.col("labelled_at").is_not_null())
    rows = watched.own(_observed(joined))
    known, outcome, strange = labelled(scored(rows, contract.task), contract)
    sample = sample_of(known, outcome, contract, watched.columns) if len(outcome) else None
    delay = (known.get_column("_labelled_at") - known.get_column("_at")).dt.total_milliseconds() / 1000
    return Known(
        sample=sample,
        rows=known,
        delay_s=delay.cast(pl.Float64).clip(lower_bound=0.0),
        reported=None if not reported.height else reported_over_time(reported, every=_every(reported)),
        predictions=reported.height,
        labels=came,
        read=feedback.latest.height,
        strange=strange,
    )


def _answered(
    lake: Path, title: str, wanted: list[str], ids: pl.Series | None, ends: tuple[datetime, datetime]
) -> pl.DataFrame:
    """What a version answered, of these ids where there are any: a long span is read in ten parts, one at a time."""
    parts = []
    step = max((ends[1] - ends[0]) / _PARTS, _LEAST_PART)
    begin = ends[0]
    while begin < ends[1]:
        end = min(begin + step, ends[1])
        log = read_log(lake, since=begin, until=end)
        there = set(log.collect_schema().names())
        own = log.select([name for name in wanted if name in there]).filter(pl.col("version") == title)
        parts.append((own if ids is None else own.filter(pl.col("id").is_in(ids))).collect())
        begin = end
    return pl.concat(parts, how="diagonal_relaxed")


def _newest_labels(lake: Path, since: datetime) -> tuple[FeedbackRead, int, datetime]:
    """The newest labels that came since a span began, how many came in all, and since when they were read."""
    begin = since - _EARLIER
    at = stream(lake / FEEDBACK, FeedbackCodec(), SCHEMA, begin, None).select("at").collect().to_series()
    read_from = _begin_of(at, MOST_LABELS) or begin
    return read_feedback(lake, since=read_from), len(at), read_from


def _reported(lake: Path, since: datetime, until: datetime, feedback: FeedbackRead) -> pl.DataFrame:
    """The newest predictions with what was said of each."""
    at = stream(lake / PREDICTIONS, PredictionCodec(), _LOG, since, until).select("at").collect().to_series()
    newest = read_log(lake, since=_begin_of(at, MOST_REPORTED) or since, until=until)
    keys = ["id", "row"]
    said = feedback.latest.lazy().filter(pl.col("id") != "").select(*keys, "label", "comment")
    joined = newest.select(*keys, "at", "decision").join(said, on=keys, how="left", maintain_order="left")
    return joined.select("at", "decision", "label", "comment").collect()


def _every(rows: pl.DataFrame) -> str:
    """By hour, or by day where it is longer than three days."""
    at = rows.get_column("at").dt.epoch("us").to_numpy()
    return "1h" if at.max() - at.min() <= 3 * _DAY_US else "1d"


def _begin_of(at: pl.Series, most: int) -> datetime | None:
    """When the newest so many begin; None where there are not more."""
    if len(at) <= most:
        return None
    oldest: Any = at.top_k(most).min()
    begin: datetime = oldest.replace(tzinfo=UTC)
    return begin


def _observed(rows: pl.DataFrame) -> pl.DataFrame:
    """The log's columns under names of their own, the contract's under theirs."""
    own = {name: f"_{name}" for name in (*_OWN, *_KNOWN)}
    back = {name: name.removeprefix("input.") for name in rows.columns if name.startswith("input.")}
    return rows.rename(own | back)


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)
