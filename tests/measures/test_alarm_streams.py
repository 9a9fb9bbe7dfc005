"""Error streams, CUSUM and burn rates: changes are found, and stable streams stay within the declared rate."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from roadworthy.errors import DataError
from roadworthy.measures.alarms import burn, cusum
from roadworthy.measures.alarms.adwin import CLOCK, Adwin, Change, errors_signal, updated
from roadworthy.records.alert import Severity, Word

# river 0.26.1's ADWIN(delta=0.002) on the same twenty streams: mean rows from the change to its detection
RIVER = {(0.1, 0.2): 314, (0.1, 0.15): 1_123, (0.02, 0.06): 603}


def stream(before: float, after: float, seed: int, rows: int = 5_000) -> NDArray[np.int64]:
    rates = np.concatenate([np.full(rows, before), np.full(rows, after)])
    return (np.random.default_rng(seed).random(2 * rows) < rates).astype(np.int64)


@pytest.mark.parametrize(("before", "after"), RIVER, ids=str)
def test_a_rising_error_is_found_as_soon_as_river_finds_it_with_a_declared_rate(before: float, after: float) -> None:
    delays = []
    for seed in range(20):
        _, changes = updated(Adwin(per_row=2e-6), stream(before, after, seed))
        worse = [change for change in changes if change.worse]
        assert all(change.at > 5_000 for change in worse)
        assert abs(worse[0].since - 5_000) < 2_600
        delays.append(worse[0].at - 5_000)
    assert np.mean(delays) < 1.1 * RIVER[before, after]


def test_stable_streams_stay_within_the_rate_and_better_is_no_alarm() -> None:
    per_row, alarms = 1e-4, 0
    for seed in range(12):
        state, changes = updated(Adwin(per_row=per_row), stream(0.1, 0.1, seed))
        alarms += sum(change.worse for change in changes)
        assert state.rows <= 10_000
    assert alarms <= stats.poisson.ppf(0.975, 12 * 10_000 * per_row)
    _, changes = updated(Adwin(per_row=1e-6), stream(0.3, 0.1, 1))
    assert changes
    assert not any(change.worse for change in changes)


def test_adwin_goes_on_from_its_state_and_forgets_what_was() -> None:
    errors = stream(0.1, 0.5, 3)
    whole, changes = updated(Adwin(per_row=1e-6), errors)
    state, found = Adwin(per_row=1e-6), list[Change]()
    for start in range(0, len(errors), 700):
        state, more = updated(state, errors[start : start + 700])
        found.extend(more)
        state = msgspec.json.decode(msgspec.json.encode(state), type=Adwin)
    assert state == whole
    assert tuple(found) == changes
    assert whole.seen == 10_000
    assert whole.errors / whole.rows == pytest.approx(0.5, abs=0.03)  # the old rate is gone
    assert changes[0].at % CLOCK == 0
    assert sum(map(len, whole.buckets)) < 70
    for wrong in ([0, 2], [[0, 1]]):
        with pytest.raises(DataError, match="0 and 1"):
            updated(whole, wrong)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(DataError, match="false alarms per row"):
        updated(Adwin(per_row=0), [0])


def test_errors_are_told_with_their_rates_and_small_rises_call_nobody() -> None:
    def said(before: float, after: float) -> tuple[Word, str]:
        state, changes = updated(Adwin(per_row=1e-5), stream(before, after, 2, rows=60_000))
        rows = changes[-1].at if changes else 1
        signal = errors_signal(changes, state, rows, rule="errors", at_us=1, source="1h/3")
        return signal.word, signal.sentence

    word, sentence = said(0.1, 0.2)
    assert word is Word.ALARM
    assert "errs more often: 10" in sentence
    assert said(0.2, 0.21)[0] is Word.CLEAR
    assert "too little to call anybody" in said(0.2, 0.215)[1]
    assert said(0.01, 0.02)[0] is Word.ALARM  # half as many again
    assert said(0.2, 0.1)[0] is Word.CLEAR
    nothing = errors_signal((), Adwin(per_row=1e-6), 0, rule="errors", at_us=1, source="1h/3")
    assert nothing.word is Word.UNKNOWN


# --- CUSUM ------------------------------------------------------------------------------------------------------


def brook_evans(limit: float, mean: float = 0.0, states: int = 400) -> float:
    """The run length by a Markov chain (Brook and Evans 1972), against Siegmund's formula."""
    width = 2 * limit / (2 * states - 1)
    steps = np.arange(states)
    upper = stats.norm.cdf((steps[None, :] - steps[:, None] + 0.5) * width + cusum.SLACK - mean)
    moves = np.diff(upper, axis=1, prepend=0.0)
    moves[:, 0] = upper[:, 0]
    return float(np.linalg.solve(np.eye(states) - moves, np.ones(states))[0])


@pytest.mark.parametrize(("limit", "mean"), [(4.0, 0.0), (5.0, 0.0), (8.0, 0.0), (5.0, 1.0), (8.0, 0.5)])
def test_run_lengths_agree_with_the_markov_chain(limit: float, mean: float) -> None:
    assert cusum.run_length(limit, mean=mean) == pytest.approx(brook_evans(limit, mean), rel=0.04)


def test_a_short_calibration_costs_a_higher_limit() -> None:
    limits = [cusum.limit_for(1e-4, points) for points in (336, 1_000, 10_000, 10**7)]
    assert limits == sorted(limits, reverse=True)
    assert brook_evans(limits[-1]) == pytest.approx(1e4, rel=0.05)
    assert limits[0] > limits[-1] + 0.3


HOURS = np.arange(24 * 7 * 10, dtype=np.float64) * 3600


def hourly(rng: np.random.Generator, hours: NDArray[np.float64], dependence: float = 0.5) -> NDArray[np.float64]:
    """A latency with a daily and a weekly course, heavy tails, and neighbours alike."""
    noise = rng.standard_t(4, len(hours))
    for place in range(1, len(noise)):
        noise[place] += dependence * noise[place - 1]
    course = 1 + 0.4 * np.sin(hours / 86_400 * 2 * np.pi) + 0.2 * (hours // 86_400 % 7 > 4)
    return np.asarray(40 * course * np.exp(0.03 * noise))


def alarms_in(baseline: cusum.Baseline, state: cusum.Cusum, hours: NDArray[np.float64], values: list[float]) -> int:
    count = 0
    for at_s, value in zip(hours, values, strict=True):
        before, state = state.alarming, cusum.stepped(baseline, state, float(at_s), value)
        count += bool(state.alarming) and not before
    return count


def test_stable_hours_with_courses_and_heavy_tails_stay_within_the_rate() -> None:
    per_point, count, points = 1 / 500, 0, 0
    for seed in range(12):
        values = hourly(np.random.default_rng(seed), HOURS)
        learned = 24 * 7 * 6
        baseline = cusum.calibrated(HOURS[:learned], values[:learned], logs=True)
        state = cusum.started(baseline, per_point=per_point)
        count += alarms_in(baseline, state, HOURS[learned:], values[learned:].tolist())
        points += len(HOURS) - learned
    assert count <= stats.poisson.ppf(0.975, points * per_point)


def test_a_lasting_shift_is_one_alarm_until_it_is_over() -> None:
    values = hourly(np.random.default_rng(5), HOURS)
    learned = 24 * 7 * 8
    baseline = cusum.calibrated(HOURS[:learned], values[:learned], logs=True)
    state = cusum.started(baseline, per_point=1e-4, sides=2)
    words = []
    for place in range(learned, len(HOURS)):
        factor = 1.12 if learned + 50 <= place < learned + 120 else 1.0
        state = cusum.stepped(baseline, state, float(HOURS[place]), float(values[place] * factor), sides=2)
        words.append(state.alarming)
    found = words.index("up")
    assert 50 <= found < 75
    assert all(word == "up" for word in words[found:120])
    assert words[-1] == ""
    signals = [
        cusum.cusum_signal(
            msgspec.structs.replace(state, alarming=side), value, rule="r", at_us=0, source="s", what="p99"
        )
        for side, value in (("up", 50.0), ("down", 50.0), ("", 50.0), ("up", None))
    ]
    assert [one.word for one in signals] == [Word.ALARM, Word.ALARM, Word.CLEAR, Word.UNKNOWN]
    assert "p99 is higher than usual at this hour" in signals[0].sentence
    falling = msgspec.structs.replace(state, alarming="up", upper=state.limit / 2)
    usual = float(values[-1] * np.exp(-0.3))  # under the limit again, and not yet back at 0: the same alarm
    calmer = cusum.stepped(baseline, falling, float(HOURS[-1]) + 3600, usual, sides=2)
    assert (calmer.alarming == "up") == (calmer.upper > 0)
    assert 0 < calmer.upper < state.limit
    held = cusum.stepped(baseline, state, float(HOURS[-1]) + 3600, None)
    assert held == state
    with pytest.raises(DataError, match="as time goes"):
        cusum.stepped(baseline, state, 0.0, 1.0)


def test_too_little_to_calibrate_on_is_said() -> None:
    with pytest.raises(DataError, match="336, two weeks"):
        cusum.calibrated(HOURS[:100], np.ones(100))
    with pytest.raises(DataError, match="do not vary"):
        cusum.calibrated(HOURS[:400], np.zeros(400))
    with pytest.raises(DataError, match="false alarms per value"):
        cusum.limit_for(0.0, 500)


# --- burn rates -------------------------------------------------------------------------------------------------

HOUR_US = 3_600_000_000
PER_S = 1 / (30 * 86_400)


def buckets(hours: float, total: int, bad: float, step_us: int = HOUR_US // 12) -> list[burn.Bucket]:
    """Buckets of five minutes that end now (0), the share of bad ones by rounding a running sum."""
    many = int(hours * HOUR_US / step_us)
    edges = np.floor(np.arange(many + 1) * total * bad)
    return [
        burn.Bucket(at_us=(place - many) * step_us, bad=int(edges[place + 1] - edges[place]), total=total)
        for place in range(many)
    ]


def said(found: list[burn.Bucket], objective: float = 0.999) -> tuple[Word, Severity]:
    signal = burn.burn_signal("availability:burn", found, objective, at_us=0, per_s=PER_S, source="now")
    return signal.word, signal.severity


@pytest.mark.parametrize(
    ("hours", "bad", "expected"),
    [
        (1.1, 0.02, (Word.ALARM, Severity.PAGE)),
        (6.1, 0.007, (Word.ALARM, Severity.PAGE)),
        (72.1, 0.0012, (Word.ALARM, Severity.TICKET)),
        (72.1, 0.0008, (Word.CLEAR, Severity.TICKET)),
    ],
    ids=["14.4 times", "6 times", "more than allowed", "as allowed"],
)
def test_burn_rates_page_and_write_tickets(hours: float, bad: float, expected: tuple[Word, Severity]) -> None:
    assert said(buckets(hours, 1_000, bad)) == expected


def test_what_is_over_pages_nobody_and_no_traffic_is_not_good_news() -> None:
    late = [
        msgspec.structs.replace(one, bad=0) if one.at_us >= -HOUR_US // 2 else one for one in buckets(1, 1000, 0.03)
    ]
    assert said(late)[0] is not Word.ALARM or said(late)[1] is Severity.TICKET
    assert said([])[0] is Word.UNKNOWN
    assert said([burn.Bucket(at_us=-5 * 86_400_000_000, bad=9, total=9)])[0] is Word.UNKNOWN


def test_one_bad_request_in_twenty_is_no_proof() -> None:
    few = [burn.Bucket(at_us=-60_000_000, bad=1, total=20)]
    looked = burn.burns(few, 0.999, at_us=0, per_s=PER_S)
    assert looked[0].long_burn == pytest.approx(50)
    assert not any(one.fires for one in looked)
    assert said(few)[0] is Word.CLEAR


def test_quality_burns_too_where_much_may_be_wrong() -> None:
    factors = [pair.factor for pair in burn.pairs_for(0.8)]
    assert factors == pytest.approx([math.sqrt(5), math.sqrt(5), 1])
    assert said(buckets(1, 50, 0.6), 0.8) == (Word.ALARM, Severity.PAGE)
    assert said(buckets(72, 50, 0.25), 0.8) == (Word.ALARM, Severity.TICKET)
    assert said(buckets(72, 50, 0.19), 0.8)[0] is Word.CLEAR
    with pytest.raises(DataError, match="between 0 and 1"):
        burn.pairs_for(1.0)
