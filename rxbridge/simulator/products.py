"""The products of the simulated exchange: what they are called, and what their prices look like."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from rxbridge.errors import ConfigError

SIZE_DECIMALS = 8
"""Sizes and volumes count in units of 0.00000001 of the base currency, as Coinbase's do for most products."""

REFERENCE_PRICES = {
    "ADA-USD": "0.4000",
    "AVAX-USD": "25.000",
    "BTC-EUR": "60000.00",
    "BTC-USD": "65000.00",
    "BTC-USDC": "65000.00",
    "DOGE-USD": "0.10000",
    "ETH-BTC": "0.03000",
    "ETH-EUR": "1800.00",
    "ETH-USD": "1900.00",
    "LINK-USD": "15.000",
    "LTC-USD": "80.00",
    "SOL-USD": "150.00",
    "XRP-USD": "0.6000",
}
"""About where a market starts; as many decimals as its prices have."""

OTHER_REFERENCE_PRICE = "10.0000"

_PRODUCT_ID = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")


class Product(msgspec.Struct, frozen=True):
    """A product, with its prices as whole numbers of the smallest step.

    Attributes:
        product_id: Base and quote currency, as in `BTC-USD`.
        price_decimals: One price step is 10 to the power of minus this, in the quote currency.
        reference_price: About where its market starts, in price steps.
    """

    product_id: str
    price_decimals: int
    reference_price: int


def products_named(product_ids: Iterable[str]) -> list[Product]:
    """The products with these ids, in this order, each once.

    Raises:
        ConfigError: An id is not of the form `BTC-USD`, or there is none.
    """
    ids = list(dict.fromkeys(product_ids))
    if not ids:
        raise ConfigError("products", "at least one is needed", "as in BTC-USD,ETH-USD")
    return [_product(product_id) for product_id in ids]


def _product(product_id: str) -> Product:
    if not _PRODUCT_ID.fullmatch(product_id):
        raise ConfigError("products", f"{product_id!r} is no product id", "they look like BTC-USD")
    whole, _, fraction = REFERENCE_PRICES.get(product_id, OTHER_REFERENCE_PRICE).partition(".")
    return Product(product_id=product_id, price_decimals=len(fraction), reference_price=int(whole + fraction))
