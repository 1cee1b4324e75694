"""`rxbridge export`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from rxbridge.cli.occurrences import require_some, without_frames
from rxbridge.cli.printing import moment
from rxbridge.cli.status import StatusLine
from rxbridge.errors import ConfigError
from rxbridge.export import KINDS, Kind, export
from rxbridge.messages import Frame
from rxbridge.playing import Selection
from rxbridge.replaying import KeptJournal, Recording
from rxbridge.telemetry.logging import configure

_ENDING = ".parquet"


def export_frames(source: Recording | KeptJournal, chosen: Selection, target: Path, kinds: Sequence[Kind]) -> None:
    """Export, and print a line for each file: its name and how many rows it has.

    Raises:
        ConfigError: The target is no Parquet file's name, or is there already; or none of the products occurs.
        RecordingError: The recording cannot be read.
        JournalError: The journal cannot be read.
        ExportError: The target cannot be written.
        MissingExtra: A package is missing.
    """
    if target.suffix != _ENDING:
        raise ConfigError("--to", f"{target} does not end with {_ENDING}")
    status = StatusLine(sys.stderr)
    configure(stream=status)
    # Like Ctrl-C: what is staged is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def tell(frames: int, newest: Frame) -> None:
        status.show(f"{moment(newest.received_at)} · {frames:,} frames")

    targets = targets_of(target, kinds)
    products, occurring = [product.decode() for product in chosen.products], set[bytes]()
    require_some(source, chosen)
    with closing(source.frames(chosen, occurring)) as frames:
        exported = export(frames, targets, products=products, progress=tell)
    status.show("")
    for kind, path in targets.items():
        typer.echo(f"{path}\t{exported.rows[kind]} {kind}")
    notes = {
        "frames could not be read, and are left out": exported.malformed,
        "values have no place in their column, and are null": exported.invalid,
    }
    for note, count in notes.items():
        if count:
            typer.echo(f"{count:,} {note}", err=True)
    if absent := without_frames(chosen, occurring):
        typer.echo(absent, err=True)


def targets_of(target: Path, kinds: Sequence[Kind]) -> dict[Kind, Path]:
    """The file itself for one kind; for several, one each: `day.trades.parquet`."""
    wanted = tuple(dict.fromkeys(kinds)) or KINDS
    if len(wanted) == 1:
        return {wanted[0]: target}
    return {kind: target.with_name(f"{target.stem}.{kind}{_ENDING}") for kind in wanted}
