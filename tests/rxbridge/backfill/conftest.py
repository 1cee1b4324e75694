"""Journals of both homes, backfills that are ended, and what they said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from rxbridge.backfill import Backfill, worker
from rxbridge.journal import Journal, MemoryJournal, SqliteJournal
from tests.rxbridge.backfill.support import KEPT, FakeRest, hasty


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens each second or two happens all the time."""
    for name in ("_SAVE_SECONDS", "_LOOK_SECONDS", "_GATHER_SECONDS", "_IDLE_SECONDS"):
        monkeypatch.setattr(worker, name, 0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.journal"


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, path: Path) -> Iterator[Journal]:
    is_memory = request.param == "memory"
    with MemoryJournal(keep_seconds=KEPT) if is_memory else SqliteJournal(path, keep_seconds=KEPT) as journal:
        yield journal


@pytest.fixture
def memory() -> Iterator[MemoryJournal]:
    with MemoryJournal(keep_seconds=KEPT) as journal:
        yield journal


@pytest.fixture
def rest() -> FakeRest:
    return FakeRest()


@pytest.fixture
def run() -> Iterator[Callable[..., Backfill]]:
    """Starts a hasty backfill."""
    started: list[Backfill] = []

    def start(journal: Journal, rest: Any, **settings: Any) -> Backfill:
        started.append(hasty(journal, rest, **settings))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        assert one.drain(10.0)
        assert one.failure is None


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Lines as `LEVEL message`."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message).rstrip("\n")), format="{level} {message}", level=0)
    yield lines
    logger.remove(sink)
