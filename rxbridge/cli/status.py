"""A status line below the log, on a terminal."""

from __future__ import annotations

import contextlib
import io
import shutil
import threading
from typing import TextIO

from rxbridge.telemetry.statistics import Statistics

_CLEAR_LINE = "\r\x1b[2K"


class StatusLine(io.TextIOBase):
    """A stream for log lines that keeps one changing line at the bottom of the terminal.

    Where the target is no terminal it passes everything on and shows no status.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._status = ""
        self._live = target.isatty()

    def isatty(self) -> bool:
        """Whether the target is a terminal."""
        return self._live

    def write(self, text: str, /) -> int:
        """Write above the status."""
        with self._lock:
            self._target.write(f"{_CLEAR_LINE}{text}{self._status}" if self._status else text)
        return len(text)

    def flush(self) -> None:
        """Flush the target."""
        self._target.flush()

    def show(self, status: str) -> None:
        """Replace the status; an empty one removes it."""
        if not self._live:
            return
        with self._lock:
            self._status = status[: shutil.get_terminal_size().columns - 1]
            # A terminal that is gone needs no status.
            with contextlib.suppress(OSError, ValueError):
                self._target.write(_CLEAR_LINE + self._status)
                self._target.flush()


def summary(statistics: Statistics) -> str:
    """The numbers that matter, in one line."""
    feed, delivery, confirmation = statistics.feed, statistics.delivery, statistics.confirmation
    parts = [
        f"{feed.frames:,} frames",
        f"{delivery.received:,} received",
        f"{delivery.delivered:,} delivered",
        f"{statistics.waiting_frames:,} frames waiting",
        f"oldest {statistics.oldest_waiting_seconds:,.0f} s",
    ]
    counts = {
        "dead": delivery.dead,
        "dropped": delivery.dropped,
        "frames dropped by the full journal": statistics.dropped_frames,
        "delivered frames let go by the full journal": statistics.let_go_frames,
        "backfilled": statistics.backfill.fetched,
        "confirmed": confirmation.confirmed + confirmation.vouched,
        "found missing and sent again": confirmation.missing,
        "gaps": statistics.market_gaps,
    }
    parts += [f"{count:,} {name}" for name, count in counts.items() if count]
    parts += [f"{made:,} made by {name}" for name, made in delivery.made.items()]
    if statistics.backfill.total:
        done, total = statistics.backfill.done, statistics.backfill.total
        parts.append(f"backfill {_bar(done, total)} {done:,}/{total:,}")
    if statistics.overloaded:
        parts.append("PulseStream too slow")
    if feed.disconnections:
        parts.append(f"{feed.disconnections:,} disconnects")
    return " · ".join(parts)


def _bar(done: int, total: int) -> str:
    """How much of it is done, in ten steps: `[####------]`."""
    steps = 10 * done // max(total, 1)
    return f"[{'#' * steps}{'-' * (10 - steps)}]"
