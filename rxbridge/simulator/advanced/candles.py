"""Candles of five minutes that grow with the trades."""

from __future__ import annotations

from collections.abc import Iterable

from rxbridge.simulator.candles import Candle
from rxbridge.simulator.market import Trade

SECONDS = 300

NANOSECONDS = SECONDS * 1_000_000_000


class Chart:
    """The newest candles of a market. Five minutes without a trade have none."""

    def __init__(self, *, most: int) -> None:
        """Begin with none.

        Args:
            most: How many are kept.
        """
        self._most = most
        self._candles: dict[int, Candle] = {}

    def add(self, trades: Iterable[Trade]) -> list[Candle]:
        """Count trades in, in the order in which they were made; the candles that this changed, the oldest first."""
        changed: dict[int, Candle] = {}
        for trade in trades:
            start = trade.time_ns // NANOSECONDS * SECONDS
            candle = self._candles.get(start)
            if candle is None:
                price = trade.price
                candle = Candle(start, low=price, high=price, open=price, close=price, volume=0)
                self._candles[start] = candle
            candle.high = max(candle.high, trade.price)
            candle.low = min(candle.low, trade.price)
            candle.close = trade.price
            candle.volume += trade.size
            changed[start] = candle
        while len(self._candles) > self._most:
            del self._candles[next(iter(self._candles))]
        return list(changed.values())

    def newest(self) -> list[Candle]:
        """Those that are kept, the oldest first."""
        return list(self._candles.values())
