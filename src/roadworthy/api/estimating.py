"""``roadworthy.estimate``: quality of new rows before their labels come, without project, server or model.

In: a labelled reference and new rows, both with the model's scores. Out: an ``Estimate``: a table by window and metric,
which method was chosen and why, a picture. Laws: labels of the new rows never move an estimate; where they are there,
they are shown beside it; what cannot be estimated says why.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy import assembly
from roadworthy.errors import DataError, UnknownName, UsageError
from roadworthy.measures.estimation import EstimatorState, Plan, ReferenceRows, estimated, fit_estimator, rectified
from roadworthy.measures.quality import measure_safely
from roadworthy.measures.samples import Sample, entity_codes
from roadworthy.records.evidence import Exhibit, Measurement
from roadworthy.records.project import Task
from roadworthy.standard.catalogue import metric_named
from roadworthy.transforms.splits import class_labels, label_text

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Estimate", "estimate"]

_DEFAULT = {
    Task.BINARY: ("roc_auc", "f1", "accuracy", "precision", "recall"),
    Task.MULTICLASS: ("accuracy", "macro_f1", "log_loss"),
    Task.REGRESSION: ("mae", "rmse", "r2"),
}
_WINDOWS, _LEAST_ROWS = 10, 250
_PANELS = 3
_SHOWN = 12


def estimate(
    reference: Any,
    current: Any,
    *,
    target: str,
    score: str | Mapping[str, str],
    threshold: float = 0.5,
    event: Any = None,
    task: str = "",
    columns: Sequence[str] | None = None,
    metrics: Sequence[str] = (),
    time: str = "",
    entity: str = "",
    rows_per_window: int = 0,
    band: float = 0.95,
    weighted: bool = True,
) -> Estimate:
    """Estimate the quality of ``current`` from a labelled ``reference`` that the model was not trained on.

    Both are Polars or pandas frames, Arrow tables, or paths. ``score`` names the column of the event's probability
    (binary) or of the estimate (regression), or maps each class to its column. ``event`` is the label that counts as 1
    (default: the later label in text order); a row is decided as one where its score is ``threshold`` or more.
    ``columns`` are those that the outcome may depend on (default: all others, except ``time`` and ``entity``); leave
    personal ones out. Rows are taken in the order of ``time`` where it is named, else as they stand, a tenth of
    ``current``, and 250 or more, in each window unless ``rows_per_window`` says otherwise. Each band holds the realised
    value with probability ``band``. ``weighted`` tries PAPE as well, which trains a classifier for each trial and
    window.

    Labels in ``current`` are shown as ``realised`` beside the estimate; where only some rows of a window have one,
    these are taken as a random sample and joined by prediction-powered inference. Raises UsageError, UnknownName or
    DataError where the tables cannot be used.
    """
    if not 0.5 < band < 1:
        raise UsageError(f"band {band} is out of range: a number above 0.5 and below 1 is expected")
    old, new = (_ordered(_rows(data), time) for data in (reference, current))
    scores = [score] if isinstance(score, str) else list(score.values())
    for name in [target, *scores, *([entity] if entity else [])]:
        if name not in old.columns:
            raise UnknownName("column", name, old.columns)
    kind = Task(task) if task else _task_of(old.get_column(target), score)
    labels = class_labels(old.get_column(target), kind, "" if event is None else label_text(pl.Series([event]))[0])
    roles = _Roles(target, score, threshold, labels[-1] if labels else "", entity)
    sample = roles.sample(old, kind)
    apart = {target, time, entity, *scores}
    read = [name for name in (columns if columns is not None else old.columns) if name not in apart]
    asked = tuple(metric_named(name).name for name in metrics) or _DEFAULT[kind]
    state = fit_estimator(sample, old, read, metrics=asked, weighted=weighted and bool(read))
    size = rows_per_window or max(-(-new.height // _WINDOWS), _LEAST_ROWS)
    confidence = 1 - (1 - band) / 2
    windows = [
        _window(roles, state, ReferenceRows(sample, old), new.slice(begin, size), metrics=asked, confidence=confidence)
        for begin in range(0, new.height, size)
    ]
    return Estimate(windows=tuple(windows), plans=tuple(state.plans.values()), band=band, reference_rows=sample.n)


@dataclass(frozen=True, slots=True)
class Windowed:
    """One window: how many rows, what is estimated, and what labels show (``realised``), metric by metric."""

    rows: int
    labels: int
    estimated: tuple[Measurement, ...]
    realised: tuple[float | None, ...]


@dataclass(frozen=True)
class Estimate:
    """Quality by window before labels come. ``plans`` say per metric which method was chosen, and why."""

    windows: tuple[Windowed, ...]
    plans: tuple[Plan, ...]
    band: float
    reference_rows: int

    def rows_as_dicts(self) -> list[dict[str, Any]]:
        """One mapping for each window and metric, plain values."""
        return [
            {
                "window": place,
                "rows": window.rows,
                "labels": window.labels,
                "metric": one.metric,
                "estimate": one.value,
                "lower": one.lower,
                "upper": one.upper,
                "realised": seen,
                "method": one.method,
                "why": one.error or one.insufficient or one.reason,
            }
            for place, window in enumerate(self.windows)
            for one, seen in zip(window.estimated, window.realised, strict=True)
        ]

    def to_frame(self) -> pl.DataFrame:
        """The same as a Polars frame."""
        kinds: dict[str, Any] = {"window": pl.Int64, "rows": pl.Int64, "labels": pl.Int64, "metric": pl.String}
        kinds |= dict.fromkeys(("estimate", "lower", "upper", "realised"), pl.Float64)
        return pl.DataFrame(self.rows_as_dicts(), schema=kinds | {"method": pl.String, "why": pl.String})

    def chart(self) -> alt.TopLevelMixin | None:
        """Estimates in their bands by window, one panel for each of the first metrics; None where there are none."""
        import altair as alt  # noqa: PLC0415 - a second that only a picture needs

        from roadworthy.measures.charts.estimated import estimated as drawn  # noqa: PLC0415 - as above

        panels = [one for one in map(drawn, self.exhibits()[:_PANELS]) if one is not None]
        return (
            alt.vconcat(*panels, spacing=26).resolve_scale(color="independent", shape="independent") if panels else None
        )

    def exhibits(self) -> list[Exhibit]:
        """The tables behind the picture, one for each metric."""
        rows = self.rows_as_dicts()
        keys = ("window", "estimate", "lower", "upper", "realised")
        return [
            Exhibit(
                name=f"estimated:{plan.metric}",
                title=f"{plan.metric} before labels",
                columns={key: [row[key] for row in rows if row["metric"] == plan.metric] for key in keys},
            )
            for plan in self.plans
        ]

    def __str__(self) -> str:
        return "\n".join([self._summary(), *self._lines(), *(f"- {plan.metric}: {plan.why}" for plan in self.plans)])

    def _repr_html_(self) -> str:
        from roadworthy.measures.charts import to_svg  # noqa: PLC0415 - as in chart

        chart = self.chart()
        picture = "" if chart is None else to_svg(chart)
        why = "".join(f"<li>{html.escape(f'{plan.metric}: {plan.why}')}</li>" for plan in self.plans)
        cells = "".join(f"<li>{html.escape(line)}</li>" for line in self._lines())
        return (
            f"<div><p><strong>{html.escape(self._summary())}</strong></p>{picture}<ul>{cells}</ul><ul>{why}</ul></div>"
        )

    def _summary(self) -> str:
        rows = sum(window.rows for window in self.windows)
        return (
            f"{rows:,} rows in {len(self.windows)} windows, from {self.reference_rows:,} labelled rows; "
            f"each band holds the realised value in {self.band:.0%} of windows"
        )

    def _lines(self) -> list[str]:
        lines = []
        for row in self.rows_as_dicts():
            head = f"window {row['window']} ({row['rows']:,} rows): {row['metric']} "
            if row["estimate"] is None:
                lines.append(head + f"cannot be told: {row['why']}")
                continue
            seen = "" if row["realised"] is None else f", realised {row['realised']:.4g}"
            lines.append(head + f"{row['estimate']:.4g} ({row['lower']:.4g} to {row['upper']:.4g}){seen}")
        more = [f"and {len(lines) - _SHOWN} more: to_frame()"] if len(lines) > _SHOWN else []
        return lines[:_SHOWN] + more


@dataclass(frozen=True, slots=True)
class _Roles:
    """What columns mean."""

    target: str
    score: str | Mapping[str, str]
    threshold: float
    event_label: str
    entity: str

    def scores(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """[n], or [n, K] in the order of the mapping."""
        names = [self.score] if isinstance(self.score, str) else list(self.score.values())
        absent = [name for name in names if name not in rows.columns]
        if absent:
            raise UnknownName("column", absent[0], rows.columns)
        values = rows.select(pl.col(name).cast(pl.Float64) for name in names).to_numpy()
        return values[:, 0] if isinstance(self.score, str) else values

    def sample(self, rows: pl.DataFrame, task: Task) -> Sample:
        """Reference rows as a sample. Raises DataError where a label is missing."""
        missing = rows.get_column(self.target).null_count()
        if missing:
            raise DataError(f"{missing} rows of the reference have no {self.target}", next_step="leave them out")
        clusters = entity_codes(rows.get_column(self.entity)) if self.entity else None
        score = self.scores(rows)
        return Sample(
            task=task,
            y=self.outcomes(rows.get_column(self.target), task),
            score=score,
            threshold=self.threshold if task is Task.BINARY else None,
            classes=() if isinstance(self.score, str) else tuple(map(str, self.score)),
            clusters=clusters,
        )

    def outcomes(self, labels: pl.Series, task: Task) -> NDArray[Any]:
        """Class indices, or numbers."""
        if task is Task.REGRESSION:
            return labels.cast(pl.Float64).to_numpy()
        texts = label_text(labels)
        if task is Task.BINARY:
            return (texts == self.event_label).to_numpy().astype(np.int64)
        places = {name: index for index, name in enumerate(self.score)} if not isinstance(self.score, str) else {}
        unknown = sorted({text for text in texts.to_list() if text not in places})
        if unknown:
            raise DataError(f"labels without a score column: {', '.join(unknown[:5])}")
        return np.array([places[text] for text in texts.to_list()], dtype=np.int64)


def _task_of(labels: pl.Series, score: str | Mapping[str, str]) -> Task:
    """Classes where there are several scores; numbers where the target has more than two values, and is numeric."""
    if not isinstance(score, str):
        return Task.MULTICLASS
    many = labels.drop_nulls().n_unique() > 2
    return Task.REGRESSION if many and labels.dtype.is_numeric() else Task.BINARY


def _window(
    roles: _Roles,
    state: EstimatorState,
    reference: ReferenceRows,
    rows: pl.DataFrame,
    *,
    metrics: Sequence[str],
    confidence: float,
) -> Windowed:
    scores = roles.scores(rows)
    labels = rows.get_column(roles.target) if roles.target in rows.columns else pl.Series([None] * rows.height)
    known = labels.is_not_null().to_numpy()
    given: dict[str, Any] = {"frame": rows, "metrics": metrics, "confidence": confidence}
    found = estimated(state, scores, reference=reference, **given)
    realised: tuple[float | None, ...] = (None,) * len(found)
    if known.all():
        sample = Sample(
            task=state.task,
            y=roles.outcomes(labels, state.task),
            score=scores,
            threshold=state.threshold,
            classes=state.classes,
            reference=state.base,
        )
        realised = tuple(measure_safely(name, sample).value for name in metrics)
    elif known.any():
        y = roles.outcomes(labels.filter(known), state.task)
        joined = rectified(state, scores, known, y, **given)
        found = tuple(new if new.value is not None else old for new, old in zip(joined, found, strict=True))
    return Windowed(rows=rows.height, labels=int(known.sum()), estimated=found, realised=realised)


def _rows(data: Any) -> pl.DataFrame:
    if isinstance(data, pl.DataFrame):
        return data
    if not isinstance(data, str | Path | Mapping | pl.LazyFrame) and hasattr(data, "columns") and len(data) == 0:
        return pl.DataFrame(schema=[str(name) for name in data.columns])
    return assembly.source_of(data).scan().collect()


def _ordered(rows: pl.DataFrame, time: str) -> pl.DataFrame:
    if not time:
        return rows
    if time not in rows.columns:
        raise UnknownName("column", time, rows.columns)
    return rows.sort(time, maintain_order=True)
