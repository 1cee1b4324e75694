"""What is known of a run when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from operators.testing.timeline import Moment, Timeline

A = TypeVar("A")

Place: TypeAlias = Literal["source", "told", "watched", "group", "result"]


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
        kind: `source`; `told`, a callback; `watched`, a place on the way; `group`, of a grouped
            stream; or `result`.
        timeline: What it emitted, or was told, and when.
        subscriptions: Of a source or the result, in the order in which they were made.
        hot: Whether it is a source that emits also when nobody is subscribed.
    """

    name: str
    kind: Place
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
        watched: What passed `VirtualTime.watch`, likewise.
        groups: The groups that `VirtualTime.watch_groups` has subscribed to, likewise.
        end: When it was over: seconds of virtual time.
    """

    result: Lane[A]
    sources: tuple[Lane[Any], ...]
    told: tuple[Lane[Any], ...]
    watched: tuple[Lane[Any], ...]
    groups: tuple[Lane[Any], ...]
    end: float

    @property
    def timeline(self) -> Timeline[A]:
        """What the subscriber got, and when."""
        return self.result.timeline

    @property
    def items(self) -> list[A]:
        """The items among it."""
        return self.result.timeline.items

    @property
    def below(self) -> tuple[Lane[Any], ...]:
        """What stands below the operators in a picture: the places on the way, the result, groups, and callbacks."""
        return (*self.watched, self.result, *self.groups, *self.told)

    def source(self, name: str) -> Lane[Any]:
        """The source of that name. Raises KeyError if there is none."""
        return {lane.name: lane for lane in self.sources}[name]

    def told_to(self, name: str) -> list[Any]:
        """What the callback of that name was told, in order. Raises KeyError if there is none."""
        return {lane.name: lane for lane in self.told}[name].timeline.items


@dataclass
class Recorder:
    """A lane while it is being recorded."""

    name: str
    kind: Place
    hot: bool = False
    moments: list[Moment[Any]] = field(default_factory=list[Moment[Any]])
    starts: list[float] = field(default_factory=list[float])
    ends: dict[int, float] = field(default_factory=dict[int, float])

    def begin(self, time: float) -> Callable[[float], None]:
        """Note a subscription; call what is returned with the time of its end, the first call counts."""
        number = len(self.starts)
        self.starts.append(time)

        def end(at: float) -> None:
            self.ends.setdefault(number, at)

        return end

    def lane(self) -> Lane[Any]:
        """What is recorded so far."""
        subscriptions = tuple(Subscription(start, self.ends.get(number)) for number, start in enumerate(self.starts))
        return Lane(self.name, self.kind, Timeline(tuple(self.moments)), subscriptions, self.hot)
