"""How often a person is called although nothing changed, with everything watched within a budget of one in 30 days.

1. **No change.** Streams of 30 days from real tables of 30 to 46 columns, dealt so that reference and windows are
   exchangeable (``drift_streams.py``); windows of 100 to 5,000 rows. Watched is everything: score, columns, pairs of
   columns, missing and new values, live accuracy and the same estimated without labels (required: exactly what the
   table's model has, where being right is hardest), the stream of errors, and a server whose failures and latency are
   exactly as bad as they may be (two requirements and a burn rate); estimates on every third stream, since to learn
   them takes longer than all the rest, and where they are not watched the others have their share. Every alert counts.
   Where 200 streams have a budget of one each, a Poisson of mean 200 has its 97.5 % point at 228.
2. **Power.** The same settings with a change planted half-way: how often there is an alert within the stream. A monitor
   that never speaks raises no false alarm either.
3. **Census.** 2015 against 2016 to 2018, whose columns "drift" by p-value while quality does not.
4. **Others.** NannyML and Evidently on some of the same streams with their defaults: ``--peers`` names a folder of
   environments, ``nannyml/bin/python`` and ``evidently/bin/python``.

    python benchmarks/false_alarms.py --tables folder/with/tables --peers folder/of/environments
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from drift_streams import Population, Stream, as_table, beside, dealt, flights, planted, read_census, read_tables
from drift_watching import Watched, kept_in, true_accuracy, watch
from result import Result, add_results_option
from roadworthy.measures.alarms.budget import parse_budget

BUDGET = parse_budget("1 per 30 days")
KINDS = ("abrupt", "gradual", "covariate", "prior", "concept")
SIZES = ("small", "middle", "large")
PEERS = ("nannyml", "evidently", "evidently_1000")
QUALITY = {"accuracy_low", "estimated:accuracy_low", "errors_rise"}
ESTIMATED_EVERY = 3
FOLDER: list[Path] = []
WHOLE: dict[str, Population] = {}


class Setting(NamedTuple):
    """A table, and how it is dealt."""

    table: str
    rows: int
    windows: int
    reference: int


class Job(NamedTuple):
    """One stream; ``kind`` empty: nothing is planted."""

    setting: Setting
    seed: int
    kind: str = ""
    size: int = 1


def settings_of(tables: dict[str, Population], small: bool) -> list[Setting]:  # noqa: FBT001 - internal
    """Windows of 100 to 5,000 rows where a table has enough of them."""
    found = []
    for name, whole in tables.items():
        for rows, windows in ((100, 48), (500, 32), (1_000, 20), (1_000, 30), (2_000, 24), (5_000, 16)):
            reference = min(30_000, len(whole.y) // 3)
            needed = rows * windows
            if reference + needed <= len(whole.y) and needed >= len(whole.y) // 10:
                found.append(Setting(name, rows, windows, reference))
            elif rows == 100:
                found.append(Setting(name, rows, windows, 12_000))
    return [one._replace(windows=8, reference=2_000) for one in found[:1]] if small else found


def tables_from(folder: Path | None, *, small: bool = False) -> dict[str, Population]:
    """Tables put side by side until they are 30 to 46 columns wide; without a folder the bundled flights, twice."""
    late = flights(20_000 if small else 336_776)
    other = late.take(np.random.default_rng(5).permutation(len(late.y)))
    found = {one.name: one for one in read_tables(folder)} if folder is not None else {}
    joined = [beside(late, other)] if len(found) < 3 else []
    if not joined:
        adult, bank, census = found["adult"], found["bank"], found["census"]
        joined = [beside(adult, bank), beside(bank, census, adult), beside(late, census), beside(census, late)]
    return {one.name: one for one in joined}


def made(job: Job) -> Stream:
    """The job's stream."""
    rng = np.random.default_rng([job.seed, KINDS.index(job.kind) if job.kind else 9, job.size])
    whole, (_, rows, windows, reference) = WHOLE[job.setting.table], job.setting
    if not job.kind:
        return dealt(whole, rng, reference=reference, windows=windows, rows=rows)
    return planted(
        whole, rng, job.kind, job.size, reference=reference, windows=windows, rows=rows, changed=windows // 2
    )


def tried(job: Job) -> Watched:
    """Watch one stream; what ``FOLDER`` keeps of it stays."""
    name = f"{job.setting.table.replace(' ', '')}-{job.setting.rows}-{job.kind or 'still'}-{job.size}-{job.seed}.json"
    return kept_in(FOLDER[0] / name if FOLDER else None, lambda: [_tried(job)])[0]


def _tried(job: Job) -> Watched:
    whole = WHOLE[job.setting.table]
    margin = 0.02 if job.kind else 0.0
    least = true_accuracy(whole) - margin
    estimates = not job.kind and job.seed % ESTIMATED_EVERY == 0
    return watch(made(job), BUDGET, least_accuracy=least, estimates=estimates, service=not job.kind, seed=job.seed)


def prepare(folder: Path | None, small: bool, keep: Path | None) -> None:  # noqa: FBT001 - an initialiser's arguments
    """Tables and their models, and where streams are kept, in each process."""
    FOLDER[:] = [] if keep is None else [keep]
    WHOLE.update(tables_from(folder, small=small))


def run_all(jobs: Sequence[Job], pool: ProcessPoolExecutor | None) -> list[Watched]:
    """In the order of the jobs."""
    return [tried(job) for job in jobs] if pool is None else list(pool.map(tried, jobs))


def still_jobs(settings: Sequence[Setting], streams: int) -> list[Job]:
    """Of part 1."""
    return [Job(settings[seed % len(settings)], seed) for seed in range(streams)]


def changed_jobs(settings: Sequence[Setting], repetitions: int, smallest: int) -> list[Job]:
    """Of part 2."""
    return [
        Job(settings[(7 * seed) % len(settings)], 10_000 + seed, kind, size)
        for kind in KINDS for size in range(smallest, 3) for seed in range(repetitions)
    ]  # fmt: skip


# --- the parts --------------------------------------------------------------------------------------------------


def no_change(result: Result, settings: Sequence[Setting], streams: int, pool: ProcessPoolExecutor | None) -> None:
    """Part 1."""
    jobs = still_jobs(settings, streams)
    found = run_all(jobs, pool)
    result.say("", "## Nothing changed", "", f"{streams} streams of 30 days, budget one alarm in 30 days each; "
               f"{sum(one.looks for one in found):,} looks. A server is "
               f"watched on all of them, estimated accuracy on {len(range(0, streams, ESTIMATED_EVERY))}.")  # fmt: skip
    by: dict[Setting, list[Watched]] = {}
    for job, one in zip(jobs, found, strict=True):
        by.setdefault(job.setting, []).append(one)
    result.table(
        ("columns from", "rows in a window", "windows", "reference", "streams", "alerts", "alerts by rule"),
        [
            (
                setting.table, f"{setting.rows:,}", setting.windows, f"{setting.reference:,}", len(some),
                sum(len(one.alerts) for one in some), _rules(some),
            )
            for setting, some in by.items()
        ],
    )  # fmt: skip
    result.say("", "By the length of windows:", "")
    result.table(("rows in a window", "streams", "alerts", "alerts by rule"), _by_rows(by))
    total = sum(len(one.alerts) for one in found)
    most = int(stats.poisson.ppf(0.975, streams))
    result.say("", f"All together {total} alerts: {_rules(found)}. Budget {streams}, 97.5 % point {most}.")
    result.target("false alarms on streams without a change", f"at most {most}", str(total), met=total <= most)


def _rules(some: Sequence[Watched]) -> str:
    counts = Counter(alert.rule.split(":")[0] if alert.rule[:3] in {"new", "mis"} else alert.rule
                     for one in some for alert in one.alerts)  # fmt: skip
    return ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items())) or "none"


def _by_rows(by: dict[Setting, list[Watched]]) -> list[tuple[str, int, int, str]]:
    """The same by the length of windows alone."""
    lengths = sorted({setting.rows for setting in by})
    some = {rows: [one for setting, found in by.items() if setting.rows == rows for one in found] for rows in lengths}
    return [(f"{rows:,}", len(one), sum(len(seen.alerts) for seen in one), _rules(one)) for rows, one in some.items()]


def power(
    result: Result, settings: Sequence[Setting], repetitions: int, pool: ProcessPoolExecutor | None, smallest: int
) -> None:
    """Part 2."""
    result.say("", "## The same with a change half-way", "",
               "Share of streams with an alert between the change and the end (15 days).")  # fmt: skip
    jobs = changed_jobs(settings, repetitions, smallest)
    found = run_all(jobs, pool)
    share: dict[tuple[str, int], list[bool]] = {}
    for job, one in zip(jobs, found, strict=True):
        share.setdefault((job.kind, job.size), []).append(one.first_from(job.setting.windows // 2) is not None)
    result.table(
        ("change", *SIZES[smallest:]),
        [(kind, *(f"{sum(share[kind, size])} of {repetitions}" for size in range(smallest, 3))) for kind in KINDS],
    )


def others(result: Result, settings: Sequence[Setting], streams: int, peers: Path | None) -> None:
    """Part 4."""
    result.say("", "## Others, with their defaults, on streams without a change", "")
    if peers is None:
        result.say("Not run: no folder of their environments was given (`--peers`).")
        return
    setting = min(settings, key=lambda one: one.rows * one.windows)
    small = setting._replace(windows=min(setting.windows, 24))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = FOLDER[0] / "others" if FOLDER else Path(name)
        folder.mkdir(exist_ok=True)
        for seed in range(streams):
            save(made(Job(small, seed)), folder, seed)
        for peer in PEERS:
            found = asked(peer, folder, small.rows, peers)
            windows = [window for stream in found for window in stream]
            if not windows:
                rows.append((peer, "its environment is not there", "", ""))
                continue
            rows.append((
                peer, f"{100 * np.mean([one['drift'] > 1 for one in windows]):.0f} % of {len(windows)}",
                f"{100 * np.mean([one['share'] for one in windows]):.1f} %",
                f"{100 * np.mean([one['quality'] > 1 for one in windows]):.1f} %",
            ))  # fmt: skip
    least = true_accuracy(WHOLE[small.table])
    ours = kept_in(
        FOLDER[0] / "others-ours.json" if FOLDER else None,
        lambda: [watch(made(Job(small, seed)), BUDGET, least_accuracy=least) for seed in range(streams)],
    )
    began = sum(len(one.alerts) for one in ours)
    rows.append(("roadworthy", f"{began} alerts in {streams * small.windows} windows", "", ""))
    result.say(f"{streams} streams, {small.table}, {small.windows} windows of {small.rows} rows, reference of "
               f"{small.reference:,} rows (`evidently_1000`: 1,000 of them).")  # fmt: skip
    result.table(("", "windows with an alert on some column", "columns with an alert", "on accuracy"), rows)


def save(stream: Stream, folder: Path, number: int) -> None:
    """As the other systems read it."""
    for part, table in zip(("reference", "windows"), as_table(stream), strict=True):
        table.write_parquet(folder / f"{number}.{part}.parquet")


def asked(peer: str, folder: Path, rows: int, peers: Path) -> list[list[dict[str, float]]]:
    """A peer's answer on every saved stream, in order; nothing where it does not start."""
    python = peers / peer.removesuffix("_1000") / "bin" / "python"
    if not python.exists():
        return []
    environment = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    script = Path(__file__).parent / "drift_peers.py"
    done = subprocess.run(
        [str(python), str(script), peer, str(folder), str(rows)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{peer} failed: {done.stderr[-2000:]}")
    numbers = sorted(int(path.name.split(".")[0]) for path in folder.glob("*.reference.parquet"))
    return [json.loads((folder / f"{number}.{peer}.json").read_text(encoding="utf-8")) for number in numbers]


def _once(stream: Stream, least: float, days: float) -> list[Watched]:
    return [watch(stream, BUDGET, least_accuracy=least, days=days, estimates=True)]


def census(result: Result, tables: Path | None) -> None:
    """Part 3."""
    folder = None if tables is None else tables / "acs_employment"
    result.say("", "## Census: columns drift, quality does not", "")
    if folder is None or not folder.is_dir():
        result.say("Not run: no folder with the census was given (`--tables`).")
        return
    whole, later = read_census(folder)
    year = pl.read_parquet(folder / "employment_MA_analysis.pq")["year"].to_numpy()
    past = whole.take(np.arange(len(whole.y) - len(later.y)))
    rng = np.random.default_rng(3)
    years = [2016, 2017, 2018]
    shuffled = np.concatenate([rng.permutation(np.flatnonzero(year == one)) for one in years])
    rows, clean = [], True
    for words, order in (("within each year in random order", shuffled), ("in the file's order", np.arange(len(year)))):
        for size in (500, 1_000, 2_000, 5_000):
            cuts = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
            stream = Stream(past, [later.take(cut) for cut in cuts], len(cuts))
            least, days = true_accuracy(past) - 0.02, len(cuts) / 24
            seen = kept_in(
                FOLDER[0] / f"census-{words.replace(' ', '')}-{size}.json" if FOLDER else None,
                partial(_once, stream, least, days),
            )[0]
            quality = sum(alert.rule in QUALITY for alert in seen.alerts)
            data = sum(alert.rule not in QUALITY for alert in seen.alerts)
            clean = clean and (order is not shuffled or not quality + data)
            rows.append((words, f"{size:,}", len(cuts), quality, data, len(seen.said), _rules([seen])))
    result.table(
        ("rows", "in a window", "windows", "quality alerts", "data alerts", "reported as small", "alerts by rule"), rows
    )
    result.say("", "In the file's order 15,000 rows stand together that are unlike the others: of them the model is "
               "right in 77 to 81 %, and their scores are half as high. Other stretches have scores that differ by "
               "more than the floor. What comes does change there, and alerts are right.")  # fmt: skip
    found = "none" if clean else "some"
    result.target("census, random order within years: alerts on quality and on data", "none", found, met=clean)


def main() -> int:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=20, help="streams of each planted change")
    parser.add_argument("--smallest", type=int, default=0, help="0: changes of all three sizes, 2: only the large one")
    parser.add_argument("--peer-streams", type=int, default=10)
    parser.add_argument("--tables", type=Path, default=None, help="folder with adult, bank_marketing, acs_employment")
    parser.add_argument("--peers", type=Path, default=None, help="folder of the others' environments")
    parser.add_argument("--folder", type=Path, default=None, help="where what was watched is kept, to go on from")
    parser.add_argument("--part", default="", help="K/N: watch every N-th stream from the K-th on, and nothing else")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    add_results_option(parser)
    options = parser.parse_args()
    small = options.streams < 20
    prepare(options.tables, small, options.folder)
    settings = settings_of(WHOLE, small)
    if options.part:
        first, every = map(int, options.part.split("/"))
        jobs = [*still_jobs(settings, options.streams), *changed_jobs(settings, options.repetitions, options.smallest)]
        run_all(jobs[first::every], None)
        return 0
    result = Result("false_alarms", "False alarms within one budget", full=options.streams >= 200)
    with ExitStack() as stack:
        pool = None
        if options.workers > 1:
            fresh = get_context("spawn")  # Polars' threads do not live through a fork
            pool = ProcessPoolExecutor(
                options.workers, mp_context=fresh, initializer=prepare, initargs=(options.tables, small, options.folder)
            )
            stack.enter_context(pool)
        no_change(result, settings, options.streams, pool)
        result.finish(options.results)  # each part is kept when it is done
        if options.repetitions:
            power(result, settings, options.repetitions, pool, options.smallest)
    result.finish(options.results)
    census(result, options.tables)
    result.finish(options.results)
    others(result, settings, options.peer_streams, options.peers)
    return result.finish(options.results)


if __name__ == "__main__":
    sys.exit(main())
