"""A journal in memory: for notebooks, dry runs and tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rxbridge.errors import JournalError, JournalFull
from rxbridge.journal.interface import CountEvents, DeadLetter, Gap, Journal, JournalSize, MarketGap, OverflowPolicy
from rxbridge.journal.replay import replay
from rxbridge.journal.retention import (
    FRAME_OVERHEAD,
    Cursors,
    EventCounter,
    LetGo,
    LetGoTeller,
    ProblemTeller,
    Retention,
)
from rxbridge.messages import Frame

if TYPE_CHECKING:
    from reactivex import Observable

_NAME = "(memory)"
_FORGOTTEN_AT_ONCE = 4096


class MemoryJournal(Journal):
    """A journal that lasts as long as the process. A frame is confirmed when `append` returns.

    Args:
        max_bytes: The most that its frames may take, in bytes.
        overflow: What happens when they would take more.
        keep_bytes: How many bytes of acknowledged frames are kept.
        keep_seconds: How long acknowledged frames are kept, counted from when they were received.
        essential: The consumer whose acknowledgement decides what is lost when frames are given up; see `Journal`.
        count_events: Says how many events a frame would have made, to count what dropped frames cost.
        problem: Is told when the limit is reached; None: the log is. Neither of the two may use the journal.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 256 * 2**20,
        overflow: OverflowPolicy = "drop_oldest",
        keep_bytes: int = 64 * 2**20,
        keep_seconds: float = 7 * 86400.0,
        essential: str | None = None,
        count_events: CountEvents | None = None,
        problem: Callable[[JournalError], None] | None = None,
    ) -> None:
        self._retention = Retention(max_bytes, overflow, keep_bytes, keep_seconds, essential)
        self._tell = ProblemTeller(problem)
        self._tell_let_go = LetGoTeller(_NAME, self._tell, time.monotonic)
        self._count_events = EventCounter(_NAME, count_events, self._tell)
        self._news = threading.Condition(threading.Lock())
        self._waiting = 0
        # Frames from `_head` on are there; those before it are forgotten in strides.
        self._frames: list[Frame] = []
        self._head = 0
        self._held = 0
        self._acknowledged_bytes = 0
        self._acknowledged = 0
        self._last_offset = 0
        self._cursors: dict[str, int] = {}
        self._letters: dict[tuple[int, str], DeadLetter] = {}
        self._gaps: list[Gap] = []
        self._let_go = 0
        self._market_gaps: dict[tuple[object, ...], MarketGap] = {}
        self._dropped: deque[int] = deque()
        self._notes: dict[str, bytes] = {}
        self._closed = False

    def append(self, frame: Frame) -> None:
        """Take a frame; see `Journal.append`.

        Raises:
            JournalError: The journal is closed.
        """
        size = _size(frame)
        with self._news:
            self._check_open()
            if self._retention.is_crowded(held=self._held + size):
                self._make_room(size)
            self._last_offset += 1
            self._frames.append(Frame(frame.data, frame.received_at, frame.connection, frame.index, self._last_offset))
            self._held += size
            if self._waiting:
                self._news.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """True: everything is confirmed at once."""
        del timeout
        return True

    def read(self, after: int, limit: int = 1000) -> Sequence[Frame]:
        """The next frames; see `Journal.read`.

        Raises:
            JournalError: The journal is closed.
        """
        with self._news:
            self._check_open()
            start = self._position(after + 1)
            return self._frames[start : start + limit]

    def wait_beyond(self, after: int, timeout: float) -> bool:
        """Wait for a frame above `after`; see `Journal.wait_beyond`."""
        with self._news:
            self._wait(lambda: self._newest() > after or self._closed, timeout)
            self._check_open()
            return self._newest() > after

    def frames(self, after: int = 0, *, finish: Event | None = None, stop: Event | None = None) -> Observable[Frame]:
        """All frames above `after`, then those to come; see `Journal.frames`."""
        return replay(self, after, finish=finish, stop=stop)

    def cursor(self, consumer: str) -> int:
        """The offset that `consumer` has acknowledged; 0 at first."""
        with self._news:
            self._check_open()
            return self._cursors.get(consumer, 0)

    def acknowledge(self, consumer: str, offset: int, dropped: Sequence[int] = ()) -> None:
        """Record what `consumer` is done with; see `Journal.acknowledge`.

        Raises:
            ValueError: No frame ever had this offset.
            JournalError: The journal is closed.
        """
        with self._news:
            self._check_open()
            if offset > self._last_offset:
                raise ValueError(f"cannot acknowledge offset {offset}: the newest is {self._last_offset}")
            self._cursors[consumer] = max(self._cursors.get(consumer, 0), offset)
            self._dropped.extend(dropped)
            self._settle_acknowledged()

    def forget(self, consumer: str) -> None:
        """Drop a cursor; see `Journal.forget`."""
        with self._news:
            self._check_open()
            self._cursors.pop(consumer, None)
            self._settle_acknowledged()

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep what was refused; see `Journal.add_dead_letters`."""
        with self._news:
            self._check_open()
            for letter in letters:
                key = (letter.offset, letter.event_id)
                old = self._letters.get(key)
                if old is not None:
                    letter = replace(  # noqa: PLW2901 - what is kept is the old one, brought up to date
                        old,
                        reason=letter.reason,
                        last_attempt=max(old.last_attempt, letter.last_attempt),
                        attempts=old.attempts + letter.attempts,
                    )
                self._letters[key] = letter

    def dead_letters(self, after: int = 0) -> Iterator[DeadLetter]:
        """All dead letters above `after`, by offset and event id."""
        with self._news:
            self._check_open()
            return iter([self._letters[key] for key in sorted(self._letters) if key[0] > after])

    def remove_dead_letters(self, keys: Sequence[tuple[int, str]]) -> None:
        """Forget dead letters; see `Journal.remove_dead_letters`."""
        with self._news:
            self._check_open()
            for key in keys:
                self._letters.pop(key, None)

    def dropped(self, after: int = 0) -> Iterator[int]:
        """The offsets of frames whose event was dropped; see `Journal.dropped`."""
        with self._news:
            self._check_open()
            return iter([offset for offset in self._dropped if offset > after])

    def record_market_gaps(self, gaps: Sequence[MarketGap]) -> None:
        """Record what is missing from the market; see `Journal.record_market_gaps`."""
        with self._news:
            self._check_open()
            for gap in gaps:
                key = (gap.kind, gap.products, gap.channel, gap.first, gap.last)
                self._market_gaps.setdefault(key, gap)

    def market_gaps(self) -> Iterator[MarketGap]:
        """What is missing from the market; see `Journal.market_gaps`."""
        with self._news:
            self._check_open()
            return iter(list(self._market_gaps.values()))

    def remember(self, name: str, value: bytes) -> None:
        """Keep a note; see `Journal.remember`."""
        with self._news:
            self._check_open()
            self._notes[name] = value

    def recall(self, name: str) -> bytes | None:
        """The note of that name; see `Journal.recall`."""
        with self._news:
            self._check_open()
            return self._notes.get(name)

    def gaps(self) -> Iterator[Gap]:
        """All gaps, oldest first."""
        with self._news:
            self._check_open()
            return iter(list(self._gaps))

    def let_go(self) -> int:
        """How many delivered frames went before all had read them; see `Journal.let_go`."""
        with self._news:
            self._check_open()
            return self._let_go

    def size(self) -> JournalSize:
        """How much it holds now."""
        with self._news:
            self._check_open()
            return JournalSize(
                frames=len(self._frames) - self._head,
                bytes=self._held,
                first_offset=self._frames[self._head].offset if self._head < len(self._frames) else 0,
                last_offset=self._last_offset,
                pending_frames=0,
            )

    def hurry(self, seconds: float) -> None:
        """Nothing to do: there is no disk."""

    def close(self) -> None:
        """Refuse everything from now on; what it held is gone."""
        with self._news:
            self._closed = True
            self._frames.clear()
            self._head = 0
            self._news.notify_all()

    # ---- under the lock

    def _check_open(self) -> None:
        if self._closed:
            raise JournalError(_NAME, "is closed")

    def _wait(self, predicate: Callable[[], bool], timeout: float | None) -> None:
        self._waiting += 1
        try:
            self._news.wait_for(predicate, timeout)
        finally:
            self._waiting -= 1

    def _newest(self) -> int:
        return self._last_offset if self._head < len(self._frames) else 0

    def _position(self, offset: int) -> int:
        """Where the frame with this offset, or else the next one, is in the list."""
        first = self._last_offset + 1 - (len(self._frames) - self._head)
        return self._head + max(offset - first, 0)

    def _reached(self) -> Cursors:
        return Cursors(self._cursors, self._retention.essential)

    def _settle_acknowledged(self) -> None:
        """Act upon a cursor that has moved."""
        slowest = self._reached().slowest
        if slowest > self._acknowledged:
            done = self._frames[self._position(self._acknowledged + 1) : self._position(slowest + 1)]
            self._acknowledged_bytes += sum(map(_size, done))
            self._acknowledged = slowest
        elif slowest < self._acknowledged:
            # A consumer has come that is slower than the others.
            again = self._frames[self._position(slowest + 1) : self._position(self._acknowledged + 1)]
            self._acknowledged_bytes -= sum(map(_size, again))
            self._acknowledged = slowest
        if self._release(0):
            self._news.notify_all()

    def _make_room(self, size: int) -> None:
        if self._find_room(size):
            return
        if self._retention.overflow == "block":
            self._tell(JournalFull(_NAME, "is full: frames wait until something is acknowledged"))
            self._wait(lambda: self._closed or self._find_room(size), None)
            self._check_open()
            return
        given_up: list[Frame] = []
        while self._retention.gives_up(held=self._held + size) and self._head < len(self._frames):
            given_up.append(self._remove_oldest())
        reached = self._reached()
        dropped = [frame for frame in given_up if frame.offset > reached.settled]
        if dropped:
            self._record_dropped(dropped)
        if let_go := len(given_up) - len(dropped):
            self._let_go += let_go
            self._tell_let_go(LetGo(let_go, reached.behind(given_up[let_go - 1].offset)))

    def _find_room(self, size: int) -> bool:
        """Remove what may go, and whether that makes enough room."""
        self._release(size)
        return self._held + size <= self._retention.max_bytes or self._held == 0

    def _release(self, wanted: int) -> bool:
        """Remove the oldest acknowledged frames that may go; whether there were any."""
        now = time.time_ns()
        released = False
        while self._head < len(self._frames) and self._frames[self._head].offset <= self._acknowledged:
            if not self._retention.releases(
                held=self._held + wanted,
                acknowledged=self._acknowledged_bytes,
                received_at=self._frames[self._head].received_at,
                now=now,
            ):
                break
            self._remove_oldest()
            released = True
        return released

    def _remove_oldest(self) -> Frame:
        frame = self._frames[self._head]
        self._head += 1
        self._held -= _size(frame)
        while self._dropped and self._dropped[0] <= frame.offset:
            self._dropped.popleft()
        if frame.offset <= self._acknowledged:
            self._acknowledged_bytes -= _size(frame)
        if self._head >= _FORGOTTEN_AT_ONCE or self._head == len(self._frames):
            del self._frames[: self._head]
            self._head = 0
        return frame

    def _record_dropped(self, frames: list[Frame]) -> None:
        events = self._count_events(frames)
        first, last = frames[0].offset, frames[-1].offset
        newest = self._gaps[-1] if self._gaps else None
        if newest is not None and newest.last_offset + 1 == first:
            self._gaps[-1] = replace(
                newest, last_offset=last, frames=newest.frames + len(frames), events=newest.events + events
            )
            return
        reason = f"the journal was full ({self._retention.max_bytes} bytes)"
        self._gaps.append(Gap("dropped", reason, time.time_ns(), first, last, len(frames), events))
        self._tell(JournalFull(_NAME, "is full: the oldest frames are dropped that nobody has acknowledged"))


def _size(frame: Frame) -> int:
    return len(frame.data) + FRAME_OVERHEAD
