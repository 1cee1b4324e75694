"""Order books that several connections bring at the same time: one book to whoever sees the images."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.books import SILENT_NANOSECONDS, Books, resumed
from rxbridge.confirmation.reading import EventMaker
from rxbridge.events import EncodedEvent
from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame
from tests.rxbridge.test_books import (
    CHANNELS,
    LATER,
    OPENED,
    RULES,
    SECOND,
    frame,
    heartbeat,
    images,
    numbered,
    snapshot,
    update,
)

ONE, TWO, ONE_AGAIN = OPENED, OPENED + 1, LATER
"""Connections of the first line, of the second, and of the first one again."""


def received(one: Frame, seconds: float) -> Frame:
    return Frame(one.data, OPENED + int(seconds * SECOND), one.connection, one.index)


def at(seconds: float, *frames: Frame) -> list[Frame]:
    return [received(one, seconds) for one in frames]


def test_what_both_bring_is_shown_once() -> None:
    frames = [
        *at(0.1, snapshot("9", "10", line=ONE), snapshot("9", "10", line=TWO)),
        *at(1.1, heartbeat(0, line=ONE), heartbeat(0, line=TWO)),
        *at(1.2, update("buy", "9.5", "1", line=ONE), update("buy", "9.5", "1", line=TWO)),
        *at(2.1, heartbeat(0, line=ONE), heartbeat(0, line=TWO)),
        *at(3.1, heartbeat(0, line=ONE), heartbeat(0, line=TWO)),
    ]

    assert [(image.bids[0][0], image.is_reset) for image in images(*frames)] == [("9", True), ("9.5", False)]


def test_when_one_breaks_the_other_goes_on_and_nothing_is_begun_anew() -> None:
    frames = [
        *at(0.1, snapshot("9", "10", line=ONE), snapshot("9", "10", line=TWO)),
        *at(1.2, update("buy", "9.5", "1", line=ONE), update("buy", "9.5", "1", line=TWO)),
        *at(2.1, heartbeat(0, line=ONE_AGAIN), heartbeat(0, line=TWO)),
        *at(2.2, update("buy", "9.6", "1", line=TWO)),
        *at(3.1, snapshot("9.6", "10", line=ONE_AGAIN)),
        *at(3.2, update("buy", "9.7", "1", line=ONE_AGAIN), update("buy", "9.7", "1", line=TWO)),
        *at(4.1, heartbeat(0, line=ONE_AGAIN)),
    ]
    found = images(*frames)

    assert [image.bids[0][0] for image in found] == ["9", "9.5", "9.6", "9.7"]
    assert [image.is_reset for image in found] == [True, False, False, False]


def test_when_all_are_broken_it_is_begun_anew() -> None:
    frames = [
        *at(0.1, snapshot("9", "10", line=ONE), snapshot("9", "10", line=TWO)),
        *at(1.1, heartbeat(0, line=ONE_AGAIN), heartbeat(0, line=TWO + 2000)),
        *at(2.1, snapshot("8", "10", line=ONE_AGAIN)),
        *at(3.1, heartbeat(0, line=ONE_AGAIN)),
    ]

    assert [(image.bids[0][0], image.is_reset) for image in images(*frames)] == [("9", True), ("8", True)]


def test_a_line_that_is_behind_is_not_looked_at() -> None:
    frames = [
        *at(0.1, snapshot("9", "10", line=ONE), snapshot("9", "10", line=TWO)),
        *at(4.1, update("buy", "9.5", "1", line=TWO)),
        *at(5.1, heartbeat(0, line=TWO)),
    ]

    assert [image.bids[0][0] for image in images(*frames)] == ["9", "9.5"]


def test_the_books_of_a_line_that_has_long_been_silent_are_dropped() -> None:
    books = Books(RULES)
    silent = SILENT_NANOSECONDS / SECOND
    frames = [
        *at(0.1, snapshot("9", "10", line=ONE), snapshot("9", "10", line=TWO)),
        *at(silent + 1, heartbeat(0, line=TWO)),
        *at(silent + 2, heartbeat(0, line=TWO + 2000)),
        *at(silent + 3, update("buy", "9.5", "1", line=ONE)),
        *at(silent + 4, heartbeat(0, line=ONE)),
    ]

    assert [image.bids[0][0] for image in images(*frames, books=books)] == ["9"]
    assert not books.is_whole, "the first line is known from the middle of its connection only"


_second = st.tuples(st.integers(1, 9), st.sampled_from(["both", "both", "one breaks", "two breaks", "gap in one"]))


def _market(seconds: list[tuple[int, str]]) -> list[Frame]:
    """The same market by two lines, one or the other of which breaks now and then, with a snapshot a second later."""
    connections = [ONE, TWO]
    frames = [*at(0.1, snapshot("1", "90", line=ONE), snapshot("1", "90", line=TWO))]
    best = 1
    for second, (price, what) in enumerate(seconds, 1):
        if what.endswith("breaks"):
            which = 0 if what.startswith("one") else 1
            connections[which] += 1000 * SECOND
            frames += at(second, snapshot(str(best), "90", line=connections[which]))
        for line in connections:
            if not (what == "gap in one" and line == connections[0]):
                frames += at(second + 0.2, update("buy", str(best), "0", line=line)) if best != price else []
                frames += at(second + 0.2, update("buy", str(price), "1.50", line=line))
            else:
                frames += at(second + 0.2, frame(b"{", line=line))
        best = price
    return frames


def _made(journal: MemoryJournal, after: int) -> list[EncodedEvent]:
    make = EventMaker(channels=CHANNELS, rules=RULES, kept_books=resumed(RULES, journal, after))
    return [event for one in journal.read(after, 1000) for event in make(one)]


@settings(deadline=None)
@given(st.lists(_second, max_size=15), st.integers(0, 80))
def test_whoever_begins_anywhere_finds_the_same_images(seconds: list[tuple[int, str]], after: int) -> None:
    frames = numbered(_market(seconds))
    after = min(after, len(frames))
    with MemoryJournal() as journal:
        for one in frames:
            journal.append(one)
        assert journal.flush(10.0)
        expected = [event.event_id for event in _made(journal, 0) if event.offset > after]

        assert [event.event_id for event in _made(journal, after)] == expected
