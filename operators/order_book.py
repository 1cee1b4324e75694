"""One product's order book: what is bid and asked, by price level, exactly."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal, FloatOperation, InvalidOperation
from operator import itemgetter
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

Side: TypeAlias = Literal["bid", "ask"]

SIDES: Mapping[str, Side] = MappingProxyType(
    {
        **dict.fromkeys(("buy", "BUY", "bid", "BID"), "bid"),
        **dict.fromkeys(("sell", "SELL", "offer", "OFFER", "ask", "ASK"), "ask"),
    }
)
"""What feeds call the sides: Coinbase Exchange says `buy` and `sell`, Advanced Trade `bid` and `offer`."""

# Reading takes this context and not the thread's, in which somebody may have turned these errors off. A float is
# refused: 0.1 is no exact price. The precision does not matter, since Decimal(...) never rounds.
_READING = Context(traps=[InvalidOperation, FloatOperation])

_key = itemgetter(0)


class Level(NamedTuple):
    """A price, and how much is bid or asked at it."""

    price: Decimal
    size: Decimal


class OrderBook:
    """Bids and asks by price level, from a snapshot and the updates that follow it. No thread but one at a time.

    Prices and sizes come as decimal text and are kept as exact Decimals: levels are told apart by the number and not
    by its writing, "1.50" being the same level as "1.5". A size is the whole of what is there from now on, not a
    change; zero, in any writing, removes the level. A price or size that is no finite number, a negative size and an
    unknown side are refused with ValueError, a float with TypeError, and then nothing at all of that snapshot or
    update was applied.

    Laws:
        The levels are those of a dict from price to size to which the same was written, without the zeros.
        `best_bid` is the highest bid, `best_ask` the lowest ask; both take no time. The levels of `top` are ordered
        from these outwards.
        A snapshot is an update of all its levels to an empty book; repeated, it changes nothing.
        A level costs an update O(log n) comparisons, and a move of up to n pointers if it is new or gone, which is
        nearly none close to the best. Memory is two Decimals a level: 10 MB for 46,000.

    Example:
        >>> book = OrderBook()
        >>> book.apply_snapshot(bids=[("9.5", "2"), ("9.4", "1")], asks=[("10.1", "3"), ("10.5", "4")])
        >>> book.apply_update([("buy", "9.50", "0.000"), ("sell", "10.0", "0.25"), ("sell", "77", "0")])
        >>> print(*book.best_bid, *book.best_ask)
        9.4 1 10.0 0.25
        >>> [str(ask.price) for ask in book.asks(2)]
        ['10.0', '10.1']
        >>> book.is_crossed, book.unknown_deletes
        (False, 1)

    Attributes:
        unknown_deletes: How many levels were to be removed, since the last snapshot, that were not there. Feeds do
            send such; many of them are a sign that book and feed have come apart.
    """

    __slots__ = ("_asks", "_bids", "_sides", "unknown_deletes")

    def __init__(self, sides: Mapping[str, Side] = SIDES) -> None:
        """Make an empty book.

        Args:
            sides: What the feed calls the sides.
        """
        self._sides = sides
        self._bids = _Bids()
        self._asks = _Asks()
        self.unknown_deletes: int = 0

    def apply_snapshot(self, bids: Iterable[Sequence[str]], asks: Iterable[Sequence[str]]) -> None:
        """Replace everything by these levels of (price, size), in any order; of one price, the last counts.

        Raises:
            ValueError: A level is not a pair, or not of finite numbers, or of a negative size.
            TypeError: A level is no sequence, or a number is neither text nor exact.
        """
        new_bids, new_asks = _Bids(), _Asks()
        new_bids.fill(bids)
        new_asks.fill(asks)
        self._bids, self._asks = new_bids, new_asks
        self.unknown_deletes = 0

    def apply_update(self, changes: Iterable[Sequence[str]]) -> None:
        """Apply changes of (side, price, size), one after the other.

        Raises:
            ValueError: A change is not a triple, or not of finite numbers, or of a negative size or an unknown side.
            TypeError: A change is no sequence, or a number is neither text nor exact.
        """
        # All of them are read before the first is applied.
        read = [(self._side(side), _price(price), _size(size)) for side, price, size in changes]
        for side, price, size in read:
            if not side.set(price, size):
                self.unknown_deletes += 1

    def clear(self) -> None:
        """Remove everything."""
        self.apply_snapshot((), ())

    @property
    def best_bid(self) -> Level | None:
        """The highest bid; None if there is none."""
        return self._bids.best()

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask; None if there is none."""
        return self._asks.best()

    @property
    def is_crossed(self) -> bool:
        """Whether a bid is as high as an ask, which no exchange leaves standing: book and feed have come apart."""
        bid, ask = self._bids.best(), self._asks.best()
        return bid is not None and ask is not None and bid.price >= ask.price

    def bids(self, most: int | None = None) -> tuple[Level, ...]:
        """The bids, the highest first; `most` of them, or all."""
        return self._bids.levels(most)

    def asks(self, most: int | None = None) -> tuple[Level, ...]:
        """The asks, the lowest first; `most` of them, or all."""
        return self._asks.levels(most)

    def top(self, most: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """The best `most` bids and asks, from the best outwards."""
        return self._bids.levels(most), self._asks.levels(most)

    def _side(self, name: str) -> _Levels:
        side = self._sides.get(name)
        if side is None:
            raise ValueError(f"no side of a book: {name!r}")
        return self._bids if side == "bid" else self._asks


class _Levels:
    """One side of a book: keys that ascend towards the best price, and the sizes beside them.

    Prices move at the best end, which is therefore the end of the lists, where it costs nearly nothing to insert or
    remove. A bisection of 23,000 keys takes half a microsecond, which no tree in Python comes near to.
    """

    __slots__ = ("_keys", "_sizes")

    def __init__(self) -> None:
        self._keys: list[Decimal] = []
        self._sizes: list[Decimal] = []

    @staticmethod
    def turn(number: Decimal) -> Decimal:
        """The key of a price, or the price of a key."""
        raise NotImplementedError

    def fill(self, levels: Iterable[Sequence[str]]) -> None:
        """Take the levels of a snapshot, this side being empty."""
        turn = self.turn
        read = [(turn(_price(price)), _size(size)) for price, size in levels]
        # Stable, so of one price the last one stays last; and fast, since snapshots come in order.
        read.sort(key=_key)
        keys, sizes = self._keys, self._sizes
        for key, size in read:
            if keys and keys[-1] == key:
                sizes[-1] = size
            else:
                keys.append(key)
                sizes.append(size)
        if not all(sizes):
            kept = [position for position, size in enumerate(sizes) if size]
            self._keys = [keys[position] for position in kept]
            self._sizes = [sizes[position] for position in kept]

    def set(self, price: Decimal, size: Decimal) -> bool:
        """Set the size at a price, or remove the level if it is zero; False if there was none to remove."""
        keys = self._keys
        key = self.turn(price)
        position = bisect_left(keys, key)
        known = position < len(keys) and keys[position] == key
        if size:
            if known:
                self._sizes[position] = size
            else:
                keys.insert(position, key)
                self._sizes.insert(position, size)
        elif known:
            del keys[position]
            del self._sizes[position]
        else:
            return False
        return True

    def best(self) -> Level | None:
        return Level(self.turn(self._keys[-1]), self._sizes[-1]) if self._keys else None

    def levels(self, most: int | None) -> tuple[Level, ...]:
        turn = self.turn
        first = 0 if most is None else max(len(self._keys) - most, 0)
        outwards = zip(reversed(self._keys[first:]), reversed(self._sizes[first:]), strict=True)
        return tuple(Level(turn(key), size) for key, size in outwards)


class _Bids(_Levels):
    __slots__ = ()

    @staticmethod
    def turn(number: Decimal) -> Decimal:
        return number


class _Asks(_Levels):
    __slots__ = ()

    @staticmethod
    def turn(number: Decimal) -> Decimal:
        return number.copy_negate()  # `-number` would be rounded to the precision of the thread's context


def _price(text: str) -> Decimal:
    price = _number(text)
    if not price.is_finite():
        raise ValueError(f"no price: {text!r}")
    return price


def _size(text: str) -> Decimal:
    size = _number(text)
    if not size.is_finite() or (size.is_signed() and size):
        raise ValueError(f"no size: {text!r}")
    return size


def _number(text: str) -> Decimal:
    try:
        return Decimal(text, _READING)
    except FloatOperation:
        raise TypeError(f"a float is no exact number: {text!r}") from None
    except InvalidOperation:
        raise ValueError(f"no number: {text!r}") from None
