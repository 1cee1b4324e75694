"""A clock that what is played back moves on: hours of it in seconds, and the same way each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, TypeVar

from reactivex.abc import DisposableBase, ScheduledAction
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.typing import AbsoluteTime, RelativeTime

_State = TypeVar("_State")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
_MICROSECOND = timedelta(microseconds=1)


class ReplayClock(PeriodicScheduler):
    """A scheduler of virtual time for `play_back`: give it to every operator of a chain that has a timer.

        recorded   09:00:00 a    09:00:07 b         09:00:08 c
        computer   12:00:00 a b c
        clock      09:00:00 a ── timers ── 09:00:07 b ── timers ── 09:00:08 c ── timers

    Between two items it runs what is due, each action at its very moment, so timers, windows and alerts do what they
    would have done then. What is due at one moment runs in the order in which it was scheduled, timers that are due
    when an item comes before that item. Nothing runs but in `start` or `advance_to`, on the thread that calls it; so
    the same items make the same calls, every time. The library's `VirtualTimeScheduler` does likewise, but it counts
    in microseconds, and wants each item scheduled; here that takes a comparison.

    Everything must be scheduled by one thread.

    Laws:
        It never goes back, and each action finds the clock at the moment for which it was scheduled, or later where
        that was past already.
        The order of all actions depends on their moments, and then on the order of scheduling, and on nothing else.

    Example:
        >>> import reactivex
        >>> from datetime import UTC, datetime
        >>> clock = ReplayClock(datetime(2026, 1, 31, 9, tzinfo=UTC))
        >>> _ = reactivex.timer(3600, scheduler=clock).subscribe(lambda _: print(clock.now.time()))
        >>> clock.start()
        10:00:00

    Args:
        start: The moment at which it begins, as `datetime` (aware) or in nanoseconds since the Unix epoch. If none is
            given, what is played back on it says so.
    """

    def __init__(self, start: datetime | int | None = None) -> None:
        super().__init__()
        self._is_fixed = start is not None
        self._moment = nanoseconds(start) if start is not None else 0
        self._queue: list[tuple[int, int, _Action]] = []
        self._scheduled = 0
        self._running = False
        self._until: int | None = None
        self._now = (-1, _EPOCH)

    @property
    def moment(self) -> int:
        """The time now: nanoseconds since the Unix epoch."""
        return self._moment

    @property
    def now(self) -> datetime:
        """The time now, UTC, rounded down to the microsecond."""
        if self._now[0] != self._moment:
            self._now = (self._moment, _EPOCH + timedelta(microseconds=self._moment // 1000))
        return self._now[1]

    def begin(self, moment: int) -> None:
        """Say when it begins, in nanoseconds since the Unix epoch. Of several, the earliest counts.

        It has no effect where `start` was given, or something is scheduled already.
        """
        if not self._is_fixed and not self._scheduled and (not self._moment or moment < self._moment):
            self._moment = moment

    def schedule(self, action: ScheduledAction[_State], state: _State | None = None) -> DisposableBase:
        """Run an action at this moment, after what is due now already."""
        return self.schedule_at(self._moment, action, state)

    def schedule_relative(
        self, duetime: RelativeTime, action: ScheduledAction[_State], state: _State | None = None
    ) -> DisposableBase:
        """Run an action after some seconds."""
        delay = duetime // _MICROSECOND * 1000 if isinstance(duetime, timedelta) else round(duetime * _SECOND)
        return self.schedule_at(self._moment + delay, action, state)

    def schedule_absolute(
        self, duetime: AbsoluteTime, action: ScheduledAction[_State], state: _State | None = None
    ) -> DisposableBase:
        """Run an action at a moment, or now if it is past."""
        moment = nanoseconds(duetime) if isinstance(duetime, datetime) else round(duetime * _SECOND)
        return self.schedule_at(moment, action, state)

    def schedule_at(self, moment: int, action: ScheduledAction[_State], state: _State | None = None) -> DisposableBase:
        """Run an action at a moment, in nanoseconds since the Unix epoch, or now if it is past."""
        scheduled = _Action(action, state)
        heappush(self._queue, (max(moment, self._moment), self._scheduled, scheduled))
        self._scheduled += 1
        return scheduled.disposable

    def reach(self, moment: int) -> bool:
        """Move the clock to a moment, unless something is due before, or at it: then it stays, and that is to run.

        For an action that has more to do later and need not be scheduled for it. It is False also where it is not
        running, or is to stop before.
        """
        moment = max(moment, self._moment)
        queue = self._queue
        while queue and queue[0][2].disposable.is_disposed:
            heappop(queue)
        if (queue and queue[0][0] <= moment) or not self._running:
            return False
        if self._until is not None and moment > self._until:
            return False
        self._moment = moment
        return True

    def start(self) -> None:
        """Run until nothing is due any more, or until `stop`.

        A timer that repeats for ever is always due: dispose it, or use `advance_to`.
        """
        self._run(None)

    def advance_to(self, moment: datetime | int) -> None:
        """Run what is due up to a moment, that included, and let the clock stand there."""
        until = nanoseconds(moment)
        if self._run(until):
            self._moment = max(self._moment, until)

    def stop(self) -> None:
        """Return from `start` or `advance_to` when the action that runs has returned; what is due stays so."""
        self._running = False

    def _run(self, until: int | None) -> bool:
        """Whether it came to the end, and was not stopped."""
        if self._running:
            raise RuntimeError("the clock is running already")
        self._running, self._until = True, until
        queue = self._queue
        try:
            while queue and self._running and (until is None or queue[0][0] <= until):
                moment, _, scheduled = heappop(queue)
                if not scheduled.disposable.is_disposed:
                    self._moment = moment
                    scheduled.run(self)
            return self._running
        finally:
            self._running = False


class _Action:
    __slots__ = ("_action", "_state", "disposable")

    def __init__(self, action: ScheduledAction[Any], state: Any) -> None:
        self.disposable = SingleAssignmentDisposable()
        self._action = action
        self._state = state

    def run(self, clock: ReplayClock) -> None:
        self.disposable.disposable = clock.invoke_action(self._action, self._state)


def nanoseconds(moment: datetime | int) -> int:
    """Nanoseconds since the Unix epoch.

    Raises:
        ValueError: The time is naive: it says nothing of its zone.
    """
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: add tzinfo=UTC")
    return (moment - _EPOCH) // _MICROSECOND * 1000
