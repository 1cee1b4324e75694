"""Holes in the trades of a journal are found, filled, and remembered; with a REST that does as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.backfill import CONSUMER, Backfill
from rxbridge.errors import JournalError, RestFailed, RestRefused
from rxbridge.events import event_id
from rxbridge.journal import Journal, MemoryJournal
from tests.rxbridge.backfill.support import (
    KEPT,
    PRODUCT,
    FakeRest,
    append,
    eventually,
    every,
    frame,
    gaps,
    hasty,
    heartbeat,
    match,
    matches,
    moment,
    notices,
    ticker,
    trade_ids,
)

Run: TypeAlias = Callable[..., Backfill]


def until_whole(journal: Journal, ids: range, product: str = PRODUCT) -> None:
    eventually(lambda: set(trade_ids(journal, product)) >= set(ids))


def test_a_hole_is_filled_in_order_by_frames_that_say_where_they_are_from(
    journal: Journal, rest: FakeRest, run: Run
) -> None:
    append(journal, *matches([10, 11, 15]))
    backfill = run(journal, rest)
    eventually(lambda: backfill.idle)

    assert trade_ids(journal) == [10, 11, 15, 12, 13, 14]
    assert rest.asked == [(PRODUCT, 15, 3)]
    added = every(journal)[3]
    assert (added.connection, added.index) == (0, 0)
    assert json.loads(added.data) == {
        "type": "match",
        "trade_id": 12,
        "product_id": PRODUCT,
        "price": "12.50",
        "size": "0.01",
        "side": "sell",
        "time": moment(12).isoformat().replace("+00:00", "Z"),
        "rxbridge_source": "rest",
    }
    assert (backfill.statistics.holes, backfill.statistics.fetched, backfill.statistics.missing) == (1, 3, 0)


def test_an_empty_journal_begins_with_the_first_trade(journal: Journal, rest: FakeRest, run: Run) -> None:
    backfill = run(journal, rest)
    append(journal, heartbeat(500), match(500, kind="last_match"), *matches([501, 502]), heartbeat(502))
    eventually(lambda: backfill.idle)

    assert rest.asked == []


@pytest.mark.parametrize("tell", [heartbeat, ticker])
def test_a_hole_at_the_end_is_known_from_another_channel(
    memory: MemoryJournal, rest: FakeRest, run: Run, tell: Callable[[object], Any]
) -> None:
    run(memory, rest)
    append(memory, match(10), tell(12))
    until_whole(memory, range(10, 13))

    assert trade_ids(memory, fetched=True) == [11, 12]


@pytest.mark.parametrize("unusable", [0, None, -5, "soon", 1.5, 2**70])
def test_an_id_that_is_none_is_no_evidence(memory: MemoryJournal, rest: FakeRest, run: Run, unusable: object) -> None:
    backfill = run(memory, rest)
    append(memory, match(10), heartbeat(unusable), ticker(unusable), match(unusable))
    eventually(lambda: backfill.idle)

    assert rest.asked == []


def test_a_trade_whose_frame_was_damaged_is_missed_by_its_id(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    broken = match(11)
    run(memory, rest)
    append(memory, match(10), frame({"type": "match", "product_id": PRODUCT, "price": "1"}))
    append(memory, type(broken)(broken.data[:40], broken.received_at, broken.connection, 0), match(13))
    until_whole(memory, range(10, 14))

    assert trade_ids(memory, fetched=True) == [11, 12]


def test_what_is_only_late_costs_no_request(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    backfill = run(memory, rest, grace_seconds=60.0)
    append(memory, *matches([10, 13, 11]), heartbeat(14))
    eventually(lambda: backfill.statistics.missing == 2)
    assert not backfill.idle
    append(memory, *matches([14, 12, 12, 3]))
    eventually(lambda: backfill.idle)

    assert (rest.asked, backfill.statistics.holes) == ([], 0)


def test_products_nobody_asked_for_are_not_followed(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    backfill = run(memory, rest, products=())
    append(memory, *matches([10, 15]), heartbeat(20))
    eventually(lambda: backfill.idle)

    assert rest.asked == []


def test_small_holes_near_to_each_other_take_one_request(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, *matches(range(100, 601, 2)))
    run(memory, rest)
    until_whole(memory, range(100, 601))

    assert rest.asked == [(PRODUCT, 600, 499)]
    assert trade_ids(memory, fetched=True) == list(range(101, 600, 2))


def test_a_night_offline_is_caught_up_upwards_page_by_page(journal: Journal, rest: FakeRest, run: Run) -> None:
    append(journal, *matches(range(1, 101)))
    evening = run(journal, rest)
    eventually(lambda: evening.idle)
    evening.drain(10.0)
    append(journal, match(20_101, kind="last_match"), *matches(range(20_102, 20_110)))
    morning = run(journal, rest)
    until_whole(journal, range(1, 20_110))

    assert trade_ids(journal, fetched=True) == list(range(101, 20_101))
    assert [after for _, after, _ in rest.asked] == list(range(1101, 20_102, 1000))
    eventually(lambda: morning.idle)
    assert morning.statistics.given_up == 0


def test_a_restart_in_the_middle_of_a_hole_fetches_nothing_twice(journal: Journal, rest: FakeRest, run: Run) -> None:
    append(journal, *matches([1, 5002]))
    answered = iter(range(10**6))

    def hold_after_two_pages() -> None:
        if next(answered) == 2:
            rest.gate.clear()

    rest.before_answer = hold_after_two_pages
    first = run(journal, rest)
    eventually(lambda: len(rest.asked) >= 4)
    first.drain(10.0)
    kept = trade_ids(journal, fetched=True)
    assert kept == list(range(2, len(kept) + 2))

    rest.gate.set()
    second = run(journal, rest)
    eventually(lambda: second.idle)

    assert trade_ids(journal, fetched=True) == list(range(2, 5002))


def test_frames_are_released_and_not_followed_again(journal: Journal, rest: FakeRest, run: Run) -> None:
    append(journal, *matches(range(1, 51)))
    backfill = run(journal, rest)
    eventually(lambda: journal.cursor(CONSUMER) == 50)
    backfill.drain(10.0)

    assert json.loads(journal.recall(CONSUMER) or b"")["offset"] == 50


# ---- what REST does not have


def test_what_rest_does_not_have_becomes_a_gap(journal: Journal, run: Run) -> None:
    rest = FakeRest(lacks=[12, 13, 17])
    append(journal, *matches([10, 20]))
    backfill = run(journal, rest, tries=3)
    eventually(lambda: backfill.idle)

    assert trade_ids(journal, fetched=True) == [11, 14, 15, 16, 18, 19]
    assert gaps(journal) == [("trades", "matches", 12, 13), ("trades", "matches", 17, 17)]
    assert [(one.products, one.first, one.last) for one in notices(journal)] == [
        ((PRODUCT,), 12, 13),
        ((PRODUCT,), 17, 17),
    ]
    assert event_id(notices(journal)[0]) == "coinbase-gap-trades-BTC-USD-12-13"
    assert (backfill.statistics.given_up, backfill.statistics.gaps) == (3, 2)
    # The first page, twice more what it lacked, and each of the two once more when REST was known to be up to date.
    assert [after for _, after, _ in rest.asked] == [20, 18, 18, None, 14, None, 18]


def test_a_rest_that_is_behind_the_feed_is_waited_for(memory: MemoryJournal, run: Run) -> None:
    rest = FakeRest(last=10)
    append(memory, *matches([10]), heartbeat(13))

    def catch_up() -> None:
        if len(rest.asked) == 9:
            rest.last = 13

    rest.before_answer = catch_up
    run(memory, rest, tries=3)
    until_whole(memory, range(10, 14))

    assert gaps(memory) == []


def test_trades_that_nobody_ever_has_are_given_up_in_the_end(memory: MemoryJournal, run: Run) -> None:
    rest = FakeRest(last=10)
    append(memory, *matches([10]), heartbeat(13))
    backfill = run(memory, rest, tries=2)
    eventually(lambda: backfill.idle)

    assert gaps(memory) == [("trades", "matches", 11, 13)]


def test_a_rest_with_nothing_at_all_is_not_believed_soon(memory: MemoryJournal, run: Run) -> None:
    rest = FakeRest(first=10**7)
    append(memory, *matches([10, 15]))

    def recover() -> None:
        if len(rest.asked) == 12:
            rest.first = 1

    rest.before_answer = recover
    run(memory, rest, tries=3)
    until_whole(memory, range(10, 16))

    assert gaps(memory) == []


def test_what_is_too_old_for_rest_is_one_gap_found_by_halving(memory: MemoryJournal, run: Run) -> None:
    rest = FakeRest(first=70_001)
    append(memory, *matches([10, 100_000]))
    backfill = run(memory, rest, tries=2)
    until_whole(memory, range(70_001, 100_001))
    eventually(lambda: backfill.idle)

    assert gaps(memory) == [("trades", "matches", 11, 70_000)]
    assert trade_ids(memory, fetched=True) == list(range(70_001, 100_000))
    # The first page twice, then once more after a look at the newest; the search, with each empty answer confirmed.
    assert len(rest.asked) <= 4 + 17 * 3 + 30


def test_a_product_that_rest_does_not_know_becomes_a_gap(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.failing[PRODUCT] = RestRefused("http://rest", 404, "NotFound")
    append(memory, *matches([10, 15]))
    backfill = run(memory, rest, tries=2)
    eventually(lambda: backfill.idle)

    (gap,) = memory.market_gaps()
    assert (gap.first, gap.last) == (11, 14)
    assert "NotFound" in gap.reason


# ---- limits


def test_of_a_hole_that_is_too_large_the_newest_are_fetched(journal: Journal, rest: FakeRest, run: Run) -> None:
    append(journal, *matches([10, 5011]))
    backfill = run(journal, rest, max_trades=1500)
    eventually(lambda: backfill.idle)

    assert trade_ids(journal, fetched=True) == list(range(3511, 5011))
    assert gaps(journal) == [("trades", "matches", 11, 3510)]
    assert "1500" in notices(journal)[0].reason


def test_what_is_too_old_is_not_fetched(journal: Journal, rest: FakeRest, run: Run) -> None:
    append(journal, *matches([10, 4000]))
    backfill = run(journal, rest, max_age_seconds=2000.0, clock=lambda: moment(5000).timestamp())
    eventually(lambda: backfill.idle)

    assert gaps(journal) == [("trades", "matches", 11, 2999)]
    assert trade_ids(journal, fetched=True) == list(range(3000, 4000))


# ---- since


def test_a_new_journal_can_begin_with_the_trades_since_a_moment(journal: Journal, run: Run) -> None:
    rest = FakeRest(last=5000)
    backfill = run(journal, rest, since=moment(2500))
    eventually(lambda: len(trade_ids(journal)) == 2501)
    append(journal, *matches(range(5001, 5004)))
    eventually(lambda: backfill.idle)

    assert trade_ids(journal) == list(range(2500, 5004))


def test_since_reaches_back_from_trades_that_came_meanwhile(memory: MemoryJournal, run: Run) -> None:
    rest = FakeRest(last=50)
    append(memory, *matches(range(51, 61)))
    backfill = run(memory, rest, since=moment(40))
    until_whole(memory, range(40, 61))
    eventually(lambda: backfill.idle)

    assert trade_ids(memory, fetched=True) == list(range(40, 51))


def test_since_the_future_fetches_nothing(memory: MemoryJournal, run: Run) -> None:
    backfill = run(memory, FakeRest(last=50), since=moment(60))
    eventually(lambda: backfill.idle)

    assert trade_ids(memory) == []


def test_since_survives_a_restart_before_it_was_looked_up(journal: Journal, run: Run) -> None:
    rest = FakeRest(last=5000)
    rest.gate.clear()
    first = run(journal, rest, since=moment(4900))
    eventually(lambda: rest.asked)
    first.drain(10.0)
    rest.gate.set()
    run(journal, rest)
    until_whole(journal, range(4900, 5001))


def test_since_is_ignored_where_there_is_a_history(
    memory: MemoryJournal, rest: FakeRest, run: Run, log: list[str]
) -> None:
    append(memory, match(100))
    first = run(memory, rest)
    eventually(lambda: first.idle)
    first.drain(10.0)
    second = run(memory, rest, since=moment(1))
    eventually(lambda: second.idle)

    assert rest.asked == []
    assert sum("has a history already" in line for line in log) == 1


# ---- failures


def test_failures_are_tried_again_for_as_long_as_it_takes(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.failures = [RestFailed("http://rest", "no answer") for _ in range(40)]
    append(memory, *matches([10, 15]))
    backfill = run(memory, rest, tries=2)
    eventually(lambda: backfill.idle)

    assert trade_ids(memory, fetched=True) == [11, 12, 13, 14]
    assert gaps(memory) == []
    assert (backfill.statistics.failed_requests, backfill.statistics.requests) == (40, 41)


def test_a_product_that_fails_holds_no_other_up(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.failing["ETH-USD"] = RestFailed("http://rest", "no answer", status=500)
    append(memory, *matches([10, 3015], "ETH-USD"), *matches([10, 3015]))
    run(memory, rest, products=("ETH-USD", PRODUCT))
    until_whole(memory, range(10, 3016))
    rest.failing.clear()
    until_whole(memory, range(10, 3016), "ETH-USD")


def test_a_rest_that_asks_to_be_left_alone_is(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.failures = [RestFailed("http://rest", "slow down", status=429, retry_after=60.0)]
    append(memory, *matches([10, 15], "ETH-USD"), *matches([10, 15]))
    backfill = run(memory, rest, products=("ETH-USD", PRODUCT))
    eventually(lambda: backfill.statistics.failed_requests == 1)
    append(memory, match(99))
    eventually(lambda: backfill.statistics.missing == 4 + 4 + 83)

    assert len(rest.asked) == 1


def test_a_rest_that_hangs_stops_neither_the_reading_nor_the_end(journal: Journal, rest: FakeRest, run: Run) -> None:
    rest.gate.clear()
    append(journal, *matches([10, 15]))
    backfill = run(journal, rest)
    eventually(lambda: rest.asked)
    append(journal, *matches(range(16, 200)))
    eventually(lambda: journal.cursor(CONSUMER) == 186)

    assert backfill.drain(5.0)
    assert trade_ids(journal, fetched=True) == []
    rest.gate.set()


def test_an_answer_that_never_comes_is_asked_for_again(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.timeout_seconds = 0.05
    rest.gate.clear()
    append(memory, *matches([10, 15]))
    run(memory, rest)
    eventually(lambda: len(rest.asked) >= 2)
    rest.gate.set()
    until_whole(memory, range(10, 16))


def test_requests_are_paced(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    append(memory, *matches([10, 5000]))
    run(memory, rest, requests_per_second=0.01)
    eventually(lambda: len(trade_ids(memory)) == 1002)
    append(memory, match(5001))
    eventually(lambda: memory.cursor(CONSUMER) == 1003)

    assert len(rest.asked) == 1


class Unreliable(MemoryJournal):
    """Fails where it is told to."""

    def __init__(self) -> None:
        super().__init__(keep_seconds=KEPT)
        self.fail: dict[str, int] = {}

    def _stumble(self, name: str) -> None:
        if self.fail.get(name, 0):
            self.fail[name] -= 1
            raise JournalError("(memory)", f"{name} fails")

    def append(self, frame: Any) -> None:
        if frame.data.startswith(b'{"type":"rxbridge_gap"'):
            self._stumble("notice")
        super().append(frame)

    def remember(self, name: str, value: bytes) -> None:
        self._stumble("remember")
        super().remember(name, value)

    def acknowledge(self, consumer: str, offset: int, dropped: Any = ()) -> None:
        self._stumble("acknowledge")
        super().acknowledge(consumer, offset, dropped)

    def record_market_gaps(self, gaps: Any) -> None:
        super().record_market_gaps(gaps)
        self._stumble("after recording")


@pytest.mark.parametrize("where", ["notice", "remember", "acknowledge", "after recording"])
def test_a_crash_at_any_point_is_made_good(rest: FakeRest, run: Run, where: str) -> None:
    with Unreliable() as journal:
        rest.lacks = {12}
        append(journal, *matches([10, 15]))
        journal.fail[where] = 1
        backfill = run(journal, rest, tries=2)
        eventually(lambda: backfill.idle and not journal.fail[where])

        assert set(trade_ids(journal)) == {10, 11, 13, 14, 15}
        assert gaps(journal) == [("trades", "matches", 12, 12)]
        assert {event_id(one) for one in notices(journal)} == {"coinbase-gap-trades-BTC-USD-12-12"}


def test_a_crash_before_it_was_remembered_repeats_what_is_known_by_its_id(rest: FakeRest, run: Run) -> None:
    with Unreliable() as journal:
        rest.lacks = {12}
        append(journal, *matches([10, 15]))
        first = hasty(journal, rest, tries=2)
        first.start()
        eventually(lambda: gaps(journal))
        # From here on nothing is remembered: as if the process had been killed.
        journal.fail["remember"] = 10**6
        first.drain(10.0)
        journal.fail.clear()
        second = run(journal, rest, tries=2)
        eventually(lambda: second.idle)

        assert gaps(journal) == [("trades", "matches", 12, 12)]
        assert {event_id(one) for one in notices(journal)} == {"coinbase-gap-trades-BTC-USD-12-12"}
        assert set(trade_ids(journal)) == {10, 11, 13, 14, 15}


class Forgetful(MemoryJournal):
    """Loses the first trades that were fetched, as a full disk would."""

    lost = 0

    def append(self, frame: Any) -> None:
        if b'"rest"' in frame.data and self.lost < 2:
            self.lost += 1
            return
        super().append(frame)


def test_what_the_journal_has_lost_again_is_still_missing(rest: FakeRest, run: Run) -> None:
    with Forgetful(keep_seconds=KEPT) as journal:
        append(journal, *matches([10, 15]))
        run(journal, rest)
        until_whole(journal, range(10, 16))

        assert journal.lost == 2


def test_a_defect_that_stays_ends_it_and_says_why(memory: MemoryJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    from rxbridge.backfill import backfill as module  # noqa: PLC0415

    monkeypatch.setattr(module, "_LONGEST_PAUSE_SECONDS", 0.001)
    rest = FakeRest()
    rest.failures = [ZeroDivisionError("a defect") for _ in range(100)]
    append(memory, *matches([10, 15]))
    backfill = hasty(memory, rest)
    backfill.start()
    eventually(lambda: backfill.ended)

    assert isinstance(backfill.failure, ZeroDivisionError)
    assert backfill.drain(10.0)


def test_a_defect_that_passes_is_told_and_survived(
    memory: MemoryJournal, rest: FakeRest, run: Run, log: list[str]
) -> None:
    rest.failures = [ZeroDivisionError("a defect")]
    append(memory, *matches([10, 15]))
    run(memory, rest)
    until_whole(memory, range(10, 16))

    assert any("[RESTARTING]" in line for line in log)


def test_what_was_remembered_and_cannot_be_read_is_found_out_again(
    memory: MemoryJournal, rest: FakeRest, run: Run, log: list[str]
) -> None:
    append(memory, *matches([10, 15]))
    memory.remember(CONSUMER, b'{"offset":"many"')
    run(memory, rest)
    until_whole(memory, range(10, 16))

    assert any("cannot be read" in line for line in log)


def test_a_full_journal_that_blocks_is_no_deadlock(rest: FakeRest, run: Run) -> None:
    with MemoryJournal(max_bytes=60_000, overflow="block", keep_bytes=0) as journal:
        journal.acknowledge("pulsestream", 0)
        delivered: list[int] = []
        append(journal, *matches([1, 5002]))
        backfill = run(journal, rest)

        def deliver() -> bool:
            for one in journal.read(journal.cursor("pulsestream")):
                delivered.append(json.loads(one.data)["trade_id"])
                journal.acknowledge("pulsestream", one.offset)
            return len(delivered) == 5002

        eventually(deliver)
        eventually(lambda: backfill.idle)

        assert delivered == [1, 5002, *range(2, 5002)]


# ---- what is said


def test_a_large_hole_is_told_at_its_begin_and_its_end(
    memory: MemoryJournal, rest: FakeRest, run: Run, log: list[str]
) -> None:
    append(memory, *matches([1, 5002]))
    backfill = run(memory, rest)
    eventually(lambda: backfill.idle)
    backfill.drain(10.0)

    told = [line for line in log if "[BACKFILL]" in line]
    assert told[0] == "INFO [BACKFILL] 5,000 trades of BTC-USD are missing, ids 2 to 5001: they are fetched"
    assert told[-1].startswith("INFO [BACKFILL] 1 hole in BTC-USD: 5,000 trades fetched, in ")
    assert len(told) == 2


def test_thousands_of_small_holes_are_few_lines_that_add_up(
    memory: MemoryJournal, rest: FakeRest, run: Run, log: list[str]
) -> None:
    backfill = run(memory, rest)
    for start in range(1, 1500, 3):
        append(memory, match(start))
    eventually(lambda: backfill.idle)
    backfill.drain(10.0)

    told = [line for line in log if "[BACKFILL]" in line]
    assert 1 <= len(told) <= 4
    fetched = [int(line.split(": ")[1].split(" trade")[0].replace(",", "")) for line in told]
    assert sum(fetched) == len(trade_ids(memory, fetched=True)) == 998


def test_progress_can_be_seen(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    seen: list[tuple[int, int]] = []
    backfill = hasty(memory, rest)
    rest.before_answer = lambda: seen.append((backfill.statistics.done, backfill.statistics.total))
    append(memory, *matches([1, 5002]))
    backfill.start()
    eventually(lambda: backfill.idle)
    assert backfill.drain(10.0)

    assert seen[1:] == [(done, 5000) for done in range(1000, 5000, 1000)]
    assert (backfill.statistics.done, backfill.statistics.total) == (0, 0)


def test_no_thread_stays(memory: MemoryJournal, rest: FakeRest) -> None:
    append(memory, *matches([10, 15]))
    backfill = hasty(memory, rest)
    backfill.start()
    eventually(lambda: backfill.idle)
    assert backfill.drain(10.0)

    names = {"rxbridge-backfill", "rxbridge-rest"}
    eventually(lambda: not names & {thread.name for thread in threading.enumerate()})


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_is_lost_and_reordered_in_the_end_every_trade_is_there_or_a_gap(data: st.DataObject) -> None:
    ids = range(1, 80)
    lost = data.draw(st.sets(st.sampled_from(ids[1:-1])))
    lacks = data.draw(st.sets(st.sampled_from(ids[1:-1]), max_size=5))
    order = data.draw(st.permutations(ids[1:-1]))
    cut = data.draw(st.integers(0, len(order)))
    rest = FakeRest(last=79, lacks=lacks)
    arriving = [one for one in order if one not in lost]
    with MemoryJournal(keep_seconds=KEPT) as journal:
        append(journal, match(1))
        for part in (arriving[:cut], [*arriving[cut:], 79]):
            append(journal, *matches(part))
            backfill = hasty(journal, rest, tries=2)
            backfill.start()
            eventually(lambda backfill=backfill: backfill.idle)
            assert backfill.drain(10.0)

        missing = {one for gap in journal.market_gaps() for one in range(gap.first, gap.last + 1)}
        assert set(trade_ids(journal)) | missing == set(ids)
        assert missing <= lacks
        assert set(trade_ids(journal)) >= set(ids) - (lost & lacks)
