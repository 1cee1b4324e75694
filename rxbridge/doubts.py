"""Order books in doubt: the delivery half finds them out, the feed half begins them anew, by a note in the journal.

The two halves may be two processes, which share nothing but the journal. The note names the frame that gave rise to
each doubt, so that the feed half knows which doubts it has settled, however late it reads of them or how often: those
of frames before a book was last begun, and those of connections that are gone.
"""

from __future__ import annotations

from typing import Final

import msgspec
from loguru import logger

from rxbridge.coinbase.renewal import BooksInDoubt, Doubts
from rxbridge.errors import JournalError
from rxbridge.journal import Journal

NOTE: Final = "books in doubt"
"""The name of the note."""

MOST_DOUBTS: Final = 1000
"""Doubts that are kept. They are the newest, and older ones are mostly of connections that are gone."""


class DoubtNote:
    """Keeps the note.

    Args:
        journal: Where it is kept. It must take notes.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._doubts = {**read_doubts(journal)}

    def doubt(self, connection: int, product: str, index: int) -> None:
        """Durably note a book that is in doubt.

        Args:
            connection: The connection of the frame that gives rise to the doubt.
            product: Whose book; empty for all of that connection.
            index: The place of that frame on the connection.
        """
        about = (connection, product)
        if self._doubts.get(about, -1) >= index:
            return  # A delivery that reads frames once more has its doubts once more.
        self._doubts.pop(about, None)
        self._doubts[about] = index
        while len(self._doubts) > MOST_DOUBTS:
            del self._doubts[next(iter(self._doubts))]
        note = msgspec.json.encode([(*each, at) for each, at in self._doubts.items()])
        try:
            self._journal.remember(NOTE, note)
        except JournalError as error:
            # It goes with the next one; the book waits so long.
            logger.warning("[BOOK] Cannot note that a book is in doubt: {}", error)


def read_doubts(journal: Journal) -> Doubts:
    """The books in doubt, the newest doubt last; none if there is no note, or one that cannot be read.

    Raises:
        JournalError: The journal cannot be read.
    """
    note = journal.recall(NOTE)
    if note is None:
        return {}
    try:
        return {(connection, product): index for connection, product, index in _DECODER.decode(note)}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        logger.warning("[BOOK] The note of the books in doubt cannot be read, so it is passed over")
        return {}


def heed(journal: Journal, in_doubt: BooksInDoubt) -> None:
    """Tell the feed which books are in doubt.

    Raises:
        JournalError: The journal cannot be read.
    """
    in_doubt.set(read_doubts(journal))


_DECODER = msgspec.json.Decoder(list[tuple[int, str, int]])
