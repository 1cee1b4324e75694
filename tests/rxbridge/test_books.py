"""Order books in the chain: images that depend on the frames alone, so that a restart and an audit find the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators import OrderBook
from rxbridge.books import Books, resumed
from rxbridge.confirmation.reading import EventMaker
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import MemoryJournal
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import OWN_CONNECTION, BookImage, BookSnapshot, BookUpdate, Frame, Heartbeat

SECOND = 10**9
OPENED = 1_700_000_000 * SECOND
LATER = OPENED + 1000 * SECOND
RULES = EventRules(book_depth=2, book_seconds=1.0)
CHANNELS = ("level2",)


def frame(content: Any, at: float = 0.0, line: int = OPENED) -> Frame:
    data = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    return Frame(data, line + int(at * SECOND), line, 0)


def snapshot(bid: str, ask: str, at: float = 0.0, product: str = "BTC-USD", line: int = OPENED) -> Frame:
    content = {"type": "snapshot", "product_id": product, "bids": [[bid, "1.50"]], "asks": [[ask, "2"]]}
    return frame(content, at, line)


def update(side: str, price: str, size: str, at: float = 0.0, *, product: str = "BTC-USD", line: int = OPENED) -> Frame:
    return frame({"type": "l2update", "product_id": product, "changes": [[side, price, size]]}, at, line)


def heartbeat(at: float, line: int = OPENED) -> Frame:
    return frame({"type": "heartbeat", "product_id": "BTC-USD"}, at, line)


def numbered(frames: Sequence[Frame]) -> list[Frame]:
    """As they stand in a journal: by offset, and by the place on their connection."""
    placed = Counter[int]()
    numbers: list[Frame] = []
    for offset, one in enumerate(frames, 1):
        numbers.append(Frame(one.data, one.received_at, one.connection, placed[one.connection], offset))
        placed[one.connection] += 1
    return numbers


def images(*frames: Frame, books: Books | None = None) -> list[BookImage]:
    kept = Books(RULES) if books is None else books
    found: list[BookImage] = []
    for one in numbered(frames):
        found += [message for message in kept.read(one) if isinstance(message, BookImage)]
    return found


def test_an_image_comes_with_the_first_frame_after_its_moment() -> None:
    frames = [
        snapshot("9.5", "10.0", at=0.1),
        update("buy", "9.60", "0.25", at=0.9),
        heartbeat(1.2),
        heartbeat(2.2),
        update("sell", "10.0", "0.000", at=2.3),
        update("sell", "10.1", "3", at=2.4),
        heartbeat(5.0),
    ]
    first, second = images(*frames)

    assert (first.product_id, first.bids, first.asks) == (
        "BTC-USD",
        (("9.60", "0.25"), ("9.5", "1.50")),
        (("10.0", "2"),),
    )
    assert (first.at, first.is_reset, first.frame.data) == (OPENED + int(0.9 * SECOND), True, frames[2].data)
    assert (second.asks, second.at, second.is_reset) == ((("10.1", "3"),), OPENED + int(2.4 * SECOND), False)


def test_what_is_below_the_depth_is_no_change() -> None:
    frames = [snapshot("9", "10"), update("buy", "8", "1"), heartbeat(1), update("buy", "7", "1", at=1), heartbeat(2)]

    assert len(images(*frames)) == 1


def test_a_new_connection_begins_anew() -> None:
    frames = [
        snapshot("9", "10"),
        heartbeat(1),
        update("buy", "9.1", "1", line=LATER),
        heartbeat(1, line=LATER),
        snapshot("8", "11", at=1, line=LATER),
        heartbeat(2, line=LATER),
    ]
    first, second = images(*frames)

    assert (first.bids, second.bids) == ((("9", "1.50"),), (("8", "1.50"),))
    assert second.is_reset


def test_products_have_books_of_their_own() -> None:
    frames = [snapshot("9", "10"), snapshot("1", "2", product="ETH-USD"), heartbeat(1), heartbeat(2)]

    assert [(one.product_id, one.bids[0][0]) for one in images(*frames)] == [("BTC-USD", "9"), ("ETH-USD", "1")]


def test_a_crossed_book_is_told_of_once() -> None:
    told: list[tuple[str, str]] = []
    books = Books(RULES)
    books.troubled = lambda product, text: told.append((product, text))
    frames = [
        snapshot("9", "10"),
        update("buy", "10", "1"),
        heartbeat(1),
        update("buy", "11", "1", at=1),
        heartbeat(2),
        update("buy", "11", "0", at=2),
        update("buy", "10", "0", at=2),
        heartbeat(3),
    ]

    assert [one.is_crossed for one in images(*frames, books=books)] == [True, True, False]
    assert told == [("BTC-USD", "it is crossed: 10 is bid, and 10 asked")]


@pytest.mark.parametrize(
    "odd",
    [
        update("up", "9", "1"),
        update("buy", "nine", "1"),
        update("buy", "9", "-1"),
        frame({"type": "l2update", "product_id": "BTC-USD", "changes": [["buy"]]}),
        frame({"type": "snapshot", "product_id": "BTC-USD", "bids": [["NaN", "1"]], "asks": []}),
        frame({"type": "snapshot", "product_id": "BTC-USD", "asks": [["10", "1"]]}),
        frame({"type": "l2update", "product_id": "BTC-USD"}),
        frame({"type": "l2update", "product_id": "BTC-USD", "changes": None}),
        frame({"channel": "l2_data", "events": [{"type": "update", "product_id": "BTC-USD"}]}),
        frame({"channel": "l2_data", "events": [{"product_id": "BTC-USD", "updates": []}]}),
        frame(
            {
                "channel": "l2_data",
                "events": [
                    {
                        "type": "snapshot",
                        "product_id": "BTC-USD",
                        "updates": [{"side": "up", "price_level": "9", "new_quantity": "1"}],
                    }
                ],
            }
        ),
    ],
)
def test_a_book_that_cannot_be_followed_waits_for_its_next_snapshot(odd: Frame) -> None:
    told: list[tuple[str, str]] = []
    books = Books(RULES)
    books.troubled = lambda product, text: told.append((product, text))
    frames = [snapshot("9", "10"), odd, update("buy", "9", "1"), heartbeat(1), snapshot("1", "2", at=1), heartbeat(2)]

    assert [one.bids[0][0] for one in images(*frames, books=books)] == ["1"]
    ((product, text),) = told
    assert product == "BTC-USD"
    assert "cannot be followed" in text


@pytest.mark.parametrize(
    "odd",
    [
        frame(b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","9'),
        frame(b'{"channel":"l2_data","events":[{"type":"update","product_id":"BTC'),
        frame(b"\xff\xfe"),
        frame({"type": "l2update", "product_id": {}, "changes": [["buy", "9", "0"]]}),
        frame({"type": "l2update", "changes": [["buy", "9", "0"]]}),
    ],
)
def test_what_may_have_been_of_any_book_makes_every_book_wait(odd: Frame) -> None:
    told: list[str] = []
    books = Books(RULES)
    books.troubled = lambda product, _: told.append(product)
    frames = [snapshot("9", "10"), snapshot("1", "2", product="ETH-USD"), odd, heartbeat(1)]

    assert images(*frames, books=books) == []
    assert told == [""]


@pytest.mark.parametrize("odd", [b'{"type":"ticker","pro', b'{"type":"match","price":{}}', b'{"channel":"ticker","e'])
def test_a_damaged_frame_of_another_kind_harms_no_book(odd: bytes) -> None:
    assert len(images(snapshot("9", "10"), frame(odd), heartbeat(1))) == 1


@pytest.mark.parametrize("number", ["1e300", "1e-300", "1" * 101, "1e999999999999"])
def test_a_number_of_no_end_is_never_written_out(number: str) -> None:
    told: list[str] = []
    books = Books(RULES)
    books.troubled = lambda product, _: told.append(product)

    assert images(snapshot(number, "10"), heartbeat(1), books=books) == []
    assert images(snapshot("9", "10", at=2), update("sell", "10", number, at=2), heartbeat(3), books=books) == []
    assert told == ["BTC-USD", "BTC-USD"]


def test_neither_books_nor_their_levels_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxbridge.book_lines.MOST_LEVELS", 4)
    monkeypatch.setattr("rxbridge.books.MOST_BOOKS", 2)
    told: list[str] = []
    books = Books(RULES)
    books.troubled = lambda product, _: told.append(product)
    frames = [
        snapshot("9", "10", product="A"),
        snapshot("9", "10", product="B"),
        snapshot("9", "10", product="C"),
        *[update("buy", "9", str(size), product="A") for size in range(1, 20)],
        *[update("buy", str(price), "1", product="B") for price in range(6)],
        snapshot("9", "10", product="A"),
        heartbeat(1),
    ]

    assert [image.product_id for image in images(*frames, books=books)] == ["A"]
    assert told == ["C", "B"]


def test_a_frame_that_makes_no_message_has_its_images_all_the_same() -> None:
    frames = [snapshot("9", "10"), frame({"type": "ticker", "price": {}}, 1), heartbeat(1)]

    assert [image.frame.data for image in images(*frames)] == [frames[1].data]


def test_frames_that_were_lost_make_every_book_wait() -> None:
    def advanced(number: int, kind: str = "update", at: float = 0.0) -> Frame:
        levels = [{"side": "bid", "price_level": "9", "new_quantity": "1"}]
        event = {"type": kind, "product_id": "BTC-USD", "updates": levels}
        return frame({"channel": "l2_data", "sequence_num": number, "events": [event]}, at)

    assert len(images(advanced(0, "snapshot"), advanced(1, at=1))) == 1
    assert images(advanced(0, "snapshot"), advanced(2), advanced(3, at=1)) == []

    # One that the journal has lost may have been an update.
    frames = [snapshot("9", "10"), heartbeat(0), heartbeat(1), update("buy", "9.5", "1", 1.5), heartbeat(2)]
    first, _, *others = numbered(frames)
    books = Books(RULES)
    assert [type(message) for one in (first, *others) for message in books.read(one)] == [
        BookSnapshot,
        BookImage,  # what was before the loss is true
        Heartbeat,
        BookUpdate,
        Heartbeat,
    ]


def test_what_the_journal_had_no_room_for_makes_every_book_wait() -> None:
    first, _, *others = numbered([snapshot("9", "10"), update("buy", "9", "0"), heartbeat(1), heartbeat(2)])
    stored = [Frame(one.data, one.received_at, OPENED, one.index, at) for at, one in enumerate((first, *others), 1)]
    told: list[str] = []
    books = Books(RULES)
    books.troubled = lambda product, _: told.append(product)
    changed = Frame(update("buy", "8", "1").data, OPENED + SECOND, OPENED, 4, 4)

    made = [message for one in (*stored, changed) for message in books.read(one)]
    assert [message.frame.offset for message in made if isinstance(message, BookImage)] == [2]
    assert told == [""]


def test_an_empty_journal_has_no_books_and_is_no_damaged_one(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "journal") as journal:
        assert images(heartbeat(1), books=resumed(RULES, journal, 0)) == []
        assert list(tmp_path.glob("*.corrupt-*")) == []


@pytest.mark.parametrize("first", [0, 1])
def test_books_know_whether_the_beginning_of_their_connection_is_kept(first: int) -> None:
    with MemoryJournal() as journal:
        for one in numbered([snapshot("9", "10"), heartbeat(1), heartbeat(2)])[first:]:
            journal.append(one)
        assert journal.flush(10.0)
        assert resumed(RULES, journal, 1).is_whole is (first == 0)


def test_what_rxbridge_wrote_itself_is_no_book() -> None:
    own = Frame(snapshot("9", "10").data, OPENED, OWN_CONNECTION, 0)

    assert images(own, heartbeat(1)) == []


_moves = st.lists(
    st.one_of(
        st.tuples(st.just("snapshot"), st.sampled_from("AB"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["buy", "sell"]), st.sampled_from("AB"), st.integers(1, 9)),
        st.tuples(st.just("connect"), st.just(""), st.just(0)),
        st.tuples(st.just("garbage"), st.just(""), st.just(0)),
        st.tuples(st.just("own"), st.just(""), st.just(0)),
        st.tuples(st.just("heartbeat"), st.just(""), st.just(0)),
    ),
    max_size=40,
)


def _frames(moves: list[tuple[str, str, int]]) -> list[Frame]:
    line, frames = OPENED, list[Frame]()
    for number, (kind, product, value) in enumerate(moves):
        at = number * 0.4
        match kind:
            case "snapshot":
                one = snapshot(str(value), str(value + 4), at, product, line)
            case "connect":
                line += 100 * SECOND
                continue
            case "garbage":
                one = frame(b"{", at, line)
            case "own":
                one = Frame(b'{"type":"match","product_id":"A","trade_id":1}', line, OWN_CONNECTION, 0)
            case "heartbeat":
                one = heartbeat(at, line)
            case side:
                one = update(side, str(value), str(number % 3), at, product=product, line=line)
        frames.append(one)
    return frames


def _made(journal: MemoryJournal, after: int) -> list[EncodedEvent]:
    make = EventMaker(channels=CHANNELS, rules=RULES, kept_books=resumed(RULES, journal, after))
    made = list[EncodedEvent]()
    for one in journal.read(after, 1000):
        made += (events := make(one))
        # Whoever looks for an event finds it at its offset.
        assert all(event.offset == one.offset for event in events)
    return made


@settings(deadline=None)
@given(_moves, st.integers(0, 40))
def test_whoever_begins_anywhere_finds_the_same_images(moves: list[tuple[str, str, int]], after: int) -> None:
    frames = _frames(moves)
    after = min(after, len(frames))
    with MemoryJournal() as journal:
        for one in numbered(frames):
            journal.append(one)
        assert journal.flush(10.0)
        whole = _made(journal, 0)
        rest = _made(journal, after)

    expected = [event for event in whole if event.offset > after]
    assert [event.event_id for event in rest if event.offset > after] == [event.event_id for event in expected]
    assert [event.title for event in rest if event.offset > after] == [event.title for event in expected]


@settings(deadline=None)
@given(_moves)
def test_an_image_is_the_top_of_the_book_that_the_messages_make(moves: list[tuple[str, str, int]]) -> None:
    books: dict[str, OrderBook] = {}
    line = 0
    kept = Books(RULES)
    for one in numbered([one for one in _frames(moves) if one.data != b"{"]):
        *due, message = kept.read(one)
        for image in due:
            assert isinstance(image, BookImage)
            bids, asks = books[image.product_id].top(RULES.book_depth)
            assert image.bids == tuple((f"{price:f}", f"{size:f}") for price, size in bids)
            assert image.asks == tuple((f"{price:f}", f"{size:f}") for price, size in asks)
        if one.connection not in (OWN_CONNECTION, line):
            line = one.connection
            books.clear()
        if isinstance(message, BookSnapshot) and message.product_id:
            books[message.product_id] = OrderBook()
            books[message.product_id].apply_snapshot(message.bids, message.asks)
        elif isinstance(message, BookUpdate) and message.product_id in books:
            books[message.product_id].apply_update(message.changes)
