"""Candles of trades, by the trades' own time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._candle_market import Market, ReadTrade, Rules
from operators._exact import exact
from operators._moments import nanoseconds, span_of
from operators.candle import Candle, Timed

A = TypeVar("A", bound=Timed)


def candles(
    seconds: float,
    *,
    lateness: float = 0.0,
    revisions: int = 1,
    empty: int = 0,
    unfinished: bool = False,
    most_products: int = 10_000,
    offset: Callable[[A], int | None] | None = None,
    late: Callable[[A], None] | None = None,
    failed: Callable[[A, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[Candle]]:
    """Make candles of trades: open, high, low, close and volume of each product in each interval.

        source  1---3---2------4---9---5-|      prices; 9 came late, and belongs to the first ten ticks
                    candles(10)
        result  ---------------1-------1-4|     the candle that opened at 1, its revision, and the one that was open

    Time is that of the trades. A candle is closed by the first item of its product that is not older than its end,
    and `lateness` more: a trade, or any other that tells the time, such as a heartbeat or a `Tick`. Nothing else closes
    one: so the same trades make the same candles, live, in a replay, and after a restart. For a product that may be
    silent, merge heartbeats or ticks into the source. Intervals are counted from 1970, UTC, as Coinbase counts them
    (https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductcandles).

    A trade that comes after its candle was closed changes it, which is told again, with a higher `revision`, if it is
    one of the last `revisions` intervals; else it goes to `late`. Of a trade that comes twice both count: put `dedupe`
    before. The first trade of a candle is the one with the earliest time and, of those, the lowest `trade_id`.

    On completion or an error of the source, and if another product takes its place, an open candle is emitted as it is,
    with `is_closed` false.

    Laws:
        Each trade is in exactly one candle, or was told to `late` or `failed`: with revisions in the place of what they
        revise, the volumes add up to those of the trades.
        In whichever order the trades of the last `revisions` intervals come, the last revisions are the same.
        Candles of a product are closed in the order of their starts.
        Memory is `revisions` and the open candles, for each of `most_products`.

    Example:
        >>> import reactivex
        >>> from operators.testing import trade
        >>> trades = reactivex.of(trade(100, 1, at=0), trade(103, 2, at=59), trade(102, 1, at=61), trade(90, 1, at=7))
        >>> minutes = trades.pipe(candles(60))
        >>> _ = minutes.subscribe(lambda one: print(one.open, one.high, one.low, one.close, one.volume, one.revision))
        100 103 100 103 3 0
        100 103 90 103 4 1
        102 102 102 102 1 0

    Args:
        seconds: How long an interval is.
        lateness: How long after its end a candle stays open.
        revisions: How many intervals behind the newest closed one may still change.
        empty: How many candles in a row are made of intervals without a trade, between two that have some or up to a
            tick; the rest of a longer silence has none. 0 for none, as Coinbase does.
        unfinished: Whether a candle is also told after each of its trades, with `is_closed` false.
        most_products: How many products to know; the one that came the longest ago makes room for another.
        offset: Where a trade stands in whatever it is read from, see `Candle.holds`; by default `frame.offset`, which
            the messages of rxbridge have. 0 and None mean nowhere.
        late: Told of each trade that is too old. What it raises is the stream's error.
        failed: Told of each item that cannot be read, and why; the stream lives on without it. Without `failed`, the
            exception is the stream's error, and so is what it raises itself.

    Raises:
        ValueError: `seconds` or `most_products` is not positive, or another number is negative.
    """
    if lateness < 0 or revisions < 0 or empty < 0 or most_products < 1:
        raise ValueError(f"out of range: {lateness=}, {revisions=}, {empty=}, {most_products=}")
    span = span_of(seconds)
    rules = Rules(span, round(lateness * 1_000_000_000), revisions * span, empty, unfinished)
    place: Callable[[A], int | None] = offset if offset is not None else _frame_offset

    def operator(source: Observable[A]) -> Observable[Candle]:
        def subscribe(observer: ObserverBase[Candle], scheduler: SchedulerBase | None = None) -> DisposableBase:
            return _subscribe(
                source, observer, scheduler, Market(rules, most_products), partial(_take, place, late, failed)
            )

        return Observable(subscribe)

    return operator


def _subscribe(
    source: Observable[A],
    observer: ObserverBase[Candle],
    scheduler: SchedulerBase | None,
    market: Market,
    take: Callable[[Market, A], list[Candle]],
) -> DisposableBase:
    def on_next(item: A) -> None:
        try:
            made = take(market, item)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            on_error(error)
            return
        for candle in made:
            observer.on_next(candle)

    def on_error(error: Exception) -> None:
        for candle in market.unclosed():
            observer.on_next(candle)
        observer.on_error(error)

    def on_completed() -> None:
        for candle in market.unclosed():
            observer.on_next(candle)
        observer.on_completed()

    return source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)


def _take(
    place: Callable[[A], int | None],
    late: Callable[[A], None] | None,
    failed: Callable[[A, Exception], None] | None,
    market: Market,
    item: A,
) -> list[Candle]:
    """What an item makes."""
    trade = None
    try:
        time = nanoseconds(item.time)
        if hasattr(item, "price"):
            trade = _read(item, time, place(item))
    except Exception as error:
        if failed is None:
            raise
        failed(item, error)
        return []
    if trade is None:
        return market.tick(item.product_id, time)
    made = market.trade(item.product_id, trade)
    if made is None:
        if late is not None:
            late(item)
        return []
    return made


def _read(item: Any, time: int, offset: int | None) -> ReadTrade:
    """A trade of whatever has a price.

    Raises:
        ValueError: A number is none, or the size is negative.
        TypeError: Likewise.
        AttributeError: It has no size.
    """
    size = exact(item.size)
    if size < 0:
        raise ValueError(f"a negative size: {size}")
    trade_id = getattr(item, "trade_id", None)
    return ReadTrade((time, 0 if trade_id is None else int(trade_id)), exact(item.price), size, offset or None)


def _frame_offset(item: Any) -> int | None:
    """Where the frame of a message stands in the journal; None if there is no such thing."""
    return getattr(getattr(item, "frame", None), "offset", None)
