"""The second stage: rows that meet the contract, typed; the others in quarantine with their reasons.

In: a ``Snapshot`` and its ``rows.parquet``. Out: ``CleanRows``, ``rows.parquet`` and ``quarantine.parquet`` in the
stage's folder. Law: rows in = rows kept + rows quarantined, and every ``_row`` stands in exactly one of the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from roadworthy.errors import ContractError, DataError, Problem, TargetError, nearest
from roadworthy.protocols import Reporter
from roadworthy.records.contract import ColumnType
from roadworthy.records.data import CleanRows, Snapshot
from roadworthy.records.digests import Digest
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.transforms.cleaning import CleaningCounts, CleaningPlan, contract_for_hashed
from roadworthy.transforms.splits import label_text

__all__ = ["STEPS", "plan_of", "run"]

STEPS = 3
_STEP = "clean"
_TOP = 8


def plan_of(spec: ProjectSpec) -> CleaningPlan:
    """The cleaning plan of a project: personal columns are read as the keyed hashes they have become."""
    return CleaningPlan.build(contract_for_hashed(spec.contract, spec.data.personal), spec.data.time, spec.target)


def run(  # noqa: PLR0917 - the order that every stage shares: what goes in, where to, under which name
    snapshot: Snapshot, rows: Path, spec: ProjectSpec, folder: Path, digest: Digest, reporter: Reporter
) -> CleanRows:
    """Cleans the snapshot's ``rows.parquet`` into ``folder``.

    Rows whose target is missing stay (the split sets them aside) unless the contract rejects them. Raises
    ContractError when no row is left, TargetError when what is left cannot be learned from.
    """
    plan = plan_of(spec)
    raw = pl.scan_parquet(rows, glob=False)
    counts = plan.check(raw)
    reporter.advance(_STEP)
    if counts.rows == 0:
        raise _nothing_left(counts)
    result = plan.apply(raw, counts)
    result.kept.sink_parquet(folder / "rows.parquet", compression_level=1)
    reporter.advance(_STEP)
    result.quarantined.sink_parquet(folder / "quarantine.parquet")
    reporter.advance(_STEP)
    kept, quarantined = _heights(folder)
    if kept + quarantined != snapshot.rows:
        raise DataError(
            f"the snapshot names {snapshot.rows} rows, its file gave {kept} clean and {quarantined} quarantined ones",
            next_step="delete the snapshot's folder in the lake, then `roadworthy run`",
        )
    try:
        _check_target(folder / "rows.parquet", spec)
    except TargetError as error:
        facts = (*error.problems, *_set_aside(counts))
        raise TargetError(error.message, problems=facts, next_step=error.next_step) from error
    return CleanRows(
        digest=digest,
        parent=snapshot.digest,
        rows_in=kept + quarantined,
        rows=kept,
        quarantined=quarantined,
        columns=tuple(spec.contract.columns),
        reasons=_ranked(counts.reasons),
        repairs=_ranked(counts.repairs),
    )


def _heights(folder: Path) -> tuple[int, int]:
    heights = [
        int(pl.scan_parquet(folder / name, glob=False).select(pl.len()).collect().item())
        for name in ("rows.parquet", "quarantine.parquet")
    ]
    return heights[0], heights[1]


def _ranked(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _nothing_left(counts: CleaningCounts) -> ContractError:
    if counts.rows_in == 0:
        return ContractError("the data has no rows", next_step="check [data] source in roadworthy.toml")
    return ContractError(
        f"none of the {counts.rows_in:,} rows meets the contract",
        problems=_set_aside(counts),
        next_step="correct [contract] in roadworthy.toml, or let `roadworthy init` write it anew",
    )


def _set_aside(counts: CleaningCounts) -> list[Problem]:
    """The most frequent reasons for which rows were set aside."""
    problems = [Problem(f"{reason}: {count:,} rows") for reason, count in list(_ranked(counts.reasons).items())[:_TOP]]
    more = len(counts.reasons) - len(problems)
    if more:
        problems.append(Problem(f"and {more} more reasons"))
    return problems


def _check_target(path: Path, spec: ProjectSpec) -> None:
    target = spec.target
    where = f"column {target}"
    kind = spec.contract.columns[target].type
    frame = pl.scan_parquet(path, glob=False).select(pl.col(target).drop_nulls().alias("y"))
    if spec.task is Task.REGRESSION:
        if kind not in {ColumnType.INTEGER, ColumnType.NUMBER}:
            raise TargetError(
                f"the target {target!r} has type {kind.value!r}, which regression cannot estimate",
                problems=(Problem(f"type {kind.value!r}", expected="integer or number", where=where),),
                next_step='set task = "binary" or "multiclass" under [project], or correct the target\'s type',
            )
        distinct = frame.select(pl.len().alias("n"), pl.col("y").min().alias("low"), pl.col("y").max().alias("high"))
        facts = distinct.collect(engine="streaming").row(0, named=True)
        if facts["n"] == 0 or facts["low"] == facts["high"]:
            raise _constant(target, [facts["low"]] if facts["n"] else [], "a target that varies")
        return
    if kind is ColumnType.TIME:
        raise TargetError(
            f"the target {target!r} is a time, which is no class",
            problems=(Problem("type 'time'", expected="category, boolean, integer or number", where=where),),
            next_step="derive a class from it, or name another target",
        )
    top = frame.group_by("y").len().sort("len", descending=True).collect(engine="streaming")
    labels = label_text(top.get_column("y")).to_list()
    _check_classes(labels, spec)


def _check_classes(labels: list[str], spec: ProjectSpec) -> None:
    where = f"column {spec.target}"
    if len(labels) < 2:
        raise _constant(spec.target, labels, "at least two classes")
    if spec.task is Task.BINARY and len(labels) > 2:
        shown = ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")
        raise TargetError(
            f"the target {spec.target!r} has {len(labels):,} classes, a binary task has two",
            problems=(Problem(f"{len(labels):,} classes ({shown})", expected="two classes", where=where),),
            next_step='set task = "multiclass" or "regression" under [project], or clean the labels in [contract]',
        )
    if spec.task is Task.BINARY and spec.positive and spec.positive not in labels:
        close = nearest(spec.positive, labels)
        hint = f"; did you mean {close!r}?" if close else ""
        raise TargetError(
            f"the positive label {spec.positive!r} does not occur in {spec.target!r}{hint}",
            problems=(Problem(f"labels {', '.join(labels)}", expected=repr(spec.positive), where=where),),
            next_step="correct `positive` under [project]",
        )


def _constant(target: str, labels: list[Any], expected: str) -> TargetError:
    found = f"only the value {labels[0]}" if labels else "no value at all"
    return TargetError(
        f"after cleaning the target {target!r} has {found}",
        problems=(Problem(found, expected=expected, where=f"column {target}"),),
        next_step="correct [contract] in roadworthy.toml, or name another target",
    )
