"""The feature plan: every declared feature, in an order that can be computed, applied to history and compiled.

Owns the order and the refusals. What flows in: a ``ProjectSpec``. What flows out: features beside the rows of a
frame (``apply``), or inside a graph (``to_onnx``). Row features are one expression compiled twice; aggregates are
computed over history and are inputs of the graph.

Laws: a plan never reads the target; rows that come later never change an aggregate; a feature's value does not
depend on the order in which features are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl

from roadworthy.errors import ExpressionError, Problem, RoadworthyError
from roadworthy.records.contract import ColumnType
from roadworthy.records.data import FeatureInfo
from roadworthy.records.project import Aggregate, ProjectSpec
from roadworthy.transforms.aggregates import ROW, Look, Ratio, compute
from roadworthy.transforms.aggregates import declared as aggregates
from roadworthy.transforms.cleaning import reserved_name
from roadworthy.transforms.expressions import Expression, Kind, kind_of, parse, to_onnx, to_polars
from roadworthy.transforms.onnx_builder import OnnxBuilder, Pair

__all__ = ["Feature", "FeaturePlan"]

_Frame = TypeVar("_Frame", pl.LazyFrame, pl.DataFrame)
_MODEL_TYPES = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN, ColumnType.CATEGORY)
_MODEL_KINDS = (Kind.NUMBER, Kind.BOOLEAN, Kind.TEXT)


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, ready to compute: ``form`` is a row expression or a look at the past.

    ``step`` counts the aggregates on the longest way to its value: 0 for features of the row alone.
    """

    name: str
    definition: str
    kind: Kind
    form: Expression | Look | Ratio
    step: int

    @property
    def info(self) -> FeatureInfo:
        """What records keep of it."""
        aggregate = not isinstance(self.form, Expression)
        return FeatureInfo(name=self.name, definition=self.definition, type=str(self.kind), aggregate=aggregate)


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """All features of a project.

    ``features`` stand in computing order, ``declared`` are their names in the project's order; ``columns`` are the
    contract's, ``time`` is the time column ("" without one), ``inputs`` the model columns with their kinds.
    """

    columns: Mapping[str, ColumnType]
    features: tuple[Feature, ...]
    declared: tuple[str, ...]
    time: str
    inputs: Mapping[str, Kind]

    @classmethod
    def build(cls, spec: ProjectSpec) -> FeaturePlan:
        """Resolve a project's features.

        Raises ExpressionError with every problem at once: a cycle, a look at the target (by whichever way), an
        unknown column, a name that is taken, an aggregate without time, entity, or exactly one function, a bad
        window, an expression that does not compile.
        """
        features = _Resolver(spec).resolved()
        columns = {name: column.type for name, column in spec.contract.columns.items()}
        inputs = _model_columns(spec, features)
        return cls(columns, features, tuple(spec.features), spec.data.time, inputs)

    @property
    def infos(self) -> tuple[FeatureInfo, ...]:
        """The features in declared order."""
        known = {feature.name: feature.info for feature in self.features}
        return tuple(known[name] for name in self.declared)

    @property
    def has_aggregates(self) -> bool:
        """Whether any feature looks at an entity's past."""
        return any(feature.step for feature in self.features)

    def model_columns(self, spec: ProjectSpec) -> dict[str, Kind]:
        """What the model is trained on, in order: clean columns, then features (architecture, "Model columns")."""
        return _model_columns(spec, self.features)

    @property
    def raw_inputs(self) -> dict[str, ColumnType | None]:
        """The columns that enter the graph, in order; None stands for an aggregate feature, which is a double."""
        needed = self._needed(self.inputs)
        clean = {name: column for name, column in self.columns.items() if name in needed}
        past = {name: None for name in self.declared if name in needed and self._is_aggregate(name)}
        return {**clean, **past}

    @property
    def past_keys(self) -> frozenset[str]:
        """The columns without which a row has no past: time and entities; empty without aggregates."""
        entities = frozenset(look.by for look in self._looks())
        return entities | {self.time} if entities else entities

    @property
    def past_columns(self) -> frozenset[str]:
        """The clean columns that aggregates read, directly or through features; empty without aggregates."""
        read = {name for look in self._looks() for name in look.columns}
        return frozenset(self._needed(read | self.past_keys) & set(self.columns))

    def apply(
        self,
        frame: _Frame,
        history: pl.DataFrame | None = None,
        *,
        events: str = "",
        advance: Callable[[], None] | None = None,
    ) -> _Frame:
        """The same rows in the same order with the features appended, in declared order.

        ``history`` holds rows that only serve as the past of aggregates; at equal times they count as earlier
        than the frame's. ``events`` names a boolean column, left out of the result: where it is false, a row is
        nobody's past. Row features of a lazy frame stay lazy; aggregates read the columns they need at once, and
        ``advance`` is called after each.
        """
        rows = frame.lazy()
        names = rows.collect_schema().names()
        before = 0 if history is None or not self.has_aggregates else history.height
        if history is not None and before:
            rows = pl.concat([_earlier(history, names).lazy(), rows], how="diagonal").select(names)
        for step in range(1 + max((feature.step for feature in self.features), default=0)):
            rows = self._advanced(rows, step, events, advance)
        rows = rows.select(*(name for name in names if name != events), *self.declared).slice(before)
        if isinstance(frame, pl.DataFrame):
            return rows.collect()
        return rows

    def to_onnx(self, builder: OnnxBuilder) -> dict[str, Pair]:
        """Value and missing mask of every model column, inside the graph that ``builder`` collects."""
        pairs: dict[str, Pair] = {}
        for name, column in self.raw_inputs.items():
            pairs[name] = builder.input_column(name, "aggregate" if column is None else column)
        needed = self._needed(self.inputs)
        for feature in self.features:
            if feature.name in needed and isinstance(feature.form, Expression):
                pairs[feature.name] = to_onnx(feature.form, builder, pairs)
        return {name: pairs[name] for name in self.inputs}

    def _advanced(self, rows: pl.LazyFrame, step: int, events: str, advance: Callable[[], None] | None) -> pl.LazyFrame:
        """The rows with all features of one step: its aggregates, then what builds on them."""
        here = [feature for feature in self.features if feature.step == step]
        forms = {feature.name: feature.form for feature in here}
        looks = {name: _among(form, events) for name, form in forms.items() if not isinstance(form, Expression)}
        if looks:
            values = pl.DataFrame(compute(rows, looks, time=self.time, advance=advance))
            rows = pl.concat([rows, values.lazy()], how="horizontal")
        for feature in here:
            if isinstance(feature.form, Expression):
                rows = rows.with_columns(to_polars(feature.form).alias(feature.name))
        return rows

    def _looks(self) -> list[Look]:
        forms = [feature.form for feature in self.features if not isinstance(feature.form, Expression)]
        return [look for form in forms for look in _looks(form)]

    def _is_aggregate(self, name: str) -> bool:
        return any(feature.name == name and not isinstance(feature.form, Expression) for feature in self.features)

    def _needed(self, names: Iterable[str]) -> set[str]:
        """These columns and features, and all that the row features among them read."""
        forms = {feature.name: feature.form for feature in self.features}
        needed: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                form = forms.get(name)
                waiting.extend(form.columns if isinstance(form, Expression) else ())
        return needed


def _looks(form: Look | Ratio) -> tuple[Look, ...]:
    return (form.numerator, form.denominator) if isinstance(form, Ratio) else (form,)


def _among(form: Look | Ratio, events: str) -> Look | Ratio:
    """The same look at those rows alone for which the column ``events`` is not false; at all where it is ""."""
    if not events:
        return form
    kept = pl.col(events).fill_null(value=True)  # rows of the history have no such column
    looks = [replace(look, where=kept if look.where is None else look.where & kept) for look in _looks(form)]
    return Ratio(*looks) if isinstance(form, Ratio) else looks[0]


def _earlier(history: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Past rows with the frame's columns, numbered so that they come before its rows (which count from 0)."""
    rows = history.select(name for name in names if name in history.columns)
    if ROW not in names:
        return rows
    order = pl.col(ROW) if ROW in history.columns else pl.int_range(pl.len())
    return rows.with_columns((order - order.max() - 1).cast(pl.Int64).alias(ROW))


def _model_columns(spec: ProjectSpec, features: Iterable[Feature]) -> dict[str, Kind]:
    data = spec.data
    never = {spec.target, data.time, data.entity, *data.personal, *data.exclude}
    columns = {
        name: kind_of(column.type)
        for name, column in spec.contract.columns.items()
        if name not in never and column.type in _MODEL_TYPES
    }
    kinds = {feature.name: feature.kind for feature in features}
    columns.update({name: kinds[name] for name in spec.features if kinds[name] in _MODEL_KINDS})
    return columns


class _Resolver:
    """Orders and parses the features of one project, gathering every problem."""

    def __init__(self, spec: ProjectSpec) -> None:
        self._spec = spec
        self._problems: list[Problem] = []
        self._steps = {"edit [features] in roadworthy.toml": None}
        self._kinds = {name: kind_of(c.type) for name, c in spec.contract.columns.items() if name != spec.target}
        self._resolved: dict[str, Feature] = {}
        self._broken: set[str] = set()
        known = {*spec.features, spec.target} - (set(spec.contract.columns) - {spec.target})
        self._mentions = {name: _mentioned(form, known) for name, form in spec.features.items()}

    def resolved(self) -> tuple[Feature, ...]:
        self._taken_names()
        self._cycles()
        self._targets()
        for name in self._in_order():
            if self._broken.isdisjoint((name, *self._mentions[name])):
                self._resolve(name)
            else:
                self._broken.add(name)
        if self._problems:
            raise ExpressionError(
                f"{len(self._broken)} of {len(self._spec.features)} features cannot be used",
                problems=self._problems,
                next_step="; ".join(step for step in self._steps if step),
            )
        return tuple(self._resolved.values())

    def _refuse(self, name: str, found: str, expected: str) -> None:
        self._broken.add(name)
        self._problems.append(Problem(found, expected=expected, where=f"feature {name}"))

    def _taken_names(self) -> None:
        for name in self._spec.features:
            if name in self._spec.contract.columns:
                self._refuse(name, "a column has this name", "a name of its own")
            elif name.startswith("_") or not name:
                self._refuse(name, "a name that starts with an underscore is Roadworthy's own", "another name")
            elif reserved_name(name):
                self._refuse(name, "the name is read as a pattern", "another name")

    def _cycles(self) -> None:
        told: set[frozenset[str]] = set()
        for name in self._spec.features:
            path = self._path(name, name)
            if path:
                self._broken.add(name)
                if frozenset(path) not in told:
                    told.add(frozenset(path))
                    self._refuse(
                        name, f"it refers to itself: {' → '.join(path)}", "features that build on earlier ones"
                    )

    def _targets(self) -> None:
        for name in self._spec.features:
            path = self._path(name, self._spec.target)
            if path:
                self._refuse(name, f"it looks at the target: {' → '.join(path)}", "only what is known beforehand")

    def _path(self, start: str, goal: str) -> list[str]:
        """The shortest way of mentions from a feature to ``goal``, both ends included; empty if there is none."""
        came: dict[str, str] = {}
        waiting = [start]
        for name in waiting:
            for next_name in self._mentions.get(name, ()):
                if next_name not in came:
                    came[next_name] = name
                    waiting.append(next_name)
        if goal not in came:
            return []
        path = [goal, came[goal]]
        while path[-1] != start:
            path.append(came[path[-1]])
        return path[::-1]

    def _in_order(self) -> Iterator[str]:
        """Every feature after those it mentions, otherwise in declared order."""
        done: set[str] = set()
        for name in self._spec.features:
            waiting = [name]
            while waiting:
                current = waiting[-1]
                missing = [m for m in self._mentions[current] if m in self._mentions and m not in {*done, *waiting}]
                if missing and current not in done:
                    waiting.append(missing[0])
                    continue
                waiting.pop()
                if current not in done:
                    done.add(current)
                    yield current

    def _resolve(self, name: str) -> None:
        declared = self._spec.features[name]
        step = max((self._resolved[m].step for m in self._mentions[name]), default=0)
        try:
            if isinstance(declared, Aggregate):
                feature = self._aggregate(name, declared, step + 1)
            else:
                expression = parse(declared, self._kinds, where=f"feature {name}")
                feature = Feature(name, declared, expression.kind, expression, step)
        except RoadworthyError as error:
            self._broken.add(name)
            self._problems.extend(aggregates.placed(error, f"feature {name}"))
            self._steps[error.next_step] = None
            return
        self._resolved[name] = feature
        self._kinds[name] = feature.kind

    def _aggregate(self, name: str, declared: Aggregate, step: int) -> Feature:
        data = self._spec.data
        place = f"feature {name}"
        problems = []
        if not data.time:
            expected = "`time` under [data], since an aggregate looks at what came before"
            problems.append(Problem("an aggregate without a time column", expected=expected, where=place))
        elif self._kinds.get(data.time) is not Kind.TIME:
            found = f"an aggregate, but the time column {data.time!r} holds no times"
            problems.append(Problem(found, expected=f'type = "time" for {data.time!r} in [contract]', where=place))
        try:
            form = aggregates.read(declared, self._kinds, entity=data.entity, where=place)
        except ExpressionError as error:
            raise ExpressionError(
                error.message, problems=[*problems, *error.problems], next_step=error.next_step
            ) from error
        if problems:
            raise ExpressionError(f"feature {name} cannot be used", problems=problems)
        return Feature(name, aggregates.described(declared, entity=data.entity), Kind.NUMBER, form, step)


def _mentioned(form: str | Aggregate, known: set[str]) -> tuple[str, ...]:
    """Which of the ``known`` names a definition mentions, in the order of their first mention.

    A word before a bracket is a function. What cannot even be cut into words mentions nothing here and is
    refused by the parser later.
    """
    if isinstance(form, Aggregate):
        found = [name for text in aggregates.texts(form) for name in _mentioned(text, known)]
        by = {part.by for part in (form, *(form.ratio or ())) if part.by in known}
        return tuple(dict.fromkeys([*found, *sorted(by)]))
    import sqlglot  # noqa: PLC0415 - as in expressions.parse

    try:
        tokens = sqlglot.tokenize(form)
    except sqlglot.errors.SqlglotError:
        return ()
    words = []
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        function = after is not None and after.token_type is sqlglot.TokenType.L_PAREN
        if token.token_type is not sqlglot.TokenType.STRING and not function:
            words.append(token.text)
    return tuple(dict.fromkeys(word for word in words if word in known))
