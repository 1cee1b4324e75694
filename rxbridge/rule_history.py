"""The journal's note of which rules events were made by, from which frame on: what was delivered can be made again.

    frames      1 ........ 500 501 ........ 900 901 ..
    rules       depth 10       | depth 3        | whole books       | the delivery was started with other settings

Which events of order books there are depends on the rules, so an audit by those of today would expect events that were
never made. Where the note begins, or was lost with its file, the oldest rules that are known stand for those before.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rxbridge.events import EventRules
from rxbridge.journal import Journal
from rxbridge.stretches import Stretch, read_stretches, remember_stretch, stretch_at

NOTE = "event rules"
"""The name of the note."""


class RulesHeld(Stretch, frozen=True):
    """The rules of a stretch."""

    rules: EventRules


_decoder = msgspec.json.Decoder(list[RulesHeld])


class RuleHistory:
    """Which rules held for a frame when it was delivered; for one that still waits, the newest.

    Args:
        stretches: Oldest first, at least one.
    """

    def __init__(self, stretches: Sequence[RulesHeld]) -> None:
        self.stretches: tuple[RulesHeld, ...] = tuple(stretches)

    def at(self, offset: int, /) -> EventRules:
        """The rules for the frame of this offset."""
        return stretch_at(self.stretches, offset).rules


def rules_as_delivered(journal: Journal, otherwise: EventRules) -> RuleHistory:
    """What the journal's note says of the frames that are kept.

    Args:
        journal: Where the note is.
        otherwise: The rules where there is no note: no delivery has begun that would have written one.

    Raises:
        JournalError: The journal cannot be read.
    """
    return RuleHistory(read_stretches(journal, NOTE, _decoder) or [RulesHeld(0, otherwise)])


def record_rules(journal: Journal, rules: EventRules, after: int) -> RuleHistory:
    """Durably note that these hold from the frame behind `after` on, if others did before; and all that is known then.

    Raises:
        JournalError: The journal cannot be read or written.
    """
    stretches = read_stretches(journal, NOTE, _decoder)
    if stretches and stretches[-1].rules == rules:
        return RuleHistory(stretches)
    return RuleHistory(remember_stretch(journal, NOTE, stretches, RulesHeld(after, rules)))
