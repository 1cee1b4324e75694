"""What a journal's SQLite file looks like, and how it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rxbridge.errors import JournalError

Synchronous: TypeAlias = Literal["normal", "full"]

APPLICATION_ID = 0x72786A6C
"""`rxjl` in ASCII, in the file's header: this is a journal and not some other SQLite file."""

SCHEMA_VERSION = 2

_PLAUSIBLE_VERSIONS = 1000

BUSY_SECONDS = 5.0
"""How long SQLite itself waits for another process's transaction."""

PAGE_BYTES = 4096

LOG_LIMIT_BYTES = 64 * 2**20
"""A write-ahead log larger than this is cut back as soon as its readers allow."""

_CHECKPOINT_PAGES = 1000

# `frames_before` and `bytes_before` are running totals over all rows ever written, so that how much the journal holds
# is a difference of two rows. They would be lost with the last row: `state` has them whenever rows were deleted.
_TABLES = """
CREATE TABLE rows (
    first_offset INTEGER PRIMARY KEY,
    frames INTEGER NOT NULL,
    first_received_at INTEGER NOT NULL,
    last_received_at INTEGER NOT NULL,
    frames_before INTEGER NOT NULL,
    bytes_before INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_offset INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE cursors (
    consumer TEXT PRIMARY KEY,
    acknowledged INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    frame_offset INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    content BLOB NOT NULL,
    first_attempt INTEGER NOT NULL,
    last_attempt INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (frame_offset, event_id)
);
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    events INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 0, 0, 0);
"""

_TABLES_OF_VERSION_2 = """
CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE market_gaps (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    products TEXT NOT NULL,
    channel TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    UNIQUE (kind, products, channel, first, last)
);
CREATE TABLE drops (
    first_offset INTEGER PRIMARY KEY,
    last_offset INTEGER NOT NULL,
    offsets BLOB NOT NULL
);
"""

BOOKS: dict[str, str] = {
    "cursors": "consumer",
    "gaps": "id",
    "dead_letters": "rowid",
    "notes": "name",
    "market_gaps": "id",
    "drops": "first_offset",
}
"""The tables besides those of the frames, and by which column each is in order."""

_TABLES_BY_VERSION = {1: ("rows", "state", "cursors", "dead_letters", "gaps"), 2: ("notes", "market_gaps", "drops")}


class UnusableFile(sqlite3.DatabaseError):
    """SQLite can read the file, but it is no journal, or something is wrong that everything depends on."""


class _Connection(sqlite3.Connection):
    """A connection to a file whose schema may be damaged: its names, which errors tell of, need not be text then."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:
            raise UnusableFile(f"its schema is damaged: {error}") from error


def connect(
    path: Path, *, create: bool = False, salvage: bool = False, synchronous: Synchronous = "normal"
) -> sqlite3.Connection:
    """Open the file, in autocommit mode, for use by one thread at a time.

    Args:
        path: The file.
        create: Whether to create it if it is not there.
        salvage: Whether to look over a damaged structure where that is possible, and to change nothing.
        synchronous: How far a commit waits for the disk.

    Raises:
        sqlite3.Error: It is not there, not readable, or not a SQLite file.
    """
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    # Damaged text must not raise where a damaged journal is being read.
    connection.text_factory = _decode
    try:
        for pragma in (
            *(("writable_schema = ON", "query_only = ON") if salvage else ()),
            f"page_size = {PAGE_BYTES}",
            f"synchronous = {synchronous}",
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            f"journal_size_limit = {LOG_LIMIT_BYTES}",
            # Frames are no secrets; overwriting freed pages with zeros would double the writing.
            "secure_delete = OFF",
            # A damaged file is to be noticed rather than believed.
            "cell_size_check = ON",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of the file, which may be an older one; 0 if it is empty still.

    Raises:
        UnusableFile: It belongs to somebody else.
        JournalError: It was written by a newer version of rxbridge.
        sqlite3.Error: It cannot be read.
    """
    if not single(connection, "SELECT count(*) FROM sqlite_master"):
        return 0
    if (application := single(connection, "PRAGMA application_id")) != APPLICATION_ID:
        raise UnusableFile(f"not a journal (its application id is {application:#x})")
    version = single(connection, "PRAGMA user_version")
    if version > _PLAUSIBLE_VERSIONS or version < 1:
        raise UnusableFile(f"its schema version cannot be {version}")
    if version > SCHEMA_VERSION:
        raise JournalError(
            str(path),
            f"was written by a newer rxbridge (schema {version}, this one knows {SCHEMA_VERSION}); "
            "update rxbridge, or use another journal",
        )
    for since, tables in _TABLES_BY_VERSION.items():
        for table in tables if since <= version else ():
            if not has_table(connection, table):
                raise UnusableFile(f"its table {table} is not as it should be")
    return version


def has_table(connection: sqlite3.Connection, table: str) -> bool:
    """Whether a table is there, and is the one that `create` makes.

    Raises:
        sqlite3.Error: The schema cannot be read.
    """
    statement = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
    row = connection.execute(statement, (table,)).fetchone()
    return row is not None and f"\n{row[0]};\n" in _TABLES + _TABLES_OF_VERSION_2


def create(connection: sqlite3.Connection, path: Path) -> None:
    """Make an empty file a journal.

    Raises:
        JournalError: The file system cannot do write-ahead logging.
        sqlite3.Error: It cannot be written.
    """
    use_write_ahead_log(connection, path)
    # The pragmas are part of the transaction, so a file is a whole journal or none.
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        f"{_TABLES}{_TABLES_OF_VERSION_2} COMMIT;"
    )


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Add what a file of schema version 1 lacks: a journal outlives the version that wrote it.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {SCHEMA_VERSION}; {_TABLES_OF_VERSION_2} COMMIT;")


def use_write_ahead_log(connection: sqlite3.Connection, path: Path) -> None:
    """Switch the file to write-ahead logging, in which it mostly is already.

    Raises:
        JournalError: The file system cannot do that.
    """
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != ("wal",):
        raise JournalError(str(path), "its file system cannot do write-ahead logging; put it on a local disk")


def single(connection: sqlite3.Connection, statement: str, parameters: tuple[object, ...] = ()) -> int:
    """The only column of the only row; 0 if that is NULL or there is none."""
    row = connection.execute(statement, parameters).fetchone()
    return 0 if row is None else row[0] or 0


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is at `path` now: device and inode; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
