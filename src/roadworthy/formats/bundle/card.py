"""The model card: what is known about a model, in words, from its own evidence.

In: records. Out: Markdown. Law: every statement follows from a record; what is not known is not filled in.
After Mitchell et al. (2019), "Model Cards for Model Reporting".
"""

from __future__ import annotations

from collections.abc import Sequence

from roadworthy.records.data import Split
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence, Measurement
from roadworthy.records.model import Choice, TrainedModel
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.standard import CATALOGUE, format_quantity

__all__ = ["adopted_card", "model_card"]


def model_card(
    spec: ProjectSpec,
    trained: TrainedModel,
    choice: Choice,
    split: Split,
    evidence: Evidence,
    *,
    variant: str,
    notes: Sequence[str] = (),
) -> str:
    """The card as Markdown, the same bytes for the same records."""
    return _joined(
        [
            f"# {_text(spec.name)}",
            _what(spec, trained, choice, variant),
            _data(spec, trained, split, evidence),
            _columns(spec, trained.features),
            _decision(spec, choice.threshold, choice.threshold_explanation),
            *_measured(spec, evidence),
        ],
        notes,
    )


def adopted_card(
    spec: ProjectSpec,
    evidence: Evidence,
    *,
    model: str,
    digest: Digest,
    columns: Sequence[str],
    classes: Sequence[str],
    threshold: float | None,
    notes: Sequence[str] = (),
) -> str:
    """The card of a model that others trained: ``model`` is what it was called, ``digest`` that of its file."""
    how = f"{_code(model)}, which was trained elsewhere"
    lines = [
        "## Data",
        "",
        "- what it was trained on is not known here",
        f"- judged on rows `{evidence.holdout[:19]}…`, looked at {_times(evidence.looks)}",
        f"- the model as it came `{digest[:19]}…`",
    ]
    return _joined(
        [
            f"# {_text(spec.name)}",
            _predicts(spec, classes, how),
            "\n".join(lines + _hashed(spec)),
            _columns(spec, columns),
            _decision(spec, threshold, "The model's own framework decides at 0.5."),
            *_measured(spec, evidence),
        ],
        notes,
    )


def _measured(spec: ProjectSpec, evidence: Evidence) -> list[str]:
    """What the evidence says."""
    return [
        _metrics(evidence),
        _sliced("By slice", [one for one in evidence.measurements if one.slice and not _cut(one)]),
        _sliced("Fairness between groups", [one for one in evidence.measurements if _cut(one) == "protected"]),
        _sliced("Robustness", [one for one in evidence.measurements if _cut(one) == "fault"]),
        _test_score(evidence),
        _limits(spec, evidence),
    ]


def _joined(sections: Sequence[str], notes: Sequence[str]) -> str:
    packaged = "## How it was packaged\n\n" + "\n".join(f"- {_text(note)}" for note in notes) if notes else ""
    return "\n\n".join(section for section in [*sections, packaged, _VERIFY] if section) + "\n"


_VERIFY = """## How to verify this bundle

`manifest.json` names every file with its SHA-256; `manifest.sig` is the Ed25519 signature over its bytes. With the
project's public key in `public.pem`:

    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in manifest.json -sigfile manifest.sig

Roadworthy checks the signature and every file each time it loads the bundle, and refuses a key that it was not told to
trust."""

_NOT_SIGNED = (
    "Here it is what the bundle's own evidence earns: what people sign for comes and ends, and is counted in the "
    "version's report."
)


def _what(spec: ProjectSpec, trained: TrainedModel, choice: Choice, variant: str) -> str:
    how = f"the candidate {_code(choice.candidate)} ({_text(variant)})"
    return f"{_predicts(spec, trained.classes, how)}\n\n{_text(choice.explanation)}"


def _predicts(spec: ProjectSpec, classes: Sequence[str], how: str) -> str:
    """What is predicted, and with what."""
    kind = {
        Task.BINARY: "the probability of",
        Task.MULTICLASS: "the probability of each class of",
        Task.REGRESSION: "the value of",
    }[spec.task]
    event = f" = {_code(classes[1])}" if spec.task is Task.BINARY else ""
    sentence = f"Predicts {kind} {_code(spec.target)}{event} with {how}."
    listed = f"\n\nClasses: {', '.join(map(_code, classes))}." if spec.task is Task.MULTICLASS else ""
    return sentence + listed


def _data(spec: ProjectSpec, trained: TrainedModel, split: Split, evidence: Evidence) -> str:
    lines = [
        "## Data",
        "",
        f"- trained on {split.train_rows:,} rows, judged on {split.holdout_rows:,} held-out rows",
        f"- split: {_text(split.explanation)}",
        f"- the holdout `{evidence.holdout[:19]}…` was looked at {_times(evidence.looks)}",
    ]
    if split.unlabelled:
        lines.append(f"- {split.unlabelled:,} rows had no target and were set aside")
    if split.unseen_entities:
        lines.append(f"- {split.unseen_entities:,} entities of the holdout were never seen in training")
    lines += _hashed(spec)
    lines.append(f"- training record `{trained.digest[:19]}…`")
    return "\n".join(lines)


def _hashed(spec: ProjectSpec) -> list[str]:
    if not spec.data.personal:
        return []
    return [f"- keyed-hashed before anything was written: {', '.join(map(_code, spec.data.personal))}"]


def _columns(spec: ProjectSpec, columns: Sequence[str]) -> str:
    lines = ["## What it looks at", "", f"- model columns: {', '.join(map(_code, columns))}"]
    for name, definition in spec.features.items():
        shown = _code(definition) if isinstance(definition, str) else "an aggregate of the entity's own past"
        lines.append(f"- declared feature {_code(name)}: {shown}")
    for name, reason in spec.data.exclude.items():
        lines.append(f"- never looked at: {_code(name)}, because {_text(reason)}")
    return "\n".join(lines)


def _decision(spec: ProjectSpec, threshold: float | None, why: str) -> str:
    if spec.task is not Task.BINARY or threshold is None:
        return ""
    return f"## Decision\n\nPositive from a probability of {threshold:.6g} on. {_text(why)}"


def _metrics(evidence: Evidence) -> str:
    overall = [measured for measured in evidence.measurements if not measured.slice]
    rows = [
        "## Measured on the holdout",
        "",
        "| metric | value | at least | at most | n | how |",
        "|---|---|---|---|---|---|",
    ]
    rows += [_row(measured, _text(measured.metric)) for measured in overall]
    return "\n".join([*rows, "", "Bounds are one-sided, at 95 % confidence each unless a row says otherwise."])


def _cut(measured: Measurement) -> str:
    """What the metric itself is measured by, where this measurement is of one such part; else empty."""
    cut = CATALOGUE[measured.metric].cut if measured.metric in CATALOGUE else ""
    return cut if cut and measured.slice.startswith(f"{cut}=") else ""


def _sliced(title: str, measurements: Sequence[Measurement]) -> str:
    if not measurements:
        return ""
    rows = [f"## {title}", "", "| slice | value | at least | at most | n | how |", "|---|---|---|---|---|---|"]
    rows += [_row(measured, f"{_text(measured.metric)}, {_text(measured.slice)}") for measured in measurements]
    return "\n".join(rows)


def _test_score(evidence: Evidence) -> str:
    exhibit = next((one for one in evidence.exhibits if one.name == "ml_test_score"), None)
    if exhibit is None:
        return ""
    columns = exhibit.columns
    rows = ["## ML Test Score", "", f"{_text(exhibit.note)} {_NOT_SIGNED}", ""]
    rows += ["| section | points | unmet |", "|---|---|---|"]
    for section in dict.fromkeys(columns["section"]):
        places = [place for place, name in enumerate(columns["section"]) if name == section]
        unmet = ", ".join(columns["test"][place] for place in places if not columns["points"][place])
        points = sum(columns["points"][place] for place in places)
        rows.append(f"| {_text(section)} | {points:g} of {len(places)} | {unmet or '–'} |")
    return "\n".join(rows)


def _row(measured: Measurement, label: str) -> str:
    unit = CATALOGUE[measured.metric].unit if measured.metric in CATALOGUE else measured.unit
    cells = [
        "–" if number is None else _text(format_quantity(number, unit))
        for number in (measured.value, measured.lower, measured.upper)
    ]
    how = measured.error or measured.insufficient or measured.method
    if measured.confidence != 0.95:
        how += f" ({measured.confidence:.4g} confidence)"
    return f"| {label} | {' | '.join(cells)} | {measured.n:,} | {_text(how)} |"


def _limits(spec: ProjectSpec, evidence: Evidence) -> str:
    lines = [f"- {_text(finding.sentence)} ({finding.grade})" for finding in evidence.findings]
    short = sorted({measured.metric for measured in evidence.measurements if measured.insufficient})
    if short:
        lines.append(f"- not enough evidence for: {', '.join(map(_code, short))}")
    broken = sorted({measured.metric for measured in evidence.measurements if measured.error})
    if broken:
        lines.append(f"- these checks broke: {', '.join(map(_code, broken))}")
    if not spec.data.protected:
        lines.append("- no protected groups are declared, so nothing is known about fairness between groups")
    return "## Limits\n\n" + "\n".join(lines) if lines else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _text(value: str) -> str:
    """Text for a Markdown line or table cell: no line breaks, no bars, no markup that is not ours."""
    flat = " ".join(value.split())
    return flat.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _code(value: str) -> str:
    return "`" + " ".join(value.split()).replace("`", "'").replace("|", "\\|") + "`"
