"""From where on the state of pipelines can be had of the frames that are kept: what an audit may judge."""

from __future__ import annotations

import msgspec

from rxbridge.journal import Journal

NOTE = "pipeline checkpoints"
"""The name of the journal's note."""

STRIDE_FRAMES = 10_000
"""How many frames lie between two checkpoints at least, but for those of a start."""

_MOST = 1_000


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The state as it was when all up to `settled` was done needs the frames behind `released` and none before."""

    settled: int
    released: int


_decoder = msgspec.msgpack.Decoder(list[Checkpoint])


def read_checkpoints(journal: Journal) -> list[Checkpoint]:
    """Those of which every frame is kept, oldest first.

    Raises:
        JournalError: The journal cannot be read.
    """
    note = journal.recall(NOTE)
    try:
        known = [] if note is None else _decoder.decode(note)
    except msgspec.MsgspecError:
        # Damaged with its file: an audit judges what it can.
        known = []
    first = journal.size().first_offset
    return [checkpoint for checkpoint in known if checkpoint.released >= first - 1]


def add_checkpoint(journal: Journal, settled: int, released: int) -> None:
    """Durably keep one more. Of too many every other one goes.

    Raises:
        JournalError: The journal cannot be written.
    """
    known = read_checkpoints(journal)
    if len(known) >= _MOST:
        known = known[::2]
    if not known or known[-1].settled < settled:
        journal.remember(NOTE, msgspec.msgpack.encode([*known, Checkpoint(settled, released)]))


def judged_after(journal: Journal) -> int:
    """The offset behind which the kept frames make what users' pipelines made of them in the delivery.

    Raises:
        JournalError: The journal cannot be read.
    """
    size = journal.size()
    if size.first_offset <= 1:
        return 0
    return next((checkpoint.settled for checkpoint in read_checkpoints(journal)), size.last_offset)
