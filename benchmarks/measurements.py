"""The operators that compute a number of each message, beside plain loops that read the same numbers."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import log1p, sqrt
from typing import Any, TypeAlias

from reactivex import Observable

from operators import (
    book_imbalance,
    candles,
    micro_price,
    mid,
    returns,
    spread,
    trade_flow_imbalance,
    volatility,
    vwap,
    zscore,
)
from operators._moments import nanoseconds
from operators._moving import MovingMoments
from operators.book_view import BookMessage, BookView
from operators.candle import Candle
from operators.measured import Measured
from operators.order_book import Level
from operators.testing import Quote, Trade, quote, trade
from operators.trade_flow_imbalance import Flow

View: TypeAlias = BookView[BookMessage]
Take: TypeAlias = Callable[[Any], None]
Measurement: TypeAlias = tuple[str, Callable[[Observable[Any]], Observable[Any]], Sequence[Any], Callable[..., None]]
"""A name, an operator, its items, and the loop that is given those and what takes the results."""

_DEPTH = 5
_WINDOW = 100
"""Values, or seconds of which each has a trade."""
_SPAN = _WINDOW * 1_000_000_000
_KEYS = 100


def measurements(count: int) -> list[Measurement]:
    """The operators that need no scheduler, each with as many items."""
    prices = [f"{50_000 + place % 89}.01" for place in range(count)]
    quotes = [quote(f"{50_000 + place % 89}.01", f"{50_000 + place % 97}.02", "0.5", "1.25") for place in range(count)]
    trades = [trade(price, "0.25", side="sell" if place % 3 else "buy", at=place) for place, price in enumerate(prices)]
    prices_of_keys = [(f"P{place % _KEYS}", price) for place, price in enumerate(prices)]
    numbers = [(f"P{place % _KEYS}", place % 101 / 7) for place in range(count)]
    views = [_view(place % 7 + 1) for place in range(count)]
    return [
        ("mid", mid(), quotes, _mid_loop),
        ("spread", spread(), quotes, _spread_loop),
        ("micro_price", micro_price(), quotes, _micro_price_loop),
        ("book_imbalance", book_imbalance(_DEPTH), views, _imbalance_loop),
        ("candles", candles(_WINDOW), trades, _candles_loop),
        ("vwap", vwap(_WINDOW), trades, _vwap_loop),
        ("trade_flow_imbalance", trade_flow_imbalance(_WINDOW), trades, _flow_loop),
        ("returns, log", returns(_second, _first, kind="log"), prices_of_keys, _returns_loop),
        ("volatility", volatility(_second, _first, count=_WINDOW), numbers, _volatility_loop),
        ("zscore", zscore(_second, _first, count=_WINDOW), numbers, _score_loop),
    ]


def _view(size: int) -> View:
    bids = tuple(Level(Decimal(99 - place), Decimal(f"{size}.{place}")) for place in range(10))
    asks = tuple(Level(Decimal(101 + place), Decimal(f"1.{place}")) for place in range(10))
    return BookView("BTC-USD", bids, asks, datetime(1970, 1, 1, tzinfo=UTC))


def _mid_loop(quotes: Iterable[Quote], take: Take) -> None:
    for item in quotes:
        bid, ask = Decimal(item.best_bid), Decimal(item.best_ask)
        if bid and ask and bid.is_finite() and ask.is_finite():
            take(Measured(item, (bid + ask) / 2))


def _spread_loop(quotes: Iterable[Quote], take: Take) -> None:
    for item in quotes:
        bid, ask = Decimal(item.best_bid), Decimal(item.best_ask)
        if bid and ask and bid.is_finite() and ask.is_finite():
            take(Measured(item, ask - bid))


def _micro_price_loop(quotes: Iterable[Quote], take: Take) -> None:
    for item in quotes:
        bid, bid_size = Decimal(item.best_bid), Decimal(item.best_bid_size)
        ask, ask_size = Decimal(item.best_ask), Decimal(item.best_ask_size)
        numbers = (bid, bid_size, ask, ask_size)
        if all(numbers) and all(number.is_finite() for number in numbers):
            take(Measured(item, (bid * ask_size + ask * bid_size) / (bid_size + ask_size)))


def _imbalance_loop(views: Iterable[View], take: Take) -> None:
    for view in views:
        bid = sum((level.size for level in view.bids[:_DEPTH]), Decimal())
        asked = sum((level.size for level in view.asks[:_DEPTH]), Decimal())
        take(Measured(view, float((bid - asked) / (bid + asked))))


def _first(item: tuple[str, Any]) -> str:
    return item[0]


def _second(item: tuple[str, Any]) -> Any:
    return item[1]


def _flow_loop(trades: Iterable[Trade], take: Take) -> None:
    windows: OrderedDict[str, tuple[deque[tuple[int, Decimal, bool]], list[Decimal]]] = OrderedDict()
    for item in trades:
        time, size, buys = nanoseconds(item.time), Decimal(item.size), item.taker_side == "buy"
        if size < 0 or not size.is_finite():
            continue
        key = item.product_id
        if key in windows:
            windows.move_to_end(key)
        else:
            windows[key] = deque(), [Decimal(), Decimal()]
        window, sums = windows[key]
        window.append((time, size, buys))
        sums[buys] += size
        while window[0][0] <= time - _SPAN:
            _, gone, bought = window.popleft()
            sums[bought] -= gone
        take(Flow(item, sums[1], sums[0], len(window)))


class _Minute:
    """A candle as one would keep it by hand, with the order of its trades."""

    def __init__(self, start: int, price: Decimal, size: Decimal, order: tuple[int, int]) -> None:
        self.start = start
        self.open = self.high = self.low = self.close = price
        self.first = self.last = order
        self.volume, self.turnover, self.trades = size, price * size, 1


def _candles_loop(trades: Iterable[Trade], take: Take) -> None:
    """Of trades that come in order: a late one would open a candle of the past again."""
    opened: OrderedDict[str, _Minute] = OrderedDict()
    for item in trades:
        time, price, size = nanoseconds(item.time), Decimal(item.price), Decimal(item.size)
        if size < 0 or not (size.is_finite() and price.is_finite()):
            continue
        start, order, key = time - time % _SPAN, (time, int(item.trade_id or 0)), item.product_id
        candle = opened.get(key)
        if candle is None or start > candle.start:
            if candle is not None:
                take(_closed(key, candle))
            opened[key] = _Minute(start, price, size, order)
            opened.move_to_end(key)
            continue
        opened.move_to_end(key)
        if order < candle.first:
            candle.open, candle.first = price, order
        if order >= candle.last:
            candle.close, candle.last = price, order
        candle.high, candle.low = max(candle.high, price), min(candle.low, price)
        candle.volume += size
        candle.turnover += price * size
        candle.trades += 1


def _closed(product: str, candle: _Minute) -> Candle:
    return Candle(
        product_id=product,
        start=candle.start,
        end=candle.start + _SPAN,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        turnover=candle.turnover,
        trades=candle.trades,
    )


def _vwap_loop(trades: Iterable[Trade], take: Take) -> None:
    windows: OrderedDict[str, tuple[deque[tuple[int, Decimal, Decimal]], list[Decimal]]] = OrderedDict()
    for item in trades:
        time, price, size = nanoseconds(item.time), Decimal(item.price), Decimal(item.size)
        if size < 0 or not (size.is_finite() and price.is_finite()):
            continue
        key = item.product_id
        if key in windows:
            windows.move_to_end(key)
        else:
            windows[key] = deque(), [Decimal(), Decimal()]
        window, sums = windows[key]
        window.append((time, size, price * size))
        sums[0] += size
        sums[1] += price * size
        while window[0][0] <= time - _SPAN:
            _, gone, turnover = window.popleft()
            sums[0] -= gone
            sums[1] -= turnover
        take(Measured(item, sums[1] / sums[0]))


def _returns_loop(prices: Iterable[tuple[str, str]], take: Take) -> None:
    last: OrderedDict[str, Decimal] = OrderedDict()
    for item in prices:
        price, key = Decimal(_second(item)), _first(item)
        if not price.is_finite() or price <= 0:
            continue
        before = last.get(key)
        last[key] = price
        last.move_to_end(key)
        if before is not None:
            take(Measured(item, log1p(float((price - before) / before))))


def _volatility_loop(numbers: Iterable[tuple[str, float]], take: Take) -> None:
    windows: OrderedDict[str, MovingMoments] = OrderedDict()
    for item in numbers:
        key, value = _first(item), _second(item)
        if key in windows:
            windows.move_to_end(key)
        else:
            windows[key] = MovingMoments(_WINDOW)
        windows[key].add(0, value)
        moments = windows[key].moments()
        if moments.number > 1:
            take(Measured(item, sqrt(moments.squares / (moments.number - 1))))


def _score_loop(numbers: Iterable[tuple[str, float]], take: Take) -> None:
    windows: OrderedDict[str, MovingMoments] = OrderedDict()
    for item in numbers:
        key, value = _first(item), _second(item)
        if key in windows:
            windows.move_to_end(key)
        else:
            windows[key] = MovingMoments(_WINDOW)
        windows[key].add(0, value)
        moments = windows[key].moments()
        if moments.number > 1 and moments.squares:
            take(Measured(item, (value - moments.mean) / sqrt(moments.squares / (moments.number - 1))))
