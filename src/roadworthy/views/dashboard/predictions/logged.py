"""A logged row as the graph of its version takes it, and what it takes to open it up again.

In: a row of the log, the title of the version that answered. Out: ``Opened``, or why it cannot be opened. Laws: the log
holds values as the contract reads them, so they are fed as they are and never cleaned twice; what was not logged is
named, not guessed; at most two graphs are held.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log import column_name
from roadworthy.errors import RoadworthyError
from roadworthy.formats.bundle import OpenBundle, ServingContract
from roadworthy.graphs.runner import GraphModel
from roadworthy.measures.sketches import Reference
from roadworthy.records.contract import ColumnType
from roadworthy.records.digests import Digest
from roadworthy.records.version import Version
from roadworthy.serving.chain import CONSTANT
from roadworthy.views.dashboard.site import Site

__all__ = ["Opened", "Unopened", "answering", "opened"]

_MOST_GRAPHS = 2
_graphs: OrderedDict[Digest, GraphModel] = OrderedDict()
_lock = threading.Lock()
_TYPES = {
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.NUMBER: pl.Float64(),
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.CATEGORY: pl.String(),
    ColumnType.TEXT: pl.String(),
    ColumnType.TIME: pl.Datetime("us"),
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A version's bundle at hand. ``table`` is the row with the graph's columns, ``values`` with all that was logged.

    ``lacking`` names inputs of the graph that are not in the log: without them it cannot be asked again.
    ``reference`` is how training looked, None where the bundle does not say.
    """

    version: Version
    contract: ServingContract
    graph: GraphModel
    table: pl.DataFrame
    values: pl.DataFrame
    lacking: tuple[str, ...]
    reference: Reference | None


@dataclass(frozen=True, slots=True)
class Unopened:
    """Why nothing of a version can be shown, in words. ``version`` is there where the registry knows it."""

    why: str
    version: Version | None = None


def answering(site: Site, title: str) -> Version | None:
    """The registered version of that title."""
    return next((one for one in site.versions() if one.title == title), None)


def opened(site: Site, row: pl.DataFrame, title: str) -> Opened | Unopened:
    """What it takes to look into a prediction again."""
    if title == CONSTANT:
        return Unopened("No model answered this row: it got the constant answer that the project declares.")
    version = answering(site, title)
    if version is None:
        return Unopened(
            f"The registry has no version {title!r}, so neither its contract nor its graph is at hand. "
            "What the log holds is shown all the same."
        )
    try:
        bundle = site.bundle(version)
        return _opened(version, bundle, row)
    except RoadworthyError as error:
        return Unopened(f"The bundle of {version.title} cannot be opened: {error.message}.", version)


def _opened(version: Version, bundle: OpenBundle, row: pl.DataFrame) -> Opened:
    contract, graph = bundle.parts.contract, _graph(version, bundle)
    columns = contract.contract.columns
    values = {}
    for name in dict.fromkeys([*columns, *contract.inputs]):
        if column_name(name) in row.columns:
            given = row.get_column(column_name(name)).alias(name)
            hashed = name in contract.personal
            kind = columns[name].type if name in columns else ColumnType.NUMBER
            values[name] = given.cast(pl.String() if hashed else _TYPES[kind], strict=False)
    table = pl.DataFrame([values[name] for name in graph.columns if name in values])
    lacking = tuple(name for name in graph.columns if name not in values)
    return Opened(version, contract, graph, table, pl.DataFrame(list(values.values())), lacking, _reference(bundle))


def _reference(bundle: OpenBundle) -> Reference | None:
    """How the columns of the training rows looked: the file that the monitor's plan names."""
    named = bundle.parts.monitor.get("reference", {}).get("columns", "")
    kept = bundle.parts.reference.get(named.removeprefix("reference/"))
    return None if kept is None else msgspec.json.decode(kept, type=Reference)


def _graph(version: Version, bundle: OpenBundle) -> GraphModel:
    with _lock:
        if version.digest in _graphs:
            _graphs.move_to_end(version.digest)
            return _graphs[version.digest]
    made = GraphModel(bundle.parts.model)
    with _lock:
        _graphs[version.digest] = made
        while len(_graphs) > _MOST_GRAPHS:
            _graphs.popitem(last=False)
    return made
