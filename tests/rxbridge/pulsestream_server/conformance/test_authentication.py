"""X-API-Key, and what is looked at before it."""

from typing import Any

import pytest

READING = ["/api/v1/ingestion/events/search", "/api/v1/ingestion/rate-limit", "/api/v1/ingestion/stats"]
POSTING = ["/api/v1/ingestion/events", "/api/v1/ingestion/events/batch", "/api/v1/alerting/rules"]
ALL = [("GET", path) for path in READING] + [("POST", path) for path in POSTING]


def refusal(message: str) -> dict[str, Any]:
    return {"error": "HTTP_ERROR", "message": message, "status_code": 401}


@pytest.mark.parametrize(("method", "path"), ALL)
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "API key required"),
        ({"X-API-Key": ""}, "API key required"),
        ({"X-API-Key": "no-such-key"}, "Invalid API key"),
        ({"X-API-Key": "k" * 300}, "Invalid API key"),
    ],
    ids=["none", "empty", "wrong", "long"],
)
def test_a_key_that_is_not_one_is_refused(
    anonymous: Any, method: str, path: str, headers: dict[str, str], message: str
) -> None:
    answer = anonymous.request(method, path, b"{}", headers=headers | {"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()) == (401, refusal(message))


def test_a_bearer_token_is_ignored(tenant: Any, new_event: Any) -> None:
    bearer = {"Authorization": f"Bearer {tenant.key}"}
    search = tenant.request("GET", "/api/v1/ingestion/events/search", headers=bearer)
    batch = tenant.request("POST", "/api/v1/ingestion/events/batch", b"{}", headers=bearer)

    for answer in (search, batch):
        assert (answer.status_code, answer.json()) == (401, refusal("API key required"))


def test_a_key_that_is_known_is_accepted(server: Any, anonymous: Any) -> None:
    if server.key is None:
        pytest.skip("PULSESTREAM_CONFORMANCE_KEY is not set")
    answer = anonymous.request("GET", "/api/v1/ingestion/rate-limit", headers={"X-API-Key": server.key})

    assert answer.status_code == 200


def test_a_batch_is_not_looked_at_without_a_key(anonymous: Any) -> None:
    answer = anonymous.request("POST", "/api/v1/ingestion/events/batch", b"{ no JSON")

    assert (answer.status_code, answer.json()) == (401, refusal("API key required"))


def test_a_single_event_is_validated_after_the_key(anonymous: Any) -> None:
    answer = anonymous.post_event({"no": "event"})

    assert (answer.status_code, answer.json()) == (401, refusal("API key required"))


def test_a_single_event_is_decoded_before_the_key(anonymous: Any) -> None:
    answer = anonymous.request("POST", "/api/v1/ingestion/events", b"{ no JSON")

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "json_invalid"
