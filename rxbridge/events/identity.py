"""Event ids: stable, unique, and such that PulseStream takes them.

PulseStream knows a repeat by its id, so an id must depend on nothing but the frame: a replay of the journal makes the
same ids again.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from functools import lru_cache

from rxbridge.events.cleaning import naive_utc, whole
from rxbridge.messages import (
    Auction,
    BookImage,
    BookPart,
    Candle,
    EventMessage,
    GapNotice,
    MessageBase,
    Order,
    ProductStatus,
    RfqMatch,
    Ticker,
    Trade,
)

UNKNOWN_PRODUCT = "UNKNOWN"
"""Stands for the product of a message that names none."""

_NAMESPACE = uuid.UUID("3f0c8f5e-6d0e-4a53-9a52-6d1f7b0e2c94")

_PIECE_BYTES = 1 << 20

# What ends in "-match", or has "-candle", "-book" or the like in it, is left out, lest the ticker of one product take
# the id of something of another's.
_ORDINARY_PRODUCT = re.compile(r"(?!.*-(?:candle|book|status|auction|order|rfq))[A-Za-z0-9._-]+(?<!-match)").fullmatch


_LONGEST_PRODUCT = 40
"""Characters of a product id that is used as it is. Coinbase's have 20 at most."""

_DIGEST_LENGTH = 16
"""Hexadecimal digits by which the revisions of a candle are told apart: a product has a few thousand a day."""

_LONG_DIGEST_LENGTH = 32
"""Likewise, of what comes in greater numbers."""

_USUAL_ORDER = re.compile(r"[0-9A-Za-z]{8}(?:-[0-9A-Za-z]{4}){3}-[0-9A-Za-z]{12}").fullmatch
"""A UUID, as all order ids are."""

_TICKER_FIELDS = tuple(name for name in Ticker.__struct_fields__ if name not in ("frame", "part"))

_LONGEST_ID = 100
"""Characters of an event id that PulseStream takes."""


def event_id(message: EventMessage) -> str:
    """The id of the message's event: at most 100 characters of printable ASCII.

    `coinbase-{product}-{trade_id}` for a ticker, `coinbase-{product}-match-{trade_id}` for a match, last or not. A
    message without a usable trade id (a positive integer of at most 64 bits) has a UUID in its place, which depends
    on the message's bytes, its place in the frame, and the frame's time of receipt, connection and index: a replay
    gives the same id, while the same bytes received twice give two. Tickers of Advanced Trade have no trade id, but a
    time; their UUID depends on what they say alone, so that two connections that bring the same give one. So does that
    of a ticker of the Exchange with neither trade id nor time, as of a product that was never traded, and besides on
    the hour of its receipt. A product id
    that is not one to forty letters, digits, dots, hyphens and underscores is shortened, with a digest.

    `coinbase-{product}-candle-{start}-{digest}` for a candle. The digest is of its numbers, so each revision of a
    candle is an event, and the same one sent again is a repeat.

    `coinbase-{product}-book-` and such a UUID, of no bytes, for the image of a book; `coinbase-{product}-book-part-`
    likewise for a part of what Coinbase sent of it.

    `coinbase-{product}-status-{hour}-{digest}` for the status of a product, of which Coinbase tells every few seconds:
    the digest is of what is normalised of it, and the hour that of its receipt, such as `2026013108`. So within an
    hour, each status that a product had is an event, and one that it still has is a repeat.

    `coinbase-{product}-auction-{digest}` for an auction; the digest is of all that is normalised.

    `coinbase-{product}-order-{order_id}-{sequence}` for what happened to an order; without a usable sequence or order
    id, or where that would be too long, a digest stands there.

    `coinbase-{product}-rfq-{trade_id}` for a trade that answered a request for quotes.

    `coinbase-gap-trades-{product}-{first}-{last}` for trades that are missing; for quotes, and where that would be too
    long, a UUID stands after the kind, which depends on the products, the channel, and the two ends.
    """
    if isinstance(message, GapNotice):
        return _gap_id(message)
    product = _product_key(message.product_id)
    if isinstance(message, Trade):
        return f"coinbase-{product}-match-{whole(message.trade_id, minimum=1) or _place_id(message)}"
    if isinstance(message, Ticker):
        return f"coinbase-{product}-{whole(message.trade_id, minimum=1) or _quote_id(message)}"
    if isinstance(message, Candle):
        return f"coinbase-{product}-candle-{_candle_key(message)}"
    return f"coinbase-{product}-{_other_key(product, message)}"


def _other_key(product: str, message: BookImage | BookPart | ProductStatus | Auction | Order | RfqMatch) -> str:
    match message:
        case BookImage():
            return f"book-{_place_id(message)}"
        case BookPart():
            return f"book-part-{_place_id(message)}"
        case ProductStatus():
            return f"status-{_hour(message)}-{_digest(*_content(message), length=_DIGEST_LENGTH)}"
        case Auction():
            return f"auction-{_digest(*_content(message), length=_LONG_DIGEST_LENGTH)}"
        case Order():
            return f"order-{_order_key(message, most=_LONGEST_ID - len(f'coinbase-{product}-order-'))}"
        case RfqMatch():
            return f"rfq-{whole(message.trade_id, minimum=1) or _place_id(message)}"


def _order_key(order: Order, most: int) -> str:
    sequence = whole(order.sequence, minimum=1)
    if sequence is not None and order.order_id and _USUAL_ORDER(order.order_id):
        readable = f"{order.order_id}-{sequence}"
        if len(readable) <= most:
            return readable
    return _digest(order.kind, *_content(order), length=_LONG_DIGEST_LENGTH)


def _content(message: MessageBase) -> Iterator[object]:
    """All fields of a message, but for what belongs to its frame, and the time of that."""
    for name in message.__struct_fields__:
        if name not in ("frame", "part") and not (name == "time" and isinstance(message, ProductStatus)):
            yield getattr(message, name)


def _hour(message: MessageBase) -> str:
    """In which the message was received."""
    return naive_utc(message.frame.received_at).strftime("%Y%m%d%H")


def _digest(*values: object, length: int) -> str:
    text = "/".join(map(str, values))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def _gap_id(gap: GapNotice) -> str:
    if gap.kind == "trades" and len(gap.products) == 1:
        readable = f"coinbase-gap-trades-{_product_key(gap.products[0])}-{gap.first}-{gap.last}"
        if len(readable) <= _LONGEST_ID:
            return readable
    identity = f"{gap.kind}/{','.join(gap.products)}/{gap.channel}/{gap.first}/{gap.last}"
    return f"coinbase-gap-{gap.kind}-{uuid.uuid5(_NAMESPACE, identity)}"


def _product_key(product_id: str | None) -> str:
    """What stands for the product: itself, unless it is odd; then a part of it, and a digest."""
    if not product_id:
        return UNKNOWN_PRODUCT
    if len(product_id) <= _LONGEST_PRODUCT and _is_ordinary(product_id):
        return product_id
    digest = hashlib.sha256(product_id.encode("utf-8", "surrogatepass")).hexdigest()
    return re.sub(r"[^A-Za-z0-9._-]", "_", product_id[:20]) + "~" + digest[:20]


@lru_cache(maxsize=4096)
def _is_ordinary(product_id: str) -> bool:
    return _ORDINARY_PRODUCT(product_id) is not None


def _candle_key(candle: Candle) -> str:
    start = whole(candle.start, minimum=1)
    if start is None:
        return str(_place_id(candle))
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return f"{start}-{_digest(*numbers, length=_DIGEST_LENGTH)}"


def _quote_id(ticker: Ticker) -> uuid.UUID:
    """The UUID of what a ticker without a trade id says, by whichever connection; else of its place.

    Those of Advanced Trade have a time, and two connections that bring the same one differ in the numbers of their
    frames only. On the Exchange one of a product that was never traded has not even that, so the hour stands for it:
    what is said again later is an event again. One that says when a trade was, and not which, is damaged.
    """
    if ticker.part.feed == "advanced" and ticker.time:
        said = ""
    elif ticker.part.feed == "exchange" and ticker.trade_id is None and not ticker.time:
        said = f"{_hour(ticker)}/"
    else:
        return _place_id(ticker)
    said += "/".join([str(getattr(ticker, name)) for name in _TICKER_FIELDS])
    digest = hashlib.sha1(_NAMESPACE.bytes, usedforsecurity=False)
    digest.update(said.encode("utf-8", "surrogatepass"))
    return uuid.UUID(bytes=digest.digest()[:16], version=5)


def _place_id(message: MessageBase) -> uuid.UUID:
    """The UUID of version 5 of where the message came and what was sent of it, its bytes written as Latin-1.

    It is made in pieces, as a frame may have many megabytes; and of its own part of them, as one may hold thousands of
    messages. Images and parts of books have none of the frame: there may be hundreds at once.
    """
    frame, part = message.frame, message.part
    data = b"" if isinstance(message, (BookImage, BookPart)) else message.data
    digest = hashlib.sha1(_NAMESPACE.bytes, usedforsecurity=False)
    if part.index:
        digest.update(f"{part.index}@".encode())
    digest.update(f"{frame.received_at}/{frame.connection}/{frame.index}/".encode())
    for start in range(0, len(data), _PIECE_BYTES):
        digest.update(data[start : start + _PIECE_BYTES].decode("latin-1").encode())
    return uuid.UUID(bytes=digest.digest()[:16], version=5)
