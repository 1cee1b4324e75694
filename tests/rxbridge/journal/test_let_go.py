"""A full journal: what is lost is what the essential consumer has not acknowledged, and the rest is only let go."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.errors import FramesLetGo, JournalCorrupt, JournalError, JournalFull
from rxbridge.journal import SqliteJournal
from rxbridge.journal.retention import LetGo, LetGoTeller
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import append_all, eventually, frames, numbers, offsets, read_all

MakeJournal: TypeAlias = Callable[..., Any]


@pytest.fixture(autouse=True)
def frequent_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what may be pruned with every transaction, not once a second."""
    monkeypatch.setattr("rxbridge.journal.store._UPKEEP_SECONDS", 0.0)


def refuse_to_count(item: Frame) -> int:
    raise AssertionError(f"frame {item.offset} is no loss")


def test_what_only_others_have_not_acknowledged_is_let_go_and_no_loss(
    make_journal: MakeJournal, problems: list[JournalError]
):
    journal = make_journal(max_bytes=200_000, essential="sink", count_events=refuse_to_count)
    journal.acknowledge("proof", 0)
    for first in range(1, 1001, 10):
        append_all(journal, frames(first, first + 9, size=1000))
        journal.acknowledge("sink", first + 9)
    left = offsets(read_all(journal))
    assert left == list(range(left[0], 1001))
    assert 100 < len(left) <= 200
    assert journal.size().kept_after == left[0] - 1
    assert journal.let_go() == left[0] - 1
    assert list(journal.gaps()) == []
    (problem,) = problems
    assert isinstance(problem, FramesLetGo)
    assert problem.consumers == ("proof",)
    assert "delivered frames were let go before proof was done with them" in str(problem)


def test_what_is_let_go_ends_where_the_loss_begins(make_journal: MakeJournal):
    journal = make_journal(max_bytes=200_000, essential="sink", count_events=lambda _: 1)
    append_all(journal, frames(1, 150, size=1000))
    journal.acknowledge("proof", 40)
    journal.acknowledge("sink", 75)
    for first in range(151, 1151, 10):
        append_all(journal, frames(first, first + 9, size=1000))
    left = offsets(read_all(journal))
    (gap,) = journal.gaps()
    assert (gap.kind, gap.first_offset, gap.last_offset) == ("dropped", 76, left[0] - 1)
    assert gap.frames == gap.events == left[0] - 76
    assert journal.let_go() == 75 - 40


def test_a_slow_consumer_is_waited_for_where_the_policy_is_to_block(
    make_journal: MakeJournal, problems: list[JournalError]
):
    journal = make_journal(max_bytes=100_000, overflow="block", keep_bytes=0, essential="sink")
    journal.acknowledge("proof", 0)
    feeder = threading.Thread(target=append_all, args=(journal, frames(1, 200, size=1000)))
    feeder.start()
    eventually(lambda: problems)
    journal.acknowledge("sink", journal.size().last_offset)
    assert journal.read(0)[0].offset == 1

    def proven() -> bool:
        journal.acknowledge("sink", journal.size().last_offset)
        journal.acknowledge("proof", journal.size().last_offset)
        return not feeder.is_alive()

    eventually(proven)
    assert journal.size().last_offset == 200
    assert journal.let_go() == 0
    assert {type(problem) for problem in problems} == {JournalFull}


def test_nothing_goes_before_the_essential_consumer_has_come(make_journal: MakeJournal):
    journal = make_journal(max_bytes=200_000, keep_bytes=0, essential="sink")
    append_all(journal, frames(1, 100, size=1000))
    journal.acknowledge("backfill", 100)
    # A transaction more, in which what all have acknowledged would go.
    append_all(journal, frames(101, 101, size=1000))
    assert numbers(read_all(journal)) == list(range(1, 102))
    append_all(journal, frames(102, 300, size=1000))
    (gap,) = journal.gaps()
    assert (gap.first_offset, gap.frames) == (1, read_all(journal)[0].offset - 1)
    assert journal.let_go() == 0


def test_what_was_let_go_is_told_of_now_and_then_with_what_has_gone_since():
    told: list[JournalError] = []
    now = [1000.0]
    tell = LetGoTeller("journal", told.append, lambda: now[0])
    for seconds, count in ((0.0, 3), (1.0, 5), (58.0, 7), (2.0, 11)):
        now[0] += seconds
        tell(LetGo(count, ("proof",)))
    now[0] += 1000.0
    tell(LetGo())
    assert [problem.frames for problem in told if isinstance(problem, FramesLetGo)] == [3, 23]


def test_what_was_let_go_is_remembered_and_not_taken_for_damage_later(
    sqlite: Callable[..., SqliteJournal], path: Path, problems: list[JournalError]
):
    with sqlite(max_bytes=200_000, essential="sink") as journal:
        journal.acknowledge("proof", 0)
        for first in range(1, 1001, 10):
            append_all(journal, frames(first, first + 9, size=1000))
            journal.acknowledge("sink", first + 9)
        let_go = journal.let_go()
    assert let_go > 0
    with sqlite(essential="sink") as journal:
        assert journal.let_go() == let_go
    with closing(sqlite3.connect(path)) as connection:
        # So that the file is replaced, and all is copied to the new one.
        connection.execute("UPDATE state SET last_offset = 'damaged'")
        connection.commit()
    problems.clear()
    with sqlite(essential="sink") as journal:
        assert [type(problem) for problem in problems] == [JournalCorrupt]
        assert journal.let_go() == let_go
        assert [(gap.kind, gap.frames) for gap in journal.gaps()] == [("quarantined", 0)]
        assert offsets(read_all(journal)) == list(range(let_go + 1, 1001))
