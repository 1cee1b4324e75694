"""A scheduler whose timers do not care about the wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from reactivex.abc import SchedulerBase
from reactivex.scheduler import EventLoopScheduler
from reactivex.scheduler.scheduleditem import ScheduledItem


class SteadyScheduler(EventLoopScheduler):
    """One thread for the timers of a pipeline that runs for months.

    It is the library's event loop, except that its time is the wall clock's at the start plus what the monotonic clock
    has counted since. The library's reads the wall clock anew for every timer: one set back by an hour, by an
    administrator or by a clock daemon, makes each timer an hour late.

        wall clock        12:00:00 ── 12:00:01 ── 11:00:01 ── 11:00:02
        timer of 2 s      set                                 rings
        steady time       12:00:00 ── 12:00:01 ── 12:00:01 ── 12:00:02

    Laws:
        A timer rings neither before its time nor, but for the time that the thread is busy, after it.

    Example:
        >>> import reactivex
        >>> scheduler = SteadyScheduler()
        >>> reactivex.timer(0.001, scheduler=scheduler).run()
        0
        >>> scheduler.dispose()
    """

    def __init__(self) -> None:
        super().__init__()
        self._started_at = datetime.now(UTC)
        self._counted_from = time.monotonic()

    @property
    def now(self) -> datetime:
        """The time by which this scheduler's timers go: UTC."""
        return self._started_at + timedelta(seconds=time.monotonic() - self._counted_from)

    def dispose(self) -> None:
        """End the thread. What is scheduled is abandoned."""
        # The library's thread does not look whether it was disposed of before it waits, so a call while an action runs
        # would be noticed when the next timer is due, or never. Something that is ready has it look once more.
        with self._condition:
            if not self._is_disposed:
                self._is_disposed = True
                self._ready_list.append(ScheduledItem(self, None, _nothing, self.now))
                self._condition.notify()


def _nothing(_scheduler: SchedulerBase, _state: object = None) -> None:
    """Is never run: the thread ends first."""
