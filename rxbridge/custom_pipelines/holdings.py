"""Which frames the open state of pipelines still needs, and so from where a restart reads again."""

from __future__ import annotations

import threading
from collections import deque

from rxbridge.journal import Journal

WARM_UP_FRAMES = 10_000
"""How far behind what is delivered a restart reads again at least, to know which ids were made already."""


class Holdings:
    """After which frame which earlier ones are needed.

    A consumer that has settled everything up to an offset may let go of the frames up to `up_to(offset)`. It records
    the settled offset first and this one second: an older one of these is always good enough, since to read more than
    is needed makes the same state.

    Args:
        begin: What `up_to` says of frames before the first note.
    """

    def __init__(self, begin: int) -> None:
        self._lock = threading.Lock()
        self._released = begin
        self._notes: deque[tuple[int, int | None]] = deque()

    def note(self, offset: int, needed: int | None) -> None:
        """After the frame at `offset` all frames from `needed` on are needed; None: nothing that was read is."""
        with self._lock:
            if not self._notes or self._notes[-1][1] != needed:
                self._notes.append((offset, needed))

    def up_to(self, settled: int) -> int:
        """The offset up to which no frame is needed any more, once all up to `settled` is. It never falls."""
        with self._lock:
            while len(self._notes) > 1 and self._notes[1][0] <= settled:
                self._notes.popleft()
            if self._notes and self._notes[0][0] <= settled:
                needed = self._notes[0][1]
                released = settled if needed is None else min(needed - 1, settled)
                self._released = max(self._released, released)
            return self._released


def rebuild_from(journal: Journal, consumer: str, settled: int) -> int:
    """The offset after which a restart reads again, to have the state as it was when all up to `settled` was done.

    Where the journal has had to let go of what that takes, it is the offset behind which it has everything; see
    `has_lost_state`.

    Args:
        journal: The journal.
        consumer: The name under which the state's offset is acknowledged; it makes itself known, if it is new.
        settled: Up to where everything is done.

    Raises:
        JournalError: The journal cannot be written.
    """
    oldest = min(journal.size().kept_after, settled)
    if journal.recall(consumer):
        return max(min(journal.cursor(consumer), settled - WARM_UP_FRAMES), oldest, 0)
    # New here: what is kept of the last frames gives it a better start than nothing.
    begin = max(settled - WARM_UP_FRAMES, oldest, 0)
    journal.acknowledge(consumer, begin)
    # A cursor of 0 may be that of one who needs everything, or of one whom nobody knows.
    journal.remember(consumer, b"known")
    return begin


def has_lost_state(journal: Journal, consumer: str, settled: int) -> bool:
    """Whether the journal has no more what the state needs: what `rebuild_from` offers makes a part of it only.

    Raises:
        JournalError: The journal cannot be read.
    """
    return journal.cursor(consumer) < min(journal.size().kept_after, settled)


def release(journal: Journal, consumer: str) -> None:
    """Keep nothing more for the state of pipelines that run no more.

    Raises:
        JournalError: The journal cannot be written.
    """
    if journal.recall(consumer):
        journal.remember(consumer, b"")
        journal.forget(consumer)
