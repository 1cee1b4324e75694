"""Who takes more: those who buy or those who sell."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Generic, NamedTuple, Protocol, TypeVar

from reactivex import Observable

from operators._exact import EXACT, ROUNDED, Number, exact
from operators._measure import measure
from operators._moments import Moment, nanoseconds, span_of
from operators._per_key import PerKey
from operators._sums import WindowOfSums

A = TypeVar("A")

_NOTHING = Decimal()
_BUYS = {"buy": True, "BUY": True, "sell": False, "SELL": False}


class TakenTrade(Protocol):
    """A trade that says who took."""

    @property
    def product_id(self) -> str | None:
        """What was traded."""
        ...

    @property
    def taker_side(self) -> str | None:
        """`buy` or `sell`, or in capitals: what whoever took the offer did, not who waited in the book."""
        ...

    @property
    def size(self) -> Number | None:
        """How much."""
        ...

    @property
    def time(self) -> Moment | None:
        """When: RFC 3339 text, an aware datetime, or nanoseconds since 1970."""
        ...


T = TypeVar("T", bound=TakenTrade)


class Flow(NamedTuple, Generic[A]):
    """A trade, and what was taken in the time up to the newest one of its product.

    Attributes:
        item: The trade.
        bought: The sizes of the trades of which the taker bought; exact.
        sold: Likewise, sold.
        trades: How many there were.
    """

    item: A
    bought: Decimal
    sold: Decimal
    trades: int

    @property
    def net(self) -> Decimal:
        """Signed volume: what was bought less what was sold; exact."""
        return EXACT.subtract(self.bought, self.sold)

    @property
    def imbalance(self) -> float:
        """`net` relative to all that was traded: from -1, where all sold, to 1, where all bought; 0 of nothing."""
        both = EXACT.add(self.bought, self.sold)
        return float(ROUNDED.divide(self.net, both)) if both else 0.0


def trade_flow_imbalance(
    seconds: float,
    *,
    most_trades: int = 100_000,
    most_products: int = 10_000,
    late: Callable[[T], None] | None = None,
    failed: Callable[[T, Exception], None] | None = None,
) -> Callable[[Observable[T]], Observable[Flow[T]]]:
    """Pair each trade with what takers bought and sold of its product in the last `seconds`.

        source  buy 3--sell 1------buy 1--|
                    trade_flow_imbalance(15)
        result  +3-----+2----------0------|    `net`; the first has left the window at the end

    The taker is who made the trade happen. What `side` says is different from message to message: of Coinbase's trades
    it is the maker's, on both feeds and in REST, and of its tickers the taker's. The messages of rxbridge say
    `taker_side` of either; for others, say it in a message of your own. A `last_match` repeats a trade at each
    subscription; put `dedupe` before.

    The window is one of event time, of the trades' own time: what came before the newest trade of the product by
    `seconds` or more has left it. It moves when a trade comes. One that comes late counts, if it is not older than the
    window. Sums are exact Decimals, so that nothing is left of what has left, and `net` can be compared with 0.

    Signed by the taker, it is the trade imbalance of R. Cont, A. Kukanov and S. Stoikov, "The price impact of order
    book events", Journal of Financial Econometrics 12 (2014), 47-88; relative to the volume, as order imbalance by
    D. Easley, M. Lopez de Prado and M. O'Hara, "Flow toxicity and liquidity in a high-frequency world", The Review of
    Financial Studies 25 (2012), 1457-1493.

    Laws:
        Every trade is either emitted, or told to `late`, or to `failed`; order is kept.
        `bought` and `sold` are the sums of the trades of the window. With the sides exchanged, `net` and `imbalance`
        are the negative; sizes in another unit have the same `imbalance`.
        If no trade is later than the window, the last result does not depend on the order in which they came.
        Memory is a time and a size for each of `most_trades`, for each of `most_products`; the product that was not
        traded for the longest is forgotten first, and begins anew.

    Example:
        >>> import reactivex
        >>> from operators.testing import trade
        >>> source = reactivex.of(
        ...     trade(100, 3, side="sell", at=1), trade(100, 1, side="buy", at=2), trade(101, 1, side="sell", at=10)
        ... )
        >>> flows = source.pipe(trade_flow_imbalance(9))
        >>> _ = flows.subscribe(lambda flow: print(flow.bought, flow.sold, flow.net, flow.imbalance))
        3 0 3 1.0
        3 1 2 0.5
        1 1 0 0.0

    Args:
        seconds: How long the window is.
        most_trades: How many the window may have; if there are more, the oldest leave it before their time.
        most_products: How many products to know.
        late: Told of each trade that is older than the window. What it raises is the stream's error.
        failed: Told of each trade that could not be read, and why: the size is no number or negative, the time is none,
            or the side neither; the stream lives on without it. Without `failed`, the exception is the stream's error,
            and so is what it raises itself.

    Raises:
        ValueError: A number is not positive, or `seconds` is not finite.
    """
    span = span_of(seconds)
    if most_trades < 1 or most_products < 1:
        raise ValueError(f"must be positive: {most_trades=}, {most_products=}")

    def make() -> Callable[[T], Flow[T] | None]:
        windows = PerKey(lambda _: WindowOfSums(span, most_trades), most_products)

        def flow(item: T) -> Flow[T] | None:
            size, time, side = exact(item.size), nanoseconds(item.time), item.taker_side
            if side not in _BUYS:
                raise ValueError(f"no side of a taker: {side!r}")
            if size < 0:
                raise ValueError(f"a negative size: {size}")
            window = windows.of(item.product_id)
            bought, sold = (size, _NOTHING) if _BUYS[side] else (_NOTHING, size)
            if not window.add(time, bought, sold):
                return None
            return Flow(item, window.first, window.second, len(window))

        return flow

    return measure(make, failed, late)
