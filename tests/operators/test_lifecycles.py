"""A thousand subscriptions of everything in the package, disposed or ended, leave nothing behind."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import SchedulerBase
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject

import operators
from operators import (
    OrderBook,
    ReplayClock,
    SteadyScheduler,
    attempt,
    batch,
    book_imbalance,
    candles,
    changes_by,
    conflate,
    crosses_above,
    crosses_below,
    dedupe,
    detect_gaps,
    group_by_product,
    join_by_time,
    micro_price,
    mid,
    only,
    order_books,
    parse,
    play_back,
    rate_limit,
    retry_with_backoff,
    returns,
    sample_latest,
    spread,
    stall_after,
    throttle,
    trade_flow_imbalance,
    volatility,
    vwap,
    with_latency,
    zscore,
)
from operators.testing import Quote, quote, trade
from tests.operators.book_support import bid, snapshot
from tests.operators.support import DEADLINE

CYCLES = 1_000
SOON = 0.001
"""Seconds of every window: a cancelled timer stays in its scheduler's queue until it is due."""

MOST_BYTES = 32 * CYCLES
"""Of growth in all cycles: less than the smallest object for each of them."""

RIGHT = Subject[int]()
"""Outlives all subscriptions, so that one that was not disposed of is held by it."""

Chain: TypeAlias = Callable[[Observable[Any]], Observable[Any]]
Cycle: TypeAlias = Callable[[int, SchedulerBase], None]
"""One subscription from its beginning to its end; it is given its number and the scheduler of all of them."""


def ignore(*_: object) -> None:
    pass


def itself(item: Any) -> Any:
    return item


@dataclass(frozen=True)
class Operator:
    """Subscribe to a chain, let items come, and then dispose of it, complete it or fail it, in turn."""

    chain: Callable[[SchedulerBase], Chain]
    items: Sequence[Any] = (1, 2, 2, 9, 4)

    def __call__(self, number: int, scheduler: SchedulerBase) -> None:
        source = Subject[Any]()
        subscription = source.pipe(self.chain(scheduler)).subscribe(ignore, ignore, scheduler=scheduler)
        for item in self.items:
            source.on_next(item)
        if number % 3 == 1:
            source.on_completed()
        elif number % 3 == 2:
            source.on_error(OSError("lost"))
        subscription.dispose()
        assert source.observers == []


def use_order_book(_number: int, _scheduler: SchedulerBase) -> None:
    book = OrderBook()
    book.apply_snapshot([("9", "1")], [("11", "1")])
    book.apply_update([("buy", "9.5", "1")])


def use_replay_clock(number: int, _scheduler: SchedulerBase) -> None:
    clock = ReplayClock(0)
    scheduled = clock.schedule_relative(1, ignore)
    if number % 2:
        scheduled.dispose()
    clock.start()


def use_steady_scheduler(_number: int, _scheduler: SchedulerBase) -> None:
    scheduler = SteadyScheduler()
    scheduler.schedule_relative(60, ignore)
    scheduler.dispose()


def use_play_back(number: int, scheduler: SchedulerBase) -> None:
    played = play_back(lambda: iter(range(3)), itself, speed=inf, scheduler=scheduler if number % 2 else None)
    played.subscribe(ignore).dispose()


QUOTES: Sequence[Quote] = (quote(9, 11), quote(0, 11), quote("9.5", 11, 2, 3))

CYCLE_OF: Mapping[str, Cycle] = {
    "OrderBook": use_order_book,
    "ReplayClock": use_replay_clock,
    "SteadyScheduler": use_steady_scheduler,
    "attempt": Operator(lambda _: attempt(lambda item: 1 // (item - 2), ignore)),
    "batch": Operator(lambda scheduler: batch(count=2, seconds=SOON, scheduler=scheduler)),
    "book_imbalance": Operator(
        lambda scheduler: lambda source: source.pipe(order_books(scheduler=scheduler), book_imbalance()),
        (snapshot(), bid("10"), bid("12")),
    ),
    "candles": Operator(lambda _: candles(2, unfinished=True), [trade(1, at=second) for second in (1, 2, 0, 5, 4)]),
    "changes_by": Operator(lambda _: changes_by(itself, itself, amount=1)),
    "conflate": Operator(lambda scheduler: conflate(SOON, itself, scheduler=scheduler)),
    "crosses_above": Operator(lambda _: crosses_above(3, itself, ignore)),
    "crosses_below": Operator(lambda _: crosses_below(3, itself, ignore)),
    "dedupe": Operator(lambda _: dedupe(itself)),
    "detect_gaps": Operator(lambda _: detect_gaps(itself, ignore, found=ignore)),
    "group_by_product": Operator(
        lambda _: lambda source: source.pipe(group_by_product(itself, most_groups=2), ops.flat_map(itself))
    ),
    "join_by_time": Operator(lambda _: join_by_time(RIGHT, time=itself, key=ignore)),
    "micro_price": Operator(lambda _: micro_price(), QUOTES),
    "mid": Operator(lambda _: mid(), QUOTES),
    "only": Operator(lambda _: only(int), (1, "a")),
    "order_books": Operator(
        lambda scheduler: order_books(stale_after=SOON, scheduler=scheduler), (snapshot(), bid("10"), bid("12"))
    ),
    "parse": Operator(lambda _: parse(lambda item: [item] * item, ignore)),
    "play_back": use_play_back,
    "rate_limit": Operator(lambda scheduler: rate_limit(2, SOON, hold=9, scheduler=scheduler)),
    "retry_with_backoff": Operator(lambda scheduler: retry_with_backoff(lambda *_: SOON, scheduler=scheduler)),
    "returns": Operator(lambda _: returns(itself, ignore)),
    "sample_latest": Operator(lambda scheduler: sample_latest(SOON, itself, scheduler=scheduler)),
    "spread": Operator(lambda _: spread(), QUOTES),
    "stall_after": Operator(lambda scheduler: stall_after(SOON, TimeoutError, scheduler=scheduler)),
    "throttle": Operator(lambda scheduler: throttle(SOON, itself, edge="trailing", scheduler=scheduler)),
    "trade_flow_imbalance": Operator(
        lambda _: trade_flow_imbalance(2), [trade(1, at=second, side="sell") for second in (1, 2, 0, 5, 4)]
    ),
    "vwap": Operator(lambda _: vwap(2), [trade(1, at=second) for second in (1, 2, 0, 5, 4)]),
    "volatility": Operator(lambda _: volatility(itself, ignore, seconds=1e-9, least=2, time=itself)),
    "with_latency": Operator(lambda scheduler: with_latency(itself, scheduler=scheduler)),
    "zscore": Operator(lambda _: zscore(itself, ignore, count=3)),
}
"""For each name of the package. A new operator needs a line here."""


@dataclass(frozen=True)
class Held:
    """What the process holds."""

    threads: int
    files: int
    objects: int
    bytes: int

    @staticmethod
    def now() -> Held:
        gc.collect()
        bytes_ = tracemalloc.get_traced_memory()[0]
        return Held(threading.active_count(), len(list(Path("/dev/fd").iterdir())), len(gc.get_objects()), bytes_)


@pytest.fixture
def scheduler() -> Iterator[EventLoopScheduler]:
    """One whose thread runs already, as it does in an application."""
    loop = EventLoopScheduler(exit_if_empty=False)
    yield loop
    loop.dispose()


def wait_until_all_timers_are_due(scheduler: SchedulerBase) -> None:
    over = Event()
    scheduler.schedule_relative(timedelta(seconds=2 * SOON), lambda *_: over.set())
    assert over.wait(DEADLINE)


@pytest.mark.parametrize("name", operators.__all__)
def test_a_thousand_subscriptions_leave_nothing_behind(
    name: str, scheduler: EventLoopScheduler, wait_for: Callable[[Callable[[], bool]], None]
) -> None:
    assert name in CYCLE_OF, f"{name} is new: say in CYCLE_OF what a subscription to it is"
    cycle = CYCLE_OF[name]

    def run(cycles: int) -> None:
        for number in range(cycles):
            cycle(number, scheduler)
        wait_until_all_timers_are_due(scheduler)

    def held_after(cycles: int) -> Held:
        run(cycles)
        wait_for(lambda: threading.active_count() <= threads)
        return Held.now()

    threads = threading.active_count() + 1  # that of the scheduler
    tracemalloc.start()
    try:
        before = held_after(CYCLES // 10)  # what is made once, is made now
        after = held_after(CYCLES)
        if after.bytes - before.bytes >= MOST_BYTES:
            # Something of the process's own may have grown meanwhile, once. A leak grows again.
            before, after = after, held_after(CYCLES)
    finally:
        tracemalloc.stop()

    # Fewer there may be: what another test has left may end meanwhile.
    assert after.threads <= before.threads
    assert after.files <= before.files
    assert after.objects - before.objects < CYCLES // 2
    assert after.bytes - before.bytes < MOST_BYTES
    assert RIGHT.observers == []


def test_nothing_is_listed_that_is_not_there() -> None:
    assert set(CYCLE_OF) <= set(operators.__all__)


def test_a_subscription_that_is_not_disposed_of_would_be_noticed() -> None:
    tracemalloc.start()
    try:
        before = Held.now()
        for _ in range(CYCLES):
            RIGHT.pipe(dedupe(itself)).subscribe(ignore)
        after = Held.now()
    finally:
        tracemalloc.stop()
        RIGHT.observers.clear()

    assert after.objects - before.objects > CYCLES
    assert after.bytes - before.bytes > MOST_BYTES
