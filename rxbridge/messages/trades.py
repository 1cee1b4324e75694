"""What is traded and quoted: tickers, trades and candles."""

from __future__ import annotations

from rxbridge.messages.frames import OWN_CONNECTION, REST, MessageBase, Number


class Ticker(MessageBase, frozen=True, gc=False, tag="ticker"):
    """The last trade and the best quotes of a product; `side` is the taker's.

    Advanced Trade's has no trade and no side, its time is that of the frame, and it has the three fields at the end.
    """

    product_id: str | None = None
    sequence: Number = None
    price: Number = None
    open_24h: Number = None
    volume_24h: Number = None
    low_24h: Number = None
    high_24h: Number = None
    volume_30d: Number = None
    best_bid: Number = None
    best_bid_size: Number = None
    best_ask: Number = None
    best_ask_size: Number = None
    side: str | None = None
    time: str | None = None
    trade_id: Number = None
    last_size: Number = None
    low_52w: Number = None
    high_52w: Number = None
    price_percent_change_24h: Number = None

    @property
    def taker_side(self) -> str | None:
        """Who took: `side`."""
        return self.side


class TradeBase(MessageBase, frozen=True, gc=False):
    """What all trades say, wherever they were made; `side` is the maker's."""

    product_id: str | None = None
    trade_id: Number = None
    price: Number = None
    size: Number = None
    side: str | None = None
    time: str | None = None
    sequence: Number = None
    maker_order_id: str | None = None
    taker_order_id: str | None = None

    @property
    def maker_side(self) -> str | None:
        """Who waited in the book: `side`."""
        return self.side

    @property
    def taker_side(self) -> str | None:
        """The other one; None where the side is neither `buy` nor `sell`."""
        return _OTHER_SIDE.get(self.side or "")


class Trade(TradeBase, frozen=True, gc=False, tag="match"):
    """A trade of the book; on both feeds, trade ids of a product run +1, and they are the same.

    Advanced Trade does not tell the orders and the sequence. One that was fetched from REST has no order ids and no
    sequence, and says "rest" in `rxbridge_source`.
    """

    rxbridge_source: str | None = None

    @property
    def is_backfilled(self) -> bool:
        """Whether it was fetched from REST, and did not come by the feed."""
        return self.rxbridge_source == REST and self.frame.connection == OWN_CONNECTION


class LastTrade(Trade, frozen=True, gc=False, tag="last_match"):
    """The newest trade at the moment of subscribing; mostly one that is already known."""


class Candle(MessageBase, frozen=True, gc=False, tag="candle"):
    """What a product did in the five minutes from `start` on; Advanced Trade only.

    The current one comes again and again, revised, and nothing says that a revision is the last. Minutes in which
    nothing was traded may have no candle.

    Attributes:
        start: Seconds since the Unix epoch.
        volume: In the base currency.
        time: When it was sent.
    """

    product_id: str | None = None
    start: Number = None
    open: Number = None
    high: Number = None
    low: Number = None
    close: Number = None
    volume: Number = None
    time: str | None = None


CANDLE_SECONDS = 300
"""How long a candle of the feed lasts."""

_OTHER_SIDE = {"buy": "sell", "sell": "buy"}
