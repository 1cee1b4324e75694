"""What is about the connection and not the market: heartbeats, answers, and what is missing."""

from __future__ import annotations

from typing import Literal

import msgspec

from rxbridge.messages.frames import MessageBase, Number


class Heartbeat(MessageBase, frozen=True, gc=False, tag="heartbeat"):
    """One a second: per product on the Exchange feed, per connection on Advanced Trade, which names no product.

    A `last_trade_id` of 0 means that it is not known.

    Attributes:
        counter: Advanced Trade's `heartbeat_counter`, which may jump after a reconnect.
    """

    product_id: str | None = None
    sequence: Number = None
    last_trade_id: Number = None
    time: str | None = None
    counter: Number = None


class SubscribedChannel(msgspec.Struct, frozen=True, gc=False):
    """One line of an acknowledgement."""

    name: str
    product_ids: list[str] = []


class Subscriptions(MessageBase, frozen=True, gc=False, tag="subscriptions"):
    """The acknowledgement: everything that the connection is subscribed to now, in any order."""

    channels: list[SubscribedChannel] = msgspec.field(default_factory=list[SubscribedChannel])


class FeedErrorMessage(MessageBase, frozen=True, gc=False, tag="error"):
    """Coinbase refused something that we sent."""

    message: str = ""
    reason: str = ""


class GapNotice(MessageBase, frozen=True, gc=False, tag="rxbridge_gap"):
    """What rxbridge says of something that is missing and cannot be fetched; never a message of Coinbase's.

    Attributes:
        kind: `trades` or `quotes`.
        products: Whose.
        channel: The channel that lost them.
        first: The first missing trade id; for quotes, when the last frame before was received, in nanoseconds since
            the Unix epoch.
        last: The last missing trade id; for quotes, when Coinbase acknowledged the subscription anew, or sent
            something of these products, likewise.
        reason: Why, in words.
    """

    kind: Literal["trades", "quotes"]
    products: tuple[str, ...]
    channel: str
    first: int
    last: int
    reason: str


class Unknown(MessageBase, frozen=True, gc=False):
    """Valid JSON of a kind that rxbridge does not know; `type` is empty where the frame has none."""

    type: str = ""
