"""Opening the journal that the settings name, for commands that may run beside a bridge."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager

from rxbridge.config import Settings
from rxbridge.errors import ConfigError
from rxbridge.journal.locks import RoleLock
from rxbridge.journal.sqlite import SqliteJournal


@contextmanager
def reading(settings: Settings) -> Generator[SqliteJournal]:
    """The journal, to be looked at.

    Raises:
        ConfigError: There is none.
        JournalError: It cannot be opened.
    """
    _check(settings)
    with closing(SqliteJournal(settings.journal.path, role="read")) as journal:
        yield journal


@contextmanager
def maintaining(settings: Settings) -> Generator[SqliteJournal]:
    """The journal, for a command that changes dead letters and notes, or sends something again: one at a time.

    Raises:
        ConfigError: There is none.
        JournalInUse: Another such command is at work.
        JournalError: It cannot be opened.
    """
    _check(settings)
    lock = RoleLock(settings.journal.path.resolve(), "maintain")
    try:
        with closing(SqliteJournal(settings.journal.path, role="maintain")) as journal:
            yield journal
    finally:
        lock.release()


def _check(settings: Settings) -> None:
    if not settings.journal.path.exists():
        raise ConfigError("journal.path", f"there is no journal at {settings.journal.path}")
