"""The journal: what was received stays here until PulseStream has it.

`Journal` is the interface; `MemoryJournal` and `SqliteJournal` are its homes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rxbridge.journal.interface import CountEvents, DeadLetter, Gap, Journal, JournalSize, MarketGap, OverflowPolicy

if TYPE_CHECKING:
    from rxbridge.journal.memory import MemoryJournal
    from rxbridge.journal.sqlite import SqliteJournal

__all__ = [
    "CountEvents",
    "DeadLetter",
    "Gap",
    "Journal",
    "JournalSize",
    "MarketGap",
    "MemoryJournal",
    "OverflowPolicy",
    "SqliteJournal",
]

_HOMES = {"MemoryJournal": "rxbridge.journal.memory", "SqliteJournal": "rxbridge.journal.sqlite"}


def __getattr__(name: str) -> Any:
    # Who needs only the words of the journal does not pay for SQLite and reactivex.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
