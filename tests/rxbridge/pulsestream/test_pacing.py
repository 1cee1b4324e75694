"""What a pace lets through, against a server that counts events in fixed minutes of its own clock."""

import math
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.pulsestream.limits import Limit
from rxbridge.pulsestream.pacing import SEND_SECONDS, Pace

MINUTE = 60
BEGAN = 5000.0
"""On our clock."""


class Tenant:
    """A tenant of the server, and one sink that always has something to send, for `minutes` of virtual time.

    Args:
        pace: What is tried.
        limit: Events a minute, by the number of the minute.
        tells: Whether a refusal tells the limit.
        others: Events of other clients that come at the start of each minute.
        phase: Where in a minute it begins.
        request_seconds: What a request takes.
        stale_seconds: How far a `Date` header is behind, besides that it is cut to the second.
        largest: Most events in a request.
        demand: Events that arrive a minute; what is left waits.
    """

    def __init__(
        self,
        pace: Pace,
        limit: Callable[[int], int],
        *,
        tells: bool = True,
        others: Callable[[int], int] = lambda _: 0,
        phase: float = 0.0,
        request_seconds: float = 0.05,
        stale_seconds: float = 0.0,
        largest: int = 100,
        demand: float = math.inf,
    ) -> None:
        self.pace = pace
        self.limit = limit
        self.tells = tells
        self.others = others
        self.offset = 1_000_000 * MINUTE + phase - BEGAN
        self.request_seconds = request_seconds
        self.stale_seconds = stale_seconds
        self.largest = largest
        self.demand = demand
        self.now = BEGAN
        self.sent = 0
        self.stored: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.sizes: list[int] = []
        self.times: list[float] = []

    @property
    def server_time(self) -> float:
        return self.now + self.offset

    def run(self, minutes: float) -> "Tenant":
        end = self.now + minutes * MINUTE
        steps = 0
        while self.now < end:
            steps += 1
            assert steps < 200 * minutes, "it asks again and again"
            waiting = (self.now - BEGAN) * self.demand / MINUTE - self.sent if self.demand < math.inf else 1e9
            if waiting < 1:
                self.now += MINUTE / self.demand
                continue
            allowance = self.pace.allowance(self.now)
            if allowance.events:
                self.send(min(allowance.events, self.largest, int(waiting)))
            else:
                assert 0 < allowance.seconds <= MINUTE + 2
                self.now += allowance.seconds
        return self

    def send(self, events: int) -> None:
        self.times.append(self.now)
        self.sizes.append(events)
        self.now += self.request_seconds
        minute = int(self.server_time // MINUTE)
        room = max(self.limit(minute) - self.others(minute) - self.stored[minute], 0)
        stored = min(events, room)
        self.sent += stored
        self.stored[minute] += stored
        date = math.floor(self.server_time - self.stale_seconds)
        if stored == events:
            self.pace.answered(self.now, stored=stored, server_time=date)
            return
        self.refused[minute] += 1
        limit = Limit(self.limit(minute), MINUTE) if self.tells else None
        rest = MINUTE - date % MINUTE
        self.pace.refused(self.now, resume_seconds=rest, stored=stored, limit=limit, server_time=date)

    def whole_minutes(self, skip: int = 2) -> list[int]:
        """Events stored in each minute, without the first ones, and the last."""
        first, last = min(self.stored), max(self.stored)
        return [self.stored[minute] for minute in range(first + skip, last)]


PHASES = st.floats(0, MINUTE, exclude_max=True)


@settings(deadline=None, max_examples=50)
@given(
    limit=st.integers(1, 500),
    told=st.booleans(),
    phase=PHASES,
    request_seconds=st.floats(0.001, 1.5),
    stale_seconds=st.floats(0, 0.9),
)
def test_at_most_one_refusal_a_minute_and_soon_hardly_any(
    *, limit: int, told: bool, phase: float, request_seconds: float, stale_seconds: float
) -> None:
    tenant = Tenant(
        Pace(),
        lambda _: limit,
        tells=told,
        phase=phase,
        request_seconds=request_seconds,
        stale_seconds=stale_seconds,
    ).run(60)

    # Of the first answer's `Date`, which may be late, nobody knows in which minute it was.
    if tenant.refused:
        assert tenant.refused.pop(min(tenant.refused)) <= 2
    assert max(tenant.refused.values(), default=0) <= 1
    assert sum(tenant.refused.values()) <= 12
    minutes = tenant.whole_minutes(skip=12)
    assert sum(minutes) >= 0.85 * limit * len(minutes)


@settings(deadline=None, max_examples=50)
@given(limit=st.integers(1, 500), phase=PHASES, stale_seconds=st.floats(0, 0.9))
def test_a_limit_that_is_known_is_never_met(limit: int, phase: float, stale_seconds: float) -> None:
    """But once: nobody knows at first where the server's minute begins."""
    tenant = Tenant(Pace(limit), lambda _: limit, phase=phase, stale_seconds=stale_seconds).run(30)

    assert sum(tenant.refused.values()) <= 1
    minutes = tenant.whole_minutes()
    assert min(minutes) >= 0.9 * limit


@settings(deadline=None, max_examples=50)
@given(phase=PHASES, told=st.booleans(), before=st.integers(1, 300), after=st.integers(1, 300), at=st.integers(3, 20))
def test_a_limit_that_changes_is_found(*, phase: float, told: bool, before: int, after: int, at: int) -> None:
    change = 1_000_000 + at
    tenant = Tenant(Pace(), lambda minute: after if minute >= change else before, tells=told, phase=phase).run(200)

    assert max(tenant.refused.values()) <= 1
    last = tenant.whole_minutes()[-20:]
    assert sum(last) >= 0.8 * after * 20


@settings(deadline=None, max_examples=50)
@given(
    phase=PHASES,
    told=st.booleans(),
    limit=st.integers(20, 300),
    share=st.floats(0, 0.9),
    seed=st.integers(0, 1000),
)
def test_other_clients_take_their_share_and_there_is_still_no_storm(
    *, phase: float, told: bool, limit: int, share: float, seed: int
) -> None:
    taken: dict[int, int] = {}
    draw = random.Random(seed).random

    def others(minute: int) -> int:
        return taken.setdefault(minute, int(limit * share * draw()))

    tenant = Tenant(Pace(), lambda _: limit, tells=told, others=others, phase=phase).run(60)
    assert max(tenant.refused.values(), default=0) <= 1
    minutes = tenant.whole_minutes(skip=12)
    first = min(tenant.stored) + 12
    free = [limit - others(first + index) for index in range(len(minutes))]
    assert sum(minutes) >= 0.4 * sum(free)


def test_one_refusal_too_early_is_forgiven_the_second_in_a_row_is_not() -> None:
    pace, told = Pace(), Limit(100, 60)
    pace.refused(30.0, resume_seconds=30.0, stored=100, limit=told, server_time=6030.0)
    for minute, believed in ((1, 100), (2, 50)):
        now = minute * 60.0
        assert pace.allowance(now).events > 0
        pace.refused(now + 1, resume_seconds=59.0, stored=10, limit=told, server_time=6001.0 + now)
        assert pace.limit == Limit(believed, 60)

    # A minute without one in between, and it is forgiven again.
    pace.allowance(240.0)
    pace.refused(301.0, resume_seconds=59.0, stored=10, limit=told, server_time=6301.0)
    assert pace.limit == Limit(50, 60)


def test_a_steady_share_of_others_is_soon_left_to_them() -> None:
    tenant = Tenant(Pace(), lambda _: 100, others=lambda _: 40).run(120)

    assert max(tenant.refused.values()) == 1
    # It is not met every minute: what is taken is what is left, and more is tried ever more rarely.
    assert sum(tenant.refused.values()) <= 20
    assert sum(tenant.whole_minutes()) >= 0.9 * 60 * 116


def test_what_is_sent_is_spread_over_the_minute() -> None:
    tenant = Tenant(Pace(), lambda _: 100, phase=0).run(6)

    # From the third minute on: small requests at even distances, and no refusal.
    late = [(time, size) for time, size in zip(tenant.times, tenant.sizes, strict=True) if time > BEGAN + 2 * MINUTE]
    assert max(size for _, size in late) <= 5
    gaps = [after - before for (before, _), (after, _) in pairwise(late)]
    assert min(gaps) >= SEND_SECONDS
    assert max(gaps) <= 15
    assert sum(tenant.refused.values()) == 1


def test_who_sends_less_than_the_limit_never_waits() -> None:
    tenant = Tenant(Pace(100), lambda _: 100, demand=80, phase=20.0).run(10)

    assert not tenant.refused
    # Each event goes when it comes, one by one.
    assert set(tenant.sizes) == {1}
    assert len(tenant.sizes) >= 790


def test_after_a_time_of_too_much_it_is_as_before() -> None:
    pace = Pace()
    busy = Tenant(pace, lambda _: 100).run(5)
    assert pace.allowance(busy.now + 10 * MINUTE).events == 100


def test_a_hurry_takes_what_is_left_at_once() -> None:
    tenant = Tenant(Pace(), lambda _: 100, phase=0).run(3.1)
    spread = tenant.pace.allowance(tenant.now + SEND_SECONDS)
    assert 1 <= spread.events <= 5
    assert tenant.pace.allowance(tenant.now + SEND_SECONDS, hurry=True).events > 60


def test_a_setting_is_not_exceeded_but_a_refusal_that_tells_less_is_believed() -> None:
    generous = Tenant(Pace(50), lambda _: 100).run(60)
    assert not generous.refused
    assert max(generous.whole_minutes()) == 50

    wrong = Tenant(Pace(1000), lambda _: 100).run(30)
    assert wrong.pace.limit == Limit(100, 60)
    assert max(wrong.refused.values()) == 1
    assert sum(wrong.refused.values()) <= 4


def test_nothing_is_limited_before_the_first_refusal() -> None:
    tenant = Tenant(Pace(), lambda _: 10**9, request_seconds=0.5).run(5)
    assert tenant.pace.limit is None
    assert set(tenant.sizes) == {100}
    assert len(tenant.sizes) >= 595


def test_a_refusal_of_which_nothing_was_taken_teaches_nothing() -> None:
    pace = Pace()
    pace.refused(10.0, resume_seconds=7.0, limit=None)

    assert pace.limit is None
    assert pace.allowance(12.0) == (0, 5.0)
    assert pace.allowance(17.0).events > 1_000_000


def test_a_server_that_asks_for_another_try_at_once_is_not_stormed() -> None:
    """`Retry-After: 0`, again and again."""
    pace, now, tries = Pace(), 0.0, 0
    while now < 10 * MINUTE:
        allowance = pace.allowance(now)
        if allowance.events:
            tries += 1
            pace.refused(now, resume_seconds=0.0, limit=None)
        now += max(allowance.seconds, 0.01)
    assert tries <= 2 * 11


def test_events_that_may_have_been_counted_count() -> None:
    pace = Pace(100)
    pace.answered(0.0, stored=10, server_time=6000.0)
    pace.unanswered(1.0, 60)
    assert pace.allowance(2.0).events == 30
    pace.answered(2.0, stored=0, server_time=6002.0)
    assert pace.allowance(2.0).events == 30
    pace.unanswered(3.0, 60)
    assert pace.allowance(3.0) == (0, 57.0)


def test_what_came_at_the_end_of_a_minute_may_count_for_the_next() -> None:
    pace = Pace(100)
    pace.answered(0.0, stored=10, server_time=6058.5)
    assert pace.allowance(2.0).events == 90


@pytest.mark.parametrize("step", [-7200.0, -61.0, -5.0, -3.0, 5.0, 61.0, 7200.0])
def test_a_step_of_the_servers_clock_costs_little(step: float) -> None:
    tenant = Tenant(Pace(), lambda _: 100).run(10)
    tenant.offset += step
    before, refused = tenant.sent, sum(tenant.refused.values())
    tenant.run(10)

    # A clock that is set back by a minute comes to minutes that are used up already.
    assert tenant.sent - before >= (950 if abs(step) <= 5 else 750)
    assert before >= 100 * 9
    assert sum(tenant.refused.values()) - refused <= 4


def test_windows_of_another_length() -> None:
    """Another version of the server may count by ten seconds."""
    pace = Pace()
    pace.refused(0.0, resume_seconds=4.0, stored=30, limit=Limit(30, 10), server_time=1006.0)
    assert pace.limit == Limit(30, 10)
    assert pace.allowance(1.0) == (0, 3.0)
    now, sent = 4.0, 0
    while now < 14.0:
        allowance = pace.allowance(now)
        sent += allowance.events
        if allowance.events:
            pace.answered(now, stored=allowance.events, server_time=1006.0 + now)
        now += max(allowance.seconds, 0.01)
    assert sent == 30
