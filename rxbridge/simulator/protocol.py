"""What a client may say, and what Coinbase answers: pure functions of texts and subscriptions.

The forms are those of https://docs.cdp.coinbase.com/exchange/websocket-feed/overview; the texts of the refusals are
those that clients reported from the real feed. Two answers are not known, to a message that is no JSON object and to
one with fields of wrong types: their texts are the simulator's own.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from random import Random
from typing import Literal, TypeAlias, TypeVar

import msgspec

_T = TypeVar("_T")

Subscription: TypeAlias = tuple[str, str]
"""A channel, by the name that acknowledgements give it, and a product."""

AUTHENTICATED_CHANNELS = frozenset({"level2", "level3", "full", "rfq_matches"})

CHANNELS_WITHOUT_PRODUCTS = frozenset({"status", "rfq_matches"})
"""They are acknowledged with one product that has an empty name, as the documentation shows it of `rfq_matches`."""

AUTHENTICATION_REQUIRED = (
    "level2, level3, and full channels now require authentication. "
    "https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
)
NO_CHANNELS = "No channels provided"
UNKNOWN_TYPE = "Type has to be either subscribe or unsubscribe"


class Refusal(msgspec.Struct, tag="error", frozen=True):
    """The `error` frame; nothing was changed by the message that it answers."""

    message: str
    reason: str


class Request(msgspec.Struct, frozen=True):
    """A valid message of a client.

    Attributes:
        action: What is wanted.
        products: By channel, as acknowledgements name it, the products; None for all that are subscribed, which only
            an unsubscribe can mean.
    """

    action: Literal["subscribe", "unsubscribe"]
    products: Mapping[str, tuple[str, ...] | None]


class _Channel(msgspec.Struct):
    name: str
    product_ids: list[str] | None = None


class _ClientMessage(msgspec.Struct):
    type: str = ""
    product_ids: list[str] | None = None
    channels: list[str | _Channel] | None = None


class _Acknowledged(msgspec.Struct):
    name: str
    product_ids: list[str]
    # Null for everybody without an account, at least since 2025.
    account_ids: None = None


class _Acknowledgement(msgspec.Struct, tag="subscriptions"):
    channels: list[_Acknowledged]


def parse(text: str | bytes, *, channels: Mapping[str, str], products: Container[str]) -> Request | Refusal:
    """Understand a client's message, whole or not at all: one bad product or channel refuses everything in it.

    Args:
        text: The message as received.
        channels: The channels on offer, by the name to ask for them; the value is the name to acknowledge them by.
        products: The products on offer.
    """
    try:
        message = msgspec.json.decode(text, type=_ClientMessage)
    except msgspec.ValidationError as error:
        return Refusal("Failed to subscribe", f"Malformed message: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal("Malformed JSON", str(error))
    match message.type:
        case "subscribe":
            return _subscribe(message, channels, products)
        case "unsubscribe":
            return _unsubscribe(message, channels)
        case _:
            return Refusal("Failed to subscribe", UNKNOWN_TYPE)


def _subscribe(message: _ClientMessage, channels: Mapping[str, str], products: Container[str]) -> Request | Refusal:
    wanted: dict[str, tuple[str, ...]] = {}
    for channel in message.channels or ():
        name, own = _name_and_products(channel)
        if name not in channels:
            return _refused(AUTHENTICATION_REQUIRED if name in AUTHENTICATED_CHANNELS else _invalid(name, "channel"))
        if name in CHANNELS_WITHOUT_PRODUCTS:
            wanted[channels[name]] = ("",)
            continue
        # A channel's own products come on top of the message's. Coinbase takes an empty list, and no list anywhere,
        # for one product with an empty name.
        asked = [*(message.product_ids or ()), *(own or ())]
        if own == [] or not asked:
            return _refused(_invalid("", "product"))
        for product in asked:
            if product not in products:
                return _refused(_invalid(product, "product"))
        acknowledged = channels[name]
        wanted[acknowledged] = tuple(dict.fromkeys((*wanted.get(acknowledged, ()), *asked)))
    return Request("subscribe", wanted) if wanted else _refused(NO_CHANNELS)


def _unsubscribe(message: _ClientMessage, channels: Mapping[str, str]) -> Request | Refusal:
    """No products mean the whole channel; products and channels that are not subscribed do not matter."""
    unwanted: dict[str, tuple[str, ...] | None] = {}
    for channel in message.channels or ():
        name, own = _name_and_products(channel)
        acknowledged = channels.get(name, name)
        asked = () if name in CHANNELS_WITHOUT_PRODUCTS else (*(message.product_ids or ()), *(own or ()))
        earlier = unwanted.get(acknowledged, ())
        unwanted[acknowledged] = (*earlier, *asked) if asked and earlier is not None else None
    return Request("unsubscribe", unwanted) if unwanted else Refusal("Failed to unsubscribe", NO_CHANNELS)


def _name_and_products(channel: str | _Channel) -> tuple[str, list[str] | None]:
    return (channel, None) if isinstance(channel, str) else (channel.name, channel.product_ids)


def _invalid(name: str, kind: str) -> str:
    return f"{name} is not a valid {kind}"


def _refused(reason: str) -> Refusal:
    return Refusal("Failed to subscribe", reason)


class Subscriptions:
    """What one connection is subscribed to."""

    def __init__(self) -> None:
        self._products: dict[str, dict[str, None]] = {}

    def __contains__(self, subscription: Subscription) -> bool:
        channel, product = subscription
        return product in self._products.get(channel, ())

    def __iter__(self) -> Iterator[Subscription]:
        return ((channel, product) for channel, products in self._products.items() for product in products)

    def add(self, request: Request) -> list[Subscription]:
        """Subscribe; returns everything that was asked for, also what was subscribed before."""
        asked = [(channel, product) for channel, products in request.products.items() for product in products or ()]
        for channel, product in asked:
            self._products.setdefault(channel, {})[product] = None
        return asked

    def remove(self, request: Request) -> list[Subscription]:
        """Unsubscribe; returns what was subscribed and is no longer."""
        gone = [
            (channel, product)
            for channel, products in request.products.items()
            for product in tuple(self._products.get(channel, ()))
            if products is None or product in products
        ]
        for channel, product in gone:
            del self._products[channel][product]
        return gone

    def acknowledgement(self, random: Random) -> bytes:
        """The `subscriptions` frame: all that is subscribed now, channels and products in no particular order."""
        channels = [
            _Acknowledged(channel, shuffled(list(products), random))
            for channel, products in self._products.items()
            if products
        ]
        return msgspec.json.encode(_Acknowledgement(shuffled(channels, random)))


def shuffled(items: Sequence[_T], random: Random) -> list[_T]:
    """The items in a random order."""
    return random.sample(items, len(items))
