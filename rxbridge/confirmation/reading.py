"""The journal read once more: its events, made by the very pipeline that delivers, and which of them need no proof."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from reactivex import Subject

from rxbridge.books import Books
from rxbridge.channel_history import ChannelHistory
from rxbridge.confirmation.purged import purged_offsets
from rxbridge.custom_pipelines import Run
from rxbridge.events import EncodedEvent, Rules
from rxbridge.journal import DeadLetter, Journal
from rxbridge.messages import EventMessage, Frame
from rxbridge.pipeline import events_of
from rxbridge.telemetry.statistics import DeliveryStatistics


class EventMaker:
    """Makes the events of one frame after the other: a call, where the pipeline is a stream.

    Args:
        channels: Whose messages become events, which may change from frame to frame.
        rules: How messages become events, which may change from frame to frame.
        dead_letter: Is given what fails; by default it is passed over.
        statistics: Where to count.
        seen: Ids of events that were made before, oldest first; they are not made again.
        told: Is told of every message that is about to become an event.
        kept_books: Order books as they were before the first frame; without them there are no images of books.
        run: Which pipelines run; by default the built-in one.
    """

    def __init__(
        self,
        *,
        channels: Collection[str] | ChannelHistory,
        rules: Rules,
        dead_letter: Callable[[DeadLetter], None] | None = None,
        statistics: DeliveryStatistics | None = None,
        seen: Iterable[str] = (),
        told: Callable[[EventMessage], None] | None = None,
        kept_books: Books | None = None,
        run: Run | None = None,
    ) -> None:
        self._frames = Subject[Frame]()
        self._made: list[EncodedEvent] = []
        self._failures: list[Exception] = []
        chain = events_of(
            Run() if run is None else run,
            channels=channels,
            rules=rules,
            statistics=DeliveryStatistics() if statistics is None else statistics,
            dead_letter=_pass_over if dead_letter is None else dead_letter,
            seen=seen,
            told=told,
            kept_books=kept_books,
        )
        self._frames.pipe(chain).subscribe(self._made.append, self._failures.append)

    def __call__(self, frame: Frame) -> list[EncodedEvent]:
        """The events of this frame that no frame before has made.

        Raises:
            PipelineFailed: A user's pipeline failed.
            Exception: The pipeline has a defect; what a frame can be guilty of goes to the dead letters.
        """
        self._frames.on_next(frame)
        if self._failures:
            raise self._failures[0]
        made = self._made.copy()
        self._made.clear()
        return made


def read_frames(journal: Journal, after: int, until: int) -> Iterator[Frame]:
    """The frames above `after` up to `until`, as far as they are kept and can be read.

    Raises:
        JournalError: The journal cannot be read.
    """
    while after < until and (frames := journal.read(after)):
        for frame in frames:
            if frame.offset > until:
                return
            yield frame
        after = frames[-1].offset


class Excused(NamedTuple):
    """Events of which nobody promised that they are stored.

    Attributes:
        event_ids: Dead letters.
        offsets: Frames of which an event was given up. Where they hold others, these are not looked for either.
    """

    event_ids: frozenset[str]
    offsets: frozenset[int]

    def __contains__(self, event: object) -> bool:
        """Whether an event needs no proof."""
        return isinstance(event, EncodedEvent) and (event.event_id in self.event_ids or event.offset in self.offsets)


def without_proof(journal: Journal, after: int, until: int) -> Excused:
    """What of the frames above `after` up to `until` needs no proof.

    It is read in the order in which a purge writes it, lest it hide a letter in between.
    """
    letters = takewhile(lambda letter: letter.offset <= until, journal.dead_letters(after))
    event_ids = frozenset(letter.event_id for letter in letters)
    dropped = set(takewhile(lambda offset: offset <= until, journal.dropped(after)))
    purged = {offset for offset in purged_offsets(journal) if after < offset <= until}
    return Excused(event_ids, frozenset(dropped | purged))


def _pass_over(letter: DeadLetter) -> None:
    """It was recorded when its frame was delivered."""
