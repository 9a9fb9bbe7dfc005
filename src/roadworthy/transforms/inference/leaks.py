"""Columns that know the target: proof where there is one, suspicion where there is not.

In: clean rows, the target, the columns that could be model inputs. Out: ``Finding``s of kind "leak". Grade "fails"
is proof: the column is filled only where the target is known, it decides the target, or it adds up to it. Grade
"suspects" is power that stands apart from all other columns, or kinship with a leak. ``details["exclude"]`` says
whether the column is left out: for power, only when its name too speaks of something known only afterwards; and
``details["reason"]`` why, in a few words that need no subject. Power is measured out of sample (Mann-Whitney AUC or
R-squared of a small tree), on at most 20,000 rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task
from roadworthy.transforms.inference import names
from roadworthy.transforms.inference.power import power, rank_power
from roadworthy.transforms.inference.sums import adds_up

__all__ = ["find_leaks"]

_MOST_ROWS = 20_000
_QUESTION = "Is it known when the prediction is made?"
_STRONG = 0.5
_APART = 0.2
_EXACT = 0.9995


def find_leaks(frame: pl.DataFrame, target: str, task: Task, positive: str, columns: list[str]) -> list[Finding]:
    """All suspected leaks among ``columns``, proofs first."""
    found = _filled_where_known(frame, target, columns)
    labelled = frame.filter(pl.col(target).is_not_null())
    if task is Task.BINARY:
        rest = _without(columns, found)
        found += _filled_by_class(labelled, target, positive, rest)
    rows = labelled.sample(min(labelled.height, _MOST_ROWS), seed=7)
    if rows.height < 40:
        return found
    rest = _without(columns, found)
    if task is Task.REGRESSION:
        found += adds_up(rows, target, [name for name in rest if rows.schema[name].is_numeric()])
        rest = _without(rest, found)
    folds = np.random.default_rng(7).integers(0, 2, rows.height)
    powers = {name: power(rows.get_column(name), rows.get_column(target), task, folds) for name in rest}
    found += _by_power(powers, target, task, rows.height)
    return found + _filled_with_proof(frame, found, _without(columns, found))


def _without(columns: list[str], found: list[Finding]) -> list[str]:
    gone = {finding.subject for finding in found if finding.grade == "fails"}
    return [name for name in columns if name not in gone]


def _leak(subject: str, grade: str, sentence: str, reason: str = "", **details: float | str) -> Finding:
    """A finding; with a reason the column is left out."""
    known = {"exclude": bool(reason), "reason": reason, **details}
    return Finding(kind="leak", subject=subject, grade=grade, sentence=sentence, details=known)


def _filled_where_known(frame: pl.DataFrame, target: str, columns: list[str]) -> list[Finding]:
    """Columns that are missing just where the target is: they came into being together."""
    others = [name for name in frame.columns if name not in {target, "_row"}]
    if not others:
        return []
    # rows that are empty altogether say nothing about a single column
    filled = pl.sum_horizontal(pl.col(others).is_not_null()) >= 0.5 * len(others)
    unknown = frame.filter(pl.col(target).is_null() & filled)
    known = frame.filter(pl.col(target).is_not_null())
    if unknown.height < 10 or known.height < 10:
        return []
    found = []
    for name in columns:
        with_target = known.get_column(name).null_count() / known.height
        without = unknown.get_column(name).null_count() / unknown.height
        if without >= 0.7 and with_target <= 0.01:
            sentence = (
                f"{name} is filled only where the target is known: it is missing in {without:.1%} of the "
                f"{unknown.height:,} rows without a target and in {with_target:.2%} of the {known.height:,} with one"
            )
            reason = (
                f"filled only where the target is known: missing in {without:.1%} of the {unknown.height:,} rows "
                f"without a target, in {with_target:.2%} of the others"
            )
            found.append(_leak(name, "fails", sentence, reason, missing_without_target=without,
                               missing_with_target=with_target, rows=frame.height))  # fmt: skip
    return found


def _filled_by_class(rows: pl.DataFrame, target: str, positive: str, columns: list[str]) -> list[Finding]:
    """Columns whose being filled says which class the row has."""
    text = pl.col(target).cast(pl.Int64, strict=False).cast(pl.String) if rows.schema[target].is_float() else (
        pl.col(target).cast(pl.String))  # fmt: skip
    event = rows.select((text == positive).alias("e")).to_series().to_numpy()
    share = float(event.mean()) if rows.height else 0.0
    found = []
    for name in columns:
        filled = rows.get_column(name).is_not_null().to_numpy()
        inside, outside = int(filled.sum()), int((~filled).sum())
        if min(inside, outside) < 20:
            continue
        of_filled, of_missing = float(event[filled].mean()), float(event[~filled].mean())
        strength = rank_power(filled.astype(np.float64), event)
        if strength < 0.9:
            continue
        sentence = (
            f"whether {name} is filled says what the target is: {of_filled:.1%} events in the {inside:,} rows where it "
            f"is filled, {of_missing:.1%} in the {outside:,} where it is missing, {share:.1%} overall"
        )
        reason = (
            f"whether it is filled says what the target is: {of_filled:.1%} events where it is, "
            f"{of_missing:.1%} where it is missing"
        )
        found.append(_leak(name, "fails", sentence, reason, power=strength, rows=rows.height))
    return found


def _filled_with_proof(frame: pl.DataFrame, found: list[Finding], columns: list[str]) -> list[Finding]:
    """Columns that are missing just where a proven leak is: they came into being with it."""
    proven = [finding.subject for finding in found if finding.grade == "fails"]
    taken = {finding.subject for finding in found}
    more = []
    for name in columns:
        empty = frame.get_column(name).is_null()
        if name in taken or empty.sum() < 20:
            continue
        for leak in proven:
            other = frame.get_column(leak).is_null()
            together, either = int((empty & other).sum()), int((empty | other).sum())
            if together < 0.8 * either:
                continue
            sentence = (
                f"{name} is missing where {leak} is, in {together:,} of the {either:,} rows where either is; {leak} is "
                f"a proven leak, so {name} is left out as something that came into being with it. {_QUESTION}"
            )
            reason = f"came into being with {leak}, which is a proven leak: both are missing in the same rows"
            more.append(_leak(name, "suspects", sentence, reason, together=together, either=either))
            break
    return more


def _by_power(powers: dict[str, float], target: str, task: Task, rows: int) -> list[Finding]:
    measure = "R-squared" if task is Task.REGRESSION else "|2 AUC - 1|"
    ranked = sorted(powers, key=lambda name: -powers[name])
    exact = [name for name in ranked if powers[name] >= _EXACT] if rows >= 200 else []
    found = []
    for name in exact:
        sentence = (
            f"{name} alone decides {target}: {measure} {powers[name]:.4f} out of sample on {rows:,} rows; "
            "the target is a copy or a function of it"
        )
        reason = f"decides {target} alone: {measure} {powers[name]:.4f} out of sample"
        found.append(_leak(name, "fails", sentence, reason, power=powers[name], rows=rows))
    rest = [name for name in ranked if name not in exact]
    hinted = {name for name in rest if names.after_the_event(name, target)}
    for name in _apart(rest, powers, hinted):
        others = [powers[other] for other in rest if other != name and powers[other] < powers[name] - _APART]
        following = max(others, default=0.0)
        hint = names.after_the_event(name, target)
        sentence = (
            f"{name} alone reaches {measure} {powers[name]:.2f} out of sample on {rows:,} rows, the columns after it "
            f"{following:.2f}. {_QUESTION}"
        )
        if hint:
            sentence += (
                f" Its name ({hint!r}) speaks of something known only afterwards, so it is left out; remove it from "
                "[data.exclude] if it is known in time."
            )
        else:
            sentence += f' It stays; if it is not, write {name} = "known only afterwards" under [data.exclude].'
        reason = (
            f"its name ({hint!r}) speaks of something known only afterwards, and it is strong: {measure} "
            f"{powers[name]:.2f} alone, the columns after it {following:.2f}"
        )
        found.append(_leak(name, "suspects", sentence, reason if hint else "", power=powers[name],
                           next_power=following, rows=rows))  # fmt: skip
    return found + _akin(powers, found, measure)


def _akin(powers: dict[str, float], found: list[Finding], measure: str) -> list[Finding]:
    """Columns named like a suspect that is left out (``prediction`` beside ``predicted_probability``)."""
    out = [one.subject for one in found if one.grade == "suspects" and one.details["exclude"]]
    taken = {one.subject for one in found}
    more = []
    for name, strength in powers.items():
        stems = {word[:6] for word in names.words(name) if len(word) >= 6}
        kin = next((other for other in out if stems & {word[:6] for word in names.words(other)}), "")
        if name in taken or strength < _STRONG / 2 or not kin:
            continue
        sentence = (
            f"{name} is named like {kin}, which is left out, and alone reaches {measure} {strength:.2f} out of sample, "
            f"so it is left out too; remove it from [data.exclude] if it is known in time. {_QUESTION}"
        )
        reason = f"named like {kin}, which is left out, and strong: {measure} {strength:.2f} alone"
        more.append(_leak(name, "suspects", sentence, reason, power=strength, named_like=kin))
    return more


def _apart(ranked: list[str], powers: dict[str, float], hinted: set[str]) -> list[str]:
    """The strongest columns, up to three, when a clear gap lies between them and all others.

    Columns whose names hint at the time after the event need no gap among themselves, and a smaller one before
    the rest.
    """
    others = max((powers[name] for name in ranked if name not in hinted), default=0.0)
    found = [name for name in ranked if name in hinted and powers[name] >= max(_STRONG, others + _APART / 4)]
    rest = [name for name in ranked if name not in found]
    for size in (1, 2, 3):
        if len(rest) <= size:
            break
        least, following = powers[rest[size - 1]], powers[rest[size]]
        if least >= _STRONG and least - following >= _APART:
            return found + rest[:size]
    return found
