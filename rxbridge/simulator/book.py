"""One product's order book: orders come and go around the price, and trades take them away.

Nothing here knows of sockets, clocks or the forms on any wire. The same calls with the same random numbers make the
same book, to the last digit.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Literal, NamedTuple, TypeAlias

Side: TypeAlias = Literal["buy", "sell"]

DEPTH = 50
"""Levels a side, unless something else is said."""

LEVEL_SPACING = 3e-5
"""How far apart two levels are on average, as a part of the price."""

RESIZED = 0.55
"""How likely what happens to the orders of a book changes the size of a level."""

WITHDRAWN = 0.25
"""How likely it removes one. Else there is a new one."""

IMPROVED = 0.15
"""How likely a new level is a better price than the best of its side, where the spread has room for one."""


class Level(NamedTuple):
    """A price in price steps, and how much is there in size units."""

    price: int
    size: int


class Change(NamedTuple):
    """What is at a price from now on, the whole of it; 0 if the level is gone."""

    side: Side
    price: int
    size: int


class _Levels:
    """One side: its prices in order, of which the best is the last, where it costs nothing to come and go."""

    __slots__ = ("_keys", "_sign", "_sizes")

    def __init__(self, side: Side) -> None:
        self._sign = 1 if side == "buy" else -1
        self._keys: list[int] = []
        self._sizes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def size(self, price: int) -> int:
        return self._sizes.get(price, 0)

    def best(self) -> int:
        return self._keys[-1] * self._sign

    def worst(self) -> int:
        return self._keys[0] * self._sign

    def at(self, place: int) -> int:
        """The price in this place, counted from the best, which is 0."""
        return self._keys[-1 - place] * self._sign

    def set(self, price: int, size: int) -> None:
        key = price * self._sign
        if not size:
            if price in self._sizes:
                del self._sizes[price]
                del self._keys[bisect_left(self._keys, key)]
        else:
            if price not in self._sizes:
                insort(self._keys, key)
            self._sizes[price] = size

    def beyond(self, price: int) -> list[int]:
        """The prices that are better than this one, the best first."""
        keys = self._keys
        if not keys or keys[-1] <= price * self._sign:
            return []
        return [key * self._sign for key in reversed(keys[bisect_left(keys, price * self._sign + 1) :])]

    def levels(self, most: int | None) -> list[Level]:
        count = len(self._keys) if most is None else min(most, len(self._keys))
        return [Level(price, self._sizes[price]) for price in (self.at(place) for place in range(count))]


class Watch:
    """The levels of one book that have changed, each once, since somebody last asked."""

    def __init__(self, book: Book) -> None:
        """Begin to watch; `Book.watch` does that."""
        self._book = book
        self.changed: dict[tuple[Side, int], None] = {}

    def take(self) -> list[Change]:
        """What has changed since the last call, in the order of the first change of each level.

        Applied as a whole to the book of that time, these make the book of now. A level that came and went meanwhile
        is told as gone, though it was not there then: that happens on the real feed, too.
        """
        changes = [Change(side, price, self._book.size(side, price)) for side, price in self.changed]
        self.changed.clear()
        return changes


class Book:
    """Bids and asks by price, never crossed, and never without a bid and an ask.

    Prices are in price steps, sizes in size units; both are 1 at least. The bids are the side `buy`.
    """

    def __init__(
        self,
        random: Random,
        *,
        bid: int,
        ask: int,
        size_at: Callable[[int], int],
        depth: int = DEPTH,
        resized: Callable[[Side, int, int, int], None] | None = None,
    ) -> None:
        """Fill a book.

        Args:
            random: Where orders come and go, and how large they are. The book's own.
            bid: The best bid.
            ask: The best ask, above it.
            size_at: Makes up the size of what is newly offered at a price.
            depth: How many levels a side has, about; fewer bids where there are not so many prices above 0.
            resized: Is told of every change but what `take` takes: the side, the price, the size before and after.
        """
        self._random = random
        self._depth = max(1, depth)
        self._size_at = size_at
        self._sides: dict[Side, _Levels] = {"buy": _Levels("buy"), "sell": _Levels("sell")}
        self._bids, self._asks = self._sides["buy"], self._sides["sell"]
        self._watches: list[Watch] = []
        self._resized = resized
        self.quote(bid, ask)

    @property
    def best_bid(self) -> Level:
        """The highest bid."""
        price = self._bids.best()
        return Level(price, self._bids.size(price))

    @property
    def best_ask(self) -> Level:
        """The lowest ask."""
        price = self._asks.best()
        return Level(price, self._asks.size(price))

    def levels(self, side: Side, most: int | None = None) -> list[Level]:
        """The levels of a side, the best first; `most` of them, or all."""
        return self._sides[side].levels(most)

    def size(self, side: Side, price: int) -> int:
        """How much is there; 0 if nothing."""
        return self._sides[side].size(price)

    def watch(self) -> Watch:
        """Be told of changes from now on, until `unwatch`."""
        watch = Watch(self)
        self._watches.append(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """No longer collect changes for this one."""
        self._watches.remove(watch)

    def quote(self, bid: int, ask: int) -> None:
        """Orders come and go, so that these are the best prices.

        Raises:
            ValueError: They cross, or are below 1.
        """
        if not 1 <= bid < ask:
            raise ValueError(f"a bid of {bid} and an ask of {ask} make no book")
        self._withdraw("buy", self._bids.beyond(bid))
        self._withdraw("sell", self._asks.beyond(ask))
        best: dict[Side, int] = {"buy": bid, "sell": ask}
        for side, price in best.items():
            if not self._sides[side].size(price):
                self._set(side, price, self._size_at(price))
            self._level_out(side)

    def expect(self, side: Side, matches: Sequence[tuple[int, int]]) -> None:
        """Orders come and go, so that an order can match these of a side, one after the other, each at the best price.

        What it goes beyond will be used up; of the last price, something may be left.

        Args:
            side: Whose orders will be matched: the makers'.
            matches: Price and size of each, from the best price outwards.
        """
        levels = self._sides[side]
        totals: dict[int, int] = {}
        for price, size in matches:
            totals[price] = totals.get(price, 0) + size
        last = matches[-1][0]
        self._withdraw(side, [price for price in levels.beyond(last) if price not in totals])
        for price, total in totals.items():
            self._set(side, price, total)
        if levels.worst() == last or self._random.random() < RESIZED:
            self._set(side, last, totals[last] + self._size_at(last))

    def take(self, side: Side, price: int, size: int) -> None:
        """An order takes this much of the best level of a side.

        Raises:
            ValueError: That is not the best price, or there is less than that, or nothing would be left of the side.
        """
        levels = self._sides[side]
        left = levels.size(price) - size
        if price != levels.best() or left < 0:
            raise ValueError(f"{size} at {price} cannot be had: the best is {levels.levels(1)[0]}")
        if not left and len(levels) == 1:
            raise ValueError("it is the last level of its side")
        self._put(side, price, left)
        if not left:
            self._fill(side)

    def stir(self, times: int) -> None:
        """Let so many orders come and go, near the best prices more often than far from them."""
        random = self._random
        for _ in range(times):
            side: Side = "buy" if random.random() < 0.5 else "sell"  # noqa: PLR2004  (a coin)
            levels = self._sides[side]
            dice = random.random()
            place = min(int(random.expovariate(8 / self._depth)), len(levels) - 1)
            if dice < RESIZED:
                price = levels.at(place)
                self._set(side, price, self._size_at(price))
            elif dice < RESIZED + WITHDRAWN:
                if len(levels) > 1:
                    self._set(side, levels.at(place), 0)
            else:
                self._offer(side)
            self._level_out(side)

    def _offer(self, side: Side) -> None:
        """A new level, or more at one that there is."""
        levels = self._sides[side]
        away = 1 if side == "sell" else -1
        room = self._asks.best() - self._bids.best() - 1
        if room > 0 and self._random.random() < IMPROVED:
            price = levels.best() - away * self._random.randint(1, room)
        else:
            price = levels.best() + away * self._gap(levels.best(), self._depth / 8)
        if price >= 1:
            self._set(side, price, levels.size(price) + self._size_at(price))

    def _level_out(self, side: Side) -> None:
        """Give a side its depth, at its far end: nobody looks there."""
        levels = self._sides[side]
        while len(levels) > self._depth:
            self._set(side, levels.worst(), 0)
        self._fill(side)

    def _fill(self, side: Side) -> None:
        levels = self._sides[side]
        away = 1 if side == "sell" else -1
        while len(levels) < self._depth:
            price = levels.worst() + away * self._gap(levels.worst())
            if price < 1:
                break
            self._set(side, price, self._size_at(price))

    def _gap(self, price: int, times: float = 1.0) -> int:
        return 1 + int(self._random.expovariate(1.0) * LEVEL_SPACING * price * times)

    def _withdraw(self, side: Side, prices: Iterable[int]) -> None:
        for price in prices:
            self._set(side, price, 0)

    def _set(self, side: Side, price: int, size: int) -> None:
        before = self._sides[side].size(price)
        if before == size:
            return
        if self._resized is not None:
            self._resized(side, price, before, size)
        self._put(side, price, size)

    def _put(self, side: Side, price: int, size: int) -> None:
        self._sides[side].set(price, size)
        for watch in self._watches:
            watch.changed[side, price] = None
