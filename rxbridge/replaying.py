"""A bridge whose frames come from a recording, or from a journal, and not from Coinbase.

    recording ─► journal of the replay ─► Delivery ─► PulseStream
                                      └─► Confirmation

Everything behind the journal is the very bridge that runs live, so nothing is lost, and what is sent twice is known by
its id. A replay that was stopped goes on where its journal ends.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from math import inf
from operator import attrgetter
from pathlib import Path

import msgspec
import reactivex
from loguru import logger
from reactivex import Observable
from reactivex import operators as ops

from operators import play_back
from rxbridge import books
from rxbridge.bridge import Bridge
from rxbridge.config import Settings
from rxbridge.errors import ConfigError, JournalError
from rxbridge.feed import Feed
from rxbridge.journal import Journal
from rxbridge.journal.playback import kept_frames
from rxbridge.messages import Frame
from rxbridge.playing import Selection
from rxbridge.products import ProductWatch
from rxbridge.recording.files import files_of
from rxbridge.recording.playing import recorded_frames
from rxbridge.replayed import changes, decisive

_NOTE = "replay"
"""The journal's note of what is replayed into it."""

_IDLE_SECONDS = 0.5


class Recording(msgspec.Struct, frozen=True, tag="recording"):
    """A recording to replay; `RecordingError` where it is none."""

    path: str

    def frames(self, chosen: Selection, occurring: set[bytes] | None = None) -> Generator[Frame]:
        """Its frames, as far as they are meant; `occurring` as of `Selection.of`."""
        return recorded_frames(self.path, chosen, occurring)

    def files(self) -> list[Path]:
        """Where they are; raises `RecordingError` where there is none."""
        return files_of(Path(self.path))


class KeptJournal(msgspec.Struct, frozen=True, tag="journal"):
    """A journal whose frames are to be replayed."""

    path: str

    def frames(self, chosen: Selection, occurring: set[bytes] | None = None) -> Generator[Frame]:
        """Those that it keeps, as far as they are meant; `occurring` as of `Selection.of`."""
        return kept_frames(Path(self.path), chosen, occurring)

    def files(self) -> list[Path]:
        """Where they are."""
        return [Path(self.path)]


class _Replayed(msgspec.Struct, frozen=True):
    """What a journal holds of a replay: its frames, from the first one on, and no others.

    A journal drops its oldest frames, so the first one that is replayed is a part of what is compared. What was made of
    the frames is as well: those that are delivered are not delivered again, whatever would be made of them now.

    Attributes:
        settings: Those that decide that; None in a note that was written before they were noted.
    """

    source: Recording | KeptJournal
    selection: Selection
    first: tuple[int, int, int]
    settings: dict[str, str] | None = None

    def differences(self, noted: bytes | None) -> list[str]:
        """In words, what differs in the note of a journal; empty, if that is of this replay."""
        try:
            before = None if noted is None else msgspec.json.decode(noted, type=_Replayed)
        except (msgspec.MsgspecError, UnicodeDecodeError):  # damaged with its file
            before = None
        if before is None:
            return ["nothing says of which replay they are"]
        if before.source != self.source:
            return [f"they are those of {before.source.path}"]
        if before.selection != self.selection:
            return ["they are those of another stretch of time, or of other products (--since, --until, --products)"]
        if before.first != self.first:
            return ["the first frame is another one by now"]
        return changes(before.settings or {}, self.settings or {})


class _ReplayFeed(Feed):
    """A feed that may wait in the middle of a frame, for a journal that is full, until that is closed."""

    def __init__(self, frames: Observable[Frame], journal: Journal) -> None:
        super().__init__(frames, journal)
        self._stopping = False

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._subscription = self._frames.subscribe(self._append, self._failed, self._ended.set)

    def stop(self) -> None:
        """Read no more."""
        self._stopping = True
        super().stop()

    def _append(self, frame: Frame) -> None:
        try:
            self._journal.append(frame)
        except JournalError:
            # It is not in the journal, so the next start reads it again.
            if not self._stopping:
                raise


class ReplayBridge(Bridge):
    """A bridge for the frames of `source`; `run` returns when all of them are delivered, and proven to be stored.

    Args:
        settings: Of the bridge. The journal must be one that is for this replay alone.
        source: What is replayed.
        selection: Which part of it.
        speed: How many times faster than the frames were received; infinity without a wait.
        stop: As of `Bridge`.

    Attributes:
        newest: When the newest frame was received that was replayed: nanoseconds since the Unix epoch; 0 at first.
        occurring: The products that have occurred so far, if only some are asked for; as of `Selection.of`.
        finished: Whether `run` has returned because all is done, and not because somebody stopped it.

    Raises:
        ConfigError: A part of the products is asked for, and order books with it, which need every frame of a
            connection; or the journal is itself what is to be replayed.
        RecordingError: There is no such recording.
    """

    def __init__(
        self,
        settings: Settings,
        source: Recording | KeptJournal,
        selection: Selection,
        *,
        speed: float = inf,
        stop: threading.Event | None = None,
    ) -> None:
        if selection.products and books.CHANNEL in settings.feed.channels:
            problem = "order books need every frame of a connection, and only those of some products are asked for"
            raise ConfigError("feed.channels", problem, f"leave {books.CHANNEL} out, or the products")
        if not settings.run.dry_run and any(_is_same(settings.journal.path, file) for file in source.files()):
            problem = f"{settings.journal.path} is itself what is to be replayed"
            raise ConfigError("journal.path", problem, "name another --journal")
        self.newest: int = 0
        self.occurring: set[bytes] = set()
        self.finished: bool = False
        self._source = source
        self._selection = selection
        self._speed = speed
        self._played = threading.Event()
        self._skipped = 0
        run = settings.run.model_copy(update={"exit_when_idle": _IDLE_SECONDS, "role": "both"})
        # A recording comes faster than PulseStream takes it. It can wait, and nothing of it is given up.
        # What is delivered is kept as long as there is room, however old it is: for the audit, and for the books of a
        # replay that goes on, which are built of all frames before.
        most = settings.journal.max_bytes
        journal = settings.journal.model_copy(update={"overflow": "block", "keep_seconds": inf, "keep_bytes": most})
        super().__init__(replace(settings, run=run, journal=journal), stop)

    def _prepare(self) -> None:
        """Refuse a journal of something else, before anything of that is delivered.

        Raises:
            ConfigError: The journal holds something else.
            RecordingError: The recording cannot be read.
        """
        self._skipped = self._frames_there()
        super()._prepare()

    def _start_feed(self, watch: ProductWatch) -> None:
        """The recording in the place of Coinbase; nobody looks for products, or for trades that are missing."""
        del watch
        skipped = self._skipped
        frames = play_back(
            lambda: islice(self._source.frames(self._selection, self.occurring), skipped, None),
            attrgetter("received_at"),
            speed=self._speed,
        )
        # It does not complete: a feed that has ended ends the bridge, which has yet to deliver.
        counted: Observable[Frame] = frames.pipe(
            ops.do_action(self._count, on_completed=self._played.set), ops.concat(reactivex.never())
        )
        self._feed = _ReplayFeed(counted, self._journal)
        self._feed.start()

    @property
    def is_read(self) -> bool:
        """Whether all frames have been read."""
        return self._played.is_set()

    def _idle(self) -> bool:
        """Whether it is at the end, and all of it delivered."""
        self.finished = self.is_read and super()._idle()
        return self.finished

    def _count(self, frame: Frame) -> None:
        self._counters.feed.frames += 1
        self._counters.feed.bytes += len(frame.data)
        self.newest = self._counters.feed.last_frame_at = frame.received_at

    def _frames_there(self) -> int:
        """How many frames the journal has of this replay already.

        Raises:
            ConfigError: It has frames of something else, or something else was made of them; or it lacks some of which
                order books are to be made.
        """
        there = self._journal.size().last_offset
        # Whichever way it is named, from wherever.
        source = msgspec.structs.replace(self._source, path=str(Path(self._source.path).resolve()))
        settings = decisive(self._settings, self._pipelines.names)
        replayed = _Replayed(source, self._selection, self._first(), settings)
        if there and (differences := replayed.differences(self._journal.recall(_NOTE))):
            path = self._settings.journal.path
            problem = f"{path} holds frames, and not of this replay: {'; '.join(differences)}"
            raise ConfigError("journal.path", problem, f"name another --journal, or remove {path}*")
        if books.CHANNEL in self._settings.feed.channels and self._journal.size().first_offset > 1:
            # A live feed is sent the next snapshots. Here they have gone by.
            problem = f"{self._settings.journal.path} has had no room for the first frames, of which the books are made"
            raise ConfigError("journal.path", problem, "raise journal.max_bytes, and begin anew with another --journal")
        self._journal.remember(_NOTE, msgspec.json.encode(replayed))
        if there:
            logger.info("[REPLAYING] Going on after the {:,} frames that the journal has", there)
        return there

    def _first(self) -> tuple[int, int, int]:
        with closing(self._source.frames(self._selection)) as frames:
            for frame in frames:
                return frame.received_at, frame.connection, frame.index
        return 0, 0, 0


def _is_same(one: Path, other: Path) -> bool:
    """Whether both names are of one file, which may have several."""
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()
