"""What is kept of an event, under which names, and what is dropped."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

FULL: dict[str, Any] = {
    "event_type": "api_call",
    "title": "Ticker BTC-USD",
    "message": "67000.01",
    "severity": "warning",
    "timestamp": "2025-03-04T05:06:07.123456789",
    "source": {"service": "coinbase", "endpoint": "/ws", "method": "WS", "version": "1", "environment": "test"},
    "context": {
        "user_id": "u",
        "session_id": "s",
        "request_id": "r",
        "ip_address": "192.0.2.1",
        "user_agent": "agent",
        "referrer": "http://example.com/",
        "tags": {"product": "BTC-USD"},
    },
    "metrics": {
        "response_time_ms": 12.7,
        "status_code": 201,
        "request_size_bytes": 5,
        "response_size_bytes": 6,
        "cache_hit": True,
        "price": 67000.01,
        "volume_24h": 2,
        "spread": 0.5,
    },
    "error_details": {"error_code": "C", "error_message": "M", "stack_trace": "T", "error_type": "E"},
    "payload": {"price": "67000.01", "sizes": [1, {"deep": None}], "text": "é😀\\u0000", "exact": 12345678901234567890},
    "metadata": {"test_run": "run", "priority": "high", "tags": ["kept"], "offset": 5},
    "received_at": "2025-01-01T00:00:00",
    "unknown": "dropped",
}


def stored(tenant: Any, event: dict[str, Any]) -> dict[str, Any]:
    answer = tenant.post_event(event)
    assert answer.status_code == 200, answer.text
    (item,) = tenant.waits_for(1)
    return item


def test_a_full_event(tenant: Any, new_event: Any) -> None:
    event = new_event(**FULL)
    item = stored(tenant, event)
    ingested_at = datetime.fromisoformat(item.pop("ingested_at"))
    identity = item.pop("id")

    assert len(identity) == 36
    assert abs(datetime.now(UTC) - ingested_at) < timedelta(minutes=5)
    assert item == {
        "event_type": "api_call",
        "source": "coinbase",
        "source_version": "1",
        "timestamp": "2025-03-04T05:06:07.123456+00:00",
        "status_code": 201,
        "duration_ms": 12,
        "payload": {
            "title": "Ticker BTC-USD",
            "message": "67000.01",
            "severity": "warning",
            "source": FULL["source"],
            "context": {key: value for key, value in FULL["context"].items() if key != "referrer"},
            "metrics": {
                "response_time_ms": 12.7,
                "status_code": 201,
                "request_size_bytes": 5,
                "response_size_bytes": 6,
                "cache_hit": True,
            },
            "error_details": {"error_code": "C", "error_message": "M", "error_type": "E"},
            "custom_data": FULL["payload"],
        },
        "metadata": {
            "test_run": "run",
            "priority": "high",
            "tags": {"product": "BTC-USD"},
            "user_agent": "agent",
            "ip_address": "192.0.2.1",
            "additional_metadata": FULL["metadata"],
        },
        "external_id": event["event_id"],
        "processing_status": "pending",
    }


def test_the_smallest_event(tenant: Any, new_event: Any) -> None:
    item = stored(tenant, new_event())

    assert (item["source_version"], item["status_code"], item["duration_ms"]) == (None, None, None)
    assert item["payload"] == {
        "title": "Ticker",
        "message": None,
        "severity": "info",
        "source": {
            "service": "conformance",
            "endpoint": "/ticker",
            "method": "GET",
            "version": None,
            "environment": None,
        },
        "context": None,
        "metrics": None,
        "error_details": None,
        "custom_data": {},
    }
    assert item["metadata"] == {
        "test_run": None,
        "priority": None,
        "tags": None,
        "user_agent": None,
        "ip_address": None,
        "additional_metadata": {},
    }


def test_an_event_without_a_timestamp_happened_now(tenant: Any, new_event: Any) -> None:
    timestamp = datetime.fromisoformat(stored(tenant, new_event())["timestamp"])

    assert abs(datetime.now(UTC) - timestamp) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("posted", "shown"),
    [
        ("2025-03-04T05:06:07", "2025-03-04T05:06:07+00:00"),
        ("2025-03-04T05:06:07.5", "2025-03-04T05:06:07.500000+00:00"),
        ("2025-03-04T05:06:07.123456999", "2025-03-04T05:06:07.123456+00:00"),
        ("2025-03-04", "2025-03-04T00:00:00+00:00"),
    ],
)
def test_a_naive_timestamp_is_utc(tenant: Any, new_event: Any, posted: str, shown: str) -> None:
    assert stored(tenant, new_event(timestamp=posted))["timestamp"] == shown


@pytest.mark.parametrize(("posted", "duration"), [(12.7, 12), (2.5, 2), (0, 0), (2147483647.9, 2147483647)])
def test_the_duration_is_cut_to_whole_milliseconds(tenant: Any, new_event: Any, posted: float, duration: int) -> None:
    item = stored(tenant, new_event(metrics={"response_time_ms": posted, "status_code": 200}))

    assert item["duration_ms"] == duration
    assert item["payload"]["metrics"]["response_time_ms"] == posted


def test_values_that_are_read_leniently_are_stored_as_what_they_mean(tenant: Any, new_event: Any) -> None:
    item = stored(tenant, new_event(metrics={"response_time_ms": "1.5", "status_code": "200", "cache_hit": "yes"}))

    assert (item["status_code"], item["duration_ms"]) == (200, 1)
    assert item["payload"]["metrics"]["response_time_ms"] == 1.5
    assert item["payload"]["metrics"]["cache_hit"] is True
