"""Advanced Trade: frames are numbered, so a loss shows at once, and a new connection begins with the last trades."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.backfill import Backfill
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.state import State
from rxbridge.coinbase.advanced.sequence import sequence_num
from rxbridge.errors import RestRefused
from rxbridge.journal import Journal, MemoryJournal
from rxbridge.messages import Frame
from tests.rxbridge.backfill.support import (
    OPENED,
    PRODUCT,
    SECOND,
    FakeRest,
    append,
    eventually,
    frame,
    gaps,
    trade_ids,
)

Run: TypeAlias = Callable[..., Backfill]
SECOND_ONE = OPENED + 100 * SECOND


def advanced(number: int | None, channel: str, *events: dict[str, Any], at: float = 0.0, line: int = OPENED) -> Frame:
    counted = {} if number is None else {"sequence_num": number}
    content = {"channel": channel, "timestamp": "2023-11-14T22:13:20Z", **counted, "events": list(events)}
    return frame(content, connection=line, received_at=line + int(at * SECOND))


def trades(number: int, *ids: int, kind: str = "update", at: float = 0.0, line: int = OPENED) -> Frame:
    """The newest first, as the feed sends them."""
    items = [
        {"product_id": PRODUCT, "trade_id": str(one), "price": "1.5", "size": "0.01", "side": "BUY"}
        for one in sorted(ids, reverse=True)
    ]
    return advanced(number, "market_trades", {"type": kind, "trades": items}, at=at, line=line)


def beat(number: int, at: float = 0.0, line: int = OPENED) -> Frame:
    return advanced(number, "heartbeats", {"heartbeat_counter": number}, at=at, line=line)


def ids_of(journal: Journal) -> list[int]:
    """The ids of all trades, those of Advanced Trade included, which are text."""
    received = [
        int(item["trade_id"])
        for one in _contents(journal)
        if one.get("channel") == "market_trades"
        for event in one["events"]
        for item in event["trades"]
    ]
    return sorted(received + trade_ids(journal, fetched=True))


def _contents(journal: Journal) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.data) for one in journal.read(0)]


def followed(journal: Journal, rest: FakeRest, run: Run) -> Backfill:
    backfill = run(journal, rest, unreplayable_channels=("ticker",))
    eventually(lambda: backfill.idle)
    return backfill


def test_a_jump_of_the_numbers_has_the_newest_trades_looked_for_and_is_a_gap_of_quotes(
    journal: Journal, run: Run
) -> None:
    rest = FakeRest(last=20)
    append(journal, trades(0, 8, 9, 10, kind="snapshot", at=1), beat(1, at=2), beat(4, at=5))
    followed(journal, rest, run)

    assert ids_of(journal) == list(range(8, 21)), "no newer trade has shown that some are missing"
    assert gaps(journal) == [("quotes", "ticker", OPENED + 2 * SECOND, OPENED + 5 * SECOND)]
    (gap,) = journal.market_gaps()
    assert gap.products == (PRODUCT,)
    assert "2 by their numbers" in gap.reason


def test_numbers_that_follow_each_other_cost_nothing(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(
        memory,
        trades(0, 1, 2, kind="snapshot"),
        advanced(1, "subscriptions", {"subscriptions": {"market_trades": [PRODUCT]}}),
        advanced(2, "market_trades", {"type": "snapshot", "trades": []}),
        advanced(3, "l2_data", {"type": "update", "updates": []}),
        advanced(None, "something new"),
        frame({"type": "error", "message": "authentication failure"}),
        advanced(4, "ticker", {"type": "update", "tickers": [{"product_id": PRODUCT}]}),
        beat(4),
        beat(3),
        trades(5, 3, 4),
    )
    followed(memory, rest, run)

    assert (gaps(memory), rest.asked) == ([], [])


def test_an_absurd_number_hides_no_loss_behind_it(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, beat(0, at=1), beat(10**17, at=2), beat(1, at=3), beat(4, at=4))
    followed(memory, rest, run)

    assert gaps(memory) == [("quotes", "ticker", OPENED + 3 * SECOND, OPENED + 4 * SECOND)]


def test_a_frame_that_cannot_be_read_has_the_newest_trades_looked_for(
    memory: MemoryJournal, rest: FakeRest, run: Run
) -> None:
    rest.last = 6
    damaged = Frame(trades(1, 6).data[:-5], OPENED, OPENED, 0)
    append(memory, trades(0, 4, 5, kind="snapshot"), damaged, beat(2))
    followed(memory, rest, run)

    assert trade_ids(memory, fetched=True) == [6]
    assert gaps(memory) == []


def test_a_new_connection_counts_from_0_and_its_snapshot_is_a_backfill_for_nothing(
    memory: MemoryJournal, rest: FakeRest, run: Run
) -> None:
    append(memory, trades(0, 1, 2, 3, kind="snapshot", at=1), beat(1, at=2))
    append(memory, trades(0, *range(2, 8), kind="snapshot", line=SECOND_ONE), trades(1, 8, line=SECOND_ONE))
    followed(memory, rest, run)

    assert rest.asked == []
    append(memory, advanced(2, "subscriptions", {"subscriptions": {"ticker": [PRODUCT]}}, at=3, line=SECOND_ONE))
    eventually(lambda: gaps(memory) == [("quotes", "ticker", OPENED + 2 * SECOND, SECOND_ONE + 3 * SECOND)])


def test_what_a_snapshot_does_not_reach_is_fetched(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, trades(0, 1, 2, kind="snapshot"), trades(0, 9, 8, 7, kind="snapshot", line=SECOND_ONE))
    followed(memory, rest, run)

    assert trade_ids(memory, fetched=True) == [3, 4, 5, 6]


def test_a_first_frame_that_is_not_the_first_is_a_loss(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.last = 5
    append(memory, trades(0, 4, 5, kind="snapshot", at=1), beat(2, line=SECOND_ONE))
    followed(memory, rest, run)

    assert rest.asked == [(PRODUCT, None, 1)]


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "nothing there"])
def test_a_look_that_finds_nothing_is_over(memory: MemoryJournal, rest: FakeRest, run: Run, refused: bool) -> None:  # noqa: FBT001
    rest.first = 10**7
    if refused:
        rest.failing[PRODUCT] = RestRefused("http://rest", 404, "NotFound")
    append(memory, beat(0), beat(2))
    followed(memory, rest, run)

    assert rest.asked == [(PRODUCT, None, 1)]


def test_a_loss_during_a_look_has_another_look(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    def lose_more() -> None:
        rest.before_answer = lambda: None
        append(memory, beat(5, at=2))
        eventually(lambda: len(gaps(memory)) == 2)  # it was followed

    rest.last = 5
    rest.before_answer = lose_more
    backfill = run(memory, rest, unreplayable_channels=("ticker",))
    append(memory, trades(0, 4, 5, kind="snapshot"), beat(2, at=1))
    eventually(lambda: len(gaps(memory)) == 2 and backfill.idle)

    assert rest.asked == [(PRODUCT, None, 1)] * 2


def test_a_suspicion_outlives_the_process(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.last = 7
    rest.gate.clear()
    append(memory, trades(0, 4, 5, kind="snapshot"), beat(2))
    first = run(memory, rest, unreplayable_channels=("ticker",))
    eventually(lambda: rest.asked)
    assert first.drain(10.0)
    rest.gate.set()
    followed(memory, rest, run)

    assert trade_ids(memory, fetched=True) == [6, 7]


@given(st.lists(st.tuples(st.sampled_from([OPENED, SECOND_ONE]), st.integers(0, 9)), max_size=30), st.integers(0, 30))
def test_who_goes_on_after_a_stop_suspects_the_same(numbers: list[tuple[int, int]], stop: int) -> None:
    frames = [
        Frame(beat(number).data, OPENED + offset * SECOND, line, offset, offset)
        for offset, (line, number) in enumerate(numbers, 1)
    ]

    def follow(state: State, portion: list[Frame]) -> tuple[State, list[Any]]:
        follower = Follower(state, products=[PRODUCT], channels=["ticker"], quoted=[PRODUCT], grace_seconds=0.0)
        follower.follow(portion, 0.0)
        return follower.state(), list(follower.take_silences())

    whole, expected = follow(State(), frames)
    half, before = follow(State(), frames[:stop])
    state, after = follow(half, frames[stop:])

    assert (state, before + after) == (whole, expected)


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b'{"channel":"ticker","timestamp":"x","sequence_num":12,"events":[]}', 12),
        (b'{"channel":"ticker","sequence_num":0}', 0),
        (b'{"channel":"ticker","sequence_num":-1}', None),
        (b'{"channel":"ticker","sequence_num":"12"}', None),
        (b'{"channel":"ticker","sequence_num":99999999999999999999}', None),
        (b'{"channel":"ticker","sequence_num":1', None),
        (b'{"channel":"ticker","padding":"' + b"x" * 300 + b'","sequence_num":1}', None),
        (b'{"type":"ticker","sequence_num":1}', None),
        (b"", None),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_the_number_of_a_frame(data: bytes, number: int | None) -> None:
    assert sequence_num(data) == number
