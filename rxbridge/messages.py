"""What travels from the socket to the mapping: the frame as it was received, and the message that it decodes to.

Wire names and types are those of Coinbase's Exchange feed, https://docs.cdp.coinbase.com/exchange/websocket-feed.
Numbers stay as they came, mostly text, until someone computes; every field may be missing, null, or of a surprising
simple type, because all of that was seen or reported in the wild, and none of it may cost a frame.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


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

FRAME_FIELD = "frame (not on the wire)"
"""What `frame` is called to the decoder: nothing that Coinbase sends, not even a field "frame", sets it."""


class MessageBase(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What all messages have.

    Attributes:
        frame: The frame that the message came in. Whoever decodes sets it.
    """

    frame: Frame = msgspec.field(default=NO_FRAME, name=FRAME_FIELD)


class Ticker(MessageBase, frozen=True, gc=False, tag="ticker"):
    """The last trade and the best quotes of a product; `side` is the taker's."""

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


class Match(MessageBase, frozen=True, gc=False, tag="match"):
    """A trade; `side` is the maker's. Trade ids of a product run +1.

    One that was fetched from REST has no order ids and no sequence, and says "rest" in `rxbridge_source`.
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
    def is_backfilled(self) -> bool:
        """Whether it was fetched from REST, and did not come by the feed."""
        return self.rxbridge_source == REST and self.frame.connection == OWN_CONNECTION


class LastMatch(Match, frozen=True, gc=False, tag="last_match"):
    """The newest trade at the moment of subscribing; mostly one that is already known."""


class Heartbeat(MessageBase, frozen=True, gc=False, tag="heartbeat"):
    """One a second and product. A `last_trade_id` of 0 means that it is not known."""

    product_id: str | None = None
    sequence: Number = None
    last_trade_id: Number = None
    time: str | None = None


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


Message: TypeAlias = Ticker | Match | LastMatch | Heartbeat | Subscriptions | FeedErrorMessage | GapNotice | Unknown

EventMessage: TypeAlias = Ticker | Match | GapNotice
"""What becomes an event, a `LastMatch` included."""
