"""Duplicates dropped by key, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._observation import observe

A = TypeVar("A")


def dedupe(
    key: Callable[[A], Hashable | None],
    *,
    remember: int = 100_000,
    seen: Iterable[Hashable] = (),
    repeated: Callable[[A], None] | None = None,
) -> Callable[[Observable[A]], Observable[A]]:
    """Drop an item whose key was seen before, among the last `remember` distinct keys.

        source    a1--b1--a1--a2--b1--a1--|
                      dedupe(key)
        result    a1--b1------a2----------|
        repeated  --------a1------b1--a1--

    What counts is whether the key was seen, not how it compares: a trade with a lower id, come late, passes. An item
    whose key is None is no duplicate of anything.

    A repeat refreshes its key: the key that was not seen for the longest is forgotten first. So the one trade that a
    quiet product repeats at every reconnect stays known however many others pass, as long as it keeps coming.

    Laws:
        Every item is either emitted or passed to `repeated`; order is kept.
        With no more than `remember` keys in all, each is emitted once; applied twice is the same as once.
        Memory is `remember` keys.

    Example:
        >>> import reactivex
        >>> _ = reactivex.of(7, 8, 7, 6, None, None).pipe(dedupe(lambda number: number, seen=[8])).subscribe(print)
        7
        6
        None
        None

    Args:
        key: What makes two items the same. An exception, or a key that cannot be hashed, is the stream's error.
        remember: How many distinct keys to know.
        seen: Keys to know from the start, the oldest first; of more than `remember` the last ones count.
        repeated: Told of each item that is dropped. What it raises is the stream's error.

    Raises:
        ValueError: `remember` is not positive.
    """
    if remember < 1:
        raise ValueError(f"remember must be positive: {remember}")
    known_at_first = _RecentKeys(remember)
    for one in seen:
        known_at_first.has(one)

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], scheduler: SchedulerBase | None = None) -> DisposableBase:
            emit = observer.on_next
            known = known_at_first.copy()

            def on_next(item: A) -> None:
                try:
                    item_key = key(item)
                    repeats = item_key is not None and known.has(item_key)
                    if repeats and repeated is not None:
                        repeated(item)
                except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
                    observer.on_error(error)
                else:
                    if not repeats:
                        emit(item)

            return observe(source, on_next, observer, scheduler)

        return Observable(subscribe)

    return operator


class _RecentKeys:
    """The last `most` distinct keys, in the order in which they came last."""

    def __init__(self, most: int) -> None:
        # Not a dict: removing its oldest key over and over has it walk across all that were removed before.
        self._keys = OrderedDict[Hashable, None]()
        self._most = most

    def copy(self) -> _RecentKeys:
        other = _RecentKeys(self._most)
        other._keys = self._keys.copy()
        return other

    def has(self, key: Hashable) -> bool:
        """Whether the key is known; from now on it is, as the newest."""
        keys = self._keys
        if key in keys:
            keys.move_to_end(key)
            return True
        keys[key] = None
        if len(keys) > self._most:
            keys.popitem(last=False)
        return False
