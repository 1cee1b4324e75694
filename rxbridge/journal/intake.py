"""Where callers meet the thread that writes: what waits to be written, and who waits for it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

from rxbridge.errors import JournalError, JournalFull
from rxbridge.journal.pending import Pending
from rxbridge.journal.retention import FRAME_OVERHEAD, EventCounter, Loss, Retention
from rxbridge.journal.work import Outcome, Task, Work
from rxbridge.messages import Frame

_CHUNK_BYTES = 64 * 1024
_TRANSACTION_BYTES = 4 * 2**20
_UPKEEP_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 0.05
_TASK_PATIENCE_SECONDS = 5.0


class Intake:
    """The queue between a journal's callers and its writer. Callers never wait for the disk, except for a task.

    Args:
        path: The journal's path, for messages.
        retention: What the journal may hold.
        max_pending_bytes: How many bytes of frames may wait in memory.
        count_events: Counts events of frames that are given up.
        feeds: Whether frames are taken at all.
        outcome: How the journal is at the start.

    Attributes:
        give_up_at: When to give up on a disk that takes nothing, on the monotonic clock; it may be changed.
    """

    def __init__(
        self,
        path: str,
        *,
        retention: Retention,
        max_pending_bytes: int,
        count_events: EventCounter,
        feeds: bool,
        outcome: Outcome,
    ) -> None:
        if max_pending_bytes <= 0:
            raise ValueError(f"max_pending_bytes must be positive, not {max_pending_bytes}")
        smallest = min(max_pending_bytes, retention.max_bytes)
        self._path = path
        self._retention = retention
        self._max_pending_bytes = max_pending_bytes
        self._transaction_bytes = min(_TRANSACTION_BYTES, smallest // 4)
        self._count_events = count_events
        self._feeds = feeds
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._news = threading.Condition(self._lock)
        self._pending = Pending(min(_CHUNK_BYTES, smallest // 16))
        self._tasks: deque[Task] = deque()
        self._lost = Loss()
        self._wanted = 0
        self._unfinished = False
        self._idle = False
        self._appended = 0
        self._settled = 0
        self._outcome = outcome
        self._room = 0
        self._problem = ""
        self._closing = False
        self.give_up_at: float = math.inf
        self._end: JournalError | None = None
        self._measure_room()

    # ---- for callers

    def append(self, frame: Frame) -> None:
        """Take a frame; as `Journal.append`."""
        size = len(frame.data) + FRAME_OVERHEAD
        with self._lock:
            if self._pending.bytes + size > self._room:
                self._make_room(size)
            self._pending.add(frame, size)
            self._appended += 1
            if self._idle:
                self._idle = False
                self._work.notify()

    def execute(self, task: Task) -> None:
        """Have a task executed, and wait until it is durable.

        Raises:
            JournalFull: The disk did not take it in time; it will not be executed later either.
            JournalError: The journal is closed.
            Exception: What SQLite says to the task's parameters.
        """
        self.submit(task)
        give_up_at = time.monotonic() + _TASK_PATIENCE_SECONDS
        while not task.done.wait(_ASK_AGAIN_SECONDS):
            with self._lock:
                # One that is not in the queue is being tried at this moment.
                if time.monotonic() > min(give_up_at, self.give_up_at) and task in self._tasks:
                    self._tasks.remove(task)
                    raise JournalFull(self._path, f"cannot be written: {self._problem or 'the disk is too slow'}")
        if task.error is not None:
            raise task.error

    def submit(self, task: Task) -> None:
        """Have a task executed in a while.

        Raises:
            JournalError: The journal is closed.
        """
        with self._lock:
            self._check_open()
            self._tasks.append(task)
            self._wake()

    def flush(self, timeout: float | None) -> bool:
        """As `Journal.flush`."""
        with self._lock:
            target = self._appended
            self._news.wait_for(lambda: self._settled >= target or self._end is not None, timeout)
            return self._settled >= target

    def wait_beyond(self, after: int, timeout: float) -> bool:
        """As `Journal.wait_beyond`."""
        with self._lock:
            self._news.wait_for(lambda: self._outcome.newest > after or self._end is not None, timeout)
            if self._end is not None:
                raise self._end
            return self._outcome.newest > after

    def nudge(self) -> None:
        """Have the writer look after the file at once."""
        with self._lock:
            self._unfinished = True
            self._wake()

    @property
    def pending_frames(self) -> int:
        """How many frames are not confirmed."""
        return self._pending.frames

    @property
    def unsaved_frames(self) -> int:
        """Those, and the ones that were given up without a record of it."""
        with self._lock:
            return self._pending.frames + self._lost.frames

    def close(self) -> None:
        """Take nothing more; the writer finishes what is there and ends."""
        with self._lock:
            self._closing = True
            self._wanted = 0
            self._measure_room()
            self._wake()
            self._news.notify_all()

    # ---- for the writer

    @property
    def closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def take(self, *, cautiously: bool) -> Work | None:
        """Wait for something to do.

        Args:
            cautiously: As little as possible at a time, and tasks before frames: the last try has failed.

        Returns:
            What is to be done; nothing in it if it is only time to look after the file. None at the end.
        """
        with self._lock:
            while not (self._pending or self._tasks or self._lost or self._wanted or self._unfinished):
                if self._closing:
                    return None
                self._idle = True
                if not self._work.wait(_UPKEEP_SECONDS):
                    break
            self._idle = False
            tasks = list(self._tasks)
            self._tasks.clear()
            waits = cautiously and bool(tasks)
            chunks = [] if waits else self._pending.take(0 if cautiously else self._transaction_bytes)
            lost, self._lost = self._lost, Loss()
            wanted, self._wanted = self._wanted, 0
            if wanted:
                # What is pending needs its room as well.
                wanted += self._pending.bytes - sum(chunk.bytes for chunk in chunks)
            return Work(chunks=chunks, tasks=tasks, lost=lost, wanted=wanted)

    def put_back(self, work: Work) -> None:
        """Take back what could not be written."""
        with self._lock:
            self._pending.put_back(work.chunks)
            self._tasks.extendleft(reversed(work.tasks))
            self._lost.frames += work.lost.frames
            self._lost.events += work.lost.events

    def settle(self, work: Work, outcome: Outcome) -> None:
        """Confirm what was written."""
        with self._lock:
            self._problem = ""
            self._outcome = outcome
            self._unfinished = outcome.unfinished
            self._pending.settled(work.chunks)
            written = sum(len(chunk.frames) for chunk in work.chunks)
            self._settled += written + work.lost.frames
            self._measure_room()
            if written or work.lost or outcome.freed:
                self._news.notify_all()
        for task in work.tasks:
            task.done.set()

    def stumble(self, problem: str, seconds: float) -> None:
        """Note why nothing can be written, and wait before the next try; not so long once it is closing."""
        with self._lock:
            self._problem = problem
            if not self._closing:
                # Appending does not notify this one, so it does not cut the pause short.
                self._news.wait_for(lambda: self._closing, seconds)
                return
        time.sleep(min(seconds, _ASK_AGAIN_SECONDS))

    def end(self, error: JournalError) -> None:
        """Refuse everything from now on; `error` says why."""
        with self._lock:
            self._end = error
            self._measure_room()
            tasks = list(self._tasks)
            self._tasks.clear()
            self._news.notify_all()
        for task in tasks:
            task.error = error
            task.done.set()

    # ---- under the lock

    def _check_open(self) -> None:
        if self._end is not None:
            raise self._end
        if self._closing:
            raise JournalError(self._path, "is closed")

    def _wake(self) -> None:
        self._idle = False
        self._work.notify()

    def _measure_room(self) -> None:
        """How many bytes may be pending before `append` has to think."""
        if self._closing or self._end is not None or not self._feeds:
            self._room = -1
        elif self._retention.overflow == "block":
            self._room = min(self._max_pending_bytes, self._retention.max_bytes - self._outcome.held)
        else:
            self._room = self._max_pending_bytes

    def _make_room(self, size: int) -> None:
        """Wait, or give up the oldest pending frames, until `size` bytes may come in."""
        if not self._feeds:
            raise JournalError(self._path, "was not opened to be fed: its role is neither 'feed' nor 'both'")
        while True:
            self._check_open()
            if self._pending.bytes + size <= self._room or self._is_too_large_for_any(size):
                return
            if self._retention.overflow == "block":
                self._wanted = max(self._wanted, size)
                self._wake()
                self._news.wait(_ASK_AGAIN_SECONDS)
            elif frames := self._pending.drop_oldest():
                self._lost.frames += len(frames)
                self._lost.events += self._count_events(frames)
            else:
                # All the rest is being written at this moment, and is soon gone.
                return

    def _is_too_large_for_any(self, size: int) -> bool:
        """Whether waiting longer for `size` bytes would be in vain: nothing is there that could make room."""
        if self._pending.bytes:
            return False
        return self._outcome.held == 0 or self._outcome.held + size <= self._retention.max_bytes
