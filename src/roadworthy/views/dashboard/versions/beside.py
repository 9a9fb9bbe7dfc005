"""Two versions side by side: which is better, what each costs, and what differs in data, code and standard.

In: a ``Site`` and two numbers. Out: a ``Beside``. Law: what is equal is said to be equal, not left out.
"""

from __future__ import annotations

import difflib

import msgspec

from roadworthy.formats import wording
from roadworthy.formats.report import RequirementRow
from roadworthy.records.data import CleanRows, FeatureTable, Snapshot, Split
from roadworthy.records.model import TrainedModel, Validation
from roadworthy.records.version import Version
from roadworthy.views.dashboard.requirement_cells import standard_of
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.versions.kept import libraries_of, record_of
from roadworthy.views.dashboard.versions.listing import KEY_METRICS, VersionRow, figure, row_of, serving
from roadworthy.views.dashboard.versions.pairing import Paired, paired
from roadworthy.views.dashboard.versions.sheet import requirements_of

__all__ = ["Beside", "Judgements", "Line", "Told", "beside"]

_COSTS = (
    ("latency_p50", "latency that half of the calls keep"),
    ("latency_p99", "latency that 99 of 100 calls keep"),
    ("size", "size of the model"),
)
_NOT_KEPT = "not kept"
_ABSENT = "–"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One fact of both. ``note`` says what the difference means, ``same`` whether there is none."""

    words: str
    first: str
    second: str
    note: str = ""

    @property
    def same(self) -> bool:
        """Whether both say the same."""
        return self.first == self.second


class Judgements(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement as both were judged; None where one was not held to it."""

    requirement: str
    first: RequirementRow | None
    second: RequirementRow | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the standard: ``sign`` is + (the second alone has it), - (the first alone) or empty."""

    sign: str
    text: str


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of two versions; ``unlike`` are the requirements whose outcome differs."""

    first: VersionRow
    second: VersionRow
    quality: Paired
    costs: tuple[Told, ...]
    data: tuple[Told, ...]
    features: tuple[Told, ...]
    model: tuple[Told, ...]
    libraries: tuple[Told, ...]
    standard: tuple[Line, ...]
    requirements: tuple[Judgements, ...]
    numbers: tuple[int, ...]


def beside(site: Site, first: int, second: int) -> Beside:
    """Two versions; RegistryError where one is unknown."""
    one, other = site.version(first), site.version(second)
    champion, before = serving(site)
    wanted = KEY_METRICS[site.spec.task]
    return Beside(
        first=row_of(one, wanted, champion, before),
        second=row_of(other, wanted, champion, before),
        quality=paired(site, one, other),
        costs=_costs(one, other),
        data=_data(site, one, other),
        features=_features(site, one, other),
        model=_model(site, one, other),
        libraries=_merged(libraries_of(site, one), libraries_of(site, other)),
        standard=_standard(site, one, other),
        requirements=_requirements(site, one, other),
        numbers=tuple(version.number for version in site.versions()),
    )


def _costs(first: Version, second: Version) -> tuple[Told, ...]:
    found = []
    for metric, words in _COSTS:
        one, other = figure(first, metric), figure(second, metric)
        if one is None and other is None:
            continue
        values = [None if told is None else told.value for told in (one, other)]
        unit = (one or other).unit  # type: ignore[union-attr]  # one of them is there
        found.append(
            Told(
                words=words,
                first=wording.quantity(values[0], unit),
                second=wording.quantity(values[1], unit),
                note=_ratio(values[0], values[1], second.title),
            )
        )
    return tuple(found)


def _ratio(one: float | None, other: float | None, title: str) -> str:
    if not one or not other:
        return ""
    ratio = other / one
    if 0.95 < ratio < 1.05:
        return "about the same"
    return f"{wording.number(max(ratio, 1 / ratio), 2)} times {'more' if ratio > 1 else 'less'} with {title}"


def _data(site: Site, first: Version, second: Version) -> tuple[Told, ...]:
    snapshots = [record_of(site, one, "collect", Snapshot) for one in (first, second)]
    cleaned = [record_of(site, one, "clean", CleanRows) for one in (first, second)]
    splits = [record_of(site, one, "split", Split) for one in (first, second)]
    sources, rows, columns = (
        [_NOT_KEPT if one is None else told for one, told in zip(snapshots, tell, strict=True)]
        for tell in (
            [one and one.source for one in snapshots],
            [one and f"{one.rows:,}" for one in snapshots],
            [one and f"{len(one.columns):,}" for one in snapshots],
        )
    )
    quarantine = [_NOT_KEPT if one is None else f"{one.quarantined:,}" for one in cleaned]
    kinds = [_NOT_KEPT if one is None else f"by {one.kind}, {one.train_rows:,} train" for one in splits]
    digests = [_digest(one.lineage.get("collect", "")) for one in (first, second)]
    holdouts = [_digest(one.evidence.holdout) for one in (first, second)]
    judged = [_NOT_KEPT if one is None else f"{one.holdout_rows:,}" for one in splits]
    lines = (
        ("source", sources), ("snapshot", digests), ("rows", rows), ("columns", columns),
        ("rows in quarantine", quarantine), ("split", kinds), ("held-out rows", judged),
        ("which rows were held out", holdouts),
    )  # fmt: skip
    told = [Told(words=words, first=str(pair[0]), second=str(pair[1])) for words, pair in lines]
    names = [set() if one is None else set(one.columns) for one in snapshots]
    return (*told, *_moved("columns", *names))


def _moved(what: str, first: set[str], second: set[str]) -> tuple[Told, ...]:
    """What one alone has, where there is any."""
    gone, new = sorted(first - second), sorted(second - first)
    if not gone and not new:
        return ()
    return (Told(words=f"{what} that it alone has", first=_listed(gone), second=_listed(new)),)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20:,} more" if len(names) > 20 else "") if names else _ABSENT


def _features(site: Site, first: Version, second: Version) -> tuple[Told, ...]:
    tables = [record_of(site, one, "features", FeatureTable) for one in (first, second)]
    trained = [record_of(site, one, "train", TrainedModel) for one in (first, second)]
    defined = [{} if one is None else {each.name: each.definition for each in one.features} for one in tables]
    used = [set() if one is None else set(one.features) for one in trained]
    names = dict.fromkeys([*defined[0], *defined[1]])
    changed = [
        Told(words=name, first=defined[0].get(name, _ABSENT), second=defined[1].get(name, _ABSENT))
        for name in names
        if defined[0].get(name) != defined[1].get(name)
    ]
    return (*changed, *_moved("inputs", *used))


def _model(site: Site, first: Version, second: Version) -> tuple[Told, ...]:
    """Kind of model, threshold and settings."""
    pairs: list[dict[str, str]] = []
    for version in (first, second):
        validation = record_of(site, version, "validate", Validation)
        trained = record_of(site, version, "train", TrainedModel)
        told = {"model": _NOT_KEPT, "threshold": _NOT_KEPT}
        if validation is not None:
            choice = validation.choice
            told = {"model": choice.candidate, "threshold": wording.number(choice.threshold, 6)}
            candidates = () if trained is None else trained.candidates
            chosen = next((one for one in candidates if one.name == choice.candidate), None)
            if chosen is not None:
                told |= {f"setting {name}": str(value) for name, value in chosen.parameters.items()}
                told["best step"] = f"{chosen.best_step:,}"
        pairs.append(told)
    return _merged(*pairs)


def _merged(first: dict[str, str], second: dict[str, str]) -> tuple[Told, ...]:
    names = dict.fromkeys([*first, *second])
    return tuple(Told(words=name, first=first.get(name, _ABSENT), second=second.get(name, _ABSENT)) for name in names)


def _standard(site: Site, first: Version, second: Version) -> tuple[Line, ...]:
    """The lines that differ; none where the standards are the same."""
    one, other = (standard_of(site, each)[0].to_toml().splitlines() for each in (first, second))
    lines = difflib.unified_diff(one, other, n=0, lineterm="")
    return tuple(
        Line(sign=line[0], text=line[1:])
        for line in lines
        if line[:1] in {"+", "-"} and not line.startswith(("+++", "---"))
    )


def _requirements(site: Site, first: Version, second: Version) -> tuple[Judgements, ...]:
    """Every requirement of either, those with another outcome first."""
    one, other = (
        {row.verdict.requirement: row for row in requirements_of(standard_of(site, each)[0], each, site.spec.task)}
        for each in (first, second)
    )
    lines = dict.fromkeys([*one, *other])
    found = [Judgements(requirement=line, first=one.get(line), second=other.get(line)) for line in lines]
    return tuple(sorted(found, key=_alike))


def _alike(one: Judgements) -> bool:
    outcomes = [row and row.verdict.outcome for row in (one.first, one.second)]
    return outcomes[0] == outcomes[1]


def _digest(digest: str) -> str:
    return digest.partition(":")[2][:12] or _NOT_KEPT
