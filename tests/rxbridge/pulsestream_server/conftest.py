"""Clients for the embedded server: a bare one, and the project's own."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import requests

from rxbridge.events import EncodedEvent
from rxbridge.faults import Fault
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.pulsestream_server import EmbeddedPulseStream

KEY = "the-key-of-this-test"


class Client:
    """Speaks to one server with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url + "/api/v1/ingestion"
        self._headers = {"X-API-Key": key}

    def post_event(self, event: dict[str, Any]) -> requests.Response:
        return requests.post(self._url + "/events", json=event, headers=self._headers, timeout=30)

    def post_batch(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        answer = requests.post(self._url + "/events/batch", json={"events": events}, headers=self._headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def search(self, **query: Any) -> dict[str, Any]:
        answer = requests.get(self._url + "/events/search", params=query, headers=self._headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rate_limit(self) -> dict[str, Any]:
        return requests.get(self._url + "/rate-limit", headers=self._headers, timeout=30).json()


@pytest.fixture
def client() -> Callable[[str, str], Client]:
    """Makes a client from a server's address and a key."""
    return Client


@pytest.fixture
def new_event() -> Callable[..., dict[str, Any]]:
    """Makes the smallest event with an id, changed."""

    def make(**changes: Any) -> dict[str, Any]:
        event = {
            "event_type": "custom_event",
            "event_id": uuid4().hex,
            "title": "Ticker",
            "source": {"service": "test", "endpoint": "/ticker", "method": "GET"},
        }
        return event | changes

    return make


@pytest.fixture
def new_batch() -> Callable[..., list[EncodedEvent]]:
    """Makes events `event-1` and on."""

    def make(count: int = 5) -> list[EncodedEvent]:
        batch: list[EncodedEvent] = []
        for number in range(1, count + 1):
            content = {
                "event_type": "custom_event",
                "event_id": f"event-{number}",
                "title": f"Event {number}",
                "source": {"service": "test", "endpoint": "/", "method": "WS"},
                "timestamp": "2024-05-01T12:00:00",
            }
            moment = datetime.fromisoformat("2024-05-01T12:00:00")
            body = json.dumps(content).encode()
            batch.append(EncodedEvent(f"event-{number}", f"Event {number}", None, number, moment, body))
        return batch

    return make


class Faulty:
    """A server with faults, and the project's own client for it."""

    def __init__(self, server: EmbeddedPulseStream, client: PulseStreamClient) -> None:
        self.server = server
        self.client = client

    @property
    def stored(self) -> list[str]:
        """The ids of all rows, in order."""
        page = self.client.search(service="test", start="2024-01-01T00:00:00", end="2025-01-01T00:00:00", limit=1000)
        return sorted(str(event.external_id) for event in page.events)


@pytest.fixture
def faulty() -> Iterator[Callable[..., Faulty]]:
    """Starts a server with these faults."""
    with ExitStack() as resources:

        def start(
            *faults: Fault,
            read_timeout_seconds: float = 60.0,
            ca_file: Path | None = None,
            client_clock: Callable[[], float] = time.time,
            **options: Any,
        ) -> Faulty:
            options = {"api_key": KEY, "rate_limit": 0} | options
            server = resources.enter_context(EmbeddedPulseStream(faults=faults, **options))
            client = PulseStreamClient(
                server.url, KEY, read_timeout_seconds=read_timeout_seconds, ca_file=ca_file, clock=client_clock
            )
            return Faulty(server, resources.enter_context(client))

        yield start


class Certificate(NamedTuple):
    """Two PEM files."""

    certificate: Path
    key: Path


@pytest.fixture
def new_certificate(tmp_path: Path) -> Callable[[str], Certificate]:
    """Makes a certificate, by itself, for a name such as `IP:127.0.0.1`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")

    def make(name: str) -> Certificate:
        stem = uuid4().hex
        files = Certificate(tmp_path / f"{stem}.pem", tmp_path / f"{stem}.key")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=tests", "-addext", f"subjectAltName={name}"]
        out = ["-keyout", str(files.key), "-out", str(files.certificate)]
        subprocess.run([openssl, "req", "-x509", *curve, *names, *out], check=True, capture_output=True)
        return files

    return make
