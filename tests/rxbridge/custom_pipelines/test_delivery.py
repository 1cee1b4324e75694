"""Users' pipelines in the delivery half: what is made, acknowledged, held back, and made again after a restart."""

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import reactivex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import SchedulerBase

from operators import ReplayClock, only, parse
from rxbridge import recording
from rxbridge.coinbase.decoding import decode
from rxbridge.custom_pipelines import History, read_history, read_withheld
from rxbridge.errors import PipelineFailed
from rxbridge.events import CustomEvent, dead_letter, event
from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame, Trade
from rxbridge.progress import CONSUMER, STATE_CONSUMER
from rxbridge.recording import RecordingWriter
from tests.rxbridge.custom_pipelines import candle_pipeline
from tests.rxbridge.custom_pipelines.support import START, Half, append, trade

HEARTBEAT = b'{"type":"heartbeat","product_id":"BTC-USD"}'
TORN = b'{"type":"match'


def candles(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[CustomEvent]:
    return candle_pipeline.pipeline(frames)


def sizes(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[CustomEvent]:
    """One event for each trade, without a word of what it holds."""
    return frames.pipe(
        parse(decode, dead_letter),
        only(Trade),
        ops.map(lambda message: event("Size", {"trade": message.trade_id}, event_id=f"size-{message.trade_id}")),
    )


def uninterrupted(contents: list[bytes], build: Callable[..., Any] = candles) -> dict[str, Any]:
    with MemoryJournal() as journal:
        append(journal, contents)
        half = Half(journal, build)
        assert half.run()
        return half.contents()


def test_every_event_is_delivered_and_every_frame_acknowledged() -> None:
    contents = [HEARTBEAT, trade(1, 0), trade(2, 1), HEARTBEAT, trade(3, 5)]
    with MemoryJournal() as journal:
        append(journal, contents)
        half = Half(journal, sizes)

        assert half.run()

        assert list(half.contents()) == ["size-1", "size-2", "size-3"]
        assert half.statistics.received == half.statistics.delivered == 3
        assert half.statistics.ignored == 2
        assert half.statistics.made == {"test:0": 3}
        assert journal.cursor(CONSUMER) == journal.cursor(STATE_CONSUMER) == 5


def test_a_candle_that_is_open_holds_its_frames_and_no_others() -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), trade(2, 1), trade(3, 5), trade(4, 5), HEARTBEAT, HEARTBEAT])
        half = Half(journal, candles)

        assert half.run()

        assert half.contents() == {
            "candle-BTC-USD-1700000000": {
                "product": "BTC-USD",
                "start": 1700000000,
                "trades": ["1", "2"],
                "volume": "2",
            }
        }
        assert journal.cursor(CONSUMER) == 6, "all that was made is delivered"
        assert journal.cursor(STATE_CONSUMER) == 2, "the second candle begins with the third frame"


def test_until_its_first_event_everything_is_held() -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), HEARTBEAT, trade(2, 1)])

        assert Half(journal, candles).run()

        assert journal.cursor(CONSUMER) == 3
        assert journal.cursor(STATE_CONSUMER) == 0
        append(journal, [trade(3, 9)])
        half = Half(journal, candles)
        assert half.run()
        assert half.contents()["candle-BTC-USD-1700000000"]["trades"] == ["1", "2"]


def both(frames: Observable[Frame], scheduler: SchedulerBase) -> Observable[CustomEvent]:
    shared = frames.pipe(ops.share())
    return reactivex.merge(sizes(shared, scheduler), candles(shared, scheduler))


@pytest.mark.parametrize(("is_stateful", "reminders"), [(False, 1), (True, 0)])
def test_who_says_too_late_what_it_holds_is_reminded_to_be_marked(
    log: list[str], *, is_stateful: bool, reminders: int
) -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), trade(2, 3), trade(3, 6)])

        assert Half(journal, both, is_stateful=is_stateful).run()

    assert sum("mark the function" in line for line in log) == reminders


def test_a_stateful_pipeline_holds_although_another_stream_of_it_says_nothing() -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), trade(2, 1)])

        assert Half(journal, both, is_stateful=True).run()

        assert (journal.cursor(CONSUMER), journal.cursor(STATE_CONSUMER)) == (2, 0)


def market(steps: list[tuple[str, int]]) -> list[bytes]:
    """Frames of a market: trades of two products with rising ids, each some seconds after the one before."""
    contents: list[bytes] = []
    number, seconds = 0, 0
    for kind, step in steps:
        seconds += step
        number += kind.endswith("USD")
        others = {"heartbeat": HEARTBEAT, "torn": TORN, "again": trade(number, seconds)}
        contents.append(trade(number, seconds, kind) if kind.endswith("USD") else others[kind])
    return contents


MARKETS = st.lists(
    st.tuples(st.sampled_from(["BTC-USD", "BTC-USD", "ETH-USD", "again", "heartbeat", "torn"]), st.integers(0, 2)),
    min_size=5,
    max_size=40,
).map(market)


HALF_OF_ANOTHER = market([("ETH-USD", 0), ("BTC-USD", 1), ("ETH-USD", 0), ("ETH-USD", 2), ("BTC-USD", 0)])
"""A candle is held from its first trade on, amid those of another product's, which is delivered already."""


@settings(deadline=None, max_examples=60)
@example(HALF_OF_ANOTHER, [(4, 4)])
@given(MARKETS, st.lists(st.tuples(st.integers(1, 15), st.integers(0, 4)), min_size=1, max_size=4))
def test_whatever_ends_in_mid_candle_the_candles_are_those_of_one_run(
    contents: list[bytes], stops: list[tuple[int, int]]
) -> None:
    expected = uninterrupted(contents)
    delivered: dict[str, Any] = {}
    # Nothing but what is held helps: a start reads no frame that it must not.
    with MemoryJournal() as journal, patch("rxbridge.custom_pipelines.holdings.WARM_UP_FRAMES", 0):
        rest = list(contents)
        for frames, events in [*stops, (len(contents), None)]:
            append(journal, rest[:frames])
            del rest[:frames]
            half = Half(journal, candles, most=events)
            half.run()
            for identity, content in half.contents().items():
                assert delivered.setdefault(identity, content) == content, "never two things under one id"
        append(journal, rest)
        half = Half(journal, candles)
        assert half.run()
        delivered |= half.contents()

        assert delivered == expected
        assert len(list(journal.dead_letters())) == contents.count(TORN)
        assert journal.cursor(CONSUMER) == len(contents)


def test_timers_ring_by_the_time_of_the_frames() -> None:
    contents = [HEARTBEAT] * 25  # a tenth of a second between two
    with MemoryJournal() as journal:
        append(journal, contents)
        half = Half(journal, candle_pipeline.beats)

        assert half.run()

        counts = [content["frames"] for content in half.contents().values()]
        assert counts == [10, 10], "and what came since waits for the next second"


def test_the_built_in_pipeline_and_two_others_share_a_frame() -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), TORN, trade(2, 9)])
        half = Half(journal, sizes, candles, builtin=True, batch_count=100)

        assert half.run()

        assert [(one.event_id, one.ends_frame) for one in half.events] == [
            ("coinbase-BTC-USD-match-1", False),
            ("size-1", True),
            ("coinbase-BTC-USD-match-2", False),
            ("size-2", False),
            ("candle-BTC-USD-1700000000", True),
        ]
        assert sorted(letter.stage for letter in journal.dead_letters()) == ["parse", "pipeline", "pipeline"]
        assert half.statistics.received == half.statistics.delivered + half.statistics.dead == 8


def deep(levels: int) -> dict[str, Any]:
    return {"in": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"title": ""}, "ValueError: title must not be empty"),
        ({"title": 7}, "TypeError: title is text, not int"),
        ({"payload": [1]}, "TypeError: a payload is a mapping or a Struct, not list"),
        ({"payload": {"what": object()}}, "TypeError: Encoding objects of type object is unsupported"),
        ({"event_id": "x" * 101}, "ValueError: an event id has 1 to 100 printable characters"),
        ({"event_id": "a\0b"}, "ValueError: an event id has 1 to 100 printable characters"),
        ({"event_id": 7}, "TypeError: an event id is text, not int"),
        ({"service": "s" * 101}, "ValueError: service must not be empty, nor longer than 100 characters"),
        ({"severity": "bad"}, "ValueError: PulseStream has no severity 'bad'"),
        ({"event_type": "bad"}, "ValueError: PulseStream has no event type 'bad'"),
        ({"timestamp": "yesterday"}, "ValueError: no time in ISO 8601: 'yesterday'"),
        ({"timestamp": 1.5}, "TypeError: a timestamp is a datetime, an integer or text, not float"),
        ({"timestamp": 10**30}, "OverflowError: "),
        (
            {"payload": {"text": "x" * 2**20}},
            "ValueError: a payload has at most 1,048,576 bytes as JSON, not 1,048,587",
        ),
        ({"payload": deep(40)}, "ValueError: a payload has at most 32 levels, and keys"),
    ],
)
def test_an_event_that_can_never_be_taken_is_a_dead_letter_of_its_frame(said: dict[str, Any], words: str) -> None:
    make: Any = event

    def bad(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[CustomEvent]:
        return frames.pipe(ops.map(lambda _: make(**({"title": "Bad", "payload": {}} | said))))

    with MemoryJournal() as journal:
        append(journal, [HEARTBEAT])

        assert Half(journal, bad).run()

        (letter,) = journal.dead_letters()
        assert (letter.offset, letter.event_id, letter.content) == (1, "test:0 1.1", HEARTBEAT)
        assert letter.reason.startswith(words)


def failing_at(*trades: int) -> Callable[[Observable[Frame], SchedulerBase], Observable[CustomEvent]]:
    def refuse(message: Trade) -> CustomEvent:
        if message.trade_id in trades:
            raise ValueError(f"I dislike {message.trade_id}")
        return event("Size", {}, event_id=f"size-{message.trade_id}")

    def build(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[CustomEvent]:
        return frames.pipe(parse(decode, dead_letter), only(Trade), ops.map(refuse))

    return build


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxbridge.delivery._LONGEST_BACKOFF_SECONDS", 0.01)


@pytest.mark.usefixtures("no_backoff")
def test_a_frame_at_which_a_pipeline_fails_twice_is_withheld_from_it(wait_for: Callable[..., None]) -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), trade(2, 0), trade(3, 0)])
        half = Half(journal, failing_at(2))
        half.delivery.start()

        def is_through() -> bool:
            half.delivery.progress.acknowledge_idle()  # as a bridge does all the time
            return journal.cursor(CONSUMER) == 3

        wait_for(is_through)

        assert half.delivery.drain(10)
        assert list(half.contents()) == ["size-1", "size-3"]
        (letter,) = journal.dead_letters()
        assert (letter.offset, letter.stage, letter.reason) == (2, "pipeline", "ValueError: I dislike 2")
        assert half.statistics.received == half.statistics.delivered + half.statistics.dead == 3
        assert read_withheld(journal, 0) == {("test:0", 2): "ValueError: I dislike 2"}
        # The next process knows it, and fails no more.
        append(journal, [trade(4, 0)])
        after = Half(journal, failing_at(2))
        assert after.run()
        assert list(after.contents()) == ["size-4"]


@pytest.mark.usefixtures("no_backoff")
def test_a_pipeline_that_leaves_by_sys_exit_fails_like_any_other(wait_for: Callable[..., None]) -> None:
    def said(frame: Frame) -> CustomEvent:
        if frame.offset == 2:
            sys.exit(3)
        return event("Frame", {}, event_id=f"frame-{frame.offset}")

    with MemoryJournal() as journal:
        append(journal, [HEARTBEAT] * 3)
        half = Half(journal, lambda frames, _scheduler: frames.pipe(ops.map(said)))
        half.delivery.start()

        wait_for(lambda: journal.cursor(CONSUMER) == 3)

        assert half.delivery.drain(10)
        assert list(half.contents()) == ["frame-1", "frame-3"]
        assert [(letter.offset, letter.reason) for letter in journal.dead_letters()] == [(2, "SystemExit: 3")]


@pytest.mark.usefixtures("no_backoff")
def test_a_pipeline_that_only_fails_ends_the_delivery_with_its_name(wait_for: Callable[..., None]) -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(number, 0) for number in range(1, 50)])
        half = Half(journal, failing_at(*range(1, 50)))
        half.delivery.start()

        wait_for(lambda: half.delivery.ended)

        assert isinstance(half.delivery.failure, PipelineFailed)
        assert "test:0 failed 10 times in a row, without an event in between, now at frame 5: " in str(
            half.delivery.failure
        )
        assert "ValueError: I dislike 5" in str(half.delivery.failure)


@pytest.mark.usefixtures("no_backoff")
def test_events_of_another_thread_are_refused_with_the_remedy(wait_for: Callable[..., None]) -> None:
    def elsewhere(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[CustomEvent]:
        from reactivex.scheduler import NewThreadScheduler  # noqa: PLC0415

        return frames.pipe(
            ops.observe_on(NewThreadScheduler()), ops.map(lambda frame: event("Late", {"offset": frame.offset}))
        )

    with MemoryJournal() as journal:
        half = Half(journal, elsewhere)
        half.delivery.start()

        def ended() -> bool:
            append(journal, [HEARTBEAT])
            return half.delivery.ended

        wait_for(ended)

        assert "give its timers the scheduler" in str(half.delivery.failure)


@pytest.mark.usefixtures("no_backoff")
def test_what_is_no_event_is_told_by_its_type(wait_for: Callable[..., None]) -> None:
    def numbers(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[Any]:
        return frames.pipe(ops.map(lambda frame: frame.offset))

    with MemoryJournal() as journal:
        append(journal, [HEARTBEAT] * 10)
        half = Half(journal, numbers)
        half.delivery.start()

        wait_for(lambda: half.delivery.ended)

        assert "it makes int, and no events; make them by rxbridge.events.event" in str(half.delivery.failure)


def test_a_pipeline_that_completes_makes_no_more_and_stops_nobody(log: list[str]) -> None:
    def first(frames: Observable[Frame], scheduler: SchedulerBase) -> Observable[CustomEvent]:
        return sizes(frames, scheduler).pipe(ops.take(1))

    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), trade(2, 0)])
        half = Half(journal, first, sizes)

        assert half.run()

        assert journal.cursor(CONSUMER) == journal.cursor(STATE_CONSUMER) == 2
        assert half.statistics.made == {"test:0": 1, "test:1": 1}
        assert sum("test:0 has completed" in line for line in log) == 1


def test_which_pipelines_ran_is_remembered_from_where_on() -> None:
    with MemoryJournal(keep_seconds=1e10) as journal:
        append(journal, [trade(1, 0), trade(2, 0)])
        assert Half(journal, builtin=True).run()
        append(journal, [trade(3, 0)])
        assert Half(journal, sizes, builtin=True).run()
        append(journal, [trade(4, 0)])
        assert Half(journal, sizes).run()

        history = read_history(journal)

        ran = [[history.counts(name, offset) for offset in (1, 2, 3, 4)] for name in ("builtin", "test:0")]
        assert ran == [[True, True, True, False], [False, False, True, True]]
        assert History([]).counts("builtin", 1)


def test_the_encoded_event_says_what_was_said() -> None:
    def told(frames: Observable[Frame], _scheduler: SchedulerBase) -> Observable[CustomEvent]:
        return frames.pipe(
            ops.map(
                lambda _: event(
                    "A \0 title",
                    {"price": Decimal("0.10"), "text": "half \ud800"},
                    timestamp="2026-01-31T08:00:00+01:00",
                    severity="critical",
                    event_type="system_event",
                    service="alerts",
                    endpoint="/alerts",
                    tags={"product_id": "BTC-USD"},
                )
            )
        )

    with MemoryJournal() as journal:
        append(journal, [HEARTBEAT, HEARTBEAT])
        half = Half(journal, told)

        assert half.run()

        (said,) = half.events
        body = json.loads(said.body)
        assert half.statistics.repeated == 1, "the same content has the same id"
        assert said.event_id == body["event_id"] == body["context"]["request_id"]
        assert said.event_id.startswith("alerts-")
        assert (body["severity"], body["event_type"], body["timestamp"]) == (
            "critical",
            "system_event",
            "2026-01-31T07:00:00",
        )
        assert body["title"] == "A \N{REPLACEMENT CHARACTER} title"
        assert body["payload"] == {"price": "0.10", "text": "half \N{REPLACEMENT CHARACTER}"}
        assert (body["source"]["service"], body["context"]["tags"]) == ("alerts", {"product_id": "BTC-USD"})


def test_verbose_tells_of_every_event(log: list[str]) -> None:
    with MemoryJournal() as journal:
        append(journal, [trade(1, 0), trade(2, 0)])

        assert Half(journal, sizes, verbose=True).run()

    assert log.count("DEBUG [EVENT] rxbridge-pipeline: Size") == 2


def test_a_recording_on_virtual_time_gives_the_same(tmp_path: Path) -> None:
    def windows(frames: Observable[Frame], scheduler: SchedulerBase) -> Observable[CustomEvent]:
        trades = frames.pipe(parse(decode, dead_letter), only(Trade))
        counts = trades.pipe(ops.buffer_with_time(0.7, scheduler=scheduler), ops.map(len))
        late = trades.pipe(ops.delay(0.35, scheduler=scheduler), ops.map(lambda late: str(late.trade_id)))
        return reactivex.merge(
            counts.pipe(ops.map(lambda count: event("Count", {"count": count}))),
            late.pipe(ops.map(lambda number: event("Late", {"trade": number}))),
        )

    contents = [trade(number, number / 10) for number in range(1, 60)]
    with MemoryJournal() as journal, RecordingWriter(tmp_path / "day.jsonl") as writer:
        append(journal, contents)
        for frame in journal.read(0, 1_000):
            writer.append(frame)
        half = Half(journal, windows)
        assert half.run()
    clock, replayed = ReplayClock(), list[tuple[str, Any]]()

    recorded = recording.frames(tmp_path / "day.jsonl", scheduler=clock)
    # The last frame ends the recording, and a window with it; a bridge waits for the next one.
    windows(recorded.pipe(ops.concat(reactivex.never())), clock).subscribe(
        lambda said: replayed.append((said.title, said.payload))
    )
    clock.advance_to(START * 10**9 + int(5.8 * 1e9))

    delivered = [(json.loads(one.body)["title"], json.loads(one.body)["payload"]) for one in half.events]
    assert len(delivered) > 60
    assert delivered == replayed
