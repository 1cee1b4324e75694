"""What the operators share that emit from two sides: from the source's thread, and from a timer's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from threading import Condition, Lock, get_ident
from typing import Generic, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import SingleAssignmentDisposable

from operators._alarm import Alarm

A = TypeVar("A")
B = TypeVar("B")


class SerialEmission(DisposableBase, Generic[A, B]):
    """One subscription: its state under a lock, its observer called outside it, by one thread at a time.

    A subclass changes its state under `_lock`, then calls `_drain`. The thread that gets the turn calls the observer
    until there is nothing to emit; any other leaves its work to that one or, if it says so, waits for its turn, which
    is the backpressure. A thread that comes back from within the observer never waits: it would wait for itself.
    """

    def __init__(self, observer: ObserverBase[B], scheduler: SchedulerBase) -> None:
        self._observer = observer
        self._lock = Lock()
        self._turn = Condition(self._lock)
        self._emitter: int | None = None
        self._waiting = 0
        self._accepting = True
        self._stopped = False
        self._error: Exception | None = None
        self._source = SingleAssignmentDisposable()
        self._alarm = Alarm(scheduler, self._on_alarm, self.finish)

    @abstractmethod
    def on_next(self, item: A) -> None:
        """Take an item of the source's, unless `_accepting` is over."""

    @abstractmethod
    def _on_alarm(self) -> None:
        """The alarm rang."""

    @abstractmethod
    def _take(self) -> tuple[B] | None:
        """Under the lock: remove and return what is to be emitted next, boxed since it may be None."""

    @abstractmethod
    def _flush(self) -> None:
        """Under the lock: the source has ended, so make all that is held ready for `_take`."""

    @abstractmethod
    def _forget(self) -> None:
        """Under the lock: let go of all that is held."""

    def connect(self, source: Observable[A], scheduler: SchedulerBase | None) -> DisposableBase:
        """Subscribe to the source; this object is the subscription."""
        self._source.disposable = source.subscribe(self.on_next, self.finish, self.finish, scheduler=scheduler)
        return self

    def finish(self, error: Exception | None = None) -> None:
        """Emit all that is held, then the error, or the completion if there is none. Waits for its turn."""
        with self._lock:
            if not self._accepting:
                return
            self._accepting = False
            self._error = error
            self._flush()
        self._drain(wait=True)

    def dispose(self) -> None:
        """Stop: drop what is held, wake who waits. An emission that runs is not waited for."""
        with self._lock:
            self._accepting = False
            self._stopped = True
            self._forget()
            self._turn.notify_all()
        self._alarm.dispose()
        self._source.dispose()

    def _drain(self, *, wait: bool) -> None:
        """Emit what is ready, here or on the thread that is emitting already; `wait` until that one is done."""
        with self._lock:
            if not self._acquire(wait=wait):
                return
            step = self._step()
        self._continue(step)

    def _pass(self, item: B) -> None:
        """Emit an item that was not held, then what is ready; the caller has taken the turn, there being none."""
        self._emit(item)
        with self._lock:
            step = self._release() if self._waiting else self._step()
        self._continue(step)

    def _continue(self, step: Callable[[], None] | None) -> None:
        while step is not None:
            step()
            with self._lock:
                # A thread that waits goes on instead: a timer's thread has other timers to serve.
                step = self._release() if self._waiting else self._step()

    def _acquire(self, *, wait: bool) -> bool:
        me = get_ident()
        if self._emitter == me:
            return False
        while self._emitter is not None and not self._stopped:
            if not wait:
                return False
            self._waiting += 1
            try:
                self._turn.wait()
            finally:
                self._waiting -= 1
        self._emitter = me
        return True

    def _release(self) -> None:
        self._emitter = None
        if self._waiting:
            self._turn.notify_all()

    def _step(self) -> Callable[[], None] | None:
        """The next call of the observer; None, with the turn given back, if there is none."""
        if not self._stopped:
            taken = self._take()
            if taken is not None:
                return partial(self._emit, taken[0])
            if not self._accepting:
                self._stopped = True
                return self._end
        return self._release()

    def _emit(self, item: B) -> None:
        try:
            self._observer.on_next(item)
        except BaseException as error:
            # Left alone, it would end the scheduler's thread, and every timer on it, when this one happens to emit.
            self.dispose()
            if not isinstance(error, Exception):
                raise
            self._observer.on_error(error)

    def _end(self) -> None:
        self.dispose()
        if self._error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(self._error)
