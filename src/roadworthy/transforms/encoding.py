"""The encoding: from model columns to the float32 matrix ``X`` that candidates are trained on.

Owns what was learned from the training rows (medians, scales, vocabularies) and its two forms: ``encode`` for
frames, ``to_onnx`` for the graph. What flows in: model columns. What flows out: ``X`` [rows, inputs].

Laws: both forms give the same bits (double arithmetic, one rounding to float32 at the end); ``X`` holds no NaN and
nothing beyond ±``BOUND``; a value that training never saw lands on an input that exists.

Inputs stand in this order: numbers, booleans, missing masks, then one input per category of each text column.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import msgspec
import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto

from roadworthy.errors import Problem, TrainingError
from roadworthy.records.project import ProjectSpec
from roadworthy.transforms.expressions import Kind
from roadworthy.transforms.features import FeaturePlan
from roadworthy.transforms.onnx_builder import OnnxBuilder, Pair

__all__ = ["BOUND", "Encoder", "FlagColumn", "NumberColumn", "TextColumn", "X", "feature_graph"]

BOUND = 1e6
"""Scaled numbers beyond this many standard deviations are set to it."""

X = "X"
"""The name of the encoded matrix, where a graph ends in it."""

OTHER = "(other)"
"""How the input for rare and unseen categories is called."""

_CHUNK = 1 << 15
_VAST = 1e100


class NumberColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A number: missing becomes ``median``, then ``(value - mean) / scale`` in double.

    ``flagged``: training had missing values, so the mask is an input too.
    """

    name: str
    median: float
    mean: float
    scale: float
    flagged: bool


class FlagColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A boolean: 0 or 1, missing is 0; ``flagged`` as for numbers."""

    name: str
    flagged: bool


class TextColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A text: one input per category, one for all others, one for missing where training had it (``flagged``)."""

    name: str
    categories: tuple[str, ...]
    flagged: bool

    @property
    def width(self) -> int:
        """How many inputs it takes."""
        return len(self.categories) + 1 + self.flagged

    @property
    def missing_place(self) -> int:
        """Which of its inputs a missing value sets."""
        return len(self.categories) + self.flagged


class Encoder(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted encoding; plain data, so that JSON holds all of it (``encoded``, ``decoded``)."""

    numbers: tuple[NumberColumn, ...]
    flags: tuple[FlagColumn, ...]
    texts: tuple[TextColumn, ...]

    @classmethod
    def fit(
        cls, frame: pl.DataFrame, columns: Mapping[str, Kind], *, max_categories: int = 50, min_count: int = 5
    ) -> Encoder:
        """Learn from the training rows.

        Per number: median, mean and standard deviation of what is there (constant columns get scale 1). Per
        text: the ``max_categories`` most frequent values that occur at least ``min_count`` times, ties in order
        of the alphabet. Raises TrainingError when there is no column, no row, or a column of times.
        """
        odd = [name for name, kind in columns.items() if kind not in (Kind.NUMBER, Kind.BOOLEAN, Kind.TEXT)]
        if odd:
            raise TrainingError(f"a time cannot be a model input: {', '.join(odd)}; take hour, weekday or seconds")
        if not frame.height:
            raise TrainingError("there is nothing to learn from: no training row", next_step="collect more rows")
        if not columns:
            raise TrainingError(
                "there is nothing to learn from: no column or feature is a model input",
                problems=[Problem("0 model inputs", expected="a number, boolean or category that is not excluded")],
                next_step="look at [data.exclude] and the types under [contract.columns], or declare [features]; no "
                "candidate reads free text, so bring numbers or categories made of it as columns of the source",
            )
        return cls(
            numbers=tuple(_number(frame[name]) for name, kind in columns.items() if kind is Kind.NUMBER),
            flags=tuple(
                FlagColumn(name=name, flagged=frame[name].null_count() > 0)
                for name, kind in columns.items()
                if kind is Kind.BOOLEAN
            ),
            texts=tuple(
                _text(frame[name], max_categories, min_count) for name, kind in columns.items() if kind is Kind.TEXT
            ),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs for people: ``age``, ``age missing``, ``device=mobile``, ``device=(other)``."""
        return tuple(name for name, _ in self._inputs())

    @property
    def sources(self) -> tuple[str, ...]:
        """The model column that each input comes from."""
        return tuple(source for _, source in self._inputs())

    def encode(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        """[rows, inputs] float32, C-contiguous, no NaN; filled piece by piece, so little else is held."""
        rows = frame.select(column.name for column in self._columns)
        matrix = np.zeros((frame.height, len(self.names)), dtype=np.float32)
        lookups = [_lookup(column) for column in self.texts]
        for begin in range(0, frame.height, _CHUNK):
            piece = rows.slice(begin, _CHUNK)
            self._fill(piece, matrix[begin : begin + piece.height], lookups)
        return matrix

    def to_onnx(self, builder: OnnxBuilder, pairs: Mapping[str, Pair]) -> str:
        """The same in a graph: the name of the float32 tensor [N, inputs].

        Columns of one kind are joined first, so that the number of nodes hardly grows with that of columns.
        """
        blocks = []
        if self.numbers:
            blocks.append(self._numbers_onnx(builder, pairs))
        if self.flags or any(column.flagged for column in self.numbers):
            blocks.append(self._flags_onnx(builder, pairs))
        if self.texts:
            blocks.append(self._texts_onnx(builder, pairs))
        return _joined(builder, blocks)

    def encoded(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, content: bytes) -> Encoder:
        """From JSON; msgspec.ValidationError when it is not what ``encoded`` writes."""
        return msgspec.json.decode(content, type=cls)

    @property
    def _columns(self) -> tuple[NumberColumn | FlagColumn | TextColumn, ...]:
        return (*self.numbers, *self.flags, *self.texts)

    @property
    def _plain(self) -> tuple[NumberColumn | FlagColumn, ...]:
        return (*self.numbers, *self.flags)

    def _inputs(self) -> list[tuple[str, str]]:
        """(name, source) of each input; a name that occurs again gets its place behind it."""
        plain = self._plain
        inputs = [(column.name, column.name) for column in plain]
        inputs += [(f"{column.name} missing", column.name) for column in plain if column.flagged]
        for text in self.texts:
            labels = [*(f"{text.name}={category}" for category in text.categories), f"{text.name}={OTHER}"]
            inputs += [(label, text.name) for label in labels]
            inputs += [(f"{text.name} missing", text.name)] if text.flagged else []
        seen: set[str] = set()
        for place, (name, source) in enumerate(inputs):
            inputs[place] = (f"{name} #{place}" if name in seen else name, source)
            seen.add(name)
        return inputs

    def _fill(self, piece: pl.DataFrame, matrix: NDArray[np.float32], lookups: list[pl.Expr]) -> None:
        """One piece of the matrix, column by column."""
        masks = []
        for place, number in enumerate(self.numbers):
            values = piece[number.name].cast(pl.Float64).fill_nan(None)
            missing = values.is_null().to_numpy()
            with np.errstate(over="ignore"):  # an infinity is clipped in the next line
                doubles = (values.fill_null(number.median).to_numpy() - number.mean) / number.scale
            matrix[:, place] = np.clip(doubles, -BOUND, BOUND)
            masks += [missing] if number.flagged else []
        place = len(self.numbers)
        for flag in self.flags:
            values = piece[flag.name]
            matrix[:, place] = values.fill_null(value=False).to_numpy()
            masks += [values.is_null().to_numpy()] if flag.flagged else []
            place += 1
        for mask in masks:
            matrix[:, place] = mask
            place += 1
        if not self.texts:
            return
        hits = piece.select(lookups)
        rows = np.arange(piece.height)
        for text in self.texts:
            matrix[rows, place + hits[text.name].to_numpy()] = 1.0
            place += text.width

    def _numbers_onnx(self, builder: OnnxBuilder, pairs: Mapping[str, Pair]) -> str:
        doubles = []
        for column in self.numbers:
            value = pairs[column.name].value
            whole = builder.dtype_of_input(value) == TensorProto.INT64
            doubles.append(builder.node("Cast", [value], to=TensorProto.DOUBLE) if whole else value)
        values = _joined(builder, doubles)
        missing = _joined(builder, [pairs[column.name].missing for column in self.numbers])
        median, mean, scale = (
            builder.constant(np.array([[getattr(column, field) for column in self.numbers]]))
            for field in ("median", "mean", "scale")
        )
        known = builder.node("Where", [missing, median, values])
        scaled = builder.node("Div", [builder.node("Sub", [known, mean]), scale])
        bounded = builder.node("Clip", [scaled, builder.constant(-BOUND), builder.constant(BOUND)])
        return builder.node("Cast", [bounded], to=TensorProto.FLOAT)

    def _flags_onnx(self, builder: OnnxBuilder, pairs: Mapping[str, Pair]) -> str:
        parts = []
        if self.flags:
            values = _joined(builder, [pairs[column.name].value for column in self.flags])
            missing = _joined(builder, [pairs[column.name].missing for column in self.flags])
            parts.append(builder.node("And", [values, builder.node("Not", [missing])]))
        parts += [pairs[column.name].missing for column in self._plain if column.flagged]
        return builder.node("Cast", [_joined(builder, parts)], to=TensorProto.FLOAT)

    def _texts_onnx(self, builder: OnnxBuilder, pairs: Mapping[str, Pair]) -> str:
        """Each text becomes the place of the one input it sets; comparing places with all inputs gives the block."""
        edges = np.cumsum([0, *(column.width for column in self.texts)])
        places = []
        for column, edge in zip(self.texts, edges, strict=False):
            other = edge + len(column.categories)
            known = column.categories or ("",)  # the operator wants one key; it then leads to the same place
            places.append(
                builder.node(
                    "LabelEncoder",
                    [pairs[column.name].value],
                    domain="ai.onnx.ml",
                    keys_strings=list(known),
                    values_int64s=[min(int(edge) + k, int(other)) for k in range(len(known))],
                    default_int64=int(other),
                )
            )
        found = _joined(builder, places)
        missing = _joined(builder, [pairs[column.name].missing for column in self.texts])
        absent = np.array([[int(edge) + c.missing_place for c, edge in zip(self.texts, edges, strict=False)]])
        place = builder.node("Where", [missing, builder.constant(absent), found])
        if len(self.texts) > 1:
            owner = np.repeat(np.arange(len(self.texts)), [end - begin for begin, end in pairwise(edges)])
            place = builder.node("Gather", [place, builder.constant(owner)], axis=1)
        hit = builder.node("Equal", [place, builder.constant(np.arange(edges[-1])[None, :])])
        return builder.node("Cast", [hit], to=TensorProto.FLOAT)


def feature_graph(spec: ProjectSpec, plan: FeaturePlan, encoder: Encoder) -> onnx.ModelProto:
    """The graph from the plan's raw inputs to its one output, float32 [N, inputs].

    The output is called ``X``, or ``X/encoded`` where a column has that name.
    """
    builder = OnnxBuilder(spec.name)
    matrix = encoder.to_onnx(builder, plan.to_onnx(builder))
    builder.output(f"{X}/encoded" if X in plan.raw_inputs else X, matrix, TensorProto.FLOAT, width=len(encoder.names))
    return builder.model()


def _joined(builder: OnnxBuilder, parts: list[str]) -> str:
    """Tensors side by side."""
    return parts[0] if len(parts) == 1 else builder.node("Concat", parts, axis=1)


def _number(column: pl.Series) -> NumberColumn:
    values = column.cast(pl.Float64).fill_nan(None)
    known = values.drop_nulls().to_numpy()
    known = known[np.isfinite(known)]
    median = mean = 0.0
    scale = 1.0
    if len(known):
        greatest = float(np.max(np.abs(known)))
        unit = greatest if greatest > _VAST else 1.0  # squares of vast numbers would overflow
        median = float(np.median(known / unit)) * unit
        mean = float(np.mean(known / unit)) * unit
        scale = float(np.std(known / unit)) * unit
        if float(known.min()) == float(known.max()) or not 0 < scale < np.inf:
            mean, scale = (float(known[0]), 1.0) if float(known.min()) == float(known.max()) else (mean, 1.0)
    return NumberColumn(name=column.name, median=median, mean=mean, scale=scale, flagged=values.null_count() > 0)


def _text(column: pl.Series, max_categories: int, min_count: int) -> TextColumn:
    counts = (
        column.drop_nulls()
        .alias("category")
        .value_counts(name="rows")
        .filter(pl.col("rows") >= min_count)
        .sort("rows", "category", descending=[True, False])
        .head(max_categories)
    )
    return TextColumn(name=column.name, categories=tuple(counts["category"].to_list()), flagged=column.null_count() > 0)


def _lookup(column: TextColumn) -> pl.Expr:
    """The place of each value among the column's own inputs."""
    other = len(column.categories)
    value = pl.col(column.name)
    if not column.categories:
        found = pl.lit(other)
    else:
        found = value.replace_strict(list(column.categories), list(range(other)), default=other, return_dtype=pl.Int64)
    return pl.when(value.is_null()).then(column.missing_place).otherwise(found).cast(pl.Int64).alias(column.name)
