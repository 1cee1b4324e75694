"""Ticker frames of the Exchange feed, ready for the wire, with rising trade ids."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime

from benchmarks.book_messages import snapshot

PRODUCT = "BTC-USD"
FIRST_TRADE_ID = 900_000_001
"""Nine digits, as BTC-USD has had for years; so all frames have one length."""

_TEMPLATE = (
    b'{"type":"ticker","sequence":%d,"product_id":"BTC-USD","price":"%d.%02d","open_24h":"123012.67",'
    b'"volume_24h":"7318.52149831","low_24h":"121517.42","high_24h":"124277.98","volume_30d":"248125.90337641",'
    b'"best_bid":"%d.09","best_bid_size":"0.09183264","best_ask":"%d.88","best_ask_size":"0.30177250","side":"buy",'
    b'"time":"%s.%06dZ","trade_id":%d,"last_size":"0.00042316"}'
)


def payload(index: int, second: bytes) -> bytes:
    """The ticker after the `index`-th trade; `second` is its time in ISO 8601, to the second."""
    price = 123_500 + index % 700
    return _TEMPLATE % (
        95_000_000_000 + index * 13,
        price,
        index % 100,
        price - 1,
        price + 1,
        second,
        index % 1_000_000,
        FIRST_TRADE_ID + index,
    )


def websocket_frames(count: int) -> list[bytes]:
    """So many tickers as unmasked text frames (RFC 6455, section 5.2)."""
    second = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
    return [text_frame(payload(index, second)) for index in range(count)]


def websocket_snapshots(count: int) -> list[bytes]:
    """So many snapshots of the product's book as unmasked text frames: 46,000 levels and 5 MB each.

    They are in the form of Advanced Trade, whose are so large, and numbered. A frame says itself which feed it is of.
    """
    book = snapshot()
    levels = [("bid", *level) for level in book.bids] + [("offer", *level) for level in book.asks]
    time = "2026-01-31T08:00:00.123456Z"
    updates = [
        {"side": side, "event_time": time, "price_level": price, "new_quantity": size} for side, price, size in levels
    ]
    events = [{"type": "snapshot", "product_id": PRODUCT, "updates": updates}]
    return [
        text_frame(
            json.dumps(
                {"channel": "l2_data", "client_id": "", "timestamp": time, "sequence_num": number, "events": events},
                separators=(",", ":"),
            ).encode()
        )
        for number in range(count)
    ]


def text_frame(data: bytes) -> bytes:
    """One unmasked text frame."""
    if len(data) < 126:
        return struct.pack("!BB", 0x81, len(data)) + data
    if len(data) < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, len(data)) + data
    return struct.pack("!BBQ", 0x81, 127, len(data)) + data


def subscription(channels: list[str]) -> str:
    """What a client sends to subscribe to the product."""
    return json.dumps(
        {"type": "subscribe", "channels": [{"name": name, "product_ids": [PRODUCT]} for name in channels]}
    )
