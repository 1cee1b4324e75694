"""POST /api/v1/ingestion/events/batch: 200 whatever became of each event, or 500 and nothing."""

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

PATH = "/api/v1/ingestion/events/batch"
SOURCE = {"service": "s", "endpoint": "/e", "method": "GET"}
METRICS = {"response_time_ms": 1, "status_code": 200}
NAN = float("nan")
FAILED = {"error": "HTTP_ERROR", "message": "Batch event ingestion failed", "status_code": 500}
INGESTED = "Event ingested successfully"
DUPLICATE = "Event already exists (idempotent)"


def outcomes(answer: Any) -> list[tuple[bool, str]]:
    assert answer.status_code == 200, answer.text
    return [(result["success"], result["message"].partition(":")[0]) for result in answer.json()["results"]]


def ids(items: list[dict[str, Any]]) -> set[str]:
    return {item["external_id"] for item in items}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_batch_is_stored(tenant: Any, new_event: Any, size: int) -> None:
    events = [new_event() for _ in range(size)]
    body = tenant.post_batch(events).json()

    assert (body["total_events"], body["successful_events"], body["failed_events"]) == (size, size, 0)
    assert body["processing_status"] == "completed"
    assert [result["event_id"] for result in body["results"]] == [event["event_id"] for event in events]
    assert ids(tenant.waits_for(size)) == {event["event_id"] for event in events}


def test_what_an_answer_and_a_result_hold(tenant: Any, new_event: Any) -> None:
    event = new_event()
    body = tenant.post_batch([event], batch_id="mine").json()
    (result,) = body["results"]

    assert body["batch_id"] == "mine"
    assert body.keys() == {
        "batch_id", "total_events", "successful_events", "failed_events", "ingested_at", "results", "processing_status",
    }  # fmt: skip
    assert datetime.fromisoformat(result.pop("ingested_at")).tzinfo is None
    assert result == {
        "success": True,
        "event_id": event["event_id"],
        "processing_status": "queued",
        "message": INGESTED,
        "errors": None,
    }


def test_a_batch_without_an_id_gets_one(tenant: Any, new_event: Any) -> None:
    first, second = (tenant.post_batch([new_event()]).json()["batch_id"] for _ in range(2))

    assert first != second
    assert len(first) == len(second) == 36


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", "nonsense"])
def test_the_content_type_does_not_matter(tenant: Any, content_type: str) -> None:
    body = b'{"events": [{"event_type": "custom_event"}]}'
    answer = tenant.request("POST", PATH, body, headers=tenant.headers() | {"Content-Type": content_type})

    assert outcomes(answer) == [(False, "Validation error")]


@pytest.mark.parametrize("body", [b'{"events": []}', b"{}", b'{"events": null}', b'{"events": {}}', b'{"events": 0}'])
def test_a_batch_without_events(tenant: Any, body: bytes) -> None:
    answer = tenant.request("POST", PATH, body)

    assert answer.status_code == 400
    assert answer.json() == {
        "error": "HTTP_ERROR",
        "message": "Batch must contain at least one event",
        "status_code": 400,
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"5", gzip.compress(b"{}"), b'{"events": {"a": 1}}', b'{"events": "ab"}'],
    ids=["nothing", "no JSON", "list", "text", "null", "number", "compressed", "events an object", "events text"],
)
def test_a_body_that_is_no_batch(tenant: Any, body: bytes) -> None:
    answer = tenant.request("POST", PATH, body)

    assert (answer.status_code, answer.json()) == (500, FAILED)


@pytest.mark.parametrize("batch_id", [None, 5, ["x"]], ids=["null", "number", "list"])
def test_a_batch_id_that_is_no_string_costs_the_batch_and_the_budget(
    tenant: Any, new_event: Any, batch_id: object
) -> None:
    answer = tenant.post_batch([new_event()], batch_id=batch_id)

    assert (answer.status_code, answer.json()) == (500, FAILED)
    assert tenant.rate_limit()["remaining"] in {99, 100}  # 100 in a new minute
    assert tenant.settled() == []


def test_duplicates_in_a_batch_and_between_batches(tenant: Any, new_event: Any) -> None:
    event, other = new_event(title="first"), new_event()

    assert outcomes(tenant.post_batch([event, event | {"title": "second"}])) == [(True, INGESTED), (True, DUPLICATE)]
    (stored,) = tenant.waits_for(1)
    assert stored["payload"]["title"] == "first"
    assert outcomes(tenant.post_batch([event, other])) == [(True, DUPLICATE), (True, INGESTED)]
    assert ids(tenant.settled()) == {event["event_id"], other["event_id"]}


def test_posted_singly_and_then_in_a_batch_it_is_a_duplicate(tenant: Any, new_event: Any) -> None:
    event = new_event()
    tenant.post_event(event)
    tenant.waits_for(1)

    assert outcomes(tenant.post_batch([event])) == [(True, DUPLICATE)]


REFUSED_ALONE: dict[str, tuple[dict[str, Any], str]] = {
    "no title": ({"title": ...}, "Validation error"),
    "long id": ({"event_id": "x" * 101}, "Validation error"),
    "NaN in the metrics": ({"metrics": METRICS | {"response_time_ms": NAN}}, "Validation error"),
    "lone surrogate in the title": ({"title": "\ud800"}, "Validation error"),
    "NaN in an invalid event": ({"title": ..., "payload": {"a": NAN}}, "Validation error"),
    "aware timestamp": ({"timestamp": "2025-01-01T00:00:00Z"}, "Event ingestion failed"),
    "future timestamp": ({"timestamp": "9999-01-01T00:00:00"}, "Event validation failed"),
    "payload too large": ({"payload": {"a": "x" * 10_485_760}}, "Event validation failed"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED_ALONE.values(), ids=REFUSED_ALONE.keys())
def test_one_refused_event_does_not_hurt_the_others(
    tenant: Any, new_event: Any, changes: dict[str, Any], message: str
) -> None:
    before, bad, after = new_event(), new_event(**changes), new_event()
    answer = tenant.post_batch([before, bad, after])
    body = answer.json()

    assert outcomes(answer) == [(True, INGESTED), (False, message), (True, INGESTED)]
    assert (body["successful_events"], body["failed_events"], body["processing_status"]) == (2, 1, "partial")
    assert body["results"][1]["event_id"] == bad["event_id"]
    assert body["results"][1]["processing_status"] == "failed"
    assert body["results"][1]["errors"]
    assert ids(tenant.settled()) == {before["event_id"], after["event_id"]}


def test_a_batch_of_nothing_but_refused_events_has_failed(tenant: Any, new_event: Any) -> None:
    body = tenant.post_batch([new_event(title=...), new_event(title=...)]).json()

    assert (body["processing_status"], body["successful_events"], body["failed_events"]) == ("failed", 0, 2)


def test_the_errors_are_those_of_a_single_event(tenant: Any, new_event: Any) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=6)).replace(tzinfo=None).isoformat()
    answer = tenant.post_batch([new_event(timestamp="2025-01-01T00:00:00Z"), new_event(timestamp=ahead)])

    assert [result["errors"] for result in answer.json()["results"]] == [
        ["can't compare offset-naive and offset-aware datetimes"],
        ["timestamp: Event timestamp cannot be more than 5 minutes in the future"],
    ]


def test_a_validation_error_names_what_is_wrong(tenant: Any, new_event: Any) -> None:
    (result,) = tenant.post_batch([new_event(title=..., source=...)]).json()["results"]

    assert result["message"].startswith("Validation error: 2 validation errors for EventIngestionRequest\ntitle\n")
    assert result["errors"] == [result["message"].removeprefix("Validation error: ")]


def test_an_invalid_event_without_an_id_is_unknown(tenant: Any) -> None:
    (result,) = tenant.post_batch([{}]).json()["results"]

    assert (result["success"], result["event_id"]) == (False, "unknown")


@pytest.mark.parametrize(
    "bad",
    ["text", None, [], 5, {"event_id": 5}, {"event_id": None}, {"event_id": []}],
    ids=["text", "null", "list", "number", "numeric id", "null id of an invalid event", "list as id"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_event_costs_the_whole_batch(tenant: Any, new_event: Any, bad: object, place: int) -> None:
    events: list[object] = [new_event(), new_event()]
    events.insert(place, bad)
    answer = tenant.post_batch(events)

    assert (answer.status_code, answer.json()) == (500, FAILED)
    assert tenant.settled() == []


POISON: dict[str, dict[str, Any]] = {
    "NUL": {"payload": {"a": "\0"}},
    "NUL in the service": {"source": SOURCE | {"service": "a\0"}},
    "NaN": {"payload": {"a": NAN}},
    "Infinity in the metadata": {"metadata": {"a": float("inf")}},
    "lone surrogate": {"payload": {"a": "\ud800"}},
    "long request_id": {"context": {"request_id": "x" * 256}},
    "large duration": {"metrics": METRICS | {"response_time_ms": 2**31}},
}


@pytest.mark.parametrize("changes", POISON.values(), ids=POISON.keys())
@pytest.mark.parametrize("place", [0, 1, 2])
def test_poison_costs_the_whole_batch_every_time_and_the_budget_too(
    within_a_minute: Any, new_event: Any, changes: dict[str, Any], place: int
) -> None:
    events = [new_event(), new_event()]
    events.insert(place, new_event(**changes))

    def post_twice(tenant: Any) -> tuple[list[Any], int, list[Any]]:
        answers = [tenant.post_batch(events) for _ in range(2)]
        return answers, tenant.rate_limit()["remaining"], tenant.settled()

    answers, remaining, stored = within_a_minute(post_twice)

    for answer in answers:
        assert (answer.status_code, answer.json()) == (500, FAILED)
    assert remaining == 100 - 2 * place
    assert stored == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nul_in_an_id_loses_the_batch_behind_a_200(tenant: Any, new_event: Any, place: int) -> None:
    events = [new_event(), new_event()]
    events.insert(place, new_event(event_id="a\0"))
    answer = tenant.post_batch(events)
    after_it = answer.json()["results"][place + 1 :]

    assert outcomes(answer) == [(True, INGESTED)] * place + [(False, "Event ingestion failed")] * (3 - place)
    for result in after_it:
        assert "InFailedSQLTransactionError" in result["errors"][0]
    assert tenant.settled() == []


@pytest.mark.parametrize("where", ["event_id", "batch_id"])
def test_an_answer_that_cannot_be_written_costs_the_batch(tenant: Any, new_event: Any, where: str) -> None:
    bad = new_event(event_id="\ud800") if where == "event_id" else new_event()
    more = {"batch_id": "\ud800"} if where == "batch_id" else {}
    answer = tenant.post_batch([new_event(), bad], **more)

    assert answer.status_code == 500
    assert answer.json() == {"error": "INTERNAL_SERVER_ERROR", "message": "An unexpected error occurred"}
    assert tenant.settled() == []
