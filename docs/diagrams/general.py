"""Scenes of the operators for any stream."""

from __future__ import annotations

import reactivex
from reactivex import GroupedObservable, Observable

from docs.diagrams.scene import letter, scene
from operators import (
    attempt,
    batch,
    conflate,
    dedupe,
    detect_gaps,
    group_by_product,
    join_by_time,
    only,
    parse,
    play_back,
    rate_limit,
    retry_with_backoff,
    sample_latest,
    stall_after,
    throttle,
    with_latency,
)
from operators.detect_gaps import Gap
from operators.join_by_time import Joined
from operators.testing import VirtualTime
from operators.with_latency import Aged


@scene("attempt")
def attempt_scene(clock: VirtualTime) -> Observable[float]:
    source, failed = clock.cold("a---b---c--|", a="1.5", b="n/a", c="2.5"), clock.told("failed")
    return source.pipe(attempt(float, failed))


@scene("parse")
def parse_scene(clock: VirtualTime) -> Observable[int]:
    source, failed = clock.cold("a----b----c--|", a="1 2 3", b="4 x 6", c="7 8"), clock.told("failed")
    return source.pipe(parse(lambda line: map(int, line.split()), failed))


@scene("only", label=repr, colour=lambda item: type(item).__name__)
def only_scene(clock: VirtualTime) -> Observable[int | float]:
    source: Observable[object] = clock.cold("a--b--c--d--|", a=1, b="a", c=2.5, d=3)
    otherwise = clock.told("otherwise")
    return source.pipe(only(int, float, otherwise=otherwise))


@scene("dedupe")
def dedupe_scene(clock: VirtualTime) -> Observable[str]:
    source, repeated = clock.cold("a1-b1-a1-a2-b1-a1-|"), clock.told("repeated")
    return source.pipe(dedupe(lambda trade_id: trade_id, repeated=repeated))


@scene("batch")
def batch_scene(clock: VirtualTime) -> Observable[list[str]]:
    source: Observable[str] = clock.cold("a-b-c-d--e------------f-g|")
    return source.pipe(batch(count=3, seconds=5, scheduler=clock))


@scene("conflate", colour=letter)
def conflate_scene(clock: VirtualTime) -> Observable[str]:
    source, conflated = clock.cold("a1-a2-a3-b1---------------a4-a5|"), clock.told("conflated")
    return source.pipe(conflate(6, lambda quote: quote[0], conflated=conflated, scheduler=clock))


@scene("retry_with_backoff")
def retry_scene(clock: VirtualTime) -> Observable[str]:
    answers = iter(
        [
            clock.cold("a-#", error=OSError("reset")),
            clock.cold("#", error=OSError("refused")),
            clock.cold("b--c-d|"),
        ]
    )
    source = reactivex.defer(lambda _: next(answers))
    return source.pipe(retry_with_backoff(lambda attempt, _error: 2**attempt, scheduler=clock))


@scene("stall_after")
def stall_scene(clock: VirtualTime) -> Observable[str]:
    source: Observable[str] = clock.hot("a---b-c-----------d--|")
    return source.pipe(stall_after(7, lambda seconds: TimeoutError(f"silent for {seconds} s"), scheduler=clock))


@scene("throttle", colour=letter)
def throttle_scene(clock: VirtualTime) -> Observable[str]:
    source, dropped = clock.cold("a1-a2-a3-b1---------------a4-a5|"), clock.told("dropped")
    return source.pipe(throttle(7, lambda alert: alert[0], dropped=dropped, scheduler=clock))


@scene("sample_latest", colour=letter)
def sample_latest_scene(clock: VirtualTime) -> Observable[str]:
    source, replaced = clock.cold("a1-a2-b1-----------b2-----|"), clock.told("replaced")
    return source.pipe(sample_latest(10, lambda quote: quote[0], replaced=replaced, scheduler=clock))


@scene("rate_limit")
def rate_limit_scene(clock: VirtualTime) -> Observable[str]:
    source, dropped = clock.cold("a-b-(c,d)-e-----------------f--|"), clock.told("dropped")
    return source.pipe(rate_limit(1, 5, hold=2, when_full="drop_newest", dropped=dropped, scheduler=clock))


def gap_label(item: Gap | int) -> str:
    if not isinstance(item, Gap):
        return str(item)
    return str(item.first) if len(item) == 1 else f"{item.first} to {item.last}"


def group_key(item: GroupedObservable[str, str] | str) -> str:
    return item.key if isinstance(item, GroupedObservable) else item


@scene("group_by_product", label=group_key, colour=lambda item: letter(group_key(item)))
def group_by_product_scene(clock: VirtualTime) -> Observable[GroupedObservable[str, str]]:
    source: Observable[str] = clock.cold("a1-b1-a2-c1-b2----|")
    return source.pipe(
        group_by_product(lambda quote: quote[0], most_groups=2),
        clock.watch_groups(lambda key: f"group {key}"),
    )


@scene("detect_gaps", label=gap_label, colour=lambda item: type(item).__name__)
def detect_gaps_scene(clock: VirtualTime) -> Observable[int]:
    source: Observable[int] = clock.cold("1--2--6--7--4--3--5--|")
    found, closed = clock.told("found"), clock.told("closed")
    return source.pipe(detect_gaps(lambda trade_id: trade_id, lambda _: "BTC-USD", found=found, closed=closed))


@scene("play_back")
def play_back_scene(clock: VirtualTime) -> Observable[int]:
    def at(second: int) -> int:
        return second * 1_000_000_000

    return play_back(lambda: iter([0, 2, 3, 20]), at, speed=2, scheduler=clock)


def aged_label(item: Aged[int] | int) -> str:
    return f"{item.item}: {item.seconds:g} s" if isinstance(item, Aged) else str(item)


@scene("with_latency", label=aged_label, colour=lambda item: getattr(item, "item", item))
def with_latency_scene(clock: VirtualTime) -> Observable[Aged[int]]:
    source: Observable[int] = clock.cold("---1----3---------7---|")
    return source.pipe(with_latency(lambda second: second * 1_000_000_000, scheduler=clock))


@scene("join_by_time")
def join_by_time_scene(clock: VirtualTime) -> Observable[Joined[int, int]]:
    trades: Observable[int] = clock.cold("---3------7----9--------|", name="trades")
    quotes: Observable[int] = clock.cold("-1---4----------8----12-|", name="quotes")

    def nanoseconds(second: int) -> int:
        return second * 1_000_000_000

    return trades.pipe(join_by_time(quotes, time=nanoseconds, key=lambda _: "BTC-USD", lateness=0))
