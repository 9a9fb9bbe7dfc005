"""The quality of two versions on the rows that judged both, paired row by row.

In: a ``Site`` and two versions. Out: ``Paired``. Laws: only rows that both were judged on are compared, each version at
its own threshold; where the held-out rows are not the same, nothing is called proven, and it says why; scores are those
that training kept, which packaging holds to be the graph's own (requirement ``parity``).
"""

from __future__ import annotations

import threading
from functools import lru_cache

import msgspec
import polars as pl

from roadworthy.errors import RoadworthyError
from roadworthy.formats import wording
from roadworthy.measures.paired import Difference, paired_differences
from roadworthy.measures.samples import Sample
from roadworthy.records.model import TrainedModel, Validation
from roadworthy.records.project import Task
from roadworthy.records.version import Version
from roadworthy.stages.validate_rows import Labelled
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.versions.kept import folder_of, record_of
from roadworthy.views.dashboard.versions.listing import KEY_METRICS, figure

__all__ = ["Paired", "paired"]

_KEPT = 16
_lock = threading.Lock()


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """``sentence``: which is better, and whether that is proven. ``better``: 1, 2, or 0 for neither proven.

    ``differences`` is empty where the versions cannot be compared row by row; then ``why`` says what is amiss.
    """

    sentence: str
    better: int = 0
    differences: tuple[Difference, ...] = ()
    why: str = ""


class _Lacking(Exception):
    """Why two versions cannot be compared row by row."""


def paired(site: Site, first: Version, second: Version) -> Paired:
    """Two versions compared; the same two are compared once as long as they are remembered."""
    key = (first.title, first.digest, second.title, second.digest)
    with_site = _remembered(site)
    with _lock:
        if key in with_site:
            return with_site[key]
    made = _paired(site, first, second)
    if not made.differences:
        return made  # what the lake lacks now it may hold again
    with _lock:
        with_site[key] = made
        while len(with_site) > _KEPT:
            with_site.pop(next(iter(with_site)))
    return made


@lru_cache(maxsize=4)
def _remembered(_site: Site) -> dict[tuple[str, str, str, str], Paired]:
    return {}


def _paired(site: Site, first: Version, second: Version) -> Paired:
    if first.evidence.holdout != second.evidence.holdout:
        why = (
            f"They were judged on different rows (held-out rows {_short(first.evidence.holdout)} and "
            f"{_short(second.evidence.holdout)}), so that a difference may be the rows' and not the models'."
        )
        return Paired(sentence=_unpaired(site.spec.task, first, second), why=why)
    try:
        samples = [_sample(site, one) for one in (first, second)]
        differences = paired_differences(*samples)
    except _Lacking as lacking:
        return Paired(sentence=_unpaired(site.spec.task, first, second), why=str(lacking))
    except RoadworthyError as error:
        return Paired(sentence=_unpaired(site.spec.task, first, second), why=error.message)
    return Paired(sentence=_sentence(differences, first, second), better=differences[0].better, differences=differences)


def _sample(site: Site, version: Version) -> Sample:
    """A version's scores on its held-out rows, decided at its threshold."""
    trained = record_of(site, version, "train", TrainedModel)
    validation = record_of(site, version, "validate", Validation)
    folders = [folder_of(site, version, stage) for stage in ("train", "split", "features")]
    train, split, features = folders
    if trained is None or validation is None or train is None or split is None or features is None:
        raise _Lacking(f"The lake no longer holds the scores of {version.title} on its held-out rows.")
    if (trained.task, trained.target) != (site.spec.task, site.spec.target):
        raise _Lacking(f"{version.title} predicts {trained.target}, the project now {site.spec.target}.")
    rows = features / "rows.parquet"
    if site.spec.target not in pl.read_parquet_schema(rows):
        raise _Lacking(f"The rows of {version.title} have no column {site.spec.target}.")
    labelled = Labelled.load(trained, train, split / "parts.parquet", rows, site.spec)
    sample, _ = labelled.holdout(validation.choice.candidate)
    threshold = validation.choice.threshold
    return sample if threshold is None else sample.at(threshold)


def _sentence(found: tuple[Difference, ...], first: Version, second: Version) -> str:
    lead = found[0]
    name = _metric(lead.metric)
    better, other = (second, first) if (lead.value > 0) == lead.more_is_better else (first, second)
    rows = f"the same {lead.n:,} held-out rows"
    if all(one.method == "the same on every row" for one in found if not one.insufficient):
        return f"Both give the same answers on {rows}: neither is better."
    if lead.insufficient:
        return f"Neither is proven better: {lead.insufficient}."
    span = _span(lead)
    if not lead.better:
        return (
            f"Neither is proven better. {better.title} has the lower {name} on {rows}, by "
            f"{wording.number(abs(lead.value))}, which may be chance ({span}).{_also(found, first, second)}"
        )
    return (
        f"{better.title} is better than {other.title}, and that is proven: its {name} on {rows} is lower by "
        f"{wording.number(abs(lead.value))} ({span}).{_also(found, first, second, better)}"
    )


def _also(found: tuple[Difference, ...], first: Version, second: Version, winner: Version | None = None) -> str:
    """Other figures in which a version is proven better: those against the winner first."""
    proven: dict[int, list[str]] = {1: [], 2: []}
    for one in found[1:]:
        if one.better:
            proven[one.better].append(_metric(one.metric))
    words = [
        (title, names)
        for title, names in ((first.title, proven[1]), (second.title, proven[2]))
        if names and (winner is None or title != winner.title)
    ]
    return "".join(f" But {title} is proven better in {' and '.join(names)}." for title, names in words)


def _unpaired(task: Task, first: Version, second: Version) -> str:
    """What two separate measurements allow to say: that nothing is proven, and what was measured of each."""
    for metric in KEY_METRICS[task]:
        one, other = figure(first, metric), figure(second, metric)
        if one is not None and other is not None and one.value is not None and other.value is not None:
            return (
                f"Which is better is not proven. {_metric(metric, start=True)} was measured as "
                f"{wording.number(one.value)} ({wording.interval(one.lower, one.upper)}) for {first.title} and "
                f"{wording.number(other.value)} ({wording.interval(other.lower, other.upper)}) for {second.title}."
            )
    return "Which is better is not known: no figure was measured of both."


def _metric(metric: str, *, start: bool = False) -> str:
    return wording.metric_name(metric) if start else wording.spaced(metric)


def _span(one: Difference) -> str:
    low, high = sorted((abs(one.lower or 0.0), abs(one.upper or 0.0)))
    if one.better:
        return f"{wording.number(low)} to {wording.number(high)} with {one.confidence:.0%} confidence"
    return f"the difference lies between {wording.number(one.lower)} and {wording.number(one.upper)}"


def _short(digest: str) -> str:
    return digest.partition(":")[2][:8]
