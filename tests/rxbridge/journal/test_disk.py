"""A disk that is full or fails: frames wait in memory, nothing that was confirmed is lost, and it mends itself."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from rxbridge.errors import JournalError, JournalFull
from rxbridge.journal import SqliteJournal
from rxbridge.journal.trouble import trouble
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import (
    DEADLINE_SECONDS,
    append_all,
    child,
    eventually,
    frame,
    frames,
    letter,
    numbers,
    offsets,
    read_all,
)

MakeSqlite = Callable[..., SqliteJournal]


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again, and give up, sooner than in earnest."""
    monkeypatch.setattr("rxbridge.journal.intake._TASK_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("rxbridge.journal.writer._RETRY_SECONDS", 0.02)
    monkeypatch.setattr("rxbridge.journal.writer._CLOSE_PATIENCE_SECONDS", 0.2)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What is written to the log."""
    lines: list[str] = []
    handler = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(handler)


@contextmanager
def full(journal: SqliteJournal, spare_pages: int = 4) -> Generator[None]:
    """SQLite finds the disk full when the file has grown by a few pages."""
    assert journal._writer is not None
    assert journal._writer._store is not None
    connection = journal._writer._store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + spare_pages}").close()
    try:
        yield
    finally:
        # Unless the journal was closed meanwhile.
        with suppress(sqlite3.ProgrammingError):
            connection.execute("PRAGMA max_page_count = 1073741823").close()


def kinds(problems: list[JournalError]) -> list[str]:
    return [type(problem).__name__ for problem in problems]


def test_frames_wait_in_memory_and_are_written_when_there_is_room(sqlite: MakeSqlite, problems: list[JournalError]):
    journal = sqlite()
    append_all(journal, frames(1, 100, size=1000))
    with full(journal):
        for item in frames(101, 1000, size=1000):
            journal.append(item)
        eventually(lambda: problems)
        assert not journal.flush(0.1)
        size = journal.size()
        assert size.last_offset < 1000
        assert size.pending_frames == 1000 - size.last_offset
        assert numbers(read_all(journal)) == list(range(1, size.last_offset + 1))
    assert journal.flush(DEADLINE_SECONDS)
    assert numbers(read_all(journal)) == offsets(read_all(journal)) == list(range(1, 1001))
    assert list(journal.gaps()) == []
    eventually(lambda: len(problems) == 2)
    assert kinds(problems) == ["JournalFull", "JournalError"]
    assert "database or disk is full" in str(problems[0])
    assert "is written again" in str(problems[1])


def test_who_is_in_a_hurry_does_not_wait_for_a_full_disk(
    sqlite: MakeSqlite, problems: list[JournalError], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rxbridge.journal.intake._TASK_PATIENCE_SECONDS", 3600.0)
    monkeypatch.setattr("rxbridge.journal.writer._CLOSE_PATIENCE_SECONDS", 3600.0)
    journal = sqlite()
    append_all(journal, frames(1, 100, size=1000))
    with full(journal, spare_pages=0):
        for item in frames(101, 1000, size=1000):
            journal.append(item)
        eventually(lambda: problems)
        refused: list[JournalFull] = []

        def remember() -> None:
            with pytest.raises(JournalFull) as caught:
                journal.remember("a note", bytes(100_000))
            refused.append(caught.value)

        waiting = threading.Thread(target=remember)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        journal.hurry(0.05)
        waiting.join(DEADLINE_SECONDS)
        assert "database or disk is full" in str(refused[0])
        journal.close()
    assert "frames are lost that could not be written" in str(problems[-1])


def test_each_episode_is_told_of_once(sqlite: MakeSqlite, problems: list[JournalError]):
    journal = sqlite()
    for first in (1, 1001):
        with full(journal):
            for item in frames(first, first + 999, size=1000):
                journal.append(item)
            eventually(lambda: kinds(problems)[-1:] == ["JournalFull"])
            assert not journal.flush(0.1)
        assert journal.flush(DEADLINE_SECONDS)
        eventually(lambda: kinds(problems)[-1:] == ["JournalError"])
    assert kinds(problems) == ["JournalFull", "JournalError"] * 2


def test_what_memory_cannot_hold_is_dropped_oldest_first_and_recorded(sqlite: MakeSqlite, problems: list[JournalError]):
    journal = sqlite(max_pending_bytes=100_000, count_events=lambda item: item.index % 2)
    append_all(journal, frames(1, 100, size=1000))
    with full(journal, spare_pages=0):
        for number in range(101, 1001):
            journal.append(frame(number, 1000))
            if number == 150:
                eventually(lambda: problems)
        assert journal.size().pending_frames < 130
    assert journal.flush(DEADLINE_SECONDS)
    found = read_all(journal)
    (gap,) = journal.gaps()
    assert (gap.kind, gap.first_offset, gap.last_offset) == ("dropped", 0, 0)
    assert gap.frames == 1000 - len(found)
    assert gap.frames > 700
    lost = set(range(1, 1001)) - set(numbers(found))
    assert gap.events == sum(number % 2 for number in lost)
    assert numbers(found)[-50:] == list(range(951, 1001))
    assert offsets(found) == list(range(1, len(found) + 1))


def test_with_block_memory_is_bounded_by_waiting(sqlite: MakeSqlite, problems: list[JournalError]):
    journal = sqlite(max_pending_bytes=100_000, overflow="block")
    append_all(journal, frames(1, 10, size=1000))
    with full(journal, spare_pages=0):
        feeder = threading.Thread(target=lambda: [journal.append(item) for item in frames(11, 500, size=1000)])
        feeder.start()
        eventually(lambda: journal.size().pending_frames > 80)
        feeder.join(0.2)
        assert feeder.is_alive()
        assert journal.size().pending_frames < 100
    feeder.join(DEADLINE_SECONDS)
    assert journal.flush(DEADLINE_SECONDS)
    assert numbers(read_all(journal)) == list(range(1, 501))


def test_what_is_to_be_durable_fails_in_time_and_is_not_there(sqlite: MakeSqlite, problems: list[JournalError]):
    journal = sqlite()
    append_all(journal, frames(1, 10))
    letters = [letter(number, "event") for number in range(1, 2001)]
    with full(journal, spare_pages=0):
        with pytest.raises(JournalFull, match="database or disk is full"):
            journal.add_dead_letters(letters)
        # The one that failed is withdrawn, and keeps nobody else from being served.
        journal.acknowledge("sink", 7)
        assert journal.cursor("sink") == 7
        assert list(journal.dead_letters()) == []
    journal.add_dead_letters(letters)
    assert len(list(journal.dead_letters())) == 2000


def test_acknowledged_frames_make_room_on_a_full_disk(sqlite: MakeSqlite, problems: list[JournalError]):
    journal = sqlite()
    append_all(journal, frames(1, 2000, size=1000))
    with full(journal, spare_pages=0):
        for item in frames(2001, 3000, size=1000):
            journal.append(item)
        eventually(lambda: problems)
        journal.acknowledge("sink", 2000)
        assert journal.flush(DEADLINE_SECONDS)
    assert numbers(read_all(journal, 2000)) == list(range(2001, 3001))


def test_a_parameter_that_can_never_be_written_is_refused_alone(sqlite: MakeSqlite):
    journal = sqlite()
    journal.append(frame(1))
    with pytest.raises(OverflowError):
        journal.add_dead_letters([letter(1), letter(2**70)])
    append_all(journal, frames(2, 3))
    assert list(journal.dead_letters()) == []
    assert numbers(read_all(journal)) == [1, 2, 3]


def test_closing_on_a_full_disk_ends_and_tells_what_is_lost(sqlite: MakeSqlite, problems: list[JournalError]):
    journal = sqlite()
    append_all(journal, frames(1, 10))
    with full(journal, spare_pages=0):
        for item in frames(11, 500, size=1000):
            journal.append(item)
        eventually(lambda: problems)
        lost = journal.size().pending_frames
        journal.close()
    assert str(problems[-1]).endswith(f"closed, and {lost} frames are lost that could not be written")
    journal = sqlite()
    assert numbers(read_all(journal)) == list(range(1, 501 - lost))


def test_another_programs_lock_is_waited_out(
    sqlite: MakeSqlite, path: Path, problems: list[JournalError], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rxbridge.journal.schema.BUSY_SECONDS", 0.05)
    journal = sqlite()
    append_all(journal, frames(1, 10))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for item in frames(11, 20):
        journal.append(item)
    assert not journal.flush(0.3)
    assert numbers(read_all(journal)) == list(range(1, 11))
    other.execute("ROLLBACK")
    other.close()
    assert journal.flush(DEADLINE_SECONDS)
    assert numbers(read_all(journal)) == list(range(1, 21))
    # It was only a moment.
    assert problems == []


def test_a_disk_that_is_full_at_the_start_is_an_error_to_try_again(sqlite: MakeSqlite, path: Path):
    def refuse(*_arguments: Any, **_settings: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rxbridge.journal.opening.create", refuse)
        with pytest.raises(JournalFull, match="cannot be opened: database or disk is full"):
            sqlite()
    # And the locks are free again.
    append_all(sqlite(), frames(1, 3))


def test_a_writer_that_fails_is_no_secret(
    sqlite: MakeSqlite, problems: list[JournalError], monkeypatch: pytest.MonkeyPatch
):
    uncaught: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda given: uncaught.append(given.exc_type))
    journal = sqlite()
    append_all(journal, frames(1, 3))
    nonsense: Any = "yesterday"
    journal.append(Frame(b"{}", nonsense, 1, 1))
    eventually(lambda: uncaught)
    assert not journal.flush(DEADLINE_SECONDS)
    for use in (lambda: journal.append(frame(5)), lambda: journal.acknowledge("sink", 1)):
        with pytest.raises(JournalError, match="its writer has failed"):
            use()
    assert [str(problem).rpartition(": ")[0] for problem in problems] == [
        f"journal {journal._path}: its writer has failed"
    ]
    assert numbers(read_all(journal)) == [1, 2, 3]


def test_without_a_listener_problems_are_logged(sqlite: MakeSqlite, logged: list[str]):
    journal = sqlite(problem=None)
    append_all(journal, frames(1, 3))
    with full(journal, spare_pages=0):
        for item in frames(4, 500, size=1000):
            journal.append(item)
        eventually(lambda: logged)
    assert "cannot be written, frames wait in memory" in logged[0]


def test_a_listener_that_fails_stops_nothing(sqlite: MakeSqlite, logged: list[str]):
    def fail(problem: JournalError) -> None:
        raise LookupError("the listener's own")

    journal = sqlite(problem=fail)
    append_all(journal, frames(1, 3))
    with full(journal, spare_pages=0):
        for item in frames(4, 500, size=1000):
            journal.append(item)
        eventually(lambda: logged)
    assert "The listener failed at: journal" in logged[0]
    assert "the listener's own" in logged[0]
    assert journal.flush(DEADLINE_SECONDS)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "busy"),
        (sqlite3.SQLITE_PROTOCOL, "busy"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
        (sqlite3.SQLITE_NOTADB, "damaged"),
        (sqlite3.SQLITE_FULL, "disk"),
        (sqlite3.SQLITE_IOERR_FSYNC, "disk"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "disk"),
        (sqlite3.SQLITE_CANTOPEN, "disk"),
    ],
)
def test_what_errors_of_sqlite_mean(code: int, kind: str):
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    assert trouble(error) == kind


def test_an_error_of_the_operating_system_is_the_disks():
    assert trouble(PermissionError()) == "disk"


def check_full_disk(report: dict[str, Any]) -> None:
    assert report["problems"] == ["JournalFull", "JournalError"]
    assert report["refused"]
    assert report["confirmed"] < 3000
    assert report["readable"]
    assert report["flushed"]
    assert report["letters"] == 0
    assert report["whole"]
    assert report["gaps"] == 0


def test_files_that_may_not_grow(path: Path):
    """The operating system refuses to write: an I/O error rather than a full disk."""
    with child("small_files", path) as program:
        check_full_disk(json.loads(program.wait()[-1]))


def test_a_small_disk_that_is_full(tmp_path: Path):
    """A real file system of eight megabytes, in a mount namespace that ends with the process."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare")
    script = 'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"'
    prefix = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", script, str(tmp_path)]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no file systems may be mounted here")
    with child("small_disk", tmp_path / "feed.journal", prefix=prefix) as program:
        check_full_disk(json.loads(program.wait()[-1]))
