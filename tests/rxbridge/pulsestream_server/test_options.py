"""What only a server that one makes oneself can show: its options."""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.pulsestream_server.latency import Latency


class Clock:
    """Shows what it is set to; Unix time in seconds."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_without_a_rate_limit_everything_is_stored_and_still_100_is_told(
    pulsestream: EmbeddedPulseStream, pulsestream_key: str, client: Any, new_event: Any
) -> None:
    tenant = client(pulsestream.url, pulsestream_key)

    assert tenant.post_batch([new_event() for _ in range(250)])["successful_events"] == 250
    told = tenant.rate_limit()
    assert (told["limit"], told["remaining"], told["exceeded"]) == (100, 0, True)


def test_a_rate_limit_of_ones_own(client: Any, new_event: Any) -> None:
    with EmbeddedPulseStream(api_key="k", rate_limit=3, clock=Clock(0.0)) as server:
        body = client(server.url, "k").post_batch([new_event() for _ in range(5)])
        told = client(server.url, "k").rate_limit()

    assert [result["success"] for result in body["results"]] == [True] * 3 + [False] * 2
    assert body["results"][3]["errors"] == ["Rate limit exceeded. Limit: 3 events per 60 seconds"]
    assert (told["limit"], told["remaining"]) == (100, 97)


def test_the_rate_limit_is_one_of_clock_minutes(client: Any, new_event: Any) -> None:
    clock = Clock(119.0)
    with EmbeddedPulseStream(api_key="k", rate_limit=2, clock=clock) as server:
        tenant = client(server.url, "k")

        def stored() -> int:
            return tenant.post_batch([new_event() for _ in range(3)])["successful_events"]

        first, resets = stored(), tenant.rate_limit()["reset_time"]
        clock.now = 119.9
        same_minute = stored()
        clock.now = 120.0
        next_minute = stored()

    assert (first, same_minute, next_minute) == (2, 0, 2)
    assert resets == "1970-01-01T00:02:00"


def test_now_is_what_the_clock_says(client: Any, new_event: Any) -> None:
    clock = Clock(datetime(2021, 5, 5, 12, tzinfo=UTC).timestamp())
    with EmbeddedPulseStream(api_key="k", clock=clock) as server:
        tenant = client(server.url, "k")
        ahead = tenant.post_event(new_event(timestamp="2021-05-05T12:05:00.000001"))
        answer = tenant.post_event(new_event(timestamp="2021-05-05T12:05:00"))
        undated = tenant.post_event(new_event())
        items = tenant.search()["events"]

    assert (ahead.status_code, answer.status_code, undated.status_code) == (400, 200, 200)
    assert answer.json()["ingested_at"] == "2021-05-05T12:00:00"
    assert [item["timestamp"] for item in items] == ["2021-05-05T12:05:00+00:00", "2021-05-05T12:00:00+00:00"]
    assert {item["ingested_at"] for item in items} == {"2021-05-05T12:00:00+00:00"}


def test_without_a_key_there_is_no_tenant_until_one_registers(client: Any, new_event: Any) -> None:
    with EmbeddedPulseStream() as server:
        refused = client(server.url, "").post_event(new_event())
        registration = {"name": "New", "slug": uuid4().hex, "contact_email": "a@example.com"}
        answer = requests.post(server.url + "/api/v1/auth/register/tenant", json=registration, timeout=30)
        key = answer.json()["tenant"]["api_key"]
        accepted = client(server.url, key).post_event(new_event())

    assert (refused.status_code, accepted.status_code) == (401, 200)


def test_latency_holds_the_answer_back_not_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[object] = []

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        happened.append("handled")
        await send({"type": "http.response.start"})
        await send({"type": "http.response.body"})
        happened.append("committed")

    async def sleep(seconds: float) -> None:
        happened.append(seconds)

    async def send(message: Message) -> None:
        happened.append(message["type"])

    async def receive() -> Message:
        raise AssertionError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    coroutine = Latency(answer, seconds=0.25)({"type": "http"}, receive, send)
    with pytest.raises(StopIteration):
        coroutine.send(None)

    assert happened == ["handled", 0.25, "http.response.start", "http.response.body", "committed"]


def rows(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return count


class Witness:
    """Counts the stored events at the moment at which an answer goes out."""

    def __init__(self, app: ASGIApp, *, count: Callable[[], int], seen: list[int]) -> None:
        self._app = app
        self._count = count
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.body":
                self._seen.append(self._count())
            await send(message)

        await self._app(scope, receive, watched)


def test_the_200_goes_out_before_the_commit(tmp_path: Path, client: Any, new_event: Any) -> None:
    database, seen = tmp_path / "events.sqlite", list[int]()
    witness = Middleware(Witness, count=lambda: rows(database), seen=seen)
    with EmbeddedPulseStream(database=database, api_key="k", middleware=[witness]) as server:
        client(server.url, "k").post_batch([new_event()])
        client(server.url, "k").post_event(new_event())

    assert seen == [0, 1]
    assert rows(database) == 2


def test_events_of_the_same_time_keep_their_order_from_page_to_page(
    pulsestream: EmbeddedPulseStream, pulsestream_key: str, client: Any, new_event: Any
) -> None:
    tenant = client(pulsestream.url, pulsestream_key)
    events = [new_event(timestamp="2025-01-01T00:00:00") for _ in range(25)]
    tenant.post_batch(events)

    pages = [tenant.search(limit=4, offset=offset)["events"] for offset in range(0, 28, 4)]
    assert [item["external_id"] for page in pages for item in page] == [event["event_id"] for event in events[::-1]]
