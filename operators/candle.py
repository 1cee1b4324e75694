"""What candles are made of, and what they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from operators._exact import ROUNDED
from operators._moments import Moment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timed(Protocol):
    """What happened to a product, and when. If it has a `price` and a `size` too, it is a trade."""

    @property
    def product_id(self) -> str | None:
        """Which one; None for all, of what only tells the time."""
        ...

    @property
    def time(self) -> Moment | None:
        """When: RFC 3339 text, an aware datetime, or nanoseconds since 1970."""
        ...


@dataclass(frozen=True, slots=True)
class Tick:
    """Says how late it is, and nothing else: a candle that has ended by then is closed.

    Attributes:
        time: RFC 3339 text, an aware datetime, or nanoseconds since 1970.
        product_id: Of which product; None for all.
    """

    time: Moment
    product_id: str | None = None


@dataclass(frozen=True, slots=True)
class Candle:
    """What a product did in one interval; numbers are exact.

    Attributes:
        product_id: Which one.
        start: When the interval begins, which lasts until just before `end`: nanoseconds since 1970, a multiple of the
            interval.
        end: When the next one begins, likewise.
        open: Price of the first trade; of an empty candle, as the other prices, that of the last trade before.
        high: The highest.
        low: The lowest.
        close: Price of the last trade.
        volume: Sum of the sizes, in the base currency.
        turnover: Sum of the prices times the sizes, in the quote currency.
        trades: How many there were.
        revision: How often the candle was told when it was closed, before this time.
        is_closed: Whether its interval is over; else it is told as it is so far.
        holds: The smallest `offset` that was told of any trade of a candle that may still change, whatever its product:
            whoever begins there again, and passes over what has been told, makes the same candles from here on. Some of
            what is passed over is of fewer trades. None if there is no such candle, or offset.
    """

    product_id: str | None
    start: int
    end: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    trades: int
    revision: int = 0
    is_closed: bool = True
    holds: int | None = None

    @property
    def vwap(self) -> Decimal | None:
        """The average price, weighted by the sizes, to 28 digits; None where nothing was traded."""
        return ROUNDED.divide(self.turnover, self.volume) if self.volume else None

    @property
    def start_time(self) -> datetime:
        """`start` as a datetime, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.start // 1000)
