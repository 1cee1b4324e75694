"""Damaged files: the start never fails, what can be read is read, and what cannot is a gap."""

from __future__ import annotations

import itertools
import random
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.errors import JournalCorrupt, JournalError
from rxbridge.journal import SqliteJournal
from rxbridge.journal.packing import Row, unpack
from rxbridge.journal.quarantine import _without
from rxbridge.journal.schema import PAGE_BYTES, SCHEMA_VERSION
from rxbridge.journal.sidecar import Sidecar
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import (
    DEADLINE_SECONDS,
    Subscriber,
    append_all,
    eventually,
    frame,
    frames,
    letter,
    numbers,
    offsets,
    read_all,
)

MakeSqlite = Callable[..., SqliteJournal]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `one_frame_a_page` holds, made once."""
    path = tmp_path_factory.mktemp("sound") / "feed.journal"
    with SqliteJournal(path) as journal:
        for number in range(1, 41):
            append_all(journal, [frame(number, 2500)])
        journal.acknowledge("sink", 10)
        journal.add_dead_letters([letter(3, "a")])
    return path


@pytest.fixture
def one_frame_a_page(sound: Path, path: Path) -> Path:
    """A closed journal of 40 frames, each in a row and on a page of its own, of which 10 are acknowledged."""
    for part in ("", ".offsets"):
        shutil.copy(sound.with_name(sound.name + part), path.with_name(path.name + part))
    return path


def page_of(path: Path, number: int) -> int:
    """Where in the file the page begins that holds this frame."""
    found = path.read_bytes().index(frame(number, 2500).data)
    return found - found % PAGE_BYTES


def overwrite(path: Path, position: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


def spoil_pages(path: Path, spoiled: Iterable[int]) -> None:
    for position in [page_of(path, number) for number in spoiled]:
        overwrite(path, position, b"\xff" * PAGE_BYTES)


def spoil_bytes(path: Path, spoiled: Iterable[int]) -> None:
    for number in spoiled:
        position = path.read_bytes().index(frame(number, 2500).data)
        overwrite(path, position + 100, b"?")


def corrupt_files(path: Path) -> list[Path]:
    return sorted(
        found for found in path.parent.glob(f"{path.name}.corrupt-*") if found.name[-4:] not in ("-wal", "-shm")
    )


@pytest.mark.parametrize("spoil", [spoil_bytes, spoil_pages])
@pytest.mark.parametrize("spoiled", [[20], [11, 12, 13, 30], [12], [15, 17]])
def test_damaged_rows_are_skipped_and_recorded_once(
    sqlite: MakeSqlite,
    one_frame_a_page: Path,
    problems: list[JournalError],
    spoil: Callable[[Path, list[int]], None],
    spoiled: list[int],
):
    spoil(one_frame_a_page, spoiled)
    lost: list[int] = []
    for _ in range(2):
        with sqlite() as journal:
            for _ in range(2):
                found = numbers(read_all(journal, 10, limit=7))
                lost = sorted(set(range(11, 41)) - set(found))
                assert found == sorted(found)
                assert set(spoiled) <= set(lost) <= set(range(min(spoiled), max(spoiled) + 1))
            eventually(lambda journal=journal: list(journal.gaps()))
        with sqlite(role="read") as journal:
            gaps = list(journal.gaps())
        recorded = [offset for gap in gaps for offset in range(gap.first_offset, gap.last_offset + 1)]
        assert recorded == lost
        assert sum(gap.frames for gap in gaps) == len(lost)
    assert {type(problem) for problem in problems} == {JournalCorrupt}


def test_single_damaged_pages_cost_no_other_frame(sqlite: MakeSqlite, one_frame_a_page: Path):
    spoil_pages(one_frame_a_page, [20, 25, 30])
    with sqlite() as journal:
        assert sorted(set(range(1, 41)) - set(numbers(read_all(journal)))) == [20, 25, 30]


def test_who_only_reads_sees_the_gap_but_does_not_record_it(
    sqlite: MakeSqlite, one_frame_a_page: Path, problems: list[JournalError]
):
    spoil_bytes(one_frame_a_page, [20])
    for _ in range(2):
        with sqlite(role="read") as journal:
            assert list(journal.gaps()) == []
            assert len(read_all(journal)) == len(read_all(journal)) == 39
            assert [(gap.kind, gap.first_offset, gap.last_offset) for gap in journal.gaps()] == [("corrupt", 20, 20)]
        assert len(problems) == 1
        problems.clear()


def test_a_subscriber_reads_over_damage_and_rests_at_the_end(sqlite: MakeSqlite, one_frame_a_page: Path):
    spoil_pages(one_frame_a_page, [35])
    with sqlite() as journal:
        append_all(journal, [frame(41, 2500)])
        subscriber = Subscriber()
        subscription = journal.frames(10).subscribe(subscriber)
        eventually(lambda: len(subscriber.frames) == 30)
        append_all(journal, [frame(42)])
        eventually(lambda: len(subscriber.frames) == 31)
        subscription.dispose()
        assert numbers(subscriber.frames) == [number for number in range(11, 43) if number != 35]


def test_a_wait_behind_a_damaged_end_is_a_wait(sqlite: MakeSqlite, path: Path):
    journal = sqlite()
    for number in range(1, 5):
        append_all(journal, [frame(number, 4000)])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE rows SET body = zeroblob(length(body)) WHERE first_offset > 2")
    connection.commit()
    connection.close()
    assert numbers(read_all(journal)) == [1, 2]
    assert not journal.wait_beyond(2, 0)
    append_all(journal, [frame(5, 4000)])
    assert journal.wait_beyond(2, 0)
    assert numbers(journal.read(2)) == [5]
    read_all(journal)
    (gap,) = eventually(lambda: list(journal.gaps()))
    assert (gap.kind, gap.first_offset, gap.last_offset, gap.frames) == ("corrupt", 3, 4, 2)


def test_a_damaged_newest_row_costs_itself_only(sqlite: MakeSqlite, one_frame_a_page: Path):
    spoil_bytes(one_frame_a_page, [40])
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(11, 40))
        append_all(journal, [frame(41)])
        assert offsets(journal.read(39)) == [41]
        (gap,) = journal.gaps()
        assert (gap.kind, gap.first_offset, gap.last_offset, gap.frames) == ("quarantined", 40, 40, 1)


@pytest.mark.parametrize("content", [b"garbage", random.Random(1).randbytes(50_000), b"\x00" * 8192])
def test_a_garbage_file_is_moved_aside(sqlite: MakeSqlite, path: Path, problems: list[JournalError], content: bytes):
    path.write_bytes(content)
    path.with_name(path.name + "-wal").write_bytes(b"log")
    path.with_name(path.name + ".feed.lock").touch()
    with sqlite() as journal:
        append_all(journal, frames(1, 3))
        (gap,) = journal.gaps()
        assert (gap.kind, gap.first_offset, gap.last_offset, gap.frames) == ("quarantined", 0, 0, 0)
        assert "offsets begin at 1" in gap.reason
        assert offsets(read_all(journal)) == [1, 2, 3]
    (aside,) = corrupt_files(path)
    assert re.fullmatch(r"feed\.journal\.corrupt-\d{8}T\d{6}Z", aside.name)
    assert aside.read_bytes() == content
    assert aside.name in gap.reason
    assert [type(problem) for problem in problems] == [JournalCorrupt]


@pytest.mark.parametrize("role", ["both", "feed", "deliver", "maintain"])
@pytest.mark.parametrize("content", [b"a", b'{"ts":1.5,"data":"{}"}\n' * 1000, random.Random(1).randbytes(5000)])
def test_a_file_that_has_never_been_a_journal_is_left_alone(sqlite: MakeSqlite, path: Path, content: bytes, role: str):
    path.write_bytes(content)
    # Nor does a try leave anything that would make it one for the next.
    for _ in range(2):
        with pytest.raises(
            JournalError, match=r"feed\.journal: is there already and is no journal; it is left as it is"
        ):
            sqlite(role=role)
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_database_of_another_program_is_left_alone(sqlite: MakeSqlite, path: Path, mode: str):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE rows (name)")
    connection.execute("INSERT INTO rows VALUES ('mine')")
    connection.commit()
    # With the log there, if there is one; and then without.
    for _ in range(2):
        before = path.read_bytes()
        with pytest.raises(JournalError, match="is no journal, but a database of another program"):
            sqlite()
        assert path.read_bytes() == before
        assert {found.name for found in path.parent.iterdir()} <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
        assert connection.execute("SELECT name FROM rows").fetchall() == [("mine",)]
        connection.close()
        connection = sqlite3.connect(path)
    connection.close()


def test_a_database_of_another_program_in_the_place_of_a_journal_is_moved_aside_whole(
    sqlite: MakeSqlite, one_frame_a_page: Path
):
    one_frame_a_page.unlink()
    connection = sqlite3.connect(one_frame_a_page)
    connection.execute("CREATE TABLE rows (name)")
    connection.execute("INSERT INTO rows VALUES ('mine')")
    connection.commit()
    connection.close()
    with sqlite() as journal:
        assert "not a journal" in next(journal.gaps()).reason
    connection = sqlite3.connect(corrupt_files(one_frame_a_page)[0])
    assert connection.execute("SELECT name FROM rows").fetchall() == [("mine",)]
    connection.close()


def test_a_journal_that_was_copied_without_its_companions_is_salvaged(sqlite: MakeSqlite, one_frame_a_page: Path):
    one_frame_a_page.with_name(one_frame_a_page.name + ".offsets").unlink()
    spoil_pages(one_frame_a_page, [1])
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(11, 41))
    assert len(corrupt_files(one_frame_a_page)) == 1


def test_offsets_go_on_when_a_file_becomes_garbage(
    sqlite: MakeSqlite, one_frame_a_page: Path, problems: list[JournalError]
):
    overwrite(one_frame_a_page, 0, random.randbytes(3 * PAGE_BYTES))
    with sqlite() as journal:
        append_all(journal, frames(41, 43))
        assert offsets(read_all(journal)) == [41, 42, 43]
        (gap,) = journal.gaps()
        assert (gap.kind, gap.first_offset, gap.last_offset, gap.frames) == ("quarantined", 11, 40, 30)
    assert "30 unacknowledged frames are lost" in str(problems[0])


def test_offsets_go_on_when_the_file_disappears(sqlite: MakeSqlite, one_frame_a_page: Path):
    one_frame_a_page.unlink()
    with sqlite() as journal:
        append_all(journal, frames(41, 43))
        assert offsets(read_all(journal)) == [41, 42, 43]
        (gap,) = journal.gaps()
        assert (gap.kind, gap.first_offset, gap.last_offset, gap.frames) == ("quarantined", 11, 40, 30)
        assert gap.reason == "the file has disappeared"


def test_a_truncated_file_keeps_what_can_still_be_read(
    sqlite: MakeSqlite, one_frame_a_page: Path, problems: list[JournalError]
):
    """The first half of the pages is there, the structure above them is, the rest is not."""
    size = one_frame_a_page.stat().st_size
    content = one_frame_a_page.read_bytes()
    memory = one_frame_a_page.with_name(one_frame_a_page.name + ".offsets")
    remembered = memory.read_bytes()
    left: list[int] = []
    for cut in range(0, size, 3 * PAGE_BYTES + 777):
        problems.clear()
        for found in one_frame_a_page.parent.iterdir():
            found.unlink()
        memory.write_bytes(remembered)
        one_frame_a_page.write_bytes(content[:cut])
        with sqlite() as journal:
            left = numbers(read_all(journal))
            assert left == sorted(set(left) & set(range(1, 41)))
            append_all(journal, frames(41, 42))
            assert offsets(read_all(journal))[-2:] == [41, 42]
            gaps = [gap for gap in journal.gaps() if gap.frames]
            lost = [offset for gap in gaps for offset in range(gap.first_offset, gap.last_offset + 1)]
            assert lost == sorted(set(range(11, 41)) - set(left))
        assert [type(problem) for problem in problems] == [JournalCorrupt]
    assert len(left) >= 20


def test_salvage_keeps_cursors_dead_letters_gaps_and_frames(
    sqlite: MakeSqlite, one_frame_a_page: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rxbridge.journal.store._UPKEEP_SECONDS", 0.0)
    spoil_bytes(one_frame_a_page, [25])
    spoil_pages(one_frame_a_page, [5, 30])
    # Pruning meets the page with frame 5, which nothing can mend but a new file.
    with sqlite(keep_bytes=0) as journal:
        journal.acknowledge("sink", 12)
        append_all(journal, frames(41, 45))
        assert numbers(read_all(journal)) == [n for n in range(13, 46) if n not in (25, 30)]
        assert journal.cursor("sink") == 12
        assert [found.event_id for found in journal.dead_letters()] == ["a"]
        gaps = [(gap.kind, gap.first_offset, gap.last_offset, gap.frames) for gap in journal.gaps()]
        assert gaps == [("quarantined", 25, 25, 1), ("quarantined", 30, 30, 1)]
    assert len(corrupt_files(one_frame_a_page)) == 1
    with sqlite() as journal:
        assert numbers(read_all(journal)) == [n for n in range(13, 46) if n not in (25, 30)]


def test_damage_that_writing_meets_costs_nothing_that_can_be_read(
    sqlite: MakeSqlite, path: Path, problems: list[JournalError]
):
    """A process has the journal open, and finds that it can no longer write it."""
    with sqlite() as journal:
        append_all(journal, frames(1, 2000, size=500))
        connection = sqlite3.connect(path)
        connection.execute("DROP TABLE gaps")
        connection.execute("DROP TABLE cursors")
        connection.commit()
        connection.close()
        append_all(journal, frames(2001, 2100, size=500))
        journal.acknowledge("sink", 5)
        assert numbers(read_all(journal)) == list(range(1, 2101))
        assert journal.cursor("sink") == 5
    assert [type(problem) for problem in problems] == [JournalCorrupt]
    assert len(corrupt_files(path)) == 1


def test_another_process_goes_on_with_the_new_file(sqlite: MakeSqlite, path: Path, problems: list[JournalError]):
    """The deliverer finds the damage, the feeder follows."""
    feeder = sqlite(role="feed")
    append_all(feeder, frames(1, 100))
    deliverer = sqlite(role="deliver")
    assert numbers(read_all(deliverer)) == list(range(1, 101))
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE dead_letters")
    connection.commit()
    connection.close()
    deliverer.add_dead_letters([letter(7)])
    append_all(feeder, frames(101, 200))
    deliverer.acknowledge("sink", 200)
    assert numbers(read_all(deliverer)) == list(range(1, 201))
    assert feeder.cursor("sink") == 200
    assert [found.offset for found in feeder.dead_letters()] == [7]
    assert len(corrupt_files(path)) == 1
    feeder.close()
    deliverer.close()
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(1, 201))
    assert [type(problem) for problem in problems] == [JournalCorrupt]


def test_a_file_that_disappears_under_a_journal_is_made_again(
    sqlite: MakeSqlite, path: Path, problems: list[JournalError]
):
    with sqlite() as journal:
        append_all(journal, frames(1, 10))
        journal.acknowledge("sink", 4)
        for part in ("", "-wal", "-shm"):
            path.with_name(path.name + part).unlink()
        append_all(journal, frames(11, 20))
        assert offsets(read_all(journal)) == list(range(11, 21))
        (gap,) = journal.gaps()
        assert (gap.first_offset, gap.last_offset, gap.frames) == (5, 10, 6)
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(11, 21))
    assert [type(problem) for problem in problems] == [JournalCorrupt]


def test_an_exchange_that_was_killed_is_completed(sqlite: MakeSqlite, one_frame_a_page: Path, tmp_path: Path):
    """The new file is whole, and the old one has still its name, and its log."""
    new = tmp_path / "new.journal"
    with SqliteJournal(new) as journal:
        append_all(journal, frames(1, 3))
    one_frame_a_page.with_name(one_frame_a_page.name + "-wal").write_bytes(b"log")
    old = one_frame_a_page.read_bytes()
    new.rename(one_frame_a_page.with_name(one_frame_a_page.name + ".renewed"))
    with sqlite() as journal:
        assert numbers(read_all(journal)) == [1, 2, 3]
    (aside,) = corrupt_files(one_frame_a_page)
    assert aside.read_bytes() == old


def test_a_draft_that_was_killed_is_begun_again(sqlite: MakeSqlite, path: Path):
    path.write_bytes(b"garbage" * 1000)
    path.with_name(path.name + ".offsets").touch()
    path.with_name(path.name + ".draft").write_bytes(b"half" * 1000)
    path.with_name(path.name + ".draft-wal").write_bytes(b"half" * 1000)
    with sqlite() as journal:
        append_all(journal, frames(1, 3))
        assert len(list(journal.gaps())) == 1
    assert not list(path.parent.glob("*.draft*"))


def test_new_files_are_not_made_in_a_loop(sqlite: MakeSqlite, path: Path, problems: list[JournalError]):
    with sqlite() as journal:
        connection = sqlite3.connect(path)
        (create_cursors,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'cursors'").fetchone()
        connection.close()
        for first in (1, 101):
            append_all(journal, frames(first, first + 99))
            connection = sqlite3.connect(path)
            connection.execute("DROP TABLE cursors")
            connection.commit()
            connection.close()
        for item in frames(201, 300):
            journal.append(item)
        eventually(lambda: len(problems) == 2)
        assert [type(problem).__name__ for problem in problems] == ["JournalCorrupt", "JournalFull"]
        assert len(corrupt_files(path)) == 1
        # Once it is mended, whoever mended it, all goes on.
        connection = sqlite3.connect(path)
        connection.execute(create_cursors)
        connection.commit()
        connection.close()
        assert journal.flush(DEADLINE_SECONDS)
        assert numbers(read_all(journal)) == list(range(1, 301))


def test_a_file_that_cannot_be_read_at_all_is_an_error_once_and_then_replaced(
    sqlite: MakeSqlite, path: Path, problems: list[JournalError]
):
    with sqlite() as journal:
        append_all(journal, frames(1, 10))
        connection = sqlite3.connect(path)
        connection.execute("DROP TABLE dead_letters")
        connection.commit()
        connection.close()
        with pytest.raises(JournalCorrupt, match="cannot be read"):
            list(journal.dead_letters())
        eventually(lambda: problems)
        assert list(journal.dead_letters()) == []
        assert numbers(read_all(journal)) == list(range(1, 11))


def test_a_newer_journal_is_left_alone(sqlite: MakeSqlite, one_frame_a_page: Path):
    connection = sqlite3.connect(one_frame_a_page)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for role in ("both", "read"):
        with pytest.raises(JournalError, match="was written by a newer rxbridge"):
            sqlite(role=role)
    assert corrupt_files(one_frame_a_page) == []


def test_who_only_reads_is_told_that_a_file_is_no_journal(sqlite: MakeSqlite, path: Path):
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(JournalCorrupt):
        sqlite(role="read")
    assert path.read_bytes() == b"garbage" * 1000


def test_a_path_that_is_a_folder_is_an_error(sqlite: MakeSqlite, path: Path):
    path.mkdir()
    with pytest.raises(JournalError, match="cannot be opened"):
        sqlite()
    assert path.is_dir()


def test_what_is_recorded_already_is_not_counted_again(sqlite: MakeSqlite, one_frame_a_page: Path):
    spoil_bytes(one_frame_a_page, [25, 30])
    with sqlite() as journal:
        assert len(read_all(journal)) == 38
        eventually(lambda: len(list(journal.gaps())) == 2)
    spoil_pages(one_frame_a_page, [1, 35])
    with sqlite() as journal:
        assert numbers(read_all(journal)) == [number for number in range(11, 41) if number not in (25, 30, 35)]
        gaps = [(gap.kind, gap.first_offset, gap.frames) for gap in journal.gaps()]
        assert gaps == [("corrupt", 25, 1), ("corrupt", 30, 1), ("quarantined", 35, 1)]


def test_without_a_sidecar_cursors_tell_how_far_the_journal_had_come(sqlite: MakeSqlite, one_frame_a_page: Path):
    spoil_pages(one_frame_a_page, range(1, 41))
    one_frame_a_page.with_name(one_frame_a_page.name + ".offsets").unlink()
    with sqlite() as journal:
        append_all(journal, frames(11, 12))
        assert offsets(read_all(journal)) == [11, 12]
        assert journal.cursor("sink") == 10


@pytest.mark.parametrize(
    ("sound_text", "damaged_text"),
    [(b"attempts INTEGER", b"attemptz INTEGER"), (b"TABLE dead_letters", b"TA\xff\xfe\xfd dead_letters")],
)
def test_a_damaged_schema_is_noticed_at_the_start(
    sqlite: MakeSqlite, one_frame_a_page: Path, sound_text: bytes, damaged_text: bytes
):
    content = one_frame_a_page.read_bytes()
    assert content.count(sound_text) == 1
    one_frame_a_page.write_bytes(content.replace(sound_text, damaged_text))
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(11, 41))
        assert list(journal.dead_letters()) == []
        assert [(gap.kind, gap.frames) for gap in journal.gaps()] == [("quarantined", 0)]


def test_a_schema_version_that_cannot_be_is_damage(sqlite: MakeSqlite, one_frame_a_page: Path):
    connection = sqlite3.connect(one_frame_a_page)
    connection.execute("PRAGMA user_version = 536870912")
    connection.close()
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(11, 41))
        assert "its schema version cannot be 536870912" in next(journal.gaps()).reason


def test_a_tree_whose_inner_keys_are_wrong_costs_no_frame(sqlite: MakeSqlite, one_frame_a_page: Path):
    """SQLite finds nothing wrong, and leads every search to the wrong row."""
    content = bytearray(one_frame_a_page.read_bytes())
    root = PAGE_BYTES
    assert content[root] == 0x05, "the root of the rows is no inner node"
    count = int.from_bytes(content[root + 3 : root + 5], "big")
    for cell in range(root + 12, root + 12 + 2 * count, 2):
        # Four bytes for the child's page, then the key, which is small enough to be one byte.
        content[root + int.from_bytes(content[cell : cell + 2], "big") + 4] = 0
    one_frame_a_page.write_bytes(content)
    with sqlite() as journal:
        assert set(range(11, 41)) <= set(numbers(read_again(journal, 10)))
        assert len(corrupt_files(one_frame_a_page)) == 1
        assert [gap.frames for gap in journal.gaps()] == [0]


def test_the_journal_stays_bounded_whatever_its_numbers_say(sqlite: MakeSqlite, one_frame_a_page: Path):
    connection = sqlite3.connect(one_frame_a_page)
    connection.execute("UPDATE rows SET bytes_before = ? WHERE first_offset = 20", (10**15,))
    connection.commit()
    connection.close()
    with sqlite(max_bytes=50_000) as journal:
        append_all(journal, frames(41, 140, size=2500))
        assert journal.size().bytes <= 50_000
        found = numbers(read_again(journal))
        assert found == list(range(found[0], 141))
        lost = [offset for gap in journal.gaps() for offset in range(gap.first_offset, gap.last_offset + 1)]
        assert set(range(11, found[0])) <= set(lost)


def test_nothing_is_removed_for_a_row_that_is_out_of_order(sqlite: MakeSqlite, one_frame_a_page: Path):
    """A key in a leaf is wrong, which SQLite does not notice; all rows up to that key would go with it."""
    content = bytearray(one_frame_a_page.read_bytes())
    leaf = page_of(one_frame_a_page, 20)
    assert content[leaf] == 0x0D, "the page is no leaf"
    cell = leaf + int.from_bytes(content[leaf + 8 : leaf + 10], "big")
    # The record's length takes two bytes, the key one.
    assert content[cell + 2] == 20
    content[cell + 2] = 120
    one_frame_a_page.write_bytes(content)
    with sqlite(max_bytes=90_000) as journal:
        append_all(journal, frames(41, 60, size=2500))
        found = numbers(read_again(journal))
        assert len(found) > 25
        assert found[-20:] == list(range(41, 61))
        lost = [offset for gap in journal.gaps() for offset in range(gap.first_offset, gap.last_offset + 1)]
        assert set(range(11, 61)) <= set(lost) | set(found)


def test_damaged_rows_that_must_be_dropped_count_as_damaged(sqlite: MakeSqlite, one_frame_a_page: Path):
    spoil_bytes(one_frame_a_page, [12, 14])
    with sqlite(max_bytes=90_000, count_events=lambda _: 2) as journal:
        append_all(journal, frames(41, 80, size=2500))
        first = journal.size().first_offset
        assert first > 20
        by_kind = {"corrupt": 0, "dropped": 0}
        for gap in journal.gaps():
            by_kind[gap.kind] += gap.frames
            assert gap.events == (2 * gap.frames if gap.kind == "dropped" else 0)
        assert by_kind == {"corrupt": 2, "dropped": first - 11 - 2}


@given(
    st.builds(range, st.integers(0, 30), st.integers(0, 30)),
    st.lists(st.builds(range, st.integers(0, 30), st.integers(0, 30))),
)
def test_what_is_known_is_taken_from_what_is_missing(missing: range, known: list[range]):
    known = sorted(filter(None, known), key=lambda part: part.start)
    parts = list(_without(missing, known))
    assert all(parts)
    assert [offset for part in parts for offset in part] == sorted(set(missing).difference(*known))


def test_frames_that_are_there_and_cannot_be_found_are_no_end(
    sqlite: MakeSqlite, one_frame_a_page: Path, monkeypatch: pytest.MonkeyPatch
):
    nothing: list[list[Frame]] = []
    with sqlite() as journal:
        with monkeypatch.context() as patch:
            patch.setattr("rxbridge.journal.scan.Scanner.scan", lambda *_: (item for item in nothing))
            with pytest.raises(JournalCorrupt, match="there are frames up to 40, but none to be found above 10"):
                journal.read(10)
        assert numbers(read_again(journal, 10)) == list(range(11, 41))


def test_what_was_removed_below_a_damaged_row_is_no_gap(sqlite: MakeSqlite, one_frame_a_page: Path):
    connection = sqlite3.connect(one_frame_a_page)
    connection.execute("DELETE FROM rows WHERE first_offset <= 8")
    connection.commit()
    connection.close()
    spoil_bytes(one_frame_a_page, [9, 10])
    with sqlite(role="read") as journal:
        assert numbers(read_all(journal)) == list(range(11, 41))
        assert [(gap.first_offset, gap.last_offset) for gap in journal.gaps()] == [(9, 10)]


def test_a_page_that_the_disk_does_not_deliver_is_tried_again_and_then_passed_over(
    sqlite: MakeSqlite, one_frame_a_page: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rxbridge.journal.reader._RETRY_SECONDS", 0.01)
    monkeypatch.setattr("rxbridge.journal.reader._PATIENCE_SECONDS", DEADLINE_SECONDS)
    failures: Iterator[int] = iter([1, 1, 0])

    def fail_at_20(row: Row) -> list[Frame]:
        if row.first_offset == 20 and next(failures):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            raise error
        return unpack(row)

    with sqlite() as journal:
        monkeypatch.setattr("rxbridge.journal.scan.unpack", fail_at_20)
        assert numbers(read_all(journal)) == list(range(1, 41))
        assert list(journal.gaps()) == []
        monkeypatch.setattr("rxbridge.journal.reader._PATIENCE_SECONDS", 0.05)
        failures = itertools.repeat(1)
        assert numbers(read_all(journal)) == [number for number in range(1, 41) if number != 20]
        (gap,) = eventually(lambda: list(journal.gaps()))
        assert (gap.first_offset, gap.last_offset) == (20, 20)
        assert "disk I/O error" in gap.reason


def test_nobody_writes_while_a_file_is_exchanged(sqlite: MakeSqlite, path: Path):
    journal = sqlite()
    append_all(journal, frames(1, 3))
    sidecar = Sidecar(path, writable=True)
    with sidecar.exclusive():
        journal.append(frame(4))
        assert not journal.flush(0.2)
    assert journal.flush(DEADLINE_SECONDS)
    sidecar.close()


def test_the_oldest_page_damaged_means_a_new_file_at_once(sqlite: MakeSqlite, one_frame_a_page: Path):
    spoil_pages(one_frame_a_page, [1])
    with sqlite() as journal:
        assert numbers(read_all(journal)) == list(range(11, 41))
        assert [(gap.kind, gap.frames) for gap in journal.gaps()] == [("quarantined", 0)]
    assert len(corrupt_files(one_frame_a_page)) == 1


def test_rows_that_have_vanished_are_a_gap(sqlite: MakeSqlite, one_frame_a_page: Path):
    connection = sqlite3.connect(one_frame_a_page)
    connection.execute("DELETE FROM rows WHERE first_offset IN (20, 21)")
    connection.commit()
    connection.close()
    with sqlite() as journal:
        assert numbers(read_all(journal)) == [number for number in range(1, 41) if number not in (20, 21)]
        (gap,) = eventually(lambda: list(journal.gaps()))
        assert (gap.kind, gap.first_offset, gap.last_offset) == ("corrupt", 20, 21)


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_keeps_no_journal_from_starting_and_loses_nothing_in_silence(
    sqlite: MakeSqlite, one_frame_a_page: Path, seed: int
):
    chance = random.Random(seed)
    content = bytearray(one_frame_a_page.read_bytes())
    for _ in range(chance.choice((1, 3, 20))):
        length = chance.choice((1, 8, 500))
        # Half of it in the first pages, which hold the structure.
        position = chance.randrange(chance.choice((len(content), 12 * PAGE_BYTES)) - length)
        content[position : position + length] = chance.randbytes(length)
    one_frame_a_page.write_bytes(content)
    with sqlite(keep_bytes=0) as journal:
        read_again(journal)
        append_all(journal, frames(41, 45))
        found = numbers(read_again(journal))
        assert found == sorted(set(found))
        journal.acknowledge("sink", journal.size().last_offset)

        def accounted_for() -> bool:
            ranges = (range(gap.first_offset, gap.last_offset + 1) for gap in journal.gaps())
            return set(range(11, 46)) <= set(found).union(*ranges)

        # What reading has found is recorded a moment later.
        eventually(accounted_for)


def read_again(journal: SqliteJournal, after: int = 0) -> list[Frame]:
    """Read everything; once more if that has shown that the file must be replaced."""

    def read() -> list[Frame] | None:
        try:
            return read_all(journal, after)
        except JournalCorrupt:
            return None

    while (found := read()) is None:
        threading.Event().wait(0.01)
    return found
