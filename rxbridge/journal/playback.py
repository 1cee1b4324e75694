"""The frames that a journal keeps, played again like a recording."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from reactivex import Observable
from reactivex.abc import SchedulerBase

from rxbridge.errors import JournalError
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import Frame
from rxbridge.playing import Selection, Speed, played, selection


def journal_frames(
    path: str | os.PathLike[str],
    *,
    speed: Speed | None = None,
    scheduler: SchedulerBase | None = None,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
    products: Sequence[str] = (),
) -> Observable[Frame]:
    """The frames that a journal keeps, up to the newest at the time of subscribing; as `rxbridge.recording.frames`.

    The journal is only read, and a bridge may be at work on it. What was backfilled, and what rxbridge had to say of
    gaps, is among the frames. Each has its offset there.

    Args:
        path: The journal's file.
        speed: How many times faster than they were received: 1 by default; `max`; or `virtual` with a `ReplayClock`.
        scheduler: Where the frames are emitted.
        since: Only what was received at or after this time: aware, or nanoseconds since the Unix epoch.
        until: Only what was received before this time.
        products: Only frames of these products, and those of none.

    Raises:
        JournalError: There is none, or it cannot be read.
        ConfigError: An argument cannot be used.

    Emits as its error:
        JournalError: The journal cannot be read any more.
    """
    file = Path(path)
    if not file.exists():
        raise JournalError(str(file), "there is no such file")
    chosen = selection(since, until, products)
    return played(lambda: kept_frames(file, chosen), since=chosen.since, speed=speed, scheduler=scheduler)


def kept_frames(path: Path, chosen: Selection, occurring: set[bytes] | None = None) -> Generator[Frame]:
    """The frames that the journal at `path` keeps, in order, as far as meant; `occurring` as of `Selection.of`."""
    return chosen.of(_kept(path), occurring)


def _kept(path: Path) -> Generator[Frame]:
    with closing(SqliteJournal(path, role="read")) as journal:
        after, last = 0, journal.size().last_offset
        while after < last and (frames := journal.read(after)):
            yield from frames
            after = frames[-1].offset
