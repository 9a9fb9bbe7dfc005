"""A stream watched as Roadworthy watches live traffic: every family at every look back, within one alarm budget.

In: a stream of windows of equal length. Out: the alerts, each once while it is open, with the window it began in.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from drift_streams import Population, Stream
from roadworthy.measures.alarms.adwin import Adwin, errors_signal, updated
from roadworthy.measures.alarms.budget import Allotment, Budget, Family, allot
from roadworthy.measures.alarms.deciding import Compared, Outcome, Ruling, data_signals, members_of, rulings
from roadworthy.measures.alarms.scales import Kept, advanced, blocks_ending_at
from roadworthy.measures.alarms.thresholds import in_budget, threshold_signal
from roadworthy.measures.drift import compared, with_dispersion
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.measures.sketches import Reference, sketch, sketch_like, sketch_scores
from roadworthy.records.alert import Word
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.standard.requirement import Requirement

MONTH_S = 30 * 86_400.0


class Alert(NamedTuple):
    """A rule that began to alarm in a window, proven by a look over 2**scale windows."""

    window: int
    rule: str
    scale: int


class Watched(NamedTuple):
    """What watching one stream gave: alerts, and what was proven but too small to call anybody (and where)."""

    alerts: list[Alert]
    reported: int
    looks: int
    said: tuple[int, ...] = ()

    def first_from(self, window: int, *, words: bool = False) -> int | None:
        """The first window from there on in which an alert began; or with ``words`` a change was reported."""
        found = [alert.window for alert in self.alerts] + (list(self.said) if words else [])
        return min((place for place in found if place >= window), default=None)


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
    stream: Stream, budget: Budget, *, least_accuracy: float, days: float = 30.0, scales: int | None = None
) -> Watched:
    """Watch score, columns, pairs, missing and new values, live accuracy and the stream of errors."""
    window_s = days * 86_400 / len(stream.windows)
    reference = reference_of(stream.reference)
    sketches = [counted(reference, window) for window in stream.windows]
    members = members_of(compared(reference, sketches[0])) | {Family.QUALITY: 1, Family.ERRORS: 1}
    allotment = allot(budget, members, window_s=window_s, scales=scales)
    rows = len(stream.windows[0].y)
    errors = Adwin(per_row=min(allotment.rate(Family.ERRORS) * window_s / rows, 0.01))
    kept, standing, alerts, reported, looked = Kept(), dict[str, int](), list[Alert](), 0, 0
    said: list[int] = []
    for number, window in enumerate(stream.windows):
        kept, looks = advanced(kept, number, sketches[number], allotment.scales)
        decided: list[Ruling] = []
        for look in looks:
            if look.sketch is not None:
                seconds = window_s * 2**look.block.scale
                shifts = compared(reference, look.sketch)
                decided += rulings([Compared(block=look.block, seconds=seconds, shifts=shifts)], allotment)
                looked += 1
        below = sum(ruling.outcome is Outcome.REPORTED for ruling in decided)
        reported += below
        said += [number] * bool(below)
        words = {
            signal.rule: (signal.word, int(signal.evidence.get("scale", 0)))
            for signal in data_signals(decided, at_us=number, source=str(number), standing=standing)
        }
        words["accuracy_low"] = quality_word(stream, number, allotment, least_accuracy, window_s)
        wrong = ((window.score >= 0.5) != window.y).astype(np.int64)
        errors, changes = updated(errors, wrong)
        rise = errors_signal(changes, errors, rows, rule="errors_rise", at_us=number, source=str(number))
        words["errors_rise"] = (rise.word, 0)
        for rule, (word, scale) in words.items():
            if word is Word.ALARM:
                if rule not in standing:
                    alerts.append(Alert(number, rule, scale))
                standing[rule] = scale
            elif word is Word.CLEAR:
                standing.pop(rule, None)
    return Watched(alerts, reported, looked, tuple(said))


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
