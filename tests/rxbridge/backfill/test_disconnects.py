"""What a disconnect costs of a channel that cannot be replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from rxbridge.backfill import Backfill
from rxbridge.events import event_id
from rxbridge.journal import Journal, MemoryJournal
from rxbridge.messages import Frame
from tests.rxbridge.backfill.support import (
    OPENED,
    SECOND,
    FakeRest,
    append,
    eventually,
    frame,
    gaps,
    heartbeat,
    match,
    notices,
    ticker,
)

Run: TypeAlias = Callable[..., Backfill]
FIRST, SECOND_ONE, THIRD = OPENED, OPENED + 100 * SECOND, OPENED + 200 * SECOND
PRODUCTS = ("BTC-USD", "ETH-USD")


def at(seconds: float, make: Callable[..., Frame], connection: int = FIRST, trade_id: int = 5) -> Frame:
    return make(trade_id, connection=connection, received_at=int(OPENED + seconds * SECOND))


def followed(journal: Journal, rest: FakeRest, run: Run, **settings: object) -> None:
    backfill = run(journal, rest, products=PRODUCTS, unreplayable_channels=("ticker",), **settings)
    eventually(lambda: backfill.idle)
    assert backfill.drain(10.0)


def test_a_disconnect_is_a_gap_from_the_last_frame_to_the_first_of_the_channel(
    journal: Journal, rest: FakeRest, run: Run
) -> None:
    append(journal, at(1, ticker), at(9, heartbeat))
    append(journal, at(101, heartbeat, SECOND_ONE), at(102, match, SECOND_ONE), at(103, ticker, SECOND_ONE))
    append(journal, at(104, ticker, SECOND_ONE))
    followed(journal, rest, run)

    assert gaps(journal) == [("quotes", "ticker", OPENED + 9 * SECOND, OPENED + 103 * SECOND)]
    (gap,) = journal.market_gaps()
    assert gap.products == PRODUCTS
    (notice,) = notices(journal)
    assert (notice.kind, notice.products, notice.channel, notice.first, notice.last, notice.reason) == (
        gap.kind,
        gap.products,
        gap.channel,
        gap.first,
        gap.last,
        gap.reason,
    )
    assert "94.0 s" in gap.reason


def test_a_first_connection_has_cost_nothing(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, at(1, heartbeat), at(9, ticker))
    followed(memory, rest, run)

    assert gaps(memory) == []


def test_what_can_be_replayed_is_no_gap(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, at(1, match), at(101, match, SECOND_ONE))
    backfill = run(memory, rest, products=PRODUCTS)
    eventually(lambda: backfill.idle)

    assert gaps(memory) == []


def test_a_restart_after_a_night_is_a_disconnect(journal: Journal, rest: FakeRest, run: Run) -> None:
    append(journal, at(1, ticker))
    followed(journal, rest, run)
    append(journal, at(101, ticker, SECOND_ONE))
    followed(journal, rest, run)

    assert gaps(journal) == [("quotes", "ticker", OPENED + SECOND, OPENED + 101 * SECOND)]


def test_a_restart_before_the_channel_is_heard_again_changes_nothing(
    journal: Journal, rest: FakeRest, run: Run
) -> None:
    append(journal, at(1, ticker), at(101, heartbeat, SECOND_ONE))
    followed(journal, rest, run)
    assert gaps(journal) == []
    append(journal, at(105, ticker, SECOND_ONE))
    followed(journal, rest, run)

    assert gaps(journal) == [("quotes", "ticker", OPENED + SECOND, OPENED + 105 * SECOND)]


def test_a_second_disconnect_before_that_makes_the_gap_longer(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, at(1, ticker), at(101, heartbeat, SECOND_ONE), at(203, ticker, THIRD))
    followed(memory, rest, run)

    assert gaps(memory) == [("quotes", "ticker", OPENED + SECOND, OPENED + 203 * SECOND)]


def test_each_disconnect_is_a_gap_of_its_own(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, at(1, ticker), at(101, ticker, SECOND_ONE), at(203, ticker, THIRD))
    followed(memory, rest, run)

    assert len(gaps(memory)) == 2
    assert len({event_id(one) for one in notices(memory)}) == 2


def test_frames_of_our_own_are_no_connection(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, at(1, ticker), at(2, match, 0), at(3, ticker))
    followed(memory, rest, run)

    assert gaps(memory) == []


def test_a_clock_that_was_set_back_makes_no_gap_end_before_it_begins(
    memory: MemoryJournal, rest: FakeRest, run: Run
) -> None:
    append(memory, at(1000, ticker), at(101, ticker, SECOND_ONE))
    followed(memory, rest, run)

    assert gaps(memory) == [("quotes", "ticker", OPENED + 1000 * SECOND, OPENED + 1000 * SECOND)]


@pytest.mark.parametrize("kind", ["snapshot", "l2update"])
def test_a_book_is_heard_by_its_own_messages(memory: MemoryJournal, rest: FakeRest, run: Run, kind: str) -> None:
    book = frame({"type": kind, "product_id": "BTC-USD"}, connection=SECOND_ONE, received_at=OPENED + 105 * SECOND)
    append(memory, at(1, ticker), at(101, ticker, SECOND_ONE), book)
    backfill = run(memory, rest, unreplayable_channels=("ticker", "level2_batch"))
    eventually(lambda: backfill.idle)

    assert gaps(memory) == [
        ("quotes", "ticker", OPENED + SECOND, OPENED + 101 * SECOND),
        ("quotes", "level2_batch", OPENED + SECOND, OPENED + 105 * SECOND),
    ]
