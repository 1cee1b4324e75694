"""The logic of each operator as a plain loop, and the functions that both are given."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from heapq import heappop
from threading import Lock
from typing import Any

from benchmarks.book_messages import Update
from operators import OrderBook
from operators.join_by_time import Joined

FAR = 60.0
"""Seconds that no round lasts: what is measured is the path of an item, and no timer goes off meanwhile."""
FAR_DELTA = timedelta(seconds=FAR)
FAR_TIME = 10**18
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REMEMBER = 20_000
BURST = 1e9
"""Tokens that no round uses up, so that each item passes."""
BATCH = 100
LEVEL = 50_000
_PRICES = [f"{LEVEL + 400 * (number % 7 - 3)}.{number:02}" for number in range(97)]
_KEYS = 100


def play_loop(moments: Iterable[int], emit: Callable[[Any], None]) -> None:
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
            reraise(error)


def each(action: Callable[[Any], object], items: Iterable[Any]) -> None:
    for item in items:
        action(item)


def ignore(_: object) -> None: ...


def reraise(error: Exception) -> None:
    raise error


def fail(_: object, error: Exception) -> None:
    raise error


def negative(item: int) -> int:
    return -item


def in_one(item: int) -> tuple[int]:
    return (item,)


def itself(item: int) -> int:
    return item


def key_of(item: int) -> int:
    return item % _KEYS


def bare_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        take(item)


def attempt_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        try:
            result = negative(item)
        except ValueError as error:
            fail(item, error)
        else:
            take(result)


def parse_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        try:
            parts = in_one(item)
        except ValueError as error:
            fail(item, error)
        else:
            for part in parts:
                take(part)


def only_loop(items: Iterable[object], take: Callable[[Any], None]) -> None:
    for item in items:
        if isinstance(item, int):
            take(item)


def dedupe_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    seen: OrderedDict[int, None] = OrderedDict()
    for item in items:
        key = itself(item)
        if key in seen:
            seen.move_to_end(key)
            continue
        seen[key] = None
        if len(seen) > REMEMBER:
            seen.popitem(last=False)
        take(item)


def price_of(item: int) -> str:
    return _PRICES[item % len(_PRICES)]


def above_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    below: OrderedDict[int, bool] = OrderedDict()
    for item in items:
        price, key = Decimal(price_of(item)), key_of(item)
        if key in below:
            below.move_to_end(key)
        if price <= LEVEL:
            below[key] = True
        elif below.get(key):
            below[key] = False
            take(item)


def below_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    above: OrderedDict[int, bool] = OrderedDict()
    for item in items:
        price, key = Decimal(price_of(item)), key_of(item)
        if key in above:
            above.move_to_end(key)
        if price >= LEVEL:
            above[key] = True
        elif above.get(key):
            above[key] = False
            take(item)


def change_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    last: OrderedDict[int, Decimal] = OrderedDict()
    for item in items:
        price, key = Decimal(price_of(item)), key_of(item)
        if key in last:
            last.move_to_end(key)
            if abs(price - last[key]) * 100 < abs(last[key]):
                continue
        last[key] = price
        take(item)


def batch_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With the lock that is needed since a timer closes a batch when no item comes; so the loop reads no clock."""
    held: list[int] = []
    lock = Lock()
    for item in items:
        with lock:
            held.append(item)
            full = held if len(held) >= BATCH else None
            if full is not None:
                held = []
        if full is not None:
            take(full)
    if held:
        take(held)


def conflate_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With a window for each key, and the lock that is needed since a timer ends them."""
    held: dict[int, int] = {}
    windows: OrderedDict[int, float] = OrderedDict()
    lock = Lock()
    for item in items:
        key = key_of(item)
        with lock:
            passes = key not in windows
            if passes:
                windows[key] = time.monotonic() + FAR
            else:
                held[key] = item
        if passes:
            take(item)
    each(take, held.values())


def sample_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With the lock that is needed since a timer takes what is held."""
    held: dict[int, int] = {}
    due, lock = time.monotonic() + FAR, Lock()
    for item in items:
        with lock:
            held[key_of(item)] = item
            is_due = time.monotonic() >= due
        if is_due:
            each(take, held.values())
            held.clear()
            due += FAR
    each(take, held.values())


def throttle_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    ends: dict[int, datetime] = {}
    for item in items:
        now = datetime.now(UTC)
        key = key_of(item)
        end = ends.get(key)
        if end is None or end <= now:
            ends[key] = now + FAR_DELTA
            take(item)


def rate_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    tokens, burst, last = BURST, BURST, datetime.now(UTC)
    for item in items:
        now = datetime.now(UTC)
        tokens = min(burst, tokens + (now - last).total_seconds() * burst)
        last = now
        if tokens >= 1:
            tokens -= 1
            take(item)


def only_key(_item: int) -> int:
    return 0


def gaps_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    expected: OrderedDict[int, int] = OrderedDict()
    for item in items:
        key, number = only_key(item), itself(item)
        if key in expected:
            expected.move_to_end(key)
            if number > expected[key]:
                ignore((key, expected[key], number))
        expected[key] = number + 1
        take(item)


def group_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    groups: OrderedDict[int, list[Callable[[Any], None]]] = OrderedDict()
    for item in items:
        key = key_of(item)
        if key in groups:
            groups.move_to_end(key)
        else:
            groups[key] = [take]
        for subscriber in groups[key]:
            subscriber(item)


def join_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    """With the lock that whoever reads two streams needs."""
    rows: dict[int, list[tuple[int, int]]] = {0: [(0, 0)]}
    waiting: deque[tuple[int, int, int]] = deque()
    newest, lock = 0, Lock()
    for item in items:
        moment, key = itself(item), only_key(item)
        with lock:
            if moment < newest - FAR_TIME:
                continue
            newest = max(newest, moment)
            waiting.append((moment, key, item))
            ready: list[Joined[int, int]] = []
            while waiting and waiting[0][0] < FAR_TIME:
                moment, key, left = waiting.popleft()
                row = rows[key]
                index = bisect_right(row, (moment, moment)) - 1
                ready.append(Joined(left, row[index][1] if index >= 0 else None))
        for pair in ready:
            take(pair)


def latency_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
    for item in items:
        take((item, (datetime.now(UTC) - _EPOCH).total_seconds() - itself(item) / 1e9))


def book_loop(book: OrderBook, changes: Iterable[Update], take: Callable[[Any], None]) -> None:
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


def stall_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
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


def retry_loop(items: Iterable[int], take: Callable[[Any], None]) -> None:
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
            time.sleep(FAR)
        else:
            return
