"""Operators with a timer do on a real clock what they do in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Event
from typing import Any, TypeAlias

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import SchedulerBase
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from operators import (
    SteadyScheduler,
    batch,
    conflate,
    rate_limit,
    returns,
    sample_latest,
    stall_after,
    throttle,
    trade_flow_imbalance,
    volatility,
    zscore,
)
from operators.testing import Trade, trade
from tests.operators.support import DEADLINE, Subscriber

Chain: TypeAlias = Callable[[SchedulerBase], Callable[[Observable[str]], Observable[Any]]]

WINDOW = 0.005
"""Seconds."""

SCRIPT: Sequence[Sequence[str]] = [["a1", "a2", "b1"], ["b2", "a3", "a4"], ["c1"]]
"""What is pushed at one moment; between two of them time passes, until all windows are over."""


class Real(EventLoopScheduler):
    """A real clock that the test can hold, so that what it pushes comes at one moment however busy the machine is."""

    held: datetime | None = None

    @property
    def now(self) -> datetime:
        return self.held or super().now


class RealAndSteady(SteadyScheduler):
    held: datetime | None = None

    @property
    def now(self) -> datetime:
        return self.held or super().now


def letter(item: str) -> str:
    """`a1` is about `a`."""
    return item[0]


def number(item: str) -> str:
    return item[1:]


def traded(item: str) -> Trade:
    return trade(number(item), product=letter(item), at=float(number(item)))


CHAINS: Mapping[str, Chain] = {
    "batch": lambda scheduler: batch(count=2, seconds=WINDOW, scheduler=scheduler),
    "conflate": lambda scheduler: conflate(WINDOW, letter, scheduler=scheduler),
    "throttle, leading": lambda scheduler: throttle(WINDOW, letter, scheduler=scheduler),
    "throttle, trailing": lambda scheduler: throttle(WINDOW, letter, edge="trailing", scheduler=scheduler),
    "sample_latest": lambda scheduler: sample_latest(WINDOW, letter, scheduler=scheduler),
    "rate_limit": lambda scheduler: rate_limit(1, WINDOW, hold=1, when_full="drop_oldest", scheduler=scheduler),
    "returns, after sample_latest": lambda scheduler: (
        lambda source: source.pipe(
            sample_latest(WINDOW, letter, scheduler=scheduler), returns(number, lambda _: "all", kind="log")
        )
    ),
    "volatility, after throttle": lambda scheduler: (
        lambda source: source.pipe(
            throttle(WINDOW, letter, scheduler=scheduler), volatility(number, lambda _: "all", count=3)
        )
    ),
    "zscore, after throttle": lambda scheduler: (
        lambda source: source.pipe(
            throttle(WINDOW, letter, scheduler=scheduler), zscore(number, lambda _: "all", count=3)
        )
    ),
    "trade_flow_imbalance, after throttle": lambda scheduler: (
        lambda source: source.pipe(
            throttle(WINDOW, letter, scheduler=scheduler), ops.map(traded), trade_flow_imbalance(2)
        )
    ),
    "stall_after": lambda scheduler: stall_after(WINDOW, TimeoutError, scheduler=scheduler),
}


def play_virtually(chain: Chain) -> tuple[list[Any], list[type]]:
    clock, source, got = TestScheduler(), Subject[str](), Subscriber[Any]()
    source.pipe(chain(clock)).subscribe(got)
    for items in SCRIPT:
        for item in items:
            source.on_next(item)
        clock.advance_by(5 * WINDOW)
    source.on_completed()
    return got.items, [type(end) for end in got.ends]


def pass_time(clock: SchedulerBase) -> None:
    """Wait for timers that are set one by the other: what an operator has set before each of them has rung by then."""
    for _ in range(4):
        passed = Event()
        clock.schedule_relative(2 * WINDOW, lambda *_, passed=passed: passed.set())
        assert passed.wait(DEADLINE)


def play_really(chain: Chain, clock: Real | RealAndSteady) -> tuple[list[Any], list[type]]:
    source, got = Subject[str](), Subscriber[Any]()
    clock.held = clock.now
    source.pipe(chain(clock)).subscribe(got)
    for items in SCRIPT:
        clock.held = clock.now
        for item in items:
            source.on_next(item)
        clock.held = None
        pass_time(clock)
    source.on_completed()
    clock.dispose()
    return got.items, [type(end) for end in got.ends]


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("kind", [Real, RealAndSteady])
def test_a_real_clock_gives_the_result_of_a_virtual_one(name: str, kind: type[Real | RealAndSteady]) -> None:
    items, ends = play_virtually(CHAINS[name])

    assert play_really(CHAINS[name], kind()) == (items, ends)
    assert len(items) >= 3
    assert len(ends) == 1
