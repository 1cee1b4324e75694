"""What a connection goes through, and what requests at the same time do to each other."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

BATCH = "/api/v1/ingestion/events/batch"
MULTIPLE = ["Multiple rows were found when one or none was required"]


def connect(url: str) -> HTTPConnection:
    address = urlsplit(url)
    assert address.hostname is not None
    return HTTPConnection(address.hostname, address.port, timeout=20)


def exchange(connection: HTTPConnection, tenant: Any, path: str, value: Any) -> tuple[int, bytes, str | None]:
    """Status, body, and what the server says of the connection."""
    connection.request("POST", path, json.dumps(value).encode(), tenant.headers())
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers["Connection"]


@pytest.mark.parametrize(
    ("changes", "status"), [({}, 200), ({"title": ...}, 422), ({"timestamp": 5}, 400)], ids=["200", "422", "400"]
)
def test_a_connection_is_kept_after_an_answer(
    tenant: Any, new_event: Any, changes: dict[str, Any], status: int
) -> None:
    connection = connect(tenant.url)
    try:
        for _ in range(2):
            code, _, _ = exchange(connection, tenant, "/api/v1/ingestion/events", new_event(**changes))
            assert code == status
    finally:
        connection.close()


def test_a_connection_is_kept_after_a_500_of_a_route(tenant: Any) -> None:
    connection = connect(tenant.url)
    try:
        for _ in range(2):
            assert exchange(connection, tenant, BATCH, [])[0] == 500
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/api/v1/ingestion/events", BATCH])
def test_a_connection_is_closed_unannounced_after_an_unhandled_error(tenant: Any, new_event: Any, path: str) -> None:
    bad = new_event(event_id="\ud800")
    value = {"events": [bad]} if path == BATCH else bad
    connection = connect(tenant.url)
    try:
        status, body, announced = exchange(connection, tenant, path, value)
        with pytest.raises((HTTPException, OSError)):
            exchange(connection, tenant, "/api/v1/ingestion/events", new_event())
    finally:
        connection.close()

    assert (status, announced) == (500, None)
    assert json.loads(body)["error"] == "INTERNAL_SERVER_ERROR"
    assert tenant.settled() == []


def test_an_idle_connection_is_closed_by_the_server(tenant: Any) -> None:
    address = urlsplit(tenant.url)
    with socket.create_connection((address.hostname, address.port), timeout=15) as connection:
        received = b""
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: conformance\r\n\r\n")
        while data := connection.recv(65536):
            received += data

    assert received.startswith(b"HTTP/1.1 200 OK")


def test_the_same_events_twice_at_the_same_time_are_stored_twice(tenant_of_slow_server: Any, new_event: Any) -> None:
    tenant = tenant_of_slow_server
    events = [new_event() for _ in range(30)]
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: requests_post(tenant, events), range(2)))
    for answer in answers:
        assert answer["failed_events"] == 0

    rows = [item["external_id"] for item in tenant.settled()]
    twice = {event_id for event_id in rows if rows.count(event_id) > 1}
    assert twice, "the requests did not overlap"

    doubled = [event for event in events if event["event_id"] in twice]
    batch = tenant.post_batch(doubled).json()
    single = tenant.post_event(doubled[0])
    assert [(result["success"], result["errors"]) for result in batch["results"]] == [(False, MULTIPLE)] * len(doubled)
    assert (single.status_code, single.json()["message"]["errors"]) == (400, MULTIPLE)


def requests_post(tenant: Any, events: list[Any]) -> dict[str, Any]:
    """On a connection of its own."""
    answer = requests.post(tenant.url + BATCH, json={"events": events}, headers=tenant.headers(), timeout=60)
    return answer.json()


def test_a_client_that_gives_up_does_not_stop_the_server(tenant_of_slow_server: Any, new_event: Any) -> None:
    tenant = tenant_of_slow_server
    events = [new_event() for _ in range(100)]
    with pytest.raises(requests.Timeout):
        requests.post(tenant.url + BATCH, json={"events": events}, headers=tenant.headers(), timeout=(10, 0.05))

    assert {item["external_id"] for item in tenant.waits_for(100)} == {event["event_id"] for event in events}
