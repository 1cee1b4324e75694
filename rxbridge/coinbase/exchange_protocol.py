"""The protocol of the Exchange feed: https://docs.cdp.coinbase.com/exchange/websocket-feed/overview."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from rxbridge.channels import FEED_URLS, asked_as, signed_channels, without_products
from rxbridge.coinbase.answers import Answers, Envelope, Pair, Refused, fields, items, read_any, texts
from rxbridge.coinbase.exchange_signing import CLOCK_SECONDS
from rxbridge.coinbase.protocol import FeedProtocol, Verb
from rxbridge.coinbase.wanted import Wanted

_WITHOUT_PRODUCTS: Final = without_products("exchange")


_SIGNED: Final = signed_channels("exchange")


def signed(sign: Callable[[], Mapping[str, str]]) -> FeedProtocol:
    """The same protocol for who has a key: each message that asks for a channel that needs one is signed anew.

    The others are not, so that a key that is refused costs no channel that needs none.
    """

    def encode(verb: Verb, wanted: Wanted) -> bytes:
        signature: Mapping[str, str] = sign() if verb == "subscribe" and not _SIGNED.isdisjoint(wanted) else {}
        return msgspec.json.encode({**_message(verb, wanted), **signature})

    return replace(EXCHANGE, encode=encode, signed=_SIGNED, answers=replace(EXCHANGE.answers, explained=_explained))


def _explained(refused: Refused) -> Refused:
    """With what to do about a refused signature: Coinbase says only what it did not like of it, if anything."""
    if "auth" not in f"{refused.message} {refused.reason}".lower() or _is_of_advanced_trade(refused):
        return _told_apart(refused)
    return Refused(
        refused.message,
        f"signature not taken; check feed.api_key, api_secret, api_passphrase, what the key is allowed, and the clock,"
        f" which must be right to {CLOCK_SECONDS} s: {refused.reason or refused.message}",
    )


def _is_of_advanced_trade(refused: Refused) -> bool:
    # That is all it says of a message without a channel (seen); the Exchange has other words, and gives reasons.
    return refused == Refused("authentication failure", "")


def _told_apart(refused: Refused) -> Refused:
    """With what to do if it is Advanced Trade that refuses, which takes no message of the Exchange."""
    if not _is_of_advanced_trade(refused):
        return refused
    reason = (
        f"{refused.message}: this seems to be Advanced Trade, not the Exchange; set feed.protocol (--feed) to advanced,"
        f" or feed.url to {FEED_URLS['exchange']}"
    )
    return Refused(refused.message, reason, is_final=True)


def _message(verb: Verb, wanted: Wanted) -> dict[str, object]:
    """The message, with the ids inside each channel; at the top, some servers take them for other channels."""
    return {"type": verb, "channels": [_channel(name, products) for name, products in wanted.items()]}


def _encode(verb: Verb, wanted: Wanted) -> bytes:
    return msgspec.json.encode(_message(verb, wanted))


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
            b'{"type":"received"',
            b'{"type":"open"',
            b'{"type":"done"',
            b'{"type":"change"',
            b'{"type":"rfq_match"',
        ),
        kind="type",
        acknowledged=_acknowledged,
        explained=_told_apart,
    ),
)
"""`{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["ETH-USD"]}]}` acknowledges, and
`{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}` refuses."""
