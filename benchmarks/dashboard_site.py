"""A project with a long past, for the dashboard: many columns, a log of a million predictions, a year of windows.

In: sizes and a folder. Out: a project whose champion has answered for a year. The model, the log and the last windows
are real (run, written and judged as always); the windows before are copies of these with figures that wander, and so
are most alerts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import roadworthy as rw
from roadworthy import assembly
from roadworthy.adapters.prediction_log.segments import by_day, publish
from roadworthy.graphs.runner import GraphModel
from roadworthy.lifecycle import schema, watching
from roadworthy.lifecycle.alerts import rows as alert_rows
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import Alert, AlertState, Severity, Sighting
from roadworthy.records.window import Judged, WindowSummary

Figures = NDArray[np.float64]

__all__ = ["Sizes", "long_past"]

_HOUR = timedelta(hours=1)
_DAYS = 30
_AN_HOUR = 1_000
_TRAINING_ROWS = 3_000
_SKETCHES = 48  # of the newest windows; what a column looked like is shown of no more
_PROJECT = """
[project]
name = "wide"
task = "binary"
target = "y"
positive = "1"
[data]
source = "rows.parquet"
[contract.columns]
{columns}
y = {{ type = "integer" }}
[training]
candidates = ["logistic"]
[standard]
extends = "prototype"
accuracy = ">= 0.6"
latency_p99 = "<= 5 s"
alarm_budget = "1 per 30 days"
[monitor]
window = "1 h"
settle_s = 1.0
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to look at. ``real`` of the ``windows`` are judged from the log."""

    predictions: int
    columns: int
    alerts: int
    windows: int
    real: int = 3


def long_past(folder: Path, sizes: Sizes) -> None:
    """Make the project in ``folder``, with its past up to now."""
    _project(folder, sizes.columns)
    opened = assembly.open_project(folder)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    known, scores, version = _known(opened)
    first = now - sizes.real * _HOUR
    changed = known.with_columns(pl.col("x001") + 1.0)  # one column is not what it was
    _write(
        opened,
        "real",
        _rows(
            changed, scores, sizes.real * _AN_HOUR, start=first, every=_HOUR / _AN_HOUR, version=version, mark="ffff"
        ),
    )
    rw.watch(folder, once=True)
    a_day = math.ceil(sizes.predictions / _DAYS)
    for day in range(_DAYS):
        start = first - timedelta(days=_DAYS - day)
        every = timedelta(days=1) / a_day
        _write(
            opened,
            f"day-{day}",
            _rows(known, scores, a_day, start=start, every=every, version=version, mark=f"{day:04x}"),
        )
    transactions = Transactions(opened.settings.registry)
    _windows(opened, transactions, sizes)
    _alerts(opened, transactions, sizes.alerts, now)
    transactions.close()


def _project(folder: Path, columns: int) -> None:
    """A scikit-learn model of so many numbers, packaged; a training of our own would ask every check of each column."""
    random = np.random.default_rng(3)
    rows = pl.DataFrame({f"x{at:03}": np.round(random.normal(size=_TRAINING_ROWS), 3) for at in range(columns)})
    strength = rows.select(rows.columns[:4]).to_numpy().sum(axis=1) + random.normal(size=_TRAINING_ROWS)
    labelled = rows.with_columns(y=pl.Series((strength > 0).astype(int)))
    folder.mkdir(parents=True)
    labelled.write_parquet(folder / "rows.parquet")
    contract = "\n".join(f'{name} = {{ type = "number" }}' for name in rows.columns)
    file = folder / "roadworthy.toml"
    file.write_text(_PROJECT.format(columns=contract), encoding="utf-8")
    assembly.project_keys(assembly.open_project(file))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    model.fit(rows.to_pandas(), labelled["y"].to_numpy())
    rw.package(model, labelled, target="y", project=file, quick=True)
    rw.promote(1, file)


def _known(opened: assembly.Project) -> tuple[pl.DataFrame, Figures, str]:
    """The rows that the model learned from, their scores, and its name."""
    with assembly.opened_bundle(opened, "1") as (version, bundle):
        parts = bundle.parts
    rows = pl.read_parquet(opened.folder / "rows.parquet").drop("y")
    return rows, GraphModel(parts.model).score(rows), version.title


def _write(opened: assembly.Project, name: str, rows: pl.DataFrame) -> None:
    root = opened.settings.lake / "predictions"
    root.mkdir(parents=True, exist_ok=True)
    publish(root, name, by_day(rows))


def _rows(
    known: pl.DataFrame,
    scores: Figures,
    count: int,
    *,
    start: datetime,
    every: timedelta,
    version: str,
    mark: str,
) -> pl.DataFrame:
    """So many rows of the log, drawn from what is known."""
    picked = np.random.default_rng(int(mark, 16)).integers(0, known.height, count)
    begun_us, every_us = int(start.timestamp() * 1e6), int(every / timedelta(microseconds=1))
    own = pl.DataFrame(
        {
            "id": [f"{mark}{place:012x}" for place in range(count)],
            "row": pl.Series(np.zeros(count), dtype=pl.Int64),
            "at": pl.Series(begun_us + every_us * np.arange(count)).cast(pl.Datetime("us")),
            "version": [version] * count,
            "score": scores[picked],
            "decision": ["1" if one >= 0.5 else "0" for one in scores[picked]],
            "referred": pl.Series([None] * count, dtype=pl.String),
        }
    )
    return own.hstack(known[picked])


def _windows(opened: assembly.Project, transactions: Transactions, sizes: Sizes) -> None:
    """A year of windows that end with those that were judged: the same records under other numbers."""
    name = opened.spec.name
    with transactions.reading() as connection:
        series = "1 h"
        newest = watching.last(connection, name, series)
        if newest is None:
            raise RuntimeError("no window was judged")
        judged = watching.judged(connection, name, series, newest.number)
        (summary,) = watching.summaries(connection, name, series, newest=1)
        sketch = watching.sketch(connection, name, series, newest.number)
    random = np.random.default_rng(9)
    wander = 0.01 * random.normal(size=sizes.windows)
    table = schema.windows
    with transactions.changing() as connection:
        connection.execute(table.delete().where(table.c.project == name))
    for begun in range(0, sizes.windows, 400):
        with transactions.changing() as connection:
            for place in range(begun, min(begun + 400, sizes.windows)):
                back = sizes.windows - 1 - place
                one, short = _moved(judged, summary, newest.number - back, back, float(wander[place]))
                watching.add(connection, one, short, sketch if back < _SKETCHES else None)


def _moved(
    judged: Judged, summary: WindowSummary, number: int, back: int, wander: float
) -> tuple[Judged, WindowSummary]:
    """The same window ``back`` hours before, its figures a little otherwise."""
    start_us, end_us = (at.at_us - back * 3_600_000_000 for at in (judged.window.after, judged.window.until))
    window = msgspec.structs.replace(
        judged.window,
        number=number,
        after=msgspec.structs.replace(judged.window.after, at_us=start_us),
        until=msgspec.structs.replace(judged.window.until, at_us=end_us),
    )
    values = {
        line: tuple(None if one is None else one + wander for one in ends) for line, ends in summary.values.items()
    }
    short = msgspec.structs.replace(
        summary,
        number=number,
        revision=0,
        start_us=start_us,
        end_us=end_us,
        until=window.until,
        values=values,
    )
    return msgspec.structs.replace(judged, window=window, revision=0), short


def _alerts(opened: assembly.Project, transactions: Transactions, count: int, now: datetime) -> None:
    """Alerts of the year, one in fifty still firing."""
    now_us = int(now.timestamp() * 1e6)
    rules = ("accuracy_low", "drift:columns", "drift:score", "latency_p99_high", "missing:x001")
    for begun in range(0, count, 200):
        with transactions.changing() as connection:
            for place in range(begun, min(begun + 200, count)):
                at_us = now_us - (count - place) * 8 * 3_600_000_000
                rule = rules[place % len(rules)]
                seen = Sighting(source=f"1 h/{place}", at_us=at_us, sentence=f"{rule} alarmed", evidence={"p": 1e-9})
                open_ = place % 50 == 0
                alert_rows.put(
                    connection,
                    Alert(
                        project=opened.spec.name,
                        number=0,
                        rule=rule,
                        group="data" if ":" in rule else "quality",
                        severity=Severity.TICKET,
                        state=AlertState.FIRING if open_ else AlertState.RESOLVED,
                        first=seen,
                        worst=seen,
                        last=seen,
                        opened_us=at_us,
                        changed_us=at_us,
                        heard_us=at_us,
                        known_us=at_us,
                        fired_us=at_us,
                    ),
                )
