"""Notes, gaps of the market, letters that are taken out again, and what a policy has dropped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.errors import JournalError
from rxbridge.journal import Journal, MarketGap, SqliteJournal
from rxbridge.journal.bookkeeping import drop_columns, drops
from tests.rxbridge.journal.support import append_all, frames, letter

MakeSqlite = Callable[..., SqliteJournal]


def gap(first: int, last: int, reason: str = "why not", *, product: str = "BTC-USD") -> MarketGap:
    return MarketGap("trades", (product,), "matches", first, last, reason, 1)


def test_a_note_is_kept_until_the_next_of_its_name(journal: Journal) -> None:
    assert journal.recall("totals") is None
    journal.remember("totals", b"\0one")
    journal.remember("other", b"")
    journal.remember("totals", b"two")
    assert (journal.recall("totals"), journal.recall("other")) == (b"two", b"")


def test_a_market_gap_is_recorded_once_and_in_order(journal: Journal) -> None:
    quotes = MarketGap("quotes", ("BTC-USD", "ETH-USD"), "ticker", 10, 20, "disconnected", 2)
    journal.record_market_gaps([gap(7, 9), quotes])
    journal.record_market_gaps([gap(7, 9, "another reason"), gap(7, 9, product="ETH-USD")])
    assert list(journal.market_gaps()) == [gap(7, 9), quotes, gap(7, 9, product="ETH-USD")]


def test_a_removed_letter_is_gone_and_others_stay(journal: Journal) -> None:
    journal.add_dead_letters([letter(1, "a"), letter(1, "b"), letter(2)])
    journal.remove_dead_letters([(1, "b"), (2, ""), (3, "never there")])
    assert [(dead.offset, dead.event_id) for dead in journal.dead_letters()] == [(1, "a")]


def test_letters_are_found_from_an_offset_on(journal: Journal) -> None:
    journal.add_dead_letters([letter(1, "a"), letter(2), letter(2, "a"), *(letter(3, f"{n:04}") for n in range(1200))])
    assert [(dead.offset, dead.event_id) for dead in journal.dead_letters(1)][:3] == [(2, ""), (2, "a"), (3, "0000")]
    assert len(list(journal.dead_letters(1))) == 1202
    assert len(list(journal.dead_letters(2))) == 1200
    assert list(journal.dead_letters(3)) == []


def test_what_was_dropped_is_known_with_the_acknowledgement(journal: Journal) -> None:
    append_all(journal, frames(1, 40))
    journal.acknowledge("pulsestream", 20, [1, 2, 9, 20])
    journal.acknowledge("pulsestream", 30)
    journal.acknowledge("pulsestream", 40, [31])
    assert list(journal.dropped()) == [1, 2, 9, 20, 31]
    assert list(journal.dropped(9)) == [20, 31]
    assert list(journal.dropped(31)) == []


def test_what_was_dropped_is_forgotten_with_its_frames(make_journal: Callable[..., Any]) -> None:
    journal = make_journal(keep_bytes=0)
    append_all(journal, frames(1, 2000))
    journal.acknowledge("pulsestream", 1000, [3, 999])
    journal.acknowledge("pulsestream", 2000, [1500, 2000])
    append_all(journal, frames(2001, 2002))
    first = journal.size().first_offset
    while first <= 1000:
        append_all(journal, frames(2003, 2003))
        journal.acknowledge("pulsestream", journal.size().last_offset)
        first = journal.size().first_offset
    assert 3 not in list(journal.dropped())


@given(st.sets(st.integers(1, 2**40), min_size=1, max_size=200))
def test_offsets_survive_their_packing(offsets: set[int]) -> None:

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE drops (first_offset INTEGER PRIMARY KEY, last_offset INTEGER, offsets BLOB)")
        connection.execute("INSERT INTO drops VALUES (?, ?, ?)", drop_columns(sorted(offsets)))
        assert drops(connection, 0) == [(max(offsets), sorted(offsets))]


def test_maintenance_runs_beside_the_halves_and_leaves_frames_and_cursors_alone(sqlite: MakeSqlite, path: Path) -> None:
    running = sqlite()
    append_all(running, frames(1, 3))
    running.add_dead_letters([letter(1, "a"), letter(2, "b")])
    with SqliteJournal(path, role="maintain") as journal:
        journal.remove_dead_letters([(1, "a")])
        journal.remember("note", b"kept")
        with pytest.raises(JournalError, match="maintain"):
            journal.acknowledge("pulsestream", 1)
        with pytest.raises(JournalError, match="not opened to be fed"):
            journal.append(frames(4, 4)[0])
    assert [dead.event_id for dead in running.dead_letters()] == ["b"]
    assert running.recall("note") == b"kept"
    assert running.size().last_offset == 3


def test_a_journal_of_the_first_schema_is_brought_up_to_date(sqlite: MakeSqlite, path: Path) -> None:
    with sqlite() as journal:
        append_all(journal, frames(1, 3))
        journal.acknowledge("pulsestream", 2)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE notes; DROP TABLE market_gaps; DROP TABLE drops; PRAGMA user_version = 1;")
    with pytest.raises(JournalError, match="older rxbridge"):
        SqliteJournal(path, role="read")
    with sqlite() as journal:
        assert journal.cursor("pulsestream") == 2
        assert [frame.index for frame in journal.read(0)] == [1, 2, 3]
        journal.remember("note", b"new")
        journal.record_market_gaps([gap(1, 2)])
        assert list(journal.gaps()) == []
