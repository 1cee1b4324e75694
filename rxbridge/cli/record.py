"""`rxbridge record`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loguru import logger

from rxbridge.cli.run import STATUS_EVERY_SECONDS
from rxbridge.cli.signals import Signals
from rxbridge.cli.status import StatusLine
from rxbridge.config import load
from rxbridge.recorder import Recorder
from rxbridge.recording import RecordingWriter
from rxbridge.telemetry.logging import configure, log_uncaught


def record_feed(
    config: Path | None,
    arguments: Mapping[str, Any],
    path: Path,
    *,
    rotate_bytes: int | None,
    rotate_seconds: float | None,
    seconds: float | None,
) -> None:
    """Record until a signal, or for so long."""
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
    with Signals() as signals, _recording(path, rotate_bytes, rotate_seconds) as writer:
        logger.info("[RECORDING] {} of {} to {}", settings.feed.protocol, ", ".join(settings.feed.products), path)
        recorder = Recorder(settings, writer, signals.stop)
        recorder.run(_teller(status, writer, recorder), seconds)
        status.show("")
    logger.info("[STOPPED] {}", summary(writer, recorder))


@contextmanager
def _recording(path: Path, rotate_bytes: int | None, rotate_seconds: float | None) -> Generator[RecordingWriter]:
    """A recording that, whatever ends it, is not in the way of the next try if no frame came."""
    writer = RecordingWriter(path, rotate_bytes=rotate_bytes, rotate_seconds=rotate_seconds)
    try:
        with writer:
            yield writer
    finally:
        recorded = writer.statistics()
        if not recorded.frames:
            recorded.path.unlink(missing_ok=True)
            logger.info("[RECORDING] No frame came, and no file is left")


def summary(writer: RecordingWriter, recorder: Recorder) -> str:
    """What was recorded, in one line."""
    recorded = writer.statistics()
    parts = [f"{recorded.frames:,} frames"]
    if recorded.frames:
        parts += [f"{recorded.bytes:,} bytes", f"{recorded.files:,} files: {recorded.path.name}"]
    counts = {"gaps": recorded.gaps, "disconnects": recorder.statistics.disconnections}
    return " · ".join(parts + [f"{count:,} {name}" for name, count in counts.items() if count])


def _teller(status: StatusLine, writer: RecordingWriter, recorder: Recorder) -> Callable[[], None]:
    """Shows the status each second on a terminal, and logs it each minute elsewhere."""
    told_at = time.monotonic()

    def tell() -> None:
        nonlocal told_at
        if status.isatty():
            status.show(summary(writer, recorder))
        elif time.monotonic() - told_at >= STATUS_EVERY_SECONDS:
            told_at = time.monotonic()
            logger.info("[STATUS] {}", summary(writer, recorder))

    return tell
