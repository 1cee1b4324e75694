"""The micro level: what each operator costs an item, beside the same logic as a plain loop; and each stage a frame."""

from __future__ import annotations

import tempfile
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from heapq import heappop
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.operators import flat_map
from reactivex.scheduler import EventLoopScheduler

from benchmarks.book_messages import LEVELS, Snapshot, Update, snapshot, updates
from benchmarks.frames import payload
from benchmarks.measurements import measurements
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
from operators.join_by_time import Joined
from rxbridge.coinbase.decoding import decode
from rxbridge.events import encode, event_id, to_event
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import Frame, Ticker

_ROUNDS = 5
_FAR = 60.0
"""Seconds that no round lasts: what is measured is the path of an item, and no timer goes off meanwhile."""
_FAR_DELTA = timedelta(seconds=_FAR)
_FAR_TIME = 10**18
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REMEMBER = 20_000
_BURST = 1e9
"""Tokens that no round uses up, so that each item passes."""
_BATCH = 100
_LEVEL = 50_000
_PRICES = [f"{_LEVEL + 400 * (number % 7 - 3)}.{number:02}" for number in range(97)]
_KEYS = 100

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
        ("no operator", lambda source: source, _loop),
        ("attempt", attempt(_negative, _fail), _attempt_loop),
        ("parse", parse(_one, _fail), _parse_loop),
        ("only", only(int), _only_loop),
        ("dedupe", dedupe(_itself, remember=_REMEMBER), _dedupe_loop),
        ("crosses_above", crosses_above(_LEVEL, _price, _key), _above_loop),
        ("crosses_below", crosses_below(_LEVEL, _price, _key), _below_loop),
        ("changes_by", changes_by(_price, _key, percent=1), _change_loop),
        ("batch", batch(count=_BATCH, seconds=_FAR, scheduler=scheduler), _batch_loop),
        ("conflate", conflate(_FAR, _key, scheduler=scheduler), _conflate_loop),
        ("throttle", throttle(_FAR, _key, scheduler=scheduler), _throttle_loop),
        ("sample_latest", sample_latest(_FAR, _key, scheduler=scheduler), _sample_loop),
        ("rate_limit", rate_limit(int(_BURST), hold=0, burst=int(_BURST), scheduler=scheduler), _rate_loop),
        ("detect_gaps", detect_gaps(_itself, _one_key, found=_ignore), _gaps_loop),
        ("group_by_product", _grouped, _group_loop),
        ("group_by_product, flat_map", _grouped_and_merged, _group_loop),
        ("join_by_time", join_by_time(Observable(_one_right), time=_itself, key=_one_key), _join_loop),
        ("with_latency", with_latency(_itself, scheduler=scheduler), _latency_loop),
        ("stall_after", stall_after(_FAR, TimeoutError, scheduler=scheduler), _stall_loop),
        ("retry_with_backoff", retry_with_backoff(lambda _, __: _FAR, scheduler=scheduler), _retry_loop),
    ]
    numbers = range(items)
    try:
        return (
            [Cost("an empty hop", _best(lambda: _drive(_empty_hop, numbers), items))]
            + [
                Cost(
                    name,
                    _best(lambda chain=chain: _drive(chain, numbers), items),
                    _best(lambda loop=loop: loop(numbers, _ignore), items),
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
        Cost("decode", _best(lambda: _each(decode, received), frames)),
        Cost("event_id", _best(lambda: _each(event_id, tickers), frames)),
        Cost("to_event", _best(lambda: _each(lambda ticker: to_event(ticker, now=now), tickers), frames)),
        Cost("encode", _best(lambda: _each(lambda event: encode(event, 1), mapped), frames)),
    ]


def _played(numbers: Sequence[int]) -> Cost:
    """What an item costs that is played back on virtual time, beside a loop that keeps the time itself."""

    def play() -> None:
        clock = ReplayClock(0)
        play_back(lambda: iter(numbers), _itself, scheduler=clock).subscribe(_ignore, _raise)
        clock.start()

    return Cost("play_back", _best(play, len(numbers)), _best(lambda: _play_loop(numbers, _ignore), len(numbers)))


def _measured(count: int) -> list[Cost]:
    return [
        Cost(
            name,
            _best(lambda chain=chain, items=items: _drive(chain, items), count),
            _best(lambda loop=loop, items=items: loop(items, _ignore), count),
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

    Observable(subscribe).pipe(order_books(stale_after=_FAR, scheduler=scheduler)).subscribe(_ignore, _raise)
    emit = observers[0].on_next
    emit(full)
    book = OrderBook()

    def apply_snapshot() -> None:
        book.apply_snapshot(full.bids, full.asks)

    a_level = _best(apply_snapshot, LEVELS)
    return [
        Cost(
            "order_books, update",
            _best(lambda: _each(emit, changes), items),
            _best(lambda: _book_loop(book, changes, _ignore), items),
        ),
        Cost("OrderBook, snapshot level", a_level),
    ]


def _journal(frames: Sequence[Frame]) -> list[Cost]:
    with tempfile.TemporaryDirectory(prefix="rxbridge-benchmark-") as folder:
        journal = SqliteJournal(Path(folder) / "journal")
        try:

            def append() -> None:
                _each(journal.append, frames)
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

    operator(Observable(subscribe)).subscribe(_ignore, _raise)


def _play_loop(moments: Iterable[int], emit: Callable[[Any], None]) -> None:
    timers: list[tuple[int, Callable[[], None]]] = []
    now = 0
    for moment in moments:
        while timers and timers[0][0] <= moment:
            now, ring = heappop(timers)
            ring()
        now = max(now, moment)
        try:
            emit(moment)
        except Exception as error:  # noqa: BLE001 as the operator does
            _raise(error)


def _each(action: Callable[[Any], object], items: Iterable[Any]) -> None:
    for item in items:
        action(item)


def _ignore(_: object) -> None: ...


def _raise(error: Exception) -> None:
    raise error


def _fail(_: object, error: Exception) -> None:
    raise error


def _negative(item: int) -> int:
    return -item


def _one(item: int) -> tuple[int]:
    return (item,)


def _itself(item: int) -> int:
    return item


def _key(item: int) -> int:
    return item % _KEYS


def _loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        take(item)


def _attempt_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        try:
            result = _negative(item)
        except ValueError as error:
            _fail(item, error)
        else:
            take(result)


def _parse_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        try:
            parts = _one(item)
        except ValueError as error:
            _fail(item, error)
        else:
            for part in parts:
                take(part)


def _only_loop(items: Iterable[object], take: Callable[[Any], None]) -> None:
    for item in items:
        if isinstance(item, int):
            take(item)


def _dedupe_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    seen: OrderedDict[int, None] = OrderedDict()
    for item in items:
        key = _itself(item)
        if key in seen:
            seen.move_to_end(key)
            continue
        seen[key] = None
        if len(seen) > _REMEMBER:
            seen.popitem(last=False)
        take(item)


def _price(item: int) -> str:
    return _PRICES[item % len(_PRICES)]


def _above_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    below: OrderedDict[int, bool] = OrderedDict()
    for item in items:
        price, key = Decimal(_price(item)), _key(item)
        if key in below:
            below.move_to_end(key)
        if price <= _LEVEL:
            below[key] = True
        elif below.get(key):
            below[key] = False
            take(item)


def _below_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    above: OrderedDict[int, bool] = OrderedDict()
    for item in items:
        price, key = Decimal(_price(item)), _key(item)
        if key in above:
            above.move_to_end(key)
        if price >= _LEVEL:
            above[key] = True
        elif above.get(key):
            above[key] = False
            take(item)


def _change_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    last: OrderedDict[int, Decimal] = OrderedDict()
    for item in items:
        price, key = Decimal(_price(item)), _key(item)
        if key in last:
            last.move_to_end(key)
            if abs(price - last[key]) * 100 < abs(last[key]):
                continue
        last[key] = price
        take(item)


def _batch_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With the lock that is needed since a timer closes a batch when no item comes; so the loop reads no clock."""
    held: list[int] = []
    lock = Lock()
    for item in items:
        with lock:
            held.append(item)
            full = held if len(held) >= _BATCH else None
            if full is not None:
                held = []
        if full is not None:
            take(full)
    if held:
        take(held)


def _conflate_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With a window for each key, and the lock that is needed since a timer ends them."""
    held: dict[int, int] = {}
    windows: OrderedDict[int, float] = OrderedDict()
    lock = Lock()
    for item in items:
        key = _key(item)
        with lock:
            passes = key not in windows
            if passes:
                windows[key] = time.monotonic() + _FAR
            else:
                held[key] = item
        if passes:
            take(item)
    _each(take, held.values())


def _sample_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With the lock that is needed since a timer takes what is held."""
    held: dict[int, int] = {}
    due, lock = time.monotonic() + _FAR, Lock()
    for item in items:
        with lock:
            held[_key(item)] = item
            is_due = time.monotonic() >= due
        if is_due:
            _each(take, held.values())
            held.clear()
            due += _FAR
    _each(take, held.values())


def _throttle_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    ends: dict[int, datetime] = {}
    for item in items:
        now = datetime.now(UTC)
        key = _key(item)
        end = ends.get(key)
        if end is None or end <= now:
            ends[key] = now + _FAR_DELTA
            take(item)


def _rate_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    tokens, burst, last = _BURST, _BURST, datetime.now(UTC)
    for item in items:
        now = datetime.now(UTC)
        tokens = min(burst, tokens + (now - last).total_seconds() * burst)
        last = now
        if tokens >= 1:
            tokens -= 1
            take(item)


def _one_key(_item: int) -> int:
    return 0


def _gaps_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    expected: OrderedDict[int, int] = OrderedDict()
    for item in items:
        key, number = _one_key(item), _itself(item)
        if key in expected:
            expected.move_to_end(key)
            if number > expected[key]:
                _ignore((key, expected[key], number))
        expected[key] = number + 1
        take(item)


def _grouped(source: Observable[int]) -> Observable[int]:
    """Each group subscribed to as such: merging them again, as `ops.flat_map` does, costs more than the groups."""

    def subscribe(observer: ObserverBase[int], _scheduler: SchedulerBase | None = None) -> DisposableBase:
        def follow(group: Observable[int]) -> None:
            group.subscribe(_ignore)

        return group_by_product(_key)(source).subscribe(follow, observer.on_error, observer.on_completed)

    return Observable(subscribe)


def _grouped_and_merged(source: Observable[int]) -> Observable[int]:
    return source.pipe(group_by_product(_key), flat_map(_group_itself))


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


def _group_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    groups: OrderedDict[int, list[Callable[[Any], None]]] = OrderedDict()
    for item in items:
        key = _key(item)
        if key in groups:
            groups.move_to_end(key)
        else:
            groups[key] = [take]
        for subscriber in groups[key]:
            subscriber(item)


def _one_right(observer: ObserverBase[int], _scheduler: SchedulerBase | None = None) -> DisposableBase:
    observer.on_next(0)
    observer.on_completed()
    return Disposable()


def _join_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With the lock that whoever reads two streams needs."""
    rows: dict[int, list[tuple[int, int]]] = {0: [(0, 0)]}
    waiting: deque[tuple[int, int, int]] = deque()
    newest, lock = 0, Lock()
    for item in items:
        moment, key = _itself(item), _one_key(item)
        with lock:
            if moment < newest - _FAR_TIME:
                continue
            newest = max(newest, moment)
            waiting.append((moment, key, item))
            ready: list[Joined[int, int]] = []
            while waiting and waiting[0][0] < _FAR_TIME:
                moment, key, left = waiting.popleft()
                row = rows[key]
                index = bisect_right(row, (moment, moment)) - 1
                ready.append(Joined(left, row[index][1] if index >= 0 else None))
        for pair in ready:
            take(pair)


def _latency_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        take((item, (datetime.now(UTC) - _EPOCH).total_seconds() - _itself(item) / 1e9))


def _book_loop(book: OrderBook, changes: Iterable[Update], take: Callable[[Any], None]) -> None:
    best = book.best_bid, book.best_ask
    for update in changes:
        book.apply_update(update.changes)
        now_best = book.best_bid, book.best_ask
        if now_best != best:
            best = now_best
            take((best, book.top(10)))


@dataclass
class _Watched:
    """What a timer's thread looks at, to know of the silence while no item comes."""

    lock: Lock
    last: float
    calls: int = 0
    stopped: bool = False


def _stall_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With the lock that is needed since a timer stops it: a loop that looks itself only sees silence that is over."""
    watched = _Watched(Lock(), time.monotonic())
    for item in items:
        with watched.lock:
            if watched.stopped:
                return
            watched.calls += 1
        try:
            take(item)
        finally:
            watched.last = time.monotonic()
            watched.calls -= 1


class _SubscriberFailed(Exception): ...


def _retry_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """An item sets the waits back to the first; what the subscriber raises is not the source's to be tried again."""
    attempt = 0
    while True:
        try:
            for item in items:
                if attempt:
                    attempt = 0
                try:
                    take(item)
                except Exception as error:
                    raise _SubscriberFailed from error
        except OSError:
            attempt += 1
            time.sleep(_FAR)
        else:
            return
