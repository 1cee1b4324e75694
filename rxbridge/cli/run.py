"""`rxbridge run`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from loguru import logger

from rxbridge.bridge import Bridge
from rxbridge.cli.options import INTERRUPTED
from rxbridge.cli.rereading import Rereading
from rxbridge.cli.status import StatusLine, summary
from rxbridge.config import Settings, load
from rxbridge.telemetry.logging import configure, log_uncaught
from rxbridge.telemetry.statistics import Statistics
from rxbridge.version import __version__

STATUS_EVERY_SECONDS = 60.0


def run_bridge(config: Path | None, arguments: Mapping[str, Any]) -> None:
    """Run until a signal, until idle, or until the feed ends for good; then drain."""
    settings = load(config, arguments)
    status = StatusLine(sys.stderr)
    configure(
        verbose=settings.log.verbose,
        form=settings.log.format,
        secrets=settings.secrets(),
        repeat_seconds=settings.log.repeat_seconds,
        stream=status,
    )
    log_uncaught()
    _introduce(settings)
    stop = threading.Event()
    # The signals come before the bridge and outlast its drain: its start may wait, and the second must find a handler.
    rereading = Rereading(settings, lambda: load(config, arguments))
    with Signals(stop.set, rereading.ask), Bridge(settings, stop) as bridge:
        bridge.run(_teller(status), rereading.take)
        status.show("")
    if bridge.last_statistics is not None:
        logger.info("[STOPPED] {}", summary(bridge.last_statistics))


class Signals:
    """SIGTERM and SIGINT call `stop` the first time, and end the process at once the second time.

    SIGHUP calls `reread` each time, if there is one; else it ends the process, as it does by default.
    """

    def __init__(self, stop: Callable[[], None], reread: Callable[[], None] | None = None) -> None:
        self._stop = stop
        self._reread = reread
        self._before: dict[signal.Signals, Any] = {}
        self._seen = False

    def __enter__(self) -> None:
        """Take the signals over."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)
        if self._reread is not None:
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        if self._reread is not None:
            self._reread()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._seen:
            # Nothing is lost by it: what is not acknowledged is in the journal.
            os._exit(INTERRUPTED)
        self._seen = True
        self._stop()
        name = signal.Signals(number).name
        # Not through a stream, which the signal may have interrupted in a write of its own.
        with contextlib.suppress(OSError):
            os.write(2, f"{name}: stopping; what is in hand is delivered or kept. Once more ends at once.\n".encode())


def _introduce(settings: Settings) -> None:
    logger.info("[START] rxbridge {}: {}", __version__, ", ".join(settings.feed.products))
    logger.info("[FEED] {}: {}", settings.feed.protocol, settings.feed.url)
    logger.info("[JOURNAL] {}", "in memory" if settings.run.dry_run else settings.journal.path)
    logger.info("[SINK] {}", "standard output" if settings.run.dry_run else settings.pulsestream.url)


def _teller(status: StatusLine) -> Callable[[Statistics], None]:
    """Shows the status each second on a terminal, and logs it each minute elsewhere."""
    told_at = time.monotonic()

    def tell(statistics: Statistics) -> None:
        nonlocal told_at
        if status.isatty():
            status.show(summary(statistics))
        elif time.monotonic() - told_at >= STATUS_EVERY_SECONDS:
            told_at = time.monotonic()
            logger.info("[STATUS] {}", summary(statistics))

    return tell
