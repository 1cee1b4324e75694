"""What travels from the socket to the mapping: the frame as it was received, and the message that it decodes to.

One vocabulary for both of Coinbase's feeds. Names and types are those of the Exchange feed,
https://docs.cdp.coinbase.com/exchange/websocket-feed, which says more; what only Advanced Trade has,
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview, is named alike. Sides are `buy` and `sell`. Numbers stay
as they came, mostly text, until someone computes; every field may be missing, null, or of a surprising simple type,
because all of that was seen or reported in the wild, and none of it may cost a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from rxbridge import levels
from rxbridge.channels import FeedName


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One WebSocket message as received, with when and where.

    Attributes:
        data: The payload, byte for byte.
        received_at: When it was received: nanoseconds since the Unix epoch, UTC.
        connection: The connection it came by: the time at which that was opened, in nanoseconds since the epoch; 0 for
            a frame that rxbridge made itself, of what REST answered or of what it has found out.
        index: Its position on that connection, from 0.
        offset: Its position in the journal, from 1; 0 for a frame that is in none.
    """

    data: bytes
    received_at: int
    connection: int
    index: int
    offset: int = 0


OWN_CONNECTION = 0
"""The `connection` of frames that came by none: rxbridge made them. What they say of themselves is believed only so."""

REST = "rest"
"""What `rxbridge_source` says of a trade that was fetched from Coinbase's REST API."""

Number: TypeAlias = str | int | float | None
"""A number as it came: mostly decimal text, and perhaps text that is no number at all."""

NO_FRAME = Frame(data=b"", received_at=0, connection=0, index=0)
"""The frame of a message that was made by hand and did not come in one."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """Which part of its frame a message is. A frame of the Exchange feed is one message; Advanced Trade sends several.

    Attributes:
        feed: The feed that the frame came by.
        index: The position among the messages of the frame, from 0.
        count: How many messages the frame holds.
        data: What the frame says of this message alone, as it came if the frame is in its usual form; empty where it
            holds no other.
        is_snapshot: Whether it tells again what was before the subscription.
    """

    feed: FeedName = "exchange"
    index: int = 0
    count: int = 1
    data: bytes = b""
    is_snapshot: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the frame holds no message after this one."""
        return self.index == self.count - 1


WHOLE = Part()
"""The only message of a frame of the Exchange feed."""

FRAME_FIELD = "frame (not on the wire)"
"""What `frame` is called to the decoder: nothing that Coinbase sends, not even a field "frame", sets it."""

PART_FIELD = "part (not on the wire)"
"""Likewise, for `part`."""

UPDATES_FIELD = "updates (not on the wire of the Exchange)"
"""Likewise, for the levels that Advanced Trade sends in another form."""

NO_LEVELS = msgspec.Raw()
"""In the place of levels that are not there. A list of none is something else."""


class MessageBase(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What all messages have.

    Attributes:
        frame: The frame that the message came in. Whoever decodes sets it.
        part: Which part of it the message is.
    """

    frame: Frame = msgspec.field(default=NO_FRAME, name=FRAME_FIELD)
    part: Part = msgspec.field(default=WHOLE, name=PART_FIELD)

    @property
    def data(self) -> bytes:
        """What Coinbase sent of this message: the frame, or its part of it."""
        return self.part.data or self.frame.data


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


class Trade(MessageBase, frozen=True, gc=False, tag="match"):
    """A trade; `side` is the maker's, on both feeds. Trade ids of a product run +1, and both feeds give the same.

    Advanced Trade does not tell the orders and the sequence. One that was fetched from REST has no order ids and no
    sequence, and says "rest" in `rxbridge_source`.
    """

    product_id: str | None = None
    trade_id: Number = None
    price: Number = None
    size: Number = None
    side: str | None = None
    time: str | None = None
    sequence: Number = None
    maker_order_id: str | None = None
    taker_order_id: str | None = None
    rxbridge_source: str | None = None

    @property
    def maker_side(self) -> str | None:
        """Who waited in the book: `side`."""
        return self.side

    @property
    def taker_side(self) -> str | None:
        """The other one; None where the side is neither `buy` nor `sell`."""
        return _OTHER_SIDE.get(self.side or "")

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


class BookSnapshot(MessageBase, frozen=True, gc=False, tag="snapshot"):
    """A whole order book, whose levels stay as they came until somebody asks for them: there may be 46,000.

    Attributes:
        bids_data: JSON of the bids, on the Exchange feed.
        asks_data: Likewise, of the asks.
        updates_data: JSON of both, on Advanced Trade.
    """

    product_id: str | None = None
    time: str | None = None
    bids_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name="bids")
    asks_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name="asks")
    updates_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name=UPDATES_FIELD)

    @property
    def bids(self) -> Sequence[tuple[str, str]]:
        """Levels of (price, size), decimal text, in any order.

        Raises:
            ValueError: They are not there, out of shape, or more than `levels.MOST_LEVELS`.
        """
        return levels.pairs(self.bids_data) if self.part.feed == "exchange" else self._of_side("bid")

    @property
    def asks(self) -> Sequence[tuple[str, str]]:
        """Likewise."""
        return levels.pairs(self.asks_data) if self.part.feed == "exchange" else self._of_side("offer")

    def _of_side(self, side: str) -> list[tuple[str, str]]:
        return [(one.price_level, one.new_quantity) for one in levels.advanced(self.updates_data) if one.side == side]


class BookUpdate(MessageBase, frozen=True, gc=False, tag="l2update"):
    """What has changed in an order book since its snapshot.

    Attributes:
        changes_data: JSON of the changes, on the Exchange feed.
        updates_data: Likewise, on Advanced Trade.
    """

    product_id: str | None = None
    time: str | None = None
    changes_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name="changes")
    updates_data: msgspec.Raw = msgspec.field(default=NO_LEVELS, name=UPDATES_FIELD)

    @property
    def changes(self) -> Sequence[tuple[str, str, str]]:
        """Levels of (side, price, size): a size is absolute, and zero removes the level; sides as the feed says them.

        Raises:
            ValueError: They are not there, out of shape, or more than `levels.MOST_LEVELS`.
        """
        if self.part.feed == "exchange":
            return levels.changes(self.changes_data)
        return [(level.side, level.price_level, level.new_quantity) for level in levels.advanced(self.updates_data)]


class BookImage(MessageBase, frozen=True, gc=False, tag="rxbridge_book"):
    """The best levels of a book at one moment; made by rxbridge, of the messages of the feed.

    Its frame is the one by which the moment was known to be over.

    Attributes:
        bids: The highest, best first: price and size, as Coinbase wrote them.
        asks: The lowest, likewise.
        at: When the newest frame was received that counts: nanoseconds since the Unix epoch.
        is_reset: Whether the book was begun anew since the image before: in between, anything may have happened.
        is_crossed: Whether a bid is as high as an ask, which says that the book is wrong.
    """

    product_id: str
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    at: int
    is_reset: bool = False
    is_crossed: bool = False


class Heartbeat(MessageBase, frozen=True, gc=False, tag="heartbeat"):
    """One a second: per product on the Exchange feed, per connection on Advanced Trade, which names no product.

    A `last_trade_id` of 0 means that it is not known.

    Attributes:
        counter: Advanced Trade's `heartbeat_counter`, which may jump after a reconnect.
    """

    product_id: str | None = None
    sequence: Number = None
    last_trade_id: Number = None
    time: str | None = None
    counter: Number = None


class SubscribedChannel(msgspec.Struct, frozen=True, gc=False):
    """One line of an acknowledgement."""

    name: str
    product_ids: list[str] = []


class Subscriptions(MessageBase, frozen=True, gc=False, tag="subscriptions"):
    """The acknowledgement: everything that the connection is subscribed to now, in any order."""

    channels: list[SubscribedChannel] = []


class FeedErrorMessage(MessageBase, frozen=True, gc=False, tag="error"):
    """Coinbase refused something that we sent."""

    message: str = ""
    reason: str = ""


class GapNotice(MessageBase, frozen=True, gc=False, tag="rxbridge_gap"):
    """What rxbridge says of something that is missing and cannot be fetched; never a message of Coinbase's.

    Attributes:
        kind: `trades` or `quotes`.
        products: Whose.
        channel: The channel that lost them.
        first: The first missing trade id; for quotes, when the last frame before was received, in nanoseconds since
            the Unix epoch.
        last: The last missing trade id; for quotes, when Coinbase acknowledged the subscription anew, or sent
            something of these products, likewise.
        reason: Why, in words.
    """

    kind: Literal["trades", "quotes"]
    products: tuple[str, ...]
    channel: str
    first: int
    last: int
    reason: str


class Unknown(MessageBase, frozen=True, gc=False):
    """Valid JSON of a kind that rxbridge does not know; `type` is empty where the frame has none."""

    type: str = ""


Message: TypeAlias = (
    Ticker
    | Trade
    | LastTrade
    | Candle
    | BookSnapshot
    | BookUpdate
    | BookImage
    | Heartbeat
    | Subscriptions
    | FeedErrorMessage
    | GapNotice
    | Unknown
)

EventMessage: TypeAlias = Ticker | Trade | Candle | BookImage | GapNotice
"""What becomes an event, a `LastTrade` included."""

_OTHER_SIDE = {"buy": "sell", "sell": "buy"}
