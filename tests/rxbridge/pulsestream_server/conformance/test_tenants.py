"""Registration, which is open, and what tenants see of each other."""

from typing import Any
from uuid import uuid4

import pytest

PATH = "/api/v1/auth/register/tenant"


def registration(**changes: Any) -> dict[str, Any]:
    name = uuid4().hex
    fields = {"name": "A tenant", "slug": name, "contact_email": f"{name}@example.com"} | changes
    return {key: value for key, value in fields.items() if value is not ...}


def test_a_tenant_gets_a_key_and_an_owner(anonymous: Any) -> None:
    wanted = registration()
    answer = anonymous.post(PATH, wanted)

    assert answer.status_code == 200
    assert answer.json()["tenant"].keys() == {"id", "name", "slug", "api_key"}
    assert answer.json()["tenant"]["name"] == wanted["name"]
    assert answer.json()["tenant"]["slug"] == wanted["slug"]
    assert answer.json()["owner_user"].keys() == {"id", "email", "temporary_password"}
    assert answer.json()["owner_user"]["email"] == wanted["contact_email"]


def test_the_key_works_at_once(tenant: Any, new_event: Any) -> None:
    assert tenant.post_event(new_event()).status_code == 200


def test_the_tier_is_free_text_and_changes_nothing(server: Any, anonymous: Any) -> None:
    answer = anonymous.post(PATH, registration(subscription_tier="whatever it is"))
    key = answer.json()["tenant"]["api_key"]
    limit = anonymous.request("GET", "/api/v1/ingestion/rate-limit", headers={"X-API-Key": key})

    assert (answer.status_code, limit.json()["limit"]) == (200, 100)


@pytest.mark.parametrize(
    ("field", "message"),
    [("contact_email", "Contact email already registered"), ("slug", "Tenant slug already taken")],
)
def test_what_another_tenant_has_is_refused(anonymous: Any, field: str, message: str) -> None:
    first = registration()
    assert anonymous.post(PATH, first).status_code == 200

    answer = anonymous.post(PATH, registration(**{field: first[field]}))

    assert answer.status_code == 400
    assert answer.json() == {"error": "HTTP_ERROR", "message": message, "status_code": 400}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ...}, "name"),
        ({"name": "x"}, "name"),
        ({"slug": ...}, "slug"),
        ({"slug": "not a slug"}, "slug"),
        ({"contact_email": ...}, "contact_email"),
        ({"contact_email": "no address"}, "contact_email"),
        ({"subscription_tier": 5}, "subscription_tier"),
    ],
)
def test_what_is_wrong_is_named(anonymous: Any, changes: dict[str, Any], field: str) -> None:
    answer = anonymous.post(PATH, registration(**changes))

    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", field]]


def test_a_tier_that_no_column_holds_breaks_the_route(anonymous: Any) -> None:
    answer = anonymous.post(PATH, registration(subscription_tier="x" * 51))

    assert answer.status_code == 500
    assert answer.json() == {"error": "HTTP_ERROR", "message": "Tenant registration failed", "status_code": 500}


def test_tenants_share_nothing(tenant: Any, another_tenant: Any, new_event: Any) -> None:
    event = new_event()
    for each in (tenant, another_tenant):
        (result,) = each.post_batch([event]).json()["results"]
        assert result["message"] == "Event ingested successfully"
    assert tenant.post_event(new_event()).status_code == 200

    assert len(tenant.waits_for(2)) == 2
    assert [item["external_id"] for item in another_tenant.waits_for(1)] == [event["event_id"]]
    assert tenant.rate_limit()["remaining"] in {98, 100}  # 100 in a new minute
    assert another_tenant.rate_limit()["remaining"] in {99, 100}
