"""Journals of both homes, and everything that they tell of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.errors import JournalError
from rxbridge.journal import Journal, MemoryJournal, SqliteJournal

MakeJournal: TypeAlias = Callable[..., Any]


@pytest.fixture
def problems() -> list[JournalError]:
    """What journals made by the fixtures below have told of."""
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.journal"


@pytest.fixture
def sqlite(path: Path, problems: list[JournalError]) -> Iterator[Callable[..., SqliteJournal]]:
    """Opens journals at `path`, and closes them when the test is over."""
    with ExitStack() as opened:

        def make(**settings: Any) -> SqliteJournal:
            settings.setdefault("problem", problems.append)
            journal = SqliteJournal(path, **settings)
            opened.callback(journal.close)
            return journal

        yield make


@pytest.fixture(params=["memory", "sqlite"])
def make_journal(
    request: pytest.FixtureRequest, sqlite: Callable[..., SqliteJournal], problems: list[JournalError]
) -> Iterator[MakeJournal]:
    """Makes a journal of either home."""
    if request.param == "sqlite":
        yield sqlite
        return
    with ExitStack() as opened:

        def make(**settings: Any) -> MemoryJournal:
            settings.setdefault("problem", problems.append)
            journal = MemoryJournal(**settings)
            opened.callback(journal.close)
            return journal

        yield make


@pytest.fixture
def journal(make_journal: MakeJournal) -> Journal:
    """A journal of either home with the default settings."""
    return make_journal()
