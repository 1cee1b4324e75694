"""A filter whose condition remembers, and may fail on an item."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._observation import observe

A = TypeVar("A")


def pass_when(
    make: Callable[[], Callable[[A], bool]], failed: Callable[[A, Exception], None] | None
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass the items for which the condition holds; each subscription makes one of its own.

    What the condition raises is told to `failed`; without it, and if that raises too, it is the stream's error.
    """

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], scheduler: SchedulerBase | None = None) -> DisposableBase:
            emit = observer.on_next
            condition = make()

            def on_next(item: A) -> None:
                try:
                    passes = condition(item)
                except Exception as error:  # noqa: BLE001 whatever a user's function raises is the item's failure
                    fail(item, error)
                else:
                    if passes:
                        emit(item)

            def fail(item: A, error: Exception) -> None:
                if failed is None:
                    observer.on_error(error)
                    return
                try:
                    failed(item, error)
                except Exception as unexpected:  # noqa: BLE001 whatever a user's function raises is the stream's error
                    observer.on_error(unexpected)

            return observe(source, on_next, observer, scheduler)

        return Observable(subscribe)

    return operator
