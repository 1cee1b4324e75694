"""The Observable of a journal's frames: cold, and driven by the reader rather than by the writer.

    journal   1 2 3 4 5 ...
    chain     └─1─┘└─2─┘└─3─┘        the next frame is read when the chain has returned from the last

So a subscriber may block for as long as it likes: nothing is buffered but one read, and no lock is held.
"""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxbridge.journal.interface import Journal
from rxbridge.messages import Frame

_READ_FRAMES = 4096
_WAIT_SECONDS = 0.1


def replay(
    journal: Journal, after: int, *, finish: Event | None = None, stop: Event | None = None
) -> Observable[Frame]:
    """All frames above `after`, then those to come, as `Journal.frames` describes it.

    With a scheduler given at `subscribe`, the reading is scheduled there piece by piece; else each subscription has a
    daemon thread. An exception that the chain raises goes to its `on_error`, and where that is gone already, to
    `threading.excepthook` or to the scheduler.
    """

    def subscribe(observer: ObserverBase[Frame], scheduler: SchedulerBase | None = None) -> DisposableBase:
        pump = _Pump(journal, observer, after, finish, stop)
        if scheduler is not None:
            return pump.schedule(scheduler)
        Thread(target=pump.run, name="journal-frames", daemon=True).start()
        return Disposable(pump.disposed.set)

    return Observable(subscribe)


class _Pump:
    """Takes frames from the journal to one observer."""

    def __init__(
        self, journal: Journal, observer: ObserverBase[Frame], after: int, finish: Event | None, stop: Event | None
    ) -> None:
        self.disposed = Event()
        self._emitting = False
        self._journal = journal
        self._observer = observer
        self._position = after
        self._finish = finish or Event()
        self._stop = stop or Event()

    def run(self) -> None:
        """Pump until the end."""
        try:
            while not self._ended():
                if not self._emit_next() and not self._ended():
                    self._journal.wait_beyond(self._position, _WAIT_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the subscriber's to know
            self._fail(error)

    def schedule(self, scheduler: SchedulerBase) -> DisposableBase:
        """Pump until the end, one read at a time, as actions of `scheduler`."""
        current = SerialDisposable()

        def action(scheduler: SchedulerBase, _state: Any = None) -> None:
            try:
                if self._ended():
                    return
                wait = 0 if self._emit_next() else _WAIT_SECONDS
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)
            else:
                current.disposable = scheduler.schedule_relative(wait, action)

        current.disposable = scheduler.schedule(action)
        return CompositeDisposable(Disposable(self.disposed.set), current)

    def _emit_next(self) -> bool:
        """Read once and emit what came; completes when all is done. Whether there was anything."""
        # In this order: what was appended before `finish` was set is confirmed by then, and so is in the read.
        finishing = self._finish.is_set() and self._journal.size().pending_frames == 0
        frames = self._journal.read(self._position, _READ_FRAMES)
        on_next, halted = self._observer.on_next, self._halted
        self._emitting = True
        for frame in frames:
            if halted():
                break
            on_next(frame)
            self._position = frame.offset
        if finishing and not frames:
            self._complete()
        self._emitting = False
        return bool(frames)

    def _halted(self) -> bool:
        return self.disposed.is_set() or self._stop.is_set()

    def _ended(self) -> bool:
        if self._stop.is_set() and not self.disposed.is_set():
            self._complete()
        return self.disposed.is_set()

    def _complete(self) -> None:
        self._emitting = True
        self.disposed.set()
        self._observer.on_completed()

    def _fail(self, error: Exception) -> None:
        if not self.disposed.is_set():
            self.disposed.set()
            self._observer.on_error(error)
        elif self._emitting:
            # The subscriber has failed after its end, where no observer listens any more.
            raise error
        # Else the journal was closed under a subscription that is over.
