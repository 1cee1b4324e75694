"""REST that limits, and REST that fails."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.faults import Fault
from rxbridge.simulator import Simulator, server
from rxbridge.simulator.rest_limit import RateLimit

Simulate = Callable[..., Simulator]

TRADES = "/products/BTC-USD/trades"


def get(simulator: Simulator, target: str = TRADES) -> requests.Response:
    return requests.get(simulator.rest_url + target, timeout=20)


def test_as_many_requests_as_coinbase_takes_and_no_more(simulate: Simulate) -> None:
    simulator = simulate(rate=0)
    started = time.monotonic()
    answers = [get(simulator) for _ in range(60)]
    elapsed = time.monotonic() - started
    assert {answer.status_code for answer in answers[:15]} == {200}
    assert sum(answer.status_code == 200 for answer in answers) <= 15 + elapsed * 10 + 1
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {(answer.status_code, answer.text) for answer in refused} <= {
        (429, '{"message":"Public rate limit exceeded"}')
    }


def test_beyond_the_burst_it_is_429_whatever_is_asked_for(simulate: Simulate) -> None:
    simulator = simulate(rate=0, rest_requests_per_second=1e-6, rest_burst=3)
    targets = [TRADES, "/time", "/products", "/products", TRADES, "/nowhere"]
    assert [get(simulator, target).status_code for target in targets] == [200, 200, 200, 429, 429, 429]


def test_no_limit_at_all(simulate: Simulate) -> None:
    simulator = simulate(rate=0, rest_requests_per_second=0)
    assert {get(simulator).status_code for _ in range(60)} == {200}


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_in_no_time_more_is_answered_than_burst_and_rate_allow(rate: float, burst: int, gaps: list[float]) -> None:
    now = 0.0
    limit = RateLimit(rate, burst, clock=lambda: now)
    taken: list[float] = []
    for number, gap in enumerate(gaps):
        now += gap
        if limit.takes():
            taken.append(now)
        else:
            # It is no stricter than it says.
            assert number >= burst
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) * rate + 1e-6


def test_a_client_that_keeps_to_the_rate_is_never_refused() -> None:
    now = 0.0
    limit = RateLimit(10, 1, clock=lambda: now)
    for _ in range(1000):
        assert limit.takes()
        now += 0.1000001


@pytest.mark.parametrize(("retry_after", "header"), [(None, None), (0, "0"), (7, "7")])
def test_too_many(simulate: Simulate, retry_after: int | None, header: str | None) -> None:
    simulator = simulate(rate=0, faults=[Fault("rest_429", retry_after=retry_after, times=2)])
    for _ in range(2):
        answer = get(simulator)
        assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)
    assert get(simulator).status_code == 200
    assert simulator.statistics.faults == {"rest_429": 2}


def test_too_many_until_a_date(simulate: Simulate) -> None:
    simulator = simulate(rate=0, faults=[Fault("rest_429", retry_after="date")])
    before = datetime.now(UTC).replace(microsecond=0)
    date = get(simulator).headers["Retry-After"]
    assert date.endswith(" GMT")
    assert parsedate_to_datetime(date) > before


def test_an_error_of_the_server(simulate: Simulate) -> None:
    simulator = simulate(rate=0, faults=[Fault("rest_500")])
    answer = get(simulator)
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal server error"})


def test_slow_answers_are_answers_however_slow(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OPEN_TIMEOUT_SECONDS", 2.0)
    delay = server.OPEN_TIMEOUT_SECONDS + 0.1
    simulator = simulate(rate=0, faults=[Fault("rest_slow", delay_seconds=delay, times=1)])
    started = time.monotonic()
    assert get(simulator).status_code == 200
    assert time.monotonic() - started >= delay
    assert simulator.statistics.faults == {"rest_slow": 1}
    assert get(simulator).status_code == 200


def test_an_empty_page_where_there_are_trades(simulate: Simulate) -> None:
    simulator = simulate(rate=0, faults=[Fault("rest_empty", product="BTC-USD", times=1)])
    assert len(get(simulator, "/products/ETH-USD/trades").json()) == 1
    assert get(simulator, "/products/NO-SUCH/trades").status_code == 404
    assert len(get(simulator, "/products").json()) == 2
    empty = get(simulator)
    assert (empty.status_code, empty.json(), "CB-AFTER" in empty.headers) == (200, [], False)
    assert len(get(simulator).json()) == 1


def test_a_share_of_the_requests_fails(simulate: Simulate) -> None:
    simulator = simulate(rate=0, rest_requests_per_second=0, faults=[Fault("rest_500", probability=0.3)])
    failed = sum(get(simulator).status_code == 500 for _ in range(100))
    assert simulator.statistics.faults["rest_500"] == failed
    assert 10 < failed < 60
