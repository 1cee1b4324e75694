"""Other products while the backfill runs: what begins, what goes on, and what is no gap any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rxbridge.backfill import Backfill
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.state import State
from rxbridge.journal import Journal, MemoryJournal
from tests.rxbridge.backfill.support import (
    OPENED,
    SECOND,
    FakeRest,
    append,
    eventually,
    every,
    frame,
    gaps,
    heartbeat,
    match,
    matches,
    ticker,
    trade_ids,
)

Run: TypeAlias = Callable[..., Backfill]
BTC, ETH = "BTC-USD", "ETH-USD"
LATER = OPENED + 100 * SECOND


def test_a_new_product_begins_with_its_first_trade(journal: Journal, rest: FakeRest, run: Run) -> None:
    backfill = run(journal, rest, products=(BTC,))
    append(journal, *matches([100, 101]))
    eventually(lambda: backfill.idle)
    backfill.follow((BTC, ETH), (BTC, ETH))
    append(journal, *matches([50, 51, 54], ETH), *matches([102]))
    eventually(lambda: trade_ids(journal, ETH, fetched=True) == [52, 53])
    eventually(lambda: backfill.idle)
    assert trade_ids(journal) == [100, 101, 102]
    assert trade_ids(journal, ETH) == [50, 51, 54, 52, 53]


def test_the_hole_of_a_product_that_goes_is_still_filled(journal: Journal, rest: FakeRest, run: Run) -> None:
    rest.gate.clear()
    backfill = run(journal, rest, products=(BTC, ETH))
    append(journal, *matches([100]), *matches([50, 53], ETH))
    eventually(lambda: rest.asked)
    backfill.follow((BTC,), (BTC,))
    append(journal, *matches([101]), *matches([56], ETH))
    rest.gate.set()
    eventually(lambda: backfill.idle)
    assert sorted(trade_ids(journal, ETH)) == [50, 51, 52, 53, 54, 55, 56]


def test_a_product_that_comes_back_goes_on_where_it_was_left(journal: Journal, rest: FakeRest, run: Run) -> None:
    backfill = run(journal, rest, products=(BTC, ETH))
    append(journal, *matches([100]), *matches([50], ETH))
    eventually(lambda: backfill.idle)
    backfill.follow((BTC,), (BTC,))
    append(journal, *matches([101]))
    eventually(lambda: backfill.idle)
    backfill.follow((BTC, ETH), (BTC, ETH))
    append(journal, *matches([54], ETH))
    eventually(lambda: trade_ids(journal, ETH, fetched=True) == [51, 52, 53])


def test_a_disconnect_costs_the_quotes_of_the_products_in_force(journal: Journal, rest: FakeRest, run: Run) -> None:
    backfill = run(journal, rest, products=(BTC, "SOL-USD"), unreplayable_channels=("ticker",))
    append(journal, ticker(1), ticker(1, "SOL-USD"))
    eventually(lambda: backfill.idle)
    backfill.follow((BTC, ETH), (BTC, ETH))
    # What comes now is read after the change.
    append(journal, ticker(1, ETH, received_at=OPENED + SECOND))
    eventually(lambda: backfill.idle)
    for product in (BTC, ETH, "SOL-USD"):
        append(journal, ticker(9, product, connection=LATER, received_at=LATER))
    eventually(lambda: backfill.idle)
    assert gaps(journal) == [("quotes", "ticker", OPENED + SECOND, LATER)]
    (gap,) = journal.market_gaps()
    assert gap.products == (BTC, ETH)


def test_a_silence_ends_when_its_product_is_wanted_no_longer(journal: Journal, rest: FakeRest, run: Run) -> None:
    removed_at = OPENED + 50 * SECOND
    backfill = run(
        journal,
        rest,
        products=(BTC, ETH),
        unreplayable_channels=("ticker",),
        clock=lambda: removed_at / SECOND,
    )
    append(journal, ticker(1), ticker(1, ETH))
    append(journal, heartbeat(1, connection=OPENED + SECOND, received_at=OPENED + SECOND))
    eventually(lambda: backfill.idle)
    assert gaps(journal) == []
    backfill.follow((BTC,), (BTC,))
    eventually(lambda: gaps(journal) == [("quotes", "ticker", OPENED, removed_at)])
    (gap,) = journal.market_gaps()
    assert gap.products == (ETH,)


def test_lost_frames_make_nothing_suspect_that_is_not_followed(memory: MemoryJournal) -> None:
    numbered = [frame({"channel": "heartbeats", "sequence_num": number, "events": []}) for number in (0, 2)]
    append(memory, match(1), match(1, ETH), *numbered)
    follower = Follower(State(), products=(BTC, ETH), channels=(), quoted=(), grace_seconds=0.0)
    follower.keep_products((BTC,), (), OPENED)
    follower.follow(every(memory), 0.0)
    assert set(follower.suspects) == {BTC}
    assert set(follower.trackers) == {BTC, ETH}
