"""A filter by type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._observation import observe

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")


@overload
def only(
    first: type[A], /, *, otherwise: Callable[[Any], None] | None = None
) -> Callable[[Observable[object]], Observable[A]]: ...
@overload
def only(
    first: type[A], second: type[B], /, *, otherwise: Callable[[Any], None] | None = None
) -> Callable[[Observable[object]], Observable[A | B]]: ...
@overload
def only(
    first: type[A], second: type[B], third: type[C], /, *, otherwise: Callable[[Any], None] | None = None
) -> Callable[[Observable[object]], Observable[A | B | C]]: ...
@overload
def only(
    first: type[A],
    second: type[B],
    third: type[C],
    fourth: type[D],
    /,
    *,
    otherwise: Callable[[Any], None] | None = None,
) -> Callable[[Observable[object]], Observable[A | B | C | D]]: ...
@overload
def only(
    first: type[A],
    second: type[B],
    third: type[C],
    fourth: type[D],
    fifth: type[E],
    /,
    *,
    otherwise: Callable[[Any], None] | None = None,
) -> Callable[[Observable[object]], Observable[A | B | C | D | E]]: ...
@overload
def only(
    first: type[A],
    second: type[B],
    third: type[C],
    fourth: type[D],
    fifth: type[E],
    sixth: type[F],
    /,
    *,
    otherwise: Callable[[Any], None] | None = None,
) -> Callable[[Observable[object]], Observable[A | B | C | D | E | F]]: ...
def only(
    *types: type[Any], otherwise: Callable[[Any], None] | None = None
) -> Callable[[Observable[object]], Observable[Any]]:
    """Pass the items that are instances of one of `types`, and tell the type checker so.

        source     1--'a'--2.0--3--|
                       only(int)
        result     1------------3--|
        otherwise  ---'a'--2.0-----

    An instance of a subclass passes as well, as with `isinstance`. With no types at all, nothing passes.

    Laws:
        Every item is either emitted, as it is, or passed to `otherwise`; order is kept.
        `only(A, B)` after `only(B, C)` is `only(B)`, if the types have no common instances.

    Example:
        >>> import reactivex
        >>> _ = reactivex.of(1, "a", 2.0, 3).pipe(only(int, float)).subscribe(print)
        1
        2.0
        3

    Args:
        types: Classes; the type checker follows up to six.
        otherwise: Told of each item that does not pass. What it raises is the stream's error.

    Raises:
        TypeError: Something that is no class is given.
    """
    isinstance(None, types)  # raises now, rather than at the first item, for what is no class
    # Asked for each item: one class is tested faster than a tuple of it.
    kinds = types[0] if len(types) == 1 else types

    def operator(source: Observable[object]) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            emit = observer.on_next

            def on_next(item: object) -> None:
                if isinstance(item, kinds):
                    emit(item)
                elif otherwise is not None:
                    try:
                        otherwise(item)
                    except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
                        observer.on_error(error)

            return observe(source, on_next, observer, scheduler)

        return Observable(subscribe)

    return operator
