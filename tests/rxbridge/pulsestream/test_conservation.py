"""Whatever the server does, every event ends stored or as a dead letter, once, and is acknowledged after, in order."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from rxbridge.errors import EventRejected, JournalFull
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import InFlight, PulseStreamClient, PulseStreamSink
from rxbridge.telemetry.statistics import DeliveryStatistics

MakeEvents = Callable[..., list[EncodedEvent]]

STORED = "Event ingested successfully"
RESULTS: dict[str, tuple[str, ...]] = {
    "stored": (STORED,),
    "throttled": ("Event ingestion failed", "Rate limit exceeded. Limit: 100 events per 60 seconds"),
    "early": ("Event validation failed", "timestamp: Event timestamp cannot be more than 5 minutes in the future"),
    "refused": ("Validation error: title", "title: Field required"),
    "several": ("Event ingestion failed", "Multiple rows were found when one or none was required"),
}
FAULTS = ["reset", "hang_up", "cut_short", "html", "401", "413", "422", "429", "500", "503", "504", "unknown", "counts"]
REFUSES_THE_EVENTS = {"413", "422"}


class Story(NamedTuple):
    """What happens: to each request in turn, to the callbacks, and whether somebody stops it all during a pause.

    A fault is its name and whether the server had stored the events by then; a list is what becomes of each event.
    With a rate limit, the server takes so many new events a minute. With a note, the sink asks for what it is uncertain
    of, and what is left after it was stopped is delivered by another sink, which was given the note.
    """

    batches: list[int]
    poison: set[int]
    faults: list[tuple[str, bool] | list[str]]
    journal: list[bool]
    stop_in_pause: int | None
    largest_request: int
    rate_limit: int | None
    told: bool
    note: bool

    @property
    def numbers(self) -> list[range]:
        ends = list(accumulate(self.batches, initial=1))
        return [range(*bounds) for bounds in pairwise(ends)]


STORIES = st.builds(
    Story,
    batches=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    poison=st.just(set[int]()) | st.sets(st.integers(1, 10), max_size=2),
    faults=st.lists(
        st.tuples(st.sampled_from(FAULTS), st.booleans())
        | st.lists(st.sampled_from(sorted(RESULTS)), min_size=6, max_size=6),
        max_size=8,
    ),
    journal=st.lists(st.booleans(), max_size=4),
    stop_in_pause=st.none() | st.integers(1, 6),
    largest_request=st.integers(1, 6),
    rate_limit=st.none() | st.integers(2, 5),
    told=st.booleans(),
    note=st.booleans(),
)


class Play:
    """One story, played by a server and a sink; what they did is written down."""

    def __init__(self, server: Any, client: PulseStreamClient, time: Any, story: Story) -> None:
        self.server, self.client, self.time, self.story = server, client, time, story
        self.refused: list[EncodedEvent] = []
        self.settled: list[int] = []
        self.notes: list[bytes] = []
        self.statistics = DeliveryStatistics()
        self.journal = list(story.journal)
        self.taken: Counter[int] = Counter()
        self.sink = self.make_sink()
        server.forget()
        server.clock = time.seconds
        server.search = server.otherwise
        server.admits = self.admits
        server.poison = {f"event-{number}" for number in story.poison}
        server.script(*[self.step(fault) for fault in story.faults])
        if story.stop_in_pause is not None:
            time.at_wait[story.stop_in_pause] = time.set

    def make_sink(self) -> PulseStreamSink:
        earlier = self.notes[-1] if self.notes else None
        in_flight = InFlight(
            self.notes.append,
            earlier,
            service="tests",
            clock=self.time.nanoseconds,
            monotonic=self.time.seconds,
        )
        return PulseStreamSink(
            self.client,
            settled=self.settle,
            refused=self.refuse,
            stop=self.time,
            statistics=self.statistics,
            largest_request=self.story.largest_request,
            events_per_minute=self.story.rate_limit if self.story.told else None,
            in_flight=in_flight if self.story.note else None,
            clock=self.time.nanoseconds,
            monotonic=self.time.seconds,
        )

    def admits(self) -> bool:
        """Whether the rate limit lets one more event in."""
        minute = int(self.time.now // 60)
        self.taken[minute] += 1
        return self.story.rate_limit is None or self.taken[minute] <= self.story.rate_limit

    def journal_is_full(self) -> None:
        if self.journal and self.journal.pop():
            raise JournalFull("/journal", "no space left")

    def settle(self, batch: Sequence[EncodedEvent]) -> None:
        self.journal_is_full()
        self.settled += [event.offset for event in batch]

    def refuse(self, event: EncodedEvent, error: EventRejected, first: int, last: int, attempts: int) -> None:
        self.journal_is_full()
        assert error.event_id == event.event_id
        assert 0 < first <= last
        assert attempts > 0
        self.refused.append(event)

    def step(self, fault: tuple[str, bool] | list[str]) -> Callable[[Any, Any], None]:
        if isinstance(fault, list):
            return lambda handler, request: self.each(fault, handler, request)
        name, stores = fault
        steps: dict[str, Callable[[Any, Any], None]] = {
            "reset": self.server.reset,
            "hang_up": self.server.hang_up,
            "cut_short": self.server.cut_short,
            "html": self.server.status(200, "<html>"),
            "unknown": self.server.altered(lambda answer: answer["results"][0].update(success=False, errors=["SQL"])),
            "counts": self.server.altered(lambda answer: answer.update(total_events=99)),
        }
        step = steps.get(name) or self.server.status(int(name), {"message": "no"})
        if name in REFUSES_THE_EVENTS:
            return lambda handler, request: self.refuse_new(step, handler, request)
        return self.server.stored_but(step) if stores else step

    def refuse_new(self, step: Callable[[Any, Any], None], handler: Any, request: Any) -> None:
        """Who refuses an event for its size or its shape does so the first time, not after it was stored."""
        known = set(request.ids) & set(self.server.stored)
        (self.server.otherwise if known else step)(handler, request)

    def each(self, results: list[str], handler: Any, request: Any) -> None:
        """An answer event by event. What is stored cannot be refused, and poison cannot be stored."""
        chosen: list[tuple[str, ...]] = []
        for event_id, result in zip(request.ids, results, strict=False):
            if event_id in self.server.poison:
                chosen.append(RESULTS["throttled"])
            elif event_id in self.server.stored:
                chosen.append(("Event already exists (idempotent)",))
            else:
                if result == "several":
                    self.server.stored[event_id] = {}
                chosen.append(RESULTS[result])
        self.server.results(*chosen)(handler, request)


@pytest.fixture(scope="module")
def steady_client(running_server: Any) -> Iterator[PulseStreamClient]:
    # The tracebacks of so many stories would take longer than the stories.
    logger.disable("rxbridge")
    with PulseStreamClient(running_server.url, "key", read_timeout_seconds=30) as client:
        yield client
    logger.enable("rxbridge")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=STORIES)
def test_every_event_ends_stored_or_dead_exactly_once(
    running_server: Any, steady_client: PulseStreamClient, make_events: MakeEvents, make_time: Any, story: Story
) -> None:
    steady_client.close()
    play = Play(running_server, steady_client, make_time(), story)
    everything = [number for numbers in story.numbers for number in numbers]
    for numbers in story.numbers:
        play.sink.on_next(make_events(len(numbers), numbers[0]))

    assert play.settled == everything[: len(play.settled)]
    assert (play.settled != everything) == play.sink.abandoned
    assert story.stop_in_pause or not play.sink.abandoned
    dead = Counter(event.event_id for event in play.refused)
    assert all(count == 1 for count in dead.values())
    assert not set(dead) & set(running_server.stored)
    settled = {f"event-{number}" for number in play.settled}
    assert settled <= set(dead) | set(running_server.stored)
    assert play.statistics.delivered == len(settled - set(dead))
    assert running_server.most_in_flight <= 1
    assert play.statistics.failed_requests + play.statistics.throttled <= play.statistics.requests

    if rest := everything[len(play.settled) :]:
        play.time.clear()
        play.time.at_wait.clear()
        play.make_sink().on_next(make_events(len(rest), rest[0]))
        assert play.settled == everything
        dead = Counter(event.event_id for event in play.refused)
        assert {f"event-{number}" for number in everything} <= set(dead) | set(running_server.stored)
