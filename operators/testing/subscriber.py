"""A subscriber to be blocked at will, a scheduler that counts its timers, and waits for conditions."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Event
from typing import Generic, TypeVar

from reactivex.abc import DisposableBase, ObserverBase, ScheduledAction, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.testing import TestScheduler
from reactivex.typing import RelativeTime

A = TypeVar("A")

DEADLINE = 30.0
"""Seconds after which a condition that a test waits for has failed."""


class Subscriber(ObserverBase[A], Generic[A]):
    """Keeps what it gets; blocks in `on_next` while it is told to; counts the calls that overlap another.

    Attributes:
        items: What it got.
        ends: How the stream ended: an error, or None for completion. More than one is a fault of the stream.
        overlaps: How many calls came while another ran. Any is a fault.
        inside: How many calls run.
    """

    def __init__(self, *, blocked: bool = False) -> None:
        self.items: list[A] = []
        self.ends: list[Exception | None] = []
        self.overlaps: int = 0
        self.inside: int = 0
        self._blocked = blocked
        self._changed = Condition()

    def on_next(self, value: A) -> None:
        """Take an item; returns when it may."""
        with self._changed:
            self._enter()
            self.items.append(value)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._blocked)
            self.inside -= 1

    def on_error(self, error: Exception) -> None:
        """Take the error."""
        self._end(error)

    def on_completed(self) -> None:
        """Take the completion."""
        self._end(None)

    def block(self) -> None:
        """Let the next item, and those after it, wait in `on_next`."""
        with self._changed:
            self._blocked = True

    def release(self) -> None:
        """Let go of whoever waits, and wait no more."""
        with self._changed:
            self._blocked = False
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on what was got. Raises AssertionError if it does not come true in 30 s."""
        with self._changed:
            if not self._changed.wait_for(condition, DEADLINE):
                raise AssertionError(f"got {self.items} and {self.ends}")

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
        self.timers: int = 0
        self.most_pending: int = 0
        self.last_ring: float = 0.0
        self._pending: set[int] = set()

    def schedule_relative(
        self, duetime: RelativeTime, action: ScheduledAction[A], state: A | None = None
    ) -> DisposableBase:
        """Count, then schedule as ever."""
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


def wait_for_turn(scheduler: SchedulerBase) -> None:
    """Wait until the scheduler's thread has run all that is due before this call.

    Raises:
        AssertionError: It has not after 30 s.
    """
    reached = Event()

    def reach(_scheduler: SchedulerBase, _state: object = None) -> None:
        reached.set()

    scheduler.schedule(reach)
    if not reached.wait(DEADLINE):
        raise AssertionError("the scheduler's thread is busy, or gone")
