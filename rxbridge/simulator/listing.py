"""Products and currencies as Coinbase lists them: over REST, and on the channel `status`.

The fields are those of https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-all-known-trading-pairs
and https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#status-channel. The channel says null where REST has
an empty text, and numbers where other fields have decimal text.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rxbridge.simulator import wire
from rxbridge.simulator.products import SIZE_DECIMALS, Product

NAMES = {"BTC": "Bitcoin", "ETH": "Ether", "EUR": "Euro", "GBP": "British Pound", "USD": "United States Dollar"}

FIAT = frozenset({"EUR", "GBP", "USD"})

SMALLEST_SIZE = wire.padded(1, SIZE_DECIMALS)


class RestProduct(msgspec.Struct):
    """A product as `GET /products` lists it."""

    id: str
    base_currency: str
    quote_currency: str
    quote_increment: str
    base_increment: str
    display_name: str
    min_market_funds: str = "1"
    margin_enabled: bool = False
    post_only: bool = False
    limit_only: bool = False
    cancel_only: bool = False
    status: str = "online"
    status_message: str = ""
    trading_disabled: bool = False
    fx_stablecoin: bool = False
    max_slippage_percentage: str = "0.02000000"
    auction_mode: bool = False
    high_bid_limit_percentage: str = ""


class _StatusProduct(msgspec.Struct):
    id: str
    base_currency: str
    quote_currency: str
    base_increment: str
    quote_increment: str
    display_name: str
    status: str
    status_message: str | None = None
    min_market_funds: str = "1"
    post_only: bool = False
    limit_only: bool = False
    cancel_only: bool = False
    fx_stablecoin: bool = False


class _Network(msgspec.Struct):
    id: str
    name: str
    status: str = "online"
    contract_address: str = ""
    crypto_address_link: str = ""
    crypto_transaction_link: str = ""
    # Numbers, though the amounts are decimal: so it is on the wire.
    min_withdrawal_amount: float = 0.0001
    max_withdrawal_amount: int = 2400
    network_confirmations: int = 2
    processing_time_seconds: int = 0
    destination_tag_regex: str = ""


class _Currency(msgspec.Struct):
    id: str
    name: str
    display_name: str
    min_size: str
    max_precision: str
    default_network: str
    supported_networks: list[_Network]
    status: str = "online"
    status_message: str | None = None
    convertible_to: list[str] = []
    details: dict[str, str] = {}


class _Status(msgspec.Struct, tag="status"):
    products: list[_StatusProduct]
    currencies: list[_Currency]


def rest_product(product_id: str, *, price_decimals: int = SIZE_DECIMALS, delisted: bool = False) -> RestProduct:
    """A product as REST lists it.

    Args:
        product_id: Base and quote currency, as in `BTC-USD`.
        price_decimals: Its price step; the finest one, where that is not known, contradicts no price.
        delisted: Whether it is no longer traded.
    """
    base, _, quote = product_id.partition("-")
    return RestProduct(
        id=product_id,
        base_currency=base,
        quote_currency=quote,
        quote_increment=wire.padded(1, price_decimals),
        base_increment=SMALLEST_SIZE,
        display_name=f"{base}-{quote}",
        status="delisted" if delisted else "online",
        trading_disabled=delisted,
        cancel_only=delisted,
    )


def status(products: Iterable[Product]) -> bytes:
    """The `status` frame: all products, and the currencies that they are of."""
    listed = sorted(products, key=lambda product: product.product_id)
    currencies = sorted({currency for product in listed for currency in product.product_id.split("-")})
    return msgspec.json.encode(
        _Status([_status_product(product) for product in listed], [_currency(currency) for currency in currencies])
    )


def _status_product(product: Product) -> _StatusProduct:
    base, _, quote = product.product_id.partition("-")
    return _StatusProduct(
        id=product.product_id,
        base_currency=base,
        quote_currency=quote,
        base_increment=SMALLEST_SIZE,
        quote_increment=wire.padded(1, product.price_decimals),
        display_name=product.product_id,
        status="delisted" if product.kind == "delisted" else "online",
        cancel_only=product.kind == "delisted",
    )


def _currency(currency: str) -> _Currency:
    name = NAMES.get(currency, currency)
    if currency in FIAT:
        return _Currency(currency, name, currency, "0.01000000", "0.01", "", [])
    network = name.lower()
    return _Currency(currency, name, currency, SMALLEST_SIZE, SMALLEST_SIZE, network, [_Network(network, name)])
