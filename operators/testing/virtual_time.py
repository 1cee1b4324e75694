"""A scheduler on which hours pass in no time, and the record of what happened on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, TypeVar, overload

from reactivex import GroupedObservable, Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import VirtualTimeScheduler

from operators.testing.run import Place, Recorder, Run
from operators.testing.timeline import Kind, Moment, Timeline, timeline

A = TypeVar("A")
K = TypeVar("K")

MOST_ACTIONS = 1_000_000
"""After so many actions a run without an end is taken for one that has none."""

_START = 0.0


class VirtualTime(VirtualTimeScheduler):
    """Virtual time, in seconds from 0, for one run.

    Give it to the operators as their `scheduler`, make sources on it, and `run` what you made of them. What is due at
    one moment runs in the order in which it was scheduled, so the same run gives the same result, always. Unlike the
    library's virtual time, it does not move on by itself when more than a hundred things happen at one moment.

    Example:
        >>> from operators import batch
        >>> clock = VirtualTime()
        >>> source = clock.cold("a-b-c-d--e-----|")
        >>> run = clock.run(source.pipe(batch(count=3, seconds=4, scheduler=clock)))
        >>> print(run.timeline)
        4 s: ['a', 'b', 'c']
        10 s: ['d', 'e']
        15 s: completed
        >>> run.source("source").subscriptions
        (Subscription(start=0.0, end=15.0),)
    """

    def __init__(self) -> None:
        super().__init__(_START)
        self._recorders: list[Recorder] = []

    @property
    def seconds(self) -> float:
        """What the time is."""
        return float(self.to_seconds(self.now))

    @overload
    def cold(self, marbles: Timeline[A], values: None = None, /, *, name: str = "source") -> Observable[A]: ...
    @overload
    def cold(
        self, marbles: str, values: Mapping[str, A], /, *, name: str = "source", error: Exception | None = None
    ) -> Observable[A]: ...
    @overload
    def cold(
        self, marbles: str, values: None = None, /, *, name: str = "source", error: Exception | None = None
    ) -> Observable[Any]: ...
    @overload
    def cold(
        self, marbles: str, /, *, name: str = "source", error: Exception | None = None, **named: A
    ) -> Observable[A]: ...
    def cold(
        self,
        marbles: str | Timeline[Any],
        values: Mapping[str, Any] | None = None,
        /,
        *,
        name: str = "source",
        error: Exception | None = None,
        **named: Any,
    ) -> Observable[Any]:
        """A source that starts anew for each subscriber. Marbles are read as `timeline` does, a tick a second.

        Of two with one name the second is drawn on the same line: make it when the first has failed, to be retried.
        """
        recorder = self._recorder(name, "source")
        moments = _moments(marbles, values, named, error)

        def subscribe(observer: ObserverBase[Any], _scheduler: SchedulerBase | None = None) -> DisposableBase:
            end = recorder.begin(self.seconds)
            scheduled = CompositeDisposable(Disposable(lambda: end(self.seconds)))
            for moment in moments:
                action = partial(self._emit, recorder, moment, [observer])
                scheduled.add(self.schedule_relative(moment.time, action))
            return scheduled

        return Observable(subscribe)

    @overload
    def hot(self, marbles: Timeline[A], values: None = None, /, *, name: str = "source") -> Observable[A]: ...
    @overload
    def hot(
        self, marbles: str, values: Mapping[str, A], /, *, name: str = "source", error: Exception | None = None
    ) -> Observable[A]: ...
    @overload
    def hot(
        self, marbles: str, values: None = None, /, *, name: str = "source", error: Exception | None = None
    ) -> Observable[Any]: ...
    @overload
    def hot(
        self, marbles: str, /, *, name: str = "source", error: Exception | None = None, **named: A
    ) -> Observable[A]: ...
    def hot(
        self,
        marbles: str | Timeline[Any],
        values: Mapping[str, Any] | None = None,
        /,
        *,
        name: str = "source",
        error: Exception | None = None,
        **named: Any,
    ) -> Observable[Any]:
        """A source that goes its way from now on, whoever is subscribed; otherwise as `cold`."""
        recorder = self._recorder(name, "source", hot=True)
        observers: list[ObserverBase[Any]] = []
        for moment in _moments(marbles, values, named, error):
            self.schedule_relative(moment.time, partial(self._emit, recorder, moment, observers))

        def subscribe(observer: ObserverBase[Any], _scheduler: SchedulerBase | None = None) -> DisposableBase:
            end = recorder.begin(self.seconds)
            observers.append(observer)

            def dispose() -> None:
                end(self.seconds)
                if observer in observers:
                    observers.remove(observer)

            return Disposable(dispose)

        return Observable(subscribe)

    def told(self, name: str) -> Callable[..., None]:
        """A callback for an operator, such as `failed` or `repeated`, that keeps what it is told first, and when."""
        recorder = self._recorder(name, "told")

        def tell(item: object, *_: object) -> None:
            recorder.moments.append(Moment(self.seconds, "item", item))

        return tell

    def watch(self, name: str) -> Callable[[Observable[A]], Observable[A]]:
        """An operator that changes nothing, and keeps what passes at this place of a chain, and when.

        A picture that reads its text from the code leaves it out.
        """
        recorder = self._recorder(name, "watched")

        def operator(source: Observable[A]) -> Observable[A]:
            return self._watched(source, recorder)

        return operator

    def watch_groups(
        self, name: Callable[[Any], str] = str
    ) -> Callable[[Observable[GroupedObservable[K, A]]], Observable[GroupedObservable[K, A]]]:
        """Likewise for the groups of a grouped stream: subscribe to each, and keep it under the name of its key."""

        def watch(group: GroupedObservable[K, A]) -> None:
            recorder = self._recorder(name(group.key), "group")
            self._watched(group, recorder).subscribe(on_error=_leave, scheduler=self)

        return ops.do_action(watch)

    def run(
        self, observable: Observable[A], *, subscribe: float = 0.0, dispose: float = inf, until: float = inf
    ) -> Run[A]:
        """Subscribe, let time pass, and tell what happened.

        Args:
            observable: What is looked at.
            subscribe: When to subscribe, in seconds.
            dispose: When to dispose the subscription.
            until: When to stop looking. Without it the run is over when there is nothing left to do.

        Raises:
            RuntimeError: After a million actions there is still more to do.
        """
        self._pass_time(subscribe, before=True)
        recorder = Recorder("result", "result")
        subscription = self._watched(observable, recorder).subscribe(on_error=_leave, scheduler=self)
        if dispose < until:
            self._pass_time(dispose)
            subscription.dispose()
        over = self._pass_time(until)
        lanes = [one.lane() for one in self._recorders]
        sources, told, watched, groups = (
            tuple(lane for lane in lanes if lane.kind == kind) for kind in ("source", "told", "watched", "group")
        )
        return Run(recorder.lane(), sources, told, watched, groups, over)

    def _watched(self, observable: Observable[A], recorder: Recorder) -> Observable[A]:
        def note(kind: Kind, value: Any = None, error: Exception | None = None) -> None:
            recorder.moments.append(Moment(self.seconds, kind, value, error))

        def subscribe(observer: ObserverBase[A], scheduler: SchedulerBase | None = None) -> DisposableBase:
            end = recorder.begin(self.seconds)

            def on_next(item: A) -> None:
                note("item", item)
                observer.on_next(item)

            def on_error(error: Exception) -> None:
                note("error", error=error)
                observer.on_error(error)

            def on_completed() -> None:
                note("completion")
                observer.on_completed()

            subscription = observable.subscribe(on_next, on_error, on_completed, scheduler=scheduler)
            return CompositeDisposable(subscription, Disposable(lambda: end(self.seconds)))

        return Observable(subscribe)

    def _recorder(self, name: str, kind: Place, *, hot: bool = False) -> Recorder:
        for recorder in self._recorders:
            if (recorder.name, recorder.kind, recorder.hot) == (name, kind, hot):
                return recorder
        recorder = Recorder(name, kind, hot)
        self._recorders.append(recorder)
        return recorder

    def _emit(
        self,
        recorder: Recorder,
        moment: Moment[Any],
        observers: list[ObserverBase[Any]],
        _scheduler: SchedulerBase,
        _state: object = None,
    ) -> None:
        recorder.moments.append(replace(moment, time=self.seconds))
        for observer in tuple(observers):
            if moment.kind == "item":
                observer.on_next(moment.value)
            elif moment.error is not None:
                observer.on_error(moment.error)
            else:
                observer.on_completed()

    def _pass_time(self, until: float, *, before: bool = False) -> float:
        """Do what is due up to `until`, or before it; the time of the last action if there is no such end."""
        actions = 0
        while self._queue:
            due = float(self.to_seconds(self._queue.peek().duetime))
            if due > until or (before and due == until):
                break
            item = self._queue.dequeue()
            if item.is_cancelled():
                continue
            self._clock = max(due, self.seconds)
            item.invoke()
            actions += 1
            if actions >= MOST_ACTIONS:
                raise RuntimeError(f"after {actions} actions there is still more to do at {due:g} s: say until when")
        if until < inf:
            self._clock = max(until, self.seconds)
        return self.seconds


def _moments(
    marbles: str | Timeline[Any],
    values: Mapping[str, Any] | None,
    named: Mapping[str, Any],
    error: Exception | None,
) -> Timeline[Any]:
    if isinstance(marbles, Timeline):
        return marbles
    return timeline(marbles, {**(values or {}), **named}, error=error)


def _leave(_error: Exception) -> None:
    """Errors are kept with the rest; nobody else need hear of them."""
