"""What one sees of things in a notebook: a short line that says what matters, and a table in which nothing is live."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from operators.book_view import BookMessage, BookView
from operators.order_book import Level
from rxbridge.coinbase.decoding import decode
from rxbridge.messages import Frame, Ticker
from rxbridge.telemetry.statistics import (
    BackfillStatistics,
    ConfirmationStatistics,
    DeliveryStatistics,
    FeedStatistics,
    Statistics,
)

AT = 1_700_000_000_123_456_789
HOSTILE = "<script>alert(1)</script>"


def test_a_frame_of_megabytes_is_a_line() -> None:
    shown = repr(Frame(b"x" * 5_000_000, AT, 7, 3, 9))

    assert shown.startswith("<Frame of 5,000,000 bytes, received 2023-11-14T22:13:20.123457Z, connection 7, index 3, ")
    assert len(shown) < 300


@pytest.mark.parametrize("at", [0, -1, 2**62])
def test_a_frame_of_any_time_is_shown(at: int) -> None:
    assert "<Frame of 2 bytes" in repr(Frame(b"{}", at, 0, 0))


def test_a_message_says_what_it_says_and_no_more() -> None:
    assert repr(Ticker(product_id="BTC-USD", price="1.5")) == "Ticker(product_id='BTC-USD', price='1.5')"


def test_a_snapshot_of_megabytes_is_a_line() -> None:
    levels = [["1", "2"]] * 100_000
    data = msgspec.json.encode({"type": "snapshot", "product_id": "BTC-USD", "bids": levels, "asks": levels})
    (snapshot,) = decode(Frame(data, AT, 1, 0))

    assert repr(snapshot).startswith("BookSnapshot(product_id='BTC-USD', bids_data='")
    assert len(repr(snapshot)) < 200
    assert len(snapshot._repr_html_()) < 1000


def test_a_view_of_a_book_shows_its_best_and_what_is_wrong() -> None:
    level = Level(Decimal("9.5"), Decimal(2))
    view = BookView[BookMessage]("BTC-USD", (level,), (), datetime.now(UTC), stale=True)

    assert repr(view) == "<BookView of BTC-USD: 9.5 x 2 bid, nothing asked, 1 and 0 levels, stale>"
    assert "<td>9.5</td>" in view._repr_html_()


def test_statistics_show_what_is_not_zero() -> None:
    now = Statistics(
        feed=FeedStatistics(frames=3, rejected_products={HOSTILE: "no"}),
        backfill=BackfillStatistics(),
        delivery=DeliveryStatistics(),
        confirmation=ConfirmationStatistics(),
        journal_bytes=0,
        arrived_frames=3,
        waiting_frames=0,
        dropped_frames=0,
        let_go_frames=0,
        oldest_waiting_seconds=0.0,
        market_gaps=0,
        overloaded=False,
    )

    assert repr(now).startswith("Statistics(feed.frames=3, feed.rejected_products={")
    assert repr(now).endswith("arrived_frames=3)")
    assert HOSTILE not in now._repr_html_()


def test_nothing_that_came_from_outside_is_live_in_a_page() -> None:
    ticker = Ticker(product_id=HOSTILE, frame=Frame(HOSTILE.encode(), AT, 1, 0))
    view = BookView[BookMessage](HOSTILE, (), (), datetime.now(UTC))

    for shown in (ticker, ticker.frame, view):
        assert HOSTILE not in shown._repr_html_()
