"""What SIGTERM, SIGINT and SIGHUP do to the commands that run until a signal.

Nothing heavy is imported here: `rxbridge run` takes the signals over before it loads the rest of itself. The first
process of a container, whose signals do nothing by default, so hears a SIGTERM that comes at once.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any, Self

from rxbridge.cli.options import INTERRUPTED


class Signals:
    """SIGTERM and SIGINT set `stop` the first time, and end the process at once the second time.

    Args:
        hang_up: Whether SIGHUP is a question, for `take_hang_up`; else it ends the process, as it does by default.
    """

    def __init__(self, *, hang_up: bool = False) -> None:
        self.stop: threading.Event = threading.Event()
        self._hung_up = False
        self._handlers: dict[signal.Signals, Any] = {signal.SIGTERM: self._end, signal.SIGINT: self._end}
        if hang_up:
            self._handlers[signal.SIGHUP] = self._hang_up
        self._before: dict[signal.Signals, Any] = {}
        self._seen = False

    def __enter__(self) -> Self:
        """Take the signals over."""
        for number, handler in self._handlers.items():
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def take_hang_up(self) -> bool:
        """Whether SIGHUP has come since this was called before."""
        taken, self._hung_up = self._hung_up, False
        return taken

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._hung_up = True

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self._seen:
            # Nothing is lost by it: what is not acknowledged is in the journal.
            os._exit(INTERRUPTED)
        self._seen = True
        # In a thread of its own: this one may have been interrupted in a wait for the event, with its lock held.
        _thread.start_new_thread(self.stop.set, ())
        name = signal.Signals(number).name
        # Not through a stream, which the signal may have interrupted in a write of its own.
        with contextlib.suppress(OSError):
            os.write(2, f"{name}: stopping; what is in hand is delivered or kept. Once more ends at once.\n".encode())
