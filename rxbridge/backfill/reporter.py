"""What is said in the log of holes that are found and filled: all of it, in few lines."""

from __future__ import annotations

import time
from collections.abc import Callable

from loguru import logger

from rxbridge.telemetry.statistics import BackfillStatistics

LARGE = 1000
"""A hole of so many trades is told of when it is found; and progress is told while so many are missing."""

_PROGRESS_SECONDS = 5.0
_SUMMARY_SECONDS = 10.0


class Reporter:
    """Keeps the count of the present catching-up, from when something is missing to when nothing is, and tells of it.

    Args:
        statistics: Is read, and given the progress.
        monotonic: Seconds that only rise.
    """

    def __init__(self, statistics: BackfillStatistics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._statistics = statistics
        self._monotonic = monotonic
        self._began_at: float | None = None
        self._began_with = (0, 0)
        self._told_at = -_SUMMARY_SECONDS
        self._progress_at = 0.0
        self._holes: dict[str, int] = {}

    def found(self, product: str, first: int, last: int) -> None:
        """A hole is there, and is about to be filled."""
        self._statistics.holes += 1
        self._holes[product] = self._holes.get(product, 0) + 1
        if (trades := last - first + 1) >= LARGE:
            logger.info(
                "[BACKFILL] {:,} trades of {} are missing, ids {} to {}: they are fetched", trades, product, first, last
            )

    def look(self, missing: int) -> None:
        """See how far it is; so many trades are missing."""
        statistics, now = self._statistics, self._monotonic()
        statistics.missing = missing
        if not missing:
            self._end(now)
            return
        if self._began_at is None:
            self._began_at, self._progress_at = now, now + _PROGRESS_SECONDS
            self._began_with = (statistics.fetched, statistics.given_up)
        fetched, given_up = self._since()
        statistics.done = fetched + given_up
        statistics.total = statistics.done + missing
        if now >= self._progress_at and statistics.total >= LARGE:
            self._progress_at = now + _PROGRESS_SECONDS
            self._tell_progress(now - self._began_at)

    def end(self) -> None:
        """Tell what was not told yet."""
        self._told_at = -_SUMMARY_SECONDS
        self._end(self._monotonic())

    def _since(self) -> tuple[int, int]:
        """What was fetched and given up since it began."""
        fetched, given_up = self._began_with
        return self._statistics.fetched - fetched, self._statistics.given_up - given_up

    def _tell_progress(self, seconds: float) -> None:
        done, total = self._statistics.done, self._statistics.total
        left = f"about {seconds * (total - done) / done:,.0f} s left" if done else "none of them yet"
        logger.info("[BACKFILL] {:.0f} % of {:,} missing trades, {}", 100 * done / total, total, left)

    def _end(self, now: float) -> None:
        self._statistics.done = self._statistics.total = 0
        if self._began_at is None:
            return
        fetched, given_up = self._since()
        if not (fetched or given_up):
            # They had only been overtaken, and have come.
            self._began_at = None
            self._holes.clear()
            return
        if now < self._told_at + _SUMMARY_SECONDS and fetched + given_up < LARGE:
            # Many small holes make one line now and then; the count goes on.
            return
        holes = sum(self._holes.values())
        where = ", ".join(sorted(self._holes)) or "all products"
        words = f"{_counted(holes, 'hole')} in {where}: {_counted(fetched, 'trade')} fetched"
        if given_up:
            words += f", {given_up:,} are missing for good (`rxbridge gaps` lists them)"
        logger.info("[BACKFILL] {}, in {:.1f} s", words, now - self._began_at)
        self._began_at, self._told_at = None, now
        self._holes.clear()


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
