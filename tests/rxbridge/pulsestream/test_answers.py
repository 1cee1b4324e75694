"""Every text of these tests is one that the real server sends."""

import json
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from rxbridge.errors import DeliveryError, ReadTimedOut, ServerFailed, Throttled, Unauthorized
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.answers import BatchAnswer, HttpAnswer, failure, read_batch
from rxbridge.telemetry.redaction import Redactor

NOON = 1_714_564_800.0
STORED = "Event ingested successfully"
ALREADY = "Event already exists (idempotent)"
INVALID = "Event validation failed"
FAILED = "Event ingestion failed"
FUTURE = "timestamp: Event timestamp cannot be more than 5 minutes in the future"
AWARE = "can't compare offset-naive and offset-aware datetimes"
RATE_LIMIT = "Rate limit exceeded. Limit: 100 events per 60 seconds"
SEVERAL_ROWS = "Multiple rows were found when one or none was required"
PAYLOAD = "payload: Payload size (10485761 bytes) exceeds maximum of 10485760 bytes"
SCHEMA = "1 validation error for EventIngestionRequest\ntitle\n  Field required [type=missing, input_value={}]"
DATABASE = "(sqlalchemy.dialects.postgresql.asyncpg.Error) invalid byte sequence for encoding: 0x00"


def http_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    return HttpAnswer(
        url="http://host/api/v1/ingestion/events/batch",
        status=status,
        headers=CaseInsensitiveDict({"date": "Wed, 01 May 2024 12:00:17 GMT", **(headers or {})}),
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        received_at=NOON + 17,
        seconds=60.5,
    )


def result(number: int, message: str, *errors: str) -> dict[str, Any]:
    success = message in (STORED, ALREADY)
    return {"success": success, "event_id": f"event-{number}", "message": message, "errors": list(errors) or None}


def batch(*results: Mapping[str, Any]) -> dict[str, Any]:
    good = sum(bool(each["success"]) for each in results)
    counts = {"total_events": len(results), "successful_events": good, "failed_events": len(results) - good}
    return {"batch_id": "b", **counts, "ingested_at": "2024-05-01T12:00:17", "results": list(results)}


@pytest.fixture
def read(make_events: Callable[..., list[EncodedEvent]]) -> Callable[..., BatchAnswer]:
    def read(*results: Mapping[str, Any], **changes: Any) -> BatchAnswer:
        body = {name: value for name, value in (batch(*results) | changes).items() if value != "absent"}
        return read_batch(http_answer(200, body), make_events(len(results)))

    return read


@pytest.mark.parametrize(
    ("message", "errors", "fate"),
    [
        (STORED, [], "stored"),
        (ALREADY, [], "already_stored"),
        (FAILED, [SEVERAL_ROWS], "already_stored"),
        (FAILED, [RATE_LIMIT], "throttled"),
        (FAILED, [AWARE], "refused"),
        (INVALID, [FUTURE], "early"),
        (INVALID, [PAYLOAD], "refused"),
        (INVALID, [PAYLOAD, FUTURE], "refused"),
        (INVALID, ["title: Title exceeds maximum length of 200 characters"], "refused"),
        (f"Validation error: {SCHEMA}", [SCHEMA], "refused"),
        # A title may hold any words: they must not decide.
        (f"Validation error: {SCHEMA} {RATE_LIMIT}", [f"{SCHEMA} {RATE_LIMIT} {SEVERAL_ROWS}"], "refused"),
    ],
)
def test_each_known_result(read: Callable[..., BatchAnswer], message: str, errors: list[str], fate: str) -> None:
    answer = read(result(1, STORED), result(2, message, *errors), result(3, ALREADY))

    assert [outcome.fate for outcome in answer.outcomes] == ["stored", fate, "already_stored"]
    if fate in ("refused", "early", "throttled"):
        assert answer.outcomes[1].reasons == tuple(errors)


def test_the_times_are_told_by_the_server(read: Callable[..., BatchAnswer]) -> None:
    answer = read(result(1, STORED))
    assert (answer.server_time, answer.resume_at) == (NOON + 17, NOON + 60)


@pytest.mark.parametrize(
    ("message", "errors"),
    [
        (FAILED, [DATABASE]),
        (FAILED, [f"{DATABASE} [parameters: ('{RATE_LIMIT}', '{SEVERAL_ROWS}', '{AWARE}')]"]),
        (FAILED, [RATE_LIMIT, DATABASE]),
        (FAILED, []),
        (INVALID, []),
        ("Event processing error: database is gone", ["database is gone"]),
        ("something new", []),
    ],
)
def test_one_unknown_error_and_nothing_is_believed(
    read: Callable[..., BatchAnswer], message: str, errors: list[str]
) -> None:
    with pytest.raises(ServerFailed) as caught:
        read(result(1, STORED), result(2, message, *errors), result(3, STORED))

    assert caught.value.status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"total_events": 1},
        {"successful_events": 1},
        {"failed_events": 1},
        {"total_events": "absent"},
        {"failed_events": None},
        {"results": "absent"},
        {"results": []},
        {"results": [result(1, STORED)]},
        {"results": [result(1, STORED), result(2, STORED), result(3, STORED)]},
        {"results": [result(2, STORED), result(1, STORED)]},
        {"results": [result(1, STORED), result(2, STORED) | {"event_id": "unknown"}]},
        {"results": [result(1, STORED), result(2, STORED) | {"event_id": None}]},
        {"results": [result(1, STORED), result(2, STORED) | {"success": "yes"}]},
        {"results": [result(1, STORED), {"event_id": "event-2"}]},
        {"results": [result(1, STORED), result(2, STORED) | {"errors": [DATABASE]}]},
        {"results": [result(1, STORED), result(2, STORED) | {"errors": "text"}]},
        {"results": [result(1, STORED), None]},
    ],
)
def test_an_answer_out_of_shape_is_not_believed(read: Callable[..., BatchAnswer], changes: dict[str, Any]) -> None:
    with pytest.raises(ServerFailed):
        read(result(1, STORED), result(2, STORED), **changes)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<!DOCTYPE html><html><title>Welcome</title></html>",
        b'{"total_events": 1',
        b'{"total_events": "\xff"}',
        b"[" * 100_000,
        b'{"results":' + b"[" * 100_000,
        b"\x1f\x8b\x08\x00",
    ],
)
def test_an_answer_that_cannot_be_read_is_not_believed(
    body: bytes, make_events: Callable[..., list[EncodedEvent]]
) -> None:
    with pytest.raises(ServerFailed) as caught:
        read_batch(http_answer(200, body), make_events(1))

    assert str(caught.value).isprintable()


def error(status: int, body: Any, **headers: str) -> DeliveryError:
    return failure(http_answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize("text", ["Invalid API key", "API key required", "Tenant authentication failed"])
def test_a_refused_key(text: str) -> None:
    refused = error(401, {"error": "HTTP_ERROR", "message": text, "status_code": 401})
    assert isinstance(refused, Unauthorized)
    assert refused.detail == text


@pytest.mark.parametrize(
    "body",
    [
        {"error": "HTTP_ERROR", "message": {"message": FAILED, "errors": [RATE_LIMIT]}, "status_code": 400},
        {"error": "RATE_LIMIT_EXCEEDED", "message": RATE_LIMIT, "details": {}},
        {"detail": RATE_LIMIT},
    ],
)
def test_a_rate_limit_told_with_400(body: Any) -> None:
    throttled = error(400, body)
    assert isinstance(throttled, Throttled)
    assert throttled.resume_at == NOON + 60
    assert throttled.detail == RATE_LIMIT


def test_a_rate_limit_told_with_429() -> None:
    for retry_after, moment in (("5", NOON + 22), ("Wed, 01 May 2024 12:00:30 GMT", NOON + 30), (None, NOON + 60)):
        headers = {} if retry_after is None else {"retry_after": retry_after}
        throttled = error(429, "slow down", **headers)
        assert isinstance(throttled, Throttled)
        assert throttled.resume_at == moment


@pytest.mark.parametrize("status", [504, 524])
def test_a_gateway_that_gave_up_waiting_is_a_time_out(status: int) -> None:
    timed_out = error(status, b"<html>")
    assert isinstance(timed_out, ReadTimedOut)
    assert timed_out.seconds == 60.5


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (400, {"error": "HTTP_ERROR", "message": "Batch must contain at least one event"}, "Batch must contain at"),
        (400, {"detail": "There was an error parsing the body"}, "There was an error parsing the body"),
        (500, {"error": "HTTP_ERROR", "message": "Batch event ingestion failed"}, "Batch event ingestion failed"),
        (500, {"error": "INTERNAL_SERVER_ERROR", "message": "An unexpected error occurred"}, "An unexpected error"),
        (422, {"detail": [{"type": "missing", "loc": ["body", "events", 0, "title"], "msg": "Field required"}]}, ""),
        (404, {"detail": "Not Found"}, "Not Found"),
        (405, {"detail": "Method Not Allowed"}, "Method Not Allowed"),
        (413, "too large", "too large"),
        (502, b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (503, b"", "no reason given"),
        (500, b"\xff\xfe", "\\xff\\xfe"),
        (500, {}, "{}"),
        (500, [], "no reason given"),
        (500, {"message": {"errors": []}}, ""),
        (500, b"[" * 100_000, "[[["),
        (500, None, "null"),
        (200_000, {"detail": None}, ""),
    ],
)
def test_everything_else_is_a_failure_of_the_server(status: int, body: Any, detail: str) -> None:
    failed = error(status, body)
    assert isinstance(failed, ServerFailed)
    assert failed.status == status
    assert failed.detail.startswith(detail)
    assert str(failed).isprintable()


def test_a_framework_error_names_the_field() -> None:
    detail = [{"type": "missing", "loc": ["body", "events", 0, "title"], "msg": "Field required", "input": {}}]
    failed = error(422, {"detail": detail})
    assert isinstance(failed, ServerFailed)
    assert failed.detail == "body.events.0.title: Field required"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://elsewhere.example/login?next=SECRET#SECRET", "elsewhere.example/login"),
        ("https://SECRET@elsewhere.example/", "elsewhere.example/"),
        ("/login", "/login"),
        ("https://evil\x1b.example/\n[FATAL] forged", "evil"),
        ("http://[::1", "nowhere"),
        ("", "''"),
    ],
)
def test_a_redirect_says_where_to(location: str, told: str) -> None:
    failed = error(307, b"", location=location)
    assert isinstance(failed, ServerFailed)
    assert "redirect" in failed.detail
    assert told in str(failed)
    assert "SECRET" not in str(failed)
    assert str(failed).isprintable()


def test_the_key_is_taken_out_of_everything(make_events: Callable[..., list[EncodedEvent]]) -> None:
    def hide(text: str) -> str:
        return text.replace("SECRET", "(hidden)")

    for status in (302, 400, 401, 403, 429, 500):
        told = failure(http_answer(status, {"message": "no SECRET"}, {"Location": "http://SECRET/SECRET"}), hide)
        assert "SECRET" not in repr(told) + str(told)
    answers: list[Any] = [b"<html>SECRET", batch(result(1, FAILED, "SECRET")), batch(result(1, STORED, "SECRET"))]
    answers.append(batch(result(1, STORED) | {"event_id": "SECRET"}))
    answers.append(b'{"SECRET":')
    for body in answers:
        with pytest.raises(ServerFailed) as caught:
            read_batch(http_answer(200, body), make_events(1), hide)
        assert "SECRET" not in repr(caught.value)
    kept = read_batch(http_answer(200, batch(result(1, INVALID, "SECRET: bad"))), make_events(1), hide)
    assert kept.outcomes[0].reasons == ("(hidden): bad",)


@pytest.mark.parametrize("before", range(150, 230))
def test_a_key_across_a_cut_is_hidden_as_a_whole(make_events: Callable[..., list[EncodedEvent]], before: int) -> None:
    """Keys before the cut make the text shorter when they are hidden, and move what lies across it into view."""
    key = "Vq7-secret_3fGh9kLmN2pQrS5tUvWx8yZaBcDeFgHj"
    hide = Redactor([key])
    text = f"<{'x' * before}{' '.join([key] * 9)}{key}"
    told: list[DeliveryError] = [failure(http_answer(500, text.encode()), hide)]
    for answer in (text.encode(), batch(result(1, FAILED, text)), batch(result(1, STORED, text))):
        with pytest.raises(ServerFailed) as caught:
            read_batch(http_answer(200, answer), make_events(1), hide)
        told.append(caught.value)
    (kept,) = read_batch(http_answer(200, batch(result(1, INVALID, text * 3))), make_events(1), hide).outcomes

    for shown in (*map(repr, told), *map(str, told), *kept.reasons):
        assert key[:5] not in shown


def test_reasons_are_few_and_short(make_events: Callable[..., list[EncodedEvent]]) -> None:
    """They are kept with the event, and told in one line."""
    flood = batch(result(1, INVALID, *["x" * 501, *["y" * 500] * 8], *["z"] * 20_000))
    (outcome,) = read_batch(http_answer(200, flood), make_events(1)).outcomes

    assert outcome.fate == "refused"
    assert outcome.reasons == ("x" * 500 + "…", *["y" * 500] * 8, "z", "and 19,999 more reasons")


@pytest.mark.parametrize("body", [b'{"message":[' + b"[]," * 400_000 + b"[]]}", b"[" * 2_000_000])
def test_an_error_that_is_a_flood_is_not_taken_apart(body: bytes) -> None:
    tracemalloc.start()
    told = failure(http_answer(500, body))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert isinstance(told, ServerFailed)
    assert told.detail.startswith(body[:100].decode())
    assert most < len(body)


TEXTS = st.sampled_from(
    [
        STORED,
        ALREADY,
        INVALID,
        FAILED,
        FUTURE,
        AWARE,
        RATE_LIMIT,
        SEVERAL_ROWS,
        PAYLOAD,
        DATABASE,
        "Validation error: x",
    ]
) | st.text(max_size=20)
RESULTS = st.fixed_dictionaries(
    {"success": st.booleans(), "event_id": st.sampled_from(["event-1", "event-2", "unknown"]) | st.none()},
    optional={"message": TEXTS | st.none(), "errors": st.lists(TEXTS, max_size=3) | st.none() | st.integers()},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
BODIES = st.one_of(
    st.lists(RESULTS, min_size=2, max_size=2).map(lambda results: batch(*results)),
    st.fixed_dictionaries(
        {
            "total_events": st.integers(0, 3) | JSON,
            "successful_events": st.integers(0, 3),
            "failed_events": st.integers(0, 3),
            "results": st.lists(RESULTS | JSON, max_size=3) | JSON,
        }
    ),
    JSON,
    st.binary(max_size=100),
)


@given(status=st.sampled_from([200, 200, 200, 200, 201, 301, 400, 401, 413, 422, 429, 500, 504]), body=BODIES)
def test_whatever_comes_it_is_read_or_refused_and_only_a_success_is_stored(
    make_events: Callable[..., list[EncodedEvent]], status: int, body: Any
) -> None:
    events: Sequence[EncodedEvent] = make_events(2)
    try:
        answer = read_batch(http_answer(status, body), events)
    except DeliveryError as refused:
        assert refused.retryable  # noqa: PT017 - one of two good ends
        return
    assert status == 200
    for event, outcome, told in zip(events, answer.outcomes, body["results"], strict=True):
        assert told["event_id"] == event.event_id
        if outcome.fate == "stored":
            assert told["success"] is True
        elif outcome.fate == "already_stored":
            assert told["success"] is True or told["errors"][0].startswith("Multiple rows were found")
        else:
            assert told["success"] is False
