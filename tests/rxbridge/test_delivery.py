"""The delivery half on a journal in memory: what is acknowledged, and when."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest
import reactivex
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import Observable, Subject
from reactivex import operators as ops

from rxbridge.delivery import Delivery, refused
from rxbridge.errors import EventRejected, JournalFull
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import DeadLetter, MemoryJournal
from rxbridge.messages import Frame
from rxbridge.progress import CONSUMER, Progress
from rxbridge.telemetry.statistics import DeliveryStatistics

HEARTBEAT = b'{"type":"heartbeat","product_id":"BTC-USD"}'
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
TORN = b'{"type":"match'


def match(trade: int) -> bytes:
    fields = {"type": "match", "trade_id": trade, "product_id": "BTC-USD", "price": "1", "size": "1"}
    return json.dumps(fields).encode()


class RecordingSink:
    """Takes batches; its owner decides what becomes of each."""

    def __init__(self, progress: Progress, statistics: DeliveryStatistics) -> None:
        self.progress = progress
        self.statistics = statistics
        self.abandoned = False
        self.batches: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()
        self.refuse: Callable[[EncodedEvent], bool] = lambda _event: False

    def on_next(self, value: Sequence[EncodedEvent]) -> None:
        self.open.wait(30)
        if self.abandoned:
            return
        self.batches.append([event.event_id for event in value])
        refuse = refused(self.progress)
        bad = [event for event in value if self.refuse(event)]
        for event in bad:
            refuse(event, EventRejected(event.event_id, ["bad"]), 1, 2, 3)
        self.progress.settled(value)
        self.statistics.delivered += len(value) - len(bad)


class Half:
    def __init__(self, journal: MemoryJournal | None = None, **options: Any) -> None:
        self.journal = MemoryJournal() if journal is None else journal
        self.statistics = DeliveryStatistics()
        self.sinks: list[RecordingSink] = []
        defaults: dict[str, Any] = {"batch_count": 3, "batch_seconds": 0.02, "batch_bytes": 1_000_000}
        self.delivery = Delivery(
            self.journal,
            self.make_sink,
            channels=("ticker", "matches"),
            rules=EventRules("test"),
            statistics=self.statistics,
            **(defaults | options),
        )
        self.appended = 0

    def make_sink(self, progress: Progress) -> RecordingSink:
        self.sinks.append(RecordingSink(progress, self.statistics))
        return self.sinks[-1]

    @property
    def sink(self) -> RecordingSink:
        return self.sinks[0]

    def append(self, *contents: bytes) -> None:
        for data in contents:
            self.appended += 1
            self.journal.append(Frame(data=data, received_at=time.time_ns(), connection=1, index=self.appended))
        assert self.journal.flush(10)

    def delivered(self) -> list[str]:
        return [event for batch in self.sink.batches for event in batch]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([HEARTBEAT, TORN, *map(match, range(1, 9))]), max_size=40), st.sets(st.integers(1, 8)))
def test_everything_is_delivered_or_dead_and_then_acknowledged(contents: list[bytes], poisonous: set[int]) -> None:
    half = Half()
    half.sink.refuse = lambda event: int(event.event_id.rsplit("-", 1)[1]) in poisonous
    half.delivery.start()
    half.append(*contents)

    assert half.delivery.drain(30)

    trades = {trade for trade in range(1, 9) if match(trade) in contents}
    counts = half.statistics
    letters = list(half.journal.dead_letters())
    assert sorted(half.delivered()) == sorted(f"coinbase-BTC-USD-match-{trade}" for trade in trades)
    assert counts.delivered == len(trades - poisonous)
    assert counts.dead == len(letters) == len(trades & poisonous) + contents.count(TORN)
    assert counts.received == counts.delivered + counts.dead
    assert len(contents) == counts.received + counts.ignored + counts.repeated
    assert half.journal.cursor(CONSUMER) == len(contents)


def test_nothing_is_acknowledged_before_it_is_settled(wait_for: Callable[..., None]) -> None:
    half = Half()
    half.sink.open.clear()
    half.delivery.start()
    half.append(*map(match, range(1, 4)), HEARTBEAT)
    wait_for(lambda: half.statistics.received == 3)

    half.delivery.progress.acknowledge_idle()

    assert half.journal.cursor(CONSUMER) == 0
    half.sink.open.set()
    wait_for(lambda: half.journal.cursor(CONSUMER) == 3)
    assert half.delivery.drain(30)


def advanced(*trades: int) -> bytes:
    """A frame of Advanced Trade, the newest first."""
    items = [
        b'{"trade_id":"%d","product_id":"BTC-USD","price":"1","size":"1","side":"BUY"}' % one
        for one in sorted(trades, reverse=True)
    ]
    return b'{"channel":"market_trades","events":[{"type":"update","trades":[%s]}]}' % b",".join(items)


def test_a_frame_of_many_events_is_acknowledged_with_the_last_of_them() -> None:
    # Batches are full, however slow the machine; the drain sends the last one.
    half = Half(batch_count=2, batch_seconds=600)
    cursors: list[int] = []
    settled = half.delivery.progress.settled

    def note(batch: Sequence[EncodedEvent]) -> None:
        settled(batch)
        cursors.append(half.journal.cursor(CONSUMER))

    half.delivery.progress.settled = note
    half.append(match(1), advanced(2, 3, 4), advanced(5), HEARTBEAT, advanced())
    half.delivery.start()

    assert half.delivery.drain(30)
    # Two and two and one: the second batch ends where the frame does, the first in the midst of it.
    assert half.delivered() == [f"coinbase-BTC-USD-match-{one}" for one in range(1, 6)]
    assert cursors == [1, 2, 3]
    assert half.journal.cursor(CONSUMER) == 5


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.integers(1, 12), unique=True, max_size=5), max_size=15),
    st.sets(st.integers(1, 12)),
    st.sampled_from(["keep", "drop_oldest"]),
)
def test_frames_of_many_events_are_conserved(frames: list[list[int]], poisonous: set[int], overload: Any) -> None:
    half = Half(batch_count=2, overload=overload, overload_max_age_seconds=1e-9)
    half.delivery.overloaded = overload != "keep"
    half.sink.refuse = lambda event: int(event.event_id.rsplit("-", 1)[1]) in poisonous
    half.append(*(advanced(*trades) for trades in frames))
    half.delivery.start()

    assert half.delivery.drain(30)

    counts = half.statistics
    trades = {trade for some in frames for trade in some}
    assert counts.received == len(trades) == counts.delivered + counts.dead + counts.dropped
    assert sum(map(len, frames)) == counts.received + counts.repeated
    assert half.journal.cursor(CONSUMER) == len(frames)
    if overload == "keep":
        assert sorted(half.delivered()) == sorted(f"coinbase-BTC-USD-match-{trade}" for trade in trades)


def test_new_frames_wake_the_delivery_and_are_not_asked_for_now_and_then(wait_for: Callable[..., None]) -> None:
    half = Half()
    half.delivery.start()
    half.append(match(1))
    wait_for(lambda: half.delivered() == ["coinbase-BTC-USD-match-1"])

    # On a scheduler the journal would be read ten times a second; this thread sleeps until there is something.
    assert "journal-frames" in [thread.name for thread in threading.enumerate()]
    assert half.delivery.drain(30)


def test_frames_without_events_are_acknowledged_when_nothing_is_in_hand(wait_for: Callable[..., None]) -> None:
    half = Half()
    half.delivery.start()
    half.append(match(1), *[HEARTBEAT] * 10)

    def acknowledged() -> bool:
        half.delivery.progress.acknowledge_idle()
        return half.journal.cursor(CONSUMER) == 11

    wait_for(acknowledged)
    assert half.delivery.progress.caught_up()
    assert half.delivery.drain(30)


def test_a_dead_letter_is_written_before_its_frame_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    half = Half()
    order: list[str] = []
    write, acknowledge = half.journal.add_dead_letters, half.journal.acknowledge
    monkeypatch.setattr(half.journal, "add_dead_letters", lambda letters: (order.append("letters"), write(letters)))
    monkeypatch.setattr(
        half.journal,
        "acknowledge",
        lambda name, offset, dropped=(): (order.append("cursor"), acknowledge(name, offset, dropped)),
    )
    half.append(TORN)
    half.delivery.start()

    assert half.delivery.drain(30)

    assert order == ["letters", "cursor"]
    (letter,) = half.journal.dead_letters()
    assert (letter.offset, letter.event_id, letter.stage, letter.content) == (1, "", "parse", TORN)


def nothing(frames: Observable[Frame]) -> Observable[EncodedEvent]:
    """A chain that makes no event."""
    return frames.pipe(ops.flat_map(lambda _: reactivex.empty()))


@pytest.mark.parametrize("at_once", [True, False], ids=["while it is subscribed to", "later"])
def test_a_frame_at_which_the_chain_ends_is_not_read(*, at_once: bool) -> None:
    def fail_at_3(frame: Frame) -> Frame:
        if frame.offset == 3:
            raise ValueError("I dislike 3")
        return frame

    journal, statistics = MemoryJournal(), DeliveryStatistics()
    progress = Progress(journal, statistics)
    errors: list[Exception] = []
    with journal:
        for number in range(1, 6):
            journal.append(Frame(HEARTBEAT, number, 1, number))
        frames: Subject[Frame] = Subject()
        source = reactivex.from_iterable(journal.read(0)) if at_once else frames
        progress.track(source, lambda frames: frames.pipe(ops.map(fail_at_3), nothing)).subscribe(
            on_error=errors.append
        )
        for frame in journal.read(0):
            frames.on_next(frame)
        progress.acknowledge_idle()

        assert [str(error) for error in errors] == ["I dislike 3"]
        assert journal.cursor(CONSUMER) == 2, "the others are read again"
        assert not progress.caught_up()


def test_a_chain_that_is_still_in_a_frame_at_a_restart_tells_nobody() -> None:
    def restart(frame: Frame) -> Frame:
        progress.restart()
        return frame

    journal = MemoryJournal()
    progress = Progress(journal, DeliveryStatistics())
    with journal:
        journal.append(Frame(HEARTBEAT, 1, 1, 1))
        progress.track(
            reactivex.from_iterable(journal.read(0)), lambda frames: frames.pipe(ops.map(restart), nothing)
        ).subscribe()
        progress.acknowledge_idle()

        assert journal.cursor(CONSUMER) == 0


def test_two_threads_that_write_the_same_letters_take_no_other_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, statistics = MemoryJournal(), DeliveryStatistics()
    progress = Progress(journal, statistics)
    letters = [DeadLetter(offset, "", "parse", "torn", TORN, 1, 1) for offset in (1, 2)]
    write = journal.add_dead_letters

    def overtaken(some: Sequence[DeadLetter]) -> None:
        monkeypatch.setattr(journal, "add_dead_letters", write)
        progress.acknowledge_idle()  # by the other thread
        progress.dead(letters[1])
        write(some)

    def read(offset: int) -> None:
        progress.track(reactivex.from_iterable(journal.read(offset - 1, 1)), nothing).subscribe()
        statistics.received += 1

    with journal:
        for letter in letters:
            journal.append(Frame(letter.content, 1, 1, letter.offset))
        read(1)
        progress.dead(letters[0])
        monkeypatch.setattr(journal, "add_dead_letters", overtaken)
        progress.acknowledge_idle()
        read(2)
        progress.acknowledge_idle()

        assert journal.cursor(CONSUMER) == 2
        assert [letter.offset for letter in journal.dead_letters()] == [1, 2]


def test_a_restart_does_not_hide_what_is_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, statistics = MemoryJournal(), DeliveryStatistics()
    progress = Progress(journal, statistics)
    restart = threading.Thread(target=progress.restart)
    in_hand = progress.in_hand

    def overtaken() -> int:
        restart.start()
        restart.join(0.1)  # it waits, or it is over
        return in_hand()

    with journal:
        journal.append(Frame(match(1), 1, 1, 0))
        progress.track(reactivex.from_iterable(journal.read(0)), nothing).subscribe()
        statistics.received = 1
        monkeypatch.setattr(progress, "in_hand", overtaken)
        progress.acknowledge_idle()
        restart.join(10)

        assert journal.cursor(CONSUMER) == 0, "its event was not delivered"


def test_a_refused_event_is_a_dead_letter_with_its_story() -> None:
    half = Half()
    half.sink.refuse = lambda _event: True
    half.append(match(5))
    half.delivery.start()

    assert half.delivery.drain(30)

    (letter,) = half.journal.dead_letters()
    assert (letter.event_id, letter.stage, letter.reason) == ("coinbase-BTC-USD-match-5", "deliver", "bad")
    assert (letter.first_attempt, letter.last_attempt, letter.attempts) == (1, 2, 3)
    assert json.loads(letter.content)["event_id"] == letter.event_id


def test_a_full_disk_delays_dead_letters_and_loses_none(
    monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    half = Half()
    write = half.journal.add_dead_letters

    def full(letters: Sequence[DeadLetter]) -> None:
        raise JournalFull("journal", f"no room for {len(letters)} letters")

    monkeypatch.setattr(half.journal, "add_dead_letters", full)
    half.append(TORN)
    half.delivery.start()
    # Counted, and its frame done with.
    wait_for(lambda: half.statistics.dead == 1 and half.delivery.progress.caught_up())
    with pytest.raises(JournalFull):
        half.delivery.progress.acknowledge_idle()
    assert half.journal.cursor(CONSUMER) == 0

    monkeypatch.setattr(half.journal, "add_dead_letters", write)
    assert half.delivery.drain(30)
    assert len(list(half.journal.dead_letters())) == 1


def test_a_defect_in_the_stream_restarts_it_from_the_journal(
    monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    half = Half(batch_count=1)
    read, failures = half.journal.read, [OSError("a page that cannot be read")]

    def fail_once(after: int, limit: int = 1000) -> Sequence[Frame]:
        if after >= 2 and failures:
            raise failures.pop()
        return read(after, min(limit, 2))

    monkeypatch.setattr(half.journal, "read", fail_once)
    half.append(*map(match, range(1, 7)))
    half.delivery.start()
    wait_for(lambda: len(half.delivered()) == 6)

    assert half.delivery.drain(30)
    assert half.delivered() == [f"coinbase-BTC-USD-match-{trade}" for trade in range(1, 7)]
    assert half.statistics.received == half.statistics.delivered == 6


def test_a_repeat_is_known_again_after_a_restart(wait_for: Callable[..., None]) -> None:
    journal = MemoryJournal()
    first = Half(journal)
    first.append(match(1), match(2))
    first.delivery.start()
    assert first.delivery.drain(30)

    second = Half(journal)
    second.delivery.start()
    second.append(match(2), match(3))
    wait_for(lambda: second.statistics.received == 1)

    assert second.delivery.drain(30)
    assert second.delivered() == ["coinbase-BTC-USD-match-3"]
    assert second.statistics.repeated == 1


def test_a_drain_with_a_sink_that_gives_up_ends_and_keeps_the_rest(wait_for: Callable[..., None]) -> None:
    half = Half()
    half.sink.open.clear()
    half.append(*map(match, range(1, 100)))
    half.delivery.start()
    wait_for(lambda: half.statistics.received >= 3)

    half.sink.abandoned = True
    half.sink.open.set()

    assert not half.delivery.drain(30)
    assert half.delivered() == []
    assert half.journal.cursor(CONSUMER) == 0


def test_a_dead_letter_made_in_between_does_not_hide_what_is_in_hand() -> None:
    class Racing(DeliveryStatistics):
        """Ten events, nine of them settled; a malformed frame comes whenever somebody looks."""

        @property
        def delivered(self) -> int:
            self.received += 1
            self.dead += 1
            return 9

        @delivered.setter
        def delivered(self, value: int) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] simulates the race
            pass

    assert Progress(MemoryJournal(), Racing(received=10)).in_hand() >= 1


def test_letters_that_are_made_again_after_a_restart_are_counted_once() -> None:
    statistics = DeliveryStatistics(received=1)
    progress = Progress(MemoryJournal(), statistics)
    progress.dead(DeadLetter(1, "", "parse", "torn", b"{", 1, 1))

    progress.restart()

    assert (statistics.received, statistics.dead) == (0, 0)


def test_a_sink_that_gives_up_is_an_end_that_its_owner_sees() -> None:
    half = Half()
    half.delivery.start()
    assert not half.delivery.ended

    half.sink.abandoned = True

    assert half.delivery.ended
    half.delivery.drain(30)


def ticker(trade: int, product: str = "BTC-USD") -> bytes:
    return json.dumps({"type": "ticker", "trade_id": trade, "product_id": product, "price": "1"}).encode()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["A-B", "C-D"])), max_size=60))
def test_conflation_delivers_every_trade_and_accounts_for_every_ticker(kinds: list[tuple[bool, str]]) -> None:
    half = Half(overload="conflate")
    half.delivery.overloaded = True
    contents = [
        match(number) if is_trade else ticker(number, product) for number, (is_trade, product) in enumerate(kinds, 1)
    ]
    half.append(*contents)
    half.delivery.start()

    assert half.delivery.drain(30)

    counts = half.statistics
    trades = [f"coinbase-BTC-USD-match-{number}" for number, (is_trade, _) in enumerate(kinds, 1) if is_trade]
    dropped = list(half.journal.dropped())
    assert [event for event in half.delivered() if "match" in event] == trades
    assert counts.dropped == len(dropped)
    assert counts.received == counts.delivered + counts.dropped == len(contents)
    assert all(b"ticker" in contents[offset - 1] for offset in dropped)
    assert half.journal.cursor(CONSUMER) == len(contents)
    for product in {product for is_trade, product in kinds if not is_trade}:
        newest = max(number for number, kind in enumerate(kinds, 1) if kind == (False, product))
        assert f"coinbase-{product}-{newest}" in half.delivered()


def test_a_window_that_is_dropped_whole_is_acknowledged_all_the_same() -> None:
    half = Half(overload="drop_oldest", overload_max_age_seconds=1e-9)
    half.delivery.overloaded = True
    half.append(*map(match, range(1, 6)))
    half.delivery.start()

    assert half.delivery.drain(30)

    assert half.delivered() == []
    assert list(half.journal.dropped()) == [1, 2, 3, 4, 5]
    assert half.journal.cursor(CONSUMER) == 5
    assert (half.statistics.received, half.statistics.dropped) == (5, 5)


def test_without_overload_no_policy_gives_anything_up() -> None:
    half = Half(overload="conflate")
    half.append(*map(ticker, range(1, 20)))
    half.delivery.start()

    assert half.delivery.drain(30)

    assert len(half.delivered()) == 19
    assert half.statistics.dropped == 0


def test_the_first_part_of_a_window_is_acknowledged_with_what_was_dropped_up_to_there() -> None:
    half = Half()
    half.append(*map(match, range(1, 8)))
    events = [EncodedEvent(str(offset), "", 1.0, offset, EPOCH, b"") for offset in range(1, 8)]
    kept = [events[1], events[3], events[5]]

    half.delivery.progress.keep(events, kept, [1, 3, 5, 7])
    half.delivery.progress.settled(kept[:2])
    assert (half.journal.cursor(CONSUMER), list(half.journal.dropped())) == (4, [1, 3])
    half.delivery.progress.settled(kept[2:])

    assert (half.journal.cursor(CONSUMER), list(half.journal.dropped())) == (7, [1, 3, 5, 7])
    assert half.statistics.dropped == 4
