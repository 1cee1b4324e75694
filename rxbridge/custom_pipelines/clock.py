"""A scheduler whose time is that of the frames."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

from reactivex.scheduler import VirtualTimeScheduler

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FrameClock(VirtualTimeScheduler):
    """Timers that ring when a frame is read that was received after their time, before that frame is handled.

        frames  1:00:00 ──── 1:00:01 ──── 1:00:09
        timer   set, for 5 s              rings, then the frame is handled

    So it does not matter when a frame is read, or how fast: a backlog, a restart and an audit give the same. All that
    rings does so on the thread that reads. Coinbase's heartbeats see to it that frames come each second.

    Args:
        nanoseconds: The first moment, in nanoseconds since the Unix epoch.
    """

    def __init__(self, nanoseconds: int) -> None:
        super().__init__(_EPOCH + timedelta(microseconds=nanoseconds // 1000))

    def run_until(self, nanoseconds: int) -> None:
        """Run what is due by then, in order; time itself never goes back.

        Raises:
            Exception: What an action raises.
        """
        moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
        while True:
            with self._lock:
                if not self._queue or (item := self._queue.peek()).duetime > max(moment, self._time):
                    break
                self._queue.dequeue()
                self._clock = max(item.duetime, self._time)
            if not item.is_cancelled():
                item.invoke()
        with self._lock:
            self._clock = max(moment, self._time)

    @property
    def _time(self) -> datetime:
        return cast("datetime", self._clock)
