"""That the suite reads a journal of Advanced Trade aright, and notices what is not on record."""

import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from rxbridge.journal import MarketGap, SqliteJournal
from rxbridge.messages import OWN_CONNECTION, Frame
from tests.chaos.books import Books, read_books
from tests.chaos.kinds import PRODUCTS
from tests.chaos.quotes import disconnects, lost_frames
from tests.chaos.schedule import planned

WITHOUT_BOOKS = planned(1, [], seconds=1.0, rate=20.0, feed="advanced")
WITH_BOOKS = planned(1, [], seconds=1.0, rate=20.0, feed="advanced", books=True)


def advanced(number: int | None, channel: str = "ticker", **event: Any) -> bytes:
    frame = {"channel": channel, "timestamp": "2026-01-01T00:00:00Z", "sequence_num": number, "events": [event]}
    return json.dumps(frame, separators=(",", ":")).encode()


def ticker(number: int | None) -> bytes:
    return advanced(number, type="update", tickers=[{"product_id": product} for product in PRODUCTS])


def books_of(folder: Path, frames: Iterable[tuple[int, bytes]], gaps: Iterable[MarketGap] = ()) -> Books:
    """What a journal says of these frames, each with its connection; the first was received at 1, and so on."""
    path = folder / "journal"
    with closing(SqliteJournal(path, role="both")) as journal:
        for at, (connection, data) in enumerate(frames, 1):
            journal.append(Frame(data, at, connection, at))
        journal.record_market_gaps(list(gaps))
        assert journal.flush(30)
    return read_books(path)


def gap(first: int, last: int, *, products: tuple[str, ...] = PRODUCTS, channel: str = "ticker") -> MarketGap:
    return MarketGap("quotes", products, channel, first, last, "", 1)


def test_a_frame_holds_trades_by_their_ids_a_snapshot_too_and_what_is_damaged_is_passed_over(tmp_path: Path) -> None:
    trades = [
        {"product_id": "BTC-USD", "trade_id": "12"},
        None,
        {"product_id": "BTC-USD", "trade_id": None},
        {"product_id": "BTC-USD", "trade_id": "11"},
    ]
    own = json.dumps({"type": "match", "product_id": "BTC-USD", "trade_id": 13}).encode()
    frames = [
        (7, advanced(0, "market_trades", type="snapshot", trades=trades)),
        (7, advanced(1, "market_trades", type="update", trades=None)),
        (7, advanced(2, "l2_data", type="update", product_id="BTC-USD", updates=[])),
        (7, advanced(3, "heartbeats")),
        (7, b'{"channel":"market_trades","events":7}'),
        (OWN_CONNECTION, own),
    ]

    books = books_of(tmp_path, frames)

    assert books.trades_seen("BTC-USD") == {11, 12, 0}
    assert [entry.kind for entry in books.entries] == ["trade"] * 3 + ["book", "trade"]
    assert books.connections("book") == [7]
    assert books.waiting == len(frames) - 1  # all but the heartbeat


def test_frames_that_are_missing_by_their_numbers_must_be_on_record(tmp_path: Path) -> None:
    frames = [(7, ticker(number)) for number in (0, 1, 4, 5)]

    (told,) = lost_frames(WITHOUT_BOOKS, books_of(tmp_path, frames, [gap(2, 3, products=("BTC-USD",))]))
    assert told == "1 of 1 losses of frames without a gap of ticker of ETH-USD"

    assert list(lost_frames(WITH_BOOKS, books_of(tmp_path / "other", frames, [gap(2, 3)]))) == [
        f"1 of 1 losses of frames without a gap of level2 of {product}" for product in PRODUCTS
    ]


def test_a_gap_counts_that_lasts_longer_and_none_that_ends_before(tmp_path: Path) -> None:
    frames = [(6, ticker(0)), (7, ticker(0)), (7, ticker(3)), (7, ticker(4))]

    assert not list(lost_frames(WITHOUT_BOOKS, books_of(tmp_path, frames, [gap(1, 4)])))
    assert len(list(lost_frames(WITHOUT_BOOKS, books_of(tmp_path / "other", frames, [gap(1, 2)])))) == 2


def test_a_frame_that_is_late_or_there_twice_or_has_no_number_or_was_own_is_no_loss(tmp_path: Path) -> None:
    frames = [
        (7, ticker(0)),
        (7, ticker(1)),
        (7, ticker(1)),
        (OWN_CONNECTION, b'{"type":"rxbridge_gap"}'),
        (7, ticker(0)),
        (7, b"<html>"),
        (7, ticker(2)[:-20]),
        (7, ticker(None)),
        (7, ticker(3)),
        (8, ticker(5)),
    ]

    assert books_of(tmp_path, frames).jumps == []


def test_a_gap_within_a_connection_is_no_record_of_the_disconnect_after_it(tmp_path: Path) -> None:
    frames = [(7, ticker(0)), (7, ticker(2)), (8, ticker(0))]

    told = list(disconnects(WITHOUT_BOOKS, books_of(tmp_path, frames, [gap(1, 2)])))
    assert told == [f"1 of 1 disconnects without a gap of ticker of {product}" for product in PRODUCTS]

    assert not list(disconnects(WITHOUT_BOOKS, books_of(tmp_path / "other", frames, [gap(1, 2), gap(2, 3)])))


def test_books_have_disconnects_of_their_own(tmp_path: Path) -> None:
    book = {"type": "update", "product_id": "BTC-USD", "updates": []}
    frames = [(line, data) for line in (7, 8) for data in (ticker(0), advanced(1, "l2_data", **book))]

    told = list(disconnects(WITH_BOOKS, books_of(tmp_path, frames, [gap(2, 3)])))

    assert told == [f"1 of 1 disconnects without a gap of level2 of {product}" for product in PRODUCTS]
