"""The protocol of Advanced Trade: https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from rxbridge.channels import FEED_URLS, without_products
from rxbridge.coinbase.answers import Answers, Envelope, Pair, Refused, fields, items, read_any, texts
from rxbridge.coinbase.protocol import FeedProtocol, Verb
from rxbridge.coinbase.wanted import Wanted

_HEARTBEATS: Final = "heartbeats"


def served_as(product: str) -> str:
    """The id under which a product is acknowledged and comes: what is quoted in USDC comes as if in USD.

    https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels
    """
    return product.removesuffix("C") if product.endswith("-USDC") else product


def signed(token: Callable[[], str]) -> FeedProtocol:
    """The same protocol, each message with a token of its own."""

    def encode(verb: Verb, wanted: Wanted) -> bytes:
        return msgspec.json.encode(_message(verb, wanted) | {"jwt": token()})

    return replace(ADVANCED, encode=encode)


def _message(verb: Verb, wanted: Wanted) -> dict[str, object]:
    ((channel, products),) = wanted.items()
    if channel == _HEARTBEATS:
        return {"type": verb, "channel": channel}
    return {"type": verb, "product_ids": products, "channel": channel}


def _encode(verb: Verb, wanted: Wanted) -> bytes:
    return msgspec.json.encode(_message(verb, wanted))


def _acknowledged(envelope: Envelope) -> frozenset[Pair]:
    pairs: set[Pair] = set()
    for event in items(read_any(envelope.events)):
        for channel, products in fields(fields(event).get("subscriptions")).items():
            if channel == _HEARTBEATS:
                pairs.add((channel, channel))
            for product in texts(products):
                pairs.add((channel, product))
                if product.endswith("-USD"):
                    pairs.add((channel, f"{product}C"))
    return frozenset(pairs)


def _told_apart(refused: Refused) -> Refused:
    """With what to do if it is the Exchange that refuses, which takes no message of Advanced Trade."""
    if refused.reason != "No channels provided":
        return refused
    # It looks for `channels`, and Advanced Trade has `channel`; that one gives no reasons.
    reason = (
        f"{refused.reason}: this seems to be the Exchange, not Advanced Trade; set feed.protocol (--feed) to exchange,"
        f" or feed.url to {FEED_URLS['advanced']}"
    )
    return Refused(refused.message, reason, is_final=True)


ADVANCED: Final = FeedProtocol(
    name="advanced",
    heartbeat=_HEARTBEATS,
    without_products=without_products("advanced"),
    one_channel_a_message=True,
    books=("level2",),
    books_are_numbered=True,
    served_as=served_as,
    encode=_encode,
    answers=Answers(
        data=(
            b'{"channel":"l2_data"',
            b'{"channel":"ticker',  # and ticker_batch
            b'{"channel":"market_trades"',
            b'{"channel":"heartbeats"',
            b'{"channel":"candles"',
            b'{"channel":"status"',
        ),
        kind="channel",
        acknowledged=_acknowledged,
        explained=_told_apart,
    ),
)
"""`{"channel":"subscriptions","events":[{"subscriptions":{"ticker":["BTC-USD"],"heartbeats":["heartbeats"]}}]}`
acknowledges, after the channel's snapshot (seen), and lists products by the id that they are served as.
`{"type":"error","message":"authentication failure"}` refuses, and does not say what; it is also the answer to a
misspelt channel. What is listed as BTC-USD counts as an answer to BTC-USDC, too."""
