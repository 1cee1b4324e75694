"""A scheduler on which hours pass in no time, and the record of what happened on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any, Generic, Literal, TypeVar, overload

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import VirtualTimeScheduler

from operators.testing.timeline import Kind, Moment, Timeline, timeline

A = TypeVar("A")

MOST_ACTIONS = 1_000_000
"""After so many actions a run without an end is taken for one that has none."""

_START = 0.0


@dataclass(frozen=True)
class Subscription:
    """From when to when a source was subscribed to, in seconds; `end` is None if it still was when the run was over."""

    start: float
    end: float | None = None


@dataclass(frozen=True)
class Lane(Generic[A]):
    """What happened at one place.

    Attributes:
        name: Of the place.
        kind: `source`; `told`, a callback; or `result`.
        timeline: What it emitted, or was told, and when.
        subscriptions: Of a source or the result, in the order in which they were made.
        hot: Whether it is a source that emits also when nobody is subscribed.
    """

    name: str
    kind: Literal["source", "told", "result"]
    timeline: Timeline[A]
    subscriptions: tuple[Subscription, ...] = ()
    hot: bool = False


@dataclass(frozen=True)
class Run(Generic[A]):
    """What happened while an observable was subscribed to.

    Attributes:
        result: What the subscriber got.
        sources: Those of `VirtualTime.cold` and `hot`, in the order in which they were made.
        told: What the callbacks of `VirtualTime.told` were told, likewise.
        end: When it was over: seconds of virtual time.
    """

    result: Lane[A]
    sources: tuple[Lane[Any], ...]
    told: tuple[Lane[Any], ...]
    end: float

    @property
    def timeline(self) -> Timeline[A]:
        """What the subscriber got, and when."""
        return self.result.timeline

    @property
    def items(self) -> list[A]:
        """The items among it."""
        return self.result.timeline.items

    def source(self, name: str) -> Lane[Any]:
        """The source of that name. Raises KeyError if there is none."""
        return {lane.name: lane for lane in self.sources}[name]

    def told_to(self, name: str) -> list[Any]:
        """What the callback of that name was told, in order. Raises KeyError if there is none."""
        return {lane.name: lane for lane in self.told}[name].timeline.items


@dataclass
class _Recorder:
    """A lane while it is being recorded."""

    name: str
    kind: Literal["source", "told", "result"]
    hot: bool = False
    moments: list[Moment[Any]] = field(default_factory=list[Moment[Any]])
    starts: list[float] = field(default_factory=list[float])
    ends: dict[int, float] = field(default_factory=dict[int, float])

    def begin(self, time: float) -> Callable[[float], None]:
        number = len(self.starts)
        self.starts.append(time)

        def end(at: float) -> None:
            self.ends.setdefault(number, at)

        return end

    def lane(self) -> Lane[Any]:
        subscriptions = tuple(Subscription(start, self.ends.get(number)) for number, start in enumerate(self.starts))
        return Lane(self.name, self.kind, Timeline(tuple(self.moments)), subscriptions, self.hot)


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
        self._recorders: list[_Recorder] = []

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
        recorder = self._source(name, hot=False)
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
        recorder = self._source(name, hot=True)
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
        recorder = _Recorder(name, "told")
        self._recorders.append(recorder)

        def tell(item: object, *_: object) -> None:
            recorder.moments.append(Moment(self.seconds, "item", item))

        return tell

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
        recorder = _Recorder("result", "result")

        def note(kind: Kind, value: Any = None, error: Exception | None = None) -> None:
            recorder.moments.append(Moment(self.seconds, kind, value, error))

        self._pass_time(subscribe, before=True)
        end = recorder.begin(self.seconds)
        subscription = observable.subscribe(
            partial(note, "item"), partial(note, "error", None), lambda: note("completion"), scheduler=self
        )
        if dispose < until:
            self._pass_time(dispose)
            subscription.dispose()
            end(self.seconds)
        over = self._pass_time(until)
        lanes = [one.lane() for one in self._recorders]
        sources, told = ([lane for lane in lanes if lane.kind == kind] for kind in ("source", "told"))
        return Run(recorder.lane(), tuple(sources), tuple(told), over)

    def _source(self, name: str, *, hot: bool) -> _Recorder:
        for recorder in self._recorders:
            if (recorder.name, recorder.kind, recorder.hot) == (name, "source", hot):
                return recorder
        recorder = _Recorder(name, "source", hot)
        self._recorders.append(recorder)
        return recorder

    def _emit(
        self,
        recorder: _Recorder,
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
