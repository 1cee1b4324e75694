"""What the delivery half has read, what is settled of it, and so what it may acknowledge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxbridge.custom_pipelines import STRIDE_FRAMES, Holdings, add_checkpoint, has_lost_state, rebuild_from
from rxbridge.events import EncodedEvent
from rxbridge.journal import DeadLetter, Journal
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import DeliveryStatistics

CONSUMER = "pulsestream"
"""The name under which the delivery half acknowledges."""

STATE_CONSUMER = "pulsestream state"
"""The name under which it acknowledges what users' pipelines need no more to have the state that they have."""

_LETTERS_IN_MEMORY = 1_000


class Progress:
    """What was read, what is settled, and so what may be acknowledged.

    Dead letters are written together with the acknowledgement that they belong to, and before it: a crash in between
    makes the same letters again from the same frames, under the same keys. What a policy drops is recorded in the very
    transaction of the acknowledgement, since another try might choose otherwise.
    """

    def __init__(self, journal: Journal, statistics: DeliveryStatistics) -> None:
        self._journal = journal
        self._statistics = statistics
        self._lock = threading.Lock()
        self._letters: list[DeadLetter] = []
        self._dropped: list[int] = []
        self._last_kept = ""
        self._window_end = 0
        self._reading = _Reading(journal.cursor(CONSUMER))
        self._holdings: Holdings | None = None
        self._released = 0
        self._checked_at = 0

    def restart(self) -> int:
        """Forget what is in hand; the offset after which to read it again."""
        with self._lock:
            # They are made again from the same frames.
            self._statistics.dead -= len(self._letters)
            self._statistics.dropped -= len(self._dropped)
            self._letters.clear()
            self._dropped.clear()
            self._reading = _Reading(self._journal.cursor(CONSUMER))
            self._statistics.received = self._settled()
            return self._reading.offset

    def rebuild(self) -> tuple[int, Holdings]:
        """After `restart`, for users' pipelines: the offset after which they read, and who is told what they hold.

        Raises:
            JournalError: The journal cannot be written.
        """
        read = self._reading.offset
        begin = rebuild_from(self._journal, STATE_CONSUMER, read)
        if has_lost_state(self._journal, STATE_CONSUMER, read):
            logger.warning(
                "[LET GO] The journal was full, and has no more what your pipelines had open: it is made of the frames "
                "from {} on. Raise journal.max_bytes",
                begin + 1,
            )
        self._holdings = Holdings(begin)
        add_checkpoint(self._journal, read, begin)
        self._checked_at = read
        return begin, self._holdings

    def in_hand(self) -> int:
        """Events that were made and are neither delivered nor dead nor dropped; too many rather than too few.

        What is settled is counted first: an event that is made and settled in between, such as a malformed frame, must
        not stand for one that is still in hand.
        """
        settled = self._settled()
        return self._statistics.received - settled

    def caught_up(self) -> bool:
        """Whether everything in the journal was read and settled."""
        return self._reading.offset >= self._journal.size().last_offset and self.in_hand() == 0

    def track(
        self, frames: Observable[Frame], chain: Callable[[Observable[Frame]], Observable[EncodedEvent]]
    ) -> Observable[EncodedEvent]:
        """What the chain makes of the frames; the offset of each is noted when the chain has returned from it.

        A frame at which the chain ends by an error is not noted, and the chain is given no further one: all of them are
        read again.
        """

        def subscribe(observer: ObserverBase[EncodedEvent], scheduler: SchedulerBase | None = None) -> DisposableBase:
            reading = self._reading

            def on_error(error: Exception) -> None:
                reading.has_failed = True
                observer.on_error(error)

            made = frames.pipe(reading.follow, chain)
            return made.subscribe(observer.on_next, on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    def dead(self, letter: DeadLetter) -> None:
        """Count a dead letter, and keep it until the next acknowledgement."""
        with self._lock:
            self._letters.append(letter)
            self._statistics.dead += 1
            crowded = len(self._letters) >= _LETTERS_IN_MEMORY
        if crowded:
            self._write_letters()

    def keep(self, window: Sequence[EncodedEvent], kept: Sequence[EncodedEvent], dropped: list[int]) -> None:
        """Note what of a window goes on to the sink, and what a policy drops; the one before must be settled.

        Args:
            window: Events that wait, in order, at least one.
            kept: Those that go on to the sink.
            dropped: The offsets of the others.
        """
        with self._lock:
            # Those of a frame that goes on in this window may be there still.
            self._dropped += dropped
            self._statistics.dropped += len(dropped)
        self._last_kept = kept[-1].event_id if kept else ""
        self._window_end = _done(window[-1])
        if not kept:
            self._acknowledge(self._window_end)

    def settled(self, batch: Sequence[EncodedEvent]) -> None:
        """Acknowledge a batch, or the first part of one, each event of which is stored or a dead letter."""
        last = batch[-1]
        self._acknowledge(self._window_end if last.event_id == self._last_kept else _done(last))

    def acknowledge_idle(self) -> None:
        """Acknowledge frames that made no event, such as an hour of heartbeats, when nothing is in hand.

        The offset is taken before the count: every event of a frame up to that offset was counted before the offset
        was noted, so if nothing is in hand afterwards, all of them are settled. A restart, which forgets what is in
        hand, must not come in between.
        """
        with self._lock:
            read = self._reading.offset
            idle = self.in_hand() == 0
        if idle and read > self._journal.cursor(CONSUMER):
            self._acknowledge(read)

    def _acknowledge(self, offset: int) -> None:
        """Acknowledge what is settled, with what was dropped up to there."""
        self._write_letters()
        with self._lock:
            # Of a frame, more than one event may be dropped.
            dropped = sorted({other for other in self._dropped if other <= offset})
        self._journal.acknowledge(CONSUMER, offset, dropped)
        with self._lock:
            self._dropped = [other for other in self._dropped if other > offset]
        if self._holdings is not None and (released := self._holdings.up_to(offset)) > self._released:
            # Second: a crash in between has a restart read more than it must.
            self._journal.acknowledge(STATE_CONSUMER, released)
            self._released = released
            if offset >= self._checked_at + STRIDE_FRAMES:
                add_checkpoint(self._journal, offset, released)
                self._checked_at = offset

    def _settled(self) -> int:
        return self._statistics.delivered + self._statistics.dead + self._statistics.dropped

    def _write_letters(self) -> None:
        with self._lock:
            letters = list(self._letters)
        if letters:
            self._journal.add_dead_letters(letters)
            written = set(map(id, letters))
            with self._lock:
                # By now another thread may have written some of them as well, and there may be new ones.
                self._letters = [letter for letter in self._letters if id(letter) not in written]


class _Reading:
    """How far the frames were read since a restart. One that is over, and still in a frame, tells nobody any more.

    Attributes:
        offset: Of the newest frame from which the chain has returned.
        has_failed: Whether the chain has ended by an error: it has returned from that frame, and made nothing of it.
    """

    __slots__ = ("has_failed", "offset")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.has_failed = False

    def follow(self, frames: Observable[Frame]) -> Observable[Frame]:
        """The frames, of each of which note is taken."""

        def subscribe(observer: ObserverBase[Frame], scheduler: SchedulerBase | None = None) -> DisposableBase:
            def on_next(frame: Frame) -> None:
                # The source may be in the middle of many, or not even have returned from being subscribed to.
                if self.has_failed:
                    return
                observer.on_next(frame)
                # Those that are read once more, for the state of users' pipelines, are behind it.
                if not self.has_failed and frame.offset > self.offset:
                    self.offset = frame.offset

            return frames.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)


def _done(event: EncodedEvent) -> int:
    """The offset up to which all is done when this event is settled, and all before it."""
    return event.offset if event.ends_frame else event.offset - 1
