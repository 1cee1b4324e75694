"""The feed as what it is about: messages, tickers, trades and books, each a cold Observable made of `frames`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypedDict, Unpack

from loguru import logger
from reactivex import Observable
from reactivex.abc import SchedulerBase

from operators import dedupe, only, parse
from rxbridge.channels import FeedName
from rxbridge.coinbase.decoding import decode
from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.coinbase.stream import frames
from rxbridge.messages import Frame, Message, Ticker, Trade
from rxbridge.telemetry.statistics import FeedStatistics

REMEMBERED_TRADES = 100_000
"""How many trades are known again; after a reconnect Coinbase repeats a few of each product."""

Malformed: TypeAlias = Callable[[Frame, Exception], None]


class FeedOptions(TypedDict, total=False):
    """What else `rxbridge.coinbase.frames` takes, and explains."""

    url: str | None
    stall_seconds: float
    connect_timeout_seconds: float
    acknowledge_seconds: float
    max_frame_bytes: int
    backoff_minimum_seconds: float
    backoff_maximum_seconds: float
    rejection_retry_seconds: float
    ca_file: str | None
    key_file: str | None
    book_refresh_seconds: float
    book_doubt_seconds: float
    in_doubt: BooksInDoubt | None
    products_per_connection: int | None
    connections: int
    api_key: str | None
    api_secret: str | None
    api_passphrase: str | None
    reconnect: bool
    statistics: FeedStatistics | None
    scheduler: SchedulerBase | None


def messages(
    products: Sequence[str] | ProductsInForce,
    channels: Sequence[str] = ("ticker", "matches"),
    *,
    feed: FeedName = "exchange",
    malformed: Malformed | None = None,
    **options: Unpack[FeedOptions],
) -> Observable[Message]:
    """What the frames of a feed say, decoded; cold and for ever, as `frames` is, whose errors it has.

        frames    f0------f1---f2---
        result    m0a-m0b------m2---
        malformed ---------f1-------

    A frame of Advanced Trade holds several messages, or none. Coinbase's answers and its heartbeats are among them.

    Args:
        products: As for `frames`.
        channels: Likewise.
        feed: `exchange`, or `advanced` for Advanced Trade; the messages are of one vocabulary.
        malformed: Is given each frame that cannot be decoded, and why; the stream goes on. What it raises ends the
            stream. Without it, the log is told.
        options: Whatever else `frames` takes.

    Raises:
        ConfigError: An argument cannot be used. Raised here, not emitted.
    """
    received = frames(products, channels, feed=feed, **options)
    return received.pipe(parse(decode, tell_malformed if malformed is None else malformed))


def tickers(
    products: Sequence[str] | ProductsInForce,
    *,
    feed: FeedName = "exchange",
    malformed: Malformed | None = None,
    **options: Unpack[FeedOptions],
) -> Observable[Ticker]:
    """The last price and the best quotes of products, whenever they change; see `messages`.

    What is quoted while there is no connection is lost: Coinbase does not repeat it.
    """
    return messages(products, ["ticker"], feed=feed, malformed=malformed, **options).pipe(only(Ticker))


def trades(
    products: Sequence[str] | ProductsInForce,
    *,
    feed: FeedName = "exchange",
    malformed: Malformed | None = None,
    repeated: Callable[[Trade], None] | None = None,
    **options: Unpack[FeedOptions],
) -> Observable[Trade]:
    """Every trade of products that the feed brings, each once; see `messages`.

        feed      L7--T8--T9--(reconnects)--L9--T11---    L the newest trade at a subscription, T a trade
        result    L7--T8--T9--------------------T11---
        repeated  --------------------------L9--------

    With a subscription Coinbase tells the newest trades of before it (`LastTrade`, or `part.is_snapshot` on Advanced
    Trade). They are emitted, if they are not among the last 100,000 that were: after a reconnect, one of them may be
    what was missed.

    Trade ids of a product run +1, so a jump of them is a trade that did not come, as 10 above. It is not fetched here:
    that takes a place where the trades after it can wait meanwhile. `rxbridge.Bridge` has a journal, and does.

    Args:
        products: As for `frames`.
        feed: As for `messages`.
        malformed: Likewise.
        repeated: Is told of each trade that was there before.
        options: Whatever else `frames` takes.
    """
    told = messages(products, ["matches"], feed=feed, malformed=malformed, **options).pipe(only(Trade))
    return told.pipe(dedupe(_identity, remember=REMEMBERED_TRADES, repeated=repeated))


def tell_malformed(_frame: Frame, error: Exception) -> None:
    """Tell the log of a frame that cannot be decoded."""
    logger.warning("[MALFORMED] {}", error)


def _identity(trade: Trade) -> tuple[str | None, str] | None:
    # What has no id is the repeat of nothing; 7 and "7" are the same trade.
    return None if trade.trade_id is None else (trade.product_id, str(trade.trade_id))
