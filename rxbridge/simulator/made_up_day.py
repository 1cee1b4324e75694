"""A stretch of a made-up market's past as frames, at once: something to play back, without waiting a day for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from rxbridge.errors import ConfigError
from rxbridge.messages import Frame
from rxbridge.simulator import wire
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import products_named

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
_DAY_SECONDS = 86_400.0

_ON_THE_WAY = 20_000_000
"""From the trade to its receipt, in nanoseconds."""


def simulated_day(
    start: datetime,
    *,
    products: Sequence[str] = ("BTC-USD",),
    orders: int = 10_000,
    seconds: float = _DAY_SECONDS,
    seed: int = 1,
) -> Iterator[Frame]:
    """The frames of the channels `matches` and `ticker` as they would have been received, oldest first.

    The markets are those of `Simulator`, so the same arguments make the same frames, byte for byte. Each trade is
    received 20 ms after it was made, before its ticker. They count as those of one connection, which began at `start`.

        with RecordingWriter("day.jsonl.zst") as recording:
            for frame in simulated_day(datetime(2026, 1, 31, tzinfo=UTC)):
                recording.append(frame)

    Args:
        start: When it begins; aware.
        products: As for `Simulator`; those that are not lively are left out.
        orders: How many takers' orders come in, at random times; each makes a trade, or several.
        seconds: How long it takes.
        seed: Makes the markets and the times.

    Raises:
        ConfigError: A product is no product, or none is traded, or a number is not positive. Raised with the first
            frame.
        ValueError: `start` has no time zone.
    """
    if start.tzinfo is None:
        raise ValueError(f"{start} has no time zone: add tzinfo=UTC")
    if orders < 1 or not seconds > 0:
        raise ConfigError("orders", f"{orders} orders in {seconds} seconds are no market")
    start_ns = (start - _EPOCH) // timedelta(microseconds=1) * 1000
    lively = [product for product in products_named(products) if product.kind == "lively"]
    if not lively:
        raise ConfigError("products", "none of them is traded")
    markets = [Market(product, seed=seed, start_ns=start_ns) for product in lively]
    dice = Random(f"{seed} day")  # noqa: S311  (a market, not a secret)
    index = 0
    for moment in sorted(dice.uniform(0.0, seconds) for _ in range(orders)):
        market = dice.choice(markets)
        for tick in market.order(start_ns + int(moment * _SECOND)):
            received = tick.trade.time_ns + _ON_THE_WAY
            yield Frame(wire.match(market.product, tick.trade), received, start_ns, index)
            yield Frame(wire.ticker(market.product, tick), received, start_ns, index + 1)
            index += 2
