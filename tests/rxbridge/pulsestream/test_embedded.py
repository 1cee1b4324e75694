"""The client and the sink against the embedded PulseStream, which behaves like the real one."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from rxbridge.errors import EventRejected, Unauthorized, Unreachable
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import PulseStreamClient, PulseStreamSink, stored_events
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.telemetry.statistics import DeliveryStatistics
from tests.ports import free_port

MakeEvents = Callable[..., list[EncodedEvent]]
KEY = "tenant-key"
NOON = datetime.fromisoformat("2024-05-01T12:00:00")


@pytest.fixture
def embedded() -> Iterator[Callable[..., PulseStreamClient]]:
    """Starts a server; gives a client for it."""
    with ExitStack() as resources:

        def start(clock: Callable[[], float] = time.time, **arguments: Any) -> PulseStreamClient:
            server = resources.enter_context(EmbeddedPulseStream(api_key=KEY, clock=clock, **arguments))
            return resources.enter_context(PulseStreamClient(server.url, KEY, clock=clock))

        yield start


class Delivered:
    """A sink with what it settled and refused."""

    def __init__(self, client: PulseStreamClient, time: Any) -> None:
        self.settled: list[int] = []
        self.refused: dict[int, tuple[str, ...]] = {}
        self.statistics = DeliveryStatistics()
        self.sink = PulseStreamSink(
            client,
            settled=self.settle,
            refused=self.refuse,
            stop=time,
            statistics=self.statistics,
            clock=time.nanoseconds,
            monotonic=time.seconds,
        )

    def settle(self, batch: Sequence[EncodedEvent]) -> None:
        self.settled += [event.offset for event in batch]

    def refuse(self, event: EncodedEvent, error: EventRejected, *_: int) -> None:
        self.refused[event.offset] = error.reasons


def found(client: PulseStreamClient, **arguments: Any) -> list[str]:
    interval: dict[str, Any] = {"start": NOON - timedelta(hours=1), "end": NOON + timedelta(hours=1)} | arguments
    return sorted(event.event_id for event in stored_events(client, service="tests", **interval))


def altered(event: EncodedEvent, **changes: Any) -> EncodedEvent:
    content: dict[str, Any] = msgspec.json.decode(event.body) | changes
    body = msgspec.json.encode({name: value for name, value in content.items() if value is not None})
    return msgspec.structs.replace(event, body=body)


def test_it_is_up_and_takes_the_key(embedded: Callable[..., PulseStreamClient]) -> None:
    client = embedded()
    client.check()
    with PulseStreamClient(client.address.batch, "another-key") as other, pytest.raises(Unauthorized):
        other.check()


def test_batches_are_stored_once(
    embedded: Callable[..., PulseStreamClient], make_events: MakeEvents, fake_time: Any
) -> None:
    client = embedded(rate_limit=0)
    delivered = Delivered(client, fake_time)
    for first in (1, 101, 51):
        delivered.sink.on_next(make_events(100, first))

    assert found(client) == sorted(f"event-{number}" for number in range(1, 201))
    assert (delivered.statistics.delivered, delivered.statistics.already_stored) == (300, 100)
    assert not fake_time.waits


def test_the_rate_limit_only_takes_time(
    embedded: Callable[..., PulseStreamClient], make_events: MakeEvents, fake_time: Any
) -> None:
    """The server's minutes pass as ours do, whenever somebody waits; its `Date` is the real time, and stands still."""
    fake_time.now = time.time()
    client = embedded(rate_limit=100, clock=fake_time.seconds)
    delivered = Delivered(client, fake_time)
    delivered.sink.on_next(make_events(250))

    assert found(client) == sorted(f"event-{number}" for number in range(1, 251))
    assert delivered.settled == list(range(1, 251))
    assert delivered.statistics.throttled >= 1
    assert len(fake_time.waits) < 100
    assert delivered.statistics.failed_requests == 0


def test_each_kind_of_bad_event(
    embedded: Callable[..., PulseStreamClient], make_events: MakeEvents, fake_time: Any
) -> None:
    client = embedded(rate_limit=0)
    good = make_events(8)
    far_ahead = (datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None)
    batch = [
        good[0],
        altered(good[1], title=None),
        altered(good[2], timestamp="2024-05-01T12:00:00Z"),
        msgspec.structs.replace(altered(good[3], timestamp=far_ahead.isoformat()), timestamp=far_ahead),
        altered(good[4], event_type="no such type"),
        # PostgreSQL cannot store this, so the server refuses the whole batch, and says nothing more.
        altered(good[5], payload={"text": "NUL \0"}),
        good[6],
        altered(good[7], payload={"text": "x" * 10_485_760}),
    ]
    delivered = Delivered(client, fake_time)
    delivered.sink.on_next(batch)

    assert found(client) == ["event-1", "event-7"]
    assert delivered.settled == list(range(1, 9))
    assert sorted(delivered.refused) == [2, 3, 4, 5, 6, 8]
    assert "title" in delivered.refused[2][0]
    assert "offset-naive" in delivered.refused[3][0]
    assert "in the future" in delivered.refused[4][0]
    assert "event_type" in delivered.refused[5][0]
    assert "Batch event ingestion failed" in delivered.refused[6][0]
    assert "Payload size" in delivered.refused[8][0]


def test_an_event_a_little_ahead_is_stored_when_its_time_has_come(
    embedded: Callable[..., PulseStreamClient], make_events: MakeEvents, fake_time: Any
) -> None:
    fake_time.now = datetime.now(UTC).timestamp()
    client = embedded(rate_limit=0, clock=fake_time.seconds)
    ahead = datetime.fromtimestamp(fake_time.now + 420, UTC).replace(tzinfo=None)
    delivered = Delivered(client, fake_time)
    delivered.sink.on_next([*make_events(1), *make_events(1, 2, ahead.isoformat())])

    assert found(client, end=ahead) == ["event-1", "event-2"]
    assert not delivered.refused
    assert 119 <= sum(fake_time.waits) <= 125


def test_a_server_that_is_away_for_a_while(
    embedded: Callable[..., PulseStreamClient], make_events: MakeEvents, fake_time: Any, tmp_path: Any
) -> None:
    client = embedded(rate_limit=0, database=tmp_path / "stored.sqlite")
    port = free_port()
    url, other = f"http://127.0.0.1:{port}", tmp_path / "other.sqlite"
    returning = EmbeddedPulseStream(api_key=KEY, database=other, rate_limit=0, port=port)
    with EmbeddedPulseStream(api_key=KEY, database=other, rate_limit=0, port=port):
        pass
    client.close()
    with ExitStack() as resources, PulseStreamClient(url, KEY) as away:
        with pytest.raises(Unreachable):
            away.check()
        fake_time.at_wait[3] = lambda: resources.enter_context(returning)
        delivered = Delivered(away, fake_time)
        delivered.sink.on_next(make_events(10))

        assert delivered.settled == list(range(1, 11))
        assert len(found(away)) == 10
        assert delivered.statistics.failed_requests == 3


def test_reading_back_more_than_a_page_with_equal_timestamps(
    embedded: Callable[..., PulseStreamClient], make_events: MakeEvents
) -> None:
    client = embedded(rate_limit=0)
    for number in range(10):
        client.post_batch(make_events(30, 1 + 30 * number, (NOON - timedelta(seconds=number)).isoformat()))

    for page in (7, 30, 31, 1000):
        assert found(client, page=page) == sorted(f"event-{number}" for number in range(1, 301))
    assert len(found(client, start=NOON, end=NOON)) == 30
