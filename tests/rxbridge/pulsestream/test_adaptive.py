"""What a size learns from servers whose cost for a request is known."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.pulsestream.adaptive import FIRST_REQUEST, RequestSize


def served(
    size: RequestSize, fixed: float, each: float, *, requests: int = 60, available: int = 10**9, noise: float = 0.0
) -> list[int]:
    """The sizes of so many requests to a server that takes `fixed` seconds, and `each` for an event."""
    draw = random.Random(1).uniform
    sizes: list[int] = []
    for _ in range(requests):
        events = min(size.events, available)
        sizes.append(events)
        size.answered(events, (fixed + each * events) * draw(1 - noise, 1 + noise))
    return sizes


@given(fixed=st.floats(0, 1), each=st.floats(0.0005, 5), largest=st.integers(1, 5000), noise=st.floats(0, 0.2))
def test_requests_come_to_take_about_as_long_as_they_should(
    fixed: float, each: float, largest: int, noise: float
) -> None:
    sizes = served(RequestSize(largest, 2.0), fixed, each, noise=noise)

    ideal = min(max((2.0 - fixed) / each, 1), largest)
    late = sizes[20:]
    # A tried step beyond, and noise in what was seen, may make single ones larger; never by much.
    assert all(1 <= size <= largest for size in sizes)
    assert max(late) <= max(4 * ideal, 4)
    assert sum(late) / len(late) >= ideal / 4


@pytest.mark.parametrize("seconds", [1.0, 5.0, 60.0])
def test_a_slow_server_is_given_little_at_once_soon(seconds: float) -> None:
    """A second an event: the second request is a tenth, the third is as small as it must be."""
    sizes = served(RequestSize(1000, 2.0), 0.0, seconds, requests=10)
    assert sizes[:2] == [100, 10]
    assert max(sizes[2:]) <= 2


def test_a_fast_server_is_given_as_much_as_is_allowed_step_by_step() -> None:
    assert served(RequestSize(1000, 2.0), 0.005, 0.0005, requests=6) == [100, 200, 400, 800, 1000, 1000]


def test_where_only_the_request_costs_small_ones_would_help_nobody() -> None:
    """Three seconds a request, whatever is in it: the size must not shrink to one."""
    sizes = served(RequestSize(1000, 2.0), 3.0, 0.0001)
    assert sizes[-1] == 1000


def test_single_events_say_nothing_of_what_many_would_cost() -> None:
    size = RequestSize(1000, 2.0)
    served(size, 0.5, 0.001, available=1)
    assert size.events >= FIRST_REQUEST
    # And where a single one takes too long, a backlog is soon sent in larger requests again.
    served(size, 3.0, 0.001, available=1)
    assert served(size, 3.0, 0.001, requests=20)[-1] == 1000


def test_a_time_out_halves_it_and_it_recovers() -> None:
    size = RequestSize(1000, 2.0)
    served(size, 0.0, 0.01, requests=20)
    before = size.events
    size.timed_out(before)
    assert size.events == before // 2
    size.timed_out(3)
    assert size.events == 1
    size.timed_out(1)
    assert size.events == 1
    assert served(size, 0.0, 0.01, requests=20)[-1] == before


@pytest.mark.parametrize("largest", [1, 2, 99, 100, 5000])
def test_the_first_request_is_of_a_moderate_size(largest: int) -> None:
    assert RequestSize(largest, 2.0).events == min(largest, FIRST_REQUEST)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1e6)), max_size=50), st.integers(1, 10_000))
def test_whatever_is_seen_the_size_is_sound(answers: list[tuple[int, float]], largest: int) -> None:
    size = RequestSize(largest, 2.0)
    for events, seconds in answers:
        before = size.events
        size.answered(events, seconds)
        assert 1 <= size.events <= largest
        assert before // 10 <= size.events <= before * 2
