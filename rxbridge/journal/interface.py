"""What a journal is: append-only, ordered, bounded in bytes, with one acknowledged cursor a consumer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import msgspec

from rxbridge.messages import Frame

if TYPE_CHECKING:
    from reactivex import Observable

OverflowPolicy: TypeAlias = Literal["drop_oldest", "block"]
"""What a full journal does with a new frame: give up the oldest ones, acknowledged or not, or make `append` wait."""


class DeadLetter(msgspec.Struct, frozen=True):
    """What was refused for good. `(offset, event_id)` is its key: writing it again updates it.

    Attributes:
        offset: The journal offset of the frame that it came from.
        event_id: The id of the refused event; empty where the frame never became one.
        stage: Where it failed.
        reason: Why, in words.
        content: The frame, or the encoded event, that was refused.
        first_attempt: Nanoseconds since the Unix epoch.
        last_attempt: Likewise.
        attempts: How often it was tried.
    """

    offset: int
    event_id: str
    stage: Literal["parse", "map", "deliver", "pipeline"]
    reason: str
    content: bytes
    first_attempt: int
    last_attempt: int
    attempts: int = 1


class Gap(msgspec.Struct, frozen=True):
    """What is known to be missing.

    Attributes:
        kind: `dropped`, by the overflow policy; `corrupt`, unreadable on the disk; `quarantined`, lost with a file that
            had to be replaced.
        reason: Why, in words.
        recorded_at: Nanoseconds since the Unix epoch.
        first_offset: The first offset that is gone; 0 where it is not known, or where it never had one.
        last_offset: The last one, inclusive.
        frames: How many frames are gone.
        events: How many events those would have made, as far as that is known.
    """

    kind: Literal["dropped", "corrupt", "quarantined"]
    reason: str
    recorded_at: int
    first_offset: int
    last_offset: int
    frames: int
    events: int


class MarketGap(msgspec.Struct, frozen=True):
    """What Coinbase sent, or traded, that never reached this journal and cannot be fetched any more.

    `(kind, products, channel, first, last)` is its key: recorded again it stays as it is.

    Attributes:
        kind: `trades`, known by their ids; `quotes`, which nobody can ask Coinbase for afterwards, known by their time.
        products: Whose; exactly one for trades.
        channel: Coinbase's name of the channel that lost them.
        first: The first missing trade id; for quotes, when the last frame before was received, in nanoseconds since
            the Unix epoch.
        last: The last missing trade id; for quotes, when the first frame after was received, likewise.
        reason: Why, in words.
        recorded_at: Nanoseconds since the Unix epoch.
    """

    kind: Literal["trades", "quotes"]
    products: tuple[str, ...]
    channel: str
    first: int
    last: int
    reason: str
    recorded_at: int


class JournalSize(msgspec.Struct, frozen=True):
    """How much a journal holds now.

    Attributes:
        frames: Confirmed frames, acknowledged ones that are still kept included.
        bytes: Their stored size.
        first_offset: The oldest offset that can still be read; 0 in an empty journal.
        last_offset: The newest confirmed offset ever given out; 0 if there was none.
        pending_frames: Taken by `append`, not yet confirmed.
    """

    frames: int
    bytes: int
    first_offset: int
    last_offset: int
    pending_frames: int

    @property
    def kept_after(self) -> int:
        """The offset up to which no frame can be read any more."""
        return self.first_offset - 1 if self.first_offset else self.last_offset


class Journal(ABC):
    """An ordered store of frames between the feed half, which appends, and the delivery half, which reads.

    Offsets start at 1 and rise by one a frame, for ever, across restarts. Every method may be called from any thread.

    Its owner may name one consumer that is `essential`. A full journal that gives up frames then counts as dropped what
    that one has not acknowledged, and nothing else; what only others have not acknowledged is `let_go`. Without a name
    everything is dropped that not all have acknowledged.
    """

    @abstractmethod
    def append(self, frame: Frame) -> None:
        """Take a frame. It is confirmed, and readable, soon after; `flush` waits for that.

        Never waits for the disk or for a consumer, unless the policy is `block` and the journal is full.
        """

    @abstractmethod
    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was appended is confirmed; False if `timeout` seconds were not enough."""

    @abstractmethod
    def read(self, after: int, limit: int = 1000) -> Sequence[Frame]:
        """The next confirmed frames with an offset above `after`, in order, about `limit` at most; none at the end."""

    @abstractmethod
    def wait_beyond(self, after: int, timeout: float) -> bool:
        """Wait until there is a confirmed frame above `after`; False if `timeout` seconds went by without one."""

    @abstractmethod
    def frames(self, after: int = 0, *, finish: Event | None = None, stop: Event | None = None) -> Observable[Frame]:
        """All frames above `after`, then those to come: cold, pull-driven, on a thread of its own per subscription.

        The next frame is read when the chain has returned from the last, so a subscriber may simply block: that is
        the backpressure. Completes when `finish` is set and everything was read, or at once when `stop` is set. What
        the chain raises goes to its `on_error`; so does a journal that is closed or cannot be read.
        """

    @abstractmethod
    def cursor(self, consumer: str) -> int:
        """The offset that `consumer` has acknowledged; 0 at first."""

    @abstractmethod
    def acknowledge(self, consumer: str, offset: int, dropped: Sequence[int] = ()) -> None:
        """Durably record that `consumer` is done with every frame up to `offset`. Never moves back.

        In the same transaction it is recorded which of those frames, by their ascending offsets, made an event that a
        policy has `dropped`. That is remembered for as long as the frames are kept.

        From then on the journal keeps for it what it has not acknowledged, if its limits permit; so a consumer makes
        itself known by acknowledging 0.
        """

    @abstractmethod
    def forget(self, consumer: str) -> None:
        """Durably drop the cursor of a consumer that will not come back.

        As long as a consumer has a cursor, what it has not acknowledged is kept for it.
        """

    @abstractmethod
    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Durably keep what was refused; one that is already there has its last attempt, count and reason updated."""

    @abstractmethod
    def dead_letters(self, after: int = 0) -> Iterator[DeadLetter]:
        """All dead letters of offsets above `after`, by offset and event id."""

    @abstractmethod
    def gaps(self) -> Iterator[Gap]:
        """All gaps, oldest first."""

    @abstractmethod
    def let_go(self) -> int:
        """How many frames a full journal ever gave up that the essential consumer had acknowledged, and others not."""

    @abstractmethod
    def remove_dead_letters(self, keys: Sequence[tuple[int, str]]) -> None:
        """Durably forget dead letters by offset and event id; one that is not there is none to forget."""

    @abstractmethod
    def dropped(self, after: int = 0) -> Iterator[int]:
        """The offsets above `after`, ascending, of frames that are kept and whose event a policy has dropped."""

    @abstractmethod
    def record_market_gaps(self, gaps: Sequence[MarketGap]) -> None:
        """Durably record what is missing from the market; what is on record already stays as it is."""

    @abstractmethod
    def market_gaps(self) -> Iterator[MarketGap]:
        """All of those, oldest first."""

    @abstractmethod
    def remember(self, name: str, value: bytes) -> None:
        """Durably keep a note, in the place of an earlier one of that name."""

    @abstractmethod
    def recall(self, name: str) -> bytes | None:
        """The note of that name, None if there is none."""

    @abstractmethod
    def size(self) -> JournalSize:
        """How much it holds now."""

    @abstractmethod
    def hurry(self, seconds: float) -> None:
        """Wait at most this long from now on, all in all, for a disk that takes nothing; for a shutdown."""

    @abstractmethod
    def close(self) -> None:
        """Confirm what is pending and let go of files, locks and threads. Twice is as good as once."""

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


CountEvents: TypeAlias = Callable[[Frame], int]
"""How many events a frame would have made: a journal that must drop frames asks, to count what was lost."""
