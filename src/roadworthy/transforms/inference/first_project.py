"""The order of inference: profiles, contract, typed sample, task, roles, leaks.

In: raw rows and the target's name. Out: an ``Inference``. Up to twenty million cells are looked at whole; of larger
tables an evenly spread sample of 200,000 rows is profiled, and what it says of missing values, uniqueness and labels
is then checked over all rows in one streaming query.
"""

from __future__ import annotations

import msgspec
import polars as pl

from roadworthy.errors import Problem, SourceError, TargetError, nearest
from roadworthy.records.contract import ColumnContract, ColumnType, Contract, MissingPolicy
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task
from roadworthy.transforms.cleaning import CleaningPlan, reserved_name
from roadworthy.transforms.inference.columns import Profile, profile
from roadworthy.transforms.inference.leaks import find_leaks
from roadworthy.transforms.inference.result import Inference, Note
from roadworthy.transforms.inference.roles import Roles, roles_of
from roadworthy.transforms.inference.targets import task_of

__all__ = ["infer"]

_SAMPLE = 200_000
_WHOLE_CELLS = 20_000_000


def infer(
    frame: pl.LazyFrame | pl.DataFrame,
    *,
    target: str,
    task: Task | None = None,
    source_name: str,
    leaks: bool = True,
) -> Inference:
    """The first project for these rows.

    ``frame`` holds raw rows (text or native types); ``source_name`` is what a person reads about where they came
    from. Without ``leaks`` none are looked for, which takes most of the time on a wide table: then no column is left
    out for giving the answer away. Raises SourceError for a table without rows or with a reserved column name,
    TargetError when the target lacks or cannot be learned from.
    """
    lazy = frame.lazy()
    schema = lazy.collect_schema()
    _check_names(schema.names(), source_name)
    _check_target_name(schema.names(), target, source_name)
    unusable = _unusable(schema, target)
    lazy = lazy.drop(unusable)
    rows = int(lazy.select(pl.len()).collect(engine="streaming").item())
    if rows == 0:
        raise SourceError(f"{source_name} has no rows", next_step="name a source that has some")
    sample, whole = _sample(lazy, rows, len(schema) - len(unusable))
    profiles = {name: profile(sample.get_column(name), is_target=name == target) for name in sample.columns}
    contract = Contract(columns={name: one.column for name, one in profiles.items()})
    plan = CleaningPlan.build(contract, "", target)
    clean, _ = plan.apply_rows(sample, optional=sample.columns)
    chosen, positive, sentences = task_of(profiles[target], clean.get_column(target), task)
    notes = [Note(target, "task", sentence) for sentence in sentences]
    roles = roles_of(profiles, target, clean)
    findings = find_leaks(clean, target, chosen, positive, _inputs(profiles, roles, target)) if leaks else []
    for finding in findings:
        if finding.details["exclude"]:
            roles.exclude.setdefault(finding.subject, str(finding.details["reason"]))
    contract = _contract(profiles, roles, target, chosen)
    told = {"text to number"} if set(schema.dtypes()) == {pl.String()} else set()  # all of a CSV is text: no news
    notes += [note for one in profiles.values() for note in one.notes if note.kind not in told]
    notes += [
        Note(name, "unreadable", f"values of type {schema[name]}: left out of the contract and never stored")
        for name in unusable
    ]
    notes += roles.notes
    notes += [_leak_note(finding) for finding in findings]
    notes += _duplicates(sample, rows, roles)
    notes += _nothing_to_learn_from(profiles, roles, target)
    if not whole:
        notes.append(Note("", "sample", f"looked at {sample.height:,} of {rows:,} rows, evenly spread"))
        contract = _widened(lazy, contract, roles, target, notes)
    return Inference(
        source_name=source_name,
        target=target,
        task=chosen,
        positive=positive,
        contract=contract,
        time=roles.time,
        time_of_day=bool(roles.time) and _has_time_of_day(clean.get_column(roles.time)),
        entity=roles.entity,
        personal=tuple(roles.personal),
        protected=tuple(roles.protected),
        exclude=roles.exclude,
        findings=tuple(findings),
        notes=tuple(notes),
        rows=rows,
        sampled=sample.height,
    )


def _check_names(columns: list[str], source_name: str) -> None:
    taken = [name for name in columns if reserved_name(name)]
    if taken:
        raise SourceError(
            f"{source_name} has columns whose names are reserved",
            problems=[Problem(f"column {name!r}", where=source_name, expected="another name") for name in taken],
            next_step="rename them in the source",
        )


def _check_target_name(columns: list[str], target: str, source_name: str) -> None:
    if target in columns:
        return
    close = nearest(target, columns)
    hint = f"; did you mean {close!r}?" if close else ""
    raise TargetError(
        f"{source_name} has no column {target!r}{hint}",
        problems=(Problem(f"columns: {', '.join(columns)}"),),
        next_step=f"roadworthy init DATA --target {close or 'COLUMN'}",
    )


def _unusable(schema: pl.Schema, target: str) -> list[str]:
    """Columns of lists, structs and bytes, which no contract describes."""
    found = [name for name, kind in schema.items() if kind.is_nested() or isinstance(kind, (pl.Object, pl.Binary))]
    if target in found:
        raise TargetError(
            f"the target {target!r} holds values of type {schema[target]}",
            problems=(Problem(f"type {schema[target]}", expected="numbers or labels", where=f"column {target}"),),
            next_step="name another target: `roadworthy init DATA --target COLUMN`",
        )
    return found


def _sample(lazy: pl.LazyFrame, rows: int, width: int) -> tuple[pl.DataFrame, bool]:
    if rows * width <= _WHOLE_CELLS or rows <= _SAMPLE:
        return lazy.collect(engine="streaming"), True
    every = -(-rows // _SAMPLE)
    # a hash of the row's number spreads the sample without falling into step with any rhythm of the data
    spread = lazy.with_row_index("__at").filter(pl.col("__at").hash(seed=7) % every == 0).drop("__at")
    return spread.collect(engine="streaming"), False


def _inputs(profiles: dict[str, Profile], roles: Roles, target: str) -> list[str]:
    gone = {target, roles.time, roles.entity, *roles.exclude, *roles.personal}
    return [
        name for name, one in profiles.items()
        if name not in gone and one.column.type is not ColumnType.TEXT and not one.free_text
    ]  # fmt: skip


def _contract(profiles: dict[str, Profile], roles: Roles, target: str, task: Task) -> Contract:
    columns = {}
    for name, one in profiles.items():
        column = one.column
        if name in roles.personal:
            # a keyed hash is written in its place, so nothing but its presence can be asked of it; its sentinels
            # are taken out before that
            column = ColumnContract(type=ColumnType.TEXT, sentinels=column.sentinels)
        elif name in roles.exclude:
            column = msgspec.structs.replace(column, min=None, max=None, allowed=())
        if name in {roles.time, roles.entity} and one.filled == one.rows:
            column = msgspec.structs.replace(column, missing=MissingPolicy.REJECT)
        if name == target and task is Task.REGRESSION:
            column = msgspec.structs.replace(column, allowed=())
        columns[name] = column
    return Contract(columns=columns)


def _leak_note(finding: Finding) -> Note:
    """What a person is told beside the column's name, which therefore is not said again."""
    if finding.details["exclude"]:
        return Note(finding.subject, "leak", f"left out: {finding.details['reason']}")
    apart = f"{finding.subject} alone "
    sentence = finding.sentence.removeprefix(f"{finding.subject} ") if finding.sentence.startswith(apart) else ""
    return Note(finding.subject, "leak", sentence or finding.sentence)


def _nothing_to_learn_from(profiles: dict[str, Profile], roles: Roles, target: str) -> list[Note]:
    if any(profiles[name].filled >= 0.05 * profiles[name].rows for name in _inputs(profiles, roles, target)):
        return []
    sentence = "no filled column is left that a model could learn from"
    texts = [name for name, one in profiles.items() if one.free_text and name not in roles.exclude]
    if texts:
        sentence += (
            f". No candidate reads free text ({', '.join(texts)}): bring numbers or categories made of it, such as its "
            "length or the words that matter, as columns of the source"
        )
    return [Note("", "inputs", f"{sentence}; or declare [features]")]


def _has_time_of_day(times: pl.Series) -> bool:
    """Whether any instant is not a midnight: the hour of a plain date says nothing."""
    return bool((times.drop_nulls() != times.drop_nulls().dt.truncate("1d")).any())


def _duplicates(sample: pl.DataFrame, rows: int, roles: Roles) -> list[Note]:
    keyed = [name for name, kind in sample.schema.items() if not kind.is_nested() and kind != pl.Object]
    again = sample.height - sample.select(pl.struct(keyed).hash().n_unique()).item()
    if not again:
        return []
    of = "" if sample.height == rows else f" of the {sample.height:,} looked at"
    sentence = f"{again:,} rows{of} are equal to an earlier one in every column; they are kept"
    if not roles.time and not roles.entity and again >= 0.005 * sample.height:
        sentence += '. With neither time nor entity they are likely copies: write duplicates = "drop" under [contract]'
    return [Note("", "duplicates", sentence)]


def _widened(lazy: pl.LazyFrame, contract: Contract, roles: Roles, target: str, notes: list[Note]) -> Contract:
    """What the sample promised, checked over all rows; a promise that does not hold is taken back."""
    counts = CleaningPlan.build(contract, "", target).check(lazy)
    columns = dict(contract.columns)
    for reason, count in counts.reasons.items():
        name, _, what = reason.partition(": ")
        if name not in columns:
            continue
        if what == "missing":
            columns[name] = msgspec.structs.replace(columns[name], missing=MissingPolicy.ALLOW)
        elif what.startswith("below"):
            columns[name] = msgspec.structs.replace(columns[name], min=None)
        elif what == "not an allowed category":
            columns[name] = msgspec.structs.replace(columns[name], allowed=())
        elif name not in roles.personal:
            notes.append(Note(name, "unreadable", f"{count:,} of {counts.rows_in:,} rows: {what}"))
    return msgspec.structs.replace(contract, columns=columns)
