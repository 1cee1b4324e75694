"""What a client of Advanced Trade may say, and what is answered: pure functions of texts and subscriptions.

The forms are those of https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview, and
of acknowledgements received in 2026. Of the refusals only `authentication failure` is known, which a misspelt channel
gets as well; the other texts are the simulator's own.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from random import Random

import msgspec

from rxbridge.simulator.protocol import Request, Subscription, shuffled

HEARTBEATS: Subscription = ("heartbeats", "heartbeats")
"""The channel that is about no product; acknowledgements name it twice, as if it were one."""

AUTHENTICATION_FAILURE = "authentication failure"
NO_PRODUCTS = "product_ids: at least one product is needed"
UNKNOWN_TYPE = "type has to be either subscribe or unsubscribe"

ALIAS_SUFFIX = "-USDC"
SERVED_SUFFIX = "-USD"


class Refusal(msgspec.Struct, tag="error", frozen=True):
    """The `error` frame: no channel, no number; nothing was changed by the message that it answers."""

    message: str


class _ClientMessage(msgspec.Struct):
    type: str = ""
    channel: str = ""
    product_ids: list[str] | None = None


def parse(text: str | bytes, *, channels: Container[str], products: Container[str]) -> Request | Refusal:
    """Understand a client's message: one channel, and its products by the names that they are served under.

    Args:
        text: The message as received. A signature in it is not looked at.
        channels: The channels on offer.
        products: The products on offer.
    """
    try:
        message = msgspec.json.decode(text, type=_ClientMessage)
    except msgspec.ValidationError as error:
        return Refusal(f"malformed message: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal(f"malformed JSON: {error}")
    if message.channel not in channels:
        return Refusal(AUTHENTICATION_FAILURE)
    asked = tuple(dict.fromkeys(served_as(product, products) for product in message.product_ids or ()))
    match message.type:
        case "subscribe":
            return _subscribe(message.channel, asked, products)
        case "unsubscribe":
            # No products mean the whole channel; those that are not subscribed do not matter.
            everything = not asked or message.channel == HEARTBEATS[0]
            return Request("unsubscribe", {message.channel: None if everything else asked})
        case _:
            return Refusal(UNKNOWN_TYPE)


def _subscribe(channel: str, asked: tuple[str, ...], products: Container[str]) -> Request | Refusal:
    if channel == HEARTBEATS[0]:
        return Request("subscribe", {channel: (HEARTBEATS[1],)})
    if not asked:
        return Refusal(NO_PRODUCTS)
    for product in asked:
        if product not in products:
            return Refusal(f"{product} is not a valid product")
    return Request("subscribe", {channel: asked})


def served_as(product_id: str, products: Container[str]) -> str:
    """The name that a product is served under: that of its twin in dollars, where there is one, for USDC."""
    if product_id.endswith(ALIAS_SUFFIX):
        twin = product_id.removesuffix(ALIAS_SUFFIX) + SERVED_SUFFIX
        return twin if twin in products else product_id
    return product_id


def acknowledged(subscriptions: Iterable[Subscription], random: Random) -> dict[str, list[str]]:
    """All that is subscribed now: channels in order, the products of each in none."""
    products: dict[str, list[str]] = {}
    for channel, product in subscriptions:
        products.setdefault(channel, []).append(product)
    return {channel: shuffled(products[channel], random) for channel in sorted(products)}
