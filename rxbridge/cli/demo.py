"""`rxbridge demo`: everything at once, on loopback, in a temporary folder."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import threading
from pathlib import Path

import typer
from loguru import logger

from rxbridge.bridge import Bridge
from rxbridge.cli.signals import Signals
from rxbridge.cli.status import StatusLine, summary
from rxbridge.cli.verify import audit_journal
from rxbridge.config import Settings, load
from rxbridge.errors import MissingExtra
from rxbridge.telemetry.logging import configure


def show_demo(*, seconds: float, rate: float, verbose: bool) -> bool:
    """Run the demonstration; whether its audit is ok and nothing is left waiting."""
    try:
        from rxbridge.pulsestream_server import EmbeddedPulseStream
        from rxbridge.simulator import Simulator
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "demo") from None
    key = secrets.token_urlsafe()
    status = StatusLine(sys.stderr)
    configure(verbose=verbose, form="pretty", secrets=(key,), stream=status)
    with (
        tempfile.TemporaryDirectory(prefix="rxbridge-demo-") as name,
        Simulator(products=("BTC-USD", "ETH-USD"), rate=rate) as simulator,
        EmbeddedPulseStream(database=str(Path(name) / "pulsestream.sqlite"), api_key=key, rate_limit=0) as server,
    ):
        logger.info("[DEMO] a simulated market at {}, an embedded PulseStream at {}", simulator.url, server.url)
        settings = load(
            # Neither the user's file nor the environment has a say here.
            Path(os.devnull),
            {
                "feed.url": simulator.url,
                "pulsestream.url": server.url,
                "pulsestream.key": key,
                "journal.path": Path(name) / "demo.journal",
                "events.environment": "demo",
                "log.verbose": verbose,
            },
            environment={},
        )
        _run(settings, seconds, status)
        result = audit_journal(settings)
        typer.echo(f"frames without an event: ignored={result.ignored} repeated={result.repeated}")
        typer.echo(str(result))
        return result.ok and result.waiting == 0 and result.delivered > 0


def _run(settings: Settings, seconds: float, status: StatusLine) -> None:
    with Signals() as signals, Bridge(settings, signals.stop) as bridge:
        timer = threading.Timer(seconds, signals.stop.set)
        timer.start()
        try:
            bridge.run(lambda statistics: status.show(summary(statistics)))
        finally:
            timer.cancel()
            status.show("")
    if bridge.last_statistics is not None:
        logger.info("[DEMO] {}", summary(bridge.last_statistics))
