"""Coinbase's two feeds and their channels, under the names that a user gives them.

Whatever a user writes, the program knows a channel by one name, on both feeds; only the connection uses the names of
the wire: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels and
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from rxbridge.suggestions import nearest

FeedName: TypeAlias = Literal["exchange", "advanced"]
"""Coinbase's feeds: that of the Exchange, and that of Advanced Trade."""

FEED_URLS: Final[Mapping[FeedName, str]] = {
    "exchange": "wss://ws-feed.exchange.coinbase.com",
    "advanced": "wss://advanced-trade-ws.coinbase.com",
}
"""Where they are."""


class Channel(NamedTuple):
    """A channel.

    Attributes:
        name: What the program calls it.
        on_wire: What a feed calls it; a feed that is not there has none.
        aliases: What else a user may call it, on either feed.
        has_no_products: The feeds on which it is asked for as a whole, and not product by product.
        with_key: What a feed calls it for who has a key, where that is another channel on the wire.
        needs_key: Whether it is only for who has a key.
    """

    name: str
    on_wire: Mapping[FeedName, str]
    aliases: tuple[str, ...] = ()
    has_no_products: tuple[FeedName, ...] = ()
    with_key: Mapping[FeedName, str] = {}
    needs_key: bool = False


CHANNELS: Final = (
    Channel("ticker", {"exchange": "ticker", "advanced": "ticker"}),
    Channel("ticker_batch", {"exchange": "ticker_batch", "advanced": "ticker_batch"}),
    Channel("matches", {"exchange": "matches", "advanced": "market_trades"}, ("trades", "market_trades")),
    Channel("candles", {"advanced": "candles"}),
    Channel(
        "level2",
        {"exchange": "level2_batch", "advanced": "level2"},
        ("level2_batch",),
        with_key={"exchange": "level2"},
    ),
    Channel("status", {"exchange": "status", "advanced": "status"}, has_no_products=("exchange",)),
    Channel("auctionfeed", {"exchange": "auctionfeed"}, ("auction", "auctions")),
    Channel("full", {"exchange": "full"}, needs_key=True),
    Channel("rfq_matches", {"exchange": "rfq_matches"}, has_no_products=("exchange",), needs_key=True),
    Channel("heartbeat", {"exchange": "heartbeat", "advanced": "heartbeats"}, ("heartbeats",), ("advanced",)),
)
"""All of them. Of the Exchange, `level2_batch` brings every 50 ms what `level2` brings at once to who has a key: both
are `level2` here, and who sets a key gets the faster one."""

_BY_NAME: Final = {name: channel for channel in CHANNELS for name in (channel.name, *channel.aliases)}

_ASKED_AS: Final = {"level2_50": "level2_batch"}
"""What an acknowledgement of the Exchange calls a channel, where that is another name than the one to ask for it by
(documented)."""


def canonical(name: str, feed: FeedName) -> str:
    """What the program calls a channel of a feed, whatever the user calls it.

    Raises:
        ValueError: The feed has no such channel; the text says which it has, or which is spelt nearly so.
    """
    return _channel(name, feed).name


def wire_name(name: str, feed: FeedName, *, has_key: bool = False) -> str:
    """What a feed calls a channel, whatever the user calls it.

    Args:
        name: What the user calls it.
        feed: The feed.
        has_key: Whether there is a key to sign with.

    Raises:
        ValueError: As above; or the channel needs a key, and the text says what to set.
    """
    channel = _channel(name, feed)
    if has_key:
        return channel.with_key.get(feed, channel.on_wire[feed])
    if channel.needs_key:
        raise ValueError(
            f"the channel {name!r} needs a key of Coinbase Exchange; set feed.api_key, feed.api_secret and"
            " feed.api_passphrase, or the same with _file for the files that hold them"
        )
    return channel.on_wire[feed]


def signed_channels(feed: FeedName) -> frozenset[str]:
    """What a feed calls those channels that Coinbase gives only to who signs."""
    asked = (channel for channel in CHANNELS if feed in channel.on_wire)
    return frozenset(
        channel.with_key.get(feed, channel.on_wire[feed])
        for channel in asked
        if channel.needs_key or feed in channel.with_key
    )


def without_products(feed: FeedName) -> frozenset[str]:
    """What a feed calls those channels that are asked for as a whole, and not product by product."""
    return frozenset(channel.on_wire[feed] for channel in CHANNELS if feed in channel.has_no_products)


def asked_as(acknowledged: str) -> str:
    """What a channel is asked for by, given what an acknowledgement calls it."""
    return _ASKED_AS.get(acknowledged, acknowledged)


def known_as(acknowledged: str) -> str:
    """What the program calls a channel, given what an acknowledgement calls it; that itself if it knows none."""
    channel = _BY_NAME.get(asked_as(acknowledged))
    return acknowledged if channel is None else channel.name


def _channel(name: str, feed: FeedName) -> Channel:
    channel = _BY_NAME.get(name)
    if channel is None:
        raise ValueError(f"unknown channel {name!r}{nearest(name, tuple(_BY_NAME))}")
    if feed not in channel.on_wire:
        known = [name for name, channel in _BY_NAME.items() if feed in channel.on_wire]
        raise ValueError(f"the feed {feed!r} has no channel {name!r}; known are {', '.join(sorted(known))}")
    return channel
