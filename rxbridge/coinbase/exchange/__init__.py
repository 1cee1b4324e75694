"""The Exchange feed's frames to messages. Each holds one, told by its `type`; `status` holds one a product.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from rxbridge.coinbase import lenient
from rxbridge.coinbase.exchange import wire
from rxbridge.messages import (
    OWN_CONNECTION,
    WHOLE,
    Auction,
    BookSnapshot,
    BookUpdate,
    FeedErrorMessage,
    Frame,
    GapNotice,
    Heartbeat,
    LastTrade,
    Message,
    OrderActivate,
    OrderChange,
    OrderDone,
    OrderOpen,
    OrderReceived,
    Part,
    ProductStatus,
    RfqMatch,
    Subscriptions,
    Ticker,
    Trade,
)

_OrderMessage: TypeAlias = OrderReceived | OrderOpen | OrderDone | OrderChange | OrderActivate
_MarketMessage: TypeAlias = Ticker | Trade | LastTrade | RfqMatch | Auction | BookSnapshot | BookUpdate
_FlatMessage: TypeAlias = _MarketMessage | _OrderMessage | Heartbeat | FeedErrorMessage
_WireMessage: TypeAlias = _FlatMessage | Subscriptions | wire.Status

_NAMES = frozenset(
    (
        *("ticker", "match", "last_match", "rfq_match", "auction", "snapshot", "l2update", "status"),
        *("received", "open", "done", "change", "activate"),
        *("heartbeat", "subscriptions", "error"),
    )
)

_DECODER: msgspec.json.Decoder[_WireMessage] = msgspec.json.Decoder(_WireMessage)
_FLAT_DECODER: msgspec.json.Decoder[_FlatMessage | wire.LargeStatus] = msgspec.json.Decoder(
    _FlatMessage | wire.LargeStatus
)
_OWN_DECODER: msgspec.json.Decoder[_WireMessage | GapNotice] = msgspec.json.Decoder(_WireMessage | GapNotice)
_PRODUCTS_DECODER = msgspec.json.Decoder(list[msgspec.Raw])
_PRODUCT_DECODER = msgspec.json.Decoder(wire.Product)

_MOST_PRODUCT_VALUES = 50_000
"""So many values have the products of a status that is read, which is what some 4,000 of them have. Its currencies,
which have more, are none of these."""


def decode(frame: Frame) -> tuple[Message, ...]:
    """The message that a frame of the Exchange feed holds: one, or of a `status` one for each product that it lists.

    All types that rxbridge does not handle are `Unknown`. What is odd is read as `rxbridge.coinbase.lenient.decode`
    says. Of a book, it is not looked at the levels.

    Raises:
        MalformedFrame: As there.
    """
    # What comes by a connection cannot pass for a word of ours, nor say which part of its frame it is.
    messages = lenient.decode(frame, _OWN_KINDS if frame.connection == OWN_CONNECTION else _KINDS)
    for message in messages:
        if message.part is not WHOLE and not isinstance(message, ProductStatus):
            msgspec.structs.force_setattr(message, "part", WHOLE)
    return messages


def _read(data: bytes) -> tuple[Message, ...]:
    message = _DECODER.decode(data)
    return _listed(message.products) if isinstance(message, wire.Status) else (message,)


def _read_own(data: bytes) -> tuple[Message, ...]:
    message = _OWN_DECODER.decode(data)
    return _listed(message.products) if isinstance(message, wire.Status) else (message,)


def _read_flat(data: bytes) -> tuple[Message, ...]:
    message = _FLAT_DECODER.decode(data)
    if not isinstance(message, wire.LargeStatus):
        return (message,)
    if bytes(message.products).count(b",") > _MOST_PRODUCT_VALUES:
        raise msgspec.ValidationError("a status of too many products")
    return _listed(_PRODUCTS_DECODER.decode(message.products))


def _listed(products: Sequence[msgspec.Raw]) -> tuple[ProductStatus, ...]:
    count = len(products)
    return tuple(_status(raw, Part("exchange", index, count, bytes(raw))) for index, raw in enumerate(products))


def _status(raw: msgspec.Raw, part: Part) -> ProductStatus:
    item = _PRODUCT_DECODER.decode(raw)
    return ProductStatus(
        product_id=item.id,
        status=item.status,
        status_message=item.status_message,
        display_name=item.display_name,
        base_currency=item.base_currency,
        quote_currency=item.quote_currency,
        base_increment=item.base_increment,
        quote_increment=item.quote_increment,
        min_market_funds=item.min_market_funds,
        post_only=item.post_only,
        limit_only=item.limit_only,
        cancel_only=item.cancel_only,
        fx_stablecoin=item.fx_stablecoin,
        part=part,
    )


_KINDS = lenient.Kinds("type", _NAMES, lenient.kind_reader("type"), _read, _read_flat)
_OWN_KINDS = _KINDS._replace(read=_read_own)
