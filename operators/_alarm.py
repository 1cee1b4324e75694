"""A timer that an operator sets, again and again, on the scheduler that it was given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.disposable import SerialDisposable, SingleAssignmentDisposable


class Alarm(DisposableBase):
    """One scheduled action at a time. Never set it while holding a lock that `ring` takes.

    Attributes:
        scheduler: Where it runs; its clock is the only one that an operator reads.
    """

    def __init__(self, scheduler: SchedulerBase, ring: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        """Make an alarm that is not set yet.

        Args:
            scheduler: Runs `ring`, on a thread of its own choice.
            ring: What to do when the time has come.
            failed: Told when the scheduler takes no more actions, since then nothing would ever ring.
        """
        self.scheduler = scheduler
        self._ring = ring
        self._failed = failed
        self._current = SerialDisposable()

    def set(self, delay: timedelta) -> None:
        """Ring after `delay`, at once if that is negative; in place of what was set before."""
        # The slot is in place before the action is scheduled: were the handle stored afterwards, an action that rings
        # in between and sets the alarm anew would have its own new setting cancelled by the old handle.
        slot = SingleAssignmentDisposable()
        self._current.disposable = slot
        try:
            slot.disposable = self.scheduler.schedule_relative(delay, self._on_time)
        except Exception as error:  # noqa: BLE001 a scheduler may refuse in any way, and none of them may go unnoticed
            self._failed(error)

    def dispose(self) -> None:
        """Never ring again, and let go of the operator: a cancelled action stays in its scheduler's queue until due."""
        self._ring = self._failed = _ignore
        self._current.dispose()

    def _on_time(self, _scheduler: SchedulerBase, _state: object = None) -> None:
        self._ring()


def _ignore(*_: object) -> None:
    pass
