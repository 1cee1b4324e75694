"""Whether a bridge has come to the end of what is played to it, however long that takes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rxbridge.errors import JournalError
from rxbridge.journal import SqliteJournal
from rxbridge.progress import CONSUMER
from rxbridge.recording import read


def last_frame(recording: Path, *types: str) -> bytes:
    """The last frame of a recording, or the last one of the Exchange's of these types."""
    beginnings = tuple(f'{{"type":"{name}"'.encode() for name in types) or b""
    return [frame.data for frame in read(recording) if frame.data.startswith(beginnings)][-1]


def times_arrived(journal: Path, last: bytes) -> int:
    """How often a recording that ends with this frame is in the journal."""
    return _progress(journal, last)[0]


def is_delivered(journal: Path, last: bytes, *, times: int = 1) -> bool:
    """Whether it is there so many times, and all of it was delivered."""
    played, waiting = _progress(journal, last)
    return played >= times and not waiting


def _progress(path: Path, last: bytes) -> tuple[int, int]:
    """How often this frame is there, and how many frames wait to be delivered."""
    if not path.exists():
        return 0, 0
    try:
        with closing(SqliteJournal(path, role="read")) as journal:
            frames = journal.read(0, 1_000_000)
            return sum(frame.data == last for frame in frames), journal.size().last_offset - journal.cursor(CONSUMER)
    except JournalError:  # it is being made
        return 0, 0
