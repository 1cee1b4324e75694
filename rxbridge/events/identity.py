"""Event ids: stable, unique, and such that PulseStream takes them.

PulseStream knows a repeat by its id, so an id must depend on nothing but the frame: a replay of the journal makes the
same ids again.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from functools import lru_cache

from rxbridge.events.cleaning import whole
from rxbridge.messages import BookImage, Candle, EventMessage, GapNotice, MessageBase, Ticker, Trade

UNKNOWN_PRODUCT = "UNKNOWN"
"""Stands for the product of a message that names none."""

_NAMESPACE = uuid.UUID("3f0c8f5e-6d0e-4a53-9a52-6d1f7b0e2c94")

_PIECE_BYTES = 1 << 20

# What ends in "-match", or has "-candle" or "-book" in it, is left out, lest the ticker of one product take the id of
# something of another's.
_ORDINARY_PRODUCT = re.compile(r"(?!.*-(?:candle|book))[A-Za-z0-9._-]+(?<!-match)").fullmatch


_LONGEST_PRODUCT = 40
"""Characters of a product id that is used as it is. Coinbase's have 20 at most."""

_DIGEST_LENGTH = 16
"""Hexadecimal digits by which the revisions of a candle are told apart: a product has a few thousand a day."""

_LONGEST_ID = 100
"""Characters of an event id that PulseStream takes."""


def event_id(message: EventMessage) -> str:
    """The id of the message's event: at most 100 characters of printable ASCII.

    `coinbase-{product}-{trade_id}` for a ticker, `coinbase-{product}-match-{trade_id}` for a match, last or not. A
    message without a usable trade id (a positive integer of at most 64 bits) has a UUID in its place, which depends
    on the message's bytes, its place in the frame, and the frame's time of receipt, connection and index: a replay
    gives the same id, while the same bytes received twice give two. A product id that is not one to forty letters,
    digits, dots, hyphens and underscores is shortened, with a digest.

    `coinbase-{product}-candle-{start}-{digest}` for a candle. The digest is of its numbers, so each revision of a
    candle is an event, and the same one sent again is a repeat.

    `coinbase-{product}-book-` and such a UUID, of no bytes, for the image of a book.

    `coinbase-gap-trades-{product}-{first}-{last}` for trades that are missing; for quotes, and where that would be too
    long, a UUID stands after the kind, which depends on the products, the channel, and the two ends.
    """
    if isinstance(message, GapNotice):
        return _gap_id(message)
    product = _product_key(message.product_id)
    if isinstance(message, Trade):
        return f"coinbase-{product}-match-{whole(message.trade_id, minimum=1) or _place_id(message)}"
    if isinstance(message, Ticker):
        return f"coinbase-{product}-{whole(message.trade_id, minimum=1) or _place_id(message)}"
    if isinstance(message, Candle):
        return f"coinbase-{product}-candle-{_candle_key(message)}"
    return f"coinbase-{product}-book-{_place_id(message)}"


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
    numbers = "/".join(map(str, (candle.open, candle.high, candle.low, candle.close, candle.volume)))
    return f"{start}-{hashlib.sha256(numbers.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGEST_LENGTH]}"


def _place_id(message: MessageBase) -> uuid.UUID:
    """The UUID of version 5 of where the message came and what was sent of it, its bytes written as Latin-1.

    It is made in pieces, as a frame may have many megabytes; and of its own part of them, as one may hold thousands of
    messages. Images of books have none of the frame: there may be hundreds at once.
    """
    frame, part = message.frame, message.part
    data = b"" if isinstance(message, BookImage) else message.data
    digest = hashlib.sha1(_NAMESPACE.bytes, usedforsecurity=False)
    if part.index:
        digest.update(f"{part.index}@".encode())
    digest.update(f"{frame.received_at}/{frame.connection}/{frame.index}/".encode())
    for start in range(0, len(data), _PIECE_BYTES):
        digest.update(data[start : start + _PIECE_BYTES].decode("latin-1").encode())
    return uuid.UUID(bytes=digest.digest()[:16], version=5)
