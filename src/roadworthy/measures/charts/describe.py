"""What a picture shows, in words, for people who cannot see it.

In: an ``Exhibit``. Out: one or two plain sentences with its main figures; the full table always stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roadworthy.measures.charts.data import drawable_rows, is_number, labels
from roadworthy.records.evidence import Exhibit

__all__ = ["describe"]


def describe(exhibit: Exhibit) -> str:
    """The alternative text: title, main figures, number of rows behind it."""
    words = _WORDS.get(exhibit.name.partition(":")[0])
    rows = max((len(values) for values in exhibit.columns.values()), default=0)
    said = words(exhibit) if words and rows else ""
    return f"{exhibit.title}. {said}{' ' if said else ''}The table behind it has {rows:,} rows."


def _confusion(exhibit: Exhibit) -> str:
    rows = drawable_rows(exhibit, ["count"])[:9]
    names = labels(row.get(side) for row in rows for side in ("actual", "predicted"))
    cells = [f"actual {names[r.get('actual')]}, predicted {names[r.get('predicted')]}: {r['count']:,}" for r in rows]
    return "; ".join(cells) + "."


def _ends(x: str, y: str, words: str) -> Callable[[Exhibit], str]:
    def say(exhibit: Exhibit) -> str:
        rows = sorted(drawable_rows(exhibit, [x, y]), key=lambda row: float(row[x]))
        if not rows:
            return ""
        middle = rows[len(rows) // 2]
        return f"{words}: {_at(rows[0], x, y)}, {_at(middle, x, y)}, {_at(rows[-1], x, y)}."

    return say


def _at(row: dict[str, Any], x: str, y: str) -> str:
    return f"{row[y]:.3g} at {row[x]:.3g}"


def _training(exhibit: Exhibit) -> str:
    losses = [value for value in exhibit.columns.get("valid_loss", []) if is_number(value)]
    if not losses:
        return ""
    return f"Loss on validation rows goes from {losses[0]:.3g} to {losses[-1]:.3g}, its least is {min(losses):.3g}."


def _candidates(exhibit: Exhibit) -> str:
    rows = drawable_rows(exhibit, ["quality"])
    names = labels(row.get("candidate") for row in rows)
    said = [f"{names[r.get('candidate')]}{' (chosen)' if r.get('chosen') else ''} {r['quality']:.3g}" for r in rows]
    return f"Quality: {', '.join(said)}."


def _importance(exhibit: Exhibit) -> str:
    rows = sorted(drawable_rows(exhibit, ["drop"]), key=lambda row: -float(row["drop"]))[:5]
    names = labels(row.get("column") for row in rows)
    return "Greatest losses: " + ", ".join(f"{names[r.get('column')]} {r['drop']:.3g}" for r in rows) + "."


def _robustness(exhibit: Exhibit) -> str:
    rows = sorted(drawable_rows(exhibit, ["drop"]), key=lambda row: -float(row["drop"]))[:5]
    names = labels(row.get("column") for row in rows)
    said = [f"{row.get('fault')}, {names[row.get('column')]} {row['drop']:.3g}" for row in rows]
    return f"Costliest faults: {'; '.join(said)}." if said else ""


def _dependence(exhibit: Exhibit) -> str:
    rows = sorted(drawable_rows(exhibit, ["mean"]), key=lambda row: float(row["mean"]))
    if not rows:
        return ""
    names = labels(row.get("x") for row in rows)
    low, high = (f"{row['mean']:.3g} at {names[row.get('x')]}" for row in (rows[0], rows[-1]))
    return f"Mean score from {low} to {high}."


def _explained_rows(exhibit: Exhibit) -> str:
    rows = drawable_rows(exhibit, ["effect"])
    first = {row.get("row"): row for row in reversed(rows)}
    names = labels(row.get("column") for row in rows)
    said = [f"{label}: {names[row.get('column')]} {row['effect']:+.3g}" for label, row in reversed(first.items())]
    return f"Greatest effects: {'; '.join(said)}."


def _conformal(exhibit: Exhibit) -> str:
    rows = drawable_rows(exhibit, ["coverage"])[:9]
    names = labels(row.get("group") for row in rows)
    said = [f"{names[row.get('group')]} {row['coverage']:.1%}" for row in rows]
    return f"Coverage: {'; '.join(said)}." if said else ""


def _named(head: str, figure: str, words: str, ends: tuple[str, str] = ("", "")) -> Callable[[Exhibit], str]:
    """The first nine figures by name, each with its interval where there is one."""

    def say(exhibit: Exhibit) -> str:
        rows = [row for row in drawable_rows(exhibit, [figure]) if head in row][:9]
        names = labels(row[head] for row in rows)
        said = [f"{names[row[head]]} {row[figure]:.3g}{_between(row, ends)}" for row in rows]
        return f"{words}: {'; '.join(said)}." if said else ""

    return say


def _between(row: dict[str, Any], ends: tuple[str, str]) -> str:
    low, high = (row.get(end) for end in ends)
    return f" ({low:.3g} to {high:.3g})" if is_number(low) and is_number(high) else ""


def _fairness(exhibit: Exhibit) -> str:
    """The shares decided as the event, or the errors where nothing is decided."""
    for figure, words in (("positive_share", "Decided as the event"), ("error", "Error")):
        said = _named("group", figure, words, (f"{figure}_lower", f"{figure}_upper"))(exhibit)
        if said:
            return said
    return ""


def _operating_points(exhibit: Exhibit) -> str:
    rows = [row for row in drawable_rows(exhibit, ["precision", "recall"]) if "purpose" in row][:9]
    names = labels(row["purpose"] for row in rows)
    said = [f"{names[row['purpose']]} {row['precision']:.3g} and {row['recall']:.3g}" for row in rows]
    return f"Precision and recall: {'; '.join(said)}." if said else ""


def _trainings(exhibit: Exhibit) -> str:
    skills = [row["skill"] for row in drawable_rows(exhibit, ["skill"])]
    if not skills:
        return ""
    return f"Skill of {len(skills)} trainings lies between {min(skills):.3g} and {max(skills):.3g}."


_WORDS: dict[str, Callable[[Exhibit], str]] = {
    "ageing": _named("period", "difference", "What the old model loses by period", ("lower", "upper")),
    "calibration": _ends("predicted", "observed", "Observed share at predicted probability"),
    "candidates": _candidates,
    "conformal": _conformal,
    "confusion": _confusion,
    "dependence": _dependence,
    "explained_rows": _explained_rows,
    "fairness": _fairness,
    "fairness_crossed": _fairness,
    "feature_cost": _named("column", "time_share", "Share of the time"),
    "importance": _importance,
    "operating_points": _operating_points,
    "over_time": _named("quarter", "skill", "Skill by quarter", ("lower", "upper")),
    "pr": _ends("recall", "precision", "Precision at recall"),
    "referral": _ends("referred", "quality", "Quality of the rest at share of rows referred"),
    "robustness": _robustness,
    "roc": _ends("false_positive_rate", "true_positive_rate", "Share of events found at share of false positives"),
    "tradeoff": _ends("threshold", "accuracy", "Accuracy at threshold"),
    "training": _training,
    "trainings": _trainings,
    "weak_slices": _named("slice", "error", "Error", ("lower", "upper")),
}
