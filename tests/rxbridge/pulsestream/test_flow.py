"""What follows from an answer for the next request."""

from __future__ import annotations

import pytest

from rxbridge.errors import Throttled
from rxbridge.pulsestream.answers import BatchAnswer, EventOutcome, HttpAnswer, failure
from rxbridge.pulsestream.flow import SPREAD_SECONDS, Flow

NOW = 1_764_000_030.0


def flow_that_has_sent(events: int) -> Flow:
    flow = Flow(
        largest_request=100,
        target_seconds=2.0,
        events_per_minute=None,
        clock=lambda: int(NOW * 1e9),
        monotonic=lambda: NOW,
    )
    flow.begin(hurry=False)
    stored = tuple(EventOutcome("stored") for _ in range(events))
    flow.answered(BatchAnswer(outcomes=stored, server_time=NOW, resume_at=NOW), stored=events, throttled=0, learns=True)
    return flow


def refusal(**headers: str) -> Throttled:
    answer = HttpAnswer(
        "http://host", 429, {key.replace("_", "-"): value for key, value in headers.items()}, b"", NOW, 0
    )
    error = failure(answer)
    assert isinstance(error, Throttled)
    return error


@pytest.mark.parametrize("retry_after", ["2", "Mon, 24 Nov 2025 16:00:32 GMT"])
def test_who_names_a_time_is_obeyed_and_teaches_no_limit_per_minute(retry_after: str) -> None:
    flow = flow_that_has_sent(54)
    seconds = flow.throttled(refusal(Retry_After=retry_after, Date="Mon, 24 Nov 2025 16:00:30 GMT"))
    assert 2.0 <= seconds <= 2.0 + SPREAD_SECONDS
    assert flow.limit is None


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "soon"}])
def test_who_names_none_has_met_the_limit_of_the_minute(headers: dict[str, str]) -> None:
    flow = flow_that_has_sent(54)
    flow.throttled(refusal(**headers))
    assert flow.limit is not None
    assert flow.limit.events == 54
