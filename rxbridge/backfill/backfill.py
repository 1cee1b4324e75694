"""One more reader of the journal: it finds the trades that are not there, and appends what REST has of them.

    journal ─► Follower ─► holes ─► Desk ─► REST ─► Ledger ─► journal

A trade is there when it was read from the journal, and not before: not when it was asked for, not when it was fetched,
not when it was appended. So what is remembered is a function of the frames up to one offset; and whatever a crash, a
full disk or a damaged file takes away is simply still missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from loguru import logger

from rxbridge.backfill.desk import Rest
from rxbridge.backfill.errands import Limits
from rxbridge.backfill.memory import Memory
from rxbridge.backfill.worker import Plan, Worker
from rxbridge.coinbase.stream import backoff
from rxbridge.errors import JournalError
from rxbridge.journal import Journal
from rxbridge.telemetry.statistics import BackfillStatistics

_MOST_FAILURES = 10
_LONGEST_PAUSE_SECONDS = 30.0


class Backfill:
    """Finds and fills holes, from start to stop, on a thread of its own.

    Trades of one hole are appended in ascending order; live ones go on meanwhile, so newer trades may stand before
    older ones in the journal.

    Args:
        journal: Where the frames are; the role must be one that may append.
        rest: Coinbase's REST API.
        products: Products whose trades are followed, until `follow` says otherwise. None, if the feed is not subscribed
            to `matches`.
        unreplayable_channels: Channels of which a disconnect costs what nobody can fetch afterwards.
        quoted_products: The products of those channels.
        since: Where nothing was ever followed: begin with the first trade at or after this moment. It needs a zone.
        max_trades: The most trades fetched for one hole; of a larger one the newest. None for no limit.
        max_age_seconds: Older trades are not fetched. None for no limit.
        requests_per_second: How many requests are sent at most.
        grace_seconds: How long a trade may be late before it is fetched.
        tries: How often trades are asked for that REST does not have, before they are given up.
        retry_minimum_seconds: The wait after the first such try, or the first failure; it doubles.
        retry_maximum_seconds: The longest.
        marks: A file that remembers what is delivered, for the day on which the journal is damaged or gone. None: only
            this process remembers.
        delivery_consumers: What is delivered is what all of these have acknowledged.
        statistics: Where to count.
        clock: Unix time in seconds, for the age of trades.

    Attributes:
        failure: What ended it for good; else None.
    """

    def __init__(
        self,
        journal: Journal,
        rest: Rest,
        *,
        products: Sequence[str],
        unreplayable_channels: Sequence[str] = (),
        quoted_products: Sequence[str] | None = None,
        since: datetime | None = None,
        max_trades: int | None = 1_000_000,
        max_age_seconds: float | None = 7 * 86400.0,
        requests_per_second: float = 8.0,
        grace_seconds: float = 2.0,
        tries: int = 5,
        retry_minimum_seconds: float = 1.0,
        retry_maximum_seconds: float = 30.0,
        marks: Path | None = None,
        delivery_consumers: Sequence[str] = ("pulsestream",),
        statistics: BackfillStatistics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.failure: Exception | None = None
        self.statistics: BackfillStatistics = BackfillStatistics() if statistics is None else statistics
        self._journal = journal
        self._rest = rest
        wait = _plain(backoff(retry_minimum_seconds, retry_maximum_seconds))
        self._plan = Plan(
            products=tuple(dict.fromkeys(products)),
            unreplayable_channels=tuple(unreplayable_channels),
            quoted_products=tuple(dict.fromkeys(products if quoted_products is None else quoted_products)),
            since=0 if since is None else int(since.timestamp() * 1e9),
            limits=Limits(max_trades, max_age_seconds, tries, wait),
            requests_per_second=requests_per_second,
            grace_seconds=grace_seconds,
            wait=wait,
            clock=clock,
        )
        self._memory = Memory(journal, marks, delivery_consumers)
        self._starts_after = 0
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._worker: Worker | None = None

    def start(self) -> None:
        """Begin; returns at once. Call it before anything is received: what the journal has by then is of runs before.

        Raises:
            JournalError: The journal cannot be read.
        """
        self._starts_after = self._journal.size().last_offset
        self._thread = threading.Thread(target=self._run, name="rxbridge-backfill", daemon=True)
        self._thread.start()

    def follow(self, products: Sequence[str], quoted_products: Sequence[str]) -> None:
        """Follow other products from now on; may be called from any thread, and returns at once.

        A product that is new begins with the first trade received; nothing older is fetched. One that was followed
        before goes on where it was left, as after an outage. Of one that is gone, what was missing is still fetched,
        and what its channels do not bring from now on is no gap.

        Args:
            products: All whose trades are to be followed.
            quoted_products: All products of the unreplayable channels.
        """
        self._plan = replace(
            self._plan,
            products=tuple(dict.fromkeys(products)),
            quoted_products=tuple(dict.fromkeys(quoted_products)),
        )

    def stop(self) -> None:
        """Ask it to end: nothing is appended any more a moment later. May be called from any thread."""
        self._stopping.set()
        self._wake.set()

    def drain(self, seconds: float) -> bool:
        """Stop, remember what was found out, and let go of connections.

        Call it when the delivery has drained, and before the journal is closed: the marks are then up to date.

        Returns:
            Whether it has ended in time. If not, a restart finds out again what was not remembered.
        """
        self.stop()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False
        try:
            if self._worker is not None:
                self._worker.settle()
        except JournalError as error:
            logger.warning("[BACKFILL] The marks could not be brought up to date: {}", error)
        self._rest.close()
        return True

    @property
    def ended(self) -> bool:
        """Whether it is over without having been stopped."""
        return self._ended.is_set()

    @property
    def idle(self) -> bool:
        """Whether everything in the journal was read, and nothing is missing."""
        worker = self._worker
        return worker is not None and worker.idle

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            worker = None
            begun_at = 0
            try:
                worker = self._worker = Worker(
                    self._journal,
                    self._rest,
                    self._memory,
                    lambda: self._plan,
                    starts_after=self._starts_after,
                    statistics=self.statistics,
                    stopping=self._stopping,
                    wake=self._wake,
                )
                begun_at = worker.offset
                worker.work()
            except Exception as error:  # noqa: BLE001 - a thread has no caller: told, and tried again from what is remembered
                self._worker = None
                failures = 1 if worker is not None and worker.offset > begun_at else failures + 1
                if not isinstance(error, JournalError) and failures >= _MOST_FAILURES:
                    logger.opt(exception=error).error("[FATAL] The backfill has ended: {}", error)
                    self.failure = error
                    self._ended.set()
                    return
                self._tell(error)
                self._stopping.wait(min(2.0**failures / 4, _LONGEST_PAUSE_SECONDS))

    def _tell(self, error: Exception) -> None:
        if isinstance(error, JournalError):
            then = "what was not remembered is found out again" if self._stopping.is_set() else "will try again"
            logger.warning("[BACKFILL] The journal cannot be used now, {}: {}", then, error)
        else:
            logger.opt(exception=error).error(
                "[RESTARTING] The backfill failed, and goes on from the journal: {}", error
            )


def _plain(wait: Callable[[int, Exception], float]) -> Callable[[int], float]:
    """Waits by the number of the attempt alone."""
    nothing = Exception()
    return lambda attempt: wait(attempt, nothing)
