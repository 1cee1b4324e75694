"""What travels from the socket to the mapping: the frame as it was received, and the message that it decodes to.

One vocabulary for both of Coinbase's feeds. Names and types are those of the Exchange feed,
https://docs.cdp.coinbase.com/exchange/websocket-feed, which says more; what only Advanced Trade has,
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview, is named alike. Sides are `buy` and `sell`. Numbers stay
as they came, mostly text, until someone computes; every field may be missing, null, or of a surprising simple type,
because all of that was seen or reported in the wild, and none of it may cost a frame.
"""

from __future__ import annotations

from typing import TypeAlias

from rxbridge.messages.books import (
    BookImage,
    BookPart,
    BookSnapshot,
    BookUpdate,
)
from rxbridge.messages.control import (
    FeedErrorMessage,
    GapNotice,
    Heartbeat,
    SubscribedChannel,
    Subscriptions,
    Unknown,
)
from rxbridge.messages.frames import (
    FRAME_FIELD,
    MOST_LINES,
    NO_FRAME,
    NO_LEVELS,
    OWN_CONNECTION,
    PART_FIELD,
    REST,
    UPDATES_FIELD,
    WHOLE,
    Frame,
    MessageBase,
    Number,
    Part,
    line_of,
)
from rxbridge.messages.listing import Auction, Flag, ProductStatus
from rxbridge.messages.orders import (
    Order,
    OrderActivate,
    OrderChange,
    OrderDone,
    OrderKind,
    OrderOpen,
    OrderReceived,
    RfqMatch,
)
from rxbridge.messages.trades import (
    CANDLE_SECONDS,
    Candle,
    LastTrade,
    Ticker,
    Trade,
    TradeBase,
)

Message: TypeAlias = (
    Ticker
    | Trade
    | LastTrade
    | Candle
    | BookSnapshot
    | BookUpdate
    | BookImage
    | BookPart
    | ProductStatus
    | Auction
    | Order
    | RfqMatch
    | Heartbeat
    | Subscriptions
    | FeedErrorMessage
    | GapNotice
    | Unknown
)

EventMessage: TypeAlias = (
    Ticker | Trade | Candle | BookImage | BookPart | ProductStatus | Auction | Order | RfqMatch | GapNotice
)
"""What becomes an event, a `LastTrade` included."""

__all__ = [
    "CANDLE_SECONDS",
    "FRAME_FIELD",
    "MOST_LINES",
    "NO_FRAME",
    "NO_LEVELS",
    "OWN_CONNECTION",
    "PART_FIELD",
    "REST",
    "UPDATES_FIELD",
    "WHOLE",
    "Auction",
    "BookImage",
    "BookPart",
    "BookSnapshot",
    "BookUpdate",
    "Candle",
    "EventMessage",
    "FeedErrorMessage",
    "Flag",
    "Frame",
    "GapNotice",
    "Heartbeat",
    "LastTrade",
    "Message",
    "MessageBase",
    "Number",
    "Order",
    "OrderActivate",
    "OrderChange",
    "OrderDone",
    "OrderKind",
    "OrderOpen",
    "OrderReceived",
    "Part",
    "ProductStatus",
    "RfqMatch",
    "SubscribedChannel",
    "Subscriptions",
    "Ticker",
    "Trade",
    "TradeBase",
    "Unknown",
    "line_of",
]
