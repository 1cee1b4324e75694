"""Options and exit codes that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

AUDIT_FAILED = 1
NOT_ALL_DELIVERED = 1
WRONG_USAGE = 2
UNAVAILABLE = 69
SOFTWARE = 70
NO_PERMISSION = 77
CONFIGURATION = 78
INTERRUPTED = 130


class FeedChoice(StrEnum):
    """Which of Coinbase's feeds."""

    EXCHANGE = "exchange"
    ADVANCED = "advanced"


Config = Annotated[Path | None, typer.Option("--config", help="Settings file; rxbridge.toml, if there is one.")]
Products = Annotated[str | None, typer.Option(help="Ids, wildcards such as *-USD, or all; separated by commas.")]
Channels = Annotated[
    str | None, typer.Option(help="ticker, ticker_batch, trades, level2, status, candles, ...; separated by commas.")
]
FeedOption = Annotated[
    FeedChoice | None, typer.Option("--feed", help="Which of Coinbase's feeds: exchange, or Advanced Trade.")
]
FeedUrl = Annotated[str | None, typer.Option(help="WebSocket address of the feed.")]
PulseStreamUrl = Annotated[str | None, typer.Option("--pulsestream-url", help="PulseStream's address.")]
JournalPath = Annotated[Path | None, typer.Option("--journal", help="The journal's file.")]

PipelineOption = Annotated[
    str | None,
    typer.Option("--pipeline", help="builtin, module:function, or path/to/file.py:function; separated by commas."),
]


def arguments(
    products: str | None = None,
    channels: str | None = None,
    feed_url: str | None = None,
    pulsestream_url: str | None = None,
    journal: Path | None = None,
    *,
    feed: FeedChoice | None = None,
    pipeline: str | None = None,
) -> dict[str, Any]:
    """These options under the names of their settings."""
    return {
        "feed.protocol": feed,
        "feed.products": products,
        "feed.channels": channels,
        "feed.url": feed_url,
        "pulsestream.url": pulsestream_url,
        "journal.path": journal,
        "run.pipeline": pipeline,
    }
