"""A map whose function remembers, may fail on an item, and may have no result for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._observation import observe

A = TypeVar("A")
B = TypeVar("B")


def measure(
    make: Callable[[], Callable[[A], B | None]],
    failed: Callable[[A, Exception], None] | None,
    otherwise: Callable[[A], None] | None = None,
) -> Callable[[Observable[A]], Observable[B]]:
    """Emit what the function makes of each item; each subscription makes a function of its own.

    An item of which it makes None is told to `otherwise`, and one on which it raises to `failed`. Without `failed`, and
    if one of the two raises too, that is the stream's error.
    """

    def operator(source: Observable[A]) -> Observable[B]:
        def subscribe(observer: ObserverBase[B], scheduler: SchedulerBase | None = None) -> DisposableBase:
            emit = observer.on_next
            function = _accounted(make(), failed, otherwise)

            def on_next(item: A) -> None:
                try:
                    result = function(item)
                except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
                    observer.on_error(error)
                else:
                    if result is not None:
                        emit(result)

            return observe(source, on_next, observer, scheduler)

        return Observable(subscribe)

    return operator


def _accounted(
    function: Callable[[A], B | None],
    failed: Callable[[A, Exception], None] | None,
    otherwise: Callable[[A], None] | None,
) -> Callable[[A], B | None]:
    """The function, with word of each item of which it makes nothing."""
    if failed is None and otherwise is None:
        return function

    def accounted(item: A) -> B | None:
        try:
            result = function(item)
        except Exception as error:
            if failed is None:
                raise
            failed(item, error)
            return None
        if result is None and otherwise is not None:
            otherwise(item)
        return result

    return accounted
