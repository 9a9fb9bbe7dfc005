"""The model's graph in our form, and the proof that it is the same model.

In: a subject with an ``export``, the declared project, the rows. Out: ``Converted``: the graph that ships, the contract
that it needs, what both cost. Laws: whatever cannot be said to the model (a missing value where it answers with no
number) is refused by the contract, found out by asking it, never assumed; scores that differ from the
original's beyond ``TOLERANCE`` on any row are an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.api.inspection.rows import Given
from roadworthy.api.packaging.declaring import Declared
from roadworthy.api.subjects import Scored, Subject
from roadworthy.errors import DataError, ModelError, Problem
from roadworthy.graphs.foreign import Export
from roadworthy.graphs.optimise import optimise
from roadworthy.graphs.readings import Reading
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.timing import Timing, time_graphs
from roadworthy.measures.examined import Answer
from roadworthy.records.contract import ColumnContract, ColumnType, MissingPolicy
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.adopting import FLOATS, Fed, adopted
from roadworthy.stages.package_checks import decisions, flips_counted, parity_between
from roadworthy.transforms.cleaning import CleaningPlan

__all__ = ["TOLERANCE", "Converted", "converted"]

TOLERANCE = 1e-5
"""How far a score may be from the original's: absolute for probabilities, else relative to the greater of the score
and the labels' standard deviation."""

_PROBED = 64
_UNSEEN = "(a label that nobody has)"
_RUNS = 200
_JOINED, _OPTIMISED = "float32, as converted", "float32, optimised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """``content`` is the graph that ships; ``spec`` the project with the contract that it needs.

    ``before`` and ``after`` are the costs of the graph as converted and as it ships.
    """

    content: bytes
    spec: ProjectSpec
    variant: str
    before: Timing
    after: Timing
    parity: Measurement
    flips: Measurement
    notes: tuple[str, ...]


def converted(  # noqa: PLR0917 - the model, and everything that it is compared with
    subject: Subject, export: Export, takes: Mapping[str, int], project: Declared, given: Given, scored: Scored
) -> Converted:
    """The graph; ``scored`` is what the original says of the rows.

    Raises ModelError where the graph answers otherwise than the original, DataError where no row meets the contract.
    """
    reading = export.reading or subject.reading
    if reading is None:
        raise ModelError(f"nothing tells what the outputs of {subject.name} are")
    clean, sound = _clean(project.spec, export.columns, given)
    asked = _Asked(export, reading, subject.answer, project.spec.contract.columns, clean.filter(sound))
    content, columns, notes = _speaking(asked, takes)
    contract = msgspec.structs.replace(project.spec.contract, columns=dict(columns))
    spec = msgspec.structs.replace(project.spec, contract=contract)
    clean, sound = _clean(spec, export.columns, given)
    graphs = {_JOINED: content}
    try:
        graphs[_OPTIMISED] = optimise(content)
    except ModelError as error:
        notes = (*notes, f"the graph could not be optimised, so it ships as converted: {error.message}")
    timings = time_graphs(graphs, GraphModel(content).feed(clean.filter(sound).head(1)), runs=_RUNS)
    smaller = _OPTIMISED in graphs and len(graphs[_OPTIMISED]) <= len(content)
    variant = _OPTIMISED if smaller else _JOINED
    parity, flips = _same(graphs[variant], clean, sound & scored.sound, scored, project, subject.name)
    return Converted(
        content=graphs[variant],
        spec=spec,
        variant=variant,
        before=timings[_JOINED],
        after=timings[variant],
        parity=parity,
        flips=flips,
        notes=notes,
    )


def _clean(spec: ProjectSpec, columns: Iterable[str], given: Given) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """The model's columns as the contract reads them, and which rows meet it. DataError where none does."""
    plan = CleaningPlan.build(spec.contract, "", spec.target)
    table, problems = plan.apply_rows(given.rows.select(columns), optional=spec.contract.columns)
    sound = problems.is_null().to_numpy()
    if not sound.any():
        reasons = problems.drop_nulls().explode().value_counts(sort=True).head(8).rows()
        raise DataError(
            f"no row of {given.shown} meets the contract",
            problems=[Problem(f"{count:,} rows: {reason}") for reason, count in reasons],
            next_step="change the contract, or look whether these are the model's rows",
        )
    return table, sound


@dataclass(frozen=True, slots=True)
class _Asked:
    """A graph under construction: what the model is, what the contract says of its columns, sound rows of them."""

    export: Export
    reading: Reading
    original: Answer
    columns: Mapping[str, ColumnContract]
    rows: pl.DataFrame

    def graph(self, missing: Collection[str]) -> GraphModel:
        """The graph, with NaN for what is ``missing`` and a label or whole number of the rows for what may not be."""
        known = {name: _common(self.rows.get_column(name), self.columns[name].type) for name in self.export.columns}
        fed = [Fed(name, self.columns[name].type, name in missing, known[name]) for name in self.export.columns]
        return GraphModel(adopted(self.export, fed, self.reading))

    def answers(self, graph: GraphModel, said: Mapping[str, str | None]) -> bool:
        """Whether the original answers where every row says this of these columns, and the graph the same."""
        rows = self.rows.head(_PROBED)
        rows = rows.with_columns(pl.lit(value, dtype=rows.schema[name]).alias(name) for name, value in said.items())
        try:
            own = self.original(rows)
            found = graph.score(rows, finite=False)
        except Exception:  # noqa: BLE001 - whatever the user's model raises: it cannot be told this
            return False
        sound = not own.refused.any() and bool(np.isfinite(own.score).all()) and own.score.shape == found.shape
        scale = max(1.0, float(np.abs(own.score).max())) if sound else 1.0
        return sound and bool((np.abs(found - own.score) <= TOLERANCE * scale).all())


def _speaking(asked: _Asked, takes: Mapping[str, int]) -> tuple[bytes, Mapping[str, ColumnContract], tuple[str, ...]]:
    """The graph, the columns of a contract that refuses what it cannot be told, and a sentence about each kind of that.

    A missing value can be told to floats, as NaN, and to categories that travel as codes; of those the original is
    asked whether it then still answers with a number, and of texts whether it answers for one that it has never seen.
    """
    columns, export = asked.columns, asked.export
    able = {name for name, kind in takes.items() if kind in FLOATS or name in export.levels}
    may = [name for name in takes if columns[name].missing is MissingPolicy.ALLOW]
    hoped = [name for name in may if name in able]
    graph = asked.graph(hoped)
    heard = [name for name in hoped if asked.answers(graph, {name: None})]
    if heard and not asked.answers(graph, dict.fromkeys(heard)):
        heard = []
    if heard != hoped:
        graph = asked.graph(heard)
    refused = [name for name in may if name not in heard and name not in _masked(export)]
    changed = {name: msgspec.structs.replace(columns[name], missing=MissingPolicy.REJECT) for name in refused}
    open_texts = [
        name
        for name in takes
        if columns[name].type is ColumnType.CATEGORY and not columns[name].allowed and not columns[name].pattern
    ]
    closed = [name for name in open_texts if not asked.answers(graph, {name: _UNSEEN})]
    for name in closed:
        labels = tuple(asked.rows.get_column(name).drop_nulls().unique().sort().to_list())
        changed[name] = msgspec.structs.replace(changed.get(name, columns[name]), allowed=labels)
    notes = [f"the model has no way to take a missing value of {_listed(refused)}: the contract refuses such rows"]
    notes += [f"the model fails on labels of {_listed(closed)} that it does not know: those of the rows are allowed"]
    told = tuple(note for note, names in zip(notes, (refused, closed), strict=True) if names)
    return graph.content, {**columns, **changed}, told


def _common(column: pl.Series, kind: ColumnType) -> str | float | None:
    """The most common label or whole number of a column, the first in order of several; None for other types."""
    if kind not in {ColumnType.CATEGORY, ColumnType.INTEGER}:
        return None
    modes = column.drop_nulls().mode().sort()
    found: str | float | None = modes[0] if len(modes) else None
    return found


def _masked(export: Export) -> set[str]:
    """Columns whose missing values the model itself asks for."""
    names = {value.name for value in export.model.graph.input}
    return {name for name in export.columns if export.named and f"{name}.missing" in names}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _same(  # noqa: PLR0917 - as above
    content: bytes,
    clean: pl.DataFrame,
    compared: NDArray[np.bool_],
    scored: Scored,
    project: Declared,
    model: str,
) -> tuple[Measurement, Measurement]:
    """``parity`` and ``decision_flips`` on every row that both answer; ModelError where they are not the same."""
    own = GraphModel(content).score(clean.filter(compared), finite=False)
    other = scored.scores[compared]
    task = project.spec.task
    spread = None
    if task is Task.REGRESSION:
        known = scored.labels.cast(pl.Float64, strict=False).drop_nulls()
        spread = float(np.std(known.to_numpy()))
    gap = parity_between(own, other, spread)
    if not gap <= TOLERANCE:
        raise _other_answers(own, other, compared, gap, model)
    method = f"greatest difference to {model} over these {len(own):,} rows"
    parity = Measurement(metric="parity", value=gap, lower=gap, upper=gap, n=len(own), method=method)
    cut = project.threshold
    return parity, flips_counted(decisions(own, task, cut) != decisions(other, task, cut))


def _other_answers(
    own: NDArray[np.float64], other: NDArray[np.float64], compared: NDArray[np.bool_], gap: float, model: str
) -> ModelError:
    """The refusal of a graph that answers otherwise, with the row where it is worst."""
    apart = np.abs(own - other).reshape(len(own), -1).max(axis=1)
    apart = np.where(np.isnan(apart), np.inf, apart)
    worst = int(np.argmax(apart))
    row = int(np.flatnonzero(compared)[worst])
    shown = [np.array2string(one[worst], precision=6) for one in (own, other)]
    return ModelError(
        f"the packaged graph answers otherwise than {model}: by up to {gap:.2g}, and {TOLERANCE:g} is allowed",
        problems=[Problem(f"score {shown[0]}", where=f"row {row} of the rows", expected=f"the model's own {shown[1]}")],
        next_step="see whether the contract changes what the model takes (sentinels, units, labels), or export the "
        "model in double precision",
    )
