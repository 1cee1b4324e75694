"""The candles of all products that may still change."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from operators._exact import EXACT
from operators._per_key import PerKey
from operators.candle import Candle

_NOTHING = Decimal()


@dataclass(frozen=True, slots=True)
class Rules:
    """The arguments, in nanoseconds."""

    span: int
    grace: int
    revisable: int
    empty: int
    unfinished: bool


class ReadTrade(NamedTuple):
    """A trade as it is read; `order` is its time and its id."""

    order: tuple[int, int]
    price: Decimal
    size: Decimal
    offset: int | None

    @property
    def time(self) -> int:
        """In nanoseconds since 1970."""
        return self.order[0]


class _Building:
    """A candle that may still change."""

    __slots__ = (
        *("close", "first", "high", "last", "low", "offset", "open"),
        *("revision", "start", "trades", "turnover", "volume"),
    )

    def __init__(self, start: int, price: Decimal) -> None:
        self.start = start
        self.open = self.high = self.low = self.close = price
        self.first = self.last = (0, 0)
        self.volume = self.turnover = _NOTHING
        self.trades = 0
        self.revision = 0
        self.offset: int | None = None

    def add(self, trade: ReadTrade) -> None:
        price = trade.price
        if not self.trades:
            self.open = self.high = self.low = self.close = price
            self.first = self.last = trade.order
        else:
            if trade.order < self.first:
                self.open, self.first = price, trade.order
            if trade.order >= self.last:
                self.close, self.last = price, trade.order
            self.high, self.low = max(self.high, price), min(self.low, price)
        self.trades += 1
        self.volume = EXACT.add(self.volume, trade.size)
        self.turnover = EXACT.fma(price, trade.size, self.turnover)
        if trade.offset is not None and (self.offset is None or trade.offset < self.offset):
            self.offset = trade.offset

    def told(self, product_id: str | None, span: int, *, is_closed: bool, holds: int | None) -> Candle:
        """As it is now."""
        return Candle(
            product_id=product_id,
            start=self.start,
            end=self.start + span,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            turnover=self.turnover,
            trades=self.trades,
            revision=self.revision,
            is_closed=is_closed,
            holds=holds,
        )


class _Needed:
    """The smallest offset of all candles that may still change, if it is known."""

    __slots__ = ("is_known", "since")

    def __init__(self) -> None:
        self.is_known = True
        self.since: int | None = None


class _Product:
    """The candles of one product that may still change; those that start before `closed_to` are closed."""

    __slots__ = ("_needed", "candles", "closed_to", "empties", "id", "newest", "price")

    def __init__(self, product: Hashable, needed: _Needed) -> None:
        self.id: Any = product
        self._needed = needed
        self.candles: dict[int, _Building] = {}
        self.closed_to: int | None = None
        self.newest = 0
        self.price: Decimal | None = None
        self.empties = 0

    def add(self, trade: ReadTrade, rules: Rules) -> _Building | None:
        """The candle that the trade has changed; None if it comes too late."""
        start = trade.time - trade.time % rules.span
        if self.closed_to is None:
            # What would still be open if there had been a trade before.
            self.closed_to = (trade.time - rules.grace) // rules.span * rules.span
        elif start < self.closed_to - rules.revisable:
            return None
        candle = self.candles.get(start)
        if candle is None:
            candle = self.candles[start] = _Building(start, trade.price)
        before = candle.offset
        candle.add(trade)
        if candle.offset != before:
            self._needed.is_known = False
        return candle

    def close(self, now: int, rules: Rules) -> list[_Building]:
        """Those that have ended by now, in order, with empty ones in between; what can change no more is forgotten."""
        self.newest = max(self.newest, now)
        end = (self.newest - rules.grace) // rules.span * rules.span
        closed: list[_Building] = []
        before = self.closed_to
        while self.closed_to is not None and self.closed_to < end:
            candle = self.candles.get(self.closed_to)
            if candle is not None:
                self.price, self.empties = candle.close, 0
            elif self.price is not None and self.empties < rules.empty:
                self.empties += 1
                candle = self.candles[self.closed_to] = _Building(self.closed_to, self.price)
            if candle is not None:
                closed.append(candle)
                self.closed_to += rules.span
            else:
                # On to the next interval that has trades.
                self.closed_to = min([start for start in self.candles if start > self.closed_to], default=end)
                self.closed_to = min(self.closed_to, end)
        if self.closed_to is not None and self.closed_to != before:
            oldest = self.closed_to - rules.revisable
            for start in [start for start in self.candles if start < oldest]:
                del self.candles[start]
                self._needed.is_known = False
        return closed


class Market:
    """All products, and the candles that an item makes."""

    def __init__(self, rules: Rules, most_products: int) -> None:
        self._rules = rules
        self._left: list[tuple[_Product, _Building, bool]] = []
        self._needed = _Needed()
        self._products = PerKey(lambda product: _Product(product, self._needed), most_products, self._leave)
        self._known: dict[Hashable, _Product] = {}

    def trade(self, product_id: str | None, trade: ReadTrade) -> list[Candle] | None:
        """What a trade makes; None if it comes too late."""
        rules = self._rules
        product = self._product(product_id)
        candle = product.add(trade, rules)
        if candle is None:
            return None
        closed_to = product.closed_to or 0
        made = [(product, candle, True)] if candle.start < closed_to else []
        made += [(product, one, True) for one in product.close(trade.time, rules)]
        if rules.unfinished and candle.start >= (product.closed_to or 0):
            made.append((product, candle, False))
        return self._told(made)

    def tick(self, product_id: str | None, now: int) -> list[Candle]:
        """What the time makes that has come for a product; None for all."""
        if product_id is None:
            products = list(self._known.values())
        else:
            products = [self._known[product_id]] if product_id in self._known else []
        return self._told([(product, one, True) for product in products for one in product.close(now, self._rules)])

    def unclosed(self) -> list[Candle]:
        """The open candles, as they are."""
        return self._told([one for product in self._known.values() for one in _open(product)])

    def _product(self, product_id: str | None) -> _Product:
        product = self._products.of(product_id)
        self._known[product_id] = product
        return product

    def _leave(self, product: _Product) -> None:
        del self._known[product.id]
        self._needed.is_known = False
        self._left += _open(product)

    def _needed_from(self) -> int | None:
        """The smallest offset of all candles that may still change. There may be thousands, so it is remembered."""
        needed = self._needed
        if not needed.is_known:
            offsets = [one.offset for product in self._known.values() for one in product.candles.values()]
            needed.since = min([offset for offset in offsets if offset is not None], default=None)
            needed.is_known = True
        return needed.since

    def _told(self, made: list[tuple[_Product, _Building, bool]]) -> list[Candle]:
        """As they are emitted, after those of products that had to make room."""
        made, self._left = self._left + made, []
        if not made:
            return []
        holds = self._needed_from()
        told: list[Candle] = []
        # From the last to the first, since one is safe only when those behind it, which need their trades too, are.
        for product, building, is_closed in reversed(made):
            told.append(building.told(product.id, self._rules.span, is_closed=is_closed, holds=holds))
            if building.offset is not None:
                holds = building.offset if holds is None else min(holds, building.offset)
        told.reverse()
        for _, building, is_closed in made:
            building.revision += is_closed
        return told


def _open(product: _Product) -> list[tuple[_Product, _Building, bool]]:
    """The candles of a product that are not closed, in order, as `_told` takes them."""
    return [
        (product, candle, False)
        for start, candle in sorted(product.candles.items())
        if start >= (product.closed_to or 0)
    ]
