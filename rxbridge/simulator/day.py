"""The statistics of the last 24 hours that every ticker carries."""

from __future__ import annotations

import math
from collections import deque
from random import Random

import msgspec

INTERVAL_NS = 5 * 60 * 1_000_000_000
INTERVALS_A_DAY = 24 * 60 // 5

INTERVAL_VOLATILITY = 0.001
"""The standard deviation of the logarithmic price change over one interval before the market opened."""


class _Interval(msgspec.Struct):
    number: int
    open: int
    high: int
    low: int
    volume: int


class Day:
    """Open, high, low and volume over a window of 24 hours, which moves in steps of five minutes.

    Prices are in price steps, volumes in size units. Always `low <= open <= high`, and the same for the price added
    last.
    """

    def __init__(self, random: Random, opening_price: int, interval_volume: float, now_ns: int) -> None:
        """Make up a day that ends at `opening_price` now, with about `interval_volume` traded in each interval."""
        self._intervals: deque[_Interval] = deque()
        number = now_ns // INTERVAL_NS
        close = opening_price
        for back in range(INTERVALS_A_DAY):
            start = max(1, round(close * math.exp(random.gauss(0.0, INTERVAL_VOLATILITY))))
            wick = 1.0 + abs(random.gauss(0.0, INTERVAL_VOLATILITY / 2))
            self._intervals.appendleft(
                _Interval(
                    number=number - back,
                    open=start,
                    high=round(max(start, close) * wick),
                    low=max(1, math.floor(min(start, close) / wick)),
                    volume=max(1, round(interval_volume * random.expovariate(1.0))),
                )
            )
            close = start
        self._total()

    def add(self, price: int, size: int, time_ns: int) -> None:
        """Count a trade in; times never go back."""
        number = time_ns // INTERVAL_NS
        if number > self._intervals[-1].number:
            self._move(number, price)
        interval = self._intervals[-1]
        interval.high = max(interval.high, price)
        interval.low = min(interval.low, price)
        interval.volume += size
        self.high: int = max(self.high, price)
        self.low: int = min(self.low, price)
        self.volume += size

    def _move(self, number: int, price: int) -> None:
        self._intervals.append(_Interval(number=number, open=price, high=price, low=price, volume=0))
        while self._intervals[0].number <= number - INTERVALS_A_DAY:
            self._intervals.popleft()
        self._total()

    def _total(self) -> None:
        self.open: int = self._intervals[0].open
        self.high = max(interval.high for interval in self._intervals)
        self.low = min(interval.low for interval in self._intervals)
        self.volume: int = sum(interval.volume for interval in self._intervals)
