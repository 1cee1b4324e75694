"""The orders behind a book: what happens to each, number after number, so that who hears all of it has the same book.

    a level      begins: an order is received, and open     changes: it is changed     ends: it is done, canceled
    a trade      the makers' orders are open by then, each is matched and done, filled; then so is the taker's

A level is one order, but for what is about to be traded: that is the makers', whom the trades name. Numbers are given
to whatever happens, heard or not, so they depend on the book as well, and nothing of a trade but its number does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from rxbridge.simulator.book import Side
    from rxbridge.simulator.market import Trade

Kind: TypeAlias = Literal["received", "open", "match", "change", "done"]


class Step(NamedTuple):
    """One message of the channel `full`. Prices are in price steps, sizes in size units.

    Attributes:
        kind: What happens.
        sequence: Its number; those of a product run +1.
        time_ns: Nanoseconds since the Unix epoch.
        order_id: Of the order; empty for a match.
        side: The order's.
        price: Likewise.
        size: What was received, is open, remains, or remains from now on.
        old_size: What there was before a change.
        reason: Why an order is done or changed.
        trade: Of a match.
    """

    kind: Kind
    sequence: int
    time_ns: int
    order_id: str
    side: Side
    price: int
    size: int
    old_size: int = 0
    reason: str = ""
    trade: Trade | None = None


class OrderFlow:
    """Numbers what happens to the orders of a product, and tells of it.

    Attributes:
        sequence: The newest number.
        time_ns: When what happens next does: nanoseconds since the Unix epoch.
        is_heard: Whether anybody listens; only then steps are made.
        tell: Is told of each step, at once.
    """

    def __init__(self, sequence: int, time_ns: int, seed: str) -> None:
        """Begin.

        Args:
            sequence: The number before the first.
            time_ns: The time.
            seed: Makes the ids of orders that are in no trade.
        """
        self.sequence: int = sequence
        self.time_ns: int = time_ns
        self.is_heard: Callable[[], bool] = bool
        self.tell: Callable[[Step], None] = _pass_over
        self._seed = seed
        self._begun: dict[tuple[Side, int], int] = {}  # by level, the number with which its order was received

    def resize(self, side: Side, price: int, old: int, new: int) -> None:
        """At a price there is so much from now on, where there was so much."""
        if not old:
            self._begun[side, price] = self.sequence + 1
        if not self.is_heard():
            # As below, without a step: nobody listens to most of a large market.
            self.sequence += 1 if old else 2
            if not new:
                del self._begun[side, price]
        elif not old:
            self._place(self._id(self.sequence + 1), side, price, new)
        elif new:
            order_id = self._id(self._begun[side, price])
            self._step("change", order_id, side, price, new, old_size=old, reason="modify_order")
        else:
            order_id = self._id(self._begun.pop((side, price)))
            self._step("done", order_id, side, price, old, reason="canceled")

    def offer(self, side: Side, sizes: dict[int, int], makers: Sequence[tuple[int, int, str]]) -> None:
        """The makers' orders are open now, and what they offer is theirs.

        Args:
            side: Their side.
            sizes: How much there is at each of their prices.
            makers: Price, size and id of each order.
        """
        left = dict(sizes)
        for price, size, order_id in makers:
            self.resize(side, price, left[price], left[price] - size)
            left[price] -= size
            self._place(order_id, side, price, size)

    def take(self, order_id: str, side: Side, price: int, size: int) -> None:
        """A taker's order is received."""
        self._step("received", order_id, side, price, size)

    def match(self, trade: Trade) -> None:
        """A trade is made, whose number is the next; its maker's order was filled by it."""
        self.sequence = trade.sequence
        side: Side = "sell" if trade.taker_side == "buy" else "buy"
        if self.is_heard():
            self.tell(Step("match", trade.sequence, self.time_ns, "", side, trade.price, trade.size, trade=trade))
        self.fill(trade.maker_order_id, side, trade.price)

    def fill(self, order_id: str, side: Side, price: int) -> None:
        """Nothing of an order remains."""
        self._step("done", order_id, side, price, 0, reason="filled")

    def pass_by(self, times: int, side: Side, price: int) -> None:
        """So many orders come that are canceled at once, and never in the book."""
        if not self.is_heard():
            self.sequence += 2 * times
            return
        for _ in range(times):
            order_id = self._id(self.sequence + 1)
            self._step("received", order_id, side, price, 1)
            self._step("done", order_id, side, price, 1, reason="canceled")

    def _place(self, order_id: str, side: Side, price: int, size: int) -> None:
        self._step("received", order_id, side, price, size)
        self._step("open", order_id, side, price, size)

    def _step(
        self, kind: Kind, order_id: str, side: Side, price: int, size: int, *, old_size: int = 0, reason: str = ""
    ) -> None:
        self.sequence += 1
        if self.is_heard():
            self.tell(Step(kind, self.sequence, self.time_ns, order_id, side, price, size, old_size, reason))

    def _id(self, sequence: int) -> str:
        """The id of the order that was received with this number; not made where nobody listens."""
        if not self.is_heard():
            return ""
        return str(UUID(bytes=sha256(f"{self._seed} {sequence}".encode()).digest()[:16], version=4))


def _pass_over(step: Step) -> None:
    """Nobody listens."""
