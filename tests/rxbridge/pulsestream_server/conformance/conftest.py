"""One server under test: the embedded one, or whichever PULSESTREAM_CONFORMANCE_URL names.

Nothing in this folder knows more of the server than its address. Every test has a tenant of its own, because a tenant
may store 100 events a minute; the key in PULSESTREAM_CONFORMANCE_KEY is used where a key is tested.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import pytest
import requests

from rxbridge.pulsestream_server import EmbeddedPulseStream

Result = TypeVar("Result")
Event = dict[str, Any]


class Server(NamedTuple):
    """Where it is, and a key that it knows, if one is known."""

    url: str
    key: str | None


class Tenant:
    """A client with a key. A connection for each request, because an error may end one without notice."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self.key = key

    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json"} | ({"X-API-Key": self.key} if self.key is not None else {})

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, Any] | None = None,
    ) -> requests.Response:
        headers = self.headers() if headers is None else headers
        return requests.request(method, self.url + path, data=body, headers=headers, params=query, timeout=60)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.request("GET", path, query=query)

    def post(self, path: str, value: Any) -> requests.Response:
        return self.request("POST", path, json.dumps(value).encode())

    def post_event(self, event: Any) -> requests.Response:
        return self.post("/api/v1/ingestion/events", event)

    def post_batch(self, events: Any, **more: Any) -> requests.Response:
        return self.post("/api/v1/ingestion/events/batch", {"events": events, **more})

    def search(self, **query: Any) -> dict[str, Any]:
        answer = self.get("/api/v1/ingestion/events/search", **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rate_limit(self) -> dict[str, Any]:
        return self.get("/api/v1/ingestion/rate-limit").json()

    def waits_for(self, count: int) -> list[dict[str, Any]]:
        """The stored events, as soon as there are so many: an answer may come before the commit."""
        deadline = time.monotonic() + 30
        while (found := self.search(limit=1000))["total_count"] < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert found["total_count"] == count
        return found["events"]

    def settled(self) -> list[dict[str, Any]]:
        """The stored events, after all that was answered before has been committed or rolled back."""
        marker = f"marker-{uuid4().hex}"
        answer = self.post_event(new_event(source={"service": marker, "endpoint": "/", "method": "GET"}))
        assert answer.status_code == 200, answer.text
        deadline = time.monotonic() + 30
        while not self.search(service=marker)["total_count"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return [item for item in self.search(limit=1000)["events"] if not item["source"].startswith("marker-")]


def new_event(**changes: Any) -> Event:
    """The smallest event with an id, changed; `...` takes a key away."""
    event: Event = {
        "event_type": "custom_event",
        "event_id": uuid4().hex,
        "title": "Ticker",
        "source": {"service": "conformance", "endpoint": "/ticker", "method": "GET"},
    }
    return {key: value for key, value in (event | changes).items() if value is not ...}


def new_tenant(url: str) -> Tenant:
    name = uuid4().hex
    registration = {"name": "Conformance", "slug": name, "contact_email": f"{name}@example.com"}
    answer = Tenant(url, None).post("/api/v1/auth/register/tenant", registration)
    assert answer.status_code == 200, answer.text
    return Tenant(url, answer.json()["tenant"]["api_key"])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = os.environ.get("PULSESTREAM_CONFORMANCE_URL")
    if url:
        yield Server(url.rstrip("/"), os.environ.get("PULSESTREAM_CONFORMANCE_KEY"))
        return
    key = uuid4().hex
    database: Path = tmp_path_factory.mktemp("conformance") / "pulsestream.sqlite"
    with EmbeddedPulseStream(database=database, api_key=key) as embedded:
        yield Server(embedded.url, key)


@pytest.fixture(scope="session")
def slow_server(server: Server) -> Iterator[Server]:
    """One that takes long enough over a batch for another request to come meanwhile."""
    if os.environ.get("PULSESTREAM_CONFORMANCE_URL"):
        yield server
        return
    with EmbeddedPulseStream(latency_seconds=1.0) as embedded:
        yield Server(embedded.url, None)


@pytest.fixture(name="new_event")
def new_event_fixture() -> Callable[..., Event]:
    return new_event


@pytest.fixture
def anonymous(server: Server) -> Tenant:
    """A client without a key."""
    return Tenant(server.url, None)


@pytest.fixture
def tenant(server: Server) -> Tenant:
    """A tenant that has stored nothing yet."""
    return new_tenant(server.url)


@pytest.fixture
def another_tenant(server: Server) -> Tenant:
    return new_tenant(server.url)


@pytest.fixture
def tenant_of_slow_server(slow_server: Server) -> Tenant:
    return new_tenant(slow_server.url)


@pytest.fixture
def within_a_minute(server: Server) -> Callable[[Callable[[Tenant], Result]], Result]:
    """Runs something with a new tenant, again if the clock minute of the rate limit ended meanwhile."""

    def run(action: Callable[[Tenant], Result]) -> Result:
        for _ in range(3):
            tenant = new_tenant(server.url)
            before = tenant.rate_limit()["reset_time"]
            result = action(tenant)
            if tenant.rate_limit()["reset_time"] == before:
                return result
        pytest.fail("it never fits into one minute")

    return run
