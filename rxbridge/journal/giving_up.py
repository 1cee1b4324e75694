"""What a full journal gives up: frames that are lost, and frames that are only not kept for whoever is slow."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from rxbridge.journal.bookkeeping import record_drop, record_let_go
from rxbridge.journal.interface import Gap
from rxbridge.journal.removal import OldRow, frames_between, sound_frames
from rxbridge.journal.retention import Cursors, EventCounter, LetGo, Loss


def record_given_up(
    connection: sqlite3.Connection,
    rows: Sequence[OldRow],
    consumers: Cursors,
    *,
    reason: str,
    count_events: EventCounter,
) -> tuple[bool, LetGo]:
    """Record what is lost with rows that are about to be removed, and what is let go.

    Args:
        connection: Where they still are.
        rows: The oldest ones that some consumer has not acknowledged.
        consumers: What each has.
        reason: Why they go.
        count_events: Counts the events of lost frames.

    Returns:
        Whether a new record of dropped frames was begun; and what was let go.
    """
    if not rows:
        return False, LetGo()
    first, settled, last = max(rows[0].first_offset, consumers.slowest + 1), consumers.settled, rows[-1].last_offset
    let_go = LetGo(frames_between(connection, first, min(last, settled)), consumers.behind(min(last, settled)))
    if let_go.frames:
        record_let_go(connection, first, min(last, settled), let_go.frames)
    loss = Loss()
    for row in rows:
        if row.last_offset > settled:
            frames = [frame for frame in sound_frames(connection, row) if frame.offset > settled]
            loss.frames += len(frames)
            loss.events += count_events(frames)
    if not loss:
        return False, let_go
    first = max(first, settled + 1)
    return record_drop(
        connection, Gap("dropped", reason, time.time_ns(), first, last, loss.frames, loss.events)
    ), let_go
