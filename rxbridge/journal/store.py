"""The writing side of a journal's SQLite file: one transaction for everything that waits."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rxbridge.journal.bookkeeping import FORGET_DROPS, cursors, record_drop
from rxbridge.journal.giving_up import record_given_up
from rxbridge.journal.interface import Gap
from rxbridge.journal.packing import DamagedRow, Row, pack, unpack
from rxbridge.journal.pending import Chunk
from rxbridge.journal.removal import ROWS_AT_ONCE, OldRow, oldest_rows
from rxbridge.journal.retention import Cursors, EventCounter, LetGo, Retention
from rxbridge.journal.schema import BUSY_SECONDS, LOG_LIMIT_BYTES, UnusableFile, identity, single
from rxbridge.journal.work import Outcome, Task, TaskRefused, Work
from rxbridge.messages import Frame

# A row that fits a page is written again for each frame that joins it, which costs no more than a row of its own.
_TAIL_BYTES = 3800
# What no later try would change: a number beyond 64 bits, a NULL, a value of another type.
_REFUSALS = (
    OverflowError,
    TypeError,
    ValueError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
_UPKEEP_SECONDS = 1.0
_CHECKPOINT_PAUSE_SECONDS = 5.0
_CHECKPOINT_WAIT_MILLISECONDS = 100

_NOTHING_LET_GO = LetGo()
_NEWEST_ROW = "SELECT * FROM rows ORDER BY first_offset DESC LIMIT 1"


class _Totals(msgspec.Struct, frozen=True):
    """All that was ever stored, up to some row."""

    last_offset: int
    frames: int
    bytes: int


class _Tail(msgspec.Struct, frozen=True):
    """The newest row while frames may still join it, and what was stored before it."""

    before: _Totals
    frames: list[Frame]
    bytes: int


class Store:
    """Writes frames, executes tasks and removes what must go, for one thread.

    Args:
        connection: Is closed with the store.
        path: What it is connected to.
        retention: What may stay.
        count_events: Counts events of dropped frames.
        feeds: Whether this process is the one that appends; only that one removes frames.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        retention: Retention,
        count_events: EventCounter,
        feeds: bool,
    ) -> None:
        self._connection = connection
        self._path = path
        self._retention = retention
        self._count_events = count_events
        self._feeds = feeds
        self._identity = identity(path)
        self._log = path.with_name(path.name + "-wal")
        self._totals = _Totals(0, 0, 0)
        self._removed_bytes = 0
        self._newest = 0
        self._tail: _Tail | None = None
        self._stale = True
        self._unfinished = False
        self._upkeep_at = 0.0
        self._checkpoint_at = 0.0

    def load(self) -> Outcome:
        """Read how far the journal has come.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        connection = self._connection
        totals = self._saved_totals()
        columns = connection.execute(_NEWEST_ROW).fetchone()
        self._newest = 0
        if columns is not None:
            row = Row(*columns)
            try:
                self._newest = unpack(row)[-1].offset
            except DamagedRow as error:
                # Everything is counted on from this row, so it is as vital as the file's own structure.
                raise UnusableFile(f"the newest row is damaged: {error}") from error
            totals = _Totals(
                max(totals.last_offset, self._newest), row.frames_before + row.frames, row.bytes_before + len(row.body)
            )
        self._totals = totals
        self._removed_bytes = self._first_bytes_before()
        self._tail = None
        self._stale = False
        return self._outcome(self._cursors().slowest)

    def is_current(self) -> bool:
        """Whether the path still leads to the file that was opened."""
        return identity(self._path) == self._identity

    def commit(self, work: Work) -> Outcome:
        """Write all of it, or nothing.

        Raises:
            TaskRefused: A task cannot be executed, whatever the state of the journal.
            sqlite3.Error: It could not be written.
        """
        if self._stale and self._feeds:
            self.load()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcome = self._apply(work)
            self._connection.execute("COMMIT")
        except BaseException:
            self._stale = True
            # If even this fails, the connection is not used again: see `is_usable`.
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            raise
        return outcome

    @property
    def is_usable(self) -> bool:
        """Whether another transaction can begin."""
        return not self._connection.in_transaction

    def add_row(self, frames: Sequence[Frame], *, after: int) -> None:
        """Write frames with the offsets that follow `after`, in a row of their own; the caller has the transaction."""
        self._write_row(_Totals(after, self._totals.frames, self._totals.bytes), frames)

    def advance(self, last_offset: int) -> None:
        """Give out no offset up to this one any more; the caller has the transaction."""
        self._totals = _Totals(max(self._totals.last_offset, last_offset), self._totals.frames, self._totals.bytes)
        self._save_totals()

    def cut_log(self) -> None:
        """Make the write-ahead log short again if it has grown beyond its limit.

        SQLite does that by itself unless readers are always in its way; this waits for them, but not for long.
        """
        if time.monotonic() < self._checkpoint_at:
            return
        # What is in the way of this is in the way of the next transaction as well, and is told of then.
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._log.stat().st_size > LOG_LIMIT_BYTES:
                self._checkpoint_at = time.monotonic() + _CHECKPOINT_PAUSE_SECONDS
                self._connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAIT_MILLISECONDS}").close()
                try:
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
                finally:
                    self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}").close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _apply(self, work: Work) -> Outcome:
        for chunk in work.chunks:
            self._append(chunk)
        for task in work.tasks:
            self._execute(task)
        began_to_drop = False
        if work.lost:
            reason = "the disk took too little, and memory was full"
            gap = Gap("dropped", reason, time.time_ns(), 0, 0, work.lost.frames, work.lost.events)
            began_to_drop = record_drop(self._connection, gap)
        consumers = self._cursors()
        removed = self._removed_bytes
        let_go = LetGo()
        if self._feeds and self._must_remove(work):
            began_again, let_go = self._remove(consumers, work)
            began_to_drop = began_to_drop or began_again
        freed = self._removed_bytes > removed
        return self._outcome(consumers.slowest, freed=freed, began_to_drop=began_to_drop, let_go=let_go)

    def _cursors(self) -> Cursors:
        return Cursors(cursors(self._connection), self._retention.essential)

    def _append(self, chunk: Chunk) -> None:
        tail = self._tail
        if tail is not None and tail.bytes + chunk.bytes <= _TAIL_BYTES:
            tail = _Tail(tail.before, tail.frames + chunk.frames, tail.bytes + chunk.bytes)
        else:
            tail = _Tail(self._totals, chunk.frames, chunk.bytes)
        self._write_row(tail.before, tail.frames)
        self._tail = tail

    def _write_row(self, before: _Totals, frames: Sequence[Frame]) -> None:
        row = pack(frames, first_offset=before.last_offset + 1, frames_before=before.frames, bytes_before=before.bytes)
        self._connection.execute(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(row)
        )
        self._newest = before.last_offset + len(frames)
        self._totals = _Totals(self._newest, before.frames + len(frames), before.bytes + len(row.body))

    def _execute(self, task: Task) -> None:
        try:
            for statement, rows in task.steps:
                self._connection.executemany(statement, rows)
        except _REFUSALS as error:
            raise TaskRefused(task, error) from error

    def _must_remove(self, work: Work) -> bool:
        now = time.monotonic()
        held = self._held() + work.wanted
        due = now >= self._upkeep_at or self._unfinished or work.urgent
        if not due and not self._retention.is_crowded(held=held):
            return False
        self._upkeep_at = now + _UPKEEP_SECONDS
        return True

    def _remove(self, consumers: Cursors, work: Work) -> tuple[bool, LetGo]:
        """Remove the oldest rows that may or must go.

        Returns:
            Whether a new record of dropped frames was begun; and what was let go.
        """
        last: OldRow | None = None
        removed = 0
        given_up: list[OldRow] = []
        slowest = consumers.slowest
        acknowledged_bytes = self._bytes_before(slowest)
        now = time.time_ns()
        for row in oldest_rows(self._connection, self._totals.last_offset, self._totals.bytes):
            held = self._totals.bytes - row.bytes_before + work.wanted
            if row.last_offset <= slowest:
                acknowledged = acknowledged_bytes - row.bytes_before
                goes = work.urgent or self._retention.releases(
                    held=held, acknowledged=acknowledged, received_at=row.received_at, now=now
                )
            else:
                goes = not row.is_newest and self._retention.gives_up(held=held)
                if goes:
                    given_up.append(row)
            if not goes:
                break
            last = row
            removed += 1
        self._unfinished = removed == ROWS_AT_ONCE
        if last is None:
            return False, LetGo()
        reason = f"the journal was full ({self._retention.max_bytes} bytes)"
        began_to_drop, let_go = record_given_up(
            self._connection, given_up, consumers, reason=reason, count_events=self._count_events
        )
        self._connection.execute("DELETE FROM rows WHERE first_offset <= ?", (last.first_offset,))
        self._connection.execute(FORGET_DROPS, (last.last_offset,))
        self._after_removal(last.first_offset)
        return began_to_drop, let_go

    def _after_removal(self, last: int) -> None:
        self._removed_bytes = self._first_bytes_before()
        if self._tail is not None and self._tail.before.last_offset < last:
            self._tail = None
        if self._removed_bytes == self._totals.bytes:
            self._newest = 0
        self._save_totals()

    def _saved_totals(self) -> _Totals:
        columns = self._connection.execute("SELECT last_offset, frames, bytes FROM state").fetchone()
        if columns is None or not all(isinstance(column, int) for column in columns):
            raise UnusableFile("its totals are damaged")
        return _Totals(*columns)

    def _save_totals(self) -> None:
        totals = self._totals
        self._connection.execute(
            "UPDATE state SET last_offset = ?, frames = ?, bytes = ?", (totals.last_offset, totals.frames, totals.bytes)
        )

    def _first_bytes_before(self) -> int:
        """The bytes ever stored before the oldest row, or before now if there is none."""
        for row in oldest_rows(self._connection, self._totals.last_offset, self._totals.bytes):
            return row.bytes_before
        return self._totals.bytes

    def _bytes_before(self, slowest: int) -> int:
        """The bytes ever stored up to the row that holds the first unacknowledged frame."""
        if slowest >= self._totals.last_offset:
            return self._totals.bytes
        return single(
            self._connection,
            "SELECT CAST(bytes_before AS INTEGER) FROM rows WHERE first_offset <= ? ORDER BY first_offset DESC LIMIT 1",
            (slowest + 1,),
        )

    def _held(self) -> int:
        return self._totals.bytes - self._removed_bytes

    def _outcome(
        self, slowest: int, *, freed: bool = False, began_to_drop: bool = False, let_go: LetGo = _NOTHING_LET_GO
    ) -> Outcome:
        return Outcome(
            last_offset=self._totals.last_offset,
            newest=self._newest,
            held=self._held(),
            acknowledged=slowest,
            freed=freed,
            unfinished=self._unfinished,
            began_to_drop=began_to_drop,
            let_go=let_go,
        )
