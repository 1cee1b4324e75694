from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from rxbridge.errors import ServerFailed
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.answers import BatchAnswer, EventOutcome, Fate
from rxbridge.pulsestream.pending import TRIES_ALONE, TRIES_BEFORE_HALVING, PendingBatch

MakeEvents = Callable[..., list[EncodedEvent]]
NOON = 1_714_564_800.0


def answer(*fates: Fate, server_time: float = NOON) -> BatchAnswer:
    return BatchAnswer(tuple(EventOutcome(fate, (f"because {fate}",)) for fate in fates), server_time, 0.0)


def counts(batch: PendingBatch) -> tuple[int, int]:
    """How many are delivered, and stored already, of what can be acknowledged by now; acknowledges it."""
    delivered = already_stored = 0
    while part := batch.next_settled():
        delivered, already_stored = delivered + part.delivered, already_stored + part.already_stored
        batch.acknowledged(part)
    return delivered, already_stored


def ids(events: Sequence[EncodedEvent]) -> list[int]:
    return [event.offset for event in events]


def test_only_what_is_not_stored_is_sent_again(make_events: MakeEvents) -> None:
    batch = PendingBatch(make_events(6))
    assert ids(batch.next_request(1)) == [1, 2, 3, 4, 5, 6]
    batch.answered(answer("stored", "throttled", "already_stored", "refused", "throttled", "stored"))

    assert (batch.waiting, batch.newly_stored, batch.throttled) == (2, 2, 2)
    assert counts(batch) == (1, 0)
    assert ids(batch.next_request(2)) == [2, 5]
    batch.answered(answer("stored", "refused"))

    assert (batch.waiting, batch.throttled) == (0, 0)
    assert counts(batch) == (3, 1)
    assert batch.settled
    first, second = batch.refusals
    assert (first.event.offset, first.first_attempt, first.last_attempt, first.attempts) == (4, 1, 1, 1)
    assert (second.event.offset, second.first_attempt, second.last_attempt, second.attempts) == (5, 1, 2, 2)
    assert first.error.reasons == ("because refused",)


@pytest.mark.parametrize(
    ("ahead_of_the_limit", "kept_for"),
    [(-100.0, 1.0), (0.0, 1.0), (30.0, 30.0), (600.0, 600.0), (601.0, None), (1e9, None)],
)
def test_an_event_from_the_future_is_kept_for_a_while(
    make_events: MakeEvents, ahead_of_the_limit: float, kept_for: float | None
) -> None:
    batch = PendingBatch(make_events(2, timestamp="2024-05-01T12:00:00"))
    batch.next_request(1)
    batch.answered(answer("early", "stored", server_time=NOON - 300 - ahead_of_the_limit))

    if kept_for is None:
        assert (batch.waiting, batch.early_seconds) == (0, 0)
        assert batch.refusals[0].error.reasons == ("because early",)
    else:
        assert (batch.waiting, batch.early_seconds, len(batch.refusals)) == (1, kept_for, 0)


PROBE = 0
EVERYTHING = {PROBE, *range(1, 101)}


def deliver(batch: PendingBatch, poison: set[int], status: int = 500, limit: int = 1000) -> list[list[int]]:
    """A server that refuses every request with poison in it, and stores the others. Returns what was sent."""
    stored: set[str] = set()
    sent: list[list[int]] = []
    while batch.waiting and len(sent) < limit:
        events = batch.next_request(len(sent) + 1)
        sent.append(ids(events))
        if poison & set(sent[-1]):
            batch.failed(ServerFailed(status, "Batch event ingestion failed"))
        else:
            fates: list[Fate] = ["already_stored" if event.event_id in stored else "stored" for event in events]
            stored.update(event.event_id for event in events)
            batch.answered(answer(*fates))
    return sent


@pytest.mark.parametrize(
    "poison", [{1}, {50}, {100}, {1, 2}, {99, 100}, {7, 50, 99}, {*range(1, 100)}, {*range(2, 101)}]
)
def test_poison_is_isolated_and_the_rest_delivered(make_events: MakeEvents, poison: set[int]) -> None:
    batch = PendingBatch(make_events(100))
    sent = deliver(batch, poison, limit=3000)

    assert batch.waiting == 0
    assert counts(batch) == (100 - len(poison), 0)
    assert {refusal.event.offset for refusal in batch.refusals} == poison
    assert sent[:TRIES_BEFORE_HALVING] == [list(range(1, 101))] * TRIES_BEFORE_HALVING
    for refusal in batch.refusals:
        assert sent.count([refusal.event.offset]) >= TRIES_ALONE
        assert refusal.attempts == sum(refusal.event.offset in request for request in sent)
        assert "while another event was taken in between" in refusal.error.reasons[1]


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_a_server_that_refuses_everything_proves_nothing(make_events: MakeEvents, count: int, status: int) -> None:
    batch = PendingBatch(make_events(count))
    deliver(batch, EVERYTHING, status, limit=500)
    assert (batch.waiting, len(batch.refusals)) == (count, 0)

    # When it is well again, what it refused before does not count.
    deliver(batch, set())
    assert (batch.waiting, counts(batch), len(batch.refusals)) == (0, (count, 0), 0)


def test_a_second_time_of_trouble_proves_nothing_either(make_events: MakeEvents) -> None:
    batch = PendingBatch(make_events(9))
    deliver(batch, EVERYTHING, limit=200)
    deliver(batch, set(), limit=3)
    assert 0 < batch.waiting < 9
    deliver(batch, EVERYTHING, limit=500)
    assert len(batch.refusals) == 0
    deliver(batch, set())
    assert (counts(batch), len(batch.refusals)) == ((9, 0), 0)


@pytest.mark.parametrize("poison", [{1}, {5}, {1, 4}, {1, 5}, {1, 2, 4, 5}])
def test_poison_is_found_after_a_time_of_trouble_too(make_events: MakeEvents, poison: set[int]) -> None:
    batch = PendingBatch(make_events(5))
    deliver(batch, EVERYTHING, limit=100)
    deliver(batch, poison)
    assert (batch.waiting, counts(batch)) == (0, (5 - len(poison), 0))
    assert {refusal.event.offset for refusal in batch.refusals} == poison


@pytest.mark.parametrize("status", [301, 404, 408, 502, 503])
def test_some_failures_cannot_be_the_events(make_events: MakeEvents, status: int) -> None:
    batch = PendingBatch(make_events(4))
    sent = deliver(batch, {2}, status, limit=50)
    assert sent == [[1, 2, 3, 4]] * 50


@pytest.mark.parametrize("status", [413, 422])
def test_some_failures_must_be_the_events(make_events: MakeEvents, status: int) -> None:
    batch = PendingBatch(make_events(8))
    sent = deliver(batch, {3}, status)

    assert (counts(batch), batch.refusals[0].event.offset) == ((7, 0), 3)
    assert sent.count([3]) == 1
    assert sent[:3] == [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [1, 2]]


def test_a_success_gives_a_failing_batch_its_tries_again(make_events: MakeEvents) -> None:
    batch = PendingBatch(make_events(4))
    for _ in range(5):
        for _ in range(TRIES_BEFORE_HALVING - 1):
            assert ids(batch.next_request(1)) == [1, 2, 3, 4]
            batch.failed(ServerFailed(500, ""))
        batch.next_request(1)
        batch.answered(answer("throttled", "throttled", "throttled", "throttled"))
    assert ids(batch.next_request(1)) == [1, 2, 3, 4]


def test_a_suspect_that_is_throttled_stays(make_events: MakeEvents) -> None:
    batch = PendingBatch(make_events(1))
    batch.next_request(1)
    batch.failed(ServerFailed(500, ""))
    batch.next_request(2)
    batch.answered(answer("throttled"))
    assert (batch.waiting, batch.throttled, batch.probing) == (1, 1, True)
    batch.next_request(3)
    batch.answered(answer("stored"))
    assert ids(batch.next_request(4)) == [1]
    batch.answered(answer("throttled"))
    assert batch.waiting == 1
    assert ids(batch.next_request(5)) == [1]
    batch.answered(answer("stored"))
    assert (batch.waiting, counts(batch)) == (0, (1, 0))


def test_an_answer_that_brought_nothing_new_into_the_database_is_no_last_proof(make_events: MakeEvents) -> None:
    """A rate limit is met while the database can be read; it may still be that it cannot be written."""
    batch = PendingBatch(make_events(2))
    known: set[str] = set()
    times: Counter[int] = Counter()
    while times[1] < TRIES_ALONE or times[2] < TRIES_ALONE - 1:
        events = batch.next_request(1)
        if batch.probing:
            batch.answered(answer("already_stored" if events[0].event_id in known else "stored"))
            known.add(events[0].event_id)
        else:
            times.update(ids(events) if len(events) == 1 else [])
            batch.failed(ServerFailed(500, ""))

    # The first one stands before its last try now, the second one before its last but one.
    assert ids(batch.next_request(1)) == [2]
    batch.answered(answer("throttled"))
    for expected in (2, 1):
        assert ids(batch.next_request(1)) == [expected]
        batch.failed(ServerFailed(500, ""))
    assert (batch.waiting, len(batch.refusals)) == (2, 0)
