"""A user's pipeline at work: a frame goes in, and the events come out that were made by it."""

from __future__ import annotations

import threading
import time

from loguru import logger
from msgspec import UNSET
from reactivex import Subject
from reactivex.abc import DisposableBase

from operators import ReplayClock
from rxbridge.custom_pipelines.loading import Pipeline
from rxbridge.custom_pipelines.withholding import pipeline_letter
from rxbridge.errors import PipelineFailed
from rxbridge.events import CustomEvent, EncodedEvent
from rxbridge.events.custom import TAKES_DEAD_LETTERS, encode_custom
from rxbridge.journal import DeadLetter
from rxbridge.messages import Frame


class RunningPipeline:
    """Feeds a user's pipeline, and knows which frames it still needs.

    The pipeline's stream never completes: what is open when the bridge stops is open again after the next start.

    Args:
        pipeline: The user's.
        environment: `source.environment` of its events.

    Attributes:
        events: What the last frame made.
        letters: What of the last frame became dead letters.
        needed: The offset of the oldest frame that it still needs; None if none.
        completed: Whether its stream has come to an end, so that it makes no more events.
    """

    def __init__(self, pipeline: Pipeline, environment: str) -> None:
        self.events: list[EncodedEvent] = []
        self.letters: list[DeadLetter] = []
        self.needed: int | None = None
        self.completed: bool = False
        self._pipeline = pipeline
        self._environment = environment
        self._frames = Subject[Frame]()
        self._clock: ReplayClock | None = None
        self._subscription: DisposableBase | None = None
        self._frame: Frame | None = None
        self._is_stateful = pipeline.is_stateful
        self._failure: BaseException | None = None
        self._reader = threading.get_ident()

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self._pipeline.name

    def read(self, frame: Frame) -> None:
        """Give it a frame, and first the time at which that was received.

        Raises:
            PipelineFailed: Its stream has ended with an error.
        """
        self.events, self.letters = [], []
        self._frame, self._reader = frame, threading.get_ident()
        before = TAKES_DEAD_LETTERS.set(self._take)
        try:
            clock = self._clock or self._start(frame)
            clock.advance_to(frame.received_at)
            self._frames.on_next(frame)
            clock.advance_to(frame.received_at)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - `sys.exit` too: on a thread, nobody would hear of it
            self._failed(error)
        finally:
            TAKES_DEAD_LETTERS.reset(before)
            self._frame = None
        if self._failure is not None:
            problem = f"{type(self._failure).__name__}: {self._failure}"
            raise PipelineFailed(self.name, frame.offset, problem) from self._failure

    def dispose(self) -> None:
        """Let go of it, and of what it holds."""
        if self._subscription is not None:
            self._subscription.dispose()

    def _start(self, frame: Frame) -> ReplayClock:
        # At the time of the first frame: from 1970 on, a timer of a minute would ring thirty million times.
        self._clock = clock = ReplayClock(frame.received_at)
        # Nobody knows yet what it keeps.
        self.needed = frame.offset
        self._subscription = self._pipeline.build(self._frames, clock).subscribe(
            self._on_event, self._failed, self._on_completed, scheduler=clock
        )
        return clock

    def _on_event(self, said: object) -> None:
        frame = self._frame
        if frame is None or threading.get_ident() != self._reader:
            self._failed(RuntimeError("it makes events on a thread of its own; give its timers the scheduler"))
        elif isinstance(said, CustomEvent):
            try:
                event = encode_custom(said, frame, environment=self._environment, now=time.time_ns())
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                self._take(said, error)
            else:
                self.events.append(event)
            self._hold(said, frame)
        else:
            given = type(said).__name__
            self._failed(TypeError(f"it makes {given}, and no events; make them by rxbridge.events.event"))

    def _hold(self, said: CustomEvent, frame: Frame) -> None:
        holds: object = said.holds
        if isinstance(holds, int) or holds is None:
            if self.needed is None and not self._is_stateful:
                logger.warning(
                    "[PIPELINE] {} says what it holds only after an event that said nothing, so that what it had begun "
                    "by then was not held; mark the function: @rxbridge.custom_pipelines.stateful",
                    self.name,
                )
            self._is_stateful = True
            self.needed = holds or None
        elif holds is not UNSET:
            self._failed(TypeError(f"holds is the offset of a frame, not {type(holds).__name__}"))
        elif not self._is_stateful:
            self.needed = None
        # One that needed nothing at its last event needs what came since, if it needs anything ever.
        if self._is_stateful and self.needed is None:
            self.needed = frame.offset + 1

    def _take(self, _item: object, error: Exception) -> None:
        frame = self._frame
        if frame is None or threading.get_ident() != self._reader:
            self._failed(RuntimeError("it makes dead letters on a thread of its own"))
            return
        key = f"{self.name} {frame.offset}.{len(self.letters) + 1}"
        self.letters.append(pipeline_letter(key, frame, f"{type(error).__name__}: {error}"))

    def _failed(self, error: BaseException) -> None:
        self._failure = self._failure or error

    def _on_completed(self) -> None:
        self.completed = True
        self.needed = None
