"""The subscription of `conflate` and of the trailing `throttle`: the newest item of each key, by windows of time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from reactivex.abc import ObserverBase, SchedulerBase

from operators._emission import SerialEmission

A = TypeVar("A")


class Windowed(SerialEmission[A, A], Generic[A]):
    """A held item's key is either in `_windows`, or in `_due` since it may be emitted now.

    With `leading`, an item of a quiet key is due at once, and every emission opens a window. Without it, the item
    itself opens the window, and an emission opens none.
    """

    def __init__(
        self,
        observer: ObserverBase[A],
        scheduler: SchedulerBase,
        *,
        window: timedelta,
        key: Callable[[A], Hashable],
        replaced: Callable[[A], None] | None,
        leading: bool,
    ) -> None:
        super().__init__(observer, scheduler)
        self._scheduler = scheduler
        self._window = window
        self._key = key
        self._replaced = replaced
        self._leading = leading
        self._held: dict[Hashable, A] = {}
        self._due: deque[Hashable] = deque()
        self._windows: OrderedDict[Hashable, datetime] = OrderedDict()
        self._timed = False

    def on_next(self, item: A) -> None:
        try:
            key = self._key(item)
            with self._lock:
                if not self._accepting:
                    return
                held = self._held
                replaces = key in held
                older = held[key] if replaces else item
                held[key] = item
                quiet = not replaces and key not in self._windows
                if quiet and self._leading:
                    self._due.append(key)
                elif quiet:
                    self._windows[key] = self._scheduler.now + self._window
            if replaces and self._replaced is not None:
                self._replaced(older)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self.finish(error)
            return
        if quiet:
            if self._leading:
                self._drain(wait=False)
            self._set_alarm()

    def _set_alarm(self) -> None:
        """For the end of the oldest window; they all are of one length, so no other ends before it."""
        with self._lock:
            if self._timed or not self._windows:
                return
            self._timed = True
            rest = next(iter(self._windows.values())) - self._scheduler.now
        self._alarm.set(rest)

    def _on_alarm(self) -> None:
        with self._lock:
            now = self._scheduler.now
            while self._windows:
                key, end = next(iter(self._windows.items()))
                if end > now:
                    break
                del self._windows[key]
                if key in self._held:
                    self._due.append(key)
        self._drain(wait=False)
        with self._lock:
            self._timed = False
        self._set_alarm()

    def _take(self) -> tuple[A] | None:
        if not self._due:
            return None
        key = self._due.popleft()
        if self._leading:
            self._windows[key] = self._scheduler.now + self._window
        return (self._held.pop(key),)

    def _flush(self) -> None:
        self._due.extend(key for key in self._windows if key in self._held)
        self._windows.clear()

    def _forget(self) -> None:
        self._held.clear()
        self._due.clear()
        self._windows.clear()
