"""A stream of its own for each product, for a bounded number of products at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

import reactivex
from reactivex import GroupedObservable, Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, RefCountDisposable, SingleAssignmentDisposable

A = TypeVar("A")
K = TypeVar("K", bound=Hashable)


def group_by_product(
    product: Callable[[A], K], *, most_groups: int = 1_000, completed: Callable[[K], None] | None = None
) -> Callable[[Observable[A]], Observable[GroupedObservable[K, A]]]:
    """Emit a group for each product, an observable of its items, with at most `most_groups` of them alive.

        source  a1-b1-a2-c1-b2----|
                    group_by_product(product, most_groups=2)
        result  a--b-----c--b-----|
        a       a1----a2----|          completed, since c and b were used after it
        b       ---b1----|             completed for c
        c       ---------c1-------|
        b       ------------b2----|    a new group

    A product that comes when there are as many groups completes the group that was not used for the longest, before
    its own is emitted, so whatever the group's subscribers hold is let go of. If the completed product comes back, it
    gets a new group. `group.key` is the product. Subscribe to a group within the call that emits it, as `ops.flat_map`
    does: an item that nobody is subscribed for is lost, as with `ops.group_by`, and the first one follows at once.

    The end of the source ends all groups, in the order in which they were used, and then the stream. Disposing the
    stream ends the subscription to the source when no group is subscribed to any more, as with `ops.group_by`, so
    `ops.take(1)` leaves the first group alive. What `product` raises is the error of all groups, and of the stream.

    Laws:
        The items of all groups are those of the source, each in one group, in order; merged again they are the source.
        The items of one group have its product. No more than `most_groups` are alive at a time.
        With no more than `most_groups` products in all, this is `ops.group_by`.
        Memory is `most_groups` groups.

    Example:
        >>> import reactivex
        >>> from reactivex import operators as ops
        >>> counted = reactivex.of("a1", "b1", "a2", "c1", "b2").pipe(
        ...     group_by_product(lambda quote: quote[0], most_groups=2),
        ...     ops.flat_map(lambda group: group.pipe(ops.count(), ops.map(lambda count: (group.key, count)))),
        ... )
        >>> _ = counted.subscribe(print)
        ('b', 1)
        ('a', 2)
        ('c', 1)
        ('b', 1)

    Args:
        product: What an item is about. An exception, or what cannot be hashed, is the stream's error.
        most_groups: How many groups are alive at a time.
        completed: Told of each product whose group has made room. What it raises is the stream's error.

    Raises:
        ValueError: `most_groups` is not positive.
    """
    if most_groups < 1:
        raise ValueError(f"most_groups must be positive: {most_groups}")

    def operator(source: Observable[A]) -> Observable[GroupedObservable[K, A]]:
        def subscribe(
            observer: ObserverBase[GroupedObservable[K, A]], scheduler: SchedulerBase | None = None
        ) -> DisposableBase:
            return _Grouping(observer, product, most_groups, completed).connect(source, scheduler)

        return Observable(subscribe)

    return operator


class _Group(GroupedObservable[K, A]):
    """A group, and who is subscribed to it.

    The library's has a `Subject` and two observables around it, each of which costs an item as much as all of this.
    """

    def __init__(self, key: K, subscription: RefCountDisposable) -> None:
        super().__init__(key, reactivex.never())
        self._subscription = subscription
        self._changing = Lock()
        self._observers: tuple[ObserverBase[A], ...] = ()
        self._end: Callable[[ObserverBase[A]], None] | None = None

    def _subscribe_core(self, observer: ObserverBase[A], scheduler: SchedulerBase | None = None) -> DisposableBase:  # noqa: ARG002 the library's signature
        with self._changing:
            end = self._end
            if end is None:
                self._observers += (observer,)
        if end is not None:
            end(observer)
        return CompositeDisposable(self._subscription.disposable, Disposable(partial(self._leave, observer)))

    def on_next(self, item: A) -> None:
        for observer in self._observers:
            observer.on_next(item)

    def finish(self, error: Exception | None = None) -> None:
        def end(observer: ObserverBase[A]) -> None:
            if error is None:
                observer.on_completed()
            else:
                observer.on_error(error)

        with self._changing:
            self._end = end
            observers, self._observers = self._observers, ()
        for observer in observers:
            end(observer)

    def _leave(self, observer: ObserverBase[A]) -> None:
        with self._changing:
            self._observers = tuple(other for other in self._observers if other is not observer)


class _Grouping(Generic[K, A]):
    """The groups, the one that was not used for the longest first."""

    def __init__(
        self,
        observer: ObserverBase[GroupedObservable[K, A]],
        product: Callable[[A], K],
        most: int,
        completed: Callable[[K], None] | None,
    ) -> None:
        self._observer = observer
        self._product = product
        self._most = most
        self._completed = completed
        self._groups: OrderedDict[K, _Group[K, A]] = OrderedDict()
        self._source = SingleAssignmentDisposable()
        self._subscription = RefCountDisposable(self._source)

    def connect(self, source: Observable[A], scheduler: SchedulerBase | None) -> DisposableBase:
        self._source.disposable = source.subscribe(self._on_next, self._end, self._end, scheduler=scheduler)
        return self._subscription

    def _on_next(self, item: A) -> None:
        try:
            key = self._product(item)
            group = self._groups.get(key)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self._end(error)
            return
        if group is None:
            group = self._begin(key)
        else:
            self._groups.move_to_end(key)
        if group is not None:
            group.on_next(item)

    def _begin(self, key: K) -> _Group[K, A] | None:
        """Make room, and then the group; None if the stream has ended over it."""
        while len(self._groups) >= self._most:
            oldest, group = self._groups.popitem(last=False)
            group.finish()
            try:
                if self._completed is not None:
                    self._completed(oldest)
            except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
                self._end(error)
                return None
        # Whoever heard of the completion may have pushed an item of this very product.
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group[K, A](key, self._subscription)
            self._observer.on_next(group)
        return group

    def _end(self, error: Exception | None = None) -> None:
        self._source.dispose()
        groups = list(self._groups.values())
        self._groups.clear()
        for group in groups:
            group.finish(error)
        if error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(error)
