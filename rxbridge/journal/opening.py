"""Opening the writing side of a journal file: creating it, and replacing it when it cannot be used."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from rxbridge.errors import JournalCorrupt, JournalError
from rxbridge.journal.quarantine import finish_exchange, record_disappearance, renew
from rxbridge.journal.retention import EventCounter, Retention
from rxbridge.journal.schema import (
    BOOKS,
    SCHEMA_VERSION,
    Synchronous,
    bring_up_to_date,
    check,
    connect,
    create,
    use_write_ahead_log,
)
from rxbridge.journal.sidecar import Sidecar
from rxbridge.journal.store import Store
from rxbridge.journal.trouble import trouble

_REPLACE_PAUSE_SECONDS = 60.0


class StoreFile:
    """A journal's file, and how it is to be written.

    Args:
        path: Where it is.
        retention: What may stay in it.
        count_events: Counts events of dropped frames.
        feeds: Whether this process appends.
        synchronous: Whether a commit waits for the disk.
        tell: Is told of a file that had to be replaced.
    """

    def __init__(
        self,
        path: Path,
        *,
        retention: Retention,
        count_events: EventCounter,
        feeds: bool,
        synchronous: Synchronous,
        tell: Callable[[JournalError], None],
    ) -> None:
        self.path = path
        self.retention = retention
        self.count_events = count_events
        self.feeds = feeds
        self.tell = tell
        self._synchronous: Synchronous = synchronous
        self._replaced_at: float | None = None

    def open(self, sidecar: Sidecar) -> Store:
        """Open it, made anew if it is not there or cannot be used.

        Raises:
            JournalError: It was written by a newer version, or its file system is not suitable.
            sqlite3.Error: It cannot be opened or created for now.
            OSError: Likewise.
        """
        with sidecar.exclusive():
            finish_exchange(self.path)
            try:
                return self._open(sidecar)
            except sqlite3.Error as error:
                if trouble(error) != "damaged":
                    raise
                self._renew(sidecar, error)
            return self._open(sidecar)

    def replace(self, sidecar: Sidecar, damaged: Store, error: Exception) -> Store:
        """Close `damaged`, and exchange its file for a new one unless another process has done so.

        Raises:
            Exception: `error` itself, if the last time was a moment ago; else as for `open`.
        """
        with sidecar.exclusive():
            current = damaged.is_current()
            damaged.close()
            if current:
                self._renew(sidecar, error)
        return self.open(sidecar)

    def _open(self, sidecar: Sidecar) -> Store:
        connection = connect(self.path, create=True, synchronous=self._synchronous)
        try:
            version = check(connection, self.path)
            is_new = version == 0
            if is_new:
                create(connection, self.path)
            else:
                use_write_ahead_log(connection, self.path)
                if version < SCHEMA_VERSION:
                    bring_up_to_date(connection)
            store = self._store(connection, self.path)
            store.load()
            for table in BOOKS:
                connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608 - names of our own
            gap = record_disappearance(connection, store, sidecar) if is_new else None
        except BaseException:
            connection.close()
            raise
        if gap is not None:
            self.tell(JournalCorrupt(str(self.path), f"{gap.reason}; {gap.frames} unacknowledged frames are lost"))
        return store

    def _renew(self, sidecar: Sidecar, error: Exception) -> None:
        # A disk that damages every new file must not be filled with them.
        now = time.monotonic()
        if self._replaced_at is not None and now - self._replaced_at < _REPLACE_PAUSE_SECONDS:
            raise error
        self._replaced_at = now
        renew(self.path, sidecar, error, self._store, self.tell)

    def _store(self, connection: sqlite3.Connection, path: Path) -> Store:
        return Store(connection, path, retention=self.retention, count_events=self.count_events, feeds=self.feeds)
