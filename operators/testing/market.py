"""Trades, quotes and books that are short to write, as marbles or alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, TypeAlias, cast

from operators.testing.timeline import Timeline, timeline

Number: TypeAlias = str | int | float | Decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Trade:
    """A trade as the exchange tells of it: numbers are decimal text, `time` is RFC 3339, `side` the maker's."""

    product_id: str
    price: str
    size: str
    side: str = "buy"
    trade_id: int | None = None
    time: str | None = None

    @property
    def taker_side(self) -> str | None:
        """The other one; None where the side is neither `buy` nor `sell`."""
        return {"buy": "sell", "sell": "buy"}.get(self.side)


@dataclass(frozen=True)
class Quote:
    """The best prices of a product: numbers are decimal text, `time` is RFC 3339."""

    product_id: str
    best_bid: str
    best_ask: str
    best_bid_size: str = "1"
    best_ask_size: str = "1"
    time: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """A whole order book: levels of price and size, decimal text."""

    product_id: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


@dataclass(frozen=True)
class Update:
    """What changes in a book: sides, prices and sizes, decimal text; a size of zero removes the level."""

    product_id: str
    changes: list[tuple[str, str, str]]


def trade(
    price: Number,
    size: Number = 1,
    *,
    product: str = "BTC-USD",
    side: str = "buy",
    trade_id: int | None = None,
    at: float | None = None,
) -> Trade:
    """A trade. `at` is its own time, in seconds since the epoch.

    Example:
        >>> trade(100, "0.5", side="sell")
        Trade(product_id='BTC-USD', price='100', size='0.5', side='sell', trade_id=None, time=None)
        >>> trade(100, at=1.5).time
        '1970-01-01T00:00:01.500000Z'
    """
    return Trade(product, str(price), str(size), side, trade_id, None if at is None else _rfc3339(at))


def quote(
    bid: Number,
    ask: Number,
    bid_size: Number = 1,
    ask_size: Number = 1,
    *,
    product: str = "BTC-USD",
    at: float | None = None,
) -> Quote:
    """A quote. `at` is its own time, in seconds since the epoch."""
    return Quote(product, str(bid), str(ask), str(bid_size), str(ask_size), None if at is None else _rfc3339(at))


def trades(
    marbles: str,
    /,
    *,
    product: str = "BTC-USD",
    tick: float = 1.0,
    delay: float = 0.0,
    error: Exception | None = None,
    **values: Number | tuple[Number, ...] | Mapping[str, Any] | Trade,
) -> Timeline[Trade]:
    """Trades as marbles, for `VirtualTime.cold` and `hot`.

    Those that have no time of their own have that of their marble, less `delay`; virtual time begins at the epoch.
    Those that have no id are numbered from 1, by product.

    Example:
        >>> for moment in trades("a-b--c|", a=100, b=(101, "0.5"), c={"price": 99, "side": "sell"}):
        ...     print(moment.time, getattr(moment.value, "price", None), getattr(moment.value, "time", None))
        0.0 100 1970-01-01T00:00:00.000000Z
        2.0 101 1970-01-01T00:00:02.000000Z
        5.0 99 1970-01-01T00:00:05.000000Z
        6.0 None None
        >>> [trade.price for trade in trades("100-101.5--99|").items]
        ['100', '101.5', '99']

    Args:
        marbles: The text; see `timeline`. Without values its items are prices.
        product: Of those that do not say.
        tick: Seconds for a character.
        delay: How many seconds a trade is under way.
        error: What `#` stands for.
        values: Each a price, a tuple of price and size, a mapping of the arguments of `trade`, or a `Trade`.

    Raises:
        ValueError: As `timeline`.
    """
    next_id: defaultdict[str, count[int]] = defaultdict(lambda: count(1))

    def complete(time: float, value: Any) -> Trade:
        made = value if isinstance(value, Trade) else trade(**_arguments(value, ("price", "size"), product))
        return replace(
            made,
            trade_id=next(next_id[made.product_id]) if made.trade_id is None else made.trade_id,
            time=made.time or _rfc3339(time - delay),
        )

    return timeline(marbles, values, tick=tick, error=error).map(complete)


def quotes(
    marbles: str,
    /,
    *,
    product: str = "BTC-USD",
    tick: float = 1.0,
    delay: float = 0.0,
    error: Exception | None = None,
    **values: tuple[Number, ...] | Mapping[str, Any] | Quote,
) -> Timeline[Quote]:
    """Quotes as marbles; as `trades`, but a value is a tuple of bid and ask (and their sizes), a mapping, or a `Quote`.

    Example:
        >>> [quote.best_ask for quote in quotes("a-b|", a=(99, 101), b=(100, 101.5, 3, 2)).items]
        ['101', '101.5']
    """

    def complete(time: float, value: Any) -> Quote:
        names = ("bid", "ask", "bid_size", "ask_size")
        made = value if isinstance(value, Quote) else quote(**_arguments(value, names, product))
        return replace(made, time=made.time or _rfc3339(time - delay))

    return timeline(marbles, values, tick=tick, error=error).map(complete)


def _arguments(value: Any, names: tuple[str, ...], product: str) -> dict[str, Any]:
    """The arguments that a value of the marbles stands for; how many and which they may be, the call checks."""
    if isinstance(value, Mapping):
        return {"product": product, **cast("Mapping[str, Any]", value)}
    given = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
    if len(given) > len(names):
        raise ValueError(f"more than {', '.join(names)}: {given}")
    return {"product": product, **dict(zip(names, given, strict=False))}


def _rfc3339(seconds: float) -> str:
    moment = _EPOCH + timedelta(seconds=seconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
