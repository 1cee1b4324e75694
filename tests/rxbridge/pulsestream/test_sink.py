import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
import reactivex
from loguru import logger

from rxbridge.errors import EventRejected, JournalFull
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import EventOutcome, PulseStreamClient, PulseStreamSink
from rxbridge.pulsestream.flow import SPREAD_SECONDS
from rxbridge.telemetry.statistics import DeliveryStatistics

MakeEvents = Callable[..., list[EncodedEvent]]

STORED = ("Event ingested successfully",)
THROTTLED = ("Event ingestion failed", "Rate limit exceeded. Limit: 100 events per 60 seconds")
FUTURE = ("Event validation failed", "timestamp: Event timestamp cannot be more than 5 minutes in the future")
INVALID = ("Validation error: title", "title: Field required")
DATABASE = ("Event ingestion failed", "(asyncpg.Error) the database is gone")


AT_17 = 1_714_564_817.0  # Wed, 01 May 2024 12:00:17 GMT


class Bench:
    """A sink with everything that it calls written down, in order."""

    def __init__(self, client: PulseStreamClient, time: Any, **arguments: Any) -> None:
        self.statistics = DeliveryStatistics()
        self.calls: list[tuple[Any, ...]] = []
        self.outcomes: list[tuple[int, str]] = []
        self.failures: list[Exception] = []
        self.time = time
        self.sink = PulseStreamSink(
            client,
            settled=self.settled,
            refused=self.refused,
            stop=time,
            statistics=self.statistics,
            on_outcome=self.told,
            clock=time.nanoseconds,
            monotonic=time.seconds,
            **arguments,
        )

    def settled(self, batch: Sequence[EncodedEvent]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.calls.append(("settled", *[event.offset for event in batch]))

    def refused(self, event: EncodedEvent, error: EventRejected, first: int, last: int, attempts: int) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.calls.append(("refused", event.offset, error.reasons, (last - first) / 1e9, attempts))

    @property
    def acknowledged(self) -> list[int]:
        return [offset for name, *offsets in self.calls if name == "settled" for offset in offsets]

    def told(self, event: EncodedEvent, outcome: EventOutcome) -> None:
        self.outcomes.append((event.offset, outcome.fate))


@pytest.fixture
def bench(server: Any, key: str, fake_time: Any) -> Iterator[Bench]:
    began = fake_time.now
    server.clock = lambda: AT_17 + fake_time.now - began
    with PulseStreamClient(server.url, key, read_timeout_seconds=30, clock=fake_time.seconds) as client:
        yield Bench(client, fake_time)


def requests(server: Any) -> list[list[int]]:
    """The numbers of the events in each request; a probe has none."""
    posts = [request for request in server.requests if request.method == "POST"]
    return [[int(name.removeprefix("event-")) for name in post.ids if name.startswith("event-")] for post in posts]


def test_batches_are_delivered_in_order(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    reactivex.from_iterable([make_events(3), make_events(2, 4), make_events(1, 6)]).subscribe(bench.sink)

    assert bench.calls == [("settled", 1, 2, 3), ("settled", 4, 5), ("settled", 6)]
    assert requests(server) == [[1, 2, 3], [4, 5], [6]]
    assert bench.outcomes == [(offset, "stored") for offset in range(1, 7)]
    assert bench.statistics == DeliveryStatistics(delivered=6, requests=3, last_delivery_at=bench.time.nanoseconds())
    assert not bench.time.waits


def test_what_is_stored_already_is_delivered_too(bench: Bench, make_events: MakeEvents) -> None:
    bench.sink.on_next(make_events(2))
    bench.sink.on_next(make_events(3))

    assert bench.calls == [("settled", 1, 2), ("settled", 1, 2, 3)]
    assert (bench.statistics.delivered, bench.statistics.already_stored) == (5, 2)


def test_a_failure_is_retried_for_ever_with_growing_pauses(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    server.script(*[server.status(503, "<html>down</html>")] * 40)
    bench.sink.on_next(make_events(2))

    assert bench.calls == [("settled", 1, 2)]
    assert (bench.statistics.requests, bench.statistics.failed_requests) == (41, 40)
    assert len(bench.time.waits) == 40
    for number, seconds in enumerate(bench.time.waits):
        assert 0 <= seconds <= min(2**number, 30)
    # Full jitter: 34 draws from 0 to 30 are neither all short nor all long.
    assert min(bench.time.waits[6:]) < 15 < max(bench.time.waits[6:])
    assert "2 events wait, try 2 in " in log[0]
    assert "try 41 in " in log[39]
    recovered = next(line for line in log if "[RECOVERED]" in line)
    assert "40 failed requests" in recovered
    assert f"after {sum(bench.time.waits):.1f} s" in recovered


def test_after_a_success_the_pauses_begin_anew(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    down = server.status(503, "down")
    server.script(*[down] * 9, server.otherwise, down)
    bench.sink.on_next(make_events(1))
    bench.sink.on_next(make_events(1, 2))

    assert len(bench.time.waits) == 10
    assert bench.time.waits[-1] <= 1


def test_throttled_events_wait_for_the_servers_next_minute(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    """It is 17 seconds past the minute there, whatever our own clock says."""
    server.script(server.results(STORED, THROTTLED, STORED, THROTTLED), server.results(THROTTLED, STORED))
    bench.sink.on_next(make_events(4))

    assert requests(server) == [[1, 2, 3, 4], [2, 4], [2]]
    assert bench.calls == [("settled", 1), ("settled", 2, 3, 4)]
    assert bench.outcomes == [(1, "stored"), (3, "stored"), (4, "stored"), (2, "stored")]
    assert 43 <= bench.time.waits[0] <= 43 + SPREAD_SECONDS
    assert 43 + 60 <= sum(bench.time.waits) <= 43 + 60 + SPREAD_SECONDS + 1
    assert (len(bench.time.waits), bench.statistics.throttled, bench.statistics.failed_requests) == (2, 2, 0)
    assert sum("[THROTTLED]" in line for line in log) == 2
    assert not any("WARNING" in line for line in log)


def test_a_throttled_request_waits_as_long_as_it_is_told(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    server.script(server.status(429, "slow down", Retry_After="7"))
    bench.sink.on_next(make_events(2))

    assert requests(server) == [[1, 2], [1, 2]]
    assert 7 <= bench.time.waits[0] <= 7 + SPREAD_SECONDS
    assert (bench.statistics.throttled, bench.statistics.failed_requests) == (1, 0)


def test_a_rate_limit_is_no_failed_attempt(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    """However often it is reached, the pauses after a failure stay short."""
    limit = server.status(400, {"message": {"errors": ["Rate limit exceeded. Limit: 100 events per 60 seconds"]}})
    server.script(*[limit] * 20, server.status(503, "down"))
    bench.sink.on_next(make_events(1))

    assert bench.statistics.throttled == 20
    assert bench.time.waits[20] <= 1


def test_after_a_time_out_the_server_is_given_time(
    server: Any, key: str, fake_time: Any, make_events: MakeEvents
) -> None:
    server.script(server.stored_but(server.status(504, "<html>")), server.stored_but(server.hang))
    with PulseStreamClient(server.url, key, read_timeout_seconds=1.0) as client:
        bench = Bench(client, fake_time)
        bench.sink.on_next(make_events(2))

    assert bench.time.waits == [30.0, 30.0]
    assert bench.acknowledged == [1, 2]
    assert (bench.statistics.already_stored, bench.statistics.failed_requests) == (2, 2)


def test_the_pause_after_a_time_out_is_a_setting(
    server: Any, key: str, fake_time: Any, make_events: MakeEvents
) -> None:
    server.script(server.status(504, "<html>"))
    with PulseStreamClient(server.url, key) as client:
        bench = Bench(client, fake_time, wait_after_timeout_seconds=77.0)
        bench.sink.on_next(make_events(1))
    assert fake_time.waits == [77.0]


def test_a_refused_key_is_not_final(server: Any, bench: Bench, make_events: MakeEvents, log: list[str]) -> None:
    server.script(*[server.status(401, {"error": "HTTP_ERROR", "message": "Invalid API key"})] * 8)
    bench.sink.on_next(make_events(3))

    assert bench.calls == [("settled", 1, 2, 3)]
    assert all(seconds <= 30 for seconds in bench.time.waits)
    told = [line for line in log if "[UNAUTHORIZED]" in line]
    assert len(told) == 8
    assert told[0].startswith("ERROR")
    assert "while its database is down" in told[0]
    assert "3 events wait, nothing is lost" in told[0]


def test_a_refused_event_becomes_a_dead_letter_and_the_rest_goes_on(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    server.script(server.status(503, "down"), server.results(STORED, INVALID, STORED))
    bench.sink.on_next(make_events(3))

    assert bench.calls == [
        ("refused", 2, ("title: Field required",), pytest.approx(bench.time.waits[0], abs=1e-6), 2),
        ("settled", 1, 2, 3),
    ]
    assert bench.outcomes == [(1, "stored"), (3, "stored"), (2, "refused")]
    # Counting dead letters is up to whoever records them.
    assert (bench.statistics.delivered, bench.statistics.dead) == (2, 0)
    assert any("[REJECTED] event 'event-2' refused: 'title: Field required'" in line for line in log)


def test_a_batch_of_which_everything_is_refused_is_settled(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    server.script(server.results(INVALID, INVALID))
    bench.sink.on_next(make_events(2))

    assert [call[0] for call in bench.calls] == ["refused", "refused", "settled"]
    assert len(server.requests) == 1


def test_one_unknown_error_and_the_whole_batch_is_sent_again(
    server: Any, bench: Bench, make_events: MakeEvents
) -> None:
    def rolled_back(handler: Any, request: Any) -> None:
        server.results(STORED, DATABASE, STORED, INVALID)(handler, request)
        server.stored.clear()

    server.script(rolled_back)
    bench.sink.on_next(make_events(4))

    assert requests(server) == [[1, 2, 3, 4]] * 2
    assert sorted(server.stored) == ["event-1", "event-2", "event-3", "event-4"]
    assert bench.calls == [("settled", 1, 2, 3, 4)]


def test_an_event_from_the_future_waits_until_it_is_valid(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    server.script(server.results(STORED, FUTURE))
    bench.sink.on_next([*make_events(1), *make_events(1, 2, "2024-05-01T12:06:00")])

    assert requests(server) == [[1, 2], [2]]
    assert bench.time.waits == [43.0]
    assert (bench.statistics.failed_requests, bench.calls) == (0, [("settled", 1), ("settled", 2)])
    assert any("does one run wrong?" in line for line in log)


def test_an_event_from_far_in_the_future_is_refused(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    server.script(server.results(STORED, FUTURE))
    bench.sink.on_next([*make_events(1), *make_events(1, 2, "2024-05-01T13:06:00")])

    assert [call[:2] for call in bench.calls] == [("refused", 2), ("settled", 1)]
    assert not bench.time.waits


def test_a_poisonous_event_does_not_hold_up_the_rest(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    server.poison.add("event-37")
    bench.sink.on_next(make_events(100))

    *before, refused, settled = bench.calls
    assert {call[0] for call in before} == {"settled"}
    assert refused[:2] == ("refused", 37)
    assert "Batch event ingestion failed" in refused[2][0]
    assert settled == ("settled", *range(37, 101))
    assert bench.acknowledged == list(range(1, 101))
    market = [name for name in server.stored if name.startswith("event-")]
    assert len(market) == bench.statistics.delivered == 99
    assert len(server.requests) < 60
    assert sorted(offset for offset, _ in bench.outcomes) == list(range(1, 101))
    assert sum("[RECOVERED]" in line for line in log) == 1


def test_too_large_a_batch_is_sent_in_parts_at_once(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    def at_most_three(handler: Any, request: Any) -> None:
        fault = len(request.ids) > 3
        (server.status(413, "too large") if fault else server.otherwise)(handler, request)

    server.script(*[at_most_three] * 30)
    bench.sink.on_next(make_events(10))

    assert bench.acknowledged == list(range(1, 11))
    assert not bench.time.waits


@pytest.mark.parametrize("failure", [JournalFull("/j", "no space left"), RuntimeError("a defect"), OSError("disk")])
def test_an_exception_of_the_callbacks_is_told_and_retried(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str], failure: Exception
) -> None:
    server.script(server.results(STORED, INVALID))
    bench.failures = [failure] * 3
    bench.sink.on_next(make_events(2))
    bench.failures = [failure] * 3
    bench.sink.on_next(make_events(1, 3))

    assert [call[:2] for call in bench.calls] == [("refused", 2), ("settled", 1), ("settled", 3)]
    assert requests(server) == [[1, 2], [3]]
    assert bench.statistics.failed_requests == 0
    assert bench.statistics.delivered == 2
    told = [line for line in log if str(failure) in line]
    tracebacks = [line for line in told if "Traceback" in line or "> File" in line]
    # A journal that cannot be used now needs no traceback; whatever nobody expected does.
    assert len(told) == 6
    assert len(tracebacks) == (0 if isinstance(failure, JournalFull) else 6)


def test_an_exception_of_the_client_is_told_and_retried(
    bench: Bench, make_events: MakeEvents, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(self: PulseStreamClient, events: Sequence[EncodedEvent]) -> None:
        monkeypatch.undo()
        raise KeyError("a defect")

    monkeypatch.setattr(PulseStreamClient, "post_batch", defect)
    bench.sink.on_next(make_events(1))

    assert bench.calls == [("settled", 1)]
    assert any("KeyError" in line and "post_batch" in line for line in log)


def test_an_exception_of_the_hook_does_no_harm(
    server: Any, client: PulseStreamClient, make_events: MakeEvents, fake_time: Any
) -> None:
    settled: list[Any] = []

    def hook(event: EncodedEvent, outcome: EventOutcome) -> None:
        raise ValueError(outcome)

    sink = PulseStreamSink(
        client,
        settled=settled.append,
        refused=lambda *_: None,
        stop=fake_time,
        statistics=DeliveryStatistics(),
        on_outcome=hook,
    )
    events = make_events(1)
    sink.on_next(events)
    assert settled == [events]
    assert len(server.requests) == 1


def stopped_in_wait(bench: Bench, number: int) -> None:
    bench.time.at_wait[number] = bench.time.set


def test_a_shutdown_ends_a_pause_with_one_last_try(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    stopped_in_wait(bench, 3)
    server.script(*[server.status(503, "down")] * 3)
    bench.sink.on_next(make_events(2))

    assert bench.calls == [("settled", 1, 2)]
    assert not bench.sink.abandoned
    assert len(bench.time.waits) == 3


def test_if_the_last_try_fails_the_batch_is_abandoned(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    stopped_in_wait(bench, 3)
    server.script(*[server.status(503, "down")] * 4)
    bench.sink.on_next(make_events(2))
    bench.sink.on_next(make_events(1, 3))

    assert bench.sink.abandoned
    assert not bench.calls
    assert len(server.requests) == 4
    assert bench.statistics.delivered == 0
    assert any("[STOPPED] 2 of 2 events are not delivered; offsets 1 to 2 stay in the journal" in line for line in log)


@pytest.mark.parametrize("fault", ["limit", "part", "time_out", "early"])
def test_a_shutdown_ends_some_pauses_without_a_last_try(
    server: Any, bench: Bench, make_events: MakeEvents, fault: str
) -> None:
    stopped_in_wait(bench, 1)
    faults = {
        "limit": server.status(429, "slow down"),
        "part": server.results(STORED, THROTTLED),
        "time_out": server.status(504, "<html>"),
        "early": server.results(STORED, FUTURE),
    }
    server.script(faults[fault])
    bench.sink.on_next([*make_events(1), *make_events(1, 2, "2024-05-01T12:06:00")])

    assert bench.sink.abandoned
    assert bench.acknowledged == ([1] if fault in {"part", "early"} else [])
    assert len(server.requests) == 1


def test_a_request_in_flight_may_end(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    def stop_and_answer(handler: Any, request: Any) -> None:
        bench.time.set()
        server.otherwise(handler, request)

    server.script(stop_and_answer)
    bench.sink.on_next(make_events(2))

    assert bench.calls == [("settled", 1, 2)]
    assert not bench.sink.abandoned


def test_a_request_in_flight_that_fails_is_the_last(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    def stop_and_fail(handler: Any, request: Any) -> None:
        bench.time.set()
        server.status(500, "no")(handler, request)

    server.script(stop_and_fail)
    bench.sink.on_next(make_events(2))

    assert bench.sink.abandoned
    assert len(server.requests) == 1
    assert not bench.time.waits


def test_batches_that_come_after_the_stop_are_tried_once(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    bench.time.set()
    bench.sink.on_next(make_events(2))
    assert bench.calls == [("settled", 1, 2)]

    server.script(server.status(503, "down"))
    bench.sink.on_next(make_events(1, 3))
    assert bench.sink.abandoned
    assert len(server.requests) == 2
    assert not bench.time.waits


def test_a_shutdown_ends_the_retries_of_a_callback(bench: Bench, make_events: MakeEvents) -> None:
    stopped_in_wait(bench, 1)
    bench.failures = [JournalFull("/j", "no space left")] * 2
    bench.sink.on_next(make_events(2))

    assert bench.sink.abandoned
    assert bench.statistics.delivered == 0


def test_a_real_stop_wakes_the_sink(server: Any, client: PulseStreamClient, make_events: MakeEvents) -> None:
    stop = threading.Event()
    server.script(*[server.status(429, "slow down")])
    sink = PulseStreamSink(
        client, settled=lambda _: None, refused=lambda *_: None, stop=stop, statistics=DeliveryStatistics()
    )
    thread = threading.Thread(target=sink.on_next, args=(make_events(1),))
    thread.start()
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_an_empty_batch_is_nothing(server: Any, bench: Bench) -> None:
    bench.sink.on_next([])
    assert not bench.calls
    assert not server.requests


def test_the_end_of_the_stream_is_told(bench: Bench, make_events: MakeEvents, log: list[str]) -> None:
    failing = reactivex.concat(reactivex.just(make_events(1)), reactivex.throw(ValueError("the source is gone")))
    failing.subscribe(bench.sink)

    assert bench.calls == [("settled", 1)]
    assert any("[FATAL]" in line and "the source is gone" in line for line in log)


def test_a_line_for_every_event(server: Any, bench: Bench, make_events: MakeEvents, log: list[str]) -> None:
    bench.sink.on_next(make_events(1))
    bench.sink.on_next(make_events(1))

    assert log == [
        "DEBUG [SUCCESS] Event sent successfully (200) | BTC-USD 1 | Price: $1.50\n",
        "DEBUG [DUPLICATE] Event was stored already (200) | BTC-USD 1 | Price: $1.50\n",
    ]


def test_a_title_cannot_forge_a_line(bench: Bench, make_events: MakeEvents, log: list[str]) -> None:
    (event,) = make_events(1)
    forged = EncodedEvent(event.event_id, "x\n[FATAL] {}\x1b[2J", 1.0, 1, event.timestamp, event.body)
    bench.sink.on_next([forged])

    assert log == ["DEBUG [SUCCESS] Event sent successfully (200) | x\\n[FATAL] {}\\x1b[2J | Price: $1.00\n"]


def test_lines_that_nobody_reads_are_not_made(bench: Bench, make_events: MakeEvents) -> None:
    class Silent(str):
        __slots__ = ()

        def __len__(self) -> int:
            raise AssertionError("the line was made")

    (event,) = make_events(1)
    logger.disable("rxbridge")
    try:
        bench.sink.on_next([EncodedEvent(event.event_id, Silent("x"), 1.0, 1, event.timestamp, event.body)])
    finally:
        logger.enable("rxbridge")
    assert bench.outcomes == [(1, "stored")]
    assert not bench.time.waits


def test_the_key_is_not_in_the_log(
    server: Any, bench: Bench, make_events: MakeEvents, key: str, log: list[str]
) -> None:
    server.script(
        *[server.status(status, {"message": f"your key is {key}"}) for status in (400, 401, 429, 500)],
        server.otherwise,
        server.results(("Validation error: x", f"title: {key}")),
        server.reset,
        server.reset,
    )
    bench.failures = [RuntimeError("a defect")]
    bench.sink.on_next(make_events(1))
    bench.sink.on_next(make_events(1, 2))

    assert len(log) > 6
    assert not any(key in line or "k3y-that" in line for line in log)
    assert bench.calls[0][2] == ("title: (hidden)",)


def limited(server: Any, limit: int, clock: Callable[[], float]) -> Counter[int]:
    """Lets so many events a minute into the server; how many requests met the limit, by the minute."""
    taken: Counter[int] = Counter()
    refused: Counter[int] = Counter()

    def admits() -> bool:
        minute = int(clock() // 60)
        taken[minute] += 1
        return taken[minute] <= limit

    def count(handler: Any, request: Any) -> None:
        before = sum(taken.values()), len(server.stored)
        server.otherwise(handler, request)
        refused[int(clock() // 60)] += sum(taken.values()) - before[0] > len(server.stored) - before[1]

    server.admits = admits
    server.script(*[count] * 2000)
    return refused


@pytest.mark.parametrize("setting", [None, 100, 5000])
def test_a_stock_tenant_is_no_storm_of_refusals(
    server: Any, bench: Bench, key: str, make_events: MakeEvents, log: list[str], *, setting: int | None
) -> None:
    """400 events a minute, of which PulseStream takes 100."""
    refused, time = limited(server, 100, server.clock), bench.time
    with PulseStreamClient(server.url, key, read_timeout_seconds=30, clock=time.seconds) as client:
        bench = Bench(client, time, events_per_minute=setting)
        for first in range(1, 2001, 400):
            bench.sink.on_next(make_events(400, first))

    assert bench.acknowledged == list(range(1, 2001))
    assert sorted(server.stored) == sorted(f"event-{number}" for number in range(1, 2001))
    assert max(refused.values()) <= 1
    assert bench.statistics.throttled == sum(refused.values()) <= (0 if setting == 100 else 3)
    assert 18 * 60 <= time.now - 1_800_000_000 <= 23 * 60
    told = [line for line in log if "[RATE LIMIT] PulseStream seems to take 100 events in 60 s" in line]
    assert len(told) == (0 if setting == 100 else 1)


def test_while_the_rate_limit_is_used_up_a_shutdown_ends_it_at_once(
    server: Any, bench: Bench, make_events: MakeEvents
) -> None:
    limited(server, 10, server.clock)
    bench.time.at_wait[3] = bench.time.set
    bench.sink.on_next(make_events(100))

    assert bench.sink.abandoned
    assert len(bench.time.waits) == 3
    assert bench.acknowledged == list(range(1, len(bench.acknowledged) + 1))
    assert f"event-{len(bench.acknowledged)}" in server.stored


def test_a_shutdown_sends_at_once_what_the_rate_limit_allows(
    server: Any, bench: Bench, make_events: MakeEvents
) -> None:
    """Two minutes are used up; of the third one 15 events are left, which would else be spread over it."""
    limited(server, 20, server.clock)
    bench.sink.on_next(make_events(45))
    before = len(bench.time.waits)
    assert before > 3
    bench.time.set()
    bench.sink.on_next(make_events(15, 46))

    assert bench.acknowledged == list(range(1, 61))
    assert len(bench.time.waits) == before


def test_a_large_batch_is_sent_in_parts_and_acknowledged_part_by_part(
    server: Any, bench: Bench, make_events: MakeEvents
) -> None:
    bench.sink.on_next(make_events(2500))

    sizes = [len(numbers) for numbers in requests(server)]
    assert sizes == [100, 200, 400, 800, 1000]
    assert [len(call) - 1 for call in bench.calls] == sizes
    assert bench.acknowledged == list(range(1, 2501))
    assert bench.sink.request_size == 1000


def test_what_is_acknowledged_is_not_sent_again_after_a_shutdown(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    server.script(server.otherwise, server.status(503, "down"), server.status(503, "down"))
    bench.time.at_wait[1] = bench.time.set
    bench.sink.on_next(make_events(250))

    assert bench.sink.abandoned
    assert bench.acknowledged == list(range(1, 101))
    assert bench.statistics.delivered == 100
    assert any("[STOPPED] 150 of 250 events are not delivered; offsets 101 to 250 stay" in line for line in log)


def test_a_slow_server_gets_smaller_requests(server: Any, key: str, fake_time: Any, make_events: MakeEvents) -> None:
    """A second an event."""

    def slow(handler: Any, request: Any) -> None:
        fake_time.now += len(request.ids)
        server.otherwise(handler, request)

    server.script(*[slow] * 200)
    with PulseStreamClient(server.url, key, read_timeout_seconds=30, clock=fake_time.seconds) as client:
        bench = Bench(client, fake_time, target_seconds=5.0)
        bench.sink.on_next(make_events(300))

    sizes = [len(numbers) for numbers in requests(server)]
    assert sizes[:2] == [100, 10]
    assert all(size <= 10 for size in sizes[1:])
    assert sum(sizes[5:-1]) / len(sizes[5:-1]) == pytest.approx(5, abs=1)
    assert bench.acknowledged == list(range(1, 301))


def test_what_is_stored_already_says_nothing_of_what_new_events_cost(
    server: Any, key: str, fake_time: Any, make_events: MakeEvents
) -> None:
    def slow_for_new_ones(handler: Any, request: Any) -> None:
        fake_time.now += sum(event_id not in server.stored for event_id in request.ids)
        server.otherwise(handler, request)

    server.script(*[slow_for_new_ones] * 200)
    with PulseStreamClient(server.url, key, read_timeout_seconds=30, clock=fake_time.seconds) as client:
        bench = Bench(client, fake_time)
        bench.sink.on_next(make_events(150))
        learnt = bench.sink.request_size
        assert learnt <= 4
        bench.sink.on_next(make_events(150))
        assert bench.sink.request_size == learnt


def test_events_of_one_offset_are_acknowledged_together(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    """Three events of one frame, the last of which has to wait: the frame is not done."""
    events = [msgspec.structs.replace(event, offset=min(event.offset, 2)) for event in make_events(4)]
    server.script(server.results(STORED, STORED, STORED, THROTTLED))
    bench.sink.on_next(events)

    assert bench.calls == [("settled", 1), ("settled", 2, 2, 2)]


def test_an_event_that_is_poisonous_and_alone_is_given_up(
    server: Any, bench: Bench, make_events: MakeEvents, log: list[str]
) -> None:
    server.poison.add("event-1")
    bench.sink.on_next(make_events(1))

    assert [call[:2] for call in bench.calls] == [("refused", 1), ("settled", 1)]
    probes = [name for name in server.stored if name.startswith("rxbridge-probe-")]
    assert list(server.stored) == probes
    # One to know that the database can be written at all, one to know that it still can.
    assert len(probes) == 2
    assert {server.stored[name]["source"]["service"] for name in probes} == {"rxbridge-probe"}
    assert not any("probe" in line for line in log if "SUCCESS" in line)

    server.poison.add("event-2")
    bench.sink.on_next(make_events(1, 2))
    assert sum(name.startswith("rxbridge-probe-") for name in server.stored) == 3


def test_a_database_that_can_only_be_read_is_no_reason_to_give_anything_up(
    server: Any, bench: Bench, make_events: MakeEvents
) -> None:
    """As with a full disk: repeats are answered, and everything new is refused with 500."""
    server.poison.add("event-1")
    bench.sink.on_next(make_events(2))
    assert [call[:2] for call in bench.calls] == [("refused", 1), ("settled", 1)]

    server.read_only = True

    def is_well_again() -> None:
        server.read_only = False

    bench.time.at_wait[len(bench.time.waits) + 200] = is_well_again
    bench.sink.on_next(make_events(3, 3))

    assert bench.acknowledged == [1, 2, 3, 4, 5]
    assert [call[1] for call in bench.calls if call[0] == "refused"] == [1]
    assert bench.statistics.failed_requests >= 200


def test_a_probe_that_is_refused_is_no_proof_and_no_storm(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    def refuses_probes(handler: Any, request: Any) -> None:
        probe = request.ids[0].startswith("rxbridge-probe-")
        step = server.results(INVALID) if probe else server.status(500, {"message": "no"})
        step(handler, request)

    server.script(*[refuses_probes] * 40)
    bench.sink.on_next(make_events(1))

    assert bench.calls == [("settled", 1)]
    assert len(bench.time.waits) == 40


def test_probes_wait_for_the_rate_limit_too(server: Any, bench: Bench, make_events: MakeEvents) -> None:
    refused = limited(server, 1, server.clock)
    server.poison.add("event-1")
    bench.sink.on_next(make_events(1))
    assert [call[:2] for call in bench.calls] == [("refused", 1), ("settled", 1)]
    assert max(refused.values()) <= 1
