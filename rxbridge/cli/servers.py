"""`rxbridge simulate` and `rxbridge pulsestream`: the two embedded servers, until a signal."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from rxbridge.errors import MissingExtra
from rxbridge.telemetry.logging import configure


def serve_simulator(*, port: int, products: str, rate: float, seed: int, recording: Path | None, speed: float) -> None:
    """Serve a simulated market, or a recording."""
    try:
        from rxbridge.recording import read
        from rxbridge.simulator import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "demo") from None
    configure()
    names = tuple(name.strip() for name in products.split(",") if name.strip())
    serve(
        port=port,
        products=names,
        rate=rate,
        seed=seed,
        recording=None if recording is None else partial(read, recording),
        speed=speed,
        ready=lambda url: typer.echo(f"simulator: {url}", err=True),
    )


def serve_pulsestream(*, port: int, database: Path, api_key: str, rate_limit: int, latency: float) -> None:
    """Serve an embedded PulseStream."""
    try:
        from rxbridge.pulsestream_server import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "demo") from None
    configure(secrets=(api_key,))
    serve(
        port=port,
        database=database,
        api_key=api_key,
        rate_limit=rate_limit,
        latency_seconds=latency,
        on_ready=lambda url: typer.echo(f"pulsestream: {url}", err=True),
    )
