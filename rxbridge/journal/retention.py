"""How much a journal may hold, and what gives way when it holds more: the rules that every home shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from loguru import logger

from rxbridge.errors import FramesLetGo, JournalError
from rxbridge.journal.interface import CountEvents, OverflowPolicy
from rxbridge.messages import Frame

TELL_AGAIN_SECONDS = 60.0
"""How often it is told that a journal is full, as long as it is."""

FRAME_OVERHEAD = 32
"""Bytes that a frame takes besides its payload: time, connection and index, as they are stored."""


class Retention(msgspec.Struct, frozen=True):
    """The limits of a journal.

    Acknowledged frames go when they are too old or too many, and sooner when the journal is nearly full. Only when
    nothing acknowledged is left does the overflow policy decide.

    Attributes:
        max_bytes: The most that the journal may hold, in bytes.
        overflow: What happens to frames beyond that.
        keep_bytes: How many bytes of acknowledged frames are kept for readers that come later.
        keep_seconds: How old acknowledged frames become at most.
        essential: The consumer whose acknowledgement decides what a loss is; None if that of each does.
    """

    max_bytes: int
    overflow: OverflowPolicy
    keep_bytes: int
    keep_seconds: float
    essential: str | None = None

    def __post_init__(self) -> None:
        if self.max_bytes <= 0:
            raise ValueError(f"max_bytes must be positive, not {self.max_bytes}")
        if self.overflow not in ("drop_oldest", "block"):
            raise ValueError(f"overflow must be 'drop_oldest' or 'block', not {self.overflow!r}")
        if self.keep_bytes < 0 or self.keep_seconds < 0:
            raise ValueError("keep_bytes and keep_seconds must not be negative")

    def releases(self, *, held: int, acknowledged: int, received_at: int, now: int) -> bool:
        """Whether the oldest frames, which are acknowledged, may go.

        Args:
            held: Bytes in the journal, what wants to come in included.
            acknowledged: Bytes of acknowledged frames in it.
            received_at: When the newest of the frames in question was received: nanoseconds since the epoch.
            now: The present, likewise.
        """
        spent = acknowledged > self.keep_bytes or now - received_at > self.keep_seconds * 1e9
        return spent or self.is_crowded(held=held)

    def is_crowded(self, *, held: int) -> bool:
        """Whether the journal is nearly full: it makes room in strides then, rather than frame by frame."""
        return held > self.max_bytes - self.max_bytes // 8

    def gives_up(self, *, held: int) -> bool:
        """Whether the oldest frames must go although nobody has acknowledged them."""
        return self.overflow == "drop_oldest" and held > self.max_bytes


class Cursors(msgspec.Struct, frozen=True):
    """What the consumers have acknowledged.

    Attributes:
        by_consumer: The offset that each has acknowledged.
        essential: The consumer that decides what a loss is; None if each of them does.
    """

    by_consumer: dict[str, int]
    essential: str | None

    @property
    def slowest(self) -> int:
        """What all have acknowledged; the essential one counts before it has come, and where there is none, it is 0."""
        offsets = list(self.by_consumer.values())
        if self.essential is not None and self.essential not in self.by_consumer:
            return 0
        return min(offsets, default=0)

    @property
    def settled(self) -> int:
        """The offset up to which nothing is lost by giving it up."""
        return self.slowest if self.essential is None else self.by_consumer.get(self.essential, 0)

    def behind(self, offset: int) -> tuple[str, ...]:
        """The consumers that have not acknowledged everything up to this offset."""
        return tuple(sorted(consumer for consumer, reached in self.by_consumer.items() if reached < offset))


class LetGo(msgspec.Struct, frozen=True):
    """Frames that were given up although some consumers, but not the essential one, had not acknowledged them."""

    frames: int = 0
    consumers: tuple[str, ...] = ()


class Loss(msgspec.Struct):
    """Frames that were given up, and the events that they would have made."""

    frames: int = 0
    events: int = 0

    def __bool__(self) -> bool:
        return self.frames > 0


class EventCounter:
    """Counts the events that frames would have made, and survives a `count_events` that cannot."""

    def __init__(self, path: str, count_events: CountEvents | None, tell: Callable[[JournalError], None]) -> None:
        self._path = path
        self._count_events = count_events
        self._tell = tell
        self._told = False

    def __call__(self, frames: Iterable[Frame]) -> int:
        """The number of events; 0 where nobody can say."""
        if self._count_events is None:
            return 0
        events = 0
        for frame in frames:
            try:
                events += self._count_events(frame)
            except Exception as error:  # noqa: BLE001 - a foreign function must not cost the frames that are to be kept
                self._tell_once(error)
        return events

    def _tell_once(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            self._tell(JournalError(self._path, f"events of dropped frames cannot be counted: {error!r}"))


class LetGoTeller:
    """Tells of frames that were let go: at once, then once in a while with how many there were since."""

    def __init__(self, path: str, tell: Callable[[JournalError], None], clock: Callable[[], float]) -> None:
        self._path = path
        self._tell = tell
        self._clock = clock
        self._frames = 0
        self._told_at = -TELL_AGAIN_SECONDS

    def __call__(self, let_go: LetGo) -> None:
        """Tell of some more."""
        self._frames += let_go.frames
        now = self._clock()
        if self._frames and now >= self._told_at + TELL_AGAIN_SECONDS:
            self._tell(FramesLetGo(self._path, self._frames, let_go.consumers))
            self._frames, self._told_at = 0, now


class ProblemTeller:
    """Tells the owner of a journal what goes wrong on its threads: through `problem`, or else the log."""

    def __init__(self, problem: Callable[[JournalError], None] | None) -> None:
        self._problem = problem

    def __call__(self, error: JournalError) -> None:
        """Tell; whatever the listener raises is logged, for there is nobody on these threads to catch it."""
        if self._problem is None:
            logger.warning("[JOURNAL] {}", error)
            return
        try:
            self._problem(error)
        except Exception:  # noqa: BLE001 - see above
            logger.opt(exception=True).error("[JOURNAL] The listener failed at: {}", error)
