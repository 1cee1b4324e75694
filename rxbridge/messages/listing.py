"""How products are listed, and how they are auctioned."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from rxbridge.messages.frames import MessageBase, Number

Flag: TypeAlias = bool | str | int | float | None
"""A yes or no as it came; text that says so counts too."""


class ProductStatus(MessageBase, frozen=True, gc=False, kw_only=True):
    """How a product is listed: one of the many in a frame of the channel `status`.

    The Exchange tells of all its products every five seconds, whichever are asked for, and of its currencies, which
    stay in the frame: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#status-channel. Advanced Trade
    tells of those that are asked for, first and when they change, and lacks the four flags:
    https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels#status-channel.

    Attributes:
        product_id: `id` on the wire.
        status: Such as `online`, `offline` or `delisted`.
        product_type: Such as `SPOT`; Advanced Trade only.
        time: When it was sent; Advanced Trade only.
    """

    product_id: str | None = None
    status: str | None = None
    status_message: str | None = None
    display_name: str | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    base_increment: Number = None
    quote_increment: Number = None
    min_market_funds: Number = None
    post_only: Flag = None
    limit_only: Flag = None
    cancel_only: Flag = None
    fx_stablecoin: Flag = None
    product_type: str | None = None
    time: str | None = None


class Auction(MessageBase, frozen=True, gc=False, tag="auction"):
    """What an auction would come to now: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#auctionfeed-channel.

    It comes about once a second while orders are collected, and says nothing of how the auction ends: that is a match.

    Attributes:
        auction_state: Such as `collection`.
        open_price: At which the market would open; likewise the size.
        can_open: `yes` or `no`.
        time: `timestamp` on the wire.
    """

    product_id: str | None = None
    sequence: Number = None
    auction_state: str | None = None
    best_bid_price: Number = None
    best_bid_size: Number = None
    best_ask_price: Number = None
    best_ask_size: Number = None
    open_price: Number = None
    open_size: Number = None
    can_open: Flag = None
    time: str | None = msgspec.field(default=None, name="timestamp")
