"""`rxbridge check`: is everything there that a run needs, and what to do where it is not."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import typer
from loguru import logger

from rxbridge import coinbase
from rxbridge.assembly import meaning, pipelines, product_list, pulsestream_client, require_lines, subscribed_to
from rxbridge.cli.application import exit_code
from rxbridge.coinbase.catalogue import is_wildcard
from rxbridge.config import Settings, load
from rxbridge.errors import ConfigError, ConnectionLost, FeedError, FeedStalled, RxBridgeError, SubscriptionRejected
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.left_out import some
from rxbridge.messages import Frame
from rxbridge.telemetry.logging import configure
from rxbridge.telemetry.statistics import FeedStatistics

_FEED_SECONDS = 10.0


def check_everything(config: Path | None, arguments: Mapping[str, Any], *, offline: bool) -> int:
    """One line a check on standard output; the exit code of the first that failed, or 0."""
    try:
        settings = load(config, arguments)
    except ConfigError as error:
        _tell("configuration", error)
        return exit_code(error)
    configure(secrets=settings.secrets(), form=settings.log.format)
    # Each check speaks for itself, in one line.
    logger.disable("rxbridge")
    _tell("configuration", "valid")
    checks = [("journal", _journal), ("disk", _disk), ("API key", _key), ("pipelines", _pipelines)]
    if not offline:
        feed = _FeedChecks()
        checks += [("products", feed.products), ("feed", feed.subscription), ("PulseStream", _pulsestream)]
    codes: list[int] = []
    for name, check in checks:
        try:
            _tell(name, check(settings))
        except RxBridgeError as error:
            _tell(name, error)
            codes.append(exit_code(error))
    return next(iter(codes), 0)


def _tell(name: str, result: str | RxBridgeError) -> None:
    mark = "FAIL" if isinstance(result, RxBridgeError) else "ok"
    typer.echo(f"{mark:<4}  {name}: {result}")


def _journal(settings: Settings) -> str:
    path = settings.journal.path
    if not path.exists():
        folder = path.absolute().parent
        if not folder.is_dir():
            raise ConfigError("journal.path", f"there is no folder {folder}", f"create it: mkdir -p {folder}")
        if not os.access(folder, os.W_OK):
            raise ConfigError("journal.path", f"{folder} is not writable", "change its owner, or choose another path")
        return f"{path} will be created"
    if not os.access(path, os.W_OK):
        raise ConfigError("journal.path", f"{path} is not writable", "change its owner, or choose another path")
    with closing(SqliteJournal(path, role="read")) as journal:
        size = journal.size()
        dead = sum(1 for _ in journal.dead_letters())
        gaps = sum(1 for _ in journal.gaps())
    return f"{path}: {size.frames:,} frames, {size.bytes / 2**20:,.1f} MiB, {dead} dead letters, {gaps} gaps"


def _disk(settings: Settings) -> str:
    path = settings.journal.path
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"not checked, as there is no folder {folder}"
    free = shutil.disk_usage(folder).free + (path.stat().st_size if path.exists() else 0)
    wanted = settings.journal.max_bytes
    if free < wanted:
        raise ConfigError(
            "journal.max_bytes",
            f"{wanted.human_readable()} do not fit on the disk, which has {free / 2**30:.1f} GiB for the journal",
            "lower it, or make room",
        )
    return f"{free / 2**30:,.1f} GiB free for a journal of at most {wanted.human_readable()}"


def _key(settings: Settings) -> str:
    settings.pulsestream.secret()
    return "set"


def _pipelines(settings: Settings) -> str:
    if settings.run.role == "feed":
        return "not needed by the half that feeds"
    return ", ".join(pipelines(settings).names)


def _pulsestream(settings: Settings) -> str:
    with closing(pulsestream_client(settings.pulsestream)) as client:
        client.check()
    return f"{settings.pulsestream.url} answers and takes the key"


class _FeedChecks:
    """What is asked for, and whether the feed brings it: the second check is about the products of the first."""

    def __init__(self) -> None:
        self._products: tuple[str, ...] = ()

    def products(self, settings: Settings) -> str:
        """Look the products up in Coinbase's list."""
        asked = settings.feed.products
        with closing(product_list(settings)) as rest:
            meant = meaning(settings, rest.products())
        self._products = meant.products
        meant.require_some(asked)
        require_lines(settings, len(meant.products))
        if problems := meant.problems():
            raise ConfigError("feed.products", "; ".join(problems.values()), "A run goes on without them")
        return f"{', '.join(asked)} means {len(meant.products)} products: {some(meant.products)}"

    def subscription(self, settings: Settings) -> str:
        """Subscribe to them; to the ids as they are, where it is not known which products there are."""
        products = self._products or tuple(word for word in settings.feed.products if not is_wildcard(word))
        if not products:
            return "not checked, as it is not known which products are meant"
        return _feed(subscribed_to(settings, products))


def _feed(settings: Settings) -> str:
    """Connect, and wait until Coinbase has answered all that is asked for."""
    feed = settings.feed
    statistics = FeedStatistics()
    failures: list[Exception] = []
    done = threading.Event()

    def arrived(_frame: Frame) -> None:
        if statistics.settled:
            done.set()

    def failed(error: Exception) -> None:
        failures.append(error)
        done.set()

    key, secret, passphrase = feed.credentials() or (None, None, None)
    frames = coinbase.frames(
        feed.products,
        feed.channels,
        feed=feed.protocol,
        url=feed.url,
        connect_timeout_seconds=feed.connect_timeout_seconds,
        ca_file=str(feed.ca_file) if feed.ca_file else None,
        key_file=str(feed.key_file) if feed.key_file else None,
        api_key=key,
        api_secret=secret,
        api_passphrase=passphrase,
        reconnect=False,
        statistics=statistics,
    )
    subscription = frames.subscribe(arrived, failed)
    done.wait(feed.connect_timeout_seconds + _FEED_SECONDS)
    subscription.dispose()
    if failures:
        error = failures[0]
        raise error if isinstance(error, FeedError) else ConnectionLost(feed.url, str(error))
    if not statistics.frames:
        raise FeedStalled(feed.url, _FEED_SECONDS, answers_pings=False)
    if refused := statistics.rejected_products | statistics.rejected_channels:
        raise SubscriptionRejected(feed.url, refused)
    return f"{feed.url} answers to a subscription of {some(feed.products)}"
