"""Whether a file is, or has been, a journal: only such a one may be mended, or moved aside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from rxbridge.errors import JournalError
from rxbridge.journal.schema import APPLICATION_ID, BUSY_SECONDS, single
from rxbridge.journal.trouble import trouble

_MAGIC = b"SQLite format 3\x00"
_APPLICATION_ID_AT = 68
_COMPANIONS = (".offsets", ".feed.lock", ".deliver.lock")
"""What stands beside a journal from before its first byte on. The lock of who maintains is taken before it is known
what the file is."""


def require_journal(path: Path) -> None:
    """Make sure that a file which is to be used as a journal is not somebody's recording, or database, or text.

    A journal that a crash has left as garbage has its companions; one that was copied without them, its header.

    Raises:
        JournalError: It is not empty, and nothing says that it has been a journal.
        sqlite3.Error: It cannot be read for now.
        OSError: Likewise.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return
    if any(path.with_name(path.name + companion).exists() for companion in _COMPANIONS):
        return
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(_MAGIC):
        kind = "no journal"
    elif not _is_journal(path, header):
        kind = "no journal, but a database of another program"
    else:
        return
    raise JournalError(
        str(path),
        f"is there already and is {kind}; it is left as it is. Name another file, or move this one away",
    )


def _is_journal(path: Path, header: bytes) -> bool:
    if header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4] == APPLICATION_ID.to_bytes(4, "big"):
        return True
    # The log may have more than the file has. Without one, nothing is left behind beside it.
    has_log = path.with_name(path.name + "-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
            if single(connection, "PRAGMA application_id") == APPLICATION_ID:
                return True
            # A process was killed that had begun to make it.
            return not single(connection, "SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        if trouble(error) != "damaged":
            raise
        return False
