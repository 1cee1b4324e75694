"""Several pipelines as one: what they make of a frame, one pipeline after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from loguru import logger
from reactivex import Observable, Subject
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from operators import dedupe
from rxbridge.custom_pipelines.history import Counts, counts_always
from rxbridge.custom_pipelines.holdings import Holdings
from rxbridge.custom_pipelines.loading import BUILTIN, BUILTIN_ONLY, Pipelines
from rxbridge.custom_pipelines.running import RunningPipeline
from rxbridge.custom_pipelines.withholding import Withheld, withheld_letter
from rxbridge.events import EncodedEvent
from rxbridge.journal import DeadLetter
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import DeliveryStatistics

REMEMBERED_IDS = 20_000
"""How many ids of events of users' pipelines are remembered to know a repeat."""


@dataclass(frozen=True)
class Run:
    """Which pipelines run, and what of it counts.

    Attributes:
        pipelines: The pipelines.
        after: Frames up to this offset are read to build the users' pipelines up again: what they make was made before.
        counts: Whether a pipeline's events of a frame count.
        withheld: Frames that are withheld from a pipeline.
        holdings: Is told which frames are still needed; None if nobody asks.
        newest: The offsets of the newest events, by pipeline; written here.
    """

    pipelines: Pipelines = BUILTIN_ONLY
    after: int = 0
    counts: Counts = counts_always
    withheld: Withheld = field(default_factory=dict[tuple[str, int], str])
    holdings: Holdings | None = None
    newest: dict[str, int] = field(default_factory=dict[str, int])


Builtin = Callable[[Callable[[DeadLetter], None]], Callable[[Observable[Frame]], Observable[EncodedEvent]]]
"""The built-in pipeline, once it is told where dead letters go."""


def custom_events(
    run: Run,
    builtin: Builtin | None,
    *,
    environment: str,
    statistics: DeliveryStatistics,
    dead_letter: Callable[[DeadLetter], None],
) -> Callable[[Observable[Frame]], Observable[EncodedEvent]]:
    """Frames to the events of all pipelines; the last one of a frame ends it.

        frames    1 ─────────── 2 ── 3 ──────
        builtin   a             b
        custom                  y    z
        events    a(1)          b y(2)  z(3)

    All that a frame makes is emitted together, when every pipeline has returned from it. A pipeline that fails is an
    error of the stream, `PipelineFailed`.

    Args:
        run: The pipelines.
        builtin: The built-in one; None to do without.
        environment: `source.environment` of users' events.
        statistics: Where to count what users' pipelines make.
        dead_letter: Is given what fails.
    """

    def operator(source: Observable[Frame]) -> Observable[EncodedEvent]:
        def subscribe(observer: ObserverBase[EncodedEvent], scheduler: SchedulerBase | None = None) -> DisposableBase:
            making = _Making(run, builtin, environment, statistics, dead_letter)

            def on_next(frame: Frame) -> None:
                try:
                    made = making.make(frame)
                except Exception as error:  # noqa: BLE001 - the stream's error, whatever it is
                    observer.on_error(error)
                    return
                for event in made:
                    observer.on_next(event)

            return CompositeDisposable(
                source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler),
                Disposable(making.dispose),
            )

        return Observable(subscribe)

    return operator


class _Making:
    def __init__(
        self,
        run: Run,
        builtin: Builtin | None,
        environment: str,
        statistics: DeliveryStatistics,
        dead_letter: Callable[[DeadLetter], None],
    ) -> None:
        self._run = run
        self._statistics = statistics
        self._dead_letter = dead_letter
        self._running = [RunningPipeline(pipeline, environment) for pipeline in run.pipelines.custom]
        self._told_completed: set[str] = set()
        self._made: list[EncodedEvent] = []
        self._fresh = self._builtin_counts = True
        self._failures: list[Exception] = []
        self._frames = Subject[Frame]()
        self._has_builtin = builtin is not None
        if builtin is not None:
            self._frames.pipe(builtin(self._builtin_letter)).subscribe(self._take_builtin, self._failures.append)
        self._custom = Subject[EncodedEvent]()
        self._custom.pipe(
            dedupe(_id, remember=REMEMBERED_IDS, repeated=self._repeat),
        ).subscribe(self._take_custom)

    def make(self, frame: Frame) -> list[EncodedEvent]:
        """What counts of what a frame makes, in order.

        Raises:
            PipelineFailed: A user's pipeline failed.
        """
        self._made = []
        self._fresh = not 0 < frame.offset <= self._run.after
        if self._has_builtin and self._fresh:
            self._builtin_counts = self._run.counts(BUILTIN, frame.offset)
            self._frames.on_next(frame)
            if self._failures:
                raise self._failures[0]
        for running in self._running:
            self._read(running, frame)
        if self._fresh and not self._has_builtin and not self._made:
            self._statistics.ignored += 1
        if self._run.holdings is not None:
            needed = [running.needed for running in self._running if running.needed is not None]
            self._run.holdings.note(frame.offset, min(needed, default=None))
        last = len(self._made) - 1
        return [_ending(event, ends_frame=number == last) for number, event in enumerate(self._made)]

    def dispose(self) -> None:
        """Let go of the users' pipelines."""
        for running in self._running:
            running.dispose()

    def _read(self, running: RunningPipeline, frame: Frame) -> None:
        name = running.name
        counts = self._fresh and self._run.counts(name, frame.offset)
        problem = self._run.withheld.get((name, frame.offset))
        if problem is not None:
            if counts:
                self._keep(withheld_letter(name, frame, problem))
            return
        running.read(frame)
        if running.completed and name not in self._told_completed:
            self._told_completed.add(name)
            logger.warning("[PIPELINE] {} has completed: it makes no more events until the next start", name)
        before = len(self._made)
        for event in running.events:
            self._custom.on_next(event)
        if not counts:
            # They were made, and counted, before; or by nobody, if the pipeline did not run then.
            del self._made[before:]
            return
        made = len(self._made) - before
        for letter in running.letters:
            self._keep(letter)
        if made:
            self._statistics.received += made
            self._statistics.made[name] = self._statistics.made.get(name, 0) + made
            self._run.newest[name] = max(frame.offset, self._run.newest.get(name, 0))

    def _keep(self, letter: DeadLetter) -> None:
        self._statistics.received += 1
        self._dead_letter(letter)

    def _builtin_letter(self, letter: DeadLetter) -> None:
        if self._builtin_counts:
            self._dead_letter(letter)

    def _take_builtin(self, event: EncodedEvent) -> None:
        if self._builtin_counts:
            self._made.append(event)

    def _take_custom(self, event: EncodedEvent) -> None:
        self._made.append(event)

    def _repeat(self, _event: EncodedEvent) -> None:
        if self._fresh:
            self._statistics.repeated += 1


def _id(event: EncodedEvent) -> str:
    return event.event_id


def _ending(event: EncodedEvent, *, ends_frame: bool) -> EncodedEvent:
    return event if event.ends_frame == ends_frame else msgspec.structs.replace(event, ends_frame=ends_frame)
