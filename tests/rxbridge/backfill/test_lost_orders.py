"""The messages of `full` are numbered without a hole: what is lost is on record, and the trades among it come."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge import coinbase
from rxbridge.backfill import Backfill
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.silences import Silence
from rxbridge.backfill.state import State, decode, encode
from rxbridge.coinbase.rest import RestClient
from rxbridge.events.cleaning import whole
from rxbridge.faults import Fault
from rxbridge.feed import Feed
from rxbridge.journal import MemoryJournal
from rxbridge.messages import MOST_LINES, OWN_CONNECTION, Frame, Order, Trade
from rxbridge.simulator import Credentials, Simulator
from tests.rxbridge.backfill.support import (
    OPENED,
    SECOND,
    FakeRest,
    append,
    eventually,
    frame,
    messages,
    notices,
    trade_ids,
)

Run: TypeAlias = Callable[..., Backfill]
BTC, ETH = "BTC-USD", "ETH-USD"
FIRST = OPENED // MOST_LINES * MOST_LINES
LINES = (FIRST, FIRST + 1)
KEY = Credentials("a key", base64.b64encode(b"a secret of the simulator").decode(), "a passphrase")


def received(seconds: float, data: dict[str, Any], line: int = FIRST) -> Frame:
    return frame(data, connection=line, received_at=int(OPENED + seconds * SECOND))


def order(seconds: float, number: object, product: str = BTC, line: int = FIRST) -> Frame:
    return received(seconds, {"type": "open", "product_id": product, "order_id": "1", "sequence": number}, line)


def trade(seconds: float, number: int, product: str = BTC, line: int = FIRST, *, kind: str = "match") -> Frame:
    fields = {"type": kind, "trade_id": number, "sequence": number, "price": "1.5", "size": "0.1", "side": "buy"}
    return received(seconds, {**fields, "product_id": product}, line)


def acknowledged(seconds: float, *products: str, line: int = FIRST) -> Frame:
    return received(
        seconds, {"type": "subscriptions", "channels": [{"name": "full", "product_ids": list(products)}]}, line
    )


def heartbeat(seconds: float, line: int = FIRST) -> Frame:
    return received(seconds, {"type": "heartbeat", "last_trade_id": 0, "product_id": BTC, "sequence": 999}, line)


class Followed:
    """A follower that is remembered and made anew after each frame."""

    def __init__(self, *frames: Frame, channels: Sequence[str] = ("full",)) -> None:
        self.options: dict[str, Any] = {
            "products": (BTC, ETH),
            "channels": channels,
            "quoted": (BTC, ETH),
            "grace_seconds": 1.0,
        }
        self.silences: list[Silence] = []
        self.follower = Follower(State(), **self.options)
        self.offset = 0
        for one in frames:
            self.take(one)

    def take(self, one: Frame) -> None:
        self.offset += 1
        placed = Frame(one.data, one.received_at, one.connection, one.index, self.offset)
        self.follower.follow([placed], float(self.offset))
        self.silences += self.follower.take_silences()
        kept = decode(encode(self.follower.state()))
        assert kept is not None
        self.follower = Follower(kept, **self.options)

    @property
    def suspects(self) -> set[str]:
        return set(self.follower.suspects)


def lost(first: float, last: float, count: int, product: str = BTC) -> Silence:
    return Silence("full", (product,), int(OPENED + first * SECOND), int(OPENED + last * SECOND), count)


def test_a_jump_is_a_gap_of_its_product_from_the_frame_before_to_the_frame_after() -> None:
    found = Followed(order(1, 10), order(1, 90, ETH), order(2, 11), heartbeat(3), order(4, 91, ETH), order(5, 14))

    assert found.silences == [lost(2, 5, 2)]
    assert found.suspects == {BTC}


@pytest.mark.parametrize("numbers", [(10, 11, 11, 10, 12), (10, None, 11), (10, "11", 12.0), (10, 10**15, 11)])
def test_what_is_repeated_overtaken_or_no_number_is_no_jump(numbers: Sequence[object]) -> None:
    found = Followed(*(order(second, number) for second, number in enumerate(numbers)))

    assert (found.silences, found.suspects) == ([], set[str]())


def test_trades_have_numbers_of_their_own_among_the_orders() -> None:
    assert Followed(order(1, 10), trade(2, 11), trade(3, 12), order(4, 13)).silences == []
    assert Followed(order(1, 10), trade(2, 12), order(3, 13)).silences == [lost(1, 3, 1)]


def test_a_trade_that_overtakes_the_orders_by_the_channel_matches_is_no_loss() -> None:
    frames = [order(1, 10), trade(2, 13), order(3, 11), order(4, 12), trade(5, 13), order(6, 14)]
    assert Followed(*frames).silences == []
    # What one of the channels has lost, the other one has brought.
    assert Followed(*frames[:4], frames[5]).silences == []


def test_where_only_trades_are_followed_their_numbers_say_nothing() -> None:
    found = Followed(trade(1, 10), trade(2, 20), trade(3, 30), channels=("ticker",))

    assert (found.silences, found.suspects) == ([], set[str]())


def test_the_last_trade_of_a_subscription_counts_for_nothing() -> None:
    frames = [order(1, 10), trade(2, 11, kind="last_match"), order(3, 12)]
    assert Followed(*frames).silences == [lost(1, 3, 1)]


def test_each_connection_counts_from_its_first_message_on() -> None:
    later = FIRST + 100 * MOST_LINES
    found = Followed(order(1, 10), acknowledged(101, BTC, ETH, line=later), order(102, 500, line=later))
    found.take(order(103, 501, line=later))

    assert found.silences == [lost(1, 101, 0)._replace(products=(BTC, ETH))]
    assert found.suspects == set()


def test_what_one_of_two_connections_has_lost_the_other_one_has_brought() -> None:
    one, other = LINES
    frames = [acknowledged(0.5, BTC, line=line) for line in LINES]
    frames += [order(1, 10, line=one), order(1.1, 10, line=other), order(2, 11, line=other), order(2.1, 12, line=other)]
    found = Followed(*frames, order(3, 13, line=one), order(3.1, 13, line=other), heartbeat(100, one))

    assert found.silences == []
    assert found.suspects == {BTC}


def test_what_both_have_lost_is_a_gap() -> None:
    one, other = LINES
    frames = [order(second, number, line=line) for second, number in ((1, 10), (5, 15)) for line in LINES]
    found = Followed(*frames, order(6, 16, line=one), order(6, 16, line=other))

    assert [(gap.first, gap.last) for gap in found.silences] == [(OPENED + SECOND, OPENED + 5 * SECOND)]


def test_a_product_that_was_away_meanwhile_has_lost_nothing() -> None:
    found = Followed(order(1, 10), order(1, 10, ETH))
    found.follower.keep_products((ETH,), (ETH,), OPENED + 2 * SECOND)
    # It is still brought until Coinbase has unsubscribed it.
    found.options["quoted"] = (ETH,)
    found.take(order(3, 11))
    found.options["quoted"] = (BTC, ETH)
    found.follower.keep_products((BTC, ETH), (BTC, ETH), OPENED + 4 * SECOND)
    for one in (acknowledged(5, BTC, ETH), order(6, 70), order(7, 71), order(7, 11, ETH)):
        found.take(one)

    assert (found.silences, found.suspects) == ([], set[str]())
    found.take(order(8, 73))
    assert found.silences == [lost(7, 8, 1)]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_every_lost_message_lies_in_a_gap_and_every_gap_holds_one(sent: list[tuple[bool, bool]]) -> None:
    made = [(second, is_trade, is_lost) for second, (is_trade, is_lost) in enumerate(sent)]
    come = [(second, is_trade) for second, is_trade, is_lost in made if not is_lost]
    found = Followed(*((trade if is_trade else order)(second, second) for second, is_trade in come))

    orders = [second for second, is_trade in come if not is_trade]
    expected = [
        (before, after, count)
        for before, after in pairwise(orders)
        if (count := sum(is_lost for second, _, is_lost in made if before < second < after))
    ]
    assert found.silences == [lost(*gap) for gap in expected]


def test_the_trades_among_them_are_fetched_and_the_reason_is_on_record(memory: MemoryJournal, run: Run) -> None:
    rest = FakeRest(first=1, last=13)
    append(memory, order(1, 9), trade(2, 10), order(3, 11), order(4, 14))
    backfill = run(memory, rest, products=(BTC,), unreplayable_channels=("full",))
    eventually(lambda: trade_ids(memory) == [10, 11, 12, 13])
    eventually(lambda: backfill.idle)

    (gap,) = memory.market_gaps()
    assert (gap.kind, gap.channel, gap.products) == ("quotes", "full", (BTC,))
    assert (gap.first, gap.last) == (OPENED + 3 * SECOND, OPENED + 4 * SECOND)
    assert gap.reason.startswith("messages were lost, 2 by their numbers")
    assert [notice.reason for notice in notices(memory)] == [gap.reason]


def true_losses(journal: MemoryJournal) -> list[tuple[int, int, int]]:
    """Of each hole in the numbers of a connection: when the messages around it were received, and its size."""
    holes: list[tuple[int, int, int]] = []
    last: dict[int, tuple[int, int]] = {}
    for message in messages(journal):
        connection = message.frame.connection
        if connection == OWN_CONNECTION or not isinstance(message, (Order, Trade)):
            continue
        number = whole(message.sequence, minimum=1)
        assert number is not None
        before, at = last.get(connection, (number - 1, 0))
        if number > before + 1:
            holes.append((at, message.frame.received_at, number - before - 1))
        last[connection] = number, message.frame.received_at
    return holes


def test_of_a_market_over_sockets_every_lost_message_lies_in_a_gap(run: Run, tmp_path: Path) -> None:
    faults = [Fault("drop", type=kind, probability=0.05) for kind in ("match", "open", "change", "done")]
    with (
        MemoryJournal() as journal,
        Simulator(products=(BTC,), rate=100.0, credentials=KEY, faults=faults) as simulator,
    ):
        rest = RestClient(simulator.rest_url)
        settings: dict[str, Any] = {"grace_seconds": 0.2, "requests_per_second": 20.0, "marks": tmp_path / "marks"}
        backfill = run(journal, rest, products=(BTC,), unreplayable_channels=("full",), **settings)
        secret: dict[str, Any] = {"api_key": KEY.key, "api_secret": KEY.secret, "api_passphrase": KEY.passphrase}
        feed = Feed(coinbase.frames([BTC], ["full"], url=simulator.url, **secret), journal)
        feed.start()
        eventually(lambda: len(trade_ids(journal)) > 100 and len(true_losses(journal)) > 20)
        simulator.pause()
        eventually(lambda: set(trade_ids(journal)) == set(range(min(trade_ids(journal)), simulator.trades(BTC).stop)))
        feed.stop()
        eventually(lambda: backfill.idle)

        recorded = [(gap.first, gap.last) for gap in journal.market_gaps() if gap.channel == "full"]
        newest = max(one.frame.received_at for one in messages(journal) if isinstance(one, Order))
        losses = [(first, last, count) for first, last, count in true_losses(journal) if last <= newest]
    for first, last, _ in losses:
        assert any(gap[0] <= first and last <= gap[1] for gap in recorded)
    assert recorded
    for gap in recorded:
        assert any(gap[0] <= first and last <= gap[1] for first, last, _ in losses)
