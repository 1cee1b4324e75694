"""The words: `connect(source).to(sink)`."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Generic, TypeVar, cast

from reactivex import Observable
from reactivex.abc import ObserverBase

from rxbridge.connecting.connection import Connection, Overflow, refuse_ended

A = TypeVar("A")


def connect(source: Observable[A]) -> Plug[A]:
    """An Observable that is about to be connected: `connect(source).to(sink)` begins.

    Args:
        source: Any Observable. It is not subscribed to before there is a sink.

    Raises:
        TypeError: The source is no Observable.
    """
    if not isinstance(source, Observable):  # pyright: ignore[reportUnnecessaryIsInstance] a notebook has no type checker
        given = type(source).__name__
        raise TypeError(f"connect takes an Observable, not {given}: reactivex.from_iterable makes one of a list")
    return Plug(source)


class Plug(Generic[A]):
    """What `connect` gives."""

    def __init__(self, source: Observable[A]) -> None:
        self._source = source

    def __repr__(self) -> str:
        return "<an Observable that waits for .to(sink)>"

    def to(
        self,
        sink: ObserverBase[A] | MutableSequence[A] | Callable[[A], object],
        *,
        buffer: int = 10_000,
        overflow: Overflow = "block",
    ) -> Connection[A]:
        """Begin, on threads of its own; returns at once.

        Args:
            sink: An observer, such as `PulseStream` or `Rows`, or one of your own (docs/write-a-sink.md); a list, that
                everything is appended to; or a function, that is called with everything. It may block, and may raise,
                which ends the connection. One that can be disposed of is, at the end.
            buffer: Items that may wait for the sink.
            overflow: What is done when so many wait: `block` holds the source back, and loses nothing. A live feed that
                is held back for long is cut off by Coinbase; `drop_oldest` drops, and counts, what has waited longest.

        Raises:
            ValueError: `buffer` is not positive, or `overflow` is none of the two.
            TypeError: The sink is none of these.
            RuntimeError: The sink has ended, as `PulseStream` has with its first stream.
        """
        if buffer < 1:
            raise ValueError(f"buffer must be positive: {buffer}")
        if overflow not in {"block", "drop_oldest"}:
            raise ValueError(f"overflow must be 'block' or 'drop_oldest': {overflow!r}")
        refuse_ended(sink)
        # A class might be two of these at once, which is why a checker needs to be told.
        kind = type(sink).__name__
        if isinstance(sink, ObserverBase):
            observer, name = cast("ObserverBase[A]", sink), kind
        elif isinstance(sink, MutableSequence):
            observer, name = _Calling[A](cast("MutableSequence[A]", sink).append), f"a {kind}"
        elif callable(sink):
            observer, name = _Calling[A](sink), str(getattr(sink, "__qualname__", kind))
        else:
            raise TypeError(f"a sink is an observer, a list or a function, not {kind}")
        return Connection(self._source, observer, buffer=buffer, overflow=overflow, name=name)


class _Calling(ObserverBase[A]):
    """A function as a sink."""

    def __init__(self, function: Callable[[A], object]) -> None:
        self._function = function

    def on_next(self, value: A) -> None:
        self._function(value)

    def on_error(self, error: Exception) -> None:
        """The connection says what failed."""

    def on_completed(self) -> None:
        """Nothing is in hand."""
