"""Which rows train, which judge, and which fold each training row is validated in.

In: ``_row``, the target, and the time and entity columns where declared. Out: one line per labelled row (``_row``,
``part``, ``fold``) and the facts about the split.

Laws: the outcome depends on the rows and the seed, never on the order in which the rows arrive; a row of the
holdout never trains; by time, no training row is as late as a holdout row, and a fold is validated by models that
saw earlier times only; by entity, no entity stands on both sides; by time with disjoint entities, what judges and
what a fold predicts are entities that no earlier row has.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, Problem, TargetError, UnknownName
from roadworthy.records.data import SplitKind
from roadworthy.records.digests import Digest, digest_data
from roadworthy.records.project import Task
from roadworthy.transforms.newcomers import newcomers, without_seen

__all__ = [
    "HOLDOUT",
    "TRAIN",
    "SplitFacts",
    "carve",
    "class_labels",
    "holdout_digest",
    "label_text",
    "learnable",
    "make_split",
]

TRAIN = "train"
HOLDOUT = "holdout"

LEAST_ROWS = 30
"""Labelled rows below which no split is made: fewer cannot train and judge anything."""

LEAST_PER_CLASS = 5
"""Training rows that each of the two classes of a binary task needs."""

GREATEST_TARGET = 1e30
"""Beyond this size a regression target's square leaves single precision, in which the graph answers."""

_NEVER = -1


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What happened, in numbers and one paragraph for a person.

    ``unlabelled`` rows lack a target (or a time, where rows are split by time). ``unseen_entities`` are the
    entities of the holdout that training never saw; ``dropped`` the holdout rows left out by ``entity_disjoint``.
    ``never_validated`` are training rows that only ever train (the first block of a split by time).
    """

    kind: SplitKind
    train_rows: int
    holdout_rows: int
    folds: int
    unlabelled: int
    unseen_entities: int
    dropped: int
    never_validated: int
    explanation: str


def label_text(target: pl.Series) -> pl.Series:
    """Labels as text, the form in which classes are named everywhere; a whole number has no point.

    >>> label_text(pl.Series([1.0, 2.5])).to_list(), label_text(pl.Series([True])).to_list()
    (['1', '2.5'], ['true'])
    """
    text = target.cast(pl.String)
    return text.str.strip_suffix(".0") if target.dtype.is_float() else text


def class_labels(target: pl.Series, task: Task, positive: str = "") -> tuple[str, ...]:
    """The labels in score order: text order, except that a binary task has (negative, positive).

    ``positive`` empty means the later label in text order. Regression has none. Raises TargetError when there
    are fewer than two classes, or more than two in a binary task; UnknownName when ``positive`` is no label.
    """
    if task is Task.REGRESSION:
        return ()
    labels = sorted(label_text(target).drop_nulls().unique().to_list())
    if len(labels) < 2:
        found = f"one class only, {labels[0]!r}" if labels else "no labelled row"
        raise TargetError(
            f"column {target.name} cannot be learned: {found} is left after cleaning",
            problems=[Problem(found, expected="at least two classes", where=f"column {target.name}")],
            next_step="look at the quarantine file for what was dropped, or name another target in [project]",
        )
    if task is Task.MULTICLASS:
        return tuple(labels)
    if len(labels) > 2:
        raise TargetError(
            f"column {target.name} has {len(labels)} classes, but the task is binary",
            problems=[Problem(f"labels {', '.join(map(repr, labels[:6]))}…", expected="two classes")],
            next_step='write task = "multiclass" in [project]',
        )
    if positive and positive not in labels:
        raise UnknownName("label", positive, labels, where="[project] positive")
    wanted = positive or labels[1]
    return (next(label for label in labels if label != wanted), wanted)


def learnable(codes: NDArray[np.int64], task: Task) -> bool:
    """Whether something can be learned from these class codes: at least two classes (any rows, for regression)."""
    return len(codes) > 0 if task is Task.REGRESSION else len(np.unique(codes)) >= 2


def holdout_digest(parts: pl.DataFrame, parent: Digest) -> Digest:
    """Pins the rows of the holdout: their sorted numbers and the table that they are rows of."""
    rows = parts.filter(pl.col("part") == HOLDOUT)["_row"].sort().to_list()
    return digest_data({"parent": parent, "rows": rows})


def make_split(
    frame: pl.DataFrame,
    *,
    time: str,
    entity: str,
    target: str,
    task: Task,
    holdout: float,
    folds: int,
    seed: int,
    entity_disjoint: bool = False,
) -> tuple[pl.DataFrame, SplitFacts]:
    """Split labelled rows into training (with folds) and holdout.

    ``frame`` has ``_row``, ``target`` and, where the names are not empty, ``time`` and ``entity``. ``holdout`` is a
    share between 0 and 1. Out: a frame ``_row`` (Int64), ``part`` (String), ``fold`` (Int32, null on the holdout
    and on training rows that are never validated), sorted by ``_row``, and the facts.

    By time: the last share is the holdout; rows of one timestamp stay on one side. The training part is cut into
    ``folds + 1`` blocks; block k is validated by models trained on the blocks before it, and the first block is
    never validated, so its fold is null (so is a block before which only one class had been seen). Under
    ``entity_disjoint`` a fold predicts its newcomers only; its other rows keep their number, as they train later ones.
    By entity: whole entities, in a seeded order. Otherwise stratified by class, or at random for regression.

    Raises TargetError when the target cannot be learned, DataError when the rows cannot be split as declared.
    """
    if not 0 < holdout < 1:
        raise DataError(f"[training] holdout = {holdout}: expected a share between 0 and 1, such as 0.2")
    if folds < 2:
        raise DataError(f"[training] folds = {folds}: expected 2 or more")
    needed = [target, *([time] if time else [])]
    rows = frame.drop_nulls(needed).sort("_row")
    unlabelled = frame.height - rows.height
    _check_target(rows, target, task, unlabelled)
    codes = _codes(rows[target], task)
    if time:
        kind, fold = "time", _by_time(rows[time], codes, task, holdout, folds)
    elif entity:
        kind, fold = "entity", _by_entity(rows[entity], holdout, folds, seed)
    else:
        kind = "random" if task is Task.REGRESSION else "stratified"
        fold = _stratified(codes, holdout, folds, seed)
    who = rows[entity] if entity else pl.Series([None] * rows.height, dtype=pl.String)
    keep, unseen = without_seen(who, fold == _HOLD, strict=entity_disjoint and kind == "time")
    _check_training(codes[fold != _HOLD], rows[target], codes, task, kind)
    if not (fold >= 0).any():
        raise TargetError(
            "all earlier rows are of one class, so that no part of the training rows can be validated by time",
            next_step="collect rows over a longer time, or remove time from [data]",
        )
    parts = pl.DataFrame(
        {
            "_row": rows["_row"].cast(pl.Int64),
            "part": np.where(fold == _HOLD, HOLDOUT, TRAIN),
            "fold": pl.Series(fold, dtype=pl.Int32),
        }
    ).with_columns(pl.when(pl.col("fold") >= 0).then("fold").alias("fold"))
    predicted = _predicted(parts, who, strict=entity_disjoint and kind == "time")
    kept = parts.filter(pl.Series(keep))
    facts = _facts(kept, kind, unlabelled, unseen, predicted=predicted, dropped=parts.height - kept.height)
    return kept, facts


_HOLD = -2


def _codes(target: pl.Series, task: Task) -> NDArray[np.int64]:
    """Class codes in text order; all zero for regression."""
    if task is Task.REGRESSION:
        return np.zeros(target.len(), dtype=np.int64)
    _, codes = np.unique(np.asarray(label_text(target).to_list(), dtype=object).astype(str), return_inverse=True)
    return codes.astype(np.int64)


def _check_target(rows: pl.DataFrame, target: str, task: Task, unlabelled: int) -> None:
    column = rows[target]
    if task is not Task.REGRESSION:
        class_labels(column, task)
    elif not column.dtype.is_numeric():
        raise TargetError(
            f"column {target} holds {column.dtype} values, and a regression needs numbers",
            next_step='write task = "multiclass" in [project], or declare the column as a number in [contract]',
        )
    if rows.height < LEAST_ROWS:
        raise TargetError(
            f"{rows.height} rows have a target ({unlabelled} have none); at least {LEAST_ROWS} are needed",
            next_step="collect more rows, or look at the quarantine file for what was dropped",
        )
    if task is Task.REGRESSION:
        least, most = float(column.min()), float(column.max())  # type: ignore[arg-type]  # numeric and not empty
        if least == most:
            raise TargetError(
                f"column {target} is constant: every row says {least:g}", next_step="name another target in [project]"
            )
        size = max(abs(least), abs(most))
        if size > GREATEST_TARGET:
            raise TargetError(
                f"column {target} reaches {size:.3g}; expected at most {GREATEST_TARGET:g} in size",
                next_step="set min and max for it in [contract], or predict its logarithm",
            )


def _check_training(
    seen: NDArray[np.int64], target: pl.Series, codes: NDArray[np.int64], task: Task, kind: SplitKind
) -> None:
    """Every class must be in the training part, and a binary task needs a few rows of both."""
    if task is Task.REGRESSION:
        return
    least = LEAST_PER_CLASS if task is Task.BINARY else 1
    counts = np.bincount(seen, minlength=int(codes.max()) + 1)
    names = sorted(label_text(target).unique().to_list())
    problems = [
        Problem(f"class {name!r} has {count} rows in the training part", expected=f"{least} or more")
        for name, count in zip(names, counts, strict=True)
        if count < least
    ]
    if problems:
        by = {"time": "the earlier rows", "entity": "the entities that train"}.get(kind, "the training rows")
        raise TargetError(
            f"column {target.name} cannot be learned: a class is (nearly) absent from {by}",
            problems=problems,
            next_step="collect more rows of it, merge or drop the class, or change [training] holdout",
        )


def _cuts(edges: NDArray[np.int64], wanted: Sequence[float]) -> list[int]:
    """The edges nearest to the wanted positions, each used once, in order; the earlier one on a draw."""
    chosen: list[int] = []
    for place in wanted:
        free = edges[edges > (chosen[-1] if chosen else 0)]
        if len(free) == 0:
            break
        chosen.append(int(free[np.argmin(np.abs(free - place))]))
    return chosen


def _by_time(when: pl.Series, codes: NDArray[np.int64], task: Task, holdout: float, folds: int) -> NDArray[np.int64]:
    """Fold per row (in ``_row`` order): the last share holds out, earlier blocks chain forward."""
    order = np.asarray(when.arg_sort(), dtype=np.int64)
    stamps = when.to_physical().to_numpy()[order]
    edges = np.flatnonzero(stamps[1:] != stamps[:-1]) + 1  # a cut before row i keeps equal times together
    total = len(stamps)
    if len(edges) < 2:
        raise DataError(
            f"column {when.name} has {len(edges) + 1} distinct times; a split by time needs 3 or more",
            next_step="remove time from [data] to split without it",
        )
    boundary = _cuts(edges[1:], [total - round(total * holdout)])[0]
    inside = edges[edges < boundary]
    blocks = [0, *_cuts(inside, [boundary * k / (folds + 1) for k in range(1, folds + 1)]), boundary]
    sorted_codes, sorted_fold = codes[order], np.full(total, _HOLD, dtype=np.int64)
    sorted_fold[:boundary] = _NEVER
    number = 0
    for start, stop in itertools.pairwise(blocks[1:]):
        if learnable(sorted_codes[:start], task):
            sorted_fold[start:stop] = number
            number += 1
    fold = np.empty(total, dtype=np.int64)
    fold[order] = sorted_fold
    return fold


def _by_entity(entity: pl.Series, holdout: float, folds: int, seed: int) -> NDArray[np.int64]:
    """Whole entities in a seeded order; a row without entity stands alone."""
    names = entity.cast(pl.String).to_list()
    keys = np.asarray([f"={name}" if name is not None else f"row {at}" for at, name in enumerate(names)], dtype=object)
    _, group = np.unique(keys.astype(str), return_inverse=True)
    count = int(group.max()) + 1
    if count < folds + 1:
        raise DataError(
            f"column {entity.name} has {count} entities; {folds} folds and a holdout need {folds + 1} or more",
            next_step="lower [training] folds, or remove entity from [data]",
        )
    shuffled = np.random.default_rng(seed).permutation(count)
    sizes = np.bincount(group, minlength=count)[shuffled]
    ends = np.cumsum(sizes)[:-1]
    total, held = len(group), round(len(group) * holdout)
    edges = _cuts(ends, [held, *(held + (total - held) * k / folds for k in range(1, folds))])
    label = np.searchsorted(edges, np.cumsum(sizes) - sizes, side="right") - 1  # -1 is the holdout
    per_group = np.empty(count, dtype=np.int64)
    per_group[shuffled] = np.where(label < 0, _HOLD, label)
    return per_group[group]


def _stratified(codes: NDArray[np.int64], holdout: float, folds: int, seed: int) -> NDArray[np.int64]:
    """Each class in proportion, by largest remainder, so that the total is exact."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(codes)
    ideal = counts * holdout
    held = np.floor(ideal).astype(np.int64)
    short = round(len(codes) * holdout) - int(held.sum())
    held[np.argsort(-(ideal - held), kind="stable")[:short]] += 1
    fold = np.empty(len(codes), dtype=np.int64)
    start = 0
    for code, hold in enumerate(held):
        members = rng.permutation(np.flatnonzero(codes == code))
        hold = min(int(hold), len(members) - 1)  # a class never leaves training altogether  # noqa: PLW2901
        fold[members[:hold]] = _HOLD
        rest = members[hold:]
        fold[rest] = (np.arange(len(rest)) + start) % folds
        start += len(rest)  # the next class goes on where this one ended, so that folds stay equal in size
    return fold


def _predicted(parts: pl.DataFrame, entity: pl.Series, *, strict: bool) -> pl.DataFrame:
    """The training rows that a fold predicts: all that have one or, if ``strict``, the newcomers among them."""
    train = parts["part"] == TRAIN
    new = newcomers(entity.filter(train), parts.filter(train)["fold"].fill_null(_NEVER).to_numpy())
    predicted = parts.filter(train).filter((pl.Series(new) | (not strict)) & (pl.col("fold") >= 0))
    if predicted.is_empty():
        raise DataError(
            "entity_disjoint leaves no training row to be validated: every entity was there from the first rows on",
            next_step="remove entity_disjoint from [data]; unseen entities are reported as a slice anyway",
        )
    return predicted


def _facts(
    parts: pl.DataFrame, kind: SplitKind, unlabelled: int, unseen: int, *, predicted: pl.DataFrame, dropped: int
) -> SplitFacts:
    train = parts.filter(pl.col("part") == TRAIN)
    held = parts.height - train.height
    folds = predicted["fold"].n_unique()
    never = train["fold"].null_count()
    how = {
        "time": "by time: the latest rows judge, rows of one timestamp stay together",
        "entity": "by entity: no entity is on both sides",
        "stratified": "stratified by class",
        "random": "at random",
    }[kind]
    sentences = [f"Split {how}. {train.height:,} rows train and {held:,} judge ({held / max(parts.height, 1):.1%})."]
    if kind == "time":
        first = f"the first {never:,} rows in time only ever train and are never validated"
        sentences.append(f"{folds} folds chain forward; {first}.")
    if unlabelled:
        rows = parts.height + dropped + unlabelled
        sentences.append(f"{unlabelled:,} of {rows:,} rows have no target or no time and are in neither part.")
    if unseen and kind == "time":
        sentences.append(f"{unseen:,} entities of the holdout were never seen in training.")
    if dropped:
        sentences.append(f"{dropped:,} holdout rows of entities that training saw were left out (entity_disjoint).")
    if seen := train.height - never - predicted.height:
        sentences.append(f"The folds do not predict {seen:,} training rows whose entity an earlier fold has.")
    return SplitFacts(kind, train.height, held, folds, unlabelled, unseen, dropped, never, " ".join(sentences))


def carve(
    codes: NDArray[np.int64],
    *,
    task: Task,
    seed: int,
    times: NDArray[np.int64] | None = None,
    entities: pl.Series | None = None,
    share: float = 0.1,
) -> NDArray[np.bool_]:
    """Rows to put aside for early stopping: True where a row stops training instead of training.

    Whole entities where more than ten are given, else the last ``share`` by time, else stratified; stratified too
    where the honest way would leave one class only to train on, or would keep a class for stopping that training
    then never sees.
    """
    count = len(codes)
    wanted = max(1, round(count * share))
    aside: NDArray[np.bool_] | None = None
    if entities is not None and entities.n_unique() > 10:
        aside = _by_entity(entities, share, 1, seed) == _HOLD
    elif times is not None:
        ordered = np.sort(times, kind="stable")
        aside = times >= ordered[count - wanted]
    if aside is not None and 0 < aside.sum() <= count / 2:
        left = codes[~aside]
        if learnable(left, task) and np.isin(codes[aside], left).all():
            return aside
    stratified: NDArray[np.bool_] = _stratified(codes, share, 1, seed) == _HOLD
    return stratified
