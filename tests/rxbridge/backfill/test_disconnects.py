"""What a disconnect costs of a channel that cannot be replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.backfill import UNREPLAYABLE, Backfill
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.silences import Silence
from rxbridge.backfill.state import State
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
LONGER = ("quotes", "ticker", OPENED + 9 * SECOND, OPENED + 150 * SECOND)


def at(seconds: float, make: Callable[..., Frame], connection: int = FIRST, trade_id: int = 5) -> Frame:
    return make(trade_id, connection=connection, received_at=int(OPENED + seconds * SECOND))


def acknowledged(seconds: float, *products: str, channel: str = "ticker", connection: int = SECOND_ONE) -> Frame:
    line = {"name": channel, "product_ids": list(products)}
    return frame(
        {"type": "subscriptions", "channels": [line]},
        connection=connection,
        received_at=int(OPENED + seconds * SECOND),
    )


def followed(journal: Journal, rest: FakeRest, run: Run, products: Sequence[str] = ("BTC-USD",)) -> None:
    backfill = run(journal, rest, products=products, unreplayable_channels=("ticker",))
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
    assert gap.products == ("BTC-USD",)
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


def test_an_acknowledgement_ends_the_gap_of_every_product_that_it_names(
    journal: Journal, rest: FakeRest, run: Run
) -> None:
    append(journal, at(9, ticker), acknowledged(102, *PRODUCTS), at(103, ticker, SECOND_ONE))
    followed(journal, rest, run, PRODUCTS)

    assert gaps(journal) == [("quotes", "ticker", OPENED + 9 * SECOND, OPENED + 102 * SECOND)]
    (gap,) = journal.market_gaps()
    assert gap.products == PRODUCTS


def test_products_that_are_heard_just_before_their_acknowledgement_share_its_gap(
    memory: MemoryJournal, rest: FakeRest, run: Run
) -> None:
    append(memory, at(9, ticker), at(101, ticker, SECOND_ONE), acknowledged(102, *PRODUCTS))
    followed(memory, rest, run, PRODUCTS)

    assert gaps(memory) == [("quotes", "ticker", OPENED + 9 * SECOND, OPENED + 102 * SECOND)]


def test_the_exchange_calls_its_book_otherwise(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, at(9, ticker), acknowledged(102, "BTC-USD", channel="level2_batch"))
    backfill = run(memory, rest, products=("BTC-USD",), unreplayable_channels=("level2",))
    eventually(lambda: backfill.idle)

    assert gaps(memory) == [("quotes", "level2", OPENED + 9 * SECOND, OPENED + 102 * SECOND)]


def test_a_connection_that_never_acknowledges_has_no_gap_after_its_first_quote(
    memory: MemoryJournal, rest: FakeRest, run: Run
) -> None:
    append(memory, at(9, ticker), at(101, ticker, SECOND_ONE), acknowledged(200, *PRODUCTS, connection=THIRD))
    followed(memory, rest, run, PRODUCTS)

    assert gaps(memory) == [
        ("quotes", "ticker", OPENED + 9 * SECOND, OPENED + 101 * SECOND),
        ("quotes", "ticker", OPENED + 9 * SECOND, OPENED + 200 * SECOND),
        ("quotes", "ticker", OPENED + 101 * SECOND, OPENED + 200 * SECOND),
    ]


@pytest.mark.parametrize(
    "heard",
    [
        acknowledged(150, *PRODUCTS),
        frame({"type": "ticker", "product_id": "ETH-USD"}, connection=SECOND_ONE, received_at=OPENED + 150 * SECOND),
    ],
    ids=["acknowledged later", "sent"],
)
def test_a_product_that_is_refused_after_a_disconnect_has_a_longer_gap(
    journal: Journal, rest: FakeRest, run: Run, heard: Frame
) -> None:
    append(journal, at(9, ticker), acknowledged(102, "BTC-USD"), at(103, ticker, SECOND_ONE), heard)
    followed(journal, rest, run, PRODUCTS)

    first = ("quotes", "ticker", OPENED + 9 * SECOND, OPENED + 102 * SECOND)
    assert gaps(journal) == [first, LONGER]
    assert [gap.products for gap in journal.market_gaps()] == [("BTC-USD",), ("ETH-USD",)]


def test_a_product_that_stays_refused_has_one_gap_over_all_disconnects(
    memory: MemoryJournal, rest: FakeRest, run: Run
) -> None:
    append(memory, at(9, ticker), acknowledged(102, "BTC-USD"), acknowledged(120, "BTC-USD", connection=THIRD))
    append(memory, acknowledged(150, *PRODUCTS, connection=THIRD))
    followed(memory, rest, run, PRODUCTS)

    assert [gap.products for gap in memory.market_gaps()] == [("BTC-USD",), ("BTC-USD",), ("ETH-USD",)]
    assert gaps(memory)[-1] == LONGER


@pytest.mark.parametrize(
    "other",
    [
        acknowledged(102, "BTC-USD", channel="heartbeat"),
        acknowledged(102, "SOL-USD"),
        frame({"type": "ticker", "product_id": "SOL-USD"}, connection=SECOND_ONE),
    ],
    ids=["another channel", "another product", "a ticker of another product"],
)
def test_what_says_nothing_of_a_product_does_not_end_its_gap(
    memory: MemoryJournal, rest: FakeRest, run: Run, other: Frame
) -> None:
    append(memory, at(9, ticker), at(101, heartbeat, SECOND_ONE), other)
    followed(memory, rest, run)

    assert gaps(memory) == []


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
    where = {"connection": SECOND_ONE, "received_at": OPENED + 105 * SECOND}
    book = frame({"type": kind, "product_id": "BTC-USD", "bids": [], "asks": [], "changes": []}, **where)
    append(memory, at(1, ticker), at(101, ticker, SECOND_ONE), frame({"type": kind, "product_id": 7}, **where))
    append(memory, Frame(b'{"type": "%s", "odd": NaN}' % kind.encode(), OPENED + 104 * SECOND, SECOND_ONE, 0), book)
    backfill = run(memory, rest, unreplayable_channels=("ticker", "level2"))
    eventually(lambda: backfill.idle)

    assert gaps(memory) == [
        ("quotes", "ticker", OPENED + SECOND, OPENED + 101 * SECOND),
        ("quotes", "level2", OPENED + SECOND, OPENED + 105 * SECOND),
    ]


_moments = st.lists(
    st.tuples(
        st.sampled_from([FIRST, SECOND_ONE, THIRD]),
        st.sampled_from(["ticker", "heartbeat", "acknowledgement"]),
        st.sets(st.sampled_from(PRODUCTS), min_size=1),
    ),
    max_size=20,
)


@given(_moments, st.sets(st.integers(1, 20)))
def test_who_goes_on_after_a_stop_finds_the_same(moments: list[tuple[int, str, set[str]]], stops: set[int]) -> None:
    frames: list[Frame] = []
    for offset, (connection, kind, products) in enumerate(moments, 1):
        if kind == "acknowledgement":
            made = acknowledged(offset, *sorted(products), connection=connection)
        else:
            about = {"type": kind, "product_id": min(products)}
            made = frame(about, connection=connection, received_at=OPENED + offset * SECOND)
        frames.append(msgspec.structs.replace(made, offset=offset))

    def followed_from(state: State, portion: list[Frame]) -> tuple[State, list[Silence]]:
        follower = Follower(
            state, products=PRODUCTS, channels=["ticker", "heartbeat"], quoted=PRODUCTS, grace_seconds=0.0
        )
        follower.follow(portion, 0.0)
        kept = msgspec.json.decode(msgspec.json.encode(follower.state()), type=State)
        return kept, follower.take_silences()

    whole, expected = followed_from(State(), frames)
    state, found = followed_from(State(), [])
    for begin, end in pairwise(sorted({0, len(frames), *(stop for stop in stops if stop < len(frames))})):
        state, silences = followed_from(state, frames[begin:end])
        found += silences

    assert found == expected
    assert state == whole


def numbered(number: int, seconds: float, *products: str, connection: int = SECOND_ONE) -> Frame:
    event = {"type": "update", "tickers": [{"product_id": product, "price": "1.5"} for product in products]}
    return frame(
        {"channel": "ticker", "timestamp": "2023-11-14T22:13:20Z", "sequence_num": number, "events": [event]},
        connection=connection,
        received_at=int(OPENED + seconds * SECOND),
    )


def test_a_loss_is_on_record_of_a_product_that_is_back_while_another_one_is_still_silent() -> None:
    follower = Follower(State(), products=(), channels=("ticker",), quoted=PRODUCTS, grace_seconds=2.0)
    before, back, lost = numbered(0, 1, *PRODUCTS, connection=FIRST), numbered(0, 101, "BTC-USD"), numbered(3, 102)
    frames = [before, back, lost, numbered(4, 103, "ETH-USD")]

    follower.follow([msgspec.structs.replace(one, offset=offset) for offset, one in enumerate(frames, 1)], now=0.0)

    assert sorted(follower.take_silences(), key=lambda silence: silence.last) == [
        Silence("ticker", ("BTC-USD",), before.received_at, back.received_at),
        Silence("ticker", ("BTC-USD",), back.received_at, lost.received_at, 2),
        Silence("ticker", ("ETH-USD",), before.received_at, lost.received_at + SECOND),
    ]


def auction(_: int, **where: int) -> Frame:
    return frame({"type": "auction", "product_id": "BTC-USD", "open_price": "1"}, **where)


def order(sequence: int, **where: int) -> Frame:
    return frame({"type": "open", "product_id": "BTC-USD", "order_id": "one", "sequence": sequence}, **where)


@pytest.mark.parametrize(("channel", "make"), [("auctionfeed", auction), ("full", order)])
def test_orders_and_auctions_that_were_missed_are_a_gap(
    memory: MemoryJournal, rest: FakeRest, run: Run, channel: str, make: Callable[..., Frame]
) -> None:
    append(memory, at(9, make), at(101, heartbeat, SECOND_ONE), at(102, make, SECOND_ONE))
    backfill = run(memory, rest, products=("BTC-USD",), unreplayable_channels=(channel,))
    eventually(lambda: backfill.idle)

    assert channel in UNREPLAYABLE
    assert gaps(memory) == [("quotes", channel, OPENED + 9 * SECOND, OPENED + 102 * SECOND)]


def test_what_is_told_again_as_a_whole_is_no_gap() -> None:
    assert "status" not in UNREPLAYABLE
