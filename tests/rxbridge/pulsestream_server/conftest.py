"""A client for the embedded server."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import requests


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
