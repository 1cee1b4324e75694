"""What outlives the process: the note in the journal, the cursor, and the marks beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from loguru import logger

from rxbridge.backfill.marks import Marks
from rxbridge.backfill.state import State, decode, encode
from rxbridge.backfill.tracker import Tracker
from rxbridge.journal import Journal

CONSUMER = "backfill"
"""The name under which the backfill acknowledges, and remembers."""


class Memory:
    """Remembers for the backfill.

    Args:
        journal: Where the note is.
        marks: The file of the marks, if there is to be one.
        consumers: What all of these have acknowledged is delivered.
    """

    def __init__(self, journal: Journal, marks: Path | None, consumers: Sequence[str]) -> None:
        self._journal = journal
        self._marks = Marks(marks)
        self._consumers = tuple(consumers)
        self._saved = b""

    @property
    def has_marks(self) -> bool:
        """Whether anything was ever marked, such as by an earlier process."""
        return bool(self._marks.delivered)

    def recall(self) -> State | None:
        """What was remembered last; None if that is nothing, or nothing that can be read."""
        note = self._journal.recall(CONSUMER)
        state = None if note is None else decode(note)
        if note is not None and state is None:
            logger.warning("[BACKFILL] What was remembered cannot be read; it is found out again from the journal")
        return state

    def save(self, state: State) -> None:
        """Remember what was found out, then let the journal go of the frames that it was found out from."""
        note = encode(state)
        if note != self._saved:
            self._journal.remember(CONSUMER, note)
            self._journal.acknowledge(CONSUMER, min(state.offset, self._journal.size().last_offset))
            self._saved = note

    def mark(self, offset: int, trackers: Mapping[str, Tracker], *, besides: Collection[str], damage: str) -> None:
        """Note how far products are contiguous with the frames up to this offset, but for some that are not yet."""
        floors: dict[str, int] = {}
        for product, tracker in trackers.items():
            floor = tracker.floor
            if tracker.first is not None and floor is not None and product not in besides:
                self._marks.begin(product, tracker.first - 1)
                floors[product] = floor
        self._marks.note(offset, floors)
        self.settle(damage)

    def settle(self, damage: str) -> None:
        """Bring the marks up to date with what is delivered, unless there is more damage than was dealt with.

        What a consumer has acknowledged since then may be what it could not read. In this order: who passes over a
        damaged frame records that before it acknowledges.
        """
        acknowledged = min(map(self._journal.cursor, self._consumers))
        if damage_to(self._journal) == damage:
            self._marks.settle(acknowledged)
        self._marks.save()

    def begin_again(self, products: Iterable[str], trackers: Mapping[str, Tracker]) -> dict[str, Tracker]:
        """Trackers that miss everything that is not delivered for certain, in the place of these."""
        delivered = self._marks.delivered
        self._marks.forget_offsets()
        again: dict[str, Tracker] = {}
        for product in dict.fromkeys((*products, *trackers, *delivered)):
            old = trackers.get(product)
            # Without a mark nothing is known of what was delivered, and only what is missing now is certain to be.
            known = old.floor if old is not None and old.holes else None
            mark = delivered.get(product, known)
            again[product] = Tracker() if mark is None else Tracker.after(mark)
        return again


def damage_to(journal: Journal) -> str:
    """Stands for all damage that the journal knows of; empty for none."""
    digest = hashlib.sha256()
    found = ""
    for gap in journal.gaps():
        if gap.kind != "dropped":
            digest.update(f"{gap.kind}/{gap.first_offset}/{gap.last_offset}/{gap.recorded_at};".encode())
            found = digest.hexdigest()
    return found
