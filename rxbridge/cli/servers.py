"""`rxbridge simulate` and `rxbridge pulsestream`: the two embedded servers, until a signal."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import typer

from rxbridge.cli.printing import print_table
from rxbridge.errors import MissingExtra
from rxbridge.faults import read_faults, report_line
from rxbridge.telemetry.logging import configure


def serve_simulator(
    *,
    port: int,
    products: str,
    rate: float,
    seed: int,
    feed: Literal["exchange", "advanced"],
    history: int,
    recording: Path | None,
    speed: float,
    depth: int,
    api_key: tuple[str | None, str | None, str | None],
    faults: Path | None,
) -> None:
    """Serve a simulated market, or a recording; say at the end which faults happened."""
    try:
        from rxbridge.recording import read
        from rxbridge.simulator import TRADES_KEPT, Credentials, serve
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "demo") from None
    configure(secrets=tuple(filter(None, api_key)))
    statistics = serve(
        port=port,
        products=_names(products),
        rate=rate,
        seed=seed,
        feed=feed,
        history=history,
        trades_kept=TRADES_KEPT + history,
        recording=None if recording is None else partial(read, recording),
        speed=speed,
        book_depth=depth,
        credentials=Credentials(*(part or "" for part in api_key)) if any(api_key) else None,
        faults=() if faults is None else read_faults(faults),
        ready=lambda url: typer.echo(f"simulator: {url}", err=True),
    )
    if faults is not None:
        typer.echo(report_line(statistics.faults), err=True)


def describe_simulator(products: str) -> None:
    """Print what a simulator of these products does: a few tables, each under its title."""
    try:
        from rxbridge.simulator import describe
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "demo") from None
    for number, section in enumerate(describe(_names(products))):
        typer.echo(f"\n{section.title}" if number else section.title)
        print_table(section.headers, section.rows)


def _names(products: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in products.split(",") if name.strip())


def serve_pulsestream(
    *,
    port: int,
    database: Path,
    api_key: str,
    rate_limit: int,
    latency: float,
    faults: Path | None,
    seed: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
) -> None:
    """Serve an embedded PulseStream; say at the end which faults happened."""
    try:
        from rxbridge.pulsestream_server import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "demo") from None
    configure(secrets=(api_key,))
    fired = serve(
        port=port,
        database=database,
        api_key=api_key,
        rate_limit=rate_limit,
        latency_seconds=latency,
        faults=() if faults is None else read_faults(faults),
        seed=seed,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        on_ready=lambda url: typer.echo(f"pulsestream: {url}", err=True),
    )
    if faults is not None:
        typer.echo(report_line(fired), err=True)
