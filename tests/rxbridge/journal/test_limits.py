"""How much a journal holds: pruning, the two overflow policies, and what is recorded of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.errors import JournalError, JournalFull
from rxbridge.journal import Journal, SqliteJournal
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import (
    DEADLINE_SECONDS,
    SECOND,
    Subscriber,
    append_all,
    eventually,
    frame,
    frames,
    numbers,
    offsets,
    read_all,
)

MakeJournal: TypeAlias = Callable[..., Any]
DAY = 86400 * SECOND


@pytest.fixture(autouse=True)
def frequent_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what may be pruned with every transaction, not once a second."""
    monkeypatch.setattr("rxbridge.journal.store._UPKEEP_SECONDS", 0.0)


def two_of_three(item: Frame) -> int:
    return 0 if item.index % 3 == 0 else 2


def first_offset_reaches(journal: Journal, offset: int) -> None:
    """Wait until pruning has come so far; it happens now and then, and with what is written."""

    def reached() -> bool:
        journal.acknowledge("nudge", journal.size().last_offset)
        return journal.size().first_offset >= offset or journal.size().first_offset == 0

    eventually(reached)


def test_nothing_is_pruned_before_it_is_acknowledged(make_journal: MakeJournal):
    journal = make_journal(keep_bytes=0, keep_seconds=0.0)
    append_all(journal, [frame(number, received_at=time.time_ns() - DAY) for number in range(1, 1001)])
    assert numbers(read_all(journal)) == list(range(1, 1001))


def test_acknowledged_frames_beyond_keep_bytes_go(make_journal: MakeJournal):
    journal = make_journal(keep_bytes=50_000)
    append_all(journal, frames(1, 1000, size=1000))
    journal.acknowledge("sink", 800)
    first_offset_reaches(journal, 600)
    assert numbers(read_all(journal))[-1] == 1000
    assert journal.size().last_offset == 1000
    assert list(journal.gaps()) == []


def test_acknowledged_frames_older_than_keep_seconds_go(make_journal: MakeJournal):
    journal = make_journal(keep_seconds=3600.0)
    append_all(journal, [frame(number, 5000, received_at=time.time_ns() - DAY) for number in range(1, 101)])
    append_all(journal, frames(101, 200, size=5000))
    journal.acknowledge("sink", 200)
    first_offset_reaches(journal, 101)
    assert numbers(read_all(journal)) == list(range(101, 201))


def test_the_slowest_consumer_decides(make_journal: MakeJournal):
    journal = make_journal(keep_bytes=0)
    append_all(journal, frames(1, 100, size=5000))
    journal.acknowledge("slow", 0)
    journal.acknowledge("sink", 100)
    assert read_all(journal)[0].offset == 1
    journal.acknowledge("slow", 40)
    eventually(lambda: journal.acknowledge("sink", 100) or journal.size().first_offset > 20)
    assert set(range(41, 101)) <= set(offsets(read_all(journal)))
    journal.forget("slow")
    eventually(lambda: journal.acknowledge("sink", 100) or journal.size().first_offset in (0, 100))


def test_acknowledged_frames_are_kept_up_to_keep_bytes_for_as_long_as_it_runs(make_journal: MakeJournal):
    journal = make_journal(keep_bytes=50_000)
    for first in range(1, 1001, 10):
        append_all(journal, frames(first, first + 9, size=1000))
        journal.acknowledge("sink", first + 9)
    size = journal.size()
    # A row is kept or pruned as a whole, and one may have been written since.
    assert 30_000 < size.bytes < 70_000
    assert size.last_offset == 1000


def test_a_consumer_that_comes_later_and_is_slower_is_waited_for(make_journal: MakeJournal):
    journal = make_journal(max_bytes=300_000)
    append_all(journal, frames(1, 100, size=1000))
    journal.acknowledge("sink", 80)
    journal.acknowledge("slow", 40)
    # So full that whatever is acknowledged goes.
    append_all(journal, frames(101, 319, size=1000))
    journal.acknowledge("sink", 319)
    eventually(lambda: journal.size().first_offset > 1)
    assert set(range(41, 320)) <= set(numbers(read_all(journal)))
    assert list(journal.gaps()) == []


def test_offsets_go_on_when_everything_was_pruned(make_journal: MakeJournal):
    journal = make_journal(keep_bytes=0)
    append_all(journal, frames(1, 10))
    journal.acknowledge("sink", 10)
    eventually(lambda: journal.acknowledge("sink", 10) or journal.size().frames == 0)
    size = journal.size()
    assert (size.bytes, size.first_offset, size.last_offset) == (0, 0, 10)
    assert not journal.wait_beyond(0, 0)
    append_all(journal, frames(11, 12))
    assert offsets(read_all(journal)) == [11, 12]
    assert journal.wait_beyond(0, 0)


def test_drop_oldest_gives_up_the_oldest_and_records_it_once(make_journal: MakeJournal, problems: list[JournalError]):
    journal = make_journal(max_bytes=200_000, count_events=two_of_three)
    for first in range(1, 2001, 10):
        append_all(journal, frames(first, first + 9, size=1000))
    left = offsets(read_all(journal))
    assert left == list(range(left[0], 2001))
    assert 100 < len(left) <= 200
    assert journal.size().bytes <= 200_000
    (gap,) = journal.gaps()
    assert (gap.kind, gap.first_offset, gap.last_offset, gap.frames) == ("dropped", 1, left[0] - 1, left[0] - 1)
    assert gap.events == sum(map(two_of_three, frames(1, left[0] - 1)))
    assert [type(problem) for problem in problems] == [JournalFull]


def test_drop_oldest_takes_acknowledged_frames_first(make_journal: MakeJournal):
    journal = make_journal(max_bytes=200_000)
    append_all(journal, frames(1, 150, size=1000))
    journal.acknowledge("sink", 140)
    append_all(journal, frames(151, 250, size=1000))
    assert list(journal.gaps()) == []
    assert set(range(141, 251)) <= set(offsets(read_all(journal)))


def test_only_unacknowledged_frames_count_as_dropped(make_journal: MakeJournal):
    journal = make_journal(max_bytes=200_000, keep_bytes=10**9)
    append_all(journal, frames(1, 150, size=1000))
    journal.acknowledge("sink", 75)
    for first in range(151, 1151, 10):
        append_all(journal, frames(first, first + 9, size=1000))
    left = read_all(journal)
    (gap,) = journal.gaps()
    assert (gap.first_offset, gap.last_offset) == (76, left[0].offset - 1)
    assert gap.frames == gap.last_offset - 75


def test_a_frame_larger_than_the_journal_is_kept_alone(make_journal: MakeJournal):
    journal = make_journal(max_bytes=10_000)
    append_all(journal, frames(1, 5, size=1000))
    append_all(journal, [frame(6, 50_000)])
    assert numbers(read_all(journal)) == [6]
    append_all(journal, frames(7, 9, size=1000))
    assert numbers(read_all(journal)) == [7, 8, 9]
    assert sum(gap.frames for gap in journal.gaps()) == 6


def test_drops_apart_are_recorded_apart(make_journal: MakeJournal):
    journal = make_journal(max_bytes=100_000)
    append_all(journal, frames(1, 200, size=1000))
    journal.acknowledge("sink", 200)
    append_all(journal, frames(201, 400, size=1000))
    first, second = journal.gaps()
    assert first.first_offset == 1
    assert second.first_offset == 201
    assert first.recorded_at <= second.recorded_at
    left = offsets(read_all(journal))
    assert second.last_offset == left[0] - 1


def test_reading_goes_on_behind_a_drop(make_journal: MakeJournal):
    journal = make_journal(max_bytes=100_000)
    append_all(journal, frames(1, 50, size=1000))
    assert numbers(journal.read(0, 10)) == list(range(1, 11))
    append_all(journal, frames(51, 500, size=1000))
    rest = offsets(read_all(journal, after=10))
    assert rest == list(range(rest[0], 501))
    assert rest[0] > 11


def test_a_count_of_events_that_fails_costs_only_the_count(make_journal: MakeJournal, problems: list[JournalError]):
    def fail(item: Frame) -> int:
        raise KeyError(item.index)

    journal = make_journal(max_bytes=50_000, count_events=fail)
    append_all(journal, frames(1, 200, size=1000))
    (gap,) = journal.gaps()
    assert gap.frames > 100
    assert gap.events == 0
    assert sum("events of dropped frames cannot be counted" in str(problem) for problem in problems) == 1


def test_block_waits_until_something_is_acknowledged(make_journal: MakeJournal, problems: list[JournalError]):
    journal = make_journal(max_bytes=100_000, overflow="block")
    appended: list[int] = []

    def append() -> None:
        for item in frames(1, 500, size=1000):
            journal.append(item)
            appended.append(item.index)

    feeder = threading.Thread(target=append)
    feeder.start()
    eventually(lambda: problems)
    assert isinstance(problems[0], JournalFull)
    assert 80 < len(appended) < 100
    delivered: list[int] = []
    while len(delivered) < 500:
        assert journal.wait_beyond(len(delivered), DEADLINE_SECONDS)
        batch = journal.read(len(delivered), 20)
        delivered += numbers(batch)
        assert journal.size().bytes <= 100_000
        journal.acknowledge("sink", batch[-1].offset)
    feeder.join(DEADLINE_SECONDS)
    assert delivered == list(range(1, 501))
    assert list(journal.gaps()) == []


def test_a_frame_larger_than_the_journal_waits_only_for_an_empty_one(make_journal: MakeJournal):
    journal = make_journal(max_bytes=10_000, overflow="block", keep_bytes=0)
    append_all(journal, [frame(1, 1000)])
    feeder = threading.Thread(target=journal.append, args=(frame(2, 50_000),))
    feeder.start()
    assert not journal.wait_beyond(1, 0.2)
    journal.acknowledge("sink", 1)
    feeder.join(DEADLINE_SECONDS)
    assert not feeder.is_alive()
    assert journal.wait_beyond(1, DEADLINE_SECONDS)
    assert numbers(read_all(journal, 1)) == [2]


def test_closing_ends_an_append_that_waits(make_journal: MakeJournal, problems: list[JournalError]):
    journal = make_journal(max_bytes=10_000, overflow="block")
    failed: list[JournalError] = []

    def append() -> None:
        try:
            for item in frames(1, 100, size=1000):
                journal.append(item)
        except JournalError as error:
            failed.append(error)

    feeder = threading.Thread(target=append)
    feeder.start()
    eventually(lambda: problems)
    journal.close()
    feeder.join(DEADLINE_SECONDS)
    assert ["is closed" in str(error) for error in failed] == [True]


def test_a_subscriber_slower_than_the_feed_gets_what_is_left(make_journal: MakeJournal):
    journal = make_journal(max_bytes=100_000)
    subscriber = Subscriber()
    begun, go_on, finish = threading.Event(), threading.Event(), threading.Event()

    def on_next(item: Frame) -> None:
        subscriber.on_next(item)
        begun.set()
        assert go_on.wait(DEADLINE_SECONDS)

    journal.frames(finish=finish).subscribe(on_next, subscriber.on_error, subscriber.on_completed)
    append_all(journal, frames(1, 1, size=1000))
    assert begun.wait(DEADLINE_SECONDS)
    append_all(journal, frames(2, 1000, size=1000))
    go_on.set()
    finish.set()
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    (gap,) = journal.gaps()
    assert numbers(subscriber.frames) == [1, *range(gap.last_offset + 1, 1001)]


def test_a_read_is_bounded_however_much_is_asked_for(sqlite: Callable[..., SqliteJournal]):
    journal = sqlite()
    append_all(journal, frames(1, 200, size=50_000))
    batch = journal.read(0, 10**9)
    assert 2**20 <= sum(len(item.data) for item in batch) < 2**20 + 200_000
    append_all(journal, [frame(201, 5_000_000)])
    assert numbers(journal.read(200, 10)) == [201]


def test_the_file_is_bounded(sqlite: Callable[..., SqliteJournal], path: Path):
    journal = sqlite(max_bytes=2_000_000, keep_bytes=500_000)
    for first in range(1, 20_001, 500):
        append_all(journal, frames(first, first + 499, size=1000))
        journal.acknowledge("sink", first)
    # A fifth for the pages of SQLite, and as much again as was in flight.
    assert path.stat().st_size < 2_000_000 * 1.2 + 1_000_000


def test_the_write_ahead_log_is_bounded_while_somebody_reads(
    sqlite: Callable[..., SqliteJournal], path: Path, monkeypatch: pytest.MonkeyPatch
):
    limit = 6_000_000
    monkeypatch.setattr("rxbridge.journal.store.LOG_LIMIT_BYTES", limit)
    monkeypatch.setattr("rxbridge.journal.store._CHECKPOINT_PAUSE_SECONDS", 0.0)
    journal = sqlite()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            journal.read(0, 3000)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    largest = 0
    for first in range(1, 30_001, 1000):
        append_all(journal, frames(first, first + 999, size=1000))
        largest = max(largest, path.with_name(path.name + "-wal").stat().st_size)
    stop.set()
    for reader in readers:
        reader.join()
    # One transaction may go over it.
    assert largest < limit + 5_000_000
