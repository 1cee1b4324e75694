"""Gaps of the journal that somebody has taken note of: an audit tells of them, and does not fail because of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from rxbridge.journal import Gap, Journal

NOTE = "gaps acknowledged"
"""The name of the journal's note."""


class _Known(msgspec.Struct, frozen=True):
    """What identifies a gap. Its offsets do where it has some: each reader finds damage anew, at another time."""

    kind: Literal["dropped", "corrupt", "quarantined"]
    first: int
    last: int
    recorded_at: int

    def covers(self, gap: Gap) -> bool:
        if self.kind != gap.kind:
            return False
        if gap.first_offset:
            return 0 < self.first <= gap.first_offset and gap.last_offset <= self.last
        return self.first == 0 and self.recorded_at == gap.recorded_at


_known = msgspec.json.Decoder(list[_Known])


def acknowledged_gaps(journal: Journal) -> list[_Known]:
    """What was acknowledged so far."""
    note = journal.recall(NOTE)
    try:
        return [] if note is None else _known.decode(note)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Damaged with its file: what was acknowledged is told of again.
        return []


def is_acknowledged(gap: Gap, known: Iterable[_Known]) -> bool:
    """Whether somebody has taken note of this gap."""
    return any(one.covers(gap) for one in known)


def acknowledge_gaps(journal: Journal, gaps: Iterable[Gap]) -> None:
    """Durably note that these are known of.

    Raises:
        JournalError: It cannot be written.
    """
    known = acknowledged_gaps(journal)
    known += [
        _Known(gap.kind, gap.first_offset, gap.last_offset, gap.recorded_at)
        for gap in gaps
        if not is_acknowledged(gap, known)
    ]
    journal.remember(NOTE, msgspec.json.encode(known))


def unexplained(journal: Journal) -> list[Gap]:
    """The gaps of frames that the journal's file lost, and that nobody has taken note of."""
    known = acknowledged_gaps(journal)
    return [gap for gap in journal.gaps() if gap.kind != "dropped" and not is_acknowledged(gap, known)]
