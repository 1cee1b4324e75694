"""What the Exchange sends in another shape than that of a message: https://docs.cdp.coinbase.com/exchange/websocket-feed.

The items of a list stay as they came until they are read one by one. Any field of an item may be missing, null, or of a
surprising simple type.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from rxbridge.messages import Flag, Number


class Product(msgspec.Struct, frozen=True, gc=False):
    """An item of `status`."""

    id: str | None = None
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


class Status(msgspec.Struct, frozen=True, gc=False, tag="status"):
    """All products, every five seconds; and all currencies, which nobody asked for."""

    products: list[Raw]


class LargeStatus(msgspec.Struct, frozen=True, gc=False, tag="status"):
    """The same, as far as it takes no more memory than its frame, however long that is."""

    products: Raw
