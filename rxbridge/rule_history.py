"""The journal's note of which rules events were made by, from which frame on: what was delivered can be made again.

    frames      1 ........ 500 501 ........ 900 901 ..
    rules       depth 10       | depth 3        | whole books       | the delivery was started with other settings

Which events of order books there are depends on the rules, so an audit by those of today would expect events that were
never made. Where the note begins, or was lost with its file, the oldest rules that are known stand for those before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from rxbridge.events import EventRules
from rxbridge.journal import Journal

NOTE = "event rules"
"""The name of the note."""

MOST_STRETCHES = 100
"""So many changes are remembered. Older ones are forgotten first, and with the frames that they were for."""

_ANY = 0
"""The offset of a frame that is in no journal."""


class Stretch(msgspec.Struct, frozen=True):
    """From the frame behind `after` on, these rules held, until the next stretch."""

    after: int
    rules: EventRules


_decoder = msgspec.json.Decoder(list[Stretch])


class RuleHistory:
    """Which rules held for a frame when it was delivered; for one that still waits, the newest.

    Args:
        stretches: Oldest first, at least one.
    """

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self.stretches: tuple[Stretch, ...] = tuple(stretches)
        self._begins = [stretch.after for stretch in stretches]

    def at(self, offset: int, /) -> EventRules:
        """The rules for the frame of this offset."""
        if offset <= _ANY:
            return self.stretches[-1].rules
        return self.stretches[max(bisect_left(self._begins, offset) - 1, 0)].rules


def rules_as_delivered(journal: Journal, otherwise: EventRules) -> RuleHistory:
    """What the journal's note says of the frames that are kept.

    Args:
        journal: Where the note is.
        otherwise: The rules where there is no note: no delivery has begun that would have written one.

    Raises:
        JournalError: The journal cannot be read.
    """
    return RuleHistory(_read(journal) or [Stretch(0, otherwise)])


def record_rules(journal: Journal, rules: EventRules, after: int) -> RuleHistory:
    """Durably note that these hold from the frame behind `after` on, if others did before; and all that is known then.

    Raises:
        JournalError: The journal cannot be read or written.
    """
    stretches = _read(journal)
    if stretches and stretches[-1].rules == rules:
        return RuleHistory(stretches)
    # What was to hold from here on, or from later on in a file that was lost, has held for nothing that counts.
    earlier = [stretch for stretch in stretches if stretch.after < after]
    if not earlier or earlier[-1].rules != rules:
        earlier.append(Stretch(after, rules))
    stretches = earlier[-MOST_STRETCHES:]
    journal.remember(NOTE, msgspec.json.encode(stretches))
    return RuleHistory(stretches)


def _read(journal: Journal) -> list[Stretch]:
    """The note, without what ended before the kept frames; empty, if there is none or it is damaged with its file."""
    note = journal.recall(NOTE)
    try:
        stretches = [] if note is None else _decoder.decode(note)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    first = journal.size().first_offset
    ends = [following.after for following in stretches[1:]]
    return [stretch for stretch, end in zip(stretches, ends, strict=False) if end >= first] + stretches[-1:]
