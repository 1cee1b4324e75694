"""100 events per tenant and clock minute, however they come."""

from datetime import datetime
from typing import Any

LIMITED = ["Rate limit exceeded. Limit: 100 events per 60 seconds"]


def test_the_limit_is_told(tenant: Any, new_event: Any) -> None:
    told = tenant.rate_limit()
    reset = datetime.fromisoformat(told.pop("reset_time"))

    assert told == {"limit": 100, "remaining": 100, "window_size_seconds": 60, "exceeded": False}
    assert (reset.second, reset.microsecond, reset.tzinfo) == (0, 0, None)


def test_of_a_batch_that_is_over_it_the_first_100_are_stored(within_a_minute: Any, new_event: Any) -> None:
    events = [new_event() for _ in range(250)]
    answer, told, stored = within_a_minute(
        lambda tenant: (tenant.post_batch(events), tenant.rate_limit(), tenant.waits_for(100))
    )
    body = answer.json()

    assert answer.status_code == 200
    assert (body["successful_events"], body["failed_events"], body["processing_status"]) == (100, 150, "partial")
    assert all(result["success"] for result in body["results"][:100])
    for result in body["results"][100:]:
        assert (result["message"], result["errors"]) == ("Event ingestion failed", LIMITED)
    assert {item["external_id"] for item in stored} == {event["event_id"] for event in events[:100]}
    assert (told["remaining"], told["exceeded"]) == (0, True)


def test_over_it_a_single_event_is_a_400(within_a_minute: Any, new_event: Any) -> None:
    def exceed(tenant: Any) -> Any:
        assert tenant.post_batch([new_event() for _ in range(100)]).json()["failed_events"] == 0
        return tenant.post_event(new_event())

    answer = within_a_minute(exceed)

    assert answer.status_code == 400
    assert answer.json()["message"] == {"message": "Event ingestion failed", "errors": LIMITED}
    assert "retry-after" not in answer.headers


def test_over_it_duplicates_still_succeed_and_refusals_stay_what_they_are(within_a_minute: Any, new_event: Any) -> None:
    events = [new_event() for _ in range(100)]

    def exceed(tenant: Any) -> tuple[Any, Any, Any]:
        tenant.post_batch(events)
        tenant.waits_for(100)
        single = tenant.post_event(events[0])
        mixed = [events[1], new_event(), new_event(title=...), events[2], new_event(payload={"a": "\0"})]
        return single, tenant.post_event(new_event(title=...)), tenant.post_batch(mixed)

    duplicate, invalid, batch = within_a_minute(exceed)

    assert (duplicate.status_code, invalid.status_code) == (200, 422)
    assert [result["success"] for result in batch.json()["results"]] == [True, False, False, True, False]
    assert batch.json()["results"][1]["errors"] == batch.json()["results"][4]["errors"] == LIMITED


def test_only_what_is_stored_is_charged(within_a_minute: Any, new_event: Any) -> None:
    event = new_event()

    def use(tenant: Any) -> int:
        tenant.post_event(event)
        tenant.waits_for(1)
        tenant.post_event(event)
        tenant.post_event(new_event(title=...))
        tenant.post_event(new_event(payload={"a": "\0"}))
        tenant.post_batch([event, event, new_event(), new_event(timestamp="2025-01-01T00:00:00Z")])
        return tenant.rate_limit()["remaining"]

    assert within_a_minute(use) == 98


def test_more_than_1000_events_are_taken_in_one_batch(within_a_minute: Any, new_event: Any) -> None:
    events = [new_event() for _ in range(1001)]
    body = within_a_minute(lambda tenant: tenant.post_batch(events).json())

    assert (body["total_events"], body["successful_events"], len(body["results"])) == (1001, 100, 1001)
