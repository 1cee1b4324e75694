"""The micro level: what each operator costs an item, beside the same logic as a plain loop; and each stage a frame."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.operators import flat_map
from reactivex.scheduler import EventLoopScheduler

from benchmarks.book_messages import LEVELS, Snapshot, Update, snapshot, updates
from benchmarks.frames import payload
from benchmarks.measurements import measurements
from benchmarks.plain_loops import (
    BATCH,
    BURST,
    FAR,
    LEVEL,
    REMEMBER,
    above_loop,
    attempt_loop,
    bare_loop,
    batch_loop,
    below_loop,
    book_loop,
    change_loop,
    conflate_loop,
    dedupe_loop,
    each,
    fail,
    gaps_loop,
    group_loop,
    ignore,
    in_one,
    itself,
    join_loop,
    key_of,
    latency_loop,
    negative,
    only_key,
    only_loop,
    parse_loop,
    play_loop,
    price_of,
    rate_loop,
    reraise,
    retry_loop,
    sample_loop,
    stall_loop,
    throttle_loop,
)
from operators import (
    OrderBook,
    ReplayClock,
    attempt,
    batch,
    changes_by,
    conflate,
    crosses_above,
    crosses_below,
    dedupe,
    detect_gaps,
    group_by_product,
    join_by_time,
    only,
    order_books,
    parse,
    play_back,
    rate_limit,
    retry_with_backoff,
    sample_latest,
    stall_after,
    throttle,
    with_latency,
)
from rxbridge.coinbase.decoding import decode
from rxbridge.events import encode, event_id, to_event
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import Frame, Ticker

_ROUNDS = 5

Operator: TypeAlias = Callable[[Observable[int]], Observable[Any]]
Loop: TypeAlias = Callable[[Iterable[int], Callable[[Any], None]], None]


@dataclass(frozen=True)
class Cost:
    """CPU microseconds an item; the same logic as a plain loop, where there is such a thing."""

    name: str
    microseconds: float
    plain_loop: float | None = None

    @property
    def times_the_loop(self) -> float | None:
        """How often the loop would fit into it."""
        return self.microseconds / self.plain_loop if self.plain_loop else None


def operators(items: int) -> list[Cost]:
    """What a chain of a source, the operator and a subscriber costs an item.

    The first two lines are such a chain with an operator that does nothing, and one without any. Each loop does what
    the operator does on the path of an item. Where a timer's thread takes part, the loop has the lock that this needs,
    as it would have to; where none does, it has none.
    """
    scheduler = EventLoopScheduler()
    chains: list[tuple[str, Operator, Loop]] = [
        ("no operator", lambda source: source, bare_loop),
        ("attempt", attempt(negative, fail), attempt_loop),
        ("parse", parse(in_one, fail), parse_loop),
        ("only", only(int), only_loop),
        ("dedupe", dedupe(itself, remember=REMEMBER), dedupe_loop),
        ("crosses_above", crosses_above(LEVEL, price_of, key_of), above_loop),
        ("crosses_below", crosses_below(LEVEL, price_of, key_of), below_loop),
        ("changes_by", changes_by(price_of, key_of, percent=1), change_loop),
        ("batch", batch(count=BATCH, seconds=FAR, scheduler=scheduler), batch_loop),
        ("conflate", conflate(FAR, key_of, scheduler=scheduler), conflate_loop),
        ("throttle", throttle(FAR, key_of, scheduler=scheduler), throttle_loop),
        ("sample_latest", sample_latest(FAR, key_of, scheduler=scheduler), sample_loop),
        ("rate_limit", rate_limit(int(BURST), hold=0, burst=int(BURST), scheduler=scheduler), rate_loop),
        ("detect_gaps", detect_gaps(itself, only_key, found=ignore), gaps_loop),
        ("group_by_product", _grouped, group_loop),
        ("group_by_product, flat_map", _grouped_and_merged, group_loop),
        ("join_by_time", join_by_time(Observable(_one_right), time=itself, key=only_key), join_loop),
        ("with_latency", with_latency(itself, scheduler=scheduler), latency_loop),
        ("stall_after", stall_after(FAR, TimeoutError, scheduler=scheduler), stall_loop),
        ("retry_with_backoff", retry_with_backoff(lambda _, __: FAR, scheduler=scheduler), retry_loop),
    ]
    numbers = range(items)
    try:
        return (
            [Cost("an empty hop", _best(lambda: _drive(_empty_hop, numbers), items))]
            + [
                Cost(
                    name,
                    _best(lambda chain=chain: _drive(chain, numbers), items),
                    _best(lambda loop=loop: loop(numbers, ignore), items),
                )
                for name, chain, loop in chains
            ]
            + [_played(numbers), *_measured(items), *_books(items, scheduler)]
        )
    finally:
        scheduler.dispose()


def stages(frames: int) -> list[Cost]:
    """What the journal and the mapping cost a frame."""
    second = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
    now = time.time_ns()
    received = [Frame(payload(index, second), now, now, index) for index in range(frames)]
    messages = [message for frame in received for message in decode(frame)]
    tickers = [message for message in messages if isinstance(message, Ticker)]
    mapped = [to_event(ticker, now=now) for ticker in tickers]
    return [
        *_journal(received),
        Cost("decode", _best(lambda: each(decode, received), frames)),
        Cost("event_id", _best(lambda: each(event_id, tickers), frames)),
        Cost("to_event", _best(lambda: each(lambda ticker: to_event(ticker, now=now), tickers), frames)),
        Cost("encode", _best(lambda: each(lambda event: encode(event, 1), mapped), frames)),
    ]


def _played(numbers: Sequence[int]) -> Cost:
    """What an item costs that is played back on virtual time, beside a loop that keeps the time itself."""

    def play() -> None:
        clock = ReplayClock(0)
        play_back(lambda: iter(numbers), itself, scheduler=clock).subscribe(ignore, reraise)
        clock.start()

    return Cost("play_back", _best(play, len(numbers)), _best(lambda: play_loop(numbers, ignore), len(numbers)))


def _measured(count: int) -> list[Cost]:
    return [
        Cost(
            name,
            _best(lambda chain=chain, items=items: _drive(chain, items), count),
            _best(lambda loop=loop, items=items: loop(items, ignore), count),
        )
        for name, chain, items, loop in measurements(count)
    ]


def _books(items: int, scheduler: SchedulerBase) -> list[Cost]:
    """What a change of a book of 46,000 levels costs, beside the book alone, and a level of its snapshot."""
    full, changes = snapshot(), updates(items)
    observers: list[ObserverBase[Snapshot | Update]] = []

    def subscribe(observer: ObserverBase[Snapshot | Update], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        observers.append(observer)
        return Disposable()

    Observable(subscribe).pipe(order_books(stale_after=FAR, scheduler=scheduler)).subscribe(ignore, reraise)
    emit = observers[0].on_next
    emit(full)
    book = OrderBook()

    def apply_snapshot() -> None:
        book.apply_snapshot(full.bids, full.asks)

    a_level = _best(apply_snapshot, LEVELS)
    return [
        Cost(
            "order_books, update",
            _best(lambda: each(emit, changes), items),
            _best(lambda: book_loop(book, changes, ignore), items),
        ),
        Cost("OrderBook, snapshot level", a_level),
    ]


def _journal(frames: Sequence[Frame]) -> list[Cost]:
    with tempfile.TemporaryDirectory(prefix="rxbridge-benchmark-") as folder:
        journal = SqliteJournal(Path(folder) / "journal")
        try:

            def append() -> None:
                each(journal.append, frames)
                journal.flush()

            def read() -> None:
                after = 0
                while page := journal.read(after):
                    after = page[-1].offset

            # In this order: what is read are the frames of all rounds.
            appended = _best(append, len(frames))
            return [
                Cost("journal append, confirmed", appended),
                Cost("journal read", _best(read, len(frames) * _ROUNDS)),
            ]
        finally:
            journal.close()


def _best(action: Callable[[], None], items: int) -> float:
    """CPU microseconds an item, of all threads, in the best of some rounds: what disturbs one only makes it longer."""
    rounds: list[float] = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        action()
        rounds.append(time.process_time() - start)
    return min(rounds) / items * 1e6


def _drive(operator: Callable[[Observable[Any]], Observable[Any]], items: Iterable[Any]) -> None:
    def subscribe(observer: ObserverBase[Any], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        for item in items:
            observer.on_next(item)
        observer.on_completed()
        return Disposable()

    operator(Observable(subscribe)).subscribe(ignore, reraise)


def _grouped(source: Observable[int]) -> Observable[int]:
    """Each group subscribed to as such: merging them again, as `ops.flat_map` does, costs more than the groups."""

    def subscribe(observer: ObserverBase[int], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        def follow(group: Observable[int]) -> None:
            group.subscribe(ignore)

        return group_by_product(key_of)(source).subscribe(follow, observer.on_error, observer.on_completed)

    return Observable(subscribe)


def _grouped_and_merged(source: Observable[int]) -> Observable[int]:
    return source.pipe(group_by_product(key_of), flat_map(_group_itself))


def _group_itself(group: Observable[int]) -> Observable[int]:
    return group


def _empty_hop(source: Observable[int]) -> Observable[int]:
    """An operator that does nothing: what the library takes for any."""

    def subscribe(observer: ObserverBase[int], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        emit = observer.on_next

        def on_next(item: int) -> None:
            emit(item)

        return source.subscribe(on_next, observer.on_error, observer.on_completed)

    return Observable(subscribe)


def _one_right(observer: ObserverBase[int], _scheduler: SchedulerBase | None = None) -> DisposableBase:
    observer.on_next(0)
    observer.on_completed()
    return Disposable()
