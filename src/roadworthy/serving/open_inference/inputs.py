"""From tensors to clean rows: which tensors a model takes, and what their elements are as values of its columns.

In: the tensors of one request. Out: clean rows in the reader's order. Laws: a row that is taken has the values that
``RowReader.take``, and by it the cleaning plan, would give it; whatever is in the slightest doubt goes there; a row
that is refused is refused with its problems at input and row, and no element of a tensor is shown.

A column is a tensor of its own name, [N] or [N, 1]. A model that takes nothing but numbers also takes all of them as
one tensor [N, columns] under any other name, its columns in the order of the metadata.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import Problem, nearest
from roadworthy.records.contract import Breach, ColumnContract, ColumnType
from roadworthy.serving.bodies import Broken
from roadworthy.serving.calls import Failure
from roadworthy.serving.engine import Engine
from roadworthy.serving.fields import Field
from roadworthy.serving.open_inference.columns import Column, Elements, Missing, Read
from roadworthy.serving.open_inference.datatypes import DATATYPES, FLOATS, INTEGERS
from roadworthy.serving.open_inference.tensors import Tensor, path, short
from roadworthy.serving.rows import MOST_ROWS, Row, RowsRefused

__all__ = ["Inputs", "Taken"]

_MOST_PROBLEMS = 100
_CHUNK = 64  # rows that are looked at before it is asked whether there are enough problems
_NUMBERS = (*FLOATS, *INTEGERS)
_DECLARED = {ColumnType.INTEGER: "INT64", ColumnType.NUMBER: "FP64", ColumnType.BOOLEAN: "BOOL"}


class Taken(NamedTuple):
    """One input of a model: its column, the datatype that metadata declare, and all that are accepted."""

    name: str
    datatype: str
    accepted: tuple[str, ...]
    expected: str


class _Bounds(NamedTuple):
    """Columns of a matrix in the order of a row, and within which bounds each is clean."""

    order: NDArray[np.intp]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Inputs:
    """The inputs of one version.

    ``required`` are those of its metadata; ``optional`` may be left out; ``matrix`` is how many columns a single
    tensor of all of them has, 0 where there is no such tensor.
    """

    def __init__(self, engine: Engine) -> None:
        self._reader = engine.reader
        declared, fields, personal = engine.contract.contract.columns, self._reader.fields, engine.contract.personal
        carried = (*self._reader.kept, *self._reader.ignored)
        self._columns = (
            *(Column.of_field(one, declared.get(one.name), hide=one.name in personal) for one in fields),
            *(Column.carried(name) for name in carried),
        )
        taken = [(field.required, _taken(field, declared.get(field.name))) for field in fields]
        order = {name: at for at, name in enumerate(engine.contract.inputs)}  # as the project declares its columns
        self.required = tuple(sorted((one for required, one in taken if required), key=lambda one: order[one.name]))
        others = (Taken(name, "BYTES", tuple(DATATYPES), "any value") for name in carried)
        self.optional = (*(one for required, one in taken if not required), *others)
        self._by_name = {one.name: one for one in (*self.required, *self.optional)}
        numeric = bool(self.required) and all(field.part == "number" for field in fields if field.required)
        self.matrix = len(self.required) if numeric else 0
        self._all_by_take = bool(engine.predictor.aggregates)
        self._bounds = self._plain_bounds()
        self._tail: tuple[None, ...] = (None,) * (len(self._columns) - self.matrix)

    def refuse_crowd(self, count: int) -> None:
        """Raises Failure 400 for so many inputs that they are not worth a look each."""
        if count > 2 * len(self._by_name) + _SHOWN:
            problem = Problem(
                f"{count:,} inputs", expected=f"at most {len(self._by_name)}: {self._known()}", where="inputs"
            )
            raise Failure(400, _MISFIT, problems=[problem])

    def rows(self, tensors: Sequence[Tensor]) -> list[Row]:
        """The clean rows of a request; raises Failure 400 for its form, RowsRefused for its values."""
        if len(tensors) == 1 and self._is_matrix(tensors[0]):
            self._refuse_misfit(tensors[0])
            if (quick := self._quick_matrix(tensors[0])) is not None:
                return quick
            count, given = self._from_matrix(tensors[0])
        else:
            count, given = self._from_columns(tensors)
            if (quick := self._quick_columns(given)) is not None:
                return quick
        reads = [one.read(*given[one.name]) if one.name in given else None for one in self._columns]
        empty: list[Any] = [None] * count
        rows: list[Row] = list(zip(*(empty if read is None else read.values for read in reads), strict=True))
        doubtful = range(count) if self._all_by_take else _doubtful(reads)
        return self._settled(rows, doubtful, reads, set(given)) if doubtful else rows

    def _plain_bounds(self) -> _Bounds | None:
        """The bounds of a matrix whose columns are all plain doubles and stand first in a row; None for others."""
        first = self._columns[: self.matrix]
        plain = [one.plain for one in first if one.plain is not None]
        if self._all_by_take or not self.matrix or len(plain) < self.matrix:
            return None
        places = {one.name: at for at, one in enumerate(self.required)}
        if not all(one.name in places for one in first):
            return None
        low, high = np.array(plain, dtype=np.float64).T
        return _Bounds(np.array([places[one.name] for one in first], dtype=np.intp), low, high)

    def _quick_matrix(self, tensor: Tensor) -> list[Row] | None:
        """The rows of a matrix of doubles with nothing in doubt, at once; None for any other."""
        array = np.asarray(tensor.values)
        if self._bounds is None or tensor.missing is not None or array.dtype.kind != "f":
            return None
        numbers = array.reshape(tensor.shape).astype(np.float64, copy=False)
        return self._clean(numbers[:, self._bounds.order], self._bounds)

    def _quick_columns(self, given: Mapping[str, Given]) -> list[Row] | None:
        """The same for columns that came each by itself."""
        if self._bounds is None or len(given) != self.matrix:
            return None
        columns = []
        for one in self._columns[: self.matrix]:
            values, missing = given.get(one.name, ((), None))
            if missing is not None or not isinstance(values, np.ndarray) or values.dtype.kind != "f":
                return None
            columns.append(values)
        return self._clean(np.array(columns, dtype=np.float64).T, self._bounds)

    def _clean(self, numbers: NDArray[np.float64], bounds: _Bounds) -> list[Row] | None:
        """Rows of a matrix in their own order; None where one of its numbers is in doubt."""
        if not ((numbers >= bounds.low) & (numbers <= bounds.high)).all():
            return None
        tail = self._tail
        return [(*row, *tail) for row in numbers.tolist()] if tail else list(map(tuple, numbers.tolist()))

    # --- what belongs to which column ---------------------------------------------------------------------------

    def _is_matrix(self, tensor: Tensor) -> bool:
        return bool(self.matrix) and tensor.name not in self._by_name and len(tensor.shape) == 2

    def _refuse_misfit(self, tensor: Tensor) -> None:
        rows, columns = tensor.shape
        problems: list[Problem] = []
        accepted = (*_NUMBERS, "BOOL") if all(one.datatype == "BOOL" for one in self.required) else _NUMBERS
        if tensor.datatype.name not in accepted:
            problems.append(_wrong_datatype(tensor, accepted))
        if columns != self.matrix:
            names = ", ".join(one.name for one in self.required[:_SHOWN])
            more = f" and {self.matrix - _SHOWN} more" if self.matrix > _SHOWN else ""
            wanted = f"[-1, {self.matrix}]: the columns {names}{more}"
            problems.append(Problem(f"shape {list(tensor.shape)}", expected=wanted, where=path(tensor.name)))
        problems += _count_problems(rows, tensor)
        if problems:
            raise Failure(400, _MISFIT, problems=problems)

    def _from_matrix(self, tensor: Tensor) -> tuple[int, dict[str, Given]]:
        rows, columns = tensor.shape
        values = np.asarray(tensor.values).reshape(rows, columns).T
        missing = None if tensor.missing is None else tensor.missing.reshape(rows, columns).T
        return rows, {
            one.name: (np.ascontiguousarray(values[at]), None if missing is None else missing[at])
            for at, one in enumerate(self.required)
        }

    def _from_columns(self, tensors: Sequence[Tensor]) -> tuple[int, dict[str, Given]]:
        problems: list[Problem] = []
        found: dict[str, Tensor] = {}
        for tensor in tensors:
            if tensor.name in found:
                problems.append(Problem("comes twice", expected="each input once", where=path(tensor.name)))
            found[tensor.name] = tensor
        problems += self._name_problems(found)
        known = [tensor for name, tensor in found.items() if name in self._by_name]
        for tensor in known:
            if tensor.datatype.name not in self._by_name[tensor.name].accepted:
                problems.append(_wrong_datatype(tensor, self._by_name[tensor.name].accepted))
            if not _is_column(tensor.shape):
                problems.append(
                    Problem(f"shape {list(tensor.shape)}", expected="[-1, 1] or [-1]", where=path(tensor.name))
                )
        count = known[0].shape[0] if known and known[0].shape else 0
        problems += _unequal(known, count)
        problems += [
            problem for tensor in known[:1] if _is_column(tensor.shape) for problem in _count_problems(count, tensor)
        ]
        if problems:
            raise Failure(400, _MISFIT, problems=problems[:_MOST_PROBLEMS])
        return count, {name: (tensor.values, tensor.missing) for name, tensor in found.items()}

    def _name_problems(self, found: Mapping[str, Tensor]) -> list[Problem]:
        problems: list[Problem] = []
        lacking = [one for one in self.required if one.name not in found]
        for name in found:
            if len(problems) >= _MOST_PROBLEMS:
                break
            if name not in self._by_name:
                close = nearest(short(name), {one.name for one in lacking})
                hint = f"; did you mean {close!r}?" if close else ""
                problems.append(Problem(f"unknown input{hint}", expected=self._known(), where=path(name)))
        problems += [
            Problem("missing input", expected=f"{one.datatype} [-1, 1], {one.expected}", where=path(one.name))
            for one in lacking
        ]
        return problems

    def _known(self) -> str:
        names = ", ".join(list(self._by_name)[:_SHOWN])
        more = f" and {len(self._by_name) - _SHOWN} more" if len(self._by_name) > _SHOWN else ""
        whole = f", or one tensor [-1, {self.matrix}] alone" if self.matrix else ""
        return f"{names}{more}{whole}"

    # --- rows that are not clean as they stand ------------------------------------------------------------------

    def _settled(
        self, rows: list[Row], doubtful: Sequence[int], reads: Sequence[Read | None], given: set[str]
    ) -> list[Row]:
        """The rows, those in doubt as the reader takes them; raises RowsRefused."""
        problems: list[Problem] = []
        broken = 0
        columns: Counter[tuple[str, Breach]] = Counter()
        names = tuple(one.name for one in self._columns)
        for start in range(0, len(doubtful), _CHUNK):
            if len(problems) >= _MOST_PROBLEMS:
                problems.append(Problem(f"{len(doubtful) - start} more rows were not looked at"))
                break
            places = doubtful[start : start + _CHUNK]
            impossible = {at: cells for at, place in enumerate(places) if (cells := _impossible(names, reads, place))}
            own = [problem for cells in impossible.values() for problem in cells.values()]
            plain = [
                {name: value for name, value in zip(names, rows[place], strict=True) if name in given}
                for place in places
            ]
            try:
                where = "rows" if len(places) > 1 else f"rows[{places[0]}]"
                taken = self._reader.take(plain, where=where, unreadable=impossible)
            except RowsRefused as refused:
                named = {problem.where for problem in own}
                found = (_replaced(problem, places) for problem in refused.problems)
                own += [problem for problem in found if problem.where not in named]
                broken += refused.broken.rows
                columns.update(refused.broken.columns)
            else:
                for place, row in zip(places, taken, strict=True):
                    rows[place] = row
            problems += own
        if problems:
            whose = "the row does" if len(rows) == 1 else "rows do"
            raise RowsRefused(f"{whose} not meet the contract", problems, broken=Broken(broken, columns))
        return rows


Given = tuple[Elements, Missing]
"""A column's elements, and where they are missing."""

_MISFIT = "the inputs are not those of the model"
_SHOWN = 12


def _doubtful(reads: Sequence[Read | None]) -> Sequence[int]:
    """The places of rows that something is in doubt about."""
    masks = [read.doubt for read in reads if read is not None and read.doubt is not None]
    if not masks:
        return ()
    places: list[int] = np.flatnonzero(np.logical_or.reduce(masks)).tolist()
    return places


def _replaced(problem: Problem, places: Sequence[int]) -> Problem:
    """A problem of some rows that were looked at, at its place among all of them."""
    if len(places) == 1:
        return problem
    where = _PLACE.sub(lambda found: f"rows[{places[int(found[1])]}]", problem.where)
    return Problem(problem.found, expected=problem.expected, where=where)


_PLACE = re.compile(r"\Arows\[([0-9]+)\]")


def _impossible(names: Sequence[str], reads: Sequence[Read | None], place: int) -> dict[str, Problem]:
    """What of a row is no value at all, by its columns."""
    where = f"rows[{place}]"
    return {
        name: Problem(read.impossible[place], expected=_wanted(read.impossible[place]), where=path(name, where))
        for name, read in zip(names, reads, strict=True)
        if read is not None and place in read.impossible
    }


def _wanted(impossible: str) -> str:
    return (
        "a text in UTF-8" if impossible.startswith("bytes") else "a finite number; null in JSON where it may be missing"
    )


def _taken(field: Field, column: ColumnContract | None) -> Taken:
    if column is None:  # a feature of the past, which the caller knows
        return Taken(field.name, "FP64", _NUMBERS, field.expected)
    if column.type is ColumnType.TIME and column.time_format.startswith("epoch"):
        return Taken(field.name, "INT64", ("BYTES", *_NUMBERS), field.expected)
    declared = _DECLARED.get(column.type, "BYTES")
    accepted = _NUMBERS if declared in {"INT64", "FP64"} else (declared,)
    return Taken(field.name, declared, accepted, field.expected)


def _is_column(shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _wrong_datatype(tensor: Tensor, accepted: Sequence[str]) -> Problem:
    return Problem(f"datatype {tensor.datatype.name}", expected=" or ".join(accepted), where=path(tensor.name))


def _unequal(tensors: Sequence[Tensor], count: int) -> list[Problem]:
    return [
        Problem(f"{tensor.shape[0]} rows", expected=f"{count}, as the first input has", where=path(tensor.name))
        for tensor in tensors
        if tensor.shape and tensor.shape[0] != count
    ]


def _count_problems(rows: int, tensor: Tensor) -> list[Problem]:
    if 0 < rows <= MOST_ROWS:
        return []
    return [Problem(f"{rows:,} rows", expected=f"1 to {MOST_ROWS:,} rows", where=path(tensor.name))]
