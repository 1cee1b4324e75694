"""POST /api/v1/ingestion/events: one event."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

PATH = "/api/v1/ingestion/events"
SOURCE = {"service": "s", "endpoint": "/e", "method": "GET"}
METRICS = {"response_time_ms": 1, "status_code": 200}
NAN, INFINITY = float("nan"), float("inf")
LARGEST_PAYLOAD = 10_485_760


def in_minutes(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat()


def payload_of(size: int) -> dict[str, str]:
    """A payload whose JSON, as PulseStream counts it, has so many characters."""
    return {"a": "x" * (size - len('{"a": ""}'))}


def errors_of(answer: Any) -> tuple[str, list[str]]:
    """Message and errors of a 400 of the route."""
    body = answer.json()
    assert answer.status_code == 400, body
    assert body.keys() == {"error", "message", "status_code"}
    assert (body["error"], body["status_code"]) == ("HTTP_ERROR", 400)
    return body["message"]["message"], body["message"]["errors"]


def test_an_event_is_accepted(tenant: Any, new_event: Any) -> None:
    event = new_event()
    answer = tenant.post_event(event)
    body = answer.json()
    ingested_at = datetime.fromisoformat(body.pop("ingested_at"))

    assert answer.status_code == 200
    assert ingested_at.tzinfo is None
    assert body == {
        "success": True,
        "event_id": event["event_id"],
        "processing_status": "queued",
        "message": "Event ingested successfully",
        "errors": None,
    }


def test_a_duplicate_is_told_the_same_and_the_first_version_is_kept(tenant: Any, new_event: Any) -> None:
    event = new_event(title="first")
    answers = [tenant.post_event(posted).json() for posted in (event, event, event | {"title": "second"})]
    (stored,) = tenant.settled()

    assert {answer["message"] for answer in answers} == {"Event ingested successfully"}
    assert stored["payload"]["title"] == "first"
    assert tenant.rate_limit()["remaining"] in {98, 100}  # the event and the marker, or a new minute


@pytest.mark.parametrize("event_id", [None, ...], ids=["null", "missing"])
def test_an_event_without_an_id_gets_one(tenant: Any, new_event: Any, event_id: object) -> None:
    answer = tenant.post_event(new_event(event_id=event_id)).json()

    assert [item["external_id"] for item in tenant.waits_for(1)] == [answer["event_id"]]


def test_an_empty_id_is_no_id_to_compare(tenant: Any, new_event: Any) -> None:
    for _ in range(2):
        assert tenant.post_event(new_event(event_id="")).json()["event_id"] == ""

    assert [item["external_id"] for item in tenant.waits_for(2)] == ["", ""]


ACCEPTED: dict[str, dict[str, Any]] = {
    "longest title": {"title": "x" * 200},
    "longest message": {"message": "x" * 2000},
    "longest method": {"source": SOURCE | {"method": "x" * 10}},
    "longest version": {"source": SOURCE | {"version": "x" * 20}},
    "longest request_id": {"context": {"request_id": "x" * 255}},
    "empty context": {"context": {}},
    "no payload": {"payload": None},
    "numbers as text": {"metrics": {"response_time_ms": "1.5", "status_code": "200"}},
    "largest duration": {"metrics": METRICS | {"response_time_ms": 2**31 - 1}},
    "unknown key": {"unknown": 1},
    "NaN in an unknown key": {"unknown": NAN},
    "NUL in an unknown key": {"unknown": "\0"},
    "NUL in the stack trace": {"error_details": {"stack_trace": "\0"}},
    "lone surrogate in an unknown key": {"unknown": "\ud800"},
    "surrogate pair": {"payload": {"a": "\ud83d\ude00"}},
    "escaped backslash before u0000": {"payload": {"a": "\\u0000"}},
    "huge integer": {"payload": {"a": 10**400}},
    "deep payload": {"payload": {"a": json.loads("[" * 100 + "]" * 100)}},
    "null timestamp": {"timestamp": None},
    "long past": {"timestamp": "0001-01-01T00:00:00"},
    "date": {"timestamp": "2025-01-01"},
    "space instead of T": {"timestamp": "2025-01-01 00:00:00"},
    "4 minutes ahead": {"timestamp": in_minutes(4)},
    "aware received_at": {"received_at": "2025-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_accepted_is_stored(tenant: Any, new_event: Any, changes: dict[str, Any]) -> None:
    event = new_event(**changes)

    assert tenant.post_event(event).status_code == 200
    assert [item["external_id"] for item in tenant.waits_for(1)] == [event["event_id"]]


INVALID: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "unknown type": ({"event_type": "trade"}, "enum", ["event_type"]),
    "null type": ({"event_type": None}, "enum", ["event_type"]),
    "no type": ({"event_type": ...}, "missing", ["event_type"]),
    "unknown severity": ({"severity": "debug"}, "enum", ["severity"]),
    "null severity": ({"severity": None}, "enum", ["severity"]),
    "no title": ({"title": ...}, "missing", ["title"]),
    "empty title": ({"title": ""}, "string_too_short", ["title"]),
    "long title": ({"title": "x" * 201}, "string_too_long", ["title"]),
    "long message": ({"message": "x" * 2001}, "string_too_long", ["message"]),
    "long id": ({"event_id": "x" * 101}, "string_too_long", ["event_id"]),
    "numeric id": ({"event_id": 5}, "string_type", ["event_id"]),
    "no source": ({"source": ...}, "missing", ["source"]),
    "no service": ({"source": {"endpoint": "/", "method": "GET"}}, "missing", ["source", "service"]),
    "no endpoint": ({"source": {"service": "s", "method": "GET"}}, "missing", ["source", "endpoint"]),
    "no method": ({"source": {"service": "s", "endpoint": "/"}}, "missing", ["source", "method"]),
    "long service": ({"source": SOURCE | {"service": "x" * 101}}, "string_too_long", ["source", "service"]),
    "long endpoint": ({"source": SOURCE | {"endpoint": "x" * 501}}, "string_too_long", ["source", "endpoint"]),
    "long method": ({"source": SOURCE | {"method": "x" * 11}}, "string_too_long", ["source", "method"]),
    "long version": ({"source": SOURCE | {"version": "x" * 21}}, "string_too_long", ["source", "version"]),
    "long environment": ({"source": SOURCE | {"environment": "x" * 51}}, "string_too_long", ["source", "environment"]),
    "context is text": ({"context": "x"}, "model_attributes_type", ["context"]),
    "numeric tag": ({"context": {"tags": {"a": 1}}}, "string_type", ["context", "tags", "a"]),
    "tags are a list": ({"context": {"tags": ["a"]}}, "dict_type", ["context", "tags"]),
    "long user agent": ({"context": {"user_agent": "x" * 501}}, "string_too_long", ["context", "user_agent"]),
    "referrer is no URL": ({"context": {"referrer": "nope"}}, "url_parsing", ["context", "referrer"]),
    "no duration": ({"metrics": {"status_code": 200}}, "missing", ["metrics", "response_time_ms"]),
    "no status": ({"metrics": {"response_time_ms": 1}}, "missing", ["metrics", "status_code"]),
    "status too large": ({"metrics": METRICS | {"status_code": 600}}, "less_than_equal", ["metrics", "status_code"]),
    "broken status": ({"metrics": METRICS | {"status_code": 200.5}}, "int_from_float", ["metrics", "status_code"]),
    "long error": ({"error_details": {"error_code": "x" * 101}}, "string_too_long", ["error_details", "error_code"]),
    "payload is text": ({"payload": "x"}, "dict_type", ["payload"]),
    "payload is a list": ({"payload": []}, "dict_type", ["payload"]),
    "metadata is text": ({"metadata": "x"}, "dict_type", ["metadata"]),
    "no timestamp at all": ({"timestamp": "yesterday"}, "datetime_from_date_parsing", ["timestamp"]),
    "boolean timestamp": ({"timestamp": True}, "datetime_type", ["timestamp"]),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "location"), INVALID.values(), ids=INVALID.keys())
def test_what_the_schema_refuses(
    tenant: Any, new_event: Any, changes: dict[str, Any], kind: str, location: list[str]
) -> None:
    answer = tenant.post_event(new_event(**changes))
    (problem,) = answer.json()["detail"]

    assert answer.status_code == 422
    assert answer.json().keys() == {"detail"}
    assert (problem["type"], problem["loc"]) == (kind, ["body", *location])
    assert problem.keys() >= {"msg", "input"}


def test_all_that_is_wrong_is_told(tenant: Any, new_event: Any) -> None:
    answer = tenant.post_event(new_event(title=..., source=...))

    assert [problem["loc"][-1] for problem in answer.json()["detail"]] == ["title", "source"]


BODIES: dict[str, tuple[bytes, int, object]] = {
    "no JSON": (b"{", 422, "json_invalid"),
    "more than JSON": (b"{}x", 422, "json_invalid"),
    "nothing": (b"", 422, "missing"),
    "null": (b"null", 422, "missing"),
    "a list": (b"[]", 422, "model_attributes_type"),
    "text": (b'"x"', 422, "model_attributes_type"),
    "compressed": (gzip.compress(b"{}"), 400, None),
    "no UTF-8": (b'{"a":"\xff"}', 400, None),
    "too deep": (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, None),
}


@pytest.mark.parametrize(("body", "status", "kind"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_event(tenant: Any, body: bytes, status: int, kind: object) -> None:
    answer = tenant.request("POST", PATH, body)
    detail = answer.json()["detail"]

    assert answer.status_code == status
    assert detail[0]["type"] == kind if kind else detail == "There was an error parsing the body"


def test_json_that_is_not_called_so_is_text(tenant: Any, new_event: Any) -> None:
    body = json.dumps(new_event()).encode()
    answer = tenant.request("POST", PATH, body, headers=tenant.headers() | {"Content-Type": "text/plain"})

    assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "model_attributes_type")


@pytest.mark.parametrize(
    "timestamp",
    ["2025-01-01T00:00:00Z", "2025-01-01T00:00:00+02:00", 1735689600, 1735689600.5, "1735689600"],
)
def test_an_aware_timestamp_is_refused(tenant: Any, new_event: Any, timestamp: object) -> None:
    answer = tenant.post_event(new_event(timestamp=timestamp))

    assert errors_of(answer) == (
        "Event ingestion failed",
        ["can't compare offset-naive and offset-aware datetimes"],
    )
    assert tenant.settled() == []


@pytest.mark.parametrize("timestamp", [in_minutes(60), "9999-12-31T23:59:59"], ids=["an hour", "the last year"])
def test_a_timestamp_in_the_future_is_refused(tenant: Any, new_event: Any, timestamp: str) -> None:
    answer = tenant.post_event(new_event(timestamp=timestamp))

    assert errors_of(answer) == (
        "Event validation failed",
        ["timestamp: Event timestamp cannot be more than 5 minutes in the future"],
    )


def test_a_timestamp_6_minutes_ahead_is_in_the_future(tenant: Any, new_event: Any) -> None:
    assert errors_of(tenant.post_event(new_event(timestamp=in_minutes(6))))[0] == "Event validation failed"


REFUSED_BY_THE_DATABASE: dict[str, dict[str, Any]] = {
    "NaN": {"payload": {"a": NAN}},
    "NaN deep inside": {"payload": {"a": [{"b": NAN}]}},
    "Infinity": {"payload": {"a": INFINITY}},
    "-Infinity": {"payload": {"a": -INFINITY}},
    "NaN in the metadata": {"metadata": {"a": NAN}},
    "NUL": {"payload": {"a": "\0"}},
    "NUL in a key": {"payload": {"a\0": 1}},
    "NUL in the title": {"title": "a\0"},
    "NUL in the id": {"event_id": "a\0"},
    "NUL in the service": {"source": SOURCE | {"service": "a\0"}},
    "NUL in a tag": {"context": {"tags": {"a": "\0"}}},
    "NUL in the metadata": {"metadata": {"a": "\0"}},
    "NUL after a backslash": {"payload": {"a": "\\\0"}},
    "lone surrogate": {"payload": {"a": "\ud800"}},
    "lone surrogate in a key": {"payload": {"\udc00": 1}},
    "lone surrogate in a tag": {"context": {"tags": {"a": "\ud800"}}},
    "lone surrogate in the request_id": {"context": {"request_id": "\ud800"}},
    "long request_id": {"context": {"request_id": "x" * 256}},
    "large duration": {"metrics": METRICS | {"response_time_ms": 2**31}},
    "infinite duration": {"metrics": METRICS | {"response_time_ms": INFINITY}},
}


@pytest.mark.parametrize("changes", REFUSED_BY_THE_DATABASE.values(), ids=REFUSED_BY_THE_DATABASE.keys())
def test_what_the_database_refuses(tenant: Any, new_event: Any, changes: dict[str, Any]) -> None:
    message, (error,) = errors_of(tenant.post_event(new_event(**changes)))

    assert message == "Event ingestion failed"
    assert error.startswith("(sqlalchemy.dialects.postgresql.asyncpg.")
    assert tenant.rate_limit()["remaining"] == 100
    assert tenant.settled() == []


UNHANDLED: dict[str, dict[str, Any]] = {
    "NaN duration": {"metrics": METRICS | {"response_time_ms": NAN}},
    "NaN status": {"metrics": METRICS | {"status_code": NAN}},
    "NaN title": {"title": NAN},
    "NaN in an invalid event": {"title": ..., "payload": {"a": NAN}},
    "lone surrogate in the title": {"title": "\ud800"},
    "lone surrogate in the id": {"event_id": "\ud800"},
    "lone surrogate in an invalid event": {"title": ..., "payload": {"a": "\ud800"}},
}


@pytest.mark.parametrize("changes", UNHANDLED.values(), ids=UNHANDLED.keys())
def test_a_refusal_that_cannot_be_written_as_json(tenant: Any, new_event: Any, changes: dict[str, Any]) -> None:
    answer = tenant.post_event(new_event(**changes))

    assert answer.status_code == 500
    assert answer.json() == {"error": "INTERNAL_SERVER_ERROR", "message": "An unexpected error occurred"}


@pytest.mark.parametrize("size", [9_000_000, LARGEST_PAYLOAD])
def test_a_large_payload_is_accepted(tenant: Any, new_event: Any, size: int) -> None:
    assert tenant.post_event(new_event(payload=payload_of(size))).status_code == 200

    (stored,) = tenant.waits_for(1)
    assert stored["payload"]["custom_data"] == payload_of(size)


@pytest.mark.parametrize(
    ("payload", "size"),
    [(payload_of(LARGEST_PAYLOAD + 1), LARGEST_PAYLOAD + 1), ({"a": "\x7f" * 1_800_000}, 10_800_009)],
    ids=["one too many", "short as it is sent"],
)
def test_a_payload_that_is_too_large(tenant: Any, new_event: Any, payload: dict[str, str], size: int) -> None:
    answer = tenant.post_event(new_event(payload=payload))

    assert errors_of(answer) == (
        "Event validation failed",
        [f"payload: Payload size ({size} bytes) exceeds maximum of {LARGEST_PAYLOAD} bytes"],
    )
