"""The parts of a bridge, each made as the settings describe it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from loguru import logger
from reactivex import Observable

from rxbridge import coinbase
from rxbridge.backfill import CONSUMER as BACKFILL
from rxbridge.backfill import UNREPLAYABLE, Backfill
from rxbridge.coinbase import ProductsInForce
from rxbridge.coinbase.addresses import rest_url
from rxbridge.coinbase.advanced_protocol import served_as
from rxbridge.coinbase.allocation import require_room
from rxbridge.coinbase.catalogue import Catalogue, Resolution, resolve
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.coinbase.rest import RestClient
from rxbridge.config import PulseStreamSettings, Settings
from rxbridge.confirmation import CONSUMER as CONFIRMATION
from rxbridge.confirmation import Confirmation
from rxbridge.confirmation.note import STATE_CONSUMER as CONFIRMATION_STATE
from rxbridge.custom_pipelines import BUILTIN, Pipelines, load_pipelines
from rxbridge.delivery import Delivery, Sink, refused
from rxbridge.errors import FramesLetGo, FramesLost, JournalError
from rxbridge.events import EventRules
from rxbridge.feed import Feed
from rxbridge.journal import Journal
from rxbridge.journal.memory import MemoryJournal
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import Frame
from rxbridge.pipeline import count_events
from rxbridge.products import Changed, ProductWatch
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.progress import STATE_CONSUMER, Progress
from rxbridge.pulsestream import DryRunSink, InFlight, PulseStreamClient, PulseStreamSink
from rxbridge.telemetry.statistics import BackfillStatistics, ConfirmationStatistics, DeliveryStatistics, FeedStatistics

_UNDER_WAY = "under way"
"""The journal's note of the request that may be at work at PulseStream."""

_COSTS = {
    CONFIRMATION: "what PulseStream loses of their events is not noticed any more",
    CONFIRMATION_STATE: "events of your pipelines are not looked for at PulseStream for a while",
    STATE_CONSUMER: "after a restart, what your pipelines had open is made of later frames only",
    BACKFILL: "their trades are fetched once more",
}
"""What it costs a consumer of the journal if frames go that it has not acknowledged."""

_LIST_CONNECT_SECONDS = 3.0
_LIST_READ_SECONDS = 5.0
"""A start waits for the list of products, and not for long if it can do without."""


def pulsestream_client(settings: PulseStreamSettings) -> PulseStreamClient:
    """A client of PulseStream.

    Raises:
        ConfigError: No key, or one that cannot be sent.
    """
    return PulseStreamClient(
        settings.url,
        settings.secret(),
        connect_timeout_seconds=settings.connect_timeout_seconds,
        read_timeout_seconds=settings.read_timeout_seconds,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
    )


def journal(settings: Settings) -> Journal:
    """The journal, in this process's role.

    Raises:
        JournalError: It cannot be opened.
    """
    run, options = settings.run, settings.journal
    # What a user's pipeline would have made of frames that are given up, nobody knows.
    channels = settings.feed.channels if BUILTIN in run.pipeline else ()
    if run.dry_run:
        # A dry run must leave the real journal as it is: it acknowledges what it only printed.
        return MemoryJournal(max_bytes=options.max_bytes, overflow="block")
    return SqliteJournal(
        options.path,
        role=run.role,
        max_bytes=options.max_bytes,
        overflow=options.overflow,
        keep_bytes=options.keep_bytes,
        keep_seconds=options.keep_seconds,
        # What PulseStream has is no loss, whoever else would have looked at it.
        essential=DELIVERY,
        synchronous=options.synchronous,
        count_events=partial(count_events, channels=channels, whole_books=settings.events.book == "full"),
        problem=_tell_problem,
    )


def _tell_problem(error: JournalError) -> None:
    if isinstance(error, FramesLost):
        # On a line of its own: the log withholds what looks like one more of the complaints before.
        logger.critical("[LOST] {}", error)
    elif isinstance(error, FramesLetGo):
        costs = "; ".join(_COSTS[consumer] for consumer in error.consumers if consumer in _COSTS)
        remedy = ", or lower delivery.confirm_after_seconds" if CONFIRMATION in error.consumers else ""
        logger.warning("[LET GO] {}: {}. Raise journal.max_bytes{}", error, costs or "nothing is lost", remedy)
    else:
        logger.error("[JOURNAL] {}", error)


def product_list(settings: Settings) -> RestClient:
    """A client for Coinbase's list of products.

    Raises:
        ConfigError: The address of the REST API, or the file of certificates, cannot be used.
    """
    return _rest(settings, connect_seconds=_LIST_CONNECT_SECONDS, read_seconds=_LIST_READ_SECONDS)


def product_watch(settings: Settings, journal: Journal, stop: threading.Event, changed: Changed) -> ProductWatch:
    """What finds out which products are meant, and tells `changed` what changes about that.

    Raises:
        ConfigError: The address of the REST API, or the file of certificates, cannot be used.
    """
    return ProductWatch(
        settings.feed.products,
        product_list(settings),
        journal,
        stop=stop,
        changed=changed,
        check_seconds=settings.feed.products_check_seconds,
        keep_named=_keeps_named(settings),
    )


def meaning(settings: Settings, catalogue: Catalogue) -> Resolution:
    """What the settings' ids and wildcards mean by Coinbase's list."""
    return resolve(settings.feed.products, catalogue, keep_named=_keeps_named(settings))


def _keeps_named(settings: Settings) -> bool:
    # Advanced Trade has products that the Exchange's list has not, such as those that are quoted in USDC.
    return settings.feed.protocol == "advanced"


def subscribed_to(settings: Settings, products: tuple[str, ...]) -> Settings:
    """The same settings for what they mean: from here on, `feed.products` are ids."""
    return replace(settings, feed=settings.feed.model_copy(update={"products": products}))


def require_lines(settings: Settings, products: int) -> None:
    """Refuse what takes more connections than there may be.

    Args:
        settings: How products are spread over connections.
        products: How many there are.

    Raises:
        ConfigError: There would be too many.
    """
    require_room(products, settings.feed.products_per_connection, settings.feed.connections, section="feed.")


def pipelines(settings: Settings) -> Pipelines:
    """What turns frames into events.

    Raises:
        ConfigError: A user's pipeline is not there, or is none.
    """
    return load_pipelines(settings.run.pipeline)


def event_rules(settings: Settings) -> EventRules:
    """How messages become events."""
    chosen = settings.events
    return EventRules(chosen.environment, chosen.raw, chosen.book, chosen.book_depth, chosen.book_seconds)


def frames(
    settings: Settings, products: ProductsInForce, in_doubt: BooksInDoubt, statistics: FeedStatistics
) -> Observable[Frame]:
    """What Coinbase sends, of products that may change while it runs, and of books that may be in doubt.

    Raises:
        ConfigError: A channel needs a key and there is none, or the key cannot be read or used; or the products take
            more connections than there may be.
    """
    options = settings.feed
    key, secret, passphrase = options.credentials() or (None, None, None)
    require_lines(settings, len(products.current))
    return coinbase.frames(
        products,
        options.channels,
        feed=options.protocol,
        url=options.url,
        stall_seconds=options.stall_seconds,
        connect_timeout_seconds=options.connect_timeout_seconds,
        max_frame_bytes=options.max_frame_bytes,
        backoff_minimum_seconds=options.backoff_minimum_seconds,
        backoff_maximum_seconds=options.backoff_maximum_seconds,
        ca_file=str(options.ca_file) if options.ca_file else None,
        key_file=str(options.key_file) if options.key_file else None,
        api_key=key,
        api_secret=secret,
        api_passphrase=passphrase,
        products_per_connection=options.products_per_connection,
        connections=options.connections,
        book_refresh_seconds=options.book_refresh_seconds,
        book_doubt_seconds=options.book_doubt_seconds,
        in_doubt=in_doubt,
        statistics=statistics,
    )


def feed(
    settings: Settings,
    products: ProductsInForce,
    in_doubt: BooksInDoubt,
    journal: Journal,
    statistics: FeedStatistics,
) -> Feed:
    """The feed half: these frames into the journal. Raises as `frames`."""
    return Feed(frames(settings, products, in_doubt, statistics), journal)


def delivery(
    settings: Settings,
    journal: Journal,
    client: PulseStreamClient | None,
    *,
    pipelines: Pipelines,
    statistics: DeliveryStatistics,
    stop: threading.Event,
) -> Delivery:
    """The delivery half.

    Args:
        settings: The settings.
        journal: Where the frames are.
        client: Where to deliver; None for a dry run, which prints.
        pipelines: What turns frames into events.
        statistics: Where to count.
        stop: Set when time is up.
    """

    def sink(progress: Progress) -> Sink:
        if client is None:
            return DryRunSink(sys.stdout, progress.settled, statistics)
        return PulseStreamSink(
            client,
            settled=progress.settled,
            refused=refused(progress),
            stop=stop,
            statistics=statistics,
            wait_after_timeout_seconds=settings.pulsestream.wait_after_timeout_seconds,
            largest_request=settings.batch.count,
            target_seconds=settings.batch.target_seconds,
            events_per_minute=settings.pulsestream.events_per_minute,
            in_flight=InFlight(partial(journal.remember, _UNDER_WAY), journal.recall(_UNDER_WAY)),
        )

    return Delivery(
        journal,
        sink,
        channels=settings.feed.channels,
        rules=event_rules(settings),
        batch_count=settings.batch.count,
        batch_seconds=settings.batch.seconds,
        batch_bytes=settings.batch.bytes,
        statistics=statistics,
        verbose=settings.log.verbose,
        overload=settings.delivery.overload,
        overload_max_age_seconds=settings.delivery.overload_max_age_seconds,
        pipelines=pipelines,
        is_fed_by_another=settings.run.role == "deliver",
    )


def confirmation(
    settings: Settings,
    journal: Journal,
    client: PulseStreamClient,
    *,
    pipelines: Pipelines,
    statistics: ConfirmationStatistics,
) -> Confirmation:
    """The proof that what was delivered is stored; `delivery.confirm` must ask for one.

    Args:
        settings: The settings.
        journal: Where the frames are.
        client: A client that nobody else uses.
        pipelines: What turns frames into events.
        statistics: Where to count.
    """
    mode = settings.delivery.confirm
    assert mode != "none", "whoever wants no proof must not ask for one"  # noqa: S101
    return Confirmation(
        journal,
        client,
        mode=mode,
        channels=settings.feed.channels,
        rules=event_rules(settings),
        pipelines=pipelines,
        statistics=statistics,
        after_seconds=settings.delivery.confirm_after_seconds,
        request_events=settings.batch.count,
        request_bytes=settings.batch.bytes,
        wait_after_timeout_seconds=settings.pulsestream.wait_after_timeout_seconds,
    )


def backfill(settings: Settings, journal: Journal, statistics: BackfillStatistics) -> Backfill:
    """What finds the trades that the feed did not bring, and fetches them.

    Raises:
        ConfigError: The address of the REST API, or the file of certificates, cannot be used.
    """
    options, feed = settings.backfill, settings.feed
    rest = _rest(settings)
    delivery = (DELIVERY,) if settings.delivery.confirm == "none" else (DELIVERY, CONFIRMATION)
    path = settings.journal.path
    followed, quoted = followed_by_backfill(settings, feed.products)
    return Backfill(
        journal,
        rest,
        products=followed,
        unreplayable_channels=[channel for channel in feed.channels if channel in UNREPLAYABLE],
        quoted_products=quoted,
        since=options.since,
        max_trades=options.max_trades,
        max_age_seconds=options.max_age_seconds,
        requests_per_second=options.requests_per_second,
        marks=None if settings.run.dry_run else path.with_name(path.name + ".marks"),
        delivery_consumers=delivery,
        statistics=statistics,
    )


def followed_by_backfill(settings: Settings, products: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The products whose trades the backfill follows, and those of which silence costs quotes, as they are served."""
    quoted = tuple(products)
    if settings.feed.protocol == "advanced":
        quoted = tuple(dict.fromkeys(map(served_as, quoted)))
    has_trades = not {"matches", "full"}.isdisjoint(settings.feed.channels)
    return (quoted if has_trades else ()), quoted


def _rest(settings: Settings, *, connect_seconds: float = 5.0, read_seconds: float = 10.0) -> RestClient:
    feed = settings.feed
    return RestClient(
        settings.backfill.url or rest_url(feed.url),
        connect_timeout_seconds=connect_seconds,
        read_timeout_seconds=read_seconds,
        ca_file=str(feed.ca_file) if feed.ca_file else None,
    )
