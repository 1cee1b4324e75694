"""The commands about recordings; what each does stands in a module of its own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rxbridge.cli.options import (
    Channels,
    Config,
    FeedOption,
    FeedUrl,
    PipelineOption,
    Products,
    PulseStreamUrl,
    arguments,
)

recordings_app: typer.Typer = typer.Typer()


class ReplaySpeed(StrEnum):
    """How fast frames are replayed."""

    REAL = "1"
    TENFOLD = "10"
    MAXIMUM = "max"


class ExportKind(StrEnum):
    """What a Parquet file may hold."""

    TRADES = "trades"
    TICKERS = "tickers"
    CANDLES = "candles"


Source = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The recording (.jsonl, .jsonl.zst).")]
FromJournal = Annotated[
    Path | None, typer.Option("--from-journal", dir_okay=False, help="Read a journal instead; it may be in use.")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only what was received since then: 2026-01-31T08:00:00Z.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only what was received before then.")]
OnlyProducts = Annotated[str | None, typer.Option("--products", help="Only these ids; separated by commas.")]


@recordings_app.command()
def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording to make (.jsonl, .jsonl.zst).")],
    products: Products = None,
    channels: Channels = None,
    feed: FeedOption = None,
    feed_url: FeedUrl = None,
    config: Config = None,
    rotate_bytes: Annotated[
        int | None, typer.Option(min=1, help="A file of this size is followed by the next.")
    ] = None,
    rotate_seconds: Annotated[float | None, typer.Option(min=1, help="A file lasts so long.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="End after so long; else at a signal.")] = None,
) -> None:
    """Record what Coinbase sends, until SIGTERM or SIGINT."""
    from rxbridge.cli.record import record_feed

    record_feed(
        config,
        arguments(products, channels, feed_url, feed=feed),
        file,
        rotate_bytes=rotate_bytes,
        rotate_seconds=rotate_seconds,
        seconds=seconds,
    )


@recordings_app.command()
def replay(
    file: Source = None,
    from_journal: FromJournal = None,
    speed: Annotated[ReplaySpeed, typer.Option(help="How fast.")] = ReplaySpeed.MAXIMUM,
    since: Since = None,
    until: Until = None,
    products: OnlyProducts = None,
    channels: Channels = None,
    feed: FeedOption = None,
    pulsestream_url: PulseStreamUrl = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", help="The replay's own journal; by default beside the recording.")
    ] = None,
    config: Config = None,
    pipeline: PipelineOption = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Print batches as JSON lines instead of sending them.")
    ] = None,
) -> None:
    """Deliver a recording, or what a journal keeps, to PulseStream, as `run` would have done."""
    from rxbridge.cli.replay import replay_frames, selection_of, source_of

    replay_frames(
        config,
        arguments(None, channels, None, pulsestream_url, feed=feed, pipeline=pipeline) | {"run.dry_run": dry_run},
        source_of(file, from_journal),
        selection_of(since, until, products),
        speed=float(speed.replace("max", "inf")),
        journal=journal,
    )


@recordings_app.command()
def export(
    to: Annotated[Path, typer.Option("--to", metavar="FILE.parquet", help="The file to make.")],
    file: Source = None,
    from_journal: FromJournal = None,
    kind: Annotated[list[ExportKind] | None, typer.Option(help="Only this kind; may be given again.")] = None,
    since: Since = None,
    until: Until = None,
    products: OnlyProducts = None,
) -> None:
    """Write the trades, tickers and candles of a recording, or of a journal, to Parquet files."""
    from rxbridge.cli.export import export_frames
    from rxbridge.cli.replay import selection_of, source_of

    source = source_of(file, from_journal)
    export_frames(source, selection_of(since, until, products), to, [one.value for one in kind or ()])
