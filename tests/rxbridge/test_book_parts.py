"""Whole books in parts: what Coinbase sends is in them, whatever its size, and is a book again for who reads them."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.book_parts import PART_LEVELS
from rxbridge.books import Books
from rxbridge.confirmation.reading import EventMaker
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.events.rebuilding import checksum, rebuilt_books
from rxbridge.journal import DeadLetter
from rxbridge.messages import BookPart, Frame
from rxbridge.pipeline import count_events
from tests.rxbridge.test_books import OPENED, frame, heartbeat, numbered, snapshot, update

FULL = EventRules(book="full")


def made(*frames: Frame, dead: list[DeadLetter] | None = None) -> list[EncodedEvent]:
    letters: list[DeadLetter] = [] if dead is None else dead
    make = EventMaker(channels=("level2",), rules=FULL, kept_books=Books(FULL), dead_letter=letters.append)
    return [event for one in numbered(frames) for event in make(one)]


def payloads(events: list[EncodedEvent]) -> list[dict[str, Any]]:
    return [json.loads(event.body)["payload"] for event in events]


def large(bids: int, asks: int, product: str = "BTC-USD") -> dict[str, Any]:
    return {
        "type": "snapshot",
        "product_id": product,
        "bids": [[f"{50_000 - level / 100:.2f}", f"{level % 7}.12345678"] for level in range(bids)],
        "asks": [[f"{50_001 + level / 100:.2f}", f"{level % 5}.87654321"] for level in range(asks)],
    }


def test_a_small_snapshot_and_an_update_are_an_event_each() -> None:
    first, second = payloads(made(snapshot("9", "10"), heartbeat(1.0), update("buy", "9.5", "0", at=1.5)))
    assert (first["kind"], first["bids"], first["asks"]) == ("snapshot", [["9", "1.50"]], [["10", "2"]])
    assert (first["chunk"], first["chunks"], first["is_complete"], first["levels"]) == (0, 1, True, 2)
    assert first["checksum"] == checksum([("9", "1.50")], [("10", "2")])
    assert (second["kind"], second["bids"], second["asks"]) == ("update", [["9.5", "0"]], [])
    assert (first["connection"], first["frame"], second["frame"]) == (str(OPENED), 0, 2)


def test_a_large_snapshot_is_split_and_the_last_part_says_that_it_is_complete() -> None:
    content = large(23_000, 23_000)
    events = made(frame(content))
    parts = payloads(events)
    assert len(parts) == 10
    assert [part["is_complete"] for part in parts] == [False] * 9 + [True]
    assert [level for part in parts for level in part["bids"]] == content["bids"]
    assert [level for part in parts for level in part["asks"]] == content["asks"]
    assert [event.ends_frame for event in events] == [False] * 9 + [True]
    assert len({event.event_id for event in events}) == 10
    assert all(len(event.event_id) <= 100 and len(event.body) < 1_000_000 for event in events)


def test_the_longest_numbers_stay_below_the_limits_of_pulsestream() -> None:
    number = "9" * 100
    rows = [[number, number]] * PART_LEVELS
    (event,) = made(frame({"type": "snapshot", "product_id": "BTC-USD", "bids": rows, "asks": []}))
    # It measures a payload parsed and written again, with spaces.
    assert len(json.dumps(json.loads(event.body)["payload"])) < 10_485_760


def test_a_frame_of_advanced_trade_with_several_books_is_done_with_its_last_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rxbridge.book_parts.PART_LEVELS", 2)

    def event(product: str) -> dict[str, Any]:
        level = {"side": "bid", "event_time": "2026-01-31T08:00:00Z", "price_level": "9", "new_quantity": "1"}
        return {"type": "snapshot", "product_id": product, "updates": [level] * 3}

    content = {
        "channel": "l2_data",
        "timestamp": "2026-01-31T08:00:00Z",
        "sequence_num": 0,
        "events": [event("BTC-USD"), event("ETH-USD")],
    }
    events = made(frame(content))
    assert [event.ends_frame for event in events] == [False, False, False, True]
    assert [(part["product_id"], part["message"], part["chunk"]) for part in payloads(events)] == [
        ("BTC-USD", 0, 0),
        ("BTC-USD", 0, 1),
        ("ETH-USD", 1, 0),
        ("ETH-USD", 1, 1),
    ]
    assert {part["feed"] for part in payloads(events)} == {"advanced"}


@pytest.mark.parametrize(
    "content",
    [
        {"type": "snapshot", "product_id": "BTC-USD", "bids": [["nine", "1"]], "asks": []},
        {"type": "snapshot", "product_id": "BTC-USD", "bids": [["9" * 101, "1"]], "asks": []},
        {"type": "snapshot", "product_id": "BTC-USD", "bids": [["9", "1\n"]], "asks": []},
        {"type": "snapshot", "product_id": "BTC-USD"},
        {"type": "snapshot", "bids": [], "asks": []},
        {"type": "l2update", "product_id": "BTC-USD", "changes": [["left", "9", "1"]]},
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(content: dict[str, Any]) -> None:
    dead: list[DeadLetter] = []
    assert made(frame(content), dead=dead) == []
    assert [letter.stage for letter in dead] == ["parse"]


def test_the_same_frames_make_the_same_events_and_others_make_others() -> None:
    frames = [snapshot("9", "10"), snapshot("9", "10"), update("buy", "9.5", "0", at=1.5)]
    ids = [event.event_id for event in made(*frames)]
    assert ids == [event.event_id for event in made(*frames)]
    assert len(set(ids)) == 3


def test_a_rebuilt_book_is_that_of_the_feed() -> None:
    frames = [
        frame(large(6_000, 6_000)),
        update("buy", "50000.00", "7", at=1.0),
        update("sell", "50001.00", "0", at=2.0),
    ]
    parts = payloads(made(*frames))
    Random(7).shuffle(parts)
    book = rebuilt_books(parts)["BTC-USD"]
    assert (str(book.bids(1)[0].size), str(book.asks(1)[0].price)) == ("7", "50001.01")
    # Sizes of zero are no levels.
    assert len(book.bids()) == len([None for level in large(6_000, 0)["bids"] if not level[1].startswith("0.0")])


def lose_one(parts: list[dict[str, Any]]) -> None:
    del parts[1]


def lose_the_last(parts: list[dict[str, Any]]) -> None:
    del parts[2]


def change_one(parts: list[dict[str, Any]]) -> None:
    parts[1]["bids"][0][1] = "99"


@pytest.mark.parametrize("damage", [lose_one, lose_the_last, change_one])
def test_a_snapshot_that_is_not_whole_is_no_book(damage: Callable[[list[dict[str, Any]]], None]) -> None:
    parts = payloads(made(frame(large(6_000, 6_000))))
    assert len(parts) == 3
    damage(parts)
    told: list[str] = []
    assert rebuilt_books(parts, troubled=lambda product, _: told.append(product)) == {}
    assert told == ["BTC-USD"]


def test_a_later_connection_begins_anew() -> None:
    later = OPENED + 10**12
    frames = [snapshot("9", "10"), snapshot("8", "11", line=later), update("buy", "8.5", "1", at=1.0, line=later)]
    book = rebuilt_books(payloads(made(*frames)))["BTC-USD"]
    assert [str(level.price) for level in book.bids()] == ["8.5", "8"]


def test_a_later_connection_of_the_same_line_ends_the_books_of_the_one_before() -> None:
    later = OPENED + 10**12
    frames = [
        snapshot("9", "10"),
        snapshot("7", "12", product="ETH-USD"),
        snapshot("99", "100", line=later),
        update("buy", "99.5", "1", at=1.0, line=later),
    ]
    parts = payloads(made(*frames))
    parts[-1]["checksum"] = "0" * 64
    told: list[tuple[str, str]] = []

    assert rebuilt_books(parts, troubled=lambda *trouble: told.append(trouble)) == {}
    assert told == [("BTC-USD", "its parts do not have its checksum")]


def test_the_connection_of_another_line_stands_in_for_one_that_has_the_book_no_more() -> None:
    later = OPENED + 10**12
    frames = [
        snapshot("9", "10", line=OPENED + 1),
        snapshot("8", "11"),
        heartbeat(0.5),
        snapshot("7", "12", line=later),
    ]
    parts = payloads(made(*frames))
    (book,) = rebuilt_books(parts).values()
    assert str(book.bids(1)[0].price) == "7"
    parts[-1]["checksum"] = "0" * 64
    (book,) = rebuilt_books(parts).values()
    assert str(book.bids(1)[0].price) == "9"


def test_updates_without_a_snapshot_are_told_of_once() -> None:
    frames = [snapshot("9", "10"), *(update("buy", price, "1", at=1.0) for price in ("9.1", "9.2", "9.3"))]
    told: list[tuple[str, str]] = []

    assert rebuilt_books(payloads(made(*frames))[1:], troubled=lambda *trouble: told.append(trouble)) == {}
    assert told == [("BTC-USD", "it has updates and no snapshot")]


def test_a_missing_message_is_told_of_where_it_leaves_the_book_crossed() -> None:
    frames = [
        snapshot("9", "10"),
        update("sell", "10", "0", at=1.0),
        update("buy", "10.5", "1", at=2.0),
        update("buy", "10.6", "1", at=3.0),
    ]
    parts = payloads(made(*frames))
    del parts[1]
    told: list[tuple[str, str]] = []

    assert rebuilt_books(parts, troubled=lambda *trouble: told.append(trouble)).keys() == {"BTC-USD"}
    assert told == [("BTC-USD", "it is crossed, so something of it is missing")]


@given(
    st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 30), st.integers(0, 3)), max_size=60), st.data()
)
def test_whatever_is_updated_the_rebuilt_book_is_a_dict_of_the_levels(
    changes: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    frames = [snapshot("9", "10")]
    expected: dict[str, dict[str, str]] = {"buy": {"9": "1.50"}, "sell": {"10": "2"}}
    for side, price, size in changes:
        frames.append(update(side, str(price), str(size), at=0.1))
        expected[side][str(price)] = str(size)
    parts = data.draw(st.permutations(payloads(made(*frames))))
    book = rebuilt_books(parts)["BTC-USD"]
    for side, levels in (("buy", book.bids()), ("sell", book.asks())):
        assert {str(level.price): str(level.size) for level in levels} == {
            price: size for price, size in expected[side].items() if size != "0"
        }


def test_parts_count_where_frames_are_given_up() -> None:
    whole = frame(large(6_000, 6_000))
    assert count_events(whole, ("level2",)) == 0
    assert count_events(whole, ("level2",), whole_books=True) == 3
    assert count_events(whole, ("ticker",), whole_books=True) == 0


def test_parts_are_messages_of_their_frame() -> None:
    (one,) = numbered([snapshot("9", "10")])
    (part,) = Books(FULL).read(one)
    assert isinstance(part, BookPart)
    assert part.frame is one


def test_the_example_of_the_document_is_true() -> None:
    document = Path(__file__).parents[2] / "docs" / "events.md"
    _, example = document.read_text(encoding="utf-8").split("### Whole books")
    test = doctest.DocTestParser().get_doctest(example.split("\n## ")[0], {}, document.name, str(document), 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
