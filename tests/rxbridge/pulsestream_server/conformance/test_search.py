"""GET /api/v1/ingestion/events/search."""

from typing import Any

import pytest

PATH = "/api/v1/ingestion/events/search"
FAILED = {"error": "HTTP_ERROR", "message": "Event search failed", "status_code": 500}


def event_at(new_event: Any, name: str, timestamp: str, **changes: Any) -> dict[str, Any]:
    source = {"service": name, "endpoint": "/e", "method": "GET"}
    return new_event(event_id=name, timestamp=timestamp, source=source, **changes)


@pytest.fixture
def filled(tenant: Any, new_event: Any) -> Any:
    """Four events, posted in no order of time."""
    status = {"response_time_ms": 1, "status_code": 404}
    tenant.post_batch(
        [
            event_at(new_event, "second", "2025-01-02T00:00:00.000001"),
            event_at(new_event, "fourth", "2025-01-04T00:00:00", metrics=status, severity="critical"),
            event_at(new_event, "first", "2025-01-01T00:00:00", event_type="api_call"),
            event_at(new_event, "Thi_d%", "2025-01-03T00:00:00"),
        ]
    )
    tenant.waits_for(4)
    return tenant


def test_an_empty_answer(tenant: Any) -> None:
    body = tenant.search()

    assert body.keys() == {
        "events", "total_count", "filtered_count", "has_more", "search_id", "execution_time_ms",
    }  # fmt: skip
    assert (body["events"], body["total_count"], body["filtered_count"], body["has_more"]) == ([], 0, 0, False)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["fourth", "Thi_d%", "second", "first"]),
        ({"service": "SECOND"}, ["second"]),
        ({"service": "ir"}, ["first"]),
        ({"service": "_d%"}, ["Thi_d%", "second"]),
        ({"service": "\\_d\\%"}, ["Thi_d%"]),
        ({"service": ""}, ["fourth", "Thi_d%", "second", "first"]),
        ({"service": "nothing"}, []),
        ({"event_type": "api_call"}, ["first"]),
        ({"status_code": 404}, ["fourth"]),
        ({"status_code": 0}, ["fourth", "Thi_d%", "second", "first"]),
        ({"start_time": "2025-01-03T00:00:00"}, ["fourth", "Thi_d%"]),
        ({"start_time": "2025-01-03T01:00:00+01:00"}, ["fourth", "Thi_d%"]),
        ({"start_time": "2025-01-03T00:00:00.000001Z"}, ["fourth"]),
        ({"end_time": "2025-01-02T00:00:00"}, ["first"]),
        ({"end_time": "2025-01-02T00:00:00.000001"}, ["second", "first"]),
        ({"start_time": "2025-01-02", "end_time": "2025-01-03"}, ["Thi_d%", "second"]),
        ({"limit": 2}, ["fourth", "Thi_d%"]),
        ({"limit": 2, "offset": 1}, ["Thi_d%", "second"]),
        ({"offset": 4}, []),
        ({"severity": "critical"}, ["fourth", "Thi_d%", "second", "first"]),
        ({"endpoint": "/nothing"}, ["fourth", "Thi_d%", "second", "first"]),
        ({"user_id": "nobody"}, ["fourth", "Thi_d%", "second", "first"]),
        ({"event_id": "first"}, ["fourth", "Thi_d%", "second", "first"]),
        ({"external_id": "first"}, ["fourth", "Thi_d%", "second", "first"]),
    ],
)
def test_filters_and_order(filled: Any, query: dict[str, Any], expected: list[str]) -> None:
    body = filled.search(**query)

    assert [item["external_id"] for item in body["events"]] == expected
    assert body["filtered_count"] == len(expected)


def test_a_full_page_claims_that_there_is_more(filled: Any) -> None:
    assert [filled.search(limit=limit)["has_more"] for limit in (3, 4, 5)] == [True, True, False]
    assert filled.search(limit=1)["total_count"] == 4


def test_pages_hold_everything_once(filled: Any) -> None:
    pages = [filled.search(limit=1, offset=offset)["events"] for offset in range(4)]

    assert [item["external_id"] for page in pages for item in page] == ["fourth", "Thi_d%", "second", "first"]


@pytest.mark.parametrize(
    "query",
    [
        {"event_type": "trade"},
        {"event_type": ""},
        {"severity": "debug"},
        {"status_code": 2**31},
        {"offset": 2**63},
        {"service": "\0"},
    ],
)
def test_a_value_that_breaks_the_search(tenant: Any, query: dict[str, Any]) -> None:
    answer = tenant.get(PATH, **query)

    assert (answer.status_code, answer.json()) == (500, FAILED)


@pytest.mark.parametrize(
    ("query", "kind", "field"),
    [
        ({"limit": 0}, "greater_than_equal", "limit"),
        ({"limit": 1001}, "less_than_equal", "limit"),
        ({"limit": "x"}, "int_parsing", "limit"),
        ({"offset": -1}, "greater_than_equal", "offset"),
        ({"status_code": "x"}, "int_parsing", "status_code"),
        ({"start_time": "yesterday"}, "datetime_from_date_parsing", "start_time"),
    ],
)
def test_a_value_that_is_refused(tenant: Any, query: dict[str, Any], kind: str, field: str) -> None:
    answer = tenant.get(PATH, **query)
    (problem,) = answer.json()["detail"]

    assert answer.status_code == 422
    assert (problem["type"], problem["loc"]) == (kind, ["query", field])


def test_the_largest_page(tenant: Any) -> None:
    assert tenant.search(limit=1000)["events"] == []
