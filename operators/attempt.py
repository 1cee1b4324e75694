"""Functions that may fail for an item, without ending the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._observation import observe

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


def attempt(
    function: Callable[[A], B], failed: Callable[[A, Exception], None]
) -> Callable[[Observable[A]], Observable[B]]:
    """Map each item; one for which `function` raises goes to `failed` instead, and the stream lives on.

        source  a---b---c-|
                    attempt(function, failed), where function(b) raises
        result  A-------C-|
        failed  ----b-----

    Laws:
        Every item is either emitted, mapped, or passed to `failed`; order is kept.
        With a function that never raises it is `ops.map`.
        What the subscriber raises is no failure of `function`.

    Example:
        >>> import reactivex
        >>> def failed(text: str, error: Exception) -> None:
        ...     print(f"{text}: {error}")
        >>> _ = reactivex.of("1", "x", "3").pipe(attempt(int, failed)).subscribe(print)
        1
        x: invalid literal for int() with base 10: 'x'
        3

    Args:
        function: Maps an item.
        failed: Told of each item that could not be mapped, and why. What it raises itself is the stream's error.
    """
    return _attempt(function, failed, _emit_one)


def parse(
    decode: Callable[[A], Iterable[B]], failed: Callable[[A, Exception], None]
) -> Callable[[Observable[A]], Observable[B]]:
    """Turn each item into any number of others; all of them or, if `decode` raises, none.

        source  a-------b---c------|
                    parse(decode, failed), where decode(b) raises midway
        result  a1a2a3------c1c2---|
        failed  --------b----------

    What `decode` returns is evaluated to its end before the first of it is emitted, so it may be a generator.

    Laws:
        Every item is either emitted, decoded and whole, or passed to `failed`; order is kept.
        `parse(lambda item: (function(item),), failed)` is `attempt(function, failed)`.

    Example:
        >>> import reactivex
        >>> from collections.abc import Iterator
        >>> def numbers(line: str) -> Iterator[int]:
        ...     return (int(word) for word in line.split())
        >>> _ = reactivex.of("1 2", "3 x 5", "", "6").pipe(
        ...     parse(numbers, lambda line, error: print("failed:", line)),
        ... ).subscribe(print)
        1
        2
        failed: 3 x 5
        6

    Args:
        decode: Gives an item's parts.
        failed: Told of each item that could not be decoded, and why. What it raises itself is the stream's error.
    """

    def decode_all(item: A) -> tuple[B, ...]:
        return tuple(decode(item))

    return _attempt(decode_all, failed, _emit_each)


def _attempt(
    function: Callable[[A], B],
    failed: Callable[[A, Exception], None],
    emitter: Callable[[ObserverBase[C]], Callable[[B], None]],
) -> Callable[[Observable[A]], Observable[C]]:
    def operator(source: Observable[A]) -> Observable[C]:
        def subscribe(observer: ObserverBase[C], scheduler: SchedulerBase | None = None) -> DisposableBase:
            emit = emitter(observer)

            def on_next(item: A) -> None:
                try:
                    result = function(item)
                except Exception as error:  # noqa: BLE001 whichever way an item fails, the stream lives on
                    try:
                        failed(item, error)
                    except Exception as unhandled:  # noqa: BLE001 nobody is left to take the item
                        observer.on_error(unhandled)
                else:
                    emit(result)

            return observe(source, on_next, observer, scheduler)

        return Observable(subscribe)

    return operator


def _emit_one(observer: ObserverBase[C]) -> Callable[[C], None]:
    return observer.on_next


def _emit_each(observer: ObserverBase[C]) -> Callable[[tuple[C, ...]], None]:
    def emit(items: tuple[C, ...]) -> None:
        for item in items:
            observer.on_next(item)

    return emit
