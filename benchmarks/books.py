"""What the snapshot of a large order book costs the trades beside it: the same run with snapshots and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from benchmarks.processes import ChildFailed
from benchmarks.runs import Result, run

RATE = 200
"""Tickers a second."""

EVERY = 150
"""With one in so many a snapshot leaves: each 0.75 s, far more often than Coinbase sends one."""


class Delay(NamedTuple):
    """From when a ticker was due to be sent to when its event was at the sink, and the memory; medians of the runs."""

    p50_milliseconds: float
    p99_milliseconds: float
    longest_milliseconds: float
    peak_rss_megabytes: float


@dataclass(frozen=True)
class BookDelay:
    """Both side by side.

    Attributes:
        without: The channel of books is subscribed to, and nothing comes by it.
        along: Snapshots come by it.
    """

    without: Delay
    along: Delay

    @property
    def added_milliseconds(self) -> float:
        """By how much the longest delay is longer with snapshots."""
        return self.along.longest_milliseconds - self.without.longest_milliseconds


def book_delay(seconds: float, repeats: int, *, settle_seconds: float) -> BookDelay:
    """Measure, in turn, so that other work on the machine meets both.

    Args:
        seconds: How long a run lasts.
        repeats: How many there are of each.
        settle_seconds: The pause before and after each.

    Raises:
        ChildFailed: A process did not do its part, or an event was lost.
    """
    count = round(seconds * RATE)
    runs: dict[int, list[Result]] = {0: [], EVERY: []}
    for _ in range(repeats):
        for books, results in runs.items():
            results.append(run("d", count, RATE, settle_seconds=settle_seconds, books=books))
            if not results[-1].lossless:
                raise ChildFailed(f"rxbridge lost {count - results[-1].delivered} of {count} beside order books")
    return BookDelay(_medians(runs[0]), _medians(runs[EVERY]))


def _medians(results: Sequence[Result]) -> Delay:
    def milliseconds(latencies: Sequence[float | None]) -> float:
        return median([latency for latency in latencies if latency is not None]) * 1e3

    return Delay(
        milliseconds([result.latency_p50 for result in results]),
        milliseconds([result.latency_p99 for result in results]),
        milliseconds([result.latency_max for result in results]),
        median([result.peak_rss_bytes for result in results]) / 1e6,
    )
