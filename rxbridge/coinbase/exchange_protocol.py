"""The protocol of the Exchange feed: https://docs.cdp.coinbase.com/exchange/websocket-feed/overview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rxbridge.channels import asked_as, without_products
from rxbridge.coinbase.answers import Answers, Envelope, Pair, fields, items, read_any, texts
from rxbridge.coinbase.protocol import FeedProtocol, Verb
from rxbridge.coinbase.wanted import Wanted

_WITHOUT_PRODUCTS: Final = without_products("exchange")


def _encode(verb: Verb, wanted: Wanted) -> bytes:
    """The message, with the ids inside each channel; at the top, some servers take them for other channels."""
    channels = [_channel(name, products) for name, products in wanted.items()]
    return msgspec.json.encode({"type": verb, "channels": channels})


def _channel(name: str, products: tuple[str, ...]) -> dict[str, object]:
    return {"name": name} if name in _WITHOUT_PRODUCTS else {"name": name, "product_ids": products}


def _acknowledged(envelope: Envelope) -> frozenset[Pair]:
    listed = [fields(channel) for channel in items(read_any(envelope.channels))]
    return frozenset(
        (asked_as(name), product)
        for channel in listed
        for name in texts([channel.get("name")])
        for product in _acknowledged_products(asked_as(name), channel)
    )


def _acknowledged_products(name: str, channel: Mapping[str, object]) -> Sequence[str]:
    # What takes no products is acknowledged with one whose name is empty (documented of rfq_matches).
    return (name,) if name in _WITHOUT_PRODUCTS else texts(channel.get("product_ids"))


EXCHANGE: Final = FeedProtocol(
    name="exchange",
    heartbeat="heartbeat",
    without_products=_WITHOUT_PRODUCTS,
    one_channel_a_message=False,
    books=("level2_batch", "level2"),
    books_are_numbered=False,
    served_as=str,
    encode=_encode,
    answers=Answers(
        data=(
            b'{"type":"match"',
            b'{"type":"ticker"',
            b'{"type":"heartbeat"',
            b'{"type":"l2update"',
            b'{"type":"last_match"',
            b'{"type":"snapshot"',
            b'{"type":"status"',
            b'{"type":"auction"',
        ),
        kind="type",
        acknowledged=_acknowledged,
    ),
)
"""`{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["ETH-USD"]}]}` acknowledges, and
`{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}` refuses."""
