"""The part of Coinbase's Exchange REST API that a client of the feed needs: products, trades and the time.

After https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api; the texts of the refusals of bad parameters
are the simulator's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from urllib.parse import parse_qs, urlsplit

import msgspec

from rxbridge.simulator import wire
from rxbridge.simulator.market import Market

MOST_TRADES_A_PAGE = 1000


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer with a JSON body."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


TOO_MANY_REQUESTS = Answer(429, b'{"message":"Public rate limit exceeded"}')
INTERNAL_ERROR = Answer(500, b'{"message":"Internal server error"}')
NO_TRADES = Answer(200, b"[]")
METHOD_NOT_ALLOWED = Answer(405, b'{"message":"MethodNotAllowed"}', {"Allow": "GET"})


class _Product(msgspec.Struct):
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


class _Time(msgspec.Struct):
    iso: str
    epoch: float


def answer(target: str, *, products: AbstractSet[str], markets: Mapping[str, Market], now_ns: int) -> Answer:
    """Answer a GET.

    Args:
        target: Path and query of the request.
        products: The products there are.
        markets: Those that have a market, and so trades to list.
        now_ns: The time: nanoseconds since the Unix epoch.
    """
    url = urlsplit(target)
    match url.path.strip("/").split("/"):
        case ["time"]:
            return _json(_Time(iso=wire.timestamp(now_ns), epoch=now_ns / 1_000_000_000))
        case ["products"]:
            return _json([_product(product_id, markets.get(product_id)) for product_id in sorted(products)])
        case ["products", product_id] if product_id in products:
            return _json(_product(product_id, markets.get(product_id)))
        case ["products", product_id, "trades"] if product_id in markets:
            return _trades(markets[product_id], url.query)
        case _:
            return _refused(404, "NotFound")


def trades_asked_for(target: str) -> str | None:
    """The product whose trades a GET is about; None if it is about something else."""
    match urlsplit(target).path.strip("/").split("/"):
        case ["products", product_id, "trades"]:
            return product_id
        case _:
            return None


def _product(product_id: str, market: Market | None) -> _Product:
    base, _, quote = product_id.partition("-")
    smallest_size = wire.padded(1, wire.SIZE_DECIMALS)
    return _Product(
        id=product_id,
        base_currency=base,
        quote_currency=quote,
        # A recording does not tell the price step; the finest one contradicts no price.
        quote_increment=smallest_size if market is None else wire.padded(1, market.product.price_decimals),
        base_increment=smallest_size,
        display_name=f"{base}-{quote}",
    )


def _trades(market: Market, query: str) -> Answer:
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    numbers: dict[str, int] = {}
    for name in ("limit", "before", "after"):
        if (value := given.get(name)) is not None:
            if not (value.isascii() and value.isdigit()) or (name == "limit" and int(value) == 0):
                return _refused(400, f"Invalid {name}")
            numbers[name] = int(value)
    page = market.page(
        limit=min(numbers.get("limit", MOST_TRADES_A_PAGE), MOST_TRADES_A_PAGE),
        before=numbers.get("before"),
        after=numbers.get("after"),
    )
    # The newest id leads to newer pages, the oldest to older ones.
    cursors = {"CB-BEFORE": str(page[0].trade_id), "CB-AFTER": str(page[-1].trade_id)} if page else {}
    return _json([wire.rest_trade(market.product, trade) for trade in page], cursors)


def _json(value: object, headers: dict[str, str] | None = None) -> Answer:
    return Answer(200, msgspec.json.encode(value), headers or {})


def _refused(status: int, message: str) -> Answer:
    return Answer(status, msgspec.json.encode({"message": message}))
