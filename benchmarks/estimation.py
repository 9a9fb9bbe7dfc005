"""Quality before labels come: how far off, how often within its band, with a few labels, and how fast.

    python benchmarks/estimation.py --tables DIR --peers DIR

Four parts. *Windows*: `acs_employment` of ``--tables`` (reference 2015, windows of 2016 to 2018 in file order), or
made-up rows without it: mean absolute error of our estimate, of CBPE and PAPE as their papers define them (implemented
here), of NannyML where ``--peers`` has its environment, against what the labels show. *Labels*: concept drift is
planted in windows of 5,000 rows; 100 labels each. *Regression*: estimates of errors on made-up rows. *Speed*: ten
million rows in 20 chunks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from result import Result, add_results_option, middle
from roadworthy.measures.estimation import EstimatorState, estimated, estimator_bytes, fit_estimator, rectified
from roadworthy.measures.estimation.expected import Chances, expected
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

Floats = NDArray[np.float64]
METRICS = ("roc_auc", "f1", "accuracy", "precision", "recall")
LABELLED = ("accuracy", "precision", "recall", "f1", "balanced_accuracy", "brier", "log_loss")
EACH_SIDE = 0.975
SPEED_METRICS = ("roc_auc", "pr_auc", "f1", "precision", "recall", "specificity", "accuracy", "mcc")


class Rows(NamedTuple):
    """Scored rows with their outcomes and columns."""

    frame: pl.DataFrame
    score: Floats
    y: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | slice) -> Rows:
        """Some of them."""
        return Rows(self.frame[rows], self.score[rows], self.y[rows])


def logistic(x: Floats) -> Floats:
    """Inverse logit."""
    return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float64)


def made(rng: np.random.Generator, rows: int, shift: float = 0.0) -> Rows:
    """A law in which the model misses what a group of rows is about; ``shift`` moves columns, not the law."""
    x, age = rng.normal(shift, 1, rows), rng.uniform(20, 80, rows) + 10 * shift
    group = rng.choice(["a", "b", "c"], rows, p=[0.6 - 0.2 * np.tanh(shift), 0.3, 0.1 + 0.2 * np.tanh(shift)])
    lift = np.where(group == "c", -1.5, 0.0)
    y = (rng.random(rows) < logistic(1.4 * x - 0.3 + lift + 0.02 * (age - 50))).astype(np.int64)
    frame = pl.DataFrame({"x": x, "age": age, "group": group})
    return Rows(frame, logistic(1.7 * x - 0.2), y)


def acs(folder: Path) -> tuple[Rows, Rows]:
    """Massachusetts, employed or not: 2015, and 2016 to 2018 with the labels joined."""
    parts = [
        pl.read_parquet(folder / f"employment_MA_{name}.pq") for name in ("reference", "analysis", "analysis_target")
    ]
    analysis = parts[1].join(parts[2], on="id", how="left", maintain_order="left")
    known = {"id", "year", "employed", "prediction", "predicted_probability"}
    found = []
    for part in (parts[0], analysis):
        columns = part.select(pl.col(name) for name in part.columns if name not in known)
        found.append(Rows(columns, part["predicted_probability"].to_numpy(), part["employed"].to_numpy()))
    return found[0], found[1]


# --- CBPE and PAPE as their papers define them ------------------------------------------------------------------


def values_of(score: Floats, chance: Floats) -> Floats:
    """The five metrics of chances (of outcomes: realised)."""
    rows = Chances(score, (score >= 0.5).astype(np.float64), chance, np.ones(len(score)))
    return np.array([expected(name, rows).value for name in METRICS])


def cbpe(reference: Rows, window: Rows) -> Floats:
    """Isotonic calibration of the score (Kivimäki et al. 2025)."""
    return _isotonic(reference, window, None)


def pape(reference: Rows, window: Rows) -> Floats:
    """The same, weighted by a density ratio from LightGBM's defaults (Białek et al. 2024)."""
    both = np.concatenate([_numbers(reference.frame), _numbers(window.frame)])
    side = np.repeat([0, 1], [len(reference.y), len(window.y)])
    model = lightgbm.LGBMClassifier(n_jobs=1, verbosity=-1, random_state=1).fit(both, side)
    p = np.asarray(model.predict_proba(both[: len(reference.y)]))[:, 1]
    return _isotonic(reference, window, p / (1 - p) * len(reference.y) / len(window.y))


def _isotonic(reference: Rows, window: Rows, weight: Floats | None) -> Floats:
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    return np.asarray(fitted.fit(reference.score, reference.y, sample_weight=weight).predict(window.score))


def _numbers(frame: pl.DataFrame) -> Floats:
    read = [
        pl.col(name) if frame[name].dtype.is_numeric() else pl.col(name).cast(pl.String).hash() % 1009
        if frame[name].cast(pl.String).cast(pl.Float64, strict=False).is_null().any()
        else pl.col(name).cast(pl.String).cast(pl.Float64)
        for name in frame.columns
    ]  # fmt: skip
    return frame.select(one.cast(pl.Float64) for one in read).to_numpy()


# --- windows ----------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """By window: realised values [w, m], each contender's estimates, whether our band (and NannyML's) held."""

    realised: Floats
    estimates: dict[str, Floats]
    held: dict[str, NDArray[np.bool_]]
    width: Floats
    refused: int


def population(options: argparse.Namespace) -> tuple[Rows, Rows, str]:
    """Reference, rows in windows, and what they are."""
    folder = None if options.tables is None else options.tables / "acs_employment"
    rng = np.random.default_rng(5)
    if folder is not None and folder.is_dir():
        return *acs(folder), "acs_employment"
    parts = [made(rng, options.rows // 8, shift) for shift in (0.0, 0.3, -0.3, 0.6, 0.1, -0.5, 0.2, 0.4)]
    analysis = Rows(
        pl.concat(part.frame for part in parts),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.y for part in parts]),
    )
    return made(rng, options.rows), analysis, "made-up rows, the mix of which moves"


def windows_part(result: Result, options: argparse.Namespace) -> None:
    """Errors and coverage by window size."""
    sizes = [500, 1_000, 2_000, 5_000] if result.full else [250]
    reference, analysis, name = population(options)
    begun = time.perf_counter()
    state = fitted(reference)
    took = time.perf_counter() - begun
    result.say("", f"## Windows: {name}", "")
    result.say(
        f"{len(reference.y):,} reference rows, {len(analysis.y):,} rows in windows. The estimator was learnt and "
        f"back-tested in {took:.1f} s and takes {len(estimator_bytes(state)) / 1000:.0f} kB in the bundle; it saw no "
        f"label of a window. Methods chosen: {', '.join(f'{one}: {state.plans[one].method}' for one in METRICS)}."
    )
    found = {size: one_size(state, reference, analysis, size, options) for size in sizes}
    _errors(result, found, whole=name == "acs_employment")
    _coverage(result, found, whole=name == "acs_employment")


def fitted(reference: Rows) -> EstimatorState:
    """Our estimator of reference rows."""
    return fit_estimator(Sample(task=Task.BINARY, y=reference.y, score=reference.score, threshold=0.5), reference.frame)


def one_size(state: EstimatorState, reference: Rows, analysis: Rows, size: int, options: argparse.Namespace) -> Found:
    """All contenders on windows of one size."""
    parts = [analysis.take(slice(at, at + size)) for at in range(0, len(analysis.y) - size + 1, size)]
    realised = np.array([values_of(part.score, part.y.astype(np.float64)) for part in parts])
    estimates = {
        name: np.array([values_of(part.score, way(reference, part)) for part in parts])
        for name, way in (("CBPE", cbpe), ("PAPE", pape))
    }
    measured = [estimated(state, part.score, frame=part.frame, metrics=METRICS, confidence=EACH_SIDE) for part in parts]
    told = [[one.value if one.value is not None else np.nan for one in row] for row in measured]
    held = [
        [one.lower is not None and one.upper is not None and one.lower <= truth <= one.upper
         for one, truth in zip(row, truths, strict=True)]
        for row, truths in zip(measured, realised, strict=True)
    ]  # fmt: skip
    width = np.nanmean([[(one.upper or np.nan) - (one.lower or 0.0) for one in row] for row in measured], axis=0)
    estimates["ours"] = np.array(told)
    bands = {"ours": np.array(held)}
    peer = nannyml(reference, analysis, size, options.peers)
    if peer is not None:
        estimates["NannyML"] = peer[0][: len(parts)]
        bands["NannyML"] = (peer[1][: len(parts)] <= realised) & (realised <= peer[2][: len(parts)])
    return Found(realised, estimates, bands, width, int(np.isnan(told).any(axis=1).sum()))


def nannyml(reference: Rows, analysis: Rows, size: int, peers: Path | None) -> tuple[Floats, Floats, Floats] | None:
    """NannyML's estimates and the ends of its bands [w, m]; None without its environment."""
    if peers is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        _written(Path(name), reference, analysis)
        found = _asked(peers, "windows", Path(name), size, f"nannyml.{size}.json")
    keys = ("value", "lower", "upper")
    first, second, third = (np.array([found[metric][key] for metric in METRICS]).T for key in keys)
    return first, second, third


def _written(folder: Path, reference: Rows, analysis: Rows) -> None:
    for name, rows in (("reference", reference), ("analysis", analysis)):
        table = pl.DataFrame({"y": rows.y, "score": rows.score, "decision": (rows.score >= 0.5).astype(np.int64)})
        table.write_parquet(folder / f"{name}.parquet")


def _asked(peers: Path, mode: str, folder: Path, number: int, name: str) -> dict[str, dict[str, list[float]]]:
    script = Path(__file__).parent / "estimation_peers.py"
    command = [str(peers / "nannyml" / "bin" / "python"), str(script), mode, str(folder), str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"NML_DISABLE_USAGE_LOGGING": "1"})
    if done.returncode:
        raise SystemExit(f"NannyML failed: {done.stderr[-2000:]}")
    found: dict[str, dict[str, list[float]]] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def _errors(result: Result, found: dict[int, Found], *, whole: bool) -> None:
    rows, within = [], 0
    for size, one in found.items():
        means = {name: np.nanmean(np.abs(value - one.realised), axis=0) for name, value in one.estimates.items()}
        for place, metric in enumerate(METRICS):
            best = min(means["CBPE"][place], means["PAPE"][place])
            ratio = means["ours"][place] / best
            within += ratio <= 1.02
            others = [f"{means[name][place]:.5f}" if name in means else "" for name in ("CBPE", "PAPE", "NannyML")]
            rows.append(
                (f"{size:,}", len(one.realised), metric, *others, f"{means['ours'][place]:.5f}", f"{ratio:.3f}")
            )
    header = ("window", "windows", "metric", "CBPE", "PAPE", "NannyML", "ours", "ours / lower of CBPE, PAPE")
    result.table(header, rows)
    if whole:
        cells = len(found) * len(METRICS)
        result.target(
            "mean absolute error at most 1.02 x the lower of CBPE's and PAPE's",
            "15 of 20 cells", f"{within} of {cells}", met=within >= 15,
        )  # fmt: skip


def _coverage(result: Result, found: dict[int, Found], *, whole: bool) -> None:
    result.say("", "### Share of windows whose realised value lies in the 95 % band", "")
    rows, cells = [], []
    for size, one in found.items():
        for place, metric in enumerate(METRICS):
            share = float(one.held["ours"][:, place].mean())
            cells.append(share)
            peer = f"{one.held['NannyML'][:, place].mean():.1%}" if "NannyML" in one.held else ""
            rows.append((f"{size:,}", metric, f"{share:.1%}", f"{one.width[place]:.3f}", peer))
    result.table(("window", "metric", "ours", "mean width", "NannyML's band of ±3 deviations"), rows)
    every = float(np.concatenate([one.held["ours"].ravel() for one in found.values()]).mean())
    refused = sum(one.refused for one in found.values())
    result.say("", f"Over all windows and metrics {every:.1%}, mean of cells {np.mean(cells):.1%}; "
               f"windows with a metric that could not be estimated: {refused}.")  # fmt: skip
    if whole:
        result.target("coverage of each cell", ">= 90 %", f"{min(cells):.1%} at least", met=min(cells) >= 0.9)
        result.target("coverage over all", "93 to 97 %", f"{every:.1%}", met=0.93 <= every <= 0.97)


# --- a few labels -----------------------------------------------------------------------------------------------


def _flipped(rng: np.random.Generator, rows: Rows) -> Rows:
    turned = rng.random(len(rows.y)) < 0.2
    return rows._replace(y=np.where(turned, 1 - rows.y, rows.y))


def _gone(rng: np.random.Generator, rows: Rows) -> Rows:
    """The event stops for most of the rows with a middling score."""
    gone = (rows.score > 0.4) & (rows.score < 0.9) & (rng.random(len(rows.y)) < 0.5)
    return rows._replace(y=np.where(gone, 0, rows.y))


def _more(rng: np.random.Generator, rows: Rows) -> Rows:
    return rows._replace(y=np.where(rng.random(len(rows.y)) < 0.15, 1, rows.y))


DRIFTS: dict[str, Callable[[np.random.Generator, Rows], Rows]] = {
    "none": lambda _, rows: rows,
    "a fifth of the labels turned": _flipped,
    "the event halves at middling scores": _gone,
    "the event comes in 15 % more": _more,
}


def labels_part(result: Result, options: argparse.Namespace) -> None:
    """Coverage and width of prediction-powered inference under planted concept drift."""
    reference, analysis, name = population(options)
    state, size = fitted(reference), min(5_000, len(analysis.y) // 2)
    result.say("", f"## A few labels: 100 of {size:,} rows of {name}, drawn at random", "")
    result.say(
        "Truth is the realised value of the whole window. *Without labels*: how often the band of the estimate alone "
        "holds it, which concept drift makes worthless. *Labels alone*: the interval of the 100 labelled rows."
    )
    rows, worst = [], 1.0
    for planted, drift in DRIFTS.items():
        rng = np.random.default_rng(11)
        cells: list[dict[str, tuple[bool, float, float, bool]]] = []
        for _ in range(options.repetitions):
            window = drift(rng, analysis.take(rng.choice(len(analysis.y), size, replace=False)))
            cells.append(_labelled(rng, state, window))
        for metric in LABELLED:
            held, width, alone, blind = (np.array(part) for part in zip(*(one[metric] for one in cells), strict=True))
            share = float(held.mean())
            worst = min(worst, share) if planted != "none" else worst
            figures = (f"{share:.1%}", f"{width.mean():.3f}", f"{np.nanmean(alone):.3f}", f"{blind.mean():.1%}")
            rows.append((planted, metric, *figures))
    header = ("concept drift", "metric", "held", "width", "width, labels alone", "held without labels")
    result.table(header, rows)
    result.target("100 labels under planted concept drift: truth in the 95 % band", ">= 93 % of each cell",
                  f"{worst:.1%} at least", met=worst >= 0.93)  # fmt: skip


def _labelled(
    rng: np.random.Generator, state: EstimatorState, window: Rows
) -> dict[str, tuple[bool, float, float, bool]]:
    """By metric: whether the joined band held, its width, that of the labels alone, whether the blind one held."""
    whole = Sample(task=Task.BINARY, y=window.y, score=window.score, threshold=0.5)
    chosen = rng.choice(len(window.y), 100, replace=False)
    asked: dict[str, Any] = {"frame": window.frame, "metrics": LABELLED, "confidence": EACH_SIDE}
    joined = rectified(state, window.score, chosen, window.y[chosen], **asked)
    blind = estimated(state, window.score, **asked)
    found = {}
    for metric, one, guess in zip(LABELLED, joined, blind, strict=True):
        truth = measure(metric, whole).value
        own = measure(metric, whole.take(chosen), confidence=EACH_SIDE)
        if truth is None or one.lower is None or one.upper is None:
            raise SystemExit(f"{metric}: {one.insufficient or one.error}")
        wide = own.upper - own.lower if own.upper is not None and own.lower is not None else np.nan
        sure = guess.lower is not None and guess.upper is not None and guess.lower <= truth <= guess.upper
        found[metric] = (one.lower <= truth <= one.upper, one.upper - one.lower, wide, sure)
    return found


# --- regression and speed ---------------------------------------------------------------------------------------


def regression_part(result: Result, options: argparse.Namespace) -> None:
    """Errors that grow with a column, windows in which it moves: estimate against the reference's own value."""
    rng = np.random.default_rng(13)

    def drawn(rows: int, shift: float) -> tuple[pl.DataFrame, Floats, Floats]:
        x, z = rng.normal(shift, 1, rows), rng.normal(0, 1, rows)
        return pl.DataFrame({"x": x, "z": z}), 2 * x + z, 2 * x + z + rng.normal(size=rows) * np.exp(0.5 * x)

    frame, estimate, truth = drawn(max(options.rows // 2, 2_000), 0.0)
    state = fit_estimator(Sample(task=Task.REGRESSION, y=truth, score=estimate), frame)
    names = ("mae", "rmse", "r2")
    missed, held, constant = [], [], []
    base = [measure(name, Sample(task=Task.REGRESSION, y=truth, score=estimate)).value or 0.0 for name in names]
    for _ in range(options.repetitions):
        frame, estimate, truth = drawn(1_000, rng.uniform(-1, 1))
        sample = Sample(task=Task.REGRESSION, y=truth, score=estimate, reference=state.base)
        real = [measure(name, sample).value or 0.0 for name in names]
        told = estimated(state, estimate, frame=frame, metrics=names, confidence=EACH_SIDE)
        missed.append([abs((one.value or np.nan) - value) for one, value in zip(told, real, strict=True)])
        held.append([(one.lower or 0) <= value <= (one.upper or 0) for one, value in zip(told, real, strict=True)])
        constant.append([abs(one - value) for one, value in zip(base, real, strict=True)])
    result.say("", "## Regression: windows of 1,000 rows in which a column that widens errors moves", "")
    cells = [np.nanmean(missed, axis=0), np.mean(constant, axis=0), np.mean(held, axis=0)]
    result.table(
        ("metric", "mean absolute error of the estimate", "of the reference's own value", "held by the 95 % band"),
        [(name, f"{cells[0][k]:.4f}", f"{cells[1][k]:.4f}", f"{cells[2][k]:.1%}") for k, name in enumerate(names)],
    )


def speed_part(result: Result, options: argparse.Namespace) -> None:
    """Scores alone, 20 chunks, eight metrics with their bands."""
    rng = np.random.default_rng(17)
    reference, whole = made(rng, 100_000 if options.speed_rows >= 1_000_000 else 5_000), made(rng, options.speed_rows)
    state = fit_estimator(Sample(task=Task.BINARY, y=reference.y, score=reference.score, threshold=0.5))
    ends = np.linspace(0, options.speed_rows, 21).astype(int)
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        for first, last in itertools.pairwise(ends):
            estimated(state, whole.score[first:last], metrics=SPEED_METRICS, confidence=EACH_SIDE)
        took.append(time.perf_counter() - begun)
    result.say("", f"## Speed: {options.speed_rows:,} scores in 20 chunks, {len(SPEED_METRICS)} metrics with bands", "")
    rows = [("ours", middle(took))]
    if options.peers is not None:
        with tempfile.TemporaryDirectory() as name:
            _written(Path(name), reference, whole)
            seconds = _asked(options.peers, "speed", Path(name), 20, "nannyml.speed.json")["seconds"]
        rows.append(("NannyML, CBPE of eight metrics, `estimate` alone", f"{seconds:.2f}"))
    result.table(("", "seconds"), rows)
    result.target("10 million rows in 20 chunks", "under 4 s", f"{sorted(took)[1]:.2f} s", met=sorted(took)[1] < 4)


PARTS: dict[str, Callable[[Result, argparse.Namespace], None]] = {
    "windows": windows_part,
    "labels": labels_part,
    "regression": regression_part,
    "speed": speed_part,
}


def main() -> int:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000, help="made-up reference rows")
    parser.add_argument("--repetitions", type=int, default=400, help="windows of each concept drift")
    parser.add_argument("--speed-rows", type=int, default=10_000_000)
    parser.add_argument("--tables", type=Path, default=None, help="folder with acs_employment")
    parser.add_argument("--peers", type=Path, default=None, help="folder of the others' environments")
    parser.add_argument("--only", choices=PARTS, default=None, help="one part, written to estimation_<part>.md")
    add_results_option(parser)
    options = parser.parse_args()
    name = "estimation" if options.only is None else f"estimation_{options.only}"
    result = Result(name, "Quality before labels come", full=options.repetitions >= 400)
    for part in PARTS if options.only is None else [options.only]:
        PARTS[part](result, options)
    return result.finish(options.results)


if __name__ == "__main__":
    sys.exit(main())
