"""The journal's note of how the confirmation was left."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from rxbridge.custom_pipelines import release
from rxbridge.journal import Journal

CONSUMER = "confirmation"
"""The name under which the confirmation acknowledges."""

STATE_CONSUMER = "confirmation state"
"""The name under which it acknowledges what users' pipelines need no more to have the state that they have there."""

Mode: TypeAlias = Literal["sample", "all"]

_NAME = "confirmation"


class Note(msgspec.Struct, frozen=True):
    """How it was left.

    Attributes:
        mode: `none` where it is switched off.
        busy: Whether a request may have been under way at the end.
    """

    mode: Literal["none", "sample", "all"] = "none"
    busy: bool = False


_decoder = msgspec.json.Decoder(Note)


def write_note(journal: Journal, note: Note) -> None:
    """Durably keep it.

    Raises:
        JournalError: The journal cannot be written.
    """
    journal.remember(_NAME, msgspec.json.encode(note))


def read_note(journal: Journal) -> Note:
    """The note; that of a confirmation which is switched off where there is none."""
    note = journal.recall(_NAME)
    if note is None:
        return Note()
    try:
        return _decoder.decode(note)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Damaged with its file. There was one, so its cursor counts, and nobody knows how it ended.
        return Note("all", busy=True)


def switch_off(journal: Journal) -> None:
    """Note that nothing is to be confirmed: the journal keeps nothing for it any more.

    Raises:
        JournalError: The journal cannot be written.
    """
    write_note(journal, Note())
    journal.forget(CONSUMER)
    release(journal, STATE_CONSUMER)


def confirmed_up_to(journal: Journal) -> int | None:
    """The offset above which the confirmation is still to look; None if it is switched off."""
    return None if read_note(journal).mode == "none" else journal.cursor(CONSUMER)
