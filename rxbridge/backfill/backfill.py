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
from datetime import datetime
from pathlib import Path

from loguru import logger

from rxbridge.backfill.desk import Desk, Rest
from rxbridge.backfill.errands import Errand, Filling, Limits
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.ledger import Ledger
from rxbridge.backfill.memory import Memory, damage_to
from rxbridge.backfill.reporter import Reporter
from rxbridge.backfill.state import State
from rxbridge.coinbase.stream import backoff
from rxbridge.errors import JournalError, RestRefused
from rxbridge.journal import Journal
from rxbridge.telemetry.statistics import BackfillStatistics

_READ_FRAMES = 1000
_READ_BYTES = 2**19
"""Less than what a journal reads at once: who is given less than these was given all there is."""

_IDLE_SECONDS = 0.25
_GATHER_SECONDS = 0.05
_SAVE_SECONDS = 1.0
_LOOK_SECONDS = 2.0
_MOST_FAILURES = 10
_LONGEST_PAUSE_SECONDS = 30.0


class Backfill:
    """Finds and fills holes, from start to stop, on a thread of its own.

    Trades of one hole are appended in ascending order; live ones go on meanwhile, so newer trades may stand before
    older ones in the journal.

    Args:
        journal: Where the frames are; the role must be one that may append.
        rest: Coinbase's REST API.
        products: Products whose trades are followed. None, if the feed is not subscribed to `matches`.
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
        self.statistics = BackfillStatistics() if statistics is None else statistics
        self._journal = journal
        self._rest = rest
        self._products = tuple(dict.fromkeys(products))
        self._channels = tuple(unreplayable_channels)
        self._quoted = self._products if quoted_products is None else tuple(dict.fromkeys(quoted_products))
        self._since = 0 if since is None else int(since.timestamp() * 1e9)
        self._grace_seconds = grace_seconds
        self._clock = clock
        wait = backoff(retry_minimum_seconds, retry_maximum_seconds)
        self._limits = Limits(max_trades, max_age_seconds, tries, _plain(wait))
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._ledger = Ledger(journal, self.statistics)
        self._reporter = Reporter(self.statistics)
        self._memory = Memory(journal, marks, delivery_consumers)
        self._desk = Desk(
            rest,
            requests_per_second=requests_per_second,
            wait=_plain(wait),
            statistics=self.statistics,
            wake=self._wake,
        )
        self._follower = self._make_follower(State())
        self._damage = ""
        self._reaching: set[str] = set()
        self._reaching_since = 0
        self._unread = False
        self._saved_at = 0.0
        self._looked_at = 0.0
        self._is_caught_up = False

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread = threading.Thread(target=self._run, name="rxbridge-backfill", daemon=True)
        self._thread.start()

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
            self._memory.settle()
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
        return self._is_caught_up and not self._journal.read(self._follower.offset, 1)

    # ---- on its thread

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            before = self._follower.offset
            try:
                self._resume()
                self._loop()
            except Exception as error:  # noqa: BLE001 - a thread has no caller: told, and tried again from what is remembered
                failures = failures + 1 if self._follower.offset <= before else 1
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

    def _loop(self) -> None:
        while not self._stopping.is_set():
            caught_up = self._read()
            self._watch_for_damage()
            self._desk.answer()
            self._append()
            if not self._unread:  # else what was fetched would count twice
                self._reporter.look(self._follower.missing)
            if caught_up and not (self._unread or self._ledger.has_waiting):
                self._take_on()
                self._desk.ask()
            self._is_caught_up = caught_up and not (self._unread or self._follower.missing or self._reaching)
            self._save_when_due()
            if caught_up and not self._ledger.has_waiting:
                self._wait()
        self._reporter.end()
        self._save()

    def _read(self) -> bool:
        """Follow the next frames; whether those are all there are."""
        frames = self._journal.read(self._follower.offset, _READ_FRAMES)
        if frames:
            self._is_caught_up = False  # before the offset says that they were read: see `idle`
            self._follower.follow(frames, time.monotonic())
        for silence in self._follower.take_silences():
            seconds = (silence.last - silence.first) / 1e9
            reason = (
                f"the connection was lost; Coinbase does not say afterwards what the channel brought in {seconds:.1f} s"
            )
            self._ledger.record_missing_quotes(silence.channel, self._quoted, silence.first, silence.last, reason)
        caught_up = len(frames) < _READ_FRAMES and sum([len(frame.data) for frame in frames]) < _READ_BYTES
        self._unread = self._unread and not caught_up
        return caught_up

    def _take_on(self) -> None:
        """Begin errands for whatever there is to do."""
        now = time.monotonic()
        for product, tracker in self._follower.trackers.items():
            if self._desk.has(product):
                continue
            filling = Filling(product, tracker, self._ledger, self._limits, clock=self._clock)
            if product in self._reaching:
                self._desk.begin(product, self._reach_back(product, filling))
            elif tracker.holes:
                for first, last in tracker.news(now):
                    self._reporter.found(product, first, last)
                self._desk.begin(product, filling.fill())

    def _reach_back(self, product: str, filling: Filling) -> Errand:
        try:
            yield from filling.reach_back(self._reaching_since)
        except RestRefused:
            self._reaching.discard(product)
            raise
        self._reaching.discard(product)

    def _append(self) -> None:
        """Append what was fetched, some of it; nothing that was read before may be held back for it meanwhile."""
        if self._ledger.has_waiting:
            self._save()
            self._ledger.append_some()
        self._confirm()

    def _confirm(self) -> None:
        """Wait until what was appended is confirmed, and so can be read; not if it is time to stop."""
        if not self._ledger.dirty:
            return
        while not self._journal.flush(_IDLE_SECONDS):
            if self._stopping.is_set():
                return
        self._ledger.dirty = False
        self._unread = True

    def _wait(self) -> None:
        if self._desk.waits_for_answer:
            self._wake.wait(_GATHER_SECONDS)
            self._wake.clear()
        else:
            seconds = self._desk.seconds_to_next()
            limit = _IDLE_SECONDS if seconds is None else min(max(seconds, 0.0), _IDLE_SECONDS)
            # What has come is soon followed by more; reading it together is cheaper.
            if self._journal.wait_beyond(self._follower.offset, limit):
                self._stopping.wait(min(limit, _GATHER_SECONDS))

    # ---- what is remembered

    def _resume(self) -> None:
        """Go on from what is remembered; where that is nothing, from the marks, or from the begin."""
        self._desk.clear()
        self._ledger.begin_again()
        damage = damage_to(self._journal)
        state = self._memory.recall()
        if state is not None:
            if self._since not in (0, state.since):
                logger.info("[BACKFILL] This journal has a history already: the time to begin from is ignored")
            self._use(state)
            if damage != state.damage:
                self._begin_again("The journal was damaged", damage)
        elif self._memory.has_marks:
            self._use(State())
            self._begin_again("The journal is not the one that was here before", damage)
        else:
            reaching = list(self._products) if self._since else []
            self._use(State(damage=damage, since=self._since, reaching=reaching))
        self._save()

    def _use(self, state: State) -> None:
        self._follower = self._make_follower(state)
        self._damage = state.damage
        self._reaching = set(state.reaching)
        self._reaching_since = state.since

    def _make_follower(self, state: State) -> Follower:
        return Follower(state, products=self._products, channels=self._channels, grace_seconds=self._grace_seconds)

    def _save_when_due(self) -> None:
        now = time.monotonic()
        if now >= self._saved_at + _SAVE_SECONDS:
            self._saved_at = now
            self._save()

    def _save(self) -> None:
        """Remember what was found out, once what was written about it is confirmed."""
        self._confirm()
        if self._ledger.dirty:
            return
        follower = self._follower
        state = follower.state()
        state.damage, state.since, state.reaching = self._damage, self._reaching_since, sorted(self._reaching)
        self._memory.save(state)
        self._memory.mark(follower.offset, follower.trackers, besides=self._reaching)

    # ---- damage

    def _watch_for_damage(self) -> None:
        now = time.monotonic()
        if now < self._looked_at + _LOOK_SECONDS:
            return
        self._looked_at = now
        damage = damage_to(self._journal)
        if damage != self._damage:
            self._begin_again("The journal was damaged", damage)
        elif self._follower.offset > self._journal.size().last_offset:
            self._begin_again("The journal has lost its frames", damage, offsets_begin_again=True)

    def _begin_again(self, reason: str, damage: str, *, offsets_begin_again: bool = False) -> None:
        """Forget what was read: follow all frames that are left, and miss everything else that is not delivered."""
        frames = self._journal.size().frames
        logger.warning("[BACKFILL] {}: looking again for what is not delivered, in the {} frames left", reason, frames)
        trackers = self._memory.begin_again(self._products, self._follower.trackers)
        self._desk.clear()
        self._ledger.begin_again()
        self._follower.begin_again(trackers, offsets_begin_again=offsets_begin_again)
        self._damage = damage


def _plain(wait: Callable[[int, Exception], float]) -> Callable[[int], float]:
    """Waits by the number of the attempt alone."""
    nothing = Exception()
    return lambda attempt: wait(attempt, nothing)
