"""A recording as an Observable of frames."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from reactivex import Observable
from reactivex.abc import SchedulerBase

from rxbridge.messages import Frame
from rxbridge.playing import OUT_OF_ORDER, Selection, Speed, played, selection
from rxbridge.recording.files import files_of
from rxbridge.recording.reader import begins_marked, read_frames

RecordingPath: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A recording, or several that are read one after the other."""


def frames(
    path: RecordingPath,
    *,
    speed: Speed | None = None,
    scheduler: SchedulerBase | None = None,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
    products: Sequence[str] = (),
) -> Observable[Frame]:
    """The frames of a recording, cold: each subscription reads it from the start.

        recorded           a 9:00:00    b 9:00:10      c 9:00:15
        speed=10           a---------b----c|               1 s, then half a second, on a thread of its own
        a ReplayClock      a b c|                          at once; the clock says 9:00:00, 9:00:10, 9:00:15

    Each has the connection and the index with which it was recorded, so that the events that are made of it have the
    ids that they had. In a file without marks the frames count as those of one connection.

    On a `ReplayClock` every operator that has the same clock behaves as it did, or would have done, then, and the
    result is the same each time: `clock.start()` plays it to the end. A clock without a start begins with the first
    frame, or at `since`, when this function is called.

    Args:
        path: `day.jsonl.zst`, which stands for `day-0001.jsonl.zst` and so on where there is no such file; or several.
        speed: 1 by default, or `virtual` with a `ReplayClock`.
        scheduler: Where the frames are emitted.
        since: Only what was received at or after this time: aware, or nanoseconds since the Unix epoch.
        until: Only what was received before this time.
        products: Only frames of these products, and those of none, such as heartbeats; see `Selection`. Order books of
            `rxbridge run` need all frames of a connection.

    Raises:
        RecordingError: There is no such file, or it is no recording.
        MissingExtra: A compressed recording needs the package zstandard.
        ConfigError: An argument cannot be used.

    Emits as its error:
        RecordingError: The file is damaged. One that is torn at its end, by a crash, ends there, with a warning.
    """
    chosen = selection(since, until, products)
    _files(path)
    return played(lambda: recorded_frames(path, chosen), since=chosen.since, speed=speed, scheduler=scheduler)


def recorded_frames(path: RecordingPath, chosen: Selection, occurring: set[bytes] | None = None) -> Generator[Frame]:
    """The frames of a recording, in order, as far as they are meant; `occurring` as of `Selection.of`.

    Raises:
        RecordingError: At once, where there is no such file; while iterating, where it is damaged.
        MissingExtra: A compressed recording needs the package zstandard.
    """
    return chosen.of(read_frames(_from(_files(path), chosen)), occurring)


def _files(path: RecordingPath) -> list[Path]:
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    return [file for one in paths for file in files_of(Path(one))]


def _from(files: Sequence[Path], chosen: Selection) -> Sequence[Path]:
    """The files, without those at the beginning that end before what is meant.

    A file of which the next begins early enough is not read; only where that one has marks, for else the index of its
    frames would depend on what came before.
    """
    first = 0
    for number, file in enumerate(files[1:], start=1):
        begins = begins_marked(file)
        if begins is None or begins > chosen.since - OUT_OF_ORDER:
            break
        first = number
    return files[first:]
