"""Images that are made once more of a journal whose oldest frames are gone: those that are sure, and no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.audit import Repair, audit
from rxbridge.books import SILENT_NANOSECONDS, Books
from rxbridge.confirmation import CONSUMER, EventMaker, Prover
from rxbridge.confirmation.trail import Trail
from rxbridge.events import EncodedEvent
from rxbridge.journal import JournalSize, MemoryJournal
from rxbridge.messages import BookImage, Frame
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.telemetry.statistics import ConfirmationStatistics
from tests.rxbridge.confirmation.support import FakePulseStream
from tests.rxbridge.test_books import CHANNELS, RULES, SECOND, frame, heartbeat, numbered, snapshot, update
from tests.rxbridge.test_books_lines import ONE, TWO, at

_SILENT = SILENT_NANOSECONDS // SECOND

_PRODUCTS = ("A-USD", "B-USD")

_second = st.tuples(
    st.integers(0, 1),
    st.integers(1, 5),
    st.sampled_from(["same", "same", "apart", "breaks", "renewed", "silent", "quiet", "garbage", "lost"]),
    st.integers(0, 1),
)


def _market(seconds: list[tuple[int, int, str, int]]) -> list[Frame]:
    """What two lines bring of two books, in a second each: one breaks, or is silent, or shows other levels."""
    connections = [ONE, TWO]
    frames = [*_begun(ONE, 0.1), *_begun(TWO, 0.1)]
    silent_until, lost = [0, 0], set[int]()
    for second, (product, price, what, which) in enumerate(seconds, 1):
        if what == "silent":
            silent_until[which] = second + _SILENT + 2
        if what == "breaks":
            connections[which] += 1000 * SECOND
            silent_until[which] = 0
            frames += _begun(connections[which], second)
        for line, connection in enumerate(connections):
            if second < silent_until[line]:
                continue
            if what == "renewed" and line == which:
                frames += at(second + 0.1, snapshot("3", "90", product=_PRODUCTS[product], line=connection))
            elif what == "garbage" and line == which:
                frames += at(second + 0.2, frame(b"{", line=connection))
            elif what != "quiet":
                if what == "lost" and line == which:
                    lost.add(len(frames))
                size = "2" if what == "apart" and line == which else "1.50"
                frames += at(second + 0.3, update("buy", str(price), size, product=_PRODUCTS[product], line=connection))
            frames += at(second + 0.4, heartbeat(0, line=connection))
    return [one for place, one in enumerate(numbered(frames)) if place not in lost]


def _begun(connection: int, second: float) -> list[Frame]:
    return at(second, *(snapshot("1", "90", product=product, line=connection) for product in _PRODUCTS))


def _journaled(frames: list[Frame]) -> list[Frame]:
    """With the offsets that a journal gives; the place on the connection stays, so what was lost shows."""
    return [Frame(one.data, one.received_at, one.connection, one.index, offset) for offset, one in enumerate(frames, 1)]


def _images(books: Books, frames: list[Frame]) -> dict[tuple[int, str], BookImage]:
    return {
        (one.offset, message.product_id): message
        for one in frames
        for message in books.read(one)
        if isinstance(message, BookImage)
    }


_TRIMMED = _journaled(
    numbered(
        [
            *at(0.1, snapshot("9", "10", line=ONE), snapshot("9", "10", line=TWO)),
            *at(1.1, heartbeat(0, line=ONE), heartbeat(0, line=TWO)),
            *at(20.0, heartbeat(0, line=ONE), snapshot("9", "10", line=TWO + 1000 * SECOND)),
            *at(21.1, heartbeat(0, line=ONE)),
            *at(21.2, update("buy", "9.5", "1", line=ONE), update("buy", "9.6", "1", line=TWO + 1000 * SECOND)),
            *at(22.1, heartbeat(0, line=ONE)),
        ]
    )
)
"""Of which the first three are there no more: the image at the last one is all that was made since."""


@settings(deadline=None, max_examples=300)
@given(st.lists(_second, min_size=5, max_size=60), st.integers(0, 150))
def test_of_a_trimmed_journal_no_image_is_made_that_was_not_made_before(
    seconds: list[tuple[int, int, str, int]], gone: int
) -> None:
    frames = _journaled(_market(seconds))
    made = _images(Books(RULES), frames)
    again = Books(RULES, once_more=True)

    sure = _images(again, frames[gone:])

    assert {about: made.get(about) for about in sure} == sure
    if gone == 0:
        assert sure == made
        assert again.unjudged == 0


@settings(deadline=None)
@given(st.lists(_second, max_size=30), st.integers(0, 30), st.lists(_second, max_size=10))
def test_what_came_after_the_next_connections_is_judged(
    before: list[tuple[int, int, str, int]], gone: int, after: list[tuple[int, int, str, int]]
) -> None:
    calm = [(0, 1, "same", 0)] * (_SILENT + 20)
    anew = [(0, 1, "breaks", 0), (0, 2, "breaks", 1), (0, 3, "same", 0), (1, 3, "same", 0), (0, 1, "quiet", 0)]
    frames = _journaled(_market([*before, *calm, *anew, *after]))
    begins = _journaled(_market([*before, *calm, *anew]))[-1].offset
    again = Books(RULES, once_more=True)

    sure = _images(again, frames[gone:])

    expected = {about: one for about, one in _images(Books(RULES), frames).items() if about[0] > begins}
    assert {about: one for about, one in sure.items() if about[0] > begins} == expected


def test_a_snapshot_of_the_second_line_is_not_taken_for_the_beginning_of_a_book_that_the_first_one_has() -> None:
    again = Books(RULES, once_more=True)

    assert [offset for offset, _ in _images(Books(RULES), _TRIMMED)] == [3, 10]
    assert _images(again, _TRIMMED[3:]) == {}
    assert again.unjudged == 2


@pytest.mark.parametrize(("silent", "judged"), [(_SILENT - 1, 0), (_SILENT + 2, 1)])
def test_a_line_of_which_nothing_is_kept_may_have_the_book_until_it_was_silent_for_long(
    silent: int, judged: int
) -> None:
    frames = _journaled(
        numbered(
            [
                *at(0.1, snapshot("9", "10", line=ONE), heartbeat(0, line=TWO)),
                *at(1.1, heartbeat(0, line=TWO)),
                *at(silent + 2, heartbeat(0, line=TWO), snapshot("9", "10", line=TWO)),
                *at(silent + 3, heartbeat(0, line=TWO)),
            ]
        )
    )

    assert len(_images(Books(RULES, once_more=True), frames[2:])) == judged


def test_after_frames_that_the_file_lost_nothing_is_sure_until_the_next_snapshots() -> None:
    frames = _journaled(
        numbered(
            [
                *at(0.1, snapshot("9", "10", line=ONE), snapshot("9", "10", line=TWO)),
                *at(1.1, heartbeat(0, line=ONE), heartbeat(0, line=TWO)),
                *at(1.2, update("buy", "9.5", "1", line=ONE)),
                *at(20.2, heartbeat(0, line=ONE), snapshot("9.5", "10", line=TWO)),
                *at(21.1, heartbeat(0, line=ONE)),
            ]
        )
    )
    lost = [one for one in frames if one.offset != 5]

    assert [offset for offset, _ in _images(Books(RULES), frames)] == [3, 6]
    assert [offset for offset, _ in _images(Books(RULES, once_more=True), lost)] == [3]


class _Trimmed(MemoryJournal):
    """It keeps only the last frames of those that were acknowledged by the slowest."""

    def size(self) -> JournalSize:
        return msgspec.structs.replace(super().size(), first_offset=4)

    def read(self, after: int, limit: int = 1000) -> Sequence[Frame]:
        return super().read(max(after, 3), limit)


@pytest.fixture
def trimmed() -> Iterator[_Trimmed]:
    with _Trimmed(keep_seconds=float("inf")) as journal:
        for one in _TRIMMED:
            journal.append(one)
        assert journal.flush(10.0)
        yield journal


def _delivered() -> list[EncodedEvent]:
    make = EventMaker(channels=CHANNELS, rules=RULES, kept_books=Books(RULES))
    return [event for one in _TRIMMED for event in make(one)]


@pytest.mark.parametrize("repairs", [False, True])
def test_an_audit_of_a_trimmed_journal_says_what_it_cannot_judge_and_misses_nothing(
    trimmed: _Trimmed, *, repairs: bool
) -> None:
    trimmed.acknowledge(DELIVERY, len(_TRIMMED))
    with EmbeddedPulseStream(api_key="key", rate_limit=0) as server, PulseStreamClient(server.url, "key") as client:
        client.post_batch(_delivered())
        repair = Repair(trimmed, client, channels=CHANNELS, rules=RULES, after_seconds=0.0) if repairs else None
        result = audit(trimmed, client, channels=CHANNELS, rules=RULES, repair=repair)

        assert result.ok, result.missing_ids
        assert (result.repaired, result.unjudged_images) == (0, 2)


def test_a_confirmation_of_a_trimmed_journal_stores_no_image_that_never_was(trimmed: _Trimmed) -> None:
    now, counts = [0.0], ConfirmationStatistics()
    trimmed.acknowledge(CONSUMER, 6)
    trimmed.acknowledge(DELIVERY, len(_TRIMMED))
    server = FakePulseStream(lambda: now[0], commit_seconds=0.0)
    delivered = _delivered()
    server.post_batch(delivered)
    trail = Trail(
        trimmed,
        Prover(server, refused=lambda _letter: None, stop=threading.Event(), statistics=counts.posts),
        mode="all",
        channels=CHANNELS,
        rules=RULES,
        after_seconds=1.0,
        first_seconds=1.0,
        statistics=counts,
        clock=lambda: now[0],
    )

    while trimmed.cursor(CONSUMER) < len(_TRIMMED):
        wait = trail.step()
        now[0] += wait or 0.0

    assert server.rows.keys() == {event.event_id for event in delivered}
    assert counts.missing == 0
