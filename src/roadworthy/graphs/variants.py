"""Which variant of a graph ships: pure arithmetic on measured costs.

In: sizes and single-row latencies of variants. Out: whether one pays against another, and the sentence that says
why. Law: a variant that is not provably smaller or faster never pays.
"""

from __future__ import annotations

from roadworthy.graphs.timing import Timing, quantile_bounds

__all__ = ["GAIN", "LOSS", "explain_cost", "pays"]

GAIN = 0.20
"""A variant pays from this share smaller or faster on…"""

LOSS = 0.05
"""…while it is at most this share worse on the other."""


def pays(before: Timing, after: Timing) -> tuple[bool, str]:
    """Whether ``after`` is at least 20 % smaller or provably 20 % faster, and not more than 5 % worse otherwise.

    Faster is proven where the upper 95 % bound of its median lies below 0.8 times the lower bound of the other's;
    worse is read from the medians themselves, so that doubt never speaks for a change.
    """
    smaller = 1 - after.size_bytes / before.size_bytes
    faster = 1 - after.cost.p50_ms / before.cost.p50_ms
    _, upper = quantile_bounds(after.samples_ms, 0.5)
    lower, _ = quantile_bounds(before.samples_ms, 0.5)
    proven_faster = upper is not None and lower is not None and upper <= (1 - GAIN) * lower
    facts = explain_cost(before, after)
    if smaller < GAIN and not proven_faster:
        return False, f"{facts}; a variant has to be {GAIN:.0%} smaller or provably faster"
    if smaller < -LOSS:
        return False, f"{facts}; it may be at most {LOSS:.0%} larger"
    if faster < -LOSS:
        return False, f"{facts}; it may be at most {LOSS:.0%} slower"
    return True, facts


def explain_cost(before: Timing, after: Timing) -> str:
    """Both costs in one phrase: ``"12.1 → 6.0 kB, median 0.021 → 0.034 ms"``."""
    return (
        f"{before.size_bytes / 1000:.1f} → {after.size_bytes / 1000:.1f} kB, "
        f"median {before.cost.p50_ms:.3f} → {after.cost.p50_ms:.3f} ms"
    )
