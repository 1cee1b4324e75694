"""Ticker frames of the Exchange feed, ready for the wire, with rising trade ids."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime

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


def text_frame(data: bytes) -> bytes:
    """One unmasked text frame."""
    if len(data) < 126:
        return struct.pack("!BB", 0x81, len(data)) + data
    return struct.pack("!BBH", 0x81, 126, len(data)) + data


def subscription(channels: list[str]) -> str:
    """What a client sends to subscribe to the product."""
    return json.dumps(
        {"type": "subscribe", "channels": [{"name": name, "product_ids": [PRODUCT]} for name in channels]}
    )
