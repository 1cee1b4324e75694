"""Candles of trades: what was paid first, most, least and last in each interval, and how much was traded."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rxbridge.simulator.market import Trade


class Candle(msgspec.Struct):
    """One interval in which something was traded.

    Attributes:
        start: Its first second, since the Unix epoch: a multiple of its length.
        low: The lowest price, in price steps.
        high: The highest.
        open: The first.
        close: The last.
        volume: How much was traded, in size units.
    """

    start: int
    low: int
    high: int
    open: int
    close: int
    volume: int


def candles(newest_first: Iterable[Trade], seconds: int, *, first: int, last: int) -> list[Candle]:
    """The candles of some trades, the newest first; intervals without a trade have none.

    Args:
        newest_first: Trades whose times do not rise. Those before `first` are not looked at, but for one.
        seconds: How long an interval is.
        first: The start of the first interval that is wanted.
        last: The start of the last one.
    """
    made: list[Candle] = []
    for trade in newest_first:
        second = trade.time_ns // 1_000_000_000
        start = second - second % seconds
        if start < first:
            break
        if start > last:
            continue
        if not made or made[-1].start != start:
            made.append(Candle(start, trade.price, trade.price, trade.price, trade.price, 0))
        candle = made[-1]
        candle.low = min(candle.low, trade.price)
        candle.high = max(candle.high, trade.price)
        candle.open = trade.price
        candle.volume += trade.size
    return made
