"""What every journal does, whatever its home."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rxbridge.journal
from rxbridge.errors import JournalError, JournalInUse
from rxbridge.journal import Journal, SqliteJournal
from tests.rxbridge.journal.support import (
    DEADLINE_SECONDS,
    append_all,
    frame,
    frames,
    letter,
    numbers,
    offsets,
    read_all,
)


def test_an_empty_journal_has_nothing(journal: Journal):
    size = journal.size()
    assert (size.frames, size.bytes, size.first_offset, size.last_offset, size.pending_frames) == (0, 0, 0, 0, 0)
    assert list(journal.read(0)) == []
    assert journal.cursor("anybody") == 0
    assert list(journal.gaps()) == []
    assert list(journal.dead_letters()) == []
    assert journal.flush(0)
    assert not journal.wait_beyond(0, 0.01)


def test_frames_come_back_as_they_were_with_offsets_from_one(journal: Journal):
    appended = [frame(number, size) for number, size in enumerate((0, 1, 100, 5_000, 300_000, 20), 1)]
    append_all(journal, appended)
    found = read_all(journal)
    assert offsets(found) == [1, 2, 3, 4, 5, 6]
    assert [(f.data, f.received_at, f.connection, f.index) for f in found] == [
        (f.data, f.received_at, f.connection, f.index) for f in appended
    ]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_reading_goes_on_after_any_offset(journal: Journal, limit: int):
    append_all(journal, frames(1, 50))
    append_all(journal, frames(51, 53))
    for after in (0, 1, 24, 49, 50, 51, 52, 53):
        assert numbers(read_all(journal, after, limit)) == list(range(after + 1, 54))
        assert len(journal.read(after, limit)) <= limit


def test_offsets_go_on_across_single_and_many_appends(journal: Journal):
    number = 0
    for count in (1, 1, 300, 2, 5_000, 1):
        append_all(journal, frames(number + 1, number + count, size=80))
        number += count
        assert journal.size().last_offset == number
    assert offsets(read_all(journal)) == list(range(1, number + 1))
    assert journal.size().frames == number


def test_size_tells_what_is_there(journal: Journal):
    append_all(journal, frames(1, 100, size=1000))
    size = journal.size()
    assert (size.frames, size.first_offset, size.last_offset, size.pending_frames) == (100, 1, 100, 0)
    assert 100_000 < size.bytes < 110_000


def test_waiting_ends_when_a_frame_comes(journal: Journal):
    append_all(journal, frames(1, 3))
    assert journal.wait_beyond(2, 0)
    assert not journal.wait_beyond(3, 0.01)
    came: list[bool] = []
    waiter = threading.Thread(target=lambda: came.append(journal.wait_beyond(3, DEADLINE_SECONDS)))
    waiter.start()
    journal.append(frame(4))
    waiter.join()
    assert came == [True]
    assert numbers(journal.read(3)) == [4]


def test_a_cursor_moves_forward_only(journal: Journal):
    append_all(journal, frames(1, 10))
    journal.acknowledge("sink", 5)
    journal.acknowledge("sink", 3)
    journal.acknowledge("backfill", 1)
    assert journal.cursor("sink") == 5
    assert journal.cursor("backfill") == 1
    journal.forget("backfill")
    assert journal.cursor("backfill") == 0
    assert journal.cursor("sink") == 5


def test_what_never_was_cannot_be_acknowledged(journal: Journal):
    append_all(journal, frames(1, 10))
    with pytest.raises(ValueError, match="cannot acknowledge offset 11: the newest is 10"):
        journal.acknowledge("sink", 11)
    assert journal.cursor("sink") == 0


def test_dead_letters_are_kept_by_offset_and_event(journal: Journal):
    journal.add_dead_letters([letter(7, "b"), letter(3, "z"), letter(7, "a"), letter(12)])
    assert [(found.offset, found.event_id) for found in journal.dead_letters()] == [
        (3, "z"),
        (7, "a"),
        (7, "b"),
        (12, ""),
    ]


def test_a_dead_letter_that_is_written_again_is_brought_up_to_date(journal: Journal):
    first = letter(7, "a", "too old")
    again = type(first)(7, "a", "deliver", "too young", b"other", 15, 30, 2)
    journal.add_dead_letters([first])
    journal.add_dead_letters([again])
    assert list(journal.dead_letters()) == [type(first)(7, "a", "deliver", "too young", b"content", 10, 30, 3)]


def test_a_dead_letter_may_hold_any_text_and_bytes(journal: Journal):
    journal.add_dead_letters([type(letter(1))(1, "é\x00'", "parse", "half of a pair: \udce9", bytes(range(256)), 1, 2)])
    (found,) = journal.dead_letters()
    assert found.event_id == "é\x00'"
    assert found.content == bytes(range(256))
    assert found.reason.startswith("half of a pair: ")


def test_thousands_of_dead_letters_come_in_order(journal: Journal):
    journal.add_dead_letters([letter(number, str(number % 3)) for number in range(2000, 0, -1)])
    assert [found.offset for found in journal.dead_letters()] == list(range(1, 2001))


def test_no_dead_letters_are_none(journal: Journal):
    journal.add_dead_letters([])
    assert list(journal.dead_letters()) == []


def test_a_closed_journal_refuses_everything(journal: Journal):
    append_all(journal, frames(1, 3))
    journal.close()
    journal.close()
    for use in (
        lambda: journal.append(frame(4)),
        lambda: journal.read(0),
        lambda: journal.wait_beyond(3, DEADLINE_SECONDS),
        lambda: journal.cursor("sink"),
        lambda: journal.acknowledge("sink", 1),
        lambda: journal.add_dead_letters([letter(1)]),
        lambda: list(journal.gaps()),
        journal.size,
    ):
        with pytest.raises(JournalError, match="is closed"):
            use()


def test_closing_ends_a_wait(journal: Journal):
    failed: list[JournalError] = []

    def wait() -> None:
        try:
            journal.wait_beyond(0, DEADLINE_SECONDS)
        except JournalError as error:
            failed.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    journal.close()
    waiter.join(DEADLINE_SECONDS)
    assert len(failed) == 1


def test_a_journal_is_a_context_that_closes_it(make_journal: Callable[..., Any]):
    with make_journal() as journal:
        journal.append(frame(1))
    with pytest.raises(JournalError, match="is closed"):
        journal.append(frame(2))


def test_many_threads_append_and_each_keeps_its_order(journal: Journal):
    def append(first: int) -> None:
        for number in range(first, first + 1000):
            journal.append(frame(number))

    threads = [threading.Thread(target=append, args=(first,)) for first in (1, 10_001, 20_001)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.flush(DEADLINE_SECONDS)
    found = read_all(journal)
    assert offsets(found) == list(range(1, 3001))
    for first in (1, 10_001, 20_001):
        mine = [number for number in numbers(found) if first <= number < first + 1000]
        assert mine == list(range(first, first + 1000))


@pytest.mark.parametrize(
    "setting",
    [{"max_bytes": 0}, {"keep_bytes": -1}, {"keep_seconds": -1.0}, {"overflow": "drop_newest"}],
)
def test_impossible_limits_are_refused(make_journal: Callable[..., Any], setting: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(setting))):
        make_journal(**setting)


def test_a_consumer_that_acknowledges_nothing_makes_itself_known(make_journal: Callable[..., Any]):
    journal = make_journal(max_bytes=50_000, keep_bytes=0)
    journal.acknowledge("backfill", 0)
    append_all(journal, frames(1, 30, size=1000))
    journal.acknowledge("sink", 30)
    append_all(journal, frames(31, 40, size=1000))
    assert numbers(read_all(journal)) == list(range(1, 41))


@pytest.mark.parametrize("name", ["a b.journal", "50% #1?mode=memory.journal", "é.journal"])
def test_a_path_may_have_any_name(tmp_path: Path, name: str):
    path = tmp_path / "new" / "folder" / name
    with SqliteJournal(path) as journal:
        append_all(journal, frames(1, 3))
    assert path.stat().st_size > 0
    with SqliteJournal(str(path), role="read") as journal:
        assert numbers(read_all(journal)) == [1, 2, 3]


def test_a_link_is_the_journal_that_it_leads_to(tmp_path: Path):
    path, link = tmp_path / "real.journal", tmp_path / "link.journal"
    link.symlink_to(path)
    with SqliteJournal(link) as journal:
        append_all(journal, frames(1, 3))
        with pytest.raises(JournalInUse):
            SqliteJournal(path)


def test_importing_the_words_of_the_journal_imports_no_home():
    program = "import sys, rxbridge.journal; print(sorted({'sqlite3', 'reactivex', 'loguru'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_what_the_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'RedisJournal'"):
        _ = rxbridge.journal.RedisJournal  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
