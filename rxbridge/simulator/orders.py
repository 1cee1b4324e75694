"""The channel `full` of one product: every order that is traded, from its receipt to its end, number after number.

The trades are those of `matches`, with their numbers. In between, a market has numbers that `matches` does not show:
here they are those of the orders that come and are matched, of those that they met, and of some that are only placed
and cancelled, far from the best prices. The orders that stir the book without being traded are not told.

The forms are those of https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#full-channel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from rxbridge.simulator import wire
from rxbridge.simulator.book import Side
from rxbridge.simulator.market import Tick, Trade
from rxbridge.simulator.products import SIZE_DECIMALS, Product

_encode = msgspec.json.Encoder().encode

AWAY = 2
"""An order that is only placed and cancelled bids half of the last price: nobody meets it."""


class _Ended(NamedTuple):
    order_id: str
    side: Side
    price: int
    reason: str
    remaining: int


class _Resting(NamedTuple):
    order_id: str
    price: int
    size: int
    is_open: bool


class OrderTeller:
    """Tells what happens to the orders of a product, without a hole in the numbers of its messages."""

    def __init__(self, product: Product, seed: int) -> None:
        """Begin; the first message is about the next order."""
        self._product = product
        self._random = Random(f"{seed} {product.product_id} orders")  # noqa: S311  (a market, not a secret)
        self._ended = deque[_Ended]()
        self._resting: _Resting | None = None

    def tell(self, before: int, ticks: Sequence[Tick]) -> Iterator[tuple[str, bytes]]:
        """All messages up to the last trade of an order that came in, each with its kind.

        Args:
            before: The number of the last message before.
            ticks: What the order has traded.
        """
        trades = {tick.trade.sequence: tick.trade for tick in ticks}
        first, last = ticks[0].trade, ticks[-1].trade
        for sequence in range(before + 1, last.sequence + 1):
            if (trade := trades.get(sequence)) is not None:
                yield "match", wire.match(self._product, trade)
                self._ended.append(_Ended(trade.maker_order_id, _other(trade.taker_side), trade.price, "filled", 0))
            elif sequence == first.sequence - 1:
                yield self._received(sequence, first, [tick.trade for tick in ticks])
            else:
                yield self._besides(sequence, first)
        self._ended.append(_Ended(last.taker_order_id, last.taker_side, last.price, "filled", 0))

    def _received(self, sequence: int, first: Trade, trades: Sequence[Trade]) -> tuple[str, bytes]:
        return self._message(
            "received",
            sequence,
            first,
            order_id=first.taker_order_id,
            size=wire.trimmed(sum(trade.size for trade in trades), SIZE_DECIMALS),
            price=self._price(trades[-1].price),
            side=first.taker_side,
            order_type="limit",
        )

    def _besides(self, sequence: int, trade: Trade) -> tuple[str, bytes]:
        """An end that is still to be told, or one more step of an order that is only placed and cancelled."""
        if self._ended:
            return self._done(sequence, trade, self._ended.popleft())
        resting = self._resting
        if resting is None:
            order_id = str(UUID(int=self._random.getrandbits(128), version=4))
            self._resting = _Resting(order_id, max(1, trade.price // AWAY), trade.size, is_open=False)
            return self._placed("received", sequence, trade, self._resting)
        if not resting.is_open:
            self._resting = resting._replace(is_open=True)
            return self._placed("open", sequence, trade, resting)
        self._resting = None
        return self._done(sequence, trade, _Ended(resting.order_id, "buy", resting.price, "canceled", resting.size))

    def _placed(self, kind: str, sequence: int, trade: Trade, order: _Resting) -> tuple[str, bytes]:
        size = wire.trimmed(order.size, SIZE_DECIMALS)
        sizes = {"size": size, "order_type": "limit"} if kind == "received" else {"remaining_size": size}
        return self._message(
            kind, sequence, trade, order_id=order.order_id, price=self._price(order.price), side="buy", **sizes
        )

    def _done(self, sequence: int, trade: Trade, ended: _Ended) -> tuple[str, bytes]:
        return self._message(
            "done",
            sequence,
            trade,
            price=self._price(ended.price),
            order_id=ended.order_id,
            reason=ended.reason,
            side=ended.side,
            remaining_size=wire.trimmed(ended.remaining, SIZE_DECIMALS),
        )

    def _message(self, kind: str, sequence: int, trade: Trade, **fields: Any) -> tuple[str, bytes]:
        head = {"type": kind, "time": wire.timestamp(trade.time_ns), "product_id": self._product.product_id}
        return kind, _encode({**head, "sequence": sequence, **fields})

    def _price(self, price: int) -> str:
        return wire.trimmed(price, self._product.price_decimals)


def _other(side: Side) -> Side:
    return wire.MAKER_SIDE[side]
