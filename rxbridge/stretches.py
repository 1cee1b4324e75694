"""What held for the frames of a journal, stretch by stretch, as the journal notes it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from rxbridge.journal import Journal

MOST_STRETCHES = 100
"""So many changes are remembered. Older ones are forgotten first, and with the frames that they were for."""

_ANY = 0
"""The offset of a frame that is in no journal."""


class Stretch(msgspec.Struct, frozen=True):
    """From the frame behind `after` on something held, until the next stretch."""

    after: int


S = TypeVar("S", bound=Stretch)


def stretch_at(stretches: Sequence[S], offset: int) -> S:
    """The stretch of a frame; the oldest one for those before it, and the newest one for a frame that is nowhere.

    Args:
        stretches: Oldest first, at least one.
        offset: Of the frame; 0, if it is in no journal.
    """
    if offset <= _ANY:
        return stretches[-1]
    return stretches[max(bisect_left(stretches, offset, key=_after) - 1, 0)]


def read_stretches(journal: Journal, note: str, decoder: msgspec.json.Decoder[list[S]]) -> list[S]:
    """The note, without what ended before the kept frames; empty, if there is none or it is damaged with its file.

    Raises:
        JournalError: The journal cannot be read.
    """
    noted = journal.recall(note)
    try:
        stretches = [] if noted is None else decoder.decode(noted)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    first = journal.size().first_offset
    ends = [following.after for following in stretches[1:]]
    return [stretch for stretch, end in zip(stretches, ends, strict=False) if end >= first] + stretches[-1:]


def remember_stretch(journal: Journal, note: str, before: Sequence[S], newest: S) -> list[S]:
    """Durably note that a stretch begins; all that are known then.

    Raises:
        JournalError: The journal cannot be written.
    """
    # What was to hold from here on, or from later on in a file that was lost, has held for nothing that counts.
    earlier = [stretch for stretch in before if stretch.after < newest.after]
    if not earlier or _without_place(earlier[-1]) != _without_place(newest):
        earlier.append(newest)
    stretches = earlier[-MOST_STRETCHES:]
    journal.remember(note, msgspec.json.encode(stretches))
    return stretches


def _after(stretch: Stretch) -> int:
    return stretch.after


def _without_place(stretch: S) -> S:
    return msgspec.structs.replace(stretch, after=0)
