"""Which rows a person decides: the bundle's refer plan, applied to live rows and to frames alike.

In: ``reference/refer.json``, scores, and the cells of the columns that the plan looks at. Out: ``Doubts``. Laws: a row
gets the same doubts from a request and from a frame, whatever else is in its batch; a reason names columns and classes,
never a value that came with the row; a plan that does not fit its bundle is refused before it is asked.

Loaded only where a bundle has such a plan, and without anything that only fits plans: nobody else pays for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import BundleError, Problem
from roadworthy.formats.bundle import REFER, ServingContract
from roadworthy.measures.columns import number_table
from roadworthy.measures.refer_plan import ReferPlan, answered, plan_problems
from roadworthy.measures.strangeness import Strangeness
from roadworthy.serving.deciding import Doubts, decided

__all__ = ["Referee"]

_NAMED = 5
_NONE: Sequence[Sequence[str | None]] = ()


class Referee:
    """One bundle's refer plan at work. ``numbers`` and ``texts`` are the columns whose cells it asks for."""

    def __init__(self, plan: ReferPlan, contract: ServingContract) -> None:
        self.plan, self._contract = plan, contract
        self._support = Strangeness(plan.support) if plan.support is not None else None
        self.numbers = self._support.encoding.numbers if self._support is not None else ()
        self.texts = self._support.encoding.texts if self._support is not None else ()

    @classmethod
    def read(cls, reference: Mapping[str, bytes], contract: ServingContract) -> Referee:
        """From a bundle's reference files. Raises BundleError for a plan that does not parse or does not fit."""
        where = f"reference/{REFER}"
        try:
            plan = msgspec.json.decode(reference[REFER], type=ReferPlan)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BundleError(f"{where} does not parse: {error}") from error
        found = list(plan_problems(plan, contract.task, len(contract.classes), contract.inputs))
        if found:
            placed = [Problem(one.found, where=f"{where}, {one.where}", expected=one.expected) for one in found]
            raise BundleError("the bundle's refer plan does not fit it", problems=placed)
        return cls(plan, contract)

    def judge(
        self,
        scores: NDArray[np.float64],
        numbers: NDArray[np.float64],
        missing: NDArray[np.bool_],
        texts: Sequence[Sequence[str | None]] = _NONE,
    ) -> Doubts:
        """The doubts about N rows.

        ``numbers`` [N, k] with what is ``missing`` of them, and ``texts`` column by column, None for missing, are the
        cells of the columns that ``self.numbers`` and ``self.texts`` name.
        """
        reasons: dict[int, list[str]] = {}
        intervals: list[tuple[float, float] | None] | None = None
        if self.plan.conformal is not None:
            places = decided(self._contract, scores)
            sure, applied = answered(self.plan.conformal, scores, places)
            if places is None:
                intervals = list(map(tuple, applied.tolist()))
            for row in np.flatnonzero(~sure).tolist():
                reasons[row] = [self._unsure(applied[row], None if places is None else int(places[row]))]
        if self._support is not None:
            cells = self._support.encoding.cells(numbers, missing, texts)
            for row in self._support.outside(cells).tolist():
                reasons.setdefault(row, []).extend(_strange(self._support.blamed(cells[row])))
        return Doubts({row: tuple(reasons[row]) for row in sorted(reasons)}, intervals)

    def judge_frame(self, scores: NDArray[np.float64], rows: pl.DataFrame) -> Doubts:
        """The same of a frame of clean columns."""
        numbers = number_table(rows, self.numbers)
        texts = [rows.get_column(name).cast(pl.String).to_list() for name in self.texts]
        return self.judge(scores, numbers, np.isnan(numbers), texts)

    def _unsure(self, applied: NDArray[np.bool_] | NDArray[np.float64], place: int | None) -> str:
        """Why a set or an interval does not do."""
        if place is None:
            low, high = applied.tolist()
            return f"the interval from {low:.6g} to {high:.6g} tells no more than an estimate without the model would"
        labels = [self._contract.classes[at] for at in np.flatnonzero(applied).tolist()]
        if len(labels) > 1:
            return f"the prediction set holds {len(labels)} labels: {_few(labels)}"
        return f"the decision would be {self._contract.classes[place]}, and the prediction set holds {labels[0]} alone"


def _strange(blamed: Sequence[tuple[str, bool]]) -> Iterator[str]:
    for name, missing in blamed[:_NAMED]:
        if missing:
            yield f"{name} is missing, as it hardly ever was where the model learned"
        else:
            yield f"{name} is outside what the model was trained on"
    if len(blamed) > _NAMED:
        yield f"and so are {len(blamed) - _NAMED} more columns"
    if not blamed:
        yield "the row as a whole is unlike those that the model was trained on"


def _few(labels: Sequence[str]) -> str:
    more = len(labels) - _NAMED
    return ", ".join(labels[:_NAMED]) + (f" and {more} more" if more > 0 else "")
