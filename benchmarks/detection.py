"""How soon a planted change is found, beside NannyML and Evidently at an equal rate of false alarms.

1. **Planted.** Abrupt (a source gives its default in place of a column's value), gradual, covariate (rows chosen by a
   column), prior (rows chosen by their label) and concept (labels turned) at three sizes, over real tables, a third
   into streams of 18 windows of 500 rows. Delay counts windows from the change to the alert, that one included; a
   change that is not found counts as found when the stream ends, so that a mean says both how soon and how often.
2. **In time order.** Air quality and bike sharing as they came, whose seasons and sensors move: when there is a first
   alert.

Equal rate: Roadworthy has its default budget, one in 30 days. The others have no budget, but thresholds. One dial is
turned for each of them and each table, on streams of that table without a change: the share of these streams that a
threshold is exceeded on, the same for drift and for accuracy. It is turned to where as many of them have any alert as
have one of Roadworthy's, and at least one; where that is between two places of the dial, delays are between theirs.
This is in their favour: a user has neither such streams nor two factors, and where Roadworthy has no alert they may
have one. What a single factor on both default thresholds gives is said beside it; and the same with a budget four times
as high.
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
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from drift_streams import Population, Stream, as_table, dealt, flights, plain, planted, population, read_tables
from drift_watching import Watched, kept_in, true_accuracy, watch
from result import Result, add_results_option
from roadworthy.measures.alarms.budget import parse_budget
from roadworthy.measures.alarms.scales import Block
from roadworthy.records.shift import Shift

BUDGET = parse_budget("1 per 30 days")
LOUD = parse_budget("4 per 30 days")
KINDS = ("abrupt", "gradual", "covariate", "prior", "concept")
SIZES = ("small", "middle", "large")
PEERS = ("nannyml", "evidently")
OURS, SAID = "roadworthy", "or said in words"
WINDOWS, ROWS, CHANGED, REFERENCE = 18, 500, 6, 10_000
BETTER, MUCH, DRAWN = 0.3, 2.0, 1_000
WHY = """\
By how many windows, and what Roadworthy knew when the other spoke, for each stream of the cell in which it did so
sooner: the greatest proven effect, which was said in words since it is below the floor (columns 0.06, score 0.04), or
that nothing was proven. Evidently is the sooner one where one number moves a little or slowly. As it is turned here its
limit lies at 0.14 to 0.17 standard deviations in a single window of 500 rows, three to four standard errors, and was
found on the streams themselves. Roadworthy calls from 0.15 on too, and only when that is proven against the reference
among all columns and looks; what is smaller it says in words. A floor lower than that would call on the census, whose
columns differ by up to 0.057 while quality stays."""
Figures = list[dict[str, float]]
Delays = dict[str, list[float]]


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
    """Per job: ours with each budget, and each peer's figures by window (none where its environment is not there)."""

    ours: list[Watched]
    loud: list[Watched]
    others: dict[str, list[Figures]]


def ask(jobs: Sequence[Job], peers: Path | None, folder: Path) -> Asked:
    """Peers work on files in ``folder``, in processes of their own, while ours run here; what is there stays."""
    places = {job.key: folder / str(len(job.stream.windows[0].y)) for job in jobs}
    there = [peer for peer in PEERS if peers is not None and python_of(peer, peers).exists()]
    open_ = {(peer, places[job.key]): None for job in jobs for peer in there
             if not (places[job.key] / f"{job.key}.{peer}.json").exists()}  # fmt: skip
    for job in jobs if open_ else ():
        places[job.key].mkdir(exist_ok=True, parents=True)
        for part, table in zip(("reference", "windows"), as_table(job.stream), strict=True):
            table.write_parquet(places[job.key] / f"{job.key}.{part}.parquet")
    running = [(peer, start(peer, place, peers)) for peer, place in open_ if peers is not None]
    both = [kept_in(places[job.key] / f"{job.key}.ours.json" if peers is not None else None, partial(_watched, job))
            for job in jobs]  # fmt: skip
    ours, loud = zip(*both, strict=True)
    for peer, process in running:
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{peer} failed: {said[-2000:]}")
    others = {
        peer: [json.loads((places[job.key] / f"{job.key}.{peer}.json").read_text(encoding="utf-8")) for job in jobs]
        for peer in there
    }
    return Asked(list(ours), list(loud), others)


def _watched(job: Job) -> list[Watched]:
    known: dict[Block, tuple[Shift, ...]] = {}
    return [watch(job.stream, budget, least_accuracy=job.least_accuracy, known=known) for budget in (BUDGET, LOUD)]


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


class Limits(NamedTuple):
    """What a peer's default thresholds are multiplied by on a table, and on how many still streams it then alarms."""

    drift: float
    quality: float
    over: int


class Dial(NamedTuple):
    """Two neighbouring places of a peer's dial, and how far ours' rate is from the first one towards the other."""

    below: Limits
    above: Limits
    share: float


def dial(jobs: Sequence[Job], figures: Sequence[Figures], ours: Sequence[Watched], table: str, *, factors: int) -> Dial:
    """At ours' rate on the streams of a table without a change; one in all where ours has none.

    ``factors`` 2: each threshold is exceeded on as many of these streams as the other. 1: both have one factor.
    """
    still = [place for place, job in enumerate(jobs) if job.table == table and not job.kind]
    allowed = max(1, sum(bool(ours[place].alerts) for place in still))
    highest = np.array([[max(one[name] for one in figures[place]) for name in ("drift", "quality")] for place in still])
    if factors == 1:
        highest[:] = highest.max(axis=1, keepdims=True)
    ranked = -np.sort(-highest, axis=0)
    before = Limits(float(ranked[0, 0]), float(ranked[0, 1]), 0)
    for drift, quality in ranked.tolist():
        now = Limits(drift, quality, int(((highest[:, 0] > drift) | (highest[:, 1] > quality)).sum()))
        if now.over >= allowed:
            return Dial(before, now, (allowed - before.over) / max(now.over - before.over, 1))
        before = now
    return Dial(before, before, 0.0)


def delays(
    jobs: Sequence[Job], ours: Sequence[Watched], others: dict[str, list[Figures]], *, factors: int = 2
) -> Delays:
    """Windows until the alert by system and job; one more than there are where there was none."""
    found: Delays = {
        OURS: [_ours(job, one) for job, one in zip(jobs, ours, strict=True)],
        SAID: [_ours(job, one, words=True) for job, one in zip(jobs, ours, strict=True)],
    }
    for peer, figures in others.items():
        tables = dict.fromkeys(job.table for job in jobs)
        at = {table: dial(jobs, figures, ours, table, factors=factors) for table in tables}
        found[peer] = [_theirs(job, one, at[job.table]) for job, one in zip(jobs, figures, strict=True)]
    return found


def _ours(job: Job, one: Watched, *, words: bool = False) -> int:
    first = one.first_from(job.stream.changed, words=words)
    return (len(job.stream.windows) if first is None else first) - job.stream.changed + 1


def _theirs(job: Job, figures: Figures, at: Dial) -> float:
    return (1 - at.share) * _first(job, figures, at.below) + at.share * _first(job, figures, at.above)


def _first(job: Job, figures: Figures, at: Limits) -> int:
    after = figures[job.stream.changed :]
    over = [place for place, one in enumerate(after) if one["drift"] > at.drift or one["quality"] > at.quality]
    return (over[0] if over else len(job.stream.windows) - job.stream.changed) + 1


# --- counting ---------------------------------------------------------------------------------------------------


class Counted(NamedTuple):
    """Cells in which ours is sooner, as soon, later, and later by much; and the same of streams."""

    sooner: int
    equal: int
    later: int
    much: int

    @property
    def words(self) -> str:
        """As a table shows it."""
        whole = self.sooner + self.equal + self.later
        return f"better in {self.sooner}, equal in {self.equal}, later in {self.later} of {whole}"


def cells_of(jobs: Sequence[Job]) -> dict[tuple[str, str, int], list[int]]:
    """The places of each cell's jobs."""
    found: dict[tuple[str, str, int], list[int]] = {}
    for place, job in enumerate(jobs):
        if job.kind in KINDS:
            found.setdefault((job.table, job.kind, job.size), []).append(place)
    return found


def counted(gains: NDArray[np.float64]) -> Counted:
    """Of gains in windows by cell."""
    sooner, later = int((gains > BETTER).sum()), int((gains < -BETTER).sum())
    return Counted(sooner, len(gains) - sooner - later, later, int((gains < -MUCH).sum()))


def compared_with(jobs: Sequence[Job], found: Delays, peer: str) -> tuple[Counted, str, str]:
    """The cells; 95 % of what other streams might have given (a bootstrap within cells); streams, by the sign test."""
    gains = np.array(found[peer], np.float64) - np.array(found[OURS])
    places = list(cells_of(jobs).values())
    cells = counted(np.array([gains[one].mean() for one in places]))
    rng = np.random.default_rng(8)
    again = [counted(np.array([gains[rng.choice(one, len(one))].mean() for one in places])) for _ in range(DRAWN)]
    spans = [np.quantile([one[side] for one in again], [0.025, 0.975]).astype(int) for side in (0, 2)]
    span = f"better in {spans[0][0]} to {spans[0][1]}, later in {spans[1][0]} to {spans[1][1]}"
    streams = gains[np.concatenate(places)]
    sooner, differ = int((streams > 0).sum()), int((streams != 0).sum())
    if not differ:
        return cells, span, f"none of {len(streams)} differs"
    sign = stats.binomtest(sooner, differ)
    low, high = sign.proportion_ci(0.95)
    text = f"sooner in {sooner} of {differ} that differ ({100 * low:.0f} to {100 * high:.0f} %, p = {sign.pvalue:.2g})"
    return cells, span, text


# --- tables -----------------------------------------------------------------------------------------------------


def planted_table(result: Result, jobs: Sequence[Job], found: Delays) -> None:
    """Part 1, every cell."""
    systems, most, rows = list(found), WINDOWS - CHANGED + 1, []
    for (table, kind, size), places in cells_of(jobs).items():
        shown = []
        for system in systems:
            own = [found[system][place] for place in places]
            shown.append(f"{np.mean(own):.1f} ({sum(delay < most for delay in own)} of {len(own)})")
        rows.append((table, kind, SIZES[size], *shown))
    result.say("", "## Planted changes", "", "Mean delay in windows, and in how many streams it was found at all. "
               f"`{OURS}`: alerts; `{SAID}`: or a proven change below its floor, that calls nobody.")  # fmt: skip
    result.table(("table", "change", "size", *systems), rows)
    for peer in systems[2:]:
        cells, _, _ = compared_with(jobs, found, peer)
        result.target(f"delay beside {peer}", "better in more cells than not, of those that differ", cells.words,
                      met=cells.sooner > cells.later)  # fmt: skip
        result.target(f"cells later than {peer} by more than {MUCH:g} windows", "0", str(cells.much),
                      met=not cells.much)  # fmt: skip


def summary(result: Result, jobs: Sequence[Job], asked: Asked) -> None:
    """The counts, how sure they are, and what other ways to make the rates equal would have given."""
    ways = (
        ("one in 30 days", asked.ours, 2),
        ("one in 30 days; the others with one factor on both defaults", asked.ours, 1),
        ("four in 30 days", asked.loud, 2),
    )
    rows = []
    for words, ours, factors in ways:
        found = delays(jobs, ours, asked.others, factors=factors)
        for peer in asked.others:
            cells, span, streams = compared_with(jobs, found, peer)
            rows.append((words, peer, cells.words, cells.much, span, streams))
    if rows:
        result.say("", "## How sure", "", "Cells, what 95 % of draws of other streams give (bootstrap within cells), "
                   "and streams one by one (sign test).")  # fmt: skip
        head = ("budget", "beside", "cells", f"later by more than {MUCH:g}", "95 % of draws", "streams")
        result.table(head, rows)


def why_later(result: Result, jobs: Sequence[Job], asked: Asked, found: Delays) -> None:
    """The cells in which another was sooner, and what was known when it spoke."""
    rows = []
    for peer in asked.others:
        for (table, kind, size), places in cells_of(jobs).items():
            gain = np.mean([found[peer][place] - found[OURS][place] for place in places])
            if gain >= -BETTER:
                continue
            known = [_known(jobs[place], asked.ours[place], found[peer][place])
                     for place in places if found[peer][place] < found[OURS][place]]  # fmt: skip
            rows.append((table, kind, SIZES[size], peer, f"{-gain:.1f}", "; ".join(known)))
    if rows:
        result.say("", "## Where another was sooner", "", WHY)
        result.table(("table", "change", "size", "sooner", "windows", "what was known"), rows)


def _known(job: Job, ours: Watched, delay: float) -> str:
    last = job.stream.changed + int(delay) - 1
    said = [one for one in ours.said if job.stream.changed <= one.window <= last]
    if not said:
        return "nothing proven"
    most = max(said, key=lambda one: one.effect)
    return f"{most.subject} {most.effect:.3f}"


def still_table(result: Result, jobs: Sequence[Job], asked: Asked) -> None:
    """What the rates were, and what the others' own thresholds would have given."""
    rows = []
    for table in dict.fromkeys(job.table for job in jobs):
        still = [place for place, job in enumerate(jobs) if job.table == table and not job.kind]
        shown = [f"{sum(bool(some[place].alerts) for place in still)} of {len(still)}"
                 for some in (asked.ours, asked.loud)]  # fmt: skip
        for figures in asked.others.values():
            loud = sum(any(one["drift"] > 1 or one["quality"] > 1 for one in figures[place]) for place in still)
            places = dial(jobs, figures, asked.ours, table, factors=2)
            at = " and ".join(f"{one.over} at × {one.drift:.2f} drift, × {one.quality:.2f} accuracy"
                              for one in dict.fromkeys((places.below, places.above)))  # fmt: skip
            shown.append(f"{loud} by default; {at}")
        rows.append((table, *shown))
    result.say("", "## Streams without a change", "", "Streams with any alert, and what the others' default thresholds "
               "were multiplied by to be as quiet.")  # fmt: skip
    result.table(("table", OURS, "four in 30 days", *asked.others), rows)


def time_table(result: Result, jobs: Sequence[Job], asked: Asked, found: Delays) -> None:
    """Part 2."""
    rows = []
    for place, job in enumerate(jobs):
        if job.kind == "time":
            rules = ", ".join(dict.fromkeys(alert.rule for alert in asked.ours[place].alerts[:6]))
            first = [f"{found[system][place]:g}" for system in found]
            rows.append((job.table, len(job.stream.windows), *first, rules))
    result.say("", "## In time order", "", "The window of the first alert (1: the first after the reference).")
    result.table(("table", "windows", *found, "first alerts of roadworthy"), rows)


def main() -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="streams in each cell")
    parser.add_argument("--still", type=int, default=40, help="streams without a change, by table")
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
    every = [*jobs, *timed]
    found = delays(every, asked.ours, asked.others)
    result = Result("detection", "How soon a change is found", full=not options.smallest and options.still >= 8)
    result.say(f"{len(jobs)} streams of {WINDOWS} windows of {ROWS} rows, the change after {CHANGED}; "
               f"{options.repetitions} in each cell, {options.still} without a change for each table.")  # fmt: skip
    if options.peers is None:
        result.say("", "The others were not run: no folder of their environments was given (`--peers`).")
    planted_table(result, every, found)
    summary(result, every, asked)
    why_later(result, every, asked, found)
    still_table(result, every, asked)
    if timed:
        time_table(result, every, asked, found)
    return result.finish(options.results)


if __name__ == "__main__":
    sys.exit(main())
