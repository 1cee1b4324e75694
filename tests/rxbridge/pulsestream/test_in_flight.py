"""What may still be at work at the server is asked for before it is sent again."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from rxbridge.errors import JournalFull, Unreachable
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import InFlight, PulseStreamClient, PulseStreamSink
from rxbridge.pulsestream.in_flight import Note, await_outcome
from rxbridge.pulsestream.sink import CUT_OFF_SECONDS
from rxbridge.telemetry.statistics import DeliveryStatistics

MakeEvents = Callable[..., list[EncodedEvent]]

STORED = ("Event ingested successfully",)
THROTTLED = ("Event ingestion failed", "Rate limit exceeded. Limit: 100 events per 60 seconds")


class Process:
    """A sink with a memory that outlives it; `after` makes the next process."""

    def __init__(self, server: Any, key: str, time: Any, notes: list[bytes] | None = None) -> None:
        self.server, self.key, self.time = server, key, time
        self.notes: list[bytes] = [] if notes is None else notes
        self.settled: list[int] = []
        self.failures: list[Exception] = []
        self.statistics = DeliveryStatistics()
        self.client = PulseStreamClient(server.url, key, read_timeout_seconds=30, clock=time.seconds)
        self.in_flight = InFlight(
            self.remember,
            self.notes[-1] if self.notes else None,
            service="tests",
            clock=time.nanoseconds,
            monotonic=time.seconds,
        )
        self.sink = PulseStreamSink(
            self.client,
            settled=self.settle,
            refused=lambda *_: None,
            stop=time,
            statistics=self.statistics,
            in_flight=self.in_flight,
            clock=time.nanoseconds,
            monotonic=time.seconds,
        )
        server.search = server.otherwise
        server.clock = time.seconds

    def remember(self, note: bytes) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.notes.append(note)

    def settle(self, events: Sequence[EncodedEvent]) -> None:
        self.settled += [event.offset for event in events]

    def after(self) -> "Process":
        self.client.close()
        self.time.clear()
        return Process(self.server, self.key, self.time, self.notes)

    @property
    def note(self) -> Note:
        return msgspec.json.decode(self.notes[-1], type=Note)

    @property
    def posts(self) -> list[list[str]]:
        return [request.ids for request in self.server.requests if request.method == "POST"]

    @property
    def searches(self) -> int:
        return sum("/events/search" in request.path for request in self.server.requests)


@pytest.fixture
def process(server: Any, key: str, fake_time: Any) -> Process:
    return Process(server, key, fake_time)


def killed(process: Process, events: Sequence[EncodedEvent]) -> None:
    """The process ends while its request is at work, without another word."""
    process.in_flight.sending(events, events, 1)


def test_a_note_is_kept_before_each_request(process: Process, make_events: MakeEvents) -> None:
    def look(handler: Any, request: Any) -> None:
        assert (process.note.first_offset, process.note.last_offset, process.note.events) == (1, 3, 3)
        process.server.otherwise(handler, request)

    process.server.script(look)
    process.sink.on_next(make_events(3))
    process.sink.on_next(make_events(2, 4))

    assert process.settled == [1, 2, 3, 4, 5]
    assert len(process.notes) == 2
    assert [trace.event_id for trace in process.note.traces] == ["event-4", "event-5"]
    assert len(process.notes[-1]) < 500
    assert not process.searches


def test_without_a_note_nothing_is_sent(process: Process, make_events: MakeEvents, log: list[str]) -> None:
    process.failures = [JournalFull("/j", "no space left")] * 3
    process.sink.on_next(make_events(1))

    assert process.posts == [["event-1"]]
    assert sum("no space left" in line for line in log) >= 3


def test_after_a_time_out_it_goes_on_as_soon_as_the_events_are_found(
    process: Process, make_events: MakeEvents, log: list[str]
) -> None:
    """The server is done 7 seconds later."""
    events = make_events(3)

    def commit() -> None:
        process.server.take(b'{"events":[' + b",".join(event.body for event in events) + b"]}")

    process.server.script(process.server.status(504, "<html>"))
    process.time.at_wait[3] = commit
    process.sink.on_next(events)

    assert process.time.waits == [1.0, 2.0, 4.0]
    assert process.settled == [1, 2, 3]
    assert (process.statistics.already_stored, process.statistics.failed_requests) == (3, 1)
    assert process.posts == [["event-1", "event-2", "event-3"], ["event-1"], ["event-2"], ["event-3"]]
    assert any("[UNCERTAIN] PulseStream may still be at work on 3 events (offsets 1 to 3)" in line for line in log)
    assert any("[FOUND]" in line for line in log)


def test_what_is_not_found_is_sent_again_after_the_pause(
    process: Process, make_events: MakeEvents, log: list[str]
) -> None:
    process.server.script(process.server.status(504, "<html>"))
    process.sink.on_next(make_events(1))

    assert sum(process.time.waits) == pytest.approx(30.0)
    assert max(process.time.waits) == 5.0
    assert process.posts == [["event-1"]] * 2
    assert any("[WAITED]" in line for line in log)


@pytest.mark.parametrize("fault", ["html", "500", "401", "reset"])
def test_a_search_that_fails_is_no_answer(process: Process, make_events: MakeEvents, fault: str) -> None:
    faults = {
        "html": process.server.status(200, "<html>"),
        "500": process.server.status(500, {"message": "no"}),
        "401": process.server.status(401, {"message": "Invalid API key"}),
        "reset": process.server.reset,
    }
    process.server.search = faults[fault]
    process.server.script(process.server.stored_but(process.server.status(504, "")))
    process.sink.on_next(make_events(1))

    assert sum(process.time.waits) == pytest.approx(30.0)
    assert process.settled == [1]


def test_events_that_an_earlier_request_stored_prove_nothing(process: Process, make_events: MakeEvents) -> None:
    """Of four events, two were stored by a request that failed; the next one, with all four, is not answered."""
    first, second = make_events(2), make_events(4)
    process.sink.on_next(first)
    process.server.script(process.server.status(504, ""))
    process = process.after()
    process.sink.on_next(second)

    assert [trace.event_id for trace in msgspec.json.decode(process.notes[1], type=Note).traces] == [
        "event-3",
        "event-4",
    ]
    assert sum(process.time.waits) == pytest.approx(30.0)


def test_a_broken_connection_is_asked_after_for_a_short_time(process: Process, make_events: MakeEvents) -> None:
    process.server.script(process.server.cut_short)
    process.sink.on_next(make_events(1))
    backoff, *polls = process.time.waits
    assert 0 <= backoff <= 1
    assert sum(polls) == pytest.approx(CUT_OFF_SECONDS)

    process.server.script(process.server.stored_but(process.server.cut_short))
    process.sink.on_next(make_events(1, 2))
    assert len(process.time.waits) == 1 + len(polls) + 1


def test_a_server_that_is_not_there_has_nothing_at_work(
    process: Process, make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: PulseStreamClient, events: Sequence[EncodedEvent]) -> None:
        monkeypatch.undo()
        raise Unreachable("http://x", "ConnectionRefusedError: Connection refused")

    monkeypatch.setattr(PulseStreamClient, "post_batch", refuse)
    process.sink.on_next(make_events(1))
    assert not process.searches
    assert len(process.time.waits) == 1


def test_a_start_after_a_crash_finds_what_was_done(process: Process, make_events: MakeEvents, log: list[str]) -> None:
    events = make_events(3)
    killed(process, events)
    process.server.take(b'{"events":[' + b",".join(event.body for event in events) + b"]}")
    process = process.after()
    process.sink.on_next(events)

    assert not process.time.waits
    assert (process.searches, process.settled) == (1, [1, 2, 3])
    assert process.statistics.already_stored == 3
    assert any("[FOUND]" in line for line in log)


def test_a_start_after_a_crash_waits_for_what_is_not_done(process: Process, make_events: MakeEvents) -> None:
    killed(process, make_events(3))
    process.time.now += 10
    process = process.after()
    process.sink.on_next(make_events(3))

    assert sum(process.time.waits) == pytest.approx(20.0)
    assert process.settled == [1, 2, 3]
    # Only before the first batch.
    process.sink.on_next(make_events(3, 4))
    assert sum(process.time.waits) == pytest.approx(20.0)


@pytest.mark.parametrize("passed", [30.0, 3600.0])
def test_a_start_long_after_a_crash_waits_for_nothing(process: Process, make_events: MakeEvents, passed: float) -> None:
    killed(process, make_events(3))
    process.time.now += passed
    process = process.after()
    process.sink.on_next(make_events(3))

    assert not process.time.waits
    assert not process.searches


def test_a_request_whose_events_are_acknowledged_is_over(process: Process, make_events: MakeEvents) -> None:
    killed(process, make_events(3))
    process = process.after()
    process.sink.on_next(make_events(3, 4))

    assert not process.time.waits
    assert not process.searches


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
@pytest.mark.parametrize("restarted_system", [False, True])
def test_whatever_the_clocks_say_it_waits_no_longer_than_the_pause(
    make_events: MakeEvents, *, step: float, restarted_system: bool
) -> None:
    wall, risen = [1.8e9], [5000.0]
    keeping = InFlight(lambda _: None, clock=lambda: int(wall[0] * 1e9), monotonic=lambda: risen[0])
    events = make_events(1)
    note = keeping.sending(events, events, 1)
    wall[0] += 10 + step
    risen[0] = 7.0 if restarted_system else risen[0] + 10

    left = keeping.patience(note, 30.0)
    if not restarted_system and step > 0:
        assert left == pytest.approx(20.0)
    elif step > 0:
        assert left == 0
    else:
        assert left == 30.0


def test_a_note_that_cannot_be_read_counts_as_the_worst(
    server: Any, key: str, fake_time: Any, make_events: MakeEvents, log: list[str]
) -> None:
    process = Process(server, key, fake_time, [b"{torn"])
    process.sink.on_next(make_events(1))

    assert sum(fake_time.waits) == pytest.approx(30.0)
    assert process.settled == [1]
    assert any("cannot be read" in line for line in log)


@pytest.mark.parametrize("fault", ["time_out", "crash"])
def test_a_shutdown_ends_the_wait_at_once_and_the_next_start_goes_on_with_it(
    process: Process, make_events: MakeEvents, fault: str
) -> None:
    if fault == "crash":
        killed(process, make_events(2))
        process = process.after()
    else:
        process.server.script(process.server.status(504, ""))
    process.time.at_wait[1] = process.time.set
    process.sink.on_next(make_events(2))

    assert process.sink.abandoned
    assert len(process.time.waits) == 1
    assert process.notes[-1]

    process = process.after()
    process.time.at_wait.clear()
    process.time.waits.clear()
    process.sink.on_next(make_events(2))
    assert process.settled == [1, 2]
    assert sum(process.time.waits) == pytest.approx(30.0)


def test_the_wait_after_a_time_out_survives_a_crash(process: Process, make_events: MakeEvents) -> None:
    """The request began two minutes ago; but it was given up only now."""

    def late(handler: Any, request: Any) -> None:
        process.time.now += 120
        process.server.status(504, "")(handler, request)

    process.server.script(late)
    process.time.at_wait[2] = process.time.set
    process.sink.on_next(make_events(2))
    assert process.time.waits == [1.0, 2.0]

    process = process.after()
    process.time.waits.clear()
    process.time.at_wait.clear()
    process.sink.on_next(make_events(2))
    assert process.settled == [1, 2]
    assert sum(process.time.waits) == pytest.approx(29.0)


def test_the_note_of_a_request_that_was_given_up_must_be_kept_too(
    process: Process, make_events: MakeEvents, log: list[str]
) -> None:
    def full(handler: Any, request: Any) -> None:
        process.failures = [JournalFull("/j", "no space left")] * 2
        process.server.status(504, "")(handler, request)

    process.server.script(full)
    process.sink.on_next(make_events(1))
    assert process.settled == [1]
    assert sum(process.time.waits) >= 30.0
    assert sum("no space left" in line for line in log) >= 2


def test_a_gateway_whose_server_broke_off_is_asked_after_for_a_short_time(
    process: Process, make_events: MakeEvents
) -> None:
    process.server.script(process.server.status(502, "<html>"))
    process.sink.on_next(make_events(1))
    assert sum(process.time.waits[1:]) == pytest.approx(CUT_OFF_SECONDS)


def test_an_orderly_end_leaves_nothing_to_wait_for(process: Process, make_events: MakeEvents) -> None:
    """Stopped while it waits for the next minute: the last request was answered."""
    process.server.script(process.server.results(STORED, THROTTLED))
    process.time.at_wait[1] = process.time.set
    process.sink.on_next(make_events(2))
    assert process.sink.abandoned
    assert process.notes[-1] == b""

    process = process.after()
    process.sink.on_next(make_events(1, 2))
    assert not process.searches
    assert process.settled == [2]


def test_a_note_that_cannot_be_taken_back_does_no_harm(
    process: Process, make_events: MakeEvents, log: list[str]
) -> None:
    process.server.script(process.server.results(THROTTLED))

    def stop() -> None:
        process.time.set()
        process.failures = [JournalFull("/j", "no space left")]

    process.time.at_wait[1] = stop
    process.sink.on_next(make_events(1))
    assert process.sink.abandoned
    assert any("will wait without need" in line for line in log)


def test_a_real_stop_wakes_the_wait(process: Process, make_events: MakeEvents) -> None:
    stop = threading.Event()
    events = make_events(1)
    note = process.in_flight.sending(events, events, 1)
    found: list[str] = []

    def wait() -> None:
        found.append(await_outcome(note, process.client, service="tests", seconds=600, stop=stop))

    thread = threading.Thread(target=wait)
    thread.start()
    stop.set()
    thread.join(30)
    assert found == ["stopped"]


def test_the_note_holds_no_more_than_a_few_ids(process: Process, make_events: MakeEvents) -> None:
    process.sink.on_next(make_events(100))
    kept = json.loads(process.notes[0])
    assert [trace["event_id"] for trace in kept["traces"]] == ["event-1", "event-51", "event-100"]
    assert kept["events"] == 100
