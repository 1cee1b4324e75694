"""`rxbridge run`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loguru import logger

from rxbridge.bridge import Bridge
from rxbridge.cli.rereading import Rereading
from rxbridge.cli.signals import Signals
from rxbridge.cli.status import StatusLine, summary
from rxbridge.config import Settings, load
from rxbridge.telemetry.logging import configure, log_uncaught
from rxbridge.telemetry.statistics import Statistics
from rxbridge.version import __version__

STATUS_EVERY_SECONDS = 60.0


def run_bridge(config: Path | None, arguments: Mapping[str, Any], signals: Signals) -> None:
    """Run until a signal, until idle, or until the feed ends for good; then drain.

    The signals outlast the drain, in which a second one must find its handler.
    """
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
    rereading = Rereading(settings, lambda: load(config, arguments), signals.take_hang_up)
    with Bridge(settings, signals.stop) as bridge:
        bridge.run(_teller(status), rereading.take)
        status.show("")
    if bridge.last_statistics is not None:
        logger.info("[STOPPED] {}", summary(bridge.last_statistics))


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
