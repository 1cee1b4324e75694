"""Which books are in doubt, and by which frame: what the feed half is asked to begin anew."""

from __future__ import annotations

from typing import Any

import pytest

from rxbridge.books import Books
from rxbridge.events import EventRules
from rxbridge.messages import OWN_CONNECTION, Frame
from tests.rxbridge.test_books import OPENED, RULES, frame, heartbeat, numbered, snapshot, update


def trade(number: int, at: float, kind: str = "match", product: str = "BTC-USD") -> Frame:
    content = {"type": kind, "trade_id": number, "product_id": product, "price": "9.5", "size": "1", "side": "buy"}
    return frame(content, at)


def doubts(*frames: Frame, rules: EventRules = RULES) -> list[tuple[int, str, int]]:
    found: list[tuple[int, str, int]] = []
    books = Books(rules)
    books.doubted = lambda connection, product, index: found.append((connection, product, index))
    for one in numbered(frames):
        books.read(one)
    return found


def test_a_crossed_book_is_in_doubt_once_until_it_is_begun_anew() -> None:
    frames = [
        snapshot("9", "10"),
        update("buy", "11", "1", at=0.1),
        heartbeat(1.0),
        update("buy", "12", "1", at=1.1),
        heartbeat(2.0),
        snapshot("13", "12", at=2.5),
        heartbeat(3.0),
    ]
    assert doubts(*frames) == [(OPENED, "BTC-USD", 1), (OPENED, "BTC-USD", 5)]


def test_a_book_that_cannot_be_followed_is_in_doubt() -> None:
    broken = frame({"type": "l2update", "product_id": "BTC-USD", "changes": [["buy", "nine", "1"]]}, 0.1)
    assert doubts(snapshot("9", "10"), broken) == [(OPENED, "BTC-USD", 1)]


@pytest.mark.parametrize("content", [b'{"type":"l2update","product_id":"BTC-USD"', b"garbage"])
def test_all_books_of_a_connection_are_in_doubt_if_a_frame_cannot_be_read(content: bytes) -> None:
    assert doubts(snapshot("9", "10"), frame(content, 0.1)) == [(OPENED, "", 1)]


def test_all_books_are_in_doubt_if_a_frame_is_missing_from_the_connection() -> None:
    first, _, third = numbered([snapshot("9", "10"), heartbeat(0.5), heartbeat(0.6)])
    found: list[Any] = []
    books = Books(RULES)
    books.doubted = lambda *about: found.append(about)
    books.read(first)
    books.read(third)
    assert found == [(OPENED, "", 2)]


def test_a_book_without_updates_although_trades_go_on_is_stale() -> None:
    frames = [snapshot("9", "10"), trade(1, 1.0), trade(2, 5.0), trade(3, 11.5), trade(4, 15.0), trade(5, 22.0)]
    assert doubts(*frames) == [(OPENED, "BTC-USD", 3), (OPENED, "BTC-USD", 5)]


def test_a_quiet_book_is_not_stale() -> None:
    frames = [
        snapshot("9", "10"),
        trade(1, 1.0, "last_match"),
        trade(2, 2.0),
        update("buy", "9.1", "1", at=2.05),
        trade(3, 40.0),
        heartbeat(80.0),
        update("buy", "9.2", "1", at=80.5),
        trade(4, 81.0),
        trade(5, 90.0, product="ETH-USD"),
    ]
    assert doubts(*frames) == []


def test_a_trade_from_rest_makes_no_book_stale() -> None:
    late = [Frame(one.data, one.received_at, OWN_CONNECTION, 0) for one in (trade(1, 1.0), trade(2, 20.0))]
    assert doubts(snapshot("9", "10"), *late) == []


def test_a_book_that_is_only_updated_is_in_doubt_again_and_again() -> None:
    frames = [update("buy", "9", "1", at=at) for at in (0.0, 5.0, 10.5, 15.0, 21.0)]
    assert doubts(*frames) == [(OPENED, "BTC-USD", 2), (OPENED, "BTC-USD", 4)]


def test_a_book_that_waited_and_was_begun_waits_no_more() -> None:
    frames = [update("buy", "9", "1"), snapshot("9", "10", at=5.0), update("buy", "9.1", "1", at=30.0)]
    assert doubts(*frames) == []
