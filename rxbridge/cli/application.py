"""The commands and their options; what each does stands in a module of its own, imported when it is called for.

Exit codes: 0 well, 1 the audit failed, 2 wrong usage, 69 something needed is not available, 70 a user's pipeline fails
again and again, 77 the key was refused at the start, 78 the configuration is wrong, 130 interrupted; those above 2
after BSD's sysexits.h and the shell.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rxbridge.cli.dead_letters import letters_app
from rxbridge.cli.gaps import gaps_app
from rxbridge.cli.options import (
    AUDIT_FAILED,
    CONFIGURATION,
    INTERRUPTED,
    NO_PERMISSION,
    SOFTWARE,
    UNAVAILABLE,
    Channels,
    Config,
    FeedChoice,
    FeedOption,
    FeedUrl,
    JournalPath,
    PipelineOption,
    Products,
    PulseStreamUrl,
    arguments,
)
from rxbridge.cli.recordings import recordings_app
from rxbridge.errors import ConfigError, PipelineFailed, RxBridgeError, SubscriptionRejected, Unauthorized
from rxbridge.version import __version__

app: typer.Typer = typer.Typer(
    help="Coinbase market data, delivered to PulseStream with nothing lost and nothing stored twice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(letters_app, name="dead-letters")
app.add_typer(gaps_app, name="gaps")
app.add_typer(recordings_app)


class Role(StrEnum):
    """Which half of the bridge a process is."""

    BOTH = "both"
    FEED = "feed"
    DELIVER = "deliver"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    PRETTY = "pretty"
    JSON = "json"


class Speed(StrEnum):
    """How fast a recording is served."""

    REAL = "1"
    TENFOLD = "10"
    MAXIMUM = "max"


Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")]

Faults = Annotated[
    Path | None, typer.Option("--faults", dir_okay=False, help="What goes wrong, and when: a TOML file.")
]


@app.command()
def run(
    products: Products = None,
    channels: Channels = None,
    feed: FeedOption = None,
    feed_url: FeedUrl = None,
    pulsestream_url: PulseStreamUrl = None,
    journal: JournalPath = None,
    config: Config = None,
    pipeline: PipelineOption = None,
    role: Annotated[Role | None, typer.Option(help="Which half this process is.")] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Print batches as JSON lines instead of sending them.")
    ] = None,
    exit_when_idle: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End when nothing came or was delivered for so long, and nothing waits."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begin an empty journal with the trades since then: 2026-01-31T08:00:00Z."),
    ] = None,
    verbose: Annotated[bool | None, typer.Option("--verbose", "-v", help="A line for every event.")] = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="How log lines look.")] = None,
) -> None:
    """Run the bridge until SIGTERM or SIGINT, which drain it; a second one ends it at once."""
    from rxbridge.cli.signals import Signals

    with Signals(hang_up=True) as signals:
        from rxbridge.cli.run import run_bridge

        run_bridge(
            config,
            arguments(products, channels, feed_url, pulsestream_url, journal, feed=feed, pipeline=pipeline)
            | {
                "run.role": role,
                "run.dry_run": dry_run,
                "run.exit_when_idle": exit_when_idle,
                "backfill.since": since,
                "log.verbose": verbose,
                "log.format": log_format,
            },
            signals,
        )


@app.command()
def check(
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server.")] = False,
    products: Products = None,
    channels: Channels = None,
    feed: FeedOption = None,
    feed_url: FeedUrl = None,
    pulsestream_url: PulseStreamUrl = None,
    journal: JournalPath = None,
    pipeline: PipelineOption = None,
    config: Config = None,
) -> None:
    """Check configuration, journal, disk, both servers and the key, and say what to do about each."""
    from rxbridge.cli.check import check_everything

    given = arguments(products, channels, feed_url, pulsestream_url, journal, feed=feed, pipeline=pipeline)
    raise typer.Exit(check_everything(config, given, offline=offline))


@app.command("products")
def show_products(
    patterns: Annotated[
        list[str] | None, typer.Argument(metavar="[PATTERN]...", help="Ids, wildcards such as '*-USD', or all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each as a JSON object, one a line.")] = False,
    feed: FeedOption = None,
    feed_url: FeedUrl = None,
    config: Config = None,
) -> None:
    """List what ids and wildcards mean, those of the settings if none are given."""
    from rxbridge.cli.products import list_products

    list_products(config, arguments(feed=feed, feed_url=feed_url), patterns or (), as_json=json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the events."""
    import msgspec

    from rxbridge.events.json_schema import json_schema

    typer.echo(msgspec.json.format(msgspec.json.encode(json_schema())).decode())


@app.command("config")
def show_config(
    products: Products = None,
    channels: Channels = None,
    feed: FeedOption = None,
    feed_url: FeedUrl = None,
    pulsestream_url: PulseStreamUrl = None,
    journal: JournalPath = None,
    pipeline: PipelineOption = None,
    config: Config = None,
) -> None:
    """Show each setting's value and where it came from, secrets hidden."""
    from rxbridge.cli.config import print_settings

    given = arguments(products, channels, feed_url, pulsestream_url, journal, feed=feed, pipeline=pipeline)
    print_settings(config, given)


@app.command()
def verify(
    channels: Channels = None,
    feed: FeedOption = None,
    pulsestream_url: PulseStreamUrl = None,
    journal: JournalPath = None,
    pipeline: PipelineOption = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Send again what is missing, until it is proven to be stored.")
    ] = False,
) -> None:
    """Compare what was received with what PulseStream holds."""
    from rxbridge.cli.verify import verify_journal

    given = arguments(None, channels, None, pulsestream_url, journal, feed=feed, pipeline=pipeline)
    if not verify_journal(config, given, as_json=json, repair=repair):
        raise typer.Exit(AUDIT_FAILED)


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long market data flows.")] = 30,
    rate: Annotated[float, typer.Option(min=0.1, help="Trades a second; each makes a ticker and a match.")] = 25,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for every event.")] = False,
) -> None:
    """Simulator, embedded PulseStream and bridge together, with a live status line; then the audit."""
    from rxbridge.cli.demo import show_demo

    if not show_demo(seconds=seconds, rate=rate, verbose=verbose):
        raise typer.Exit(AUDIT_FAILED)


@app.command()
def simulate(
    port: Port = 8765,
    products: Annotated[
        str, typer.Option(help="Products, separated by commas: ids, or numbers of made-up ones; ID:delisted is one.")
    ] = "BTC-USD,ETH-USD",
    rate: Annotated[float, typer.Option(min=0, help="Trades a second, over all products.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed makes the same market.")] = 1,
    feed: Annotated[FeedChoice, typer.Option(help="Whose protocol is spoken.")] = FeedChoice.EXCHANGE,
    history: Annotated[int, typer.Option(min=0, help="Trades that each market made before, a second apart.")] = 0,
    recording: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Serve this recording instead (.jsonl, .jsonl.zst)."),
    ] = None,
    speed: Annotated[Speed, typer.Option(help="How fast to serve a recording.")] = Speed.REAL,
    depth: Annotated[int, typer.Option(min=1, help="Levels on each side of a book.")] = 50,
    api_key: Annotated[
        str | None, typer.Option(envvar="RXBRIDGE_FEED_API_KEY", show_envvar=True, help="Key that opens all channels.")
    ] = None,
    api_secret: Annotated[
        str | None, typer.Option(envvar="RXBRIDGE_FEED_API_SECRET", show_envvar=True, help="Its secret, base64.")
    ] = None,
    api_passphrase: Annotated[
        str | None, typer.Option(envvar="RXBRIDGE_FEED_API_PASSPHRASE", show_envvar=True, help="Its passphrase.")
    ] = None,
    faults: Faults = None,
    describe: Annotated[bool, typer.Option("--describe", help="Print what it does instead.")] = False,
) -> None:
    """Serve Coinbase's protocols on loopback: a simulated market, or a recording."""
    from rxbridge.cli.servers import describe_simulator, serve_simulator

    if describe:
        describe_simulator(products)
        return
    serve_simulator(
        port=port,
        products=products,
        rate=rate,
        seed=seed,
        feed=feed.value,
        history=history,
        recording=recording,
        speed=float(speed.replace("max", "inf")),
        depth=depth,
        api_key=(api_key, api_secret, api_passphrase),
        faults=faults,
    )


@app.command()
def pulsestream(
    api_key: Annotated[
        str,
        typer.Option(
            envvar="PULSESTREAM_API_KEY", show_envvar=True, help="Key of a tenant that exists from the start."
        ),
    ],
    port: Port = 8000,
    database: Annotated[Path, typer.Option(help="SQLite file of what is stored.")] = Path("pulsestream.sqlite"),
    rate_limit: Annotated[int, typer.Option(min=0, help="Events a minute and tenant; 0 is no limit.")] = 100,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that every request takes longer.")] = 0,
    faults: Faults = None,
    seed: Annotated[int, typer.Option(help="The same seed rolls the same dice for the faults.")] = 1,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file; with it, HTTPS only.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: the certificate's private key.")] = None,
) -> None:
    """Serve an embedded PulseStream on loopback, quirks included."""
    from rxbridge.cli.servers import serve_pulsestream

    serve_pulsestream(
        port=port,
        database=database,
        api_key=api_key,
        rate_limit=rate_limit,
        latency=latency,
        faults=faults,
        seed=seed,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    """The options of no command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """The entry point of the command `rxbridge`: runs a command, and turns what goes wrong into words and a code."""
    # Python leaves None where a process was started without standard error; whatever talks needs somewhere to.
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 it lasts as long as we do
    try:
        app()
    except RxBridgeError as error:
        typer.echo(f"rxbridge: {error}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def exit_code(error: RxBridgeError) -> int:
    """What the process ends with for an error."""
    if isinstance(error, ConfigError | SubscriptionRejected):
        return CONFIGURATION
    if isinstance(error, PipelineFailed):
        return SOFTWARE
    return NO_PERMISSION if isinstance(error, Unauthorized) else UNAVAILABLE
