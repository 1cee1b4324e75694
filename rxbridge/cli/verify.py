"""`rxbridge verify`."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import typer

from rxbridge.assembly import event_rules, pipelines, pulsestream_client
from rxbridge.audit import Audit, Repair, audit
from rxbridge.cli.journals import maintaining, reading
from rxbridge.cli.printing import plain, progress
from rxbridge.config import Settings, load
from rxbridge.telemetry.logging import configure


def verify_journal(config: Path | None, arguments: Mapping[str, Any], *, as_json: bool, repair: bool) -> bool:
    """Audit, with a progress bar on a terminal; whether the audit is ok."""
    # As SIGINT does: the ledger in its temporary folder is removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = load(config, arguments)
    configure(secrets=settings.secrets(), form=settings.log.format)
    result = audit_journal(settings, repair=repair)
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        for line in _remarks(result):
            typer.echo(line, err=True)
        typer.echo(str(result))
    return result.ok


def audit_journal(settings: Settings, *, repair: bool = False) -> Audit:
    """Audit the journal that the settings name."""
    channels, chosen = settings.feed.channels, pipelines(settings)
    note = "" if settings.backfill.enabled else "backfill.enabled is false, so nobody fetches them"
    opened = maintaining(settings) if repair else reading(settings)
    with opened as journal, closing(pulsestream_client(settings.pulsestream)) as client, progress("auditing") as report:
        repairing = Repair(
            journal,
            client,
            channels=channels,
            rules=event_rules(settings),
            after_seconds=settings.delivery.confirm_after_seconds,
            wait_after_timeout_seconds=settings.pulsestream.wait_after_timeout_seconds,
            pipelines=chosen,
        )
        return audit(
            journal,
            client,
            channels=channels,
            rules=event_rules(settings),
            pipelines=chosen,
            repair=repairing if repair else None,
            holes_note=note,
            report=report,
        )


def _remarks(result: Audit) -> list[str]:
    """What else there is to say, a line each."""
    lines = [f"missing: {plain(key)}" for key in result.missing_ids]
    if result.unconfirmed:
        lines.append(f"of the missing, {result.unconfirmed} are still to be looked for by the bridge's confirmation")
    if result.repaired:
        lines.append(f"{result.repaired} events were missing; they were sent again, and are stored now")
    lines += [
        f"trades missing, and on no record: {plain(hole.product)} {hole.first} to {hole.last}" for hole in result.holes
    ]
    if result.holes and result.holes_note:
        lines.append(f"that is no failure: {result.holes_note}")
    if result.open_trades:
        lines.append(f"{result.open_trades} trades are still to be fetched by the backfill")
    if result.gaps:
        lines.append(f"{result.gaps} gaps of the market are on record: see rxbridge gaps")
    if result.purged:
        lines.append(f"of the dropped, {result.purged} were dead letters that somebody has purged")
    if result.unjudged_images:
        why = "the journal keeps the beginnings of their connections no more"
        lines.append(f"images of books that there may be and that cannot be judged: {result.unjudged_images}, as {why}")
    if result.unreadable:
        hint = "see rxbridge gaps, and rxbridge gaps acknowledge"
        lines.append(f"the journal's file has lost {result.unreadable} frames: {hint}")
    if result.acknowledged_gaps:
        lines.append(f"acknowledged gaps: the journal's file has lost {result.acknowledged_gaps} frames")
    lines.append(f"frames without an event: ignored={result.ignored} repeated={result.repeated}")
    return lines
