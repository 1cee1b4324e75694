"""`kill -9` at any instant, and torn write-ahead logs: what was confirmed is there, and the start works."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rxbridge.errors import JournalError
from rxbridge.journal import SqliteJournal
from tests.rxbridge.journal.support import append_all, child, frame, frames, letter, numbers, offsets, read_all


def test_a_killed_feeder_leaves_all_that_it_confirmed(
    sqlite: Callable[..., SqliteJournal], path: Path, problems: list[JournalError]
):
    confirmed = 0
    for attempt in range(4):
        with child("feed", path, confirmed + 1) as feeder:
            if attempt:
                confirmed = int(feeder.line())
            # The first is killed while it starts; the others somewhere among their commits.
            time.sleep(random.uniform(0, 0.25))
            printed = feeder.kill()
        confirmed = int(printed[-1]) if printed else confirmed
        with sqlite() as journal:
            found = read_all(journal)
            assert offsets(found) == list(range(1, len(found) + 1))
            assert numbers(found) == offsets(found)
            assert len(found) >= confirmed
            append_all(journal, frames(len(found) + 1, len(found) + 5))
            confirmed = len(found) + 5
    assert problems == []


def test_a_killed_bridge_keeps_cursors_and_dead_letters_and_its_bounds(
    sqlite: Callable[..., SqliteJournal], path: Path, problems: list[JournalError]
):
    for _ in range(2):
        with child("both", path) as bridge:
            bridge.line()
            time.sleep(random.uniform(0, 0.3))
            printed = [line.split() for line in bridge.kill()]
        confirmed = [int(number) for kind, number in printed if kind == "confirmed"]
        acknowledged = [int(number) for kind, number in printed if kind == "acknowledged"]
        with sqlite() as journal:
            assert journal.cursor("reader") >= max(acknowledged, default=0)
            assert set(acknowledged) <= {found.offset for found in journal.dead_letters()}
            size = journal.size()
            assert size.last_offset >= max(confirmed, default=0)
            left = read_all(journal)
            # What is gone was acknowledged, or is recorded as dropped.
            dropped = {offset for gap in journal.gaps() for offset in range(gap.first_offset, gap.last_offset + 1)}
            gone = set(range(1, size.last_offset + 1)) - set(offsets(left))
            assert max(gone - dropped, default=0) <= journal.cursor("reader")
            assert sum(gap.frames for gap in journal.gaps()) == len(dropped)
            assert numbers(left) == offsets(left)
    assert {type(problem).__name__ for problem in problems} <= {"JournalFull"}


def crashed_copy(path: Path, target: Path) -> list[int]:
    """A copy of a journal as a power cut would leave it, with a long log; the size of the log at each confirmation."""
    sizes: list[int] = []
    log = path.with_name(path.name + "-wal")
    with SqliteJournal(path) as journal:
        for number in range(1, 41):
            append_all(journal, [frame(number, 700)])
            journal.acknowledge("sink", number)
            sizes.append(log.stat().st_size)
        for part in ("", "-wal"):
            shutil.copy(path.with_name(path.name + part), target.with_name(target.name + part))
    return sizes


def test_a_torn_log_leaves_all_frames_up_to_some_point(tmp_path: Path, path: Path, problems: list[JournalError]):
    whole = tmp_path / "whole.journal"
    sizes = crashed_copy(path, whole)
    log_size = whole.with_name("whole.journal-wal").stat().st_size
    for attempt in range(25):
        torn = tmp_path / f"torn{attempt}.journal"
        shutil.copy(whole, torn)
        length = random.randrange(log_size)
        log = torn.with_name(torn.name + "-wal")
        log.write_bytes(whole.with_name("whole.journal-wal").read_bytes()[:length])
        with SqliteJournal(torn, problem=problems.append) as journal:
            found = read_all(journal)
            count = len(found)
            assert numbers(found) == offsets(found) == list(range(1, count + 1))
            # All of which the log was long enough for, and no more than one that was not confirmed yet.
            sure = sum(size <= length for size in sizes)
            assert sure <= count <= sure + 1
            assert count - 1 <= journal.cursor("sink") <= count
            append_all(journal, frames(count + 1, count + 3))
            assert offsets(read_all(journal)) == list(range(1, count + 4))
    # A log too short to hold the schema leaves an empty file, which is a new journal.
    assert problems == []


def test_a_log_with_a_damaged_middle_leaves_what_is_before_it(tmp_path: Path, path: Path):
    crashed_copy(path, whole := tmp_path / "whole.journal")
    log = whole.with_name("whole.journal-wal")
    content = bytearray(log.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = random.randbytes(100)
    log.write_bytes(content)
    with SqliteJournal(whole) as journal:
        found = read_all(journal)
        assert 0 < len(found) < 40
        assert numbers(found) == list(range(1, len(found) + 1))


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(32), random.randbytes(100_000)])
def test_a_log_that_is_garbage_costs_nothing_that_was_in_the_file(
    sqlite: Callable[..., SqliteJournal], path: Path, content: bytes
):
    with sqlite() as journal:
        append_all(journal, frames(1, 10))
    path.with_name(path.name + "-wal").write_bytes(content)
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(1, 11))


def test_a_process_killed_while_it_created_the_file_leaves_a_new_journal(
    sqlite: Callable[..., SqliteJournal], path: Path
):
    path.touch()
    with sqlite() as journal:
        append_all(journal, frames(1, 2))
    connection = sqlite3.connect(other := path.with_name("other.journal"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with SqliteJournal(other) as journal:
        append_all(journal, frames(1, 2))
        assert list(journal.gaps()) == []


def test_everything_is_there_after_a_clean_start(sqlite: Callable[..., SqliteJournal], path: Path):
    with sqlite(synchronous="full") as journal:
        append_all(journal, frames(1, 100))
        journal.acknowledge("sink", 40)
        journal.add_dead_letters([letter(3, "a"), letter(4)])
        for item in frames(101, 200):
            journal.append(item)
    assert not path.with_name(path.name + "-wal").exists()
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(1, 201))
        assert journal.cursor("sink") == 40
        assert [found.offset for found in journal.dead_letters()] == [3, 4]
        append_all(journal, frames(201, 201))
        assert offsets(journal.read(200)) == [201]
