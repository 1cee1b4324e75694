"""What an error of SQLite or the operating system means for a journal."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from rxbridge.errors import JournalError, JournalFull
from rxbridge.journal.schema import UnusableFile

Trouble: TypeAlias = Literal["busy", "damaged", "disk"]

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA}
_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    # A table or a column that is not there, for the schema is damaged; and a length that is.
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
}

_PATIENCE_WITH_BUSY_SECONDS = 10.0


def trouble(error: sqlite3.Error | OSError) -> Trouble:
    """What is the matter.

    Returns:
        `busy`: another process has the file, it goes by; `damaged`: the file's content is wrong; `disk`: full, failing,
        read-only, gone, or anything else that an operator can mend.
    """
    if isinstance(error, UnusableFile):
        return "damaged"
    # The code is an extended one: its low byte is the kind. Errors of Python's own module have none.
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "disk"
    kind = code & 0xFF
    return "busy" if kind in _BUSY else "damaged" if kind in _DAMAGED else "disk"


class Episode:
    """A time in which nothing could be written; told about at its begin and at its end, once each."""

    def __init__(self, path: str, tell: Callable[[JournalError], None]) -> None:
        self._path = path
        self._tell = tell
        self._began = 0.0
        self._told = False
        self.problem: str = ""

    def __bool__(self) -> bool:
        """Whether it goes on."""
        return self._began > 0

    def goes_on(self, error: Exception, kind: Trouble) -> None:
        """Another try has failed."""
        self._began = self._began or time.monotonic()
        self.problem = str(error) or repr(error)
        # A moment of waiting for another process is nothing to tell of.
        patience = _PATIENCE_WITH_BUSY_SECONDS if kind == "busy" else 0.0
        if not self._told and time.monotonic() - self._began >= patience:
            self._told = True
            self._tell(JournalFull(self._path, f"cannot be written, frames wait in memory: {self.problem}"))

    def ends(self) -> None:
        """A try has succeeded."""
        if self._told:
            seconds = time.monotonic() - self._began
            self._tell(JournalError(self._path, f"is written again, after {seconds:.1f} s"))
        self._began, self._told, self.problem = 0.0, False, ""
