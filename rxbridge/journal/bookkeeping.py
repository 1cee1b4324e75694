"""What a SQLite journal keeps besides frames: cursors, notes, dead letters, gaps, and what a policy has dropped."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import msgspec

from rxbridge.journal.interface import DeadLetter, Gap, MarketGap
from rxbridge.journal.schema import has_table, single

ACKNOWLEDGE = """
INSERT INTO cursors VALUES (?, ?)
ON CONFLICT (consumer) DO UPDATE SET acknowledged = max(acknowledged, excluded.acknowledged)
"""

FORGET = "DELETE FROM cursors WHERE consumer = ?"

KEEP_LETTER = """
INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (frame_offset, event_id) DO UPDATE SET
    reason = excluded.reason,
    last_attempt = max(last_attempt, excluded.last_attempt),
    attempts = attempts + excluded.attempts
"""

REMOVE_LETTER = "DELETE FROM dead_letters WHERE frame_offset = ? AND event_id = ?"

REMEMBER = "INSERT INTO notes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

RECORD_MARKET_GAP = """
INSERT OR IGNORE INTO market_gaps (kind, products, channel, first, last, reason, recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""

RECORD_DROPS = "INSERT OR REPLACE INTO drops VALUES (?, ?, ?)"

FORGET_DROPS = "DELETE FROM drops WHERE last_offset <= ?"

RECORD_GAP = """
INSERT INTO gaps (kind, reason, recorded_at, first_offset, last_offset, frames, events) VALUES (?, ?, ?, ?, ?, ?, ?)
"""

# Damage is met again by every reader and after every restart, and maybe by who replaces the file; it is recorded once.
RECORD_CORRUPT_GAP = """
INSERT INTO gaps (kind, reason, recorded_at, first_offset, last_offset, frames, events)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
WHERE NOT EXISTS (
    SELECT 1 FROM gaps WHERE kind NOT IN ('dropped', 'let go') AND first_offset <= ?4 AND last_offset >= ?5
)
"""

# What is let go is in nobody's way: one row counts it all. It stands among the gaps so that who replaces a damaged file
# knows that these frames were gone before. All that lies between them is gone too, as the oldest always go first.
_LET_GO_MORE = "UPDATE gaps SET last_offset = ?, recorded_at = ?, frames = frames + ? WHERE kind = 'let go'"

# A frame that was given up before it had an offset is told from others only by its time.
_MERGE_SECONDS = 60
_PAGE = 500


def letter_columns(letter: DeadLetter) -> tuple[int, str, str, str, bytes, int, int, int]:
    """The parameters of `KEEP_LETTER`."""
    return (
        letter.offset,
        storable(letter.event_id),
        letter.stage,
        storable(letter.reason),
        letter.content,
        letter.first_attempt,
        letter.last_attempt,
        letter.attempts,
    )


def gap_columns(gap: Gap) -> tuple[str, str, int, int, int, int, int]:
    """The parameters of `RECORD_GAP`."""
    return (
        gap.kind,
        storable(gap.reason),
        gap.recorded_at,
        gap.first_offset,
        gap.last_offset,
        gap.frames,
        gap.events,
    )


def market_gap_columns(gap: MarketGap) -> tuple[str, str, str, int, int, str, int]:
    """The parameters of `RECORD_MARKET_GAP`."""
    return (
        gap.kind,
        storable(",".join(gap.products)),
        storable(gap.channel),
        gap.first,
        gap.last,
        storable(gap.reason),
        gap.recorded_at,
    )


def drop_columns(offsets: Sequence[int]) -> tuple[int, int, bytes]:
    """The parameters of `RECORD_DROPS` for ascending offsets, at least one.

    Each is written as its distance to the one before, so that a thousand neighbors take a thousand bytes.
    """
    distances = [offset - before for before, offset in pairwise(offsets)]
    return offsets[0], offsets[-1], msgspec.msgpack.encode(distances)


def storable(text: str) -> str:
    """The text, with half characters (which JSON may hold, and UTF-8 cannot) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def slowest_cursor(connection: sqlite3.Connection) -> int:
    """The least that any consumer has acknowledged; 0 if there is no consumer."""
    return single(connection, "SELECT min(CAST(acknowledged AS INTEGER)) FROM cursors")


def cursors(connection: sqlite3.Connection) -> dict[str, int]:
    """What each consumer has acknowledged; 0 where that is damaged."""
    rows = connection.execute("SELECT consumer, coalesce(CAST(acknowledged AS INTEGER), 0) FROM cursors")
    return {str(consumer): acknowledged for consumer, acknowledged in rows}


def record_drop(connection: sqlite3.Connection, gap: Gap) -> bool:
    """Record dropped frames, as part of the newest such record if they continue it; whether it is a new record."""
    newest = connection.execute(
        "SELECT id, last_offset, recorded_at FROM gaps WHERE kind = 'dropped' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if newest is not None:
        identity, last_offset, recorded_at = newest
        if gap.first_offset:
            continues = last_offset + 1 == gap.first_offset
        else:
            continues = last_offset == 0 and gap.recorded_at - recorded_at < _MERGE_SECONDS * 10**9
        if continues:
            connection.execute(
                "UPDATE gaps SET last_offset = ?, frames = frames + ?, events = events + ? WHERE id = ?",
                (gap.last_offset, gap.frames, gap.events, identity),
            )
            return False
    connection.execute(RECORD_GAP, gap_columns(gap))
    return True


def record_let_go(connection: sqlite3.Connection, first: int, last: int, frames: int) -> None:
    """Count frames that were let go, among those from `first` to `last`."""
    now = time.time_ns()
    if not connection.execute(_LET_GO_MORE, (last, now, frames)).rowcount:
        reason = "delivered, and let go by the full journal before all had read them"
        connection.execute(RECORD_GAP, ("let go", reason, now, first, last, frames, 0))


def let_go(connection: sqlite3.Connection) -> int:
    """How many frames were let go."""
    return single(connection, "SELECT sum(CAST(frames AS INTEGER)) FROM gaps WHERE kind = 'let go'")


def dead_letters(connection: sqlite3.Connection, after: int, seen: tuple[int, str] | None) -> list[DeadLetter]:
    """The next dead letters above `after` by offset and event id, and beyond the last `seen`, a page at most."""
    offset, event_id = seen or (after + 1, None)
    columns = connection.execute(
        "SELECT * FROM dead_letters WHERE frame_offset >= ?1 AND (?2 IS NULL OR (frame_offset, event_id) > (?1, ?2)) "
        "ORDER BY frame_offset, event_id LIMIT ?3",
        (offset, event_id, _PAGE),
    ).fetchall()
    return [DeadLetter(*row) for row in columns]


def gaps(connection: sqlite3.Connection, after: int) -> list[tuple[int, Gap]]:
    """The next gaps by their row's id, a page at most."""
    columns = connection.execute(
        "SELECT * FROM gaps WHERE id > ? AND kind <> 'let go' ORDER BY id LIMIT ?", (after, _PAGE)
    ).fetchall()
    return [(row[0], Gap(*row[1:])) for row in columns]


def market_gaps(connection: sqlite3.Connection, after: int) -> list[tuple[int, MarketGap]]:
    """The next market gaps by their row's id, a page at most."""
    columns = connection.execute(
        "SELECT * FROM market_gaps WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE)
    ).fetchall()
    return [
        (identity, MarketGap(kind, tuple(products.split(",")), channel, first, last, reason, recorded_at))
        for identity, kind, products, channel, first, last, reason, recorded_at in columns
    ]


def drops(connection: sqlite3.Connection, after: int) -> list[tuple[int, list[int]]]:
    """The next records of drops that reach beyond `after`, a page at most: the last offset of each, and all of them."""
    columns = connection.execute(
        "SELECT * FROM drops WHERE last_offset > ? ORDER BY first_offset LIMIT ?", (after, _PAGE)
    ).fetchall()
    return [(last, _offsets(first, packed)) for first, last, packed in columns]


def _offsets(first: int, packed: bytes) -> list[int]:
    try:
        return list(accumulate(msgspec.msgpack.decode(packed, type=list[int]), initial=first))
    except msgspec.MsgspecError:
        # A damaged record is no reason to give up the file: its events are then missing to an audit, which says so.
        return []


def rescue(connection: sqlite3.Connection, table: str, key: str) -> Iterator[tuple[object, ...]]:
    """What can be read of a damaged table: from its begin to the damage, and from its end back to it.

    Rows may come twice.
    """
    for direction in ("ASC", "DESC"):
        try:
            if not has_table(connection, table):
                return
            # Table and key are names of our own.
            yield from connection.execute(f"SELECT * FROM {table} ORDER BY {key} {direction}")  # noqa: S608
        except sqlite3.DatabaseError:
            # That it is damaged is why we are here; the gap that is recorded says so.
            continue
        return
