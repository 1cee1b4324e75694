"""`rxbridge replay`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from loguru import logger

from rxbridge.cli.occurrences import require_some, without_frames
from rxbridge.cli.options import INTERRUPTED
from rxbridge.cli.printing import moment
from rxbridge.cli.run import STATUS_EVERY_SECONDS
from rxbridge.cli.signals import Signals
from rxbridge.cli.status import StatusLine, summary
from rxbridge.config import Settings, load
from rxbridge.errors import ConfigError
from rxbridge.playing import Selection, selection
from rxbridge.recording.chunks import COMPRESSED, PLAIN
from rxbridge.recording.files import files_of
from rxbridge.replaying import KeptJournal, Recording, ReplayBridge
from rxbridge.telemetry.logging import configure, log_uncaught
from rxbridge.telemetry.statistics import Statistics


def replay_frames(
    config: Path | None,
    arguments: Mapping[str, Any],
    source: Recording | KeptJournal,
    chosen: Selection,
    *,
    speed: float,
    journal: Path | None,
) -> None:
    """Replay until all is delivered, or until a signal; what is not delivered then, is at the next start.

    Raises:
        ConfigError: None of the products that are asked for occurs.
        Exit: It was stopped before its end.
    """
    settings = load(config, {**arguments, "journal.path": journal or _journal_of(source)})
    status = StatusLine(sys.stderr)
    configure(
        verbose=settings.log.verbose,
        form=settings.log.format,
        secrets=settings.secrets(),
        repeat_seconds=settings.log.repeat_seconds,
        stream=status,
    )
    log_uncaught()
    require_some(source, chosen)
    logger.info("[REPLAYING] {} by {}", source.path, "memory" if settings.run.dry_run else settings.journal.path)
    with Signals() as signals, ReplayBridge(settings, source, chosen, speed=speed, stop=signals.stop) as bridge:
        bridge.run(_teller(status, bridge))
        status.show("")
    if bridge.last_statistics is not None:
        logger.info("[STOPPED] {}", summary(bridge.last_statistics))
    if not bridge.finished:
        logger.warning("[INTERRUPTED] {}", _left(bridge, settings))
        raise typer.Exit(INTERRUPTED)
    if absent := without_frames(chosen, bridge.occurring):
        logger.warning("[PRODUCTS] {}", absent)


def _left(bridge: ReplayBridge, settings: Settings) -> str:
    """What a replay that was stopped leaves to the next start."""
    if settings.run.dry_run:
        return "Stopped before the end. Nothing is kept of a dry run: the next start begins anew"
    journal, parts = settings.journal.path, list[str]()
    if not bridge.is_read:
        parts.append("not all frames are read")
    if bridge.last_statistics is not None and (waiting := bridge.last_statistics.waiting_frames):
        parts.append(f"{waiting:,} frames wait in {journal}")
    left = " and ".join(parts) or "not all that was delivered is proven to be stored"
    return f"Stopped before the end: {left}. The next start with {journal} goes on there"


def source_of(recording: Path | None, journal: Path | None) -> Recording | KeptJournal:
    """What is to be read.

    Raises:
        ConfigError: Neither is given, or both; or there is no such journal.
        RecordingError: There is no such recording.
    """
    if (recording is None) == (journal is None):
        raise ConfigError("FILE", "name a recording, or a journal by --from-journal, and not both")
    if recording is not None:
        files_of(recording)  # before anything is made for it
        return Recording(str(recording))
    assert journal is not None, "one of the two is given"  # noqa: S101
    if not journal.exists():
        raise ConfigError("--from-journal", f"there is no journal at {journal}")
    return KeptJournal(str(journal))


def selection_of(since: str | None, until: str | None, products: str | None) -> Selection:
    """What the options mean.

    Raises:
        ConfigError: One cannot be read.
    """
    names = [name.strip() for name in (products or "").split(",") if name.strip()]
    return selection(_time("--since", since), _time("--until", until), names)


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    hint = "write it so: 2026-01-31T08:00:00Z"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(option, f"{text!r} is no time", hint) from None
    if moment.tzinfo is None:
        raise ConfigError(option, f"{text!r} has no time zone", hint)
    return moment


def _journal_of(source: Recording | KeptJournal) -> Path:
    """A journal of the replay's own, beside the source."""
    path = Path(source.path)
    name = path.name.removesuffix(COMPRESSED).removesuffix(PLAIN)
    return path.with_name(f"{name}.replay.journal")


def _teller(status: StatusLine, bridge: ReplayBridge) -> Callable[[Statistics], None]:
    """Shows the status each second on a terminal, and logs it each minute elsewhere."""
    told_at = time.monotonic()

    def tell(statistics: Statistics) -> None:
        nonlocal told_at
        text = f"{moment(bridge.newest)} · {summary(statistics)}"
        if status.isatty():
            status.show(text)
        elif time.monotonic() - told_at >= STATUS_EVERY_SECONDS:
            told_at = time.monotonic()
            logger.info("[STATUS] {}", text)

    return tell
