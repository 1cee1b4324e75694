"""How an operator that takes one item after the other observes its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

A = TypeVar("A")


class _Observation(ObserverBase[A]):
    __slots__ = ("on_completed", "on_error", "on_next")

    def __init__(self, on_next: Callable[[A], None], observer: ObserverBase[Any]) -> None:
        # An attribute rather than a method, which would be one more call for each item.
        self.on_next = on_next  # pyright: ignore[reportAttributeAccessIssue] the base class names the parameter
        self.on_error = observer.on_error
        self.on_completed = observer.on_completed


def observe(
    source: Observable[A],
    on_next: Callable[[A], None],
    observer: ObserverBase[Any],
    scheduler: SchedulerBase | None,
) -> DisposableBase:
    """Give each item to `on_next`; the source's end goes to the observer as it is.

    `Observable.subscribe` puts a guard before each observer, which lets nothing through after the end, and disposes the
    subscription then. The one at the end of the chain guards all of it, so that a guard in each operator costs a call
    an item and nothing is won. To be called while an operator is subscribed to, and for what is returned there.
    """
    return source._subscribe_core(_Observation(on_next, observer), scheduler)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] the same but for the guard
