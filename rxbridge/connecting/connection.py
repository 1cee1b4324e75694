"""One Observable on its way to one sink: a bounded queue in between, and a thread on each side of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, Self, TypeAlias, TypeVar

from loguru import logger
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase
from reactivex.disposable import SingleAssignmentDisposable

A = TypeVar("A")

Overflow: TypeAlias = Literal["block", "drop_oldest"]
State: TypeAlias = Literal["running", "stopping", "completed", "stopped", "failed", "disposed"]

_ENDED: tuple[State, ...] = ("completed", "stopped", "failed", "disposed")


def refuse_ended(sink: object) -> None:
    """See that a sink still takes something: the library's observers take what comes after their end without a word.

    Raises:
        RuntimeError: It says by its `is_stopped`, as these do, that it has ended.
    """
    if getattr(sink, "is_stopped", False) is True:
        raise RuntimeError(f"this sink, of type {type(sink).__name__}, has ended; make another one")


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """How far a connection has come. Items, unless the name says otherwise.

    Attributes:
        state: `running`; `stopping`, while what is in hand is delivered; then `completed`, when the source has, and
            all is delivered; `stopped`; `failed`; or `disposed`.
        received: Emitted by the source.
        handed_over: Given to the sink, which has returned.
        waiting: In the queue, or with the sink.
        dropped: Given up: the oldest ones in a full queue, or all that waited when it ended.
        seconds: How long it has lasted.
    """

    state: State
    received: int
    handed_over: int
    waiting: int
    dropped: int
    seconds: float


class Connection(Generic[A]):
    """What `connect(source).to(sink)` gives: it runs already. Every method may be called from any thread.

        source ─► queue of `buffer` items ─► sink
        its own thread, or ours     rxbridge-connection

    As a context manager it is stopped at the end of the block: `stop` says how.

    What fails is told in the log at once, and raised by `wait`, by `stop`, and at the end of a `with` block: what the
    source had as its error, or the sink has raised. In a notebook the last expression of a cell shows it too.

    Args:
        source: What to connect. It is subscribed to on a thread of its own, so it may be one that emits all it has.
        sink: Where to. One call at a time, all from the same thread.
        buffer: Items in the queue.
        overflow: What a full queue does: `block` holds the source's thread back, `drop_oldest` never.
        name: What the sink is called.
    """

    def __init__(
        self, source: Observable[A], sink: ObserverBase[A], *, buffer: int, overflow: Overflow, name: str = ""
    ) -> None:
        self._sink = sink
        self._name = name or type(sink).__name__
        self._buffer = buffer
        self._overflow: Overflow = overflow
        self._changed = threading.Condition()
        self._queue: deque[A] = deque()
        self._state: State = "running"
        self._failure: BaseException | None = None
        self._over = False  # nothing more comes from the source
        self._received = self._handed_over = self._dropped = self._in_hand = 0
        self._began_at = time.monotonic()
        self._ended_at: float | None = None
        self._subscription = SingleAssignmentDisposable()
        self._deliverer = threading.Thread(target=self._deliver, name="rxbridge-connection", daemon=True)
        self._deliverer.start()
        threading.Thread(target=self._subscribe, args=(source,), name="rxbridge-source", daemon=True).start()

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; an exception on its way out of the block is not replaced."""
        try:
            self.stop()
        except Exception:
            if error is None:
                raise

    @property
    def failure(self) -> BaseException | None:
        """What went wrong; None so far."""
        return self._failure

    def statistics(self) -> ConnectionStatistics:
        """All counters as they are now."""
        with self._changed:
            return ConnectionStatistics(
                state=self._state,
                received=self._received,
                handed_over=self._handed_over,
                waiting=len(self._queue) + self._in_hand,
                dropped=self._dropped,
                seconds=(self._ended_at or time.monotonic()) - self._began_at,
            )

    def wait(self, seconds: float | None = None) -> bool:
        """Block until it is over, or for so long; a keyboard interrupt ends the waiting, and nothing else.

        Returns:
            Whether it is over.

        Raises:
            Exception: What the source had as its error, or the sink has raised.
        """
        with self._changed:
            over = self._changed.wait_for(lambda: self._state in _ENDED, seconds)
        if over and self._failure is not None:
            raise self._failure
        return over

    def stop(self, seconds: float = 8.0) -> bool:
        """Take no more of the source, deliver what is in hand, complete the sink; after so long, dispose.

        Returns:
            Whether all that was received was delivered.

        Raises:
            Exception: As `wait`.
        """
        with self._changed:
            if self._state == "running":
                self._state = "stopping"
            self._over = True
            self._changed.notify_all()
        self._subscription.dispose()
        if not self.wait(seconds):
            self.dispose()
        with self._changed:
            # A sink that was given everything, and was not let finish, may still have had some of it in hand.
            return self._state != "disposed" and self._handed_over == self._received

    def dispose(self) -> None:
        """End at once, from any thread: what waits is dropped. Threads and sockets are gone a moment later."""
        with self._changed:
            if self._state in _ENDED:
                return
            self._end("disposed")
        self._subscription.dispose()
        self._let_go()

    def __repr__(self) -> str:
        now = self.statistics()
        counts = f"{now.received:,} received, {now.handed_over:,} handed over, {now.waiting:,} waiting"
        dropped = f", {now.dropped:,} dropped" if now.dropped else ""
        failure = f": {type(self._failure).__name__}: {self._failure}" if self._failure is not None else ""
        return f"<Connection to {self._name}, {now.state}{failure}; {counts}{dropped}>"

    def _subscribe(self, source: Observable[A]) -> None:
        try:
            # One that emits all it has while it is subscribed to has nothing yet that could be disposed of.
            until_over = source.pipe(ops.take_while(lambda _: not self._over))
            self._subscription.disposable = until_over.subscribe(
                self._take, self._source_failed, self._source_completed
            )
        except BaseException as error:  # noqa: BLE001 a thread has no caller: whatever was raised, `sys.exit` too, is told
            self._source_failed(error)

    def _take(self, item: A) -> None:
        with self._changed:
            if self._overflow == "block":
                self._changed.wait_for(lambda: len(self._queue) < self._buffer or self._over)
            if self._over:
                return
            self._received += 1
            self._queue.append(item)
            if len(self._queue) > self._buffer:
                self._queue.popleft()
                self._dropped += 1
            self._changed.notify_all()

    def _source_failed(self, error: BaseException) -> None:
        with self._changed:
            if self._over:
                return
            self._failure, self._over = error, True
            self._changed.notify_all()

    def _source_completed(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _next(self) -> tuple[A] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._over)
            if not self._queue:
                return None
            self._in_hand = 1
            item = self._queue.popleft()
            self._changed.notify_all()
            return (item,)

    def _deliver(self) -> None:
        try:
            while (taken := self._next()) is not None:
                refuse_ended(self._sink)
                self._sink.on_next(taken[0])
                with self._changed:
                    self._in_hand = 0
                    self._handed_over += self._state not in _ENDED
            self._finish()
        except BaseException as error:  # noqa: BLE001 likewise
            self._fail(error)
        finally:
            self._subscription.dispose()
            self._let_go()

    def _finish(self) -> None:
        """Nothing more comes: tell the sink, which may still have something in hand."""
        if self._state == "disposed":
            return
        if (failure := self._failure) is not None:
            self._sink.on_error(failure if isinstance(failure, Exception) else RuntimeError(repr(failure)))
            self._fail(failure)
            return
        self._sink.on_completed()
        with self._changed:
            if self._state not in _ENDED:
                self._end("stopped" if self._state == "stopping" else "completed")

    def _fail(self, error: BaseException) -> None:
        if self._state in _ENDED:
            return
        logger.opt(exception=error).error("[FAILED] The connection to {} ends: {}", self._name, error)
        with self._changed:
            if self._state not in _ENDED:
                self._failure = error
                self._end("failed")

    def _end(self, state: State) -> None:
        """To be called with the lock held."""
        self._dropped += len(self._queue) + self._in_hand
        self._queue.clear()
        self._in_hand = 0
        self._state, self._over = state, True
        self._ended_at = time.monotonic()
        self._changed.notify_all()

    def _let_go(self) -> None:
        if isinstance(self._sink, DisposableBase):
            self._sink.dispose()
