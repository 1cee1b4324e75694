"""What commands print of things from outside: tables, times, and text that cannot pass for anything else.

A frame, a reason or a product may hold whatever somebody sent. On a terminal a control character would be obeyed, so
none is ever printed as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rxbridge.audit import Report
from rxbridge.errors import quoted


def plain(text: str | bytes, limit: int = 200) -> str:
    """Text from outside, control characters escaped, cut to `limit` characters."""
    return quoted(text, limit)[1:-1]


def moment(nanoseconds: int, *, milliseconds: bool = False) -> str:
    """Nanoseconds since the Unix epoch in ISO 8601, UTC, to the second or the millisecond, rounded down."""
    try:
        second = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(nanoseconds)
    return second + (f".{nanoseconds // 10**6 % 1000:03}Z" if milliseconds else "Z")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere a line a row, its cells apart by tabs, for other programs."""
    if not sys.stdout.isatty():
        typer.echo("\t".join(headers))
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        # As text, not as rich's markup: what stands in brackets stays.
        table.add_row(*map(Text, row))
    Console().print(table)


@contextmanager
def progress(verb: str) -> Generator[Report]:
    """A bar on standard error for each thing that is told of, if that is a terminal."""
    bar = Progress(
        TextColumn(verb + " {task.description}"),
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

    with bar:
        yield report
