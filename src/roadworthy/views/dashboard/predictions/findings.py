"""The values of one row against the contract and against what training saw.

In: an ``Opened`` row. Out: ``Input``s with what there is to say of each, in words, and what the contract objects to.
Laws: the log holds clean values only, so what cleaning repaired on the way in cannot be told afterwards; a personal
value is shown as its hash or not at all, and nothing is said of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log import column_name
from roadworthy.adapters.prediction_log.tables import OWN
from roadworthy.formats import wording
from roadworthy.formats.bundle import ServingContract
from roadworthy.measures.sketches import CategorySketch, NumberSketch, Reference
from roadworthy.records.project import DataSpec
from roadworthy.transforms.cleaning import CleaningPlan, contract_for_hashed
from roadworthy.views.dashboard.predictions.logged import Opened

__all__ = ["Input", "inputs_of", "logged_inputs", "objections", "shown"]

_SHARE = 100


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One value that was logged.

    ``role``: input, past (a feature that looks back), who, when, beside, or logged where the version is not at hand.
    ``usual`` is what training saw of the column; ``remark`` what is unusual here, empty for nothing; ``hidden``: the
    value is a keyed hash.
    """

    name: str
    value: str
    role: str
    usual: str = ""
    remark: str = ""
    hidden: bool = False


def inputs_of(opened: Opened) -> tuple[Input, ...]:
    """All values of the row, those that the model takes first."""
    contract, row = opened.contract, opened.values.row(0, named=True)
    names = [*contract.inputs, *(name for name in row if name not in contract.inputs)]
    made = []
    for name in names:
        role = _role(contract, name)
        if name not in row:
            why = "personal: not logged" if name in contract.personal else "not in the log"
            made.append(Input(name=name, value=why, role=role, hidden=name in contract.personal))
            continue
        hidden = name in contract.personal
        usual, remark = ("", "") if hidden else _against(opened.reference, name, row[name])
        value = shown(row[name], hidden=hidden)
        made.append(Input(name=name, value=value, role=role, usual=usual, remark=remark, hidden=hidden))
    return tuple(made)


def logged_inputs(row: pl.DataFrame, data: DataSpec) -> tuple[Input, ...]:
    """The values as the log has them, where nothing is known of the version that read them.

    What the project calls personal was hashed before it was logged, and is shown as such.
    """
    personal = {column_name(name) for name in data.personal}
    values = row.row(0, named=True)
    return tuple(
        Input(name=name, value=shown(value, hidden=name in personal), role="logged", hidden=name in personal)
        for name, value in values.items()
        if name not in OWN
    )


def objections(opened: Opened) -> tuple[str, ...]:
    """What the version's contract objects to in the row, by its rules and columns; empty for a sound one.

    The sentences name columns and bounds, never a value.
    """
    contract = opened.contract
    plan = CleaningPlan.build(contract_for_hashed(contract.contract, contract.personal), contract.time, contract.target)
    columns = contract.contract.columns
    there = opened.values.select(name for name in columns if name in opened.values.columns)
    found = plan.apply_rows(there, optional=frozenset(columns), judged=True)[1].item()
    absent = set(columns) - set(there.columns)
    return () if found is None else tuple(one for one in found if one.partition(":")[0] not in absent)


def shown(value: Any, *, hidden: bool = False) -> str:
    """A value for people; a hash is marked as one."""
    if value is None:
        return "missing"
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    return f"#{value}" if hidden else str(value)


def _role(contract: ServingContract, name: str) -> str:
    if name in contract.features:
        return "past"
    if name in contract.inputs:
        return "input"
    return {contract.entity: "who", contract.time: "when"}.get(name, "beside")


def _against(reference: Reference | None, name: str, value: Any) -> tuple[str, str]:
    """What training saw of a column, and what is unusual about this value."""
    if reference is None:
        return "", ""
    if name in reference.numbers:
        return _number(reference.numbers[name], value)
    if name in reference.categories:
        return _label(reference.categories[name], value)
    return "", ""


def _number(sketch: NumberSketch, value: Any) -> tuple[str, str]:
    rows = sketch.count + sketch.missing
    if isinstance(value, datetime):
        ends = tuple(
            None if end is None else datetime.fromtimestamp(end, UTC) for end in (sketch.lowest, sketch.highest)
        )
        usual = f"{ends[0]:%Y-%m-%d} to {ends[1]:%Y-%m-%d}" if ends[0] and ends[1] else ""
        return usual, ""  # later than training, as every live row
    usual = f"{wording.number(sketch.lowest)} to {wording.number(sketch.highest)}" if sketch.count else "no value"
    if value is None:
        return usual, _absent(sketch.missing, rows)
    if sketch.lowest is not None and value < sketch.lowest:
        return usual, "lower than any value in training"
    if sketch.highest is not None and value > sketch.highest:
        return usual, "higher than any value in training"
    return usual, ""


def _label(sketch: CategorySketch, value: Any) -> tuple[str, str]:
    rows = sum(sketch.counts) + sketch.other + sketch.missing
    if not sketch.labels:  # a column of which training kept no value
        return "", "" if value is not None else _absent(sketch.missing, rows)
    if value is None:
        return f"{len(sketch.labels)} labels", _absent(sketch.missing, rows)
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if text in sketch.labels:
        count = sketch.counts[sketch.labels.index(text)]
        return f"{_per_cent(count, rows)} of training rows", ""
    if sketch.other:
        return f"{_per_cent(sketch.other, rows)} of training rows in all", "one of the rare labels, or a new one"
    return "0 % of training rows", "a label that training never saw"


def _absent(missing: int, rows: int) -> str:
    if not missing:
        return "missing, as in no training row"
    return f"missing, as in {_per_cent(missing, rows)} of training rows"


def _per_cent(part: int, whole: int) -> str:
    return f"{wording.number(_SHARE * part / whole, 2)} %" if whole else "0 %"
