"""Which dead letters were purged: what stays of them, so that an audit counts their events as dropped, not as lost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, pairwise

import msgspec

from rxbridge.journal import Journal

NOTE = "dead letters purged"
"""The name of the journal's note: the offsets, ascending, each as its distance from the one before."""

_distances = msgspec.msgpack.Decoder(list[int])


def purged_offsets(journal: Journal) -> list[int]:
    """The offsets of the frames whose dead letters were purged, ascending."""
    note = journal.recall(NOTE)
    try:
        return [] if note is None else list(accumulate(_distances.decode(note)))
    except msgspec.MsgspecError:
        # Damaged with its file: an audit then misses these events, and says so.
        return []


def remember_purged(journal: Journal, offsets: Iterable[int]) -> None:
    """Durably add these; those of frames that the journal no longer keeps are let go of.

    Only one process may do this at a time.

    Raises:
        JournalError: It cannot be written.
    """
    first = journal.size().first_offset
    kept = sorted(offset for offset in {*purged_offsets(journal), *offsets} if offset >= first)
    journal.remember(NOTE, msgspec.msgpack.encode([after - before for before, after in pairwise([0, *kept])]))
