"""The feed as users see it: one Observable that connects again whenever it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import reactivex
from loguru import logger
from reactivex import Observable
from reactivex.abc import SchedulerBase
from reactivex.scheduler import TimeoutScheduler
from tenacity import RetryCallState, Retrying, wait_exponential, wait_random_exponential

from operators import retry_with_backoff
from rxbridge.channels import FEED_URLS, FeedName, wire_name
from rxbridge.coinbase.advanced_protocol import ADVANCED, signed
from rxbridge.coinbase.allocation import require_room
from rxbridge.coinbase.connection import Plan, connection
from rxbridge.coinbase.continuity import NUMBERED_BOOKS, until_frames_are_lost
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.coinbase.exchange_protocol import signed as signed_by_key
from rxbridge.coinbase.exchange_signing import signer
from rxbridge.coinbase.in_force import ProductsInForce, named
from rxbridge.coinbase.lines import Pace, Spread, lines
from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.rejections import Rejections
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.coinbase.signing import token_maker
from rxbridge.coinbase.transport import Endpoint
from rxbridge.errors import ConfigError, FeedError
from rxbridge.messages import Frame
from rxbridge.suggestions import nearest
from rxbridge.telemetry.statistics import FeedStatistics

PROTOCOLS: Final[Mapping[FeedName, FeedProtocol]] = {"exchange": EXCHANGE, "advanced": ADVANCED}


def frames(
    products: Sequence[str] | ProductsInForce,
    channels: Sequence[str] = ("ticker", "matches"),
    *,
    feed: FeedName = "exchange",
    url: str | None = None,
    stall_seconds: float = 15.0,
    connect_timeout_seconds: float = 15.0,
    acknowledge_seconds: float = 5.0,
    max_frame_bytes: int = 64 * 1024 * 1024,
    backoff_minimum_seconds: float = 0.25,
    backoff_maximum_seconds: float = 30.0,
    rejection_retry_seconds: float = 3600.0,
    ca_file: str | None = None,
    key_file: str | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    api_passphrase: str | None = None,
    book_refresh_seconds: float = 0.0,
    book_doubt_seconds: float = 30.0,
    in_doubt: BooksInDoubt | None = None,
    products_per_connection: int | None = None,
    connections: int = 1,
    reconnect: bool = True,
    statistics: FeedStatistics | None = None,
    scheduler: SchedulerBase | None = None,
) -> Observable[Frame]:
    """Every frame of one of Coinbase's feeds, cold: subscribing connects, disposing disconnects.

        subscribe ─► connect ─► subscribe message ─► f0 f1 f2 ... X    wait ─► connect ─► f0 f1 ...
        result                                       f0 f1 f2 ...                        f0 f1 ...

    Frames come as they were received: data of any type, Coinbase's answers to the subscription, and garbage. They are
    emitted on a thread of the connection's own, `rxbridge-feed`, which does nothing else; a subscriber that blocks it
    stops the reading. Disposing works from any thread at any moment and returns at once. The socket and the threads
    are gone a moment later, except that a name lookup in progress keeps its thread until the resolver returns.

    Whatever ends a connection, be it a close code, a reset, a name, TLS, a stall, or a frame above the limit, is
    logged and followed by a new one, for ever, after a wait that doubles from the minimum to the maximum, half of it
    random. The wait is short again after market data have come, not after a mere connection. Data that Coinbase sends
    in between are lost to this Observable. On Advanced Trade a jump of the frames' numbers ends a connection that
    brings order books, for they could not be mended otherwise.

    A product or channel that Coinbase refuses is left out of the subscription, logged, kept in
    `statistics.rejected_products`, and asked for again at the first connection, or the first change of the products,
    after `rejection_retry_seconds`; what is asked for twice and never acknowledged is told there too. Proxies are taken
    from HTTPS_PROXY and NO_PROXY.

    Args:
        products: Product ids, such as BTC-USD; as `ProductsInForce` they may be changed while it runs, without a
            reconnection.
        channels: Channels: ticker, ticker_batch, trades (or matches), level2, status, heartbeat; on the Exchange also
            auctionfeed and, with a key, full and rfq_matches; on Advanced Trade candles. The heartbeat is always added,
            so that a quiet product is not taken for a dead feed.
        feed: Which feed it is: `exchange`, or `advanced` for Advanced Trade.
        url: Address of the feed; by default Coinbase's own.
        stall_seconds: After so long without a frame the connection counts as dead, even if it answers pings.
        connect_timeout_seconds: For connection, TLS and WebSocket handshake together.
        acknowledge_seconds: How long to wait for the answer to a subscription; data are emitted meanwhile.
        max_frame_bytes: A larger message ends the connection before it takes memory.
        backoff_minimum_seconds: The shortest wait before a reconnection.
        backoff_maximum_seconds: The longest.
        rejection_retry_seconds: For how long a refusal is believed.
        ca_file: A file of further trusted certificates (PEM).
        key_file: A key of Coinbase's, to sign what is asked of Advanced Trade, although public channels need none; see
            `rxbridge.coinbase.signing.token_maker`.
        api_key: A key of the Exchange, for the channels `full` and `rfq_matches` and a faster `level2`; it is sent with
            what is asked for on these, and nowhere else.
        api_secret: The secret that belongs to it, base64; it signs, and is not sent.
        api_passphrase: The passphrase that belongs to it.
        book_refresh_seconds: The time in which each order book of the Exchange, whose updates have no numbers by which
            a loss would show, is unsubscribed and subscribed again once, one after the other; 0 for never.
        book_doubt_seconds: How long after its beginning a book is not begun anew although it is in doubt; it doubles
            for one that is in doubt again and again.
        in_doubt: Order books that are to begin anew at once, on either feed, which may change while it runs.
        products_per_connection: The most products that one connection brings; more are spread over several, one of
            which stays with a product for as long as that is wanted. None for all on one. There are 1000 connections
            at most; products that are added beyond what they may bring are told of, and left out.
        connections: How many connections bring each product. With two or more, what comes is emitted as often, and the
            end of one costs nothing.
        reconnect: If not, whatever ends the first connection is the error of this Observable.
        statistics: Counters to keep; each connection's thread writes its own, and `FeedStatistics.whole` is their sum.
        scheduler: Keeps the time of the waits between connections.

    Raises:
        ConfigError: An argument cannot be used. Raised here, not emitted.
        MissingExtra: `key_file` needs a package that is not installed.

    Emits as its error:
        SubscriptionRejected: Coinbase takes none of the products, and never took one since the subscription to this
            Observable.
        ConnectionLost: Without `reconnect` only.
        FeedStalled: Likewise.
    """
    limits = {
        "stall_seconds": stall_seconds,
        "connect_timeout_seconds": connect_timeout_seconds,
        "acknowledge_seconds": acknowledge_seconds,
        "max_frame_bytes": max_frame_bytes,
        "backoff_minimum_seconds": backoff_minimum_seconds,
        "rejection_retry_seconds": rejection_retry_seconds,
        "book_doubt_seconds": book_doubt_seconds,
        "products_per_connection": 1 if products_per_connection is None else products_per_connection,
        "connections": connections,
    }
    for name, value in limits.items():
        if value <= 0:
            raise ConfigError(name, f"{value} is not positive")
    if book_refresh_seconds < 0:
        raise ConfigError("book_refresh_seconds", f"{book_refresh_seconds} is negative")
    if backoff_maximum_seconds < backoff_minimum_seconds:
        raise ConfigError("backoff_maximum_seconds", f"{backoff_maximum_seconds} is below the minimum")
    spoken = _protocol(feed, key_file, (api_key, api_secret, api_passphrase))
    in_force = products if isinstance(products, ProductsInForce) else ProductsInForce(products)
    require_room(len(in_force.current), products_per_connection, connections)
    plan = Plan(
        endpoint=Endpoint.of(FEED_URLS[feed] if url is None else url, ca_file),
        protocol=spoken,
        products=in_force,
        in_doubt=BooksInDoubt() if in_doubt is None else in_doubt,
        book_refresh_seconds=book_refresh_seconds,
        book_doubt_seconds=book_doubt_seconds,
        channels=_wire_names(feed, named("channels", channels), has_key=bool(spoken.signed)),
        stall_seconds=stall_seconds,
        connect_timeout_seconds=connect_timeout_seconds,
        acknowledge_seconds=acknowledge_seconds,
        max_frame_bytes=max_frame_bytes,
    )
    counters = statistics if statistics is not None else FeedStatistics()
    timers = scheduler if scheduler is not None else TimeoutScheduler.singleton()
    wait = backoff(backoff_minimum_seconds, backoff_maximum_seconds)

    def line(plan: Plan, counters: FeedStatistics, wait: Callable[[int, Exception], float]) -> Observable[Frame]:
        again = retry_with_backoff(
            wait,
            retryable=_is_retryable if reconnect else _never,
            good=_is_data_of(spoken),
            on_retry=_tell_reconnection,
            scheduler=timers,
        )
        whole = until_frames_are_lost(plan.endpoint.url, counters) if NUMBERED_BOOKS in plan.channels else _itself
        # What Coinbase refused is remembered by one subscription, across its connections.
        return reactivex.defer(
            lambda _: connection(plan, Rejections(rejection_retry_seconds), counters).pipe(whole, again)
        )

    if products_per_connection is None and connections == 1:
        return line(plan, counters, wait)
    pace = Pace()

    def numbered(number: int, these: ProductsInForce, counters: FeedStatistics) -> Observable[Frame]:
        name = f"WebSocket connection {number + 1}"
        return line(
            replace(plan, products=these, line=number, name=name),
            counters,
            lambda attempt, error: pace.after(wait(attempt, error)),
        )

    spread = Spread(products_per_connection, connections, rejection_retry_seconds, pace)
    return lines(in_force, numbered, spread, counters, timers)


def backoff(minimum_seconds: float, maximum_seconds: float) -> Callable[[int, Exception], float]:
    """Waits that double from the minimum to the maximum, half of each random, at the maximum too.

    So a server that comes back is not met by all its clients in one instant, and none waits less than the minimum.
    """
    half = maximum_seconds / 2
    wait = wait_exponential(minimum_seconds, max=half) + wait_random_exponential(minimum_seconds, max=half)
    retrying = Retrying()

    def delay(attempt: int, _error: Exception) -> float:
        state = RetryCallState(retrying, None, (), {})
        state.attempt_number = attempt
        return min(max(wait(state), minimum_seconds), maximum_seconds)

    return delay


def _wire_names(feed: FeedName, channels: Sequence[str], *, has_key: bool) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(wire_name(channel, feed, has_key=has_key) for channel in channels))
    except ValueError as error:
        raise ConfigError("channels", str(error)) from None


def _protocol(name: FeedName, key_file: str | None, key: tuple[str | None, str | None, str | None]) -> FeedProtocol:
    if name not in PROTOCOLS:
        raise ConfigError("feed", f"unknown feed {name!r}{nearest(name, tuple(PROTOCOLS))}")
    if key_file is not None and name != "advanced":
        raise ConfigError("key_file", f"the feed {name!r} takes no key")
    if any(key) and name != "exchange":
        raise ConfigError("api_key", f"the feed {name!r} takes no such key")
    if key_file is not None:
        return signed(token_maker(key_file))
    api_key, api_secret, api_passphrase = key
    if api_key and api_secret and api_passphrase:
        return signed_by_key(signer(api_key, api_secret, api_passphrase))
    if any(key):
        raise ConfigError("api_key", "a key, its secret and its passphrase belong together; set all three")
    return PROTOCOLS[name]


def _is_retryable(error: Exception) -> bool:
    return isinstance(error, FeedError) and error.retryable


def _itself(frames: Observable[Frame]) -> Observable[Frame]:
    return frames


def _never(_error: Exception) -> bool:
    return False


def _is_data_of(protocol: FeedProtocol) -> Callable[[Frame], bool]:
    is_data = protocol.answers.is_data
    return lambda frame: is_data(frame.data)


def _tell_reconnection(error: Exception, attempt: int, seconds: float) -> None:
    logger.warning("[RECONNECTING] in {:.1f} s (attempt {}): {}", seconds, attempt, error)
