"""What the operators' tests share: a subscriber to be blocked at will, and waits for conditions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Condition, Event, Thread
from time import monotonic
from typing import Generic, TypeVar

from reactivex.abc import DisposableBase, ObserverBase, ScheduledAction, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.testing import TestScheduler
from reactivex.typing import RelativeTime

A = TypeVar("A")

DEADLINE = 30.0
"""Seconds after which a condition that a test waits for has failed."""


class Subscriber(ObserverBase[A], Generic[A]):
    """Keeps what it gets; blocks in `on_next` while it is told to; counts the calls that overlap another."""

    def __init__(self, *, blocked: bool = False) -> None:
        self.items: list[A] = []
        self.ends: list[Exception | None] = []
        self.overlaps = 0
        self.inside = 0
        self._blocked = blocked
        self._changed = Condition()

    def on_next(self, value: A) -> None:
        with self._changed:
            self._enter()
            self.items.append(value)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._blocked)
            self.inside -= 1

    def on_error(self, error: Exception) -> None:
        self._end(error)

    def on_completed(self) -> None:
        self._end(None)

    def block(self) -> None:
        with self._changed:
            self._blocked = True

    def release(self) -> None:
        with self._changed:
            self._blocked = False
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on what was got."""
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE), f"got {self.items} and {self.ends}"

    def _enter(self) -> None:
        self.overlaps += self.inside
        self.inside += 1

    def _end(self, error: Exception | None) -> None:
        with self._changed:
            self.overlaps += self.inside
            self.ends.append(error)
            self._changed.notify_all()


class CountingScheduler(TestScheduler):
    """Virtual time that counts the timers set by what is under test.

    Attributes:
        timers: How many were ever set.
        most_pending: How many were set at a time, at most: not yet rung, nor cancelled.
        last_ring: When one rang last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.timers = 0
        self.most_pending = 0
        self.last_ring = 0.0
        self._pending: set[int] = set()

    def schedule_relative(
        self, duetime: RelativeTime, action: ScheduledAction[A], state: A | None = None
    ) -> DisposableBase:
        self.timers += 1
        number = self.timers
        self._pending.add(number)
        self.most_pending = max(self.most_pending, len(self._pending))

        def ring(scheduler: SchedulerBase, state: A | None) -> DisposableBase | None:
            self._pending.discard(number)
            self.last_ring = self.to_seconds(self.now)
            return action(scheduler, state)

        scheduled = super().schedule_relative(duetime, ring, state)

        def cancel() -> None:
            self._pending.discard(number)
            scheduled.dispose()

        return Disposable(cancel)


def start(*targets: Callable[[], object]) -> list[Thread]:
    """Run each on a thread of its own."""
    threads = [Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def join(*threads: Thread) -> None:
    """Wait until all threads have ended."""
    end = monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
        assert not thread.is_alive()


def wait_until_held_back(thread: Thread) -> None:
    """Wait until the thread waits within an operator for its turn; fail if it ends instead."""
    end = monotonic() + DEADLINE
    while not _held_back(thread):
        assert thread.is_alive()
        assert monotonic() < end


def _held_back(thread: Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None or frame.f_code.co_name != "wait":
        return False
    caller = frame.f_back
    return caller is not None and caller.f_globals["__name__"].startswith("operators.")


def wait_for_turn(scheduler: SchedulerBase) -> None:
    """Wait until the scheduler's thread has run all that is due before this call."""
    reached = Event()
    scheduler.schedule(lambda *_: reached.set())
    assert reached.wait(DEADLINE)
