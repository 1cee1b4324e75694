"""A PulseStream that is slower than the market: when that is noticed, what is said, and what is given up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.books import Books
from rxbridge.confirmation import EventMaker
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.overload import Load, OverloadMonitor, Policy, shed
from tests.rxbridge.test_books import numbered, snapshot, update

FULL = EventRules(book="full")


def event(offset: int, quote_of: str = "", received_at: int = 0) -> EncodedEvent:
    return EncodedEvent(f"event-{offset}", "title", 1.0, offset, datetime(2026, 1, 1), b"{}", quote_of, received_at)  # noqa: DTZ001


EVENTS = st.lists(st.tuples(st.sampled_from(["", "", "A-B", "C-D"]), st.integers(0, 9)), max_size=60).map(
    lambda kinds: [event(offset, *kind) for offset, kind in enumerate(kinds, 1)]
)


@given(EVENTS, st.sampled_from(["keep", "conflate", "drop_oldest"]), st.integers(0, 10))
def test_what_is_kept_and_what_is_dropped_are_all_of_it_in_order(
    events: list[EncodedEvent], policy: Policy, oldest: int
) -> None:
    kept, dropped = shed(policy, events, oldest=oldest)
    assert sorted([item.offset for item in kept] + dropped) == [item.offset for item in events]
    assert [item.offset for item in kept] == sorted(item.offset for item in kept)
    assert dropped == sorted(dropped)


@given(EVENTS)
def test_conflation_keeps_every_trade_and_the_newest_quote_of_each_product(events: list[EncodedEvent]) -> None:
    kept, _ = shed("conflate", events, oldest=0)
    assert [item for item in kept if not item.quote_of] == [item for item in events if not item.quote_of]
    newest = {item.quote_of: item for item in events if item.quote_of}
    assert {item.quote_of: item for item in kept if item.quote_of} == newest
    assert sum(bool(item.quote_of) for item in kept) == len(newest)


@given(EVENTS, st.integers(0, 10))
def test_dropping_the_oldest_goes_by_the_time_of_receipt(events: list[EncodedEvent], oldest: int) -> None:
    kept, _ = shed("drop_oldest", events, oldest=oldest)
    assert kept == [item for item in events if item.received_at >= oldest]


def test_no_policy_gives_up_a_part_of_a_book() -> None:
    make = EventMaker(channels=("level2",), rules=FULL, kept_books=Books(FULL))
    frames = numbered([snapshot("9", "10"), update("buy", "9.5", "1", at=1.0), update("buy", "9.6", "1", at=2.0)])
    parts = [part for frame in frames for part in make(frame)]
    events = [event(1, received_at=1), *parts, event(2, received_at=1)]

    assert len(parts) == 3
    assert shed("drop_oldest", events, oldest=parts[-1].received_at + 1) == (parts, [1, 2])
    assert shed("conflate", events, oldest=0) == (events, [])


@given(EVENTS)
def test_keeping_gives_nothing_up(events: list[EncodedEvent]) -> None:
    assert shed("keep", events, oldest=10) == (events, [])


def market(
    seconds: Iterable[int],
    *,
    arrives: float,
    settles: float,
    start: Load | None = None,
    throttles: bool = False,
    age: float = 20.0,
) -> list[Load]:
    """A load each second, from rates in frames a second."""
    begin = start or Load(0, 0, 0, 0, 0, 0, 0, 0, 10**6)
    return [
        Load(
            at=begin.at + second,
            arrived=begin.arrived + int(arrives * second),
            settled=begin.settled + int(settles * second),
            delivered=begin.delivered + int(settles * second),
            throttled=begin.throttled + (second if throttles else 0),
            dropped=begin.dropped,
            oldest_seconds=age,
            journal_bytes=int(arrives * second) * 300,
            journal_limit=10**6,
        )
        for second in seconds
    ]


def told(monitor: OverloadMonitor, loads: Iterable[Load]) -> list[str]:
    return [text for load in loads if (text := monitor.observe(load))]


def test_a_backlog_that_grows_is_told_once_with_its_numbers() -> None:
    monitor = OverloadMonitor("keep")
    (text,) = told(monitor, market(range(300), arrives=400 / 60, settles=100 / 60, throttles=True))
    assert monitor.overloaded
    assert "400 frames a minute came and 100 were settled, its rate limit being used up" in text
    assert "the journal has room for about" in text
    assert "set delivery.overload to conflate" in text


@pytest.mark.parametrize(
    "loads",
    [
        pytest.param(market(range(300), arrives=10, settles=0), id="a server that is down is no slow one"),
        pytest.param(market(range(300), arrives=10, settles=12), id="a backlog that is worked off"),
        pytest.param(market(range(300), arrives=10, settles=9, age=1.0), id="nothing waits long"),
        pytest.param(market(range(29), arrives=10, settles=1), id="a moment"),
    ],
)
def test_what_is_no_overload_is_not_called_one(loads: list[Load]) -> None:
    monitor = OverloadMonitor("keep")
    assert told(monitor, loads) == []
    assert not monitor.overloaded


@pytest.mark.parametrize(("policy", "words"), [("conflate", "trades are all kept"), ("drop_oldest", "is dropped")])
def test_it_says_what_the_policy_does(policy: Policy, words: str) -> None:
    (text,) = told(OverloadMonitor(policy), market(range(60), arrives=10, settles=1))
    assert words in text
    assert "set delivery.overload" not in text


def test_it_is_over_when_nothing_waits_long_any_more_and_then_may_begin_again() -> None:
    monitor = OverloadMonitor("conflate")
    busy = market(range(60), arrives=10, settles=1)
    calm = market(range(1, 200), arrives=10, settles=10, start=busy[-1], age=0.5)
    again = market(range(1, 100), arrives=10, settles=1, start=calm[-1])
    assert [text.split(":")[0].split(",")[0] for text in told(monitor, [*busy, *calm, *again])] == [
        "PulseStream is slower than the market",
        "PulseStream keeps up again",
        "PulseStream is slower than the market",
    ]


def test_it_is_not_over_while_a_policy_still_gives_something_up() -> None:
    monitor = OverloadMonitor("conflate")
    busy = market(range(60), arrives=10, settles=1)
    told(monitor, busy)
    for second in range(1, 600):
        last = busy[-1]
        load = Load(last.at + second, last.arrived, last.settled, last.delivered, 0, second, 0.5, 0, 10**6)
        assert monitor.observe(load) is None
    assert monitor.overloaded
