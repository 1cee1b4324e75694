"""A journal in one SQLite file: the embedded home."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from errno import ENOSPC
from os import PathLike
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec.structs import replace

from rxbridge.errors import JournalCorrupt, JournalError, JournalFull
from rxbridge.journal.bookkeeping import (
    ACKNOWLEDGE,
    FORGET,
    KEEP_LETTER,
    RECORD_CORRUPT_GAP,
    RECORD_DROPS,
    RECORD_MARKET_GAP,
    REMEMBER,
    REMOVE_LETTER,
    drop_columns,
    gap_columns,
    letter_columns,
    market_gap_columns,
    storable,
)
from rxbridge.journal.interface import CountEvents, DeadLetter, Gap, Journal, JournalSize, MarketGap, OverflowPolicy
from rxbridge.journal.locks import RoleLock
from rxbridge.journal.opening import StoreFile
from rxbridge.journal.reader import Reader
from rxbridge.journal.recognition import require_journal
from rxbridge.journal.replay import replay
from rxbridge.journal.retention import EventCounter, ProblemTeller, Retention
from rxbridge.journal.scan import Hole
from rxbridge.journal.schema import Synchronous
from rxbridge.journal.trouble import trouble
from rxbridge.journal.work import Task
from rxbridge.journal.writer import Writer
from rxbridge.messages import Frame

if TYPE_CHECKING:
    from reactivex import Observable

Role: TypeAlias = Literal["both", "feed", "deliver", "maintain", "read"]
"""Which halves a process is: who feeds and who delivers is one process each; any number may maintain, or read."""

_POLL_SECONDS = 0.02


class SqliteJournal(Journal):
    """A journal in the SQLite file at `path`, with write-ahead logging.

    A frame that is confirmed survives `kill -9` of every process, and with `synchronous="full"` a power cut as well;
    with `"normal"` a power cut may cost the last moments before it, never the rest. What a damaged or disappeared file
    costs is a gap, and no reason not to start: it is moved aside as `<path>.corrupt-<UTC time>`, and what can be read
    of it goes into the new file. A file that has never been a journal is left alone.

    While the disk takes nothing, frames wait in memory; `acknowledge`, `forget` and `add_dead_letters` try for five
    seconds and then raise `JournalFull`, with nothing written.

    Besides the file there are `<path>-wal` and `<path>-shm`, which are parts of it; `<path>.feed.lock` and
    `<path>.deliver.lock`; and `<path>.offsets`, which remembers how far the journal has come in case it is damaged.

    Args:
        path: Where it is; folders on the way are created.
        role: `feed` may append, `deliver` and `feed` may acknowledge, `both` is the two in one process; `maintain`
            changes dead letters, market gaps and notes only, `read` changes nothing; these two need a journal that is
            there, and may run beside the others.
        max_bytes: The most that stored frames may take, in bytes. The file is a few percent larger, and does not
            shrink: its free space is used again.
        overflow: What happens when they would take more.
        keep_bytes: How many bytes of acknowledged frames are kept.
        keep_seconds: How long acknowledged frames are kept, counted from when they were received.
        essential: The consumer whose acknowledgement decides what is lost when frames are given up; see `Journal`.
        max_pending_bytes: How many bytes of frames may wait in memory for the disk; then `overflow` decides.
        count_events: Says how many events a frame would have made, to count what dropped frames cost; must not use the
            journal.
        synchronous: `normal` or `full`, as above.
        problem: Is told what goes wrong on the journal's own threads, must return soon, and must not use the journal:
            `JournalFull` when the disk is full or fails (once each time) or when the limit is reached, `JournalCorrupt`
            when something cannot be read, a plain `JournalError` when a full disk takes frames again, and
            `FramesLost` at the end, and `FramesLetGo`, once a minute, of what the limit cost others than the essential
            consumer. None: the log is told.

    Raises:
        JournalInUse: Another process has this role.
        JournalFull: The disk has no room to open it.
        JournalCorrupt: It cannot be read (`role="read"` only).
        JournalError: It cannot be opened, was written by a newer version of rxbridge, or is no journal.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        role: Role = "both",
        max_bytes: int = 10 * 2**30,
        overflow: OverflowPolicy = "drop_oldest",
        keep_bytes: int = 2**30,
        keep_seconds: float = 7 * 86400.0,
        essential: str | None = None,
        max_pending_bytes: int = 64 * 2**20,
        count_events: CountEvents | None = None,
        synchronous: Synchronous = "normal",
        problem: Callable[[JournalError], None] | None = None,
    ) -> None:
        self._path = Path(path).resolve()
        self._role: Role = role
        self._tell = ProblemTeller(problem)
        self._feeds = role in ("both", "feed")
        self._holes: dict[int, Gap] = {}
        self._barren = (0, 0)
        self._closed = Event()
        self._closing = threading.Lock()
        file = StoreFile(
            self._path,
            retention=Retention(max_bytes, overflow, keep_bytes, keep_seconds, essential),
            count_events=EventCounter(str(self._path), count_events, self._tell),
            feeds=self._feeds,
            synchronous=synchronous,
            tell=self._tell,
        )
        with ExitStack() as undo:
            try:
                if role != "read":
                    require_journal(self._path)
                self._locks = self._acquire_locks(undo)
                self._writer = self._start_writer(file, max_pending_bytes)
                if self._writer is not None:
                    undo.callback(self._writer.close)
                self._reader = Reader(self._path, found=self._found, damaged=self._damaged)
            except (sqlite3.Error, OSError) as error:
                raise self._explained(error) from error
            undo.pop_all()

    def append(self, frame: Frame) -> None:
        """Take a frame; see `Journal.append`.

        Raises:
            JournalError: The journal is closed, or its role does not append.
        """
        if self._writer is None:
            raise self._wrong_role()
        self._writer.intake.append(frame)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was appended is confirmed, or recorded as dropped; see `Journal.flush`."""
        return self._writer is None or self._writer.intake.flush(timeout)

    def read(self, after: int, limit: int = 1000) -> Sequence[Frame]:
        """The next frames, about a mebibyte at most; see `Journal.read`.

        Raises:
            JournalCorrupt: Nothing more can be read; the file will be replaced.
            JournalError: The journal is closed, or its disk fails.
        """
        frames, newest = self._reader.read(after, limit)
        if not frames and newest > after:
            # What is up there and cannot be read must not make the next wait return at once.
            low, high = self._barren
            overlaps = low <= newest and after <= high
            self._barren = (min(low, after), max(high, newest)) if overlaps else (after, newest)
        return frames

    def wait_beyond(self, after: int, timeout: float) -> bool:
        """Wait for a frame above `after`; see `Journal.wait_beyond`."""
        low, high = self._barren
        if low <= after < high:
            after = high
        if self._writer is not None and self._feeds:
            return self._writer.intake.wait_beyond(after, timeout)
        deadline = time.monotonic() + timeout
        while self._reader.newest() <= after:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._closed.wait(min(_POLL_SECONDS, remaining))
        return True

    def frames(self, after: int = 0, *, finish: Event | None = None, stop: Event | None = None) -> Observable[Frame]:
        """All frames above `after`, then those to come; see `Journal.frames`."""
        return replay(self, after, finish=finish, stop=stop)

    def cursor(self, consumer: str) -> int:
        """The offset that `consumer` has acknowledged; 0 at first."""
        return self._reader.cursor(consumer)

    def acknowledge(self, consumer: str, offset: int, dropped: Sequence[int] = ()) -> None:
        """Durably record what `consumer` is done with; see `Journal.acknowledge`.

        Raises:
            ValueError: No frame ever had this offset.
            JournalFull: The disk does not take it.
            JournalError: The journal is closed, or its role does not acknowledge.
        """
        if self._role == "maintain":
            raise self._wrong_role()
        # The file itself is asked: a frame can be read there a moment before the writer has noted it.
        if offset > (last := self._reader.last_offset()):
            raise ValueError(f"cannot acknowledge offset {offset}: the newest is {last}")
        acknowledged = (ACKNOWLEDGE, [(storable(consumer), offset)])
        self._execute(acknowledged, *([(RECORD_DROPS, [drop_columns(dropped)])] if dropped else []))

    def forget(self, consumer: str) -> None:
        """Durably drop a cursor; see `Journal.forget`."""
        self._execute((FORGET, [(storable(consumer),)]))

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Durably keep what was refused, in one transaction; see `Journal.add_dead_letters`.

        Raises:
            JournalFull: The disk does not take them; none is kept.
            JournalError: The journal is closed, or its role only reads.
        """
        self._execute((KEEP_LETTER, [letter_columns(letter) for letter in letters]))

    def remove_dead_letters(self, keys: Sequence[tuple[int, str]]) -> None:
        """Durably forget dead letters; see `Journal.remove_dead_letters`.

        Raises:
            JournalFull: The disk does not take it.
            JournalError: The journal is closed, or its role only reads.
        """
        self._execute((REMOVE_LETTER, [(offset, storable(event_id)) for offset, event_id in keys]))

    def dropped(self, after: int = 0) -> Iterator[int]:
        """The offsets of frames whose event was dropped; see `Journal.dropped`."""
        return self._reader.dropped(after)

    def record_market_gaps(self, gaps: Sequence[MarketGap]) -> None:
        """Durably record what is missing from the market; see `Journal.record_market_gaps`.

        Raises:
            JournalFull: The disk does not take it.
            JournalError: The journal is closed, or its role only reads.
        """
        self._execute((RECORD_MARKET_GAP, [market_gap_columns(gap) for gap in gaps]))

    def market_gaps(self) -> Iterator[MarketGap]:
        """What is missing from the market; see `Journal.market_gaps`."""
        return self._reader.market_gaps()

    def remember(self, name: str, value: bytes) -> None:
        """Durably keep a note; see `Journal.remember`.

        Raises:
            JournalFull: The disk does not take it.
            JournalError: The journal is closed, or its role only reads.
        """
        self._execute((REMEMBER, [(storable(name), value)]))

    def recall(self, name: str) -> bytes | None:
        """The note of that name; see `Journal.recall`."""
        return self._reader.recall(name)

    def dead_letters(self, after: int = 0) -> Iterator[DeadLetter]:
        """All dead letters above `after`, by offset and event id."""
        return self._reader.dead_letters(after)

    def gaps(self) -> Iterator[Gap]:
        """All gaps, oldest first; last those that could only be found, because the role writes nothing."""
        recorded: set[int] = set()
        for gap in self._reader.gaps():
            if gap.kind == "corrupt":
                recorded.add(gap.last_offset)
            yield gap
        if self._role == "read":
            yield from (gap for last, gap in list(self._holes.items()) if last not in recorded)

    def let_go(self) -> int:
        """How many delivered frames went before all had read them; see `Journal.let_go`."""
        return self._reader.let_go()

    def size(self) -> JournalSize:
        """How much it holds now."""
        size = self._reader.size()
        if self._writer is None:
            return size
        return replace(size, pending_frames=self._writer.intake.pending_frames)

    def hurry(self, seconds: float) -> None:
        """Wait at most this long from now on for a disk that takes nothing; see `Journal.hurry`."""
        if self._writer is not None:
            self._writer.intake.give_up_at = time.monotonic() + seconds

    def close(self) -> None:
        """Confirm what is pending and let go of everything.

        What a failing disk does not take within five seconds, or those of `hurry`, is lost, and `problem` is told how
        much that is.
        """
        with self._closing:
            if self._closed.is_set():
                return
            if self._writer is not None:
                self._writer.close()
            self._closed.set()
            self._reader.close()
            for lock in self._locks:
                lock.release()

    def _acquire_locks(self, undo: ExitStack) -> list[RoleLock]:
        if self._role in ("maintain", "read"):
            if not self._path.exists():
                raise JournalError(str(self._path), "does not exist")
            return []
        self._path.parent.mkdir(parents=True, exist_ok=True)
        locks: list[RoleLock] = []
        for role in ("feed", "deliver"):
            if self._role in ("both", role):
                locks.append(RoleLock(self._path, role))
                undo.callback(locks[-1].release)
        return locks

    def _start_writer(self, file: StoreFile, max_pending_bytes: int) -> Writer | None:
        return None if self._role == "read" else Writer(file, max_pending_bytes=max_pending_bytes)

    def _execute(self, *steps: tuple[str, Sequence[tuple[object, ...]]]) -> None:
        if self._writer is None:
            raise self._wrong_role()
        if any(rows for _, rows in steps):
            self._writer.intake.execute(Task(*steps))

    def _found(self, hole: Hole) -> None:
        """Record a hole that was read over, and tell of it, once."""
        known = self._holes.get(hole.last_offset)
        if known is not None and known.first_offset <= hole.first_offset:
            return
        frames = hole.last_offset - hole.first_offset + 1
        gap = Gap("corrupt", hole.reason, time.time_ns(), hole.first_offset, hole.last_offset, frames, 0)
        self._holes[hole.last_offset] = gap
        if self._writer is not None:
            self._writer.intake.submit(Task((RECORD_CORRUPT_GAP, [gap_columns(gap)])))
        where = f"offsets {gap.first_offset} to {gap.last_offset} cannot be read"
        self._tell(JournalCorrupt(str(self._path), f"{where}: {hole.reason}"))

    def _damaged(self, error: JournalCorrupt) -> None:
        if self._writer is not None:
            self._writer.replace_file(error)

    def _wrong_role(self) -> JournalError:
        return JournalError(str(self._path), f"was opened with the role {self._role!r}, which does not change this")

    def _explained(self, error: sqlite3.Error | OSError) -> JournalError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or getattr(error, "errno", 0) == ENOSPC:
            return JournalFull(str(self._path), f"cannot be opened: {error}")
        hint = "; another program has locked it" if trouble(error) == "busy" else ""
        return JournalError(str(self._path), f"cannot be opened: {error}{hint}")
