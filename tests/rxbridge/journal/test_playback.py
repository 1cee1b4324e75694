"""A journal played again: what it keeps, in order, while somebody else is at work on it."""

from pathlib import Path

import pytest

from operators import ReplayClock
from rxbridge.errors import JournalError
from rxbridge.journal import SqliteJournal
from rxbridge.journal.playback import journal_frames
from rxbridge.messages import Frame

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def test_the_frames_that_are_kept_are_played_beside_a_bridge_at_work(tmp_path: Path) -> None:
    path = tmp_path / "some.journal"
    with SqliteJournal(path) as journal:
        for number in range(5000):
            journal.append(Frame(b"%d" % number, START + number * SECOND, START, number))
        assert journal.flush(30)

        clock, got = ReplayClock(), list[tuple[int, Frame]]()
        frames = journal_frames(path, scheduler=clock, since=START + 10 * SECOND, until=START + 4990 * SECOND)
        frames.subscribe(lambda frame: got.append((clock.moment, frame)))
        clock.start()

        journal.append(Frame(b"later", START, START, 5000))
    assert [frame.offset for _, frame in got] == list(range(11, 4991))
    assert all(moment == frame.received_at for moment, frame in got)
    assert (got[0][1].connection, got[0][1].index) == (START, 10)


def test_a_journal_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such file"):
        journal_frames(tmp_path / "absent.journal")
