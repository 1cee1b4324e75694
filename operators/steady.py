"""A scheduler whose timers do not care about the wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from reactivex.scheduler import EventLoopScheduler


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
