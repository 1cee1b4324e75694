"""The note by which the delivery half tells the feed half of books in doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.doubts import MOST_DOUBTS, NOTE, DoubtNote, heed, read_doubts
from rxbridge.errors import JournalError
from rxbridge.journal import Journal, MemoryJournal
from rxbridge.journal.sqlite import SqliteJournal

LINE, OTHER = 1_700_000_000_000_000_000, 1_700_000_000_000_000_001


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    kept: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal")
    with kept:
        yield kept


def test_what_one_half_doubts_the_other_hears(journal: Journal) -> None:
    in_doubt = BooksInDoubt()
    heed(journal, in_doubt)
    assert in_doubt.current == {}
    note = DoubtNote(journal)
    note.doubt(LINE, "BTC-USD", 7)
    note.doubt(OTHER, "", 3)
    heed(journal, in_doubt)
    assert in_doubt.current == {(LINE, "BTC-USD"): 7, (OTHER, ""): 3}


def test_two_processes_share_the_note(tmp_path: Path) -> None:
    with (
        SqliteJournal(tmp_path / "journal", role="feed") as feed,
        SqliteJournal(tmp_path / "journal", role="deliver") as deliver,
    ):
        DoubtNote(deliver).doubt(LINE, "BTC-USD", 7)
        assert read_doubts(feed) == {(LINE, "BTC-USD"): 7}


def test_a_restart_goes_on_with_the_note_and_doubts_nothing_twice(journal: Journal) -> None:
    DoubtNote(journal).doubt(LINE, "BTC-USD", 7)
    again = DoubtNote(journal)
    again.doubt(LINE, "BTC-USD", 6)
    again.doubt(LINE, "ETH-USD", 8)
    assert read_doubts(journal) == {(LINE, "BTC-USD"): 7, (LINE, "ETH-USD"): 8}
    again.doubt(LINE, "BTC-USD", 9)
    assert read_doubts(journal) == {(LINE, "ETH-USD"): 8, (LINE, "BTC-USD"): 9}


def test_the_note_does_not_grow_without_end(journal: Journal) -> None:
    note = DoubtNote(journal)
    for line in range(MOST_DOUBTS + 5):
        note.doubt(line + 1, "BTC-USD", 7)
    assert list(read_doubts(journal)) == [(line + 1, "BTC-USD") for line in range(5, MOST_DOUBTS + 5)]


@pytest.mark.parametrize("damaged", [b"", b"[", b"{}", b"[[1]]", b'[["a","b",1]]', b"\xff"])
def test_a_damaged_note_is_passed_over(journal: Journal, damaged: bytes, log: list[str]) -> None:
    journal.remember(NOTE, damaged)
    assert read_doubts(journal) == {}
    assert any("cannot be read" in line for line in log)


def test_a_doubt_that_cannot_be_written_goes_with_the_next(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    note, remember = DoubtNote(journal), journal.remember

    def refuse(_name: str, _value: bytes) -> None:
        raise JournalError("journal", "the disk is full")

    monkeypatch.setattr(journal, "remember", refuse)
    note.doubt(LINE, "BTC-USD", 7)
    assert any("the disk is full" in line for line in log)
    restored: Callable[[str, bytes], None] = remember
    monkeypatch.setattr(journal, "remember", restored)
    note.doubt(LINE, "ETH-USD", 8)
    assert read_doubts(journal) == {(LINE, "BTC-USD"): 7, (LINE, "ETH-USD"): 8}
