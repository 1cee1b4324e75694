"""Whatever is done to a journal, in whatever order: every frame is there, or acknowledged, or recorded as dropped."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rxbridge.journal import Journal, MemoryJournal, SqliteJournal
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import DEADLINE_SECONDS, frame, letter, numbers, offsets, read_all

CONSUMERS = ("sink", "backfill")
MAX_BYTES = 40_000
SLACK = 6_000


def events_of(item: Frame) -> int:
    return item.index % 4


@pytest.fixture(autouse=True)
def frequent_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what may be pruned with every transaction, not once a second."""
    monkeypatch.setattr("rxbridge.journal.store._UPKEEP_SECONDS", 0.0)


class JournalMachine(RuleBasedStateMachine):
    """A journal of 40 kB that drops, against a list of what was done."""

    def __init__(self) -> None:
        super().__init__()
        self.appended = 0
        self.released = 0
        self.cursors: dict[str, int] = {}
        self.letters: dict[tuple[int, str], int] = {}
        self.journal: Journal
        self.limits: dict[str, Any] = {}

    def open(self) -> Journal:
        raise NotImplementedError

    @initialize(keep_bytes=st.sampled_from((0, 5_000, 10**9)))
    def begin(self, keep_bytes: int) -> None:
        self.limits = {"max_bytes": MAX_BYTES, "keep_bytes": keep_bytes, "count_events": events_of}
        self.journal = self.open()

    @rule(count=st.integers(1, 30), size=st.integers(20, 3000))
    def append(self, count: int, size: int) -> None:
        for _ in range(count):
            self.appended += 1
            self.journal.append(frame(self.appended, size))

    @rule(consumer=st.sampled_from(CONSUMERS), share=st.floats(0, 1))
    def acknowledge(self, consumer: str, share: float) -> None:
        assert self.journal.flush(DEADLINE_SECONDS)
        offset = int(self.appended * share)
        self.journal.acknowledge(consumer, offset)
        self.cursors[consumer] = max(self.cursors.get(consumer, 0), offset)
        self.note_released()

    @rule(consumer=st.sampled_from(CONSUMERS))
    def forget(self, consumer: str) -> None:
        self.journal.forget(consumer)
        self.cursors.pop(consumer, None)
        self.note_released()

    def note_released(self) -> None:
        """Up to where frames may have been pruned at some time."""
        self.released = max(self.released, min(self.cursors.values(), default=0))

    @rule(offset=st.integers(1, 5), event_id=st.sampled_from(("", "a", "b")), attempts=st.integers(1, 3))
    def refuse(self, offset: int, event_id: str, attempts: int) -> None:
        self.journal.add_dead_letters([letter(offset, event_id, attempts=attempts)])
        key = (offset, event_id)
        self.letters[key] = self.letters.get(key, 0) + attempts

    @precondition(lambda self: self.appended > 0)
    @rule(share=st.floats(0, 1), limit=st.integers(1, 50))
    def read_on(self, share: float, limit: int) -> None:
        assert self.journal.flush(DEADLINE_SECONDS)
        after = int(self.appended * share)
        found = self.journal.read(after, limit)
        left = [offset for offset in offsets(read_all(self.journal)) if offset > after]
        assert offsets(found) == left[: len(found)]
        assert len(found) <= limit
        assert bool(found) == bool(left) == self.journal.wait_beyond(after, 0)

    @invariant()
    def every_frame_is_accounted_for(self) -> None:
        assert self.journal.flush(DEADLINE_SECONDS)
        left = read_all(self.journal)
        # Nothing is missing in the middle, every frame is what was appended, and the newest is there or pruned.
        assert offsets(left) == numbers(left)
        first = left[0].offset if left else self.appended + 1
        assert offsets(left) == list(range(first, self.appended + 1))
        size = self.journal.size()
        assert (size.frames, size.last_offset, size.pending_frames) == (len(left), self.appended, 0)
        assert size.bytes <= MAX_BYTES + SLACK

    @invariant()
    def every_drop_is_recorded_once(self) -> None:
        assert self.journal.flush(DEADLINE_SECONDS)
        gaps = list(self.journal.gaps())
        ranges = [range(gap.first_offset, gap.last_offset + 1) for gap in gaps]
        dropped = [offset for part in ranges for offset in part]
        assert len(dropped) == len(set(dropped))
        assert [gap.frames for gap in gaps] == [len(part) for part in ranges]
        assert [gap.events for gap in gaps] == [sum(offset % 4 for offset in part) for part in ranges]
        # What is gone was dropped, or else everybody had acknowledged it.
        gone = set(range(1, self.journal.size().first_offset or self.appended + 1))
        assert set(dropped) <= gone
        assert max(gone - set(dropped), default=0) <= self.released

    @invariant()
    def cursors_and_letters_are_kept(self) -> None:
        for consumer in CONSUMERS:
            assert self.journal.cursor(consumer) == self.cursors.get(consumer, 0)
        found = {(each.offset, each.event_id): each.attempts for each in self.journal.dead_letters()}
        assert found == self.letters


class MemoryMachine(JournalMachine):
    """In memory."""

    def open(self) -> Journal:
        return MemoryJournal(**self.limits, problem=lambda _: None)

    def teardown(self) -> None:
        self.journal.close()


class SqliteMachine(JournalMachine):
    """In a file, which is closed and opened at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-laws-"))

    def open(self) -> Journal:
        return SqliteJournal(self.folder / "feed.journal", **self.limits, problem=lambda _: None)

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = self.open()

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)


TestMemoryJournal = MemoryMachine.TestCase
TestMemoryJournal.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)

TestSqliteJournal = SqliteMachine.TestCase
TestSqliteJournal.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
