"""The operators on what Coinbase really sent, as the application reads it, played back on a clock of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from reactivex import GroupedObservable, Observable
from reactivex import operators as ops

from operators import (
    ReplayClock,
    changes_by,
    crosses_above,
    detect_gaps,
    group_by_product,
    join_by_time,
    only,
    parse,
    play_back,
    rate_limit,
    sample_latest,
    throttle,
    with_latency,
)
from operators.detect_gaps import Gap
from rxbridge.coinbase.decoding import decode
from rxbridge.messages import Frame, Ticker, Trade
from rxbridge.recording import read

Message: TypeAlias = Ticker | Trade

FEEDS = pytest.mark.parametrize("frames", ["exchange-2021", "advanced-2026"], indirect=True)


@pytest.fixture
def frames(request: pytest.FixtureRequest, real_recording: Callable[[str], Path]) -> list[Frame]:
    recorded = read(real_recording(request.param))
    return [Frame(frame.data, frame.received_at, 1, index, index + 1) for index, frame in enumerate(recorded)]


def unreadable(_frame: Frame, error: Exception) -> None:
    raise error


def product_of(message: Message) -> str | None:
    return message.product_id


def played(frames: Sequence[Frame], clock: ReplayClock) -> Observable[Message]:
    return play_back(lambda: iter(frames), lambda frame: frame.received_at, scheduler=clock).pipe(
        parse(decode, unreadable), only(Ticker, Trade)
    )


def run(
    frames: Sequence[Frame], operator: Callable[[ReplayClock], Callable[[Observable[Message]], Observable[Any]]]
) -> Any:
    """What comes out, and when."""
    clock, got = ReplayClock(), list[tuple[int, Any]]()
    errors: list[Exception] = []
    played(frames, clock).pipe(operator(clock)).subscribe(lambda item: got.append((clock.moment, item)), errors.append)
    clock.start()
    assert errors == []
    return got


def messages_of(frames: Sequence[Frame]) -> list[Message]:
    return [message for _, message in run(frames, lambda _: ops.as_observable())]


THINNING: dict[str, Callable[[ReplayClock, Callable[[Message], None]], Any]] = {
    "throttle": lambda clock, dropped: throttle(1, product_of, dropped=dropped, scheduler=clock),
    "throttle, trailing": lambda clock, dropped: throttle(
        1, product_of, edge="trailing", dropped=dropped, scheduler=clock
    ),
    "sample_latest": lambda clock, dropped: sample_latest(1, product_of, replaced=dropped, scheduler=clock),
    "rate_limit": lambda clock, dropped: rate_limit(
        5, hold=3, when_full="drop_oldest", dropped=dropped, scheduler=clock
    ),
}


@FEEDS
@pytest.mark.parametrize("name", THINNING)
def test_each_message_passes_or_is_told_of_and_a_replay_gives_the_same(frames: list[Frame], name: str) -> None:
    dropped: list[Message] = []
    once = run(frames, lambda clock: THINNING[name](clock, dropped.append))
    told = [id(message) for message in dropped]
    again = run(frames, lambda clock: THINNING[name](clock, dropped.append))

    assert once == again
    assert dropped[: len(told)] == dropped[len(told) :]
    assert len(once) + len(told) == len(messages_of(frames))
    assert once
    assert told


@FEEDS
def test_prices_cross_and_change_as_a_plain_loop_says(frames: list[Frame]) -> None:
    tickers = [message for message in messages_of(frames) if isinstance(message, Ticker)]
    product, count = Counter(ticker.product_id for ticker in tickers).most_common(1)[0]
    own = [ticker for ticker in tickers if ticker.product_id == product]
    level = sorted(Decimal(str(ticker.price)) for ticker in own)[count // 2]

    crossed = [own[place] for place in range(1, count) if _price(own[place - 1]) <= level < _price(own[place])]
    got = run(
        frames,
        lambda _: (
            lambda source: source.pipe(
                only(Ticker),
                ops.filter(lambda ticker: ticker.product_id == product),
                crosses_above(level, lambda ticker: ticker.price, product_of),
            )
        ),
    )
    assert [ticker for _, ticker in got] == crossed

    changed, last = [own[0]], _price(own[0])
    for ticker in own[1:]:
        if abs(_price(ticker) - last) * 10_000 >= last:
            changed.append(ticker)
            last = _price(ticker)
    moved = run(
        frames,
        lambda _: (
            lambda source: source.pipe(only(Ticker), changes_by(lambda one: one.price, product_of, percent="0.01"))
        ),
    )
    assert [ticker for _, ticker in moved if ticker.product_id == product] == changed


def _price(ticker: Ticker) -> Decimal:
    return Decimal(str(ticker.price))


def counts(group: GroupedObservable[str | None, Message]) -> Observable[tuple[str | None, int]]:
    return group.pipe(ops.count(), ops.map(lambda count: (group.key, count)))


@FEEDS
def test_groups_are_the_products_and_ages_the_time_since(frames: list[Frame]) -> None:
    messages = messages_of(frames)
    counted = run(
        frames,
        lambda _: (
            lambda source: source.pipe(
                group_by_product(product_of),
                ops.flat_map(counts),
            )
        ),
    )
    assert dict(result for _, result in counted) == Counter(message.product_id for message in messages)

    aged = run(frames, lambda clock: with_latency(lambda message: message.time, failed=_no_time, scheduler=clock))
    assert aged
    for moment, (message, seconds) in aged:
        received = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment // 1_000)
        expected = (received - datetime.fromisoformat(message.time)).total_seconds()
        assert seconds == pytest.approx(expected, abs=2e-6)


def _no_time(message: Message, _error: Exception) -> None:
    assert message.time is None


@FEEDS
def test_the_ids_that_are_missing_are_those_that_did_not_come(frames: list[Frame]) -> None:
    found, closed = list[Gap](), list[Gap]()
    trades = [message for message in messages_of(frames) if isinstance(message, Trade)]
    run(
        frames,
        lambda _: (
            lambda source: source.pipe(
                only(Trade),
                detect_gaps(lambda trade: trade.trade_id, product_of, found=found.append, closed=closed.append),
            )
        ),
    )

    ids: dict[str | None, list[int]] = {}
    for trade in trades:
        ids.setdefault(trade.product_id, []).append(int(trade.trade_id or 0))
    missing = {(product, one) for product, own in ids.items() for one in set(range(own[0], max(own))) - set(own)}
    numbers = {(gap.key, one) for gap in found for one in range(gap.first, gap.last + 1)}
    assert numbers - {(gap.key, gap.first) for gap in closed} == missing


@FEEDS
def test_each_trade_is_joined_with_the_last_ticker_before_it(frames: list[Frame]) -> None:
    tickers = [message for message in messages_of(frames) if isinstance(message, Ticker) and message.time]
    clock, pairs, errors = ReplayClock(), list[Any](), list[Exception]()
    messages = played(frames, clock).pipe(ops.filter(lambda message: bool(message.time)), ops.publish())
    joined = messages.pipe(
        only(Trade),
        join_by_time(
            messages.pipe(only(Ticker)),
            time=lambda one: one.time,
            key=product_of,
            lateness=1e9,
            failed=unreadable_message,
        ),
    )
    joined.subscribe(pairs.append, errors.append)
    messages.connect()
    clock.start()

    assert errors == []
    assert len(pairs) == sum(isinstance(message, Trade) for message in messages_of(frames))
    for trade, ticker in pairs:
        own = sorted((one for one in tickers if one.product_id == trade.product_id), key=_time)
        place = bisect_right([_time(one) for one in own], _time(trade))
        assert ticker == (own[place - 1] if place else None)


def unreadable_message(_message: Message, error: Exception) -> None:
    raise error


def _time(message: Message) -> tuple[datetime, str]:
    """With the digits that a datetime drops."""
    text = (message.time or "").rstrip("Z")
    whole, _, below = text.partition(".")
    return datetime.fromisoformat(whole), below.ljust(9, "0")
