"""What the channels that need a key tell of single orders, and of trades that were agreed on outside the book.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#full-channel. The trades of the channel `full` are those
of `matches`, and the same messages.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from rxbridge.messages.frames import MessageBase, Number
from rxbridge.messages.trades import TradeBase

OrderKind: TypeAlias = Literal["received", "open", "done", "change", "activate"]


class Order(MessageBase, frozen=True, gc=False, kw_only=True):
    """Something happened to an order. What that was, is the class; each has some of the fields.

    On `full`, the sequence of a product runs +1 over orders and trades.

    Attributes:
        kind: What happened, as on the wire.
        order_type: `limit` or `market`.
        price: None for market orders.
        size: Of the base currency.
        funds: What a market order may spend, of the quote currency.
        remaining_size: What is in the book, or was not filled.
        reason: Why it is done, `filled` or `canceled`; or why it was changed, such as `STP`.
        old_size: Before the change; likewise the others.
        stop_type: `entry` or `exit`, where a stop order becomes active.
        timestamp: When that was: seconds since the Unix epoch, as text. There is no `time` then.
    """

    kind: ClassVar[OrderKind]

    product_id: str | None = None
    sequence: Number = None
    order_id: str | None = None
    side: str | None = None
    time: str | None = None
    order_type: str | None = None
    price: Number = None
    size: Number = None
    funds: Number = None
    remaining_size: Number = None
    reason: str | None = None
    old_size: Number = None
    new_size: Number = None
    old_price: Number = None
    new_price: Number = None
    stop_type: str | None = None
    stop_price: Number = None
    timestamp: Number = None


class OrderReceived(Order, frozen=True, gc=False, tag="received"):
    """It was taken; it may be matched at once, and is not in the book yet."""

    kind: ClassVar[OrderKind] = "received"


class OrderOpen(Order, frozen=True, gc=False, tag="open"):
    """It is in the book, with what was not matched at once."""

    kind: ClassVar[OrderKind] = "open"


class OrderDone(Order, frozen=True, gc=False, tag="done"):
    """It is in the book no longer."""

    kind: ClassVar[OrderKind] = "done"


class OrderChange(Order, frozen=True, gc=False, tag="change"):
    """Its size or price has changed; it need not be in the book."""

    kind: ClassVar[OrderKind] = "change"


class OrderActivate(Order, frozen=True, gc=False, tag="activate"):
    """A stop order was set off; Coinbase tells only whose it is."""

    kind: ClassVar[OrderKind] = "activate"


class RfqMatch(TradeBase, frozen=True, gc=False, tag="rfq_match"):
    """A trade that answered a request for quotes, outside the book, so that its id is none of those of `matches`.

    https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#rfq-matches-channel
    """
