"""A stream watched as Roadworthy watches live traffic: every family at every look back, within one alarm budget.

In: a stream of windows of equal length. Out: the alerts, each once while it is open, with the window it began in.
With ``estimates`` accuracy is also estimated without labels, by what the reference taught; with ``service`` a server
answers, whose requests fail and take as long as chance has it, at exactly the rates that are allowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from scipy import stats

from drift_streams import Population, Stream
from roadworthy.measures.alarms.adwin import Adwin, errors_signal, updated
from roadworthy.measures.alarms.budget import Allotment, Budget, Family, allot
from roadworthy.measures.alarms.burn import Bucket, burn_signal
from roadworthy.measures.alarms.deciding import Compared, Outcome, Ruling, data_signals, members_of, rulings
from roadworthy.measures.alarms.scales import Block, Kept, advanced, blocks_ending_at
from roadworthy.measures.alarms.thresholds import in_budget, threshold_signal
from roadworthy.measures.drift import compared, with_dispersion
from roadworthy.measures.estimation import estimated, fit_estimator
from roadworthy.measures.operations import traffic as counted_traffic
from roadworthy.measures.operations.measuring import Live, availability_buckets, measured, merged_buckets
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.measures.sketches import Reference, sketch, sketch_like, sketch_scores
from roadworthy.records.alert import Word
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.reading import Reading
from roadworthy.records.shift import Shift
from roadworthy.standard.requirement import Requirement

MONTH_S = 30 * 86_400.0
FAILED, SLOW_MS = 0.005, 250.0
BLOCKS, REQUESTS = 48, 100
Words = dict[str, tuple[Word, int]]


class Alert(NamedTuple):
    """A rule that began to alarm in a window, proven by a look over 2**scale windows."""

    window: int
    rule: str
    scale: int


class Said(NamedTuple):
    """A change that was proven in a window, and too small to call anybody."""

    window: int
    subject: str
    effect: float


class Watched(NamedTuple):
    """What watching one stream gave: alerts, and what was only said."""

    alerts: list[Alert]
    looks: int
    said: tuple[Said, ...] = ()

    def first_from(self, window: int, *, words: bool = False) -> int | None:
        """The first window from there on in which an alert began; or with ``words`` a change was said."""
        found = [alert.window for alert in self.alerts] + [one.window for one in self.said if words]
        return min((place for place in found if place >= window), default=None)


def kept_in(path: Path | None, make: Callable[[], list[Watched]]) -> list[Watched]:
    """What was worked out before and written down there; otherwise it is worked out, and written down."""
    if path is not None and path.exists():
        return msgspec.json.decode(path.read_bytes(), type=list[Watched])
    found = make()
    if path is not None:
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(msgspec.json.encode(found))
        part.rename(path)
    return found


def reference_of(past: Population) -> Reference:
    """As a bundle carries it."""
    own = sketch(past.frame, past.frame.columns, together=past.frame.columns)
    own = msgspec.structs.replace(own, scores=sketch_scores(past.score))
    return with_dispersion(own, past.frame, scores=past.score.reshape(-1, 1))


def counted(reference: Reference, window: Population) -> Reference:
    """A window on the reference's frame."""
    own = sketch_like(reference, window.frame)
    return msgspec.structs.replace(own, scores=sketch_scores(window.score, reference.scores))


def watch(
    stream: Stream,
    budget: Budget,
    *,
    least_accuracy: float,
    days: float = 30.0,
    scales: int | None = None,
    estimates: bool = False,
    service: bool = False,
    seed: int = 0,
    known: dict[Block, tuple[Shift, ...]] | None = None,
) -> Watched:
    """Watch score, columns, pairs, missing and new values, live accuracy and the errors, and what is asked besides.

    ``known`` keeps comparisons by block, for another look at the same stream with another budget.
    """
    window_s = days * 86_400 / len(stream.windows)
    reference = reference_of(stream.reference)
    sketches = [counted(reference, window) for window in stream.windows]
    members = members_of(compared(reference, sketches[0])) | {Family.QUALITY: 1, Family.ERRORS: 1}
    members |= {Family.ESTIMATED: int(estimates), Family.OPERATIONS: 3 * service}
    allotment = allot(budget, members, window_s=window_s, scales=scales)
    rows = len(stream.windows[0].y)
    errors = Adwin(per_row=min(allotment.rate(Family.ERRORS) * window_s / rows, 0.01))
    more = [estimated_word(stream, allotment, least_accuracy, window_s)] if estimates else []
    more += [service_words(allotment, window_s, seed)] if service else []
    kept, standing, alerts, said = Kept(), dict[str, int](), list[Alert](), list[Said]()
    known, looked = {} if known is None else known, 0
    for number, window in enumerate(stream.windows):
        kept, looks = advanced(kept, number, sketches[number], allotment.scales)
        decided: list[Ruling] = []
        for look in looks:
            if look.sketch is not None:
                seconds = window_s * 2**look.block.scale
                shifts = known.get(look.block) or compared(reference, look.sketch)
                known[look.block] = shifts
                decided += rulings([Compared(block=look.block, seconds=seconds, shifts=shifts)], allotment)
                looked += 1
        said += [Said(number, ruling.shift.subject, ruling.shift.effect) for ruling in decided
                 if ruling.outcome is Outcome.REPORTED]  # fmt: skip
        words: Words = {
            signal.rule: (signal.word, int(signal.evidence.get("scale", 0)))
            for signal in data_signals(decided, at_us=number, source=str(number), standing=standing)
        }
        words["accuracy_low"] = quality_word(stream, number, allotment, least_accuracy, window_s)
        wrong = ((window.score >= 0.5) != window.y).astype(np.int64)
        errors, changes = updated(errors, wrong)
        rise = errors_signal(changes, errors, rows, rule="errors_rise", at_us=number, source=str(number))
        words["errors_rise"] = (rise.word, 0)
        for one in more:
            words |= one(number)
        alerts += begun(words, standing, number)
    return Watched(alerts, looked, tuple(said))


def begun(words: Words, standing: dict[str, int], number: int) -> list[Alert]:
    """The alerts that begin with these words; ``standing`` is brought up to date."""
    found = []
    for rule, (word, scale) in words.items():
        if word is Word.ALARM:
            if rule not in standing:
                found.append(Alert(number, rule, scale))
            standing[rule] = scale
        elif word is Word.CLEAR:
            standing.pop(rule, None)
    return found


def estimated_word(stream: Stream, allotment: Allotment, least: float, window_s: float) -> Callable[[int], Words]:
    """Accuracy of each window without its labels; the estimator has learnt of the reference."""
    state = None

    def word(number: int) -> Words:
        nonlocal state
        past, now = stream.reference, stream.windows[number]
        if state is None:
            sample = Sample(task=Task.BINARY, y=past.y, score=past.score, threshold=0.5, reference=(0.5, 0.5))
            state = fit_estimator(sample, past.frame, metrics=["accuracy"])
        plain = Requirement(metric="accuracy", at_least=least)
        asked = in_budget(plain, allotment, Family.ESTIMATED, seconds=window_s)
        found = estimated(state, now.score, frame=now.frame, metrics=["accuracy"], confidence=asked.confidence)
        rule = "estimated:accuracy_low"
        return {rule: (threshold_signal(asked, found, at_us=number, source=str(number), rule=rule).word, 0)}

    return word


def service_words(allotment: Allotment, window_s: float, seed: int) -> Callable[[int], Words]:
    """A server with the failures and the slow answers that it may have: two requirements, and the burn of errors."""
    rng, known = np.random.default_rng([7, seed]), tuple[Bucket, ...]()
    required = [Requirement(metric="error_rate", at_most=FAILED), Requirement(metric="latency_p99", at_most=SLOW_MS)]

    def word(number: int) -> Words:
        nonlocal known
        traffic = served(rng, number, window_s)
        live, said = Live(now_us=traffic.until_us, traffic=traffic), str(number)
        asked = [in_budget(one, allotment, Family.OPERATIONS, seconds=window_s) for one in required]
        signals = [
            threshold_signal(one, measured([one], live), at_us=number, source=said, group="operations") for one in asked
        ]
        known = merged_buckets(known, availability_buckets(traffic), since_us=traffic.until_us - 3 * 86_400_000_000)
        rate = allotment.rate(Family.OPERATIONS)
        signals.append(
            burn_signal(
                "availability", known, 1 - FAILED, at_us=traffic.until_us, per_s=rate, source=said, every_s=window_s
            )
        )
        return {signal.rule: (signal.word, 0) for signal in signals}

    return word


def served(rng: np.random.Generator, number: int, window_s: float) -> counted_traffic.Traffic:
    """What a server counted in a window, reading by reading: ``FAILED`` of all fail, 1 % are over the limit."""
    step = int(window_s * 1e6 / BLOCKS)
    begin = number * step * BLOCKS
    ends = np.array([5, 10, 20, 40, 80, 120, 160, 200, SLOW_MS, 350, 500, 1000])
    shares = np.diff(stats.lognorm(1.0, scale=SLOW_MS / np.exp(stats.norm.isf(0.01))).cdf([0.0, *ends, np.inf]))
    blocks, readings = [], []
    for place in range(BLOCKS):
        requests = int(rng.poisson(REQUESTS))
        failed = int(rng.binomial(requests, FAILED))
        after = begin + place * step
        codes = {200: float(requests - failed), 503: float(failed)}
        buckets = tuple(map(float, rng.multinomial(requests, shares)))
        blocks.append(
            counted_traffic.Block(
                "server", after, after + step, {"rows": float(requests)}, codes, tuple(ends / 1000), buckets
            )
        )
        readings.append(Reading(at_us=after + step, address="server"))
    return counted_traffic.Traffic(begin, begin + step * BLOCKS, tuple(blocks), tuple(readings))


def quality_word(stream: Stream, number: int, allotment: Allotment, least: float, window_s: float) -> tuple[Word, int]:
    """Accuracy at least ``least``, proven at every look that ended; the shortest look that proves a miss."""
    word = Word.CLEAR
    for block in blocks_ending_at(number, allotment.scales):
        windows = stream.windows[block.first : block.last + 1]
        plain = Requirement(metric="accuracy", at_least=least)
        asked = in_budget(plain, allotment, Family.QUALITY, seconds=window_s * len(windows), scale=block.scale)
        found = threshold_signal(asked, [accuracy(windows, asked.confidence)], at_us=number, source=str(number))
        if found.word is Word.ALARM:
            return Word.ALARM, block.scale
        word = found.word if found.word is not Word.CLEAR else word
    return word, 0


def accuracy(windows: list[Population], confidence: float) -> Measurement:
    """Live accuracy over some windows at a confidence."""
    y = np.concatenate([window.y for window in windows])
    score = np.concatenate([window.score for window in windows])
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5, reference=(0.5, 0.5))
    return msgspec.structs.replace(measure("accuracy", sample, confidence=confidence), phase=Phase.LIVE)


def true_accuracy(whole: Population) -> float:
    """Over all rows of a table: where a requirement is hardest to be right about."""
    return float(((whole.score >= 0.5) == whole.y).mean())
