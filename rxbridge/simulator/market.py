"""One product's market: a random walk, orders that hit it, and the trades that come of them.

Nothing here knows of sockets or clocks. The same product, seed and times give the same market, to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from uuid import UUID

import msgspec

from rxbridge.simulator.book import DEPTH, Book, Side
from rxbridge.simulator.day import Day
from rxbridge.simulator.order_flow import OrderFlow
from rxbridge.simulator.products import SIZE_DECIMALS, Product

VOLATILITY = 2e-5
"""The standard deviation of the logarithmic price change from one order to the next."""

SMALLEST_PRICE = 4
"""In price steps: below this a spread has no room, so the walk is turned back."""

TYPICAL_NOTIONAL = 50.0
"""The median of what a trade is worth, in the quote currency."""

NOTIONAL_SPREAD = 2.0
"""The standard deviation of its logarithm: most trades are small, a few are large."""

INTERVAL_NOTIONAL = 2_000_000.0
"""What was traded on average in five minutes before the market opened, in the quote currency."""

SWEEP_PROBABILITY = 0.25
"""How likely it is that an order, having matched one resting order, goes on to match the next."""

LONGEST_SWEEP = 12

ORDERS_A_GONE_ONE = 20
"""Up to three orders come with each that is matched, and are canceled at once."""

BOOK_CHANGES_PER_SECOND = 10.0
"""How many orders come and go in a book between the trades, unless something else is said."""

MOST_BOOK_CHANGES = 100
"""At once: what came and went in a long time that nobody watched has gone."""

DAYS_A_MONTH = 30

TRADES_KEPT = 100_000
"""How many trades REST can look back on, unless something else is said."""


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One match of a taker's order with a maker's.

    Attributes:
        trade_id: One more than that of the product's previous trade.
        sequence: Rises within the product, with holes: what happens to orders has the numbers between, see `OrderFlow`.
        time_ns: Nanoseconds since the Unix epoch, in whole microseconds. All trades of one taker's order share it.
        price: In price steps.
        size: In size units.
        taker_side: What the taker did; the maker did the opposite.
        maker_order_id: A UUID.
        taker_order_id: Likewise; shared by all trades of one taker's order.
    """

    trade_id: int
    sequence: int
    time_ns: int
    price: int
    size: int
    taker_side: Side
    maker_order_id: str
    taker_order_id: str


class Tick(msgspec.Struct, frozen=True, gc=False):
    """A trade and the state of its market right after it: what a ticker says.

    The best bid and ask are those of the book, of which the trade has taken its part. Always
    `best_bid <= trade.price <= best_ask`, and `low_24h <= trade.price <= high_24h`. Prices are in price steps,
    sizes and volumes in size units.
    """

    trade: Trade
    best_bid: int
    best_bid_size: int
    best_ask: int
    best_ask_size: int
    open_24h: int
    high_24h: int
    low_24h: int
    volume_24h: int
    volume_30d: int


class Market:
    """The market of one product, and its book. It opens with one trade, so there is a last one; `untraded`, never.

    Attributes:
        product: What is traded.
        book: What is bid and asked now.
        flow: What happens to the orders.
        is_halted: Whether no orders come and go besides those that are traded.
    """

    def __init__(
        self,
        product: Product,
        *,
        seed: int,
        start_ns: int,
        trades_kept: int = TRADES_KEPT,
        history: int = 0,
        history_seconds: float = 1.0,
        depth: int = DEPTH,
        book_changes_per_second: float = BOOK_CHANGES_PER_SECOND,
    ) -> None:
        """Open the market.

        Args:
            product: What is traded.
            seed: Markets of the same product and seed are the same; those of different products are independent.
            start_ns: Now: nanoseconds since the Unix epoch.
            trades_kept: How many of the newest trades `page` can look back on.
            history: How many trades have been made already, after the one that opened the market. They are those that
                a market without a history makes first, but for their times.
            history_seconds: How far they are apart, on average; the newest is of now.
            depth: How many levels each side of the book has, about.
            book_changes_per_second: How many orders come and go in it besides.
        """
        spacing_ns = round(history_seconds * 1_000_000_000)
        opened_ns = start_ns - history * spacing_ns
        self.product = product
        self._random = Random(f"{seed} {product.product_id}")  # noqa: S311  (a market, not a secret)
        self._middle = product.reference_price * math.exp(self._random.gauss(0.0, 0.02))
        self._units_a_notional = 10.0 ** (product.price_decimals + SIZE_DECIMALS)
        self._day = Day(
            self._random,
            max(SMALLEST_PRICE, round(self._middle)),
            INTERVAL_NOTIONAL * self._units_a_notional / self._middle,
            opened_ns,
        )
        self._volume_before = round((DAYS_A_MONTH - 1) * self._day.volume * self._random.uniform(0.5, 1.5))
        name = f"{seed} {product.product_id}"
        self.flow: OrderFlow = OrderFlow(self._random.randrange(100_000_000, 100_000_000_000), opened_ns, name)
        self._first_id = self._random.randrange(10_000_000, 1_000_000_000)
        self._next_id = self._first_id
        self._time_ns = opened_ns
        self._trades_kept = trades_kept
        self._kept: dict[int, Trade] = {}
        self._latest: Tick | None = None
        self._settled_ns = start_ns
        self.is_halted = False
        self._book_changes_per_second = book_changes_per_second
        dice = Random(f"{seed} {product.product_id} book")  # noqa: S311  (a market, not a secret)
        bid = max(1, round(self._middle))
        self.book: Book = Book(
            dice,
            bid=bid,
            ask=bid + 1,
            size_at=lambda price: self._size(price, dice),
            depth=depth,
            resized=self.flow.resize,
        )
        if product.kind == "untraded":
            return
        self.order(opened_ns, at_most=1)
        while (made := self._next_id - self._first_id - 1) < history:
            self.order(opened_ns + (made + 1) * spacing_ns, at_most=min(LONGEST_SWEEP, history - made))

    @property
    def sequence(self) -> int:
        """The newest of the numbers that messages have."""
        return self.flow.sequence

    @property
    def has_traded(self) -> bool:
        """Whether there is a last trade."""
        return self._latest is not None

    @property
    def latest(self) -> Tick:
        """The last trade.

        Raises:
            LookupError: There is none.
        """
        if self._latest is None:
            raise LookupError(f"{self.product.product_id} was never traded")
        return self._latest

    @property
    def trade_ids(self) -> range:
        """The ids of all trades that were ever made, without a hole."""
        return range(self._first_id, self._next_id)

    def settle(self, time_ns: int) -> None:
        """Let the orders come and go that would have by this time, as far as the trades allow.

        Trades do not depend on it, but for their numbers: they are the same whenever, and however often, it is called.
        """
        self.flow.time_ns = max(self.flow.time_ns, time_ns)
        if self.is_halted:
            self._settled_ns = time_ns
            return
        due = int((time_ns - self._settled_ns) * self._book_changes_per_second / 1_000_000_000)
        if due > MOST_BOOK_CHANGES:
            self._settled_ns = time_ns
            self.book.stir(MOST_BOOK_CHANGES)
        elif due > 0:
            self._settled_ns += round(due * 1_000_000_000 / self._book_changes_per_second)
            self.book.stir(due)

    def order(self, time_ns: int, *, at_most: int = LONGEST_SWEEP) -> list[Tick]:
        """Let a taker's order come in at `time_ns`, and return the trades that it causes: 1 to `at_most`.

        A time before that of the last order counts as that time.
        """
        random = self._random
        self._time_ns = max(self._time_ns, time_ns - time_ns % 1000)
        self._middle = max(float(SMALLEST_PRICE), self._middle * math.exp(random.gauss(0.0, VOLATILITY)))
        bid, ask = self._quotes()
        side: Side = "buy" if random.random() < 0.5 else "sell"  # noqa: PLR2004  (a coin)
        taker_order_id = self._order_id()
        gone = random.randint(2, 60) // ORDERS_A_GONE_ONE
        matches = self._matches(side, ask if side == "buy" else bid, at_most)
        self.settle(self._time_ns)
        self.book.quote(bid, ask)
        makers: Side = "sell" if side == "buy" else "buy"
        self.book.expect(makers, [(price, size) for price, size, _ in matches])
        worst = matches[-1][0]
        self.flow.pass_by(gone, side, worst)
        self.flow.offer(makers, {price: self.book.size(makers, price) for price, _, _ in matches}, matches)
        self.flow.take(taker_order_id, side, worst, sum(size for _, size, _ in matches))
        ticks = [self._match(side, price, size, maker, taker_order_id) for price, size, maker in matches]
        self.flow.fill(taker_order_id, side, worst)
        self._latest = ticks[-1]
        return ticks

    def page(self, *, limit: int, before: int | None = None, after: int | None = None) -> list[Trade]:
        """The newest kept trades, newest first, `limit` at most.

        Args:
            limit: How many at most.
            before: Only trades with an id above this one. The word means newer, as in Coinbase's pagination.
            after: Only trades with an id below this one, that is, older.
        """
        newest = self._next_id - 1
        last = newest if after is None else min(newest, after - 1)
        first = max(self._next_id - len(self._kept), last - limit + 1)
        if before is not None:
            first = max(first, before + 1)
        return [self._kept[trade_id] for trade_id in range(last, first - 1, -1)]

    def newest_first(self) -> Iterator[Trade]:
        """The kept trades, the newest first."""
        return reversed(self._kept.values())

    def _quotes(self) -> tuple[int, int]:
        """The best bid and ask: one step apart half of the time, else some millionths of the price."""
        spread = 1 + int(self._random.choice((0.0, 1e-5)) * self._random.expovariate(1.0) * self._middle)
        bid = max(1, math.floor(self._middle - spread / 2))
        return bid, bid + spread

    def _matches(self, side: Side, price: int, at_most: int) -> list[tuple[int, int, str]]:
        """Price, size and order id of what a taker's order will match, from the best price on.

        All that is random about a match is drawn with it: so a sweep that is cut short is the beginning of the whole.
        """
        random = self._random
        matches = [(price, self._size(price, random), self._order_id())]
        while len(matches) < at_most and random.random() < SWEEP_PROBABILITY:
            step = int(random.expovariate(1.0))
            price = price + step if side == "buy" else max(1, price - step)
            matches.append((price, self._size(price, random), self._order_id()))
        return matches

    def _match(self, side: Side, price: int, size: int, maker_order_id: str, taker_order_id: str) -> Tick:
        trade = Trade(
            trade_id=self._next_id,
            sequence=self.flow.sequence + 1,
            time_ns=self._time_ns,
            price=price,
            size=size,
            taker_side=side,
            maker_order_id=maker_order_id,
            taker_order_id=taker_order_id,
        )
        self._next_id += 1
        self._kept[trade.trade_id] = trade
        self._kept.pop(trade.trade_id - self._trades_kept, None)
        self._day.add(price, trade.size, self._time_ns)
        self.flow.match(trade)
        self.book.take("sell" if side == "buy" else "buy", price, size)
        bid, ask = self.book.best_bid, self.book.best_ask
        return Tick(
            trade=trade,
            best_bid=bid.price,
            best_bid_size=bid.size,
            best_ask=ask.price,
            best_ask_size=ask.size,
            open_24h=self._day.open,
            high_24h=self._day.high,
            low_24h=self._day.low,
            volume_24h=self._day.volume,
            volume_30d=self._day.volume + self._volume_before,
        )

    def _size(self, price: int, random: Random) -> int:
        notional = TYPICAL_NOTIONAL * math.exp(random.gauss(0.0, NOTIONAL_SPREAD))
        return max(1, int(notional * self._units_a_notional / price))

    def _order_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))
