"""What the journal's notes say of the confirmation and of purged letters, even when they were damaged."""

from hypothesis import given
from hypothesis import strategies as st

from rxbridge.audit import acknowledged_gaps
from rxbridge.audit.gaps import NOTE as GAPS
from rxbridge.confirmation import confirmed_up_to, purged_offsets, remember_purged
from rxbridge.confirmation.note import CONSUMER, Note, read_note, write_note
from rxbridge.confirmation.purged import NOTE as PURGED
from rxbridge.journal import MemoryJournal
from rxbridge.progress import CONSUMER as DELIVERY
from tests.rxbridge.confirmation.support import append, match


def test_without_a_note_nothing_is_confirmed() -> None:
    journal = MemoryJournal()
    assert (read_note(journal), confirmed_up_to(journal)) == (Note("none", busy=False), None)

    append(journal, [match(1), match(2)])
    write_note(journal, Note("sample", busy=True))
    journal.acknowledge(CONSUMER, 2)
    assert (read_note(journal), confirmed_up_to(journal)) == (Note("sample", busy=True), 2)


@given(st.binary(max_size=20))
def test_a_damaged_note_is_no_reason_to_fail(damage: bytes) -> None:
    journal = MemoryJournal()
    for name in ("confirmation", PURGED, GAPS):
        journal.remember(name, damage)
    assert read_note(journal).busy in (True, False)
    assert confirmed_up_to(journal) in (0, None)
    assert isinstance(purged_offsets(journal), list)
    assert isinstance(acknowledged_gaps(journal), list)


def test_a_note_that_cannot_be_read_makes_the_next_start_careful() -> None:
    journal = MemoryJournal()
    journal.remember("confirmation", b"{")
    assert read_note(journal) == Note("all", busy=True)


@given(st.lists(st.sets(st.integers(1, 60)), max_size=4), st.integers(0, 40))
def test_marks_of_purged_letters_last_as_long_as_their_frames(purges: list[set[int]], acknowledged: int) -> None:
    journal = MemoryJournal(keep_bytes=0)
    append(journal, map(match, range(1, 61)))
    expected: set[int] = set()
    for offsets in purges:
        remember_purged(journal, offsets)
        expected |= offsets
    assert purged_offsets(journal) == sorted(expected)

    journal.acknowledge(DELIVERY, acknowledged)
    remember_purged(journal, [60])
    assert purged_offsets(journal) == sorted(offset for offset in expected | {60} if offset > acknowledged)
