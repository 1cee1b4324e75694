"""Routes that always answer the same, those that do not exist, and the alert rules."""

from typing import Any

import pytest


def test_health_is_asked_without_a_key(anonymous: Any) -> None:
    answer = anonymous.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")


def test_the_health_of_the_ingestion_is_asked_without_a_key(anonymous: Any) -> None:
    answer = anonymous.get("/api/v1/ingestion/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/api/v1/ingestion/events/{event_id}", "Failed to retrieve event"),
        ("GET", "/api/v1/ingestion/events/types", "Failed to retrieve event"),
        ("GET", "/api/v1/ingestion/events/severities", "Failed to retrieve event"),
        ("GET", "/api/v1/ingestion/events/batch", "Failed to retrieve event"),
        ("DELETE", "/api/v1/ingestion/events/{event_id}", "Failed to delete event"),
        ("POST", "/api/v1/ingestion/events/{event_id}/retry", "Failed to retry event processing"),
        ("GET", "/api/v1/ingestion/stats", "Failed to retrieve ingestion statistics"),
        ("GET", "/api/v1/alerting/rules", "Failed to retrieve alert rules"),
    ],
)
def test_a_broken_route_answers_500_even_for_an_event_that_is_there(
    tenant: Any, new_event: Any, method: str, path: str, message: str
) -> None:
    event = new_event()
    tenant.post_event(event)
    tenant.waits_for(1)

    answer = tenant.request(method, path.format(event_id=event["event_id"]))

    assert answer.status_code == 500
    assert answer.json() == {"error": "HTTP_ERROR", "message": message, "status_code": 500}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/ingestion/events", "POST"),
        ("PUT", "/api/v1/ingestion/events", "POST"),
        ("OPTIONS", "/api/v1/ingestion/events", "POST"),
        ("GET", "/api/v1/auth/register/tenant", "POST"),
        ("POST", "/health", "GET"),
    ],
)
def test_a_method_that_is_not_allowed(anonymous: Any, method: str, path: str, allowed: str) -> None:
    answer = anonymous.request(method, path)

    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["allow"] == allowed


def test_head_is_not_allowed_either(anonymous: Any) -> None:
    assert anonymous.request("HEAD", "/health").status_code == 405


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/ingestion", "/api/v1/ingestion/nothing"])
def test_a_path_that_does_not_exist(anonymous: Any, path: str) -> None:
    answer = anonymous.get(path)

    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_an_alert_rule_on_a_price_is_accepted(tenant: Any) -> None:
    rule = {"name": "BTC high", "condition": {"metric": "price", "operator": ">", "value": 1}, "severity": "high"}
    answer = tenant.post("/api/v1/alerting/rules", rule)

    assert answer.status_code == 200
    assert answer.json()["success"] is True
    assert answer.json()["rule"]["id"] == answer.json()["rule_id"]
    assert answer.json()["rule"]["name"] == "BTC high"


@pytest.mark.parametrize(
    ("rule", "status", "message"),
    [
        ({"condition": {}, "severity": "high"}, 400, "Missing required field: name"),
        ({"name": "x", "severity": "high"}, 400, "Missing required field: condition"),
        ({"name": "x", "condition": {}}, 400, "Missing required field: severity"),
        ({"name": 5, "condition": {}, "severity": "high"}, 500, "Failed to create alert rule"),
        ({"name": "x\0", "condition": {}, "severity": "high"}, 500, "Failed to create alert rule"),
        ({"name": "x", "condition": {}, "severity": "high", "unknown": 1}, 500, "Failed to create alert rule"),
    ],
    ids=["no name", "no condition", "no severity", "numeric name", "NUL", "unknown field"],
)
def test_an_alert_rule_that_is_refused(tenant: Any, rule: dict[str, Any], status: int, message: str) -> None:
    answer = tenant.post("/api/v1/alerting/rules", rule)

    assert answer.status_code == status
    assert answer.json() == {"error": "HTTP_ERROR", "message": message, "status_code": status}
