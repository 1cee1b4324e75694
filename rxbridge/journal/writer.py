"""The thread that writes a journal: take all that is pending, commit, repeat."""

from __future__ import annotations

import sqlite3
import threading
import time

from rxbridge.errors import FramesLost, JournalError, JournalFull
from rxbridge.journal.intake import Intake
from rxbridge.journal.opening import StoreFile
from rxbridge.journal.retention import TELL_AGAIN_SECONDS, LetGoTeller
from rxbridge.journal.sidecar import Sidecar
from rxbridge.journal.store import Store
from rxbridge.journal.trouble import Episode, trouble
from rxbridge.journal.work import Outcome, TaskRefused, Work

_RETRY_SECONDS = 0.5
_RETRY_BUSY_SECONDS = 0.02
_CLOSE_PATIENCE_SECONDS = 5.0


class Writer:
    """Commits what the intake holds, for as long as it takes: through full disks, damaged files and busy locks.

    Args:
        file: What to write.
        max_pending_bytes: How many bytes of frames may wait in memory.

    Attributes:
        intake: Where to put what is to be written.

    Raises:
        JournalError: The file was written by a newer version, or its file system is not suitable.
        sqlite3.Error: It cannot be opened or created.
        OSError: Likewise.
    """

    def __init__(self, file: StoreFile, *, max_pending_bytes: int) -> None:
        self._file = file
        self._path = str(file.path)
        self._tell = file.tell
        self._episode = Episode(self._path, file.tell)
        self._damage: JournalError | None = None
        self._tell_let_go = LetGoTeller(self._path, file.tell, time.monotonic)
        self._told_of_waiting_at: float | None = None
        self._remembered: Outcome | None = None
        self._unsaved = 0
        self._store: Store | None = None
        self._sidecar = Sidecar(file.path, writable=True)
        try:
            self._store = file.open(self._sidecar)
            outcome = self._store.load()
            self.intake: Intake = Intake(
                self._path,
                retention=file.retention,
                max_pending_bytes=max_pending_bytes,
                count_events=file.count_events,
                feeds=file.feeds,
                outcome=outcome,
            )
        except BaseException:
            self._close_files()
            raise
        self._remember(outcome)
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def replace_file(self, damage: JournalError) -> None:
        """Exchange the file soon for a new one, because it can no longer be read."""
        self._damage = damage
        self.intake.nudge()

    def close(self) -> None:
        """Write what is pending, for a few seconds if need be, and end; what cannot be written is told of."""
        self.intake.close()
        self._thread.join()
        if self._unsaved:
            unsaved, self._unsaved = self._unsaved, 0
            self._tell(FramesLost(self._path, f"closed, and {unsaved} frames are lost that could not be written"))

    def _run(self) -> None:
        end = JournalError(self._path, "is closed")
        try:
            self._write_until_closed()
        except BaseException as error:
            end = JournalError(self._path, f"its writer has failed: {error!r}")
            self._tell(end)
            raise
        finally:
            self.intake.end(end)
            self._close_files()

    def _write_until_closed(self) -> None:
        deadline: float | None = None
        while (work := self.intake.take(cautiously=bool(self._episode))) is not None:
            if self._write(work) or not self.intake.closing:
                continue
            deadline = deadline or time.monotonic() + _CLOSE_PATIENCE_SECONDS
            if time.monotonic() > min(deadline, self.intake.give_up_at):
                self._unsaved = self.intake.unsaved_frames
                return

    def _write(self, work: Work) -> bool:
        work.urgent = bool(self._episode)
        try:
            if self._damage is not None:
                damage, self._damage = self._damage, None
                self._replace_store(damage)
            outcome = self._commit(work)
        except TaskRefused as refused:
            work.tasks.remove(refused.task)
            refused.task.error = refused.error
            refused.task.done.set()
            self.intake.put_back(work)
            return True
        except (sqlite3.Error, OSError, JournalError) as error:
            self.intake.put_back(work)
            self._meet(error)
            return False
        self._episode.ends()
        self._remember(outcome)
        self.intake.settle(work, outcome)
        self._report(work, outcome)
        return True

    def _commit(self, work: Work) -> Outcome:
        while True:
            store = self._store = self._store or self._file.open(self._sidecar)
            with self._sidecar.shared():
                if store.is_current():
                    outcome = store.commit(work)
                    break
            # Another process has replaced the file, or somebody has removed it.
            self._let_go()
        store.cut_log()
        return outcome

    def _meet(self, error: sqlite3.Error | OSError | JournalError) -> None:
        """Do what can be done about an error, and wait a while where that is nothing."""
        kind = "disk" if isinstance(error, JournalError) else trouble(error)
        if kind == "damaged":
            try:
                if self._replace_store(error):
                    return
            except (sqlite3.Error, OSError, JournalError) as failure:
                error = failure
        elif not (kind == "busy" or _is_full(error)) or (self._store is not None and not self._store.is_usable):
            # After an error of the disk a connection may have lost its bearings.
            self._let_go()
        self._episode.goes_on(error, kind)
        self.intake.stumble(self._episode.problem, _RETRY_BUSY_SECONDS if kind == "busy" else _RETRY_SECONDS)

    def _replace_store(self, error: Exception) -> bool:
        """Exchange the file for a new one; False if none is open."""
        store, self._store = self._store, None
        if store is None:
            return False
        self._store = self._file.replace(self._sidecar, store, error)
        return True

    def _remember(self, outcome: Outcome) -> None:
        known = self._remembered
        if self._file.feeds and (known is None or outcome.last_offset != known.last_offset):
            self._sidecar.remember("last_offset", outcome.last_offset)
        if known is None or outcome.acknowledged != known.acknowledged:
            self._sidecar.remember("acknowledged", outcome.acknowledged)
        self._remembered = outcome

    def _report(self, work: Work, outcome: Outcome) -> None:
        if outcome.began_to_drop:
            self._tell(JournalFull(self._path, "is full: the oldest frames are dropped that nobody has acknowledged"))
        self._tell_let_go(outcome.let_go)
        if work.wanted and not outcome.freed:
            now = time.monotonic()
            if self._told_of_waiting_at is None or now - self._told_of_waiting_at > TELL_AGAIN_SECONDS:
                self._told_of_waiting_at = now
                self._tell(JournalFull(self._path, "is full: frames wait until something is acknowledged"))

    def _let_go(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _close_files(self) -> None:
        self._let_go()
        self._sidecar.close()


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
