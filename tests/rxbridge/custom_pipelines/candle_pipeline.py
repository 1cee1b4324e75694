"""A user's module: candles of three trades' seconds, made by an operator of the user's own, and other pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import SchedulerBase

from operators import candles, dedupe, only, parse
from operators.candle import Candle as PackageCandle
from rxbridge.coinbase.decoding import decode
from rxbridge.events import CustomEvent, dead_letter, event
from rxbridge.messages import Frame, Trade

SECONDS = 2


@dataclass
class Candle:
    """Of one product: what was traded in `SECONDS`, by the trades' own time."""

    product: str
    start: int
    first_offset: int
    trades: list[str] = field(default_factory=list)
    volume: Decimal = Decimal(0)


class Candles:
    """Closes a product's candle when a trade of a later one comes; a trade that comes again is passed over."""

    def __init__(self) -> None:
        self._open: dict[str, Candle] = {}

    def __call__(self, trade: Trade) -> Iterator[tuple[Candle, int]]:
        product = str(trade.product_id)
        moment = datetime.fromisoformat(str(trade.time)).timestamp()
        start = int(moment) // SECONDS * SECONDS
        candle, closed = self._open.get(product), None
        if candle is not None and int(str(trade.trade_id)) <= int(candle.trades[-1]):
            return
        if candle is not None and start > candle.start:
            closed, candle = candle, None
        if candle is None:
            candle = self._open[product] = Candle(product, start, trade.frame.offset)
        candle.trades.append(str(trade.trade_id))
        candle.volume += Decimal(str(trade.size))
        if closed is not None:
            yield closed, min(one.first_offset for one in self._open.values())


def as_event(closed: tuple[Candle, int]) -> CustomEvent:
    candle, holds = closed
    return event(
        f"Candle of {candle.product}",
        {"product": candle.product, "start": candle.start, "trades": candle.trades, "volume": candle.volume},
        timestamp=candle.start * 1_000_000_000,
        event_id=f"candle-{candle.product}-{candle.start}",
        service="candles",
        holds=holds,
    )


def pipeline(frames: Observable[Frame]) -> Observable[CustomEvent]:
    return frames.pipe(
        parse(decode, dead_letter),
        only(Trade),
        parse(Candles(), dead_letter),
        ops.map(as_event),
    )


def library(frames: Observable[Frame]) -> Observable[CustomEvent]:
    """The same intervals by the operator of the package."""
    return frames.pipe(
        parse(decode, dead_letter),
        only(Trade),
        dedupe(key_of, remember=1000),
        candles(SECONDS, revisions=0, failed=dead_letter),
        ops.filter(is_closed),
        ops.map(as_library_event),
    )


def key_of(trade: Trade) -> tuple[str | None, str]:
    return trade.product_id, str(trade.trade_id)


def is_closed(candle: PackageCandle) -> bool:
    return candle.is_closed


def as_library_event(candle: PackageCandle) -> CustomEvent:
    start = candle.start // 1_000_000_000
    return event(
        f"Candle of {candle.product_id}",
        {"product": candle.product_id, "start": start, "trades": candle.trades, "volume": candle.volume},
        timestamp=candle.start,
        event_id=f"candle-{candle.product_id}-{start}",
        service="candles",
        holds=candle.holds,
    )


def beats(frames: Observable[Frame], scheduler: SchedulerBase) -> Observable[CustomEvent]:
    """How many frames came, each second of the frames' time."""
    return frames.pipe(
        ops.buffer_with_time(1.0, scheduler=scheduler),
        ops.filter(bool),
        ops.map(lambda some: event("Frames", {"frames": len(some), "first": some[0].offset}, service="beats")),
    )


def not_a_stream(frames: Observable[Frame]) -> int:
    return 3


def without_parameters() -> None:
    pass


NOT_A_FUNCTION = 7
