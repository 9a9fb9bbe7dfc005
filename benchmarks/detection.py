"""How soon a planted change is found, beside NannyML and Evidently at an equal rate of false alarms.

1. **Planted.** Abrupt (a source gives its default in place of a column's value), gradual, covariate (rows chosen by a
   column), prior (rows chosen by their label) and concept (labels turned) at three sizes, over real tables, a third
   into streams of 18 windows of 500 rows. Delay counts windows from the change to the alert, that one included; a
   change that is not found counts as found when the stream ends, so that a mean says both how soon and how often.
2. **In time order.** Air quality and bike sharing as they came, whose seasons and sensors move: when there is a first
   alert, and how many windows have one.

Equal rate: the others have no budget, so their two thresholds (drift, and accuracy) are set on streams without a change
of the same table, each exceeded by one stream fewer than Roadworthy has alerts on, and by none where it has none. So
they may err on up to twice as many, and a threshold that is the highest of n values is exceeded by a new one in 1 of
n + 1: both in their favour. At its default budget Roadworthy is far more quiet, so beside them it has four alarms in 30
days, and the default's delays have a column of their own.
Accuracy is required to be what the model has on all rows, so that every fall counts, as it does for the others.

    python benchmarks/detection.py --tables folder/with/tables --peers folder/of/environments
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drift_streams import Population, Stream, as_table, dealt, flights, plain, planted, population, read_tables
from drift_watching import Watched, true_accuracy, watch
from result import Result, add_results_option
from roadworthy.measures.alarms.budget import parse_budget

BUDGET = parse_budget("1 per 30 days")
EQUAL = parse_budget("4 per 30 days")
KINDS = ("abrupt", "gradual", "covariate", "prior", "concept")
SIZES = ("small", "middle", "large")
PEERS = ("nannyml", "evidently")
OURS, SAID, STRICT = "roadworthy", "or said in words", "1 per 30 days"
WINDOWS, ROWS, CHANGED, REFERENCE = 18, 500, 6, 10_000
BETTER, MUCH = 0.3, 2.0


class Job(NamedTuple):
    """A stream and what it is for; ``kind`` empty: without a change, ``"time"``: as it came."""

    table: str
    kind: str
    size: int
    stream: Stream
    least_accuracy: float
    seed: int = 0

    @property
    def key(self) -> str:
        """A name for its files."""
        return f"{self.table.replace(' ', '_')}-{self.kind or 'still'}-{self.size}-{self.seed}"


def jobs_of(whole: Population, still: int, repetitions: int, smallest: int) -> Iterator[Job]:
    """Streams without a change, then those of every cell from a size on."""
    shape = {"reference": min(REFERENCE, len(whole.y) // 3), "windows": WINDOWS, "rows": ROWS}
    least = true_accuracy(whole)
    for seed in range(still):
        yield Job(whole.name, "", 0, dealt(whole, np.random.default_rng([1, seed]), **shape), least, seed)
    for place, kind in enumerate(KINDS):
        for size in range(smallest, 3):
            for seed in range(repetitions):
                rng = np.random.default_rng([2, place, size, seed])
                yield Job(
                    whole.name, kind, size, planted(whole, rng, kind, size, changed=CHANGED, **shape), least, seed
                )


def in_time(folder: Path, still: int) -> Iterator[Job]:
    """Bike sharing and air quality: the model learns from the first fifth, the next fifth is the reference."""
    bike, air = folder / "bike_sharing.csv", folder / "air_quality.csv"
    if bike.exists():
        frame = pl.read_csv(bike).drop("instant", "dteday", "casual", "registered", "yr")
        busy = (frame["cnt"] > frame["cnt"].median()).to_numpy().astype(np.int64)
        yield from _as_it_came("bike sharing", plain(frame.drop("cnt")), busy, 400, still)
    if air.exists():
        frame = pl.read_csv(air).drop("Date", "Time").filter(pl.col("CO_GT") > -200)
        frame = frame.select(pl.when(pl.all() == -200).then(None).otherwise(pl.all()).name.keep())
        high = (frame["CO_GT"] > frame["CO_GT"].median()).to_numpy().astype(np.int64)
        yield from _as_it_came("air quality", plain(frame.drop("CO_GT")), high, 200, still)


def _as_it_came(name: str, frame: pl.DataFrame, y: NDArray[np.int64], rows: int, still: int) -> Iterator[Job]:
    fifth = len(y) // 5
    whole = population(name, frame, y, train=fifth)
    windows = (len(whole.y) - fifth) // rows
    shape = {"reference": fifth, "windows": windows, "rows": rows}
    cuts = [np.arange(fifth + place * rows, fifth + (place + 1) * rows) for place in range(windows)]
    past = whole.take(np.arange(fifth))
    for seed in range(still):
        still_one = dealt(whole, np.random.default_rng([3, seed]), **shape)
        yield Job(name, "", 0, still_one, true_accuracy(whole), seed)
    came = Stream(past, [whole.take(cut) for cut in cuts], 0)
    yield Job(name, "time", 0, came, true_accuracy(past))


# --- asking everybody -------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """Per job: ours, and each peer's figures by window (none where its environment is not there)."""

    ours: list[Watched]
    equal: list[Watched]
    others: dict[str, list[list[dict[str, float]]]]


def ask(jobs: Sequence[Job], peers: Path | None, folder: Path) -> Asked:
    """Peers work on files in ``folder``, in processes of their own, while ours run here; what is there stays."""
    places = {job.key: folder / str(len(job.stream.windows[0].y)) for job in jobs}
    for job in jobs if peers is not None else ():
        places[job.key].mkdir(exist_ok=True, parents=True)
        for part, table in zip(("reference", "windows"), as_table(job.stream), strict=True):
            table.write_parquet(places[job.key] / f"{job.key}.{part}.parquet")
    running = [(peer, start(peer, place, peers)) for peer in PEERS for place in sorted(set(places.values()))
               if peers is not None and python_of(peer, peers).exists()]  # fmt: skip
    ours = [watch(job.stream, BUDGET, least_accuracy=job.least_accuracy) for job in jobs]
    equal = [watch(job.stream, EQUAL, least_accuracy=job.least_accuracy) for job in jobs]
    for peer, process in running:
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{peer} failed: {said[-2000:]}")
    others = {
        peer: [json.loads((places[job.key] / f"{job.key}.{peer}.json").read_text(encoding="utf-8")) for job in jobs]
        for peer in dict.fromkeys(peer for peer, _ in running)
    }
    return Asked(ours, equal, others)


def python_of(peer: str, peers: Path) -> Path:
    """The interpreter of its environment."""
    return peers / peer / "bin" / "python"


def start(peer: str, place: Path, peers: Path) -> subprocess.Popen[str]:
    """A peer at work on one folder of streams."""
    environment = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    script = Path(__file__).parent / "drift_peers.py"
    command = [str(python_of(peer, peers)), str(script), peer, str(place), place.name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def thresholds(jobs: Sequence[Job], asked: Asked, peer: str, table: str) -> tuple[float, float]:
    """A peer's thresholds for drift and accuracy on one table, at ours' rate of false alarms or a little above."""
    still = [place for place, job in enumerate(jobs) if job.table == table and not job.kind]
    alarmed = max(1, sum(bool(asked.equal[place].alerts) for place in still))
    found = []
    for figure in ("drift", "quality"):
        highest = sorted((max(one[figure] for one in asked.others[peer][place]) for place in still), reverse=True)
        found.append(highest[min(alarmed, len(highest)) - 1])
    return found[0], found[1]


def delays(jobs: Sequence[Job], asked: Asked) -> dict[str, list[int]]:
    """Windows until the alert by system and job; one more than there are where there was none."""
    found = {
        OURS: [_ours(job, one) for job, one in zip(jobs, asked.equal, strict=True)],
        SAID: [_ours(job, one, words=True) for job, one in zip(jobs, asked.equal, strict=True)],
        STRICT: [_ours(job, one) for job, one in zip(jobs, asked.ours, strict=True)],
    }
    for peer, figures in asked.others.items():
        limits = {table: thresholds(jobs, asked, peer, table) for table in dict.fromkeys(job.table for job in jobs)}
        found[peer] = [_theirs(job, one, limits[job.table]) for job, one in zip(jobs, figures, strict=True)]
    return found


def _ours(job: Job, one: Watched, *, words: bool = False) -> int:
    first = one.first_from(job.stream.changed, words=words)
    return (len(job.stream.windows) if first is None else first) - job.stream.changed + 1


def _theirs(job: Job, figures: Sequence[dict[str, float]], limits: tuple[float, float]) -> int:
    after = figures[job.stream.changed :]
    over = [place for place, one in enumerate(after) if one["drift"] > limits[0] or one["quality"] > limits[1]]
    return (over[0] if over else len(job.stream.windows) - job.stream.changed) + 1


# --- tables -----------------------------------------------------------------------------------------------------


def planted_table(result: Result, jobs: Sequence[Job], found: dict[str, list[int]]) -> None:
    """Part 1, every cell."""
    systems, most = list(found), WINDOWS - CHANGED + 1
    rows, better, worse = [], dict.fromkeys(systems, 0), dict.fromkeys(systems, 0)
    tied, cells = dict.fromkeys(systems, 0), list(dict.fromkeys((j.table, j.kind, j.size) for j in jobs if j.kind))
    for cell in cells:
        places = [place for place, job in enumerate(jobs) if (job.table, job.kind, job.size) == cell]
        means = {system: float(np.mean([found[system][place] for place in places])) for system in systems}
        seen = {system: sum(found[system][place] < most for place in places) for system in systems}
        for system in systems[3:]:
            gain = means[system] - means[systems[0]]
            better[system] += gain > BETTER
            worse[system] += gain < -MUCH
            tied[system] += abs(gain) <= BETTER
        shown = [f"{means[system]:.1f} ({seen[system]} of {len(places)})" for system in systems]
        rows.append((cell[0], cell[1], SIZES[cell[2]], *shown))
    result.say("", "## Planted changes", "", "Mean delay in windows, and in how many streams it was found at all. "
               f"`{OURS}`: alerts at the equal rate; `{SAID}`: the same or a proven change below its floor, that calls "
               f"nobody; `{STRICT}`: alerts at the default budget.")  # fmt: skip
    result.table(("table", "change", "size", *systems), rows)
    for system in systems[3:]:
        less = len(cells) - better[system] - tied[system]
        found_here = f"better in {better[system]}, equal in {tied[system]}, later in {less} of {len(cells)}"
        result.target(f"delay beside {system}", "better in more cells than not, of those that differ", found_here,
                      met=better[system] > less)  # fmt: skip
        result.target(f"cells later than {system} by more than {MUCH:g} windows", "0", str(worse[system]),
                      met=not worse[system])  # fmt: skip


def still_table(result: Result, jobs: Sequence[Job], asked: Asked) -> None:
    """What the rates were, and what the others' own thresholds would have given."""
    rows = []
    for table in dict.fromkeys(job.table for job in jobs):
        still = [place for place, job in enumerate(jobs) if job.table == table and not job.kind]
        shown = [f"{sum(bool(some[place].alerts) for place in still)} of {len(still)}"
                 for some in (asked.ours, asked.equal)]  # fmt: skip
        for peer, figures in asked.others.items():
            loud = sum(any(one["drift"] > 1 or one["quality"] > 1 for one in figures[place]) for place in still)
            limits = thresholds(jobs, asked, peer, table)
            shown.append(f"{loud} of {len(still)} by default; × {limits[0]:.2f} drift, × {limits[1]:.2f} accuracy")
        rows.append((table, *shown))
    result.say("", "## Streams without a change", "", "Streams with any alert, and what the others' default thresholds "
               "were multiplied by to be as quiet.")  # fmt: skip
    result.table(("table", STRICT, OURS, *asked.others), rows)


def time_table(result: Result, jobs: Sequence[Job], asked: Asked, found: dict[str, list[int]]) -> None:
    """Part 2."""
    rows = []
    for place, job in enumerate(jobs):
        if job.kind == "time":
            rules = ", ".join(dict.fromkeys(alert.rule for alert in asked.ours[place].alerts[:6]))
            first = [str(found[system][place]) for system in found]
            rows.append((job.table, len(job.stream.windows), *first, rules))
    result.say("", "## In time order", "", "The window of the first alert (1: the first after the reference).")
    result.table(("table", "windows", *found, "first alerts of roadworthy"), rows)


def main() -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="streams in each cell")
    parser.add_argument("--still", type=int, default=20, help="streams without a change, by table")
    parser.add_argument("--timed", type=int, default=20, help="the same for tables in time order; 0: leave these out")
    parser.add_argument("--folder", type=Path, default=None, help="where the others' answers are kept, to go on from")
    parser.add_argument("--smallest", type=int, default=0, help="0: all three sizes, 2: only the large one")
    parser.add_argument("--only", nargs="*", default=None, help="names of tables")
    parser.add_argument("--rows", type=int, default=336_776, help="rows of the bundled flights")
    parser.add_argument("--tables", type=Path, default=None, help="folder with adult, bank_marketing, …")
    parser.add_argument("--peers", type=Path, default=None, help="folder of the others' environments")
    add_results_option(parser)
    options = parser.parse_args()
    populations = [flights(options.rows), *(read_tables(options.tables) if options.tables is not None else ())]
    chosen = [one for one in populations if options.only is None or one.name in options.only]
    jobs = [job for whole in chosen for job in jobs_of(whole, options.still, options.repetitions, options.smallest)]
    in_order = options.tables is not None and options.timed > 0
    timed = list(in_time(options.tables, options.timed)) if in_order else []
    with tempfile.TemporaryDirectory() as name:
        asked = ask([*jobs, *timed], options.peers, options.folder or Path(name))
    found = delays([*jobs, *timed], asked)
    result = Result("detection", "How soon a change is found", full=not options.smallest and options.still >= 8)
    result.say(f"{len(jobs)} streams of {WINDOWS} windows of {ROWS} rows, the change after {CHANGED}; "
               f"{options.repetitions} in each cell, {options.still} without a change for each table.")  # fmt: skip
    if options.peers is None:
        result.say("", "The others were not run: no folder of their environments was given (`--peers`).")
    planted_table(result, jobs, found)
    still_table(result, [*jobs, *timed], asked)
    if timed:
        time_table(result, [*jobs, *timed], asked, found)
    return result.finish(options.results)


if __name__ == "__main__":
    sys.exit(main())
