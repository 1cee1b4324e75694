"""The journal's note of which pipelines ran from where on: what an audit may expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from rxbridge.custom_pipelines.loading import BUILTIN
from rxbridge.journal import Journal

NOTE = "pipelines"
"""The name of the note."""


class Stretch(msgspec.Struct, frozen=True):
    """From the frame behind `after` on, these pipelines ran, until the next stretch."""

    after: int
    names: tuple[str, ...]


Counts: TypeAlias = Callable[[str, int], bool]
"""Whether a pipeline ran, by its name, when a frame was delivered, by its offset."""

_decoder = msgspec.json.Decoder(list[Stretch])
_ALWAYS_BUILTIN = Stretch(0, (BUILTIN,))


class History:
    """The stretches, oldest first."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self.stretches: tuple[Stretch, ...] | tuple[Stretch] = tuple(stretches) or (_ALWAYS_BUILTIN,)

    def names(self) -> set[str]:
        """All pipelines whose events an audit may meet."""
        return {name for stretch in self.stretches for name in stretch.names}

    def counts(self, name: str, offset: int) -> bool:
        """Whether the pipeline ran when the frame was delivered."""
        ran = self.stretches[0].names
        for stretch in self.stretches:
            if stretch.after >= offset > 0:
                break
            ran = stretch.names
        return name in ran


def counts_always(_name: str, _offset: int) -> bool:
    """For one who makes nothing but what is to count."""
    return True


def read_history(journal: Journal) -> History:
    """The note; where there is none, the built-in pipeline ran alone. What ended before the kept frames is left out.

    Raises:
        JournalError: It cannot be read.
    """
    note = journal.recall(NOTE)
    try:
        stretches = [] if note is None else _decoder.decode(note)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Damaged with its file. An audit then tells of events that it cannot expect, or does not find.
        stretches = []
    first = journal.size().first_offset
    ends = [following.after for following in stretches[1:]]
    kept = [stretch for stretch, end in zip(stretches, ends, strict=False) if end >= first]
    return History([*kept, *stretches[-1:]])


def record_pipelines(journal: Journal, names: Sequence[str], after: int) -> None:
    """Durably note that these run from the frame behind `after` on, if others did before.

    Raises:
        JournalError: It cannot be written.
    """
    history = read_history(journal)
    last = history.stretches[-1]
    if last.names == tuple(names):
        return
    earlier = history.stretches if last.after < after else history.stretches[:-1]
    journal.remember(NOTE, msgspec.json.encode([*earlier, Stretch(after, tuple(names))]))
