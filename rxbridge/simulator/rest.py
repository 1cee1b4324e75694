"""The part of Coinbase's Exchange REST API that a client of the feed needs: products, trades, books and candles.

After https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api; the texts of the refusals of bad parameters
are the simulator's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import msgspec

from rxbridge.simulator import wire
from rxbridge.simulator.book import Level
from rxbridge.simulator.candles import candles
from rxbridge.simulator.listing import RestProduct, rest_product
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import SIZE_DECIMALS, Product

MOST_TRADES_A_PAGE = 1000

MOST_CANDLES = 300

GRANULARITIES = frozenset({60, 300, 900, 3600, 21600, 86400})

ROUTES = {
    "/products": "every product, also those that are delisted",
    "/products/{id}": "one product",
    "/products/{id}/trades": "limit, before, after; headers CB-BEFORE, CB-AFTER",
    "/products/{id}/book": "level=1, the best bid and ask, or level=2, all of them",
    "/products/{id}/candles": "granularity, start, end; at most 300",
    "/time": "the time",
}
"""What can be asked for, and how."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer with a JSON body."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


TOO_MANY_REQUESTS = Answer(429, b'{"message":"Public rate limit exceeded"}')
INTERNAL_ERROR = Answer(500, b'{"message":"Internal server error"}')
NO_TRADES = Answer(200, b"[]")
UNAUTHENTICATED = Answer(401, b'{"message":"CB-ACCESS-KEY header is required"}')
METHOD_NOT_ALLOWED = Answer(405, b'{"message":"MethodNotAllowed"}', {"Allow": "GET"})


class _Book(msgspec.Struct):
    bids: list[tuple[str, str, int]]
    asks: list[tuple[str, str, int]]
    sequence: int
    time: str
    auction_mode: bool = False
    auction: None = None


class _Time(msgspec.Struct):
    iso: str
    epoch: float


def answer(
    target: str,
    *,
    products: AbstractSet[str],
    markets: Mapping[str, Market],
    delisted: Mapping[str, Product],
    now_ns: int,
) -> Answer:
    """Answer a GET.

    Args:
        target: Path and query of the request.
        products: The products there are.
        markets: Those that have a market, and so trades to list.
        delisted: Products that are no longer traded, of which no trades are kept.
        now_ns: The time: nanoseconds since the Unix epoch.
    """
    url = urlsplit(target)
    match url.path.strip("/").split("/"):
        case ["time"]:
            return _json(_Time(iso=wire.timestamp(now_ns), epoch=now_ns / 1_000_000_000))
        case ["products"]:
            listed = sorted(products | delisted.keys())
            return _json([_product(product_id, markets, delisted) for product_id in listed])
        case ["products", product_id] if product_id in products or product_id in delisted:
            return _json(_product(product_id, markets, delisted))
        case ["products", product_id, what] if product_id in markets:
            given = {name: values[-1] for name, values in parse_qs(url.query).items()}
            return _of_market(markets[product_id], what, given, now_ns)
        case ["products", product_id, "trades" | "candles" | "book" as what] if product_id in delisted:
            return _json(_Book([], [], 0, wire.timestamp(now_ns))) if what == "book" else NO_TRADES
        case _:
            return NOT_FOUND


def _of_market(market: Market, what: str, given: Mapping[str, str], now_ns: int) -> Answer:
    match what:
        case "trades":
            return _trades(market, given)
        case "book":
            return _book(market, given.get("level", "1"), now_ns)
        case "candles":
            return _candles(market, given, now_ns)
        case _:
            return NOT_FOUND


def trades_asked_for(target: str) -> str | None:
    """The product whose trades a GET is about; None if it is about something else."""
    match urlsplit(target).path.strip("/").split("/"):
        case ["products", product_id, "trades"]:
            return product_id
        case _:
            return None


def _product(product_id: str, markets: Mapping[str, Market], delisted: Mapping[str, Product]) -> RestProduct:
    if product_id in delisted:
        return rest_product(product_id, price_decimals=delisted[product_id].price_decimals, delisted=True)
    if product_id in markets:
        return rest_product(product_id, price_decimals=markets[product_id].product.price_decimals)
    # A recording does not tell the price step.
    return rest_product(product_id)


def _trades(market: Market, given: Mapping[str, str]) -> Answer:
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


def _book(market: Market, level: str, now_ns: int) -> Answer:
    """The book as it is now; the channel `level2_batch` may tell the latest changes a little later."""
    if level == "3":
        return UNAUTHENTICATED
    if level not in {"1", "2"}:
        return _refused(400, "Invalid level")
    most = 1 if level == "1" else None
    bids, asks = (_levels(market.product, market.book.levels(side, most)) for side in ("buy", "sell"))
    return _json(_Book(bids, asks, market.sequence, wire.timestamp(now_ns)))


def _levels(product: Product, levels: list[Level]) -> list[tuple[str, str, int]]:
    """Price, size and number of orders, of which the book knows nothing: one to five are made up, always the same."""
    return [
        (wire.padded(price, product.price_decimals), wire.padded(size, SIZE_DECIMALS), 1 + size % 5)
        for price, size in levels
    ]


def _candles(market: Market, given: Mapping[str, str], now_ns: int) -> Answer:
    """Numbers, not text: time, low, high, open, close, volume; the newest first, and none where nothing was traded."""
    granularity = given.get("granularity", "60")
    if not (granularity.isascii() and granularity.isdigit()) or int(granularity) not in GRANULARITIES:
        return _refused(400, "Unsupported granularity")
    seconds = int(granularity)
    try:
        end = _second(given["end"]) if "end" in given else now_ns // 1_000_000_000
        start = _second(given["start"]) if "start" in given else end - (MOST_CANDLES - 1) * seconds
    except ValueError:
        return _refused(400, "Invalid start or end")
    if end - start > MOST_CANDLES * seconds:
        return _refused(
            400,
            "granularity too small for the requested time range. "
            f"Count of aggregations requested exceeds {MOST_CANDLES}",
        )
    made = candles(market.newest_first(), seconds, first=start - start % seconds, last=end)[:MOST_CANDLES]
    price, size = 10.0**market.product.price_decimals, 10.0**SIZE_DECIMALS
    return _json(
        [
            (one.start, one.low / price, one.high / price, one.open / price, one.close / price, one.volume / size)
            for one in made
        ]
    )


def _second(text: str) -> int:
    """Unix seconds, or a time as in ISO 8601, which without a zone is UTC.

    Raises:
        ValueError: It is neither.
    """
    if text.isascii() and text.isdigit():
        return min(int(text[:19]), 2**53)
    time = datetime.fromisoformat(text)
    return int((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp())


def _json(value: object, headers: dict[str, str] | None = None) -> Answer:
    return Answer(200, msgspec.json.encode(value), headers or {})


def _refused(status: int, message: str) -> Answer:
    return Answer(status, msgspec.json.encode({"message": message}))


NOT_FOUND = _refused(404, "NotFound")
