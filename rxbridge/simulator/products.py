"""The products of the simulated exchange: what they are called, and what their prices look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import Literal, TypeAlias, get_args

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

MADE_UP_QUOTES = ("USD", "USD", "USD", "USD", "USD", "USD", "EUR", "GBP")
"""The quote currencies of products that are made up by number, in turn."""

MADE_UP_PRICES = ("10.0000", "0.50000", "250.00", "0.0012000", "1.2300")
"""About where their markets start, in turn."""

MOST_MADE_UP = 10_000

Kind: TypeAlias = Literal["lively", "quiet", "untraded", "delisted"]
"""`lively` products are traded; `quiet` ones a hundredth as often; `untraded` ones have a book and never a trade;
`delisted` ones are known to REST alone."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_NUMBER = re.compile(r"[0-9]{1,9}")
_PRODUCT_ID = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")


class Product(msgspec.Struct, frozen=True):
    """A product, with its prices as whole numbers of the smallest step.

    Attributes:
        product_id: Base and quote currency, as in `BTC-USD`.
        price_decimals: One price step is 10 to the power of minus this, in the quote currency.
        reference_price: About where its market starts, in price steps.
        kind: What becomes of it.
    """

    product_id: str
    price_decimals: int
    reference_price: int
    kind: Kind = "lively"


def products_named(names: Iterable[str]) -> list[Product]:
    """The products with these names, in this order, each once; of a repeated one, what was said first.

    A name is a product's id, or a number for so many made-up products, which come after the named ones. Behind it may
    stand what becomes of them: `OLD-USD:delisted`, `30:quiet`.

    Raises:
        ConfigError: A name is none of these, or there is no product at all.
    """
    named: dict[str, Product] = {}
    made_up: list[tuple[int, Kind]] = []
    for name in names:
        what, _, kind = name.partition(":")
        if (known := _kind(kind or "lively")) is None:
            raise ConfigError("products", f"{kind!r} is no kind of product", f"there are {', '.join(KINDS)}")
        if _NUMBER.fullmatch(what):
            made_up.append((int(what), known))
        else:
            named.setdefault(what, _product(what, OTHER_REFERENCE_PRICE, known))
    if sum(number for number, _ in made_up) > MOST_MADE_UP:
        raise ConfigError("products", "those are too many", f"at most {MOST_MADE_UP} are made up")
    others = _made_up(named)
    for number, kind in made_up:
        named.update((product_id, _product(product_id, price, kind)) for product_id, price in islice(others, number))
    if not named:
        raise ConfigError("products", "at least one is needed", "as in BTC-USD,ETH-USD")
    return list(named.values())


def _kind(name: str) -> Kind | None:
    return next((kind for kind in KINDS if kind == name), None)


def _made_up(taken: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Ids and prices without end: first those of which something is known, then such as `SIM001-USD`."""
    taken = frozenset(taken)
    yield from ((product_id, price) for product_id, price in REFERENCE_PRICES.items() if product_id not in taken)
    for number in count(1):
        product_id = f"SIM{number:03d}-{MADE_UP_QUOTES[number % len(MADE_UP_QUOTES)]}"
        if product_id not in taken:
            yield product_id, MADE_UP_PRICES[number % len(MADE_UP_PRICES)]


def _product(product_id: str, price: str, kind: Kind) -> Product:
    if not _PRODUCT_ID.fullmatch(product_id):
        raise ConfigError("products", f"{product_id!r} is no product id", "they look like BTC-USD")
    whole, _, fraction = REFERENCE_PRICES.get(product_id, price).partition(".")
    return Product(product_id, price_decimals=len(fraction), reference_price=int(whole + fraction), kind=kind)
