"""A connection that has lost frames is given up where that cannot be mended otherwise: an order book needs them all."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import SingleAssignmentDisposable

from rxbridge.coinbase.advanced.sequence import follow_numbers
from rxbridge.errors import ConnectionLost
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import FeedStatistics

NUMBERED_BOOKS = "level2"
"""The channel of books, as Advanced Trade calls it. The Exchange's frames have no such numbers."""


def until_frames_are_lost(url: str, statistics: FeedStatistics) -> Callable[[Observable[Frame]], Observable[Frame]]:
    """The frames of one connection, until their numbers say that some before were lost; then ConnectionLost.

        frames     0---1---2-----4---5---
        result     0---1---2-----4X

    The frame that shows it is still emitted: it is as good as any, and whoever keeps count sees the same jump in it. A
    frame without a number, with one that was there before, or with an absurd one, shows nothing.

    Args:
        url: Of the feed, for the error.
        statistics: Where the disconnection is counted.
    """

    def operator(source: Observable[Frame]) -> Observable[Frame]:
        def subscribe(observer: ObserverBase[Frame], scheduler: SchedulerBase | None = None) -> DisposableBase:
            connection = SingleAssignmentDisposable()
            newest = -1

            def on_next(frame: Frame) -> None:
                nonlocal newest
                observer.on_next(frame)
                newest, lost = follow_numbers(newest, frame.data)
                if lost:
                    connection.dispose()
                    statistics.disconnections += 1
                    problem = f"{lost} frames were lost, and books need all of them, so they begin anew"
                    observer.on_error(ConnectionLost(url, problem))

            connection.disposable = source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )
            return connection

        return Observable(subscribe)

    return operator
