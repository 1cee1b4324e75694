"""`rxbridge verify`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rxbridge.assembly import pulsestream_client
from rxbridge.audit import Audit, audit
from rxbridge.config import Settings, load
from rxbridge.errors import ConfigError
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.telemetry.logging import configure


def verify_journal(config: Path | None, arguments: Mapping[str, Any], *, as_json: bool) -> bool:
    """Audit, with a progress bar on a terminal; whether the audit is ok."""
    # As SIGINT does: the ledger in its temporary folder is removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = load(config, arguments)
    configure(secrets=settings.pulsestream.secrets(), form=settings.log.format)
    result = audit_journal(settings)
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        for key in result.missing_ids:
            typer.echo(f"missing: {key}", err=True)
        if result.unreadable:
            typer.echo(f"the journal's file has lost {result.unreadable} frames: see its gaps", err=True)
        typer.echo(f"frames without an event: ignored={result.ignored} repeated={result.repeated}", err=True)
        typer.echo(str(result))
    return result.ok


def audit_journal(settings: Settings) -> Audit:
    """Audit the journal that the settings name."""
    if not settings.journal.path.exists():
        raise ConfigError("journal.path", f"there is no journal at {settings.journal.path}")
    client = pulsestream_client(settings.pulsestream)
    bar = Progress(
        TextColumn("auditing {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what)
        bar.update(tasks[what], completed=done, total=max(done, total))

    with closing(client), closing(SqliteJournal(settings.journal.path, role="read")) as journal, bar:
        return audit(journal, client, channels=settings.feed.channels, report=report)
