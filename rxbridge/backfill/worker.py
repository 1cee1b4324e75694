"""The work itself: read, follow, ask, append, remember; on one thread, from what is remembered to the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger

from rxbridge.backfill.desk import Desk, Rest
from rxbridge.backfill.errands import Errand, Filling, Limits
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.ledger import Ledger
from rxbridge.backfill.memory import Memory, damage_to
from rxbridge.backfill.reporter import Reporter
from rxbridge.backfill.silences import reason_of
from rxbridge.backfill.state import State
from rxbridge.errors import RestRefused
from rxbridge.journal import Journal
from rxbridge.telemetry.statistics import BackfillStatistics

_READ_FRAMES = 1000
_READ_BYTES = 2**19
"""Less than what a journal reads at once: who is given less than these was given all there is."""

_IDLE_SECONDS = 0.25
_GATHER_SECONDS = 0.05
_SAVE_SECONDS = 1.0
_LOOK_SECONDS = 2.0

_ANOTHER_JOURNAL = "another journal"
"""In the place of the damage that was dealt with: none of it was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill is for; `Backfill` explains each.

    `since` is in nanoseconds since the Unix epoch, 0 for none; `wait` says how many seconds to wait after each failure
    in a row, counted from 1.
    """

    products: tuple[str, ...]
    unreplayable_channels: tuple[str, ...]
    quoted_products: tuple[str, ...]
    since: int
    limits: Limits
    requests_per_second: float
    grace_seconds: float
    wait: Callable[[int], float]
    clock: Callable[[], float]


class Worker:
    """Works until it is told to stop, or something fails; then another one goes on from what is remembered.

    Args:
        journal: Where the frames are.
        rest: Coinbase's REST API.
        memory: What outlives it.
        newest_plan: Says what to do now; only the products of it may change.
        starts_after: The last frame that was there when this run began.
        statistics: Where to count.
        stopping: Tells it to stop.
        wake: Is set when there is an answer, and by who has set `stopping`.

    Raises:
        JournalError: What is remembered cannot be read.
    """

    def __init__(
        self,
        journal: Journal,
        rest: Rest,
        memory: Memory,
        newest_plan: Callable[[], Plan],
        *,
        starts_after: int,
        statistics: BackfillStatistics,
        stopping: threading.Event,
        wake: threading.Event,
    ) -> None:
        self._journal = journal
        self._memory = memory
        self._newest_plan: Callable[[], Plan] = newest_plan
        plan = newest_plan()
        self._plan: Plan = plan
        self._kept_plan: Plan | None = None  # a worker before may have ended before it was remembered what changed
        self._stopping = stopping
        self._wake = wake
        self._ledger = Ledger(journal, statistics)
        self._reporter = Reporter(statistics)
        self._desk = Desk(
            rest,
            requests_per_second=plan.requests_per_second,
            wait=plan.wait,
            statistics=statistics,
            wake=wake,
        )
        self._unread = False
        self._is_caught_up = False
        self._saved_at = 0.0
        self._looked_at = 0.0
        state = self._recall()
        self._damage = state.damage
        self._reaching = set(state.reaching)
        self._reaching_since = state.since
        is_start = state.offset <= starts_after or state.offset > journal.size().last_offset
        self._follower = Follower(
            state,
            products=plan.products,
            channels=plan.unreplayable_channels,
            quoted=plan.quoted_products,
            grace_seconds=plan.grace_seconds,
            starts_after=starts_after if is_start else None,
        )
        self._check_damage()

    @property
    def offset(self) -> int:
        """The last frame that was followed."""
        return self._follower.offset

    def settle(self) -> None:
        """Bring the marks up to date with what is delivered.

        Raises:
            JournalError: The journal cannot be read.
        """
        self._memory.settle(self._damage)

    @property
    def idle(self) -> bool:
        """Whether everything in the journal was read, and nothing is missing."""
        return self._is_caught_up and not self._journal.read(self._follower.offset, 1)

    def work(self) -> None:
        """Until it is time to stop.

        Raises:
            JournalError: The journal cannot be read or written now.
        """
        self._save()
        while not self._stopping.is_set():
            caught_up = self._read()
            self._watch_for_damage()
            self._desk.answer()
            self._append()
            if not self._unread:  # else what was fetched would count twice
                self._reporter.look(self._missing)
            if caught_up and not (self._unread or self._ledger.has_waiting):
                self._take_on()
                self._desk.ask()
            self._is_caught_up = caught_up and not (self._unread or self._missing or self._has_questions)
            self._save_when_due()
            if caught_up and not self._ledger.has_waiting:
                self._wait()
        self._reporter.end()
        self._save()

    def _read(self) -> bool:
        """Follow the next frames; whether those are all there are."""
        newest = self._newest_plan()
        if newest is not self._kept_plan:
            self._follower.add_products(newest.products, newest.quoted_products)
        frames = self._journal.read(self._follower.offset, _READ_FRAMES)
        if frames:
            self._is_caught_up = False  # before the offset says that they were read: see `idle`
            self._follower.follow(frames, time.monotonic())
        caught_up = len(frames) < _READ_FRAMES and sum([len(frame.data) for frame in frames]) < _READ_BYTES
        if newest is not self._kept_plan and caught_up:
            # Not before: a disconnect, or a loss, that was not read of yet has cost what was asked for then.
            self._plan = self._kept_plan = newest
            self._follower.keep_products(newest.products, newest.quoted_products, int(newest.clock() * 1e9))
        for silence in self._follower.take_silences():
            reason = reason_of(silence)
            self._ledger.record_missing_quotes(silence.channel, silence.products, silence.first, silence.last, reason)
        self._unread = self._unread and not caught_up
        return caught_up

    def _take_on(self) -> None:
        """Begin errands for whatever there is to do."""
        if not self._wants_trades:
            return
        now = time.monotonic()
        followed = self._follower.followed
        for product, tracker in self._follower.trackers.items():
            if self._desk.has(product):
                continue
            filling = Filling(product, tracker, self._ledger, self._plan.limits, clock=self._plan.clock)
            if product in self._reaching and product in followed:
                self._desk.begin(product, self._reach_back(product, filling))
            elif tracker.holes:
                for first, last in tracker.news(now):
                    self._reporter.found(product, first, last)
                self._desk.begin(product, filling.fill())
            elif product in self._follower.suspects and product in followed:
                self._desk.begin(product, self._look(product, filling))

    @property
    def _wants_trades(self) -> bool:
        """Whether trades are delivered; else whatever is missing waits until the feed is subscribed to them again."""
        return bool(self._plan.products)

    @property
    def _missing(self) -> int:
        """How many trades are to be fetched."""
        return self._follower.missing if self._wants_trades else 0

    @property
    def _has_questions(self) -> bool:
        """Whether REST is to be asked what is missing."""
        asked_of = {*self._reaching, *self._follower.suspects}
        return self._wants_trades and not self._follower.followed.isdisjoint(asked_of)

    def _look(self, product: str, filling: Filling) -> Errand:
        known_by = self._follower.suspects[product]
        try:
            yield from filling.look(self._plan.grace_seconds)
        except RestRefused:
            self._settle_suspicion(product, known_by)
            raise
        self._settle_suspicion(product, known_by)

    def _settle_suspicion(self, product: str, known_by: int) -> None:
        """The answer says nothing of what was lost since the question."""
        suspects = self._follower.suspects
        if suspects.get(product) == known_by:
            del suspects[product]

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

    def _recall(self) -> State:
        """What is remembered; where that is nothing, and no marks are left either, it is a new beginning."""
        state, since = self._memory.recall(), self._plan.since
        if state is not None:
            if since not in (0, state.since):
                logger.info("[BACKFILL] This journal has a history already: the time to begin from is ignored")
            return state
        if self._memory.has_marks:
            return State(damage=_ANOTHER_JOURNAL)
        return State(damage=damage_to(self._journal), since=since, reaching=list(self._plan.products) if since else [])

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
        self._memory.mark(follower.offset, follower.trackers, besides=self._reaching, damage=self._damage)

    # ---- damage

    def _watch_for_damage(self) -> None:
        now = time.monotonic()
        if now >= self._looked_at + _LOOK_SECONDS:
            self._looked_at = now
            self._check_damage()

    def _check_damage(self) -> None:
        """Begin again if the journal is not, or no longer, what was read."""
        known, damage = self._damage, damage_to(self._journal)
        if known == _ANOTHER_JOURNAL:
            self._begin_again("The journal is not the one that was here before", damage)
        elif damage != known:
            self._begin_again("The journal was damaged", damage)
        elif self._follower.offset > self._journal.size().last_offset:
            self._begin_again("The journal has lost its frames", damage, offsets_begin_again=True)

    def _begin_again(self, reason: str, damage: str, *, offsets_begin_again: bool = False) -> None:
        """Forget what was read: follow all frames that are left, and miss everything else that is not delivered."""
        frames = self._journal.size().frames
        logger.warning("[BACKFILL] {}: looking again for what is not delivered, in the {} frames left", reason, frames)
        trackers = self._memory.begin_again(self._plan.products, self._follower.trackers)
        self._desk.clear()
        self._ledger.begin_again()
        self._follower.begin_again(trackers, offsets_begin_again=offsets_begin_again)
        self._damage = damage
