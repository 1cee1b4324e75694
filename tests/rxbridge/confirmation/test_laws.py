"""Whatever is lost, and wherever it crashes: in the end everything is stored, once."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.confirmation.note import CONSUMER
from rxbridge.confirmation.proving import Prover
from rxbridge.confirmation.ripening import Ripening
from rxbridge.confirmation.trail import Trail
from rxbridge.events import EventRules
from rxbridge.journal import DeadLetter, MemoryJournal
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.telemetry.statistics import ConfirmationStatistics
from tests.rxbridge.confirmation.support import CHANNELS, HEARTBEAT, FakePulseStream, append, event_id, match

AFTER = 5.0


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_trail(journal: MemoryJournal, server: FakePulseStream, clock: Time, mode: str) -> Trail:
    def never(letter: DeadLetter) -> None:
        raise AssertionError(letter)

    counts = ConfirmationStatistics()
    return Trail(
        journal,
        Prover(server, refused=never, stop=threading.Event(), statistics=counts.posts, request_events=10),
        mode=mode,  # pyright: ignore[reportArgumentType] - one of the two
        channels=CHANNELS,
        rules=EventRules("test"),
        after_seconds=AFTER,
        first_seconds=AFTER,
        statistics=counts,
        clock=clock,
    )


@settings(deadline=None, max_examples=60)
@given(
    events=st.integers(1, 120),
    lost_at_first=st.sets(st.integers(0, 11)),
    lost=st.lists(st.booleans(), max_size=30),
    crashes=st.sets(st.integers(1, 40), max_size=4),
    acknowledged=st.lists(st.integers(1, 120), max_size=5),
    heartbeats=st.sets(st.integers(1, 120)),
)
def test_in_the_mode_all_everything_is_stored_once(
    *,
    events: int,
    lost_at_first: set[int],
    lost: list[bool],
    crashes: set[int],
    acknowledged: list[int],
    heartbeats: set[int],
) -> None:
    clock = Time()
    journal = MemoryJournal(keep_bytes=0)
    server = FakePulseStream(clock, AFTER - 0.1, lost)
    contents = [HEARTBEAT if number in heartbeats else match(number) for number in range(1, events + 1)]
    wanted = [number for number in range(1, events + 1) if number not in heartbeats]
    journal.acknowledge(DELIVERY, 0)
    journal.acknowledge(CONSUMER, 0)
    append(journal, contents)
    for number in wanted:
        if number // 10 not in lost_at_first:
            server.rows[event_id(number)] = 1
            server._shown_at[event_id(number)] = clock.now
    marks = [*sorted(mark for mark in acknowledged if mark < events), events]
    trail = make_trail(journal, server, clock, "all")
    for step in range(10_000):
        if marks:
            journal.acknowledge(DELIVERY, marks.pop(0))
        if step in crashes:
            trail = make_trail(journal, server, clock, "all")
        seconds = trail.step()
        newest = max((event.offset for request in server.posted for event in request), default=0)
        assert newest <= journal.cursor(DELIVERY)
        if seconds is not None:
            if seconds == float("inf") and not marks:
                break
            clock.now += min(seconds, 1.0)

    assert server.rows == {event_id(number): 1 for number in wanted}
    assert journal.cursor(CONSUMER) == events


@settings(deadline=None, max_examples=40)
@given(
    events=st.integers(20, 300),
    begin=st.integers(0, 280),
    length=st.integers(20, 100),
    acknowledged=st.lists(st.integers(1, 300), max_size=4),
)
def test_in_the_mode_sample_a_loss_of_twenty_in_a_row_is_found(
    events: int, begin: int, length: int, acknowledged: list[int]
) -> None:
    clock = Time()
    journal = MemoryJournal()
    server = FakePulseStream(clock, AFTER - 0.1)
    append(journal, map(match, range(1, events + 1)))
    begin = min(begin, events - 20)
    for number in range(1, events + 1):
        if not begin < number <= begin + length:
            server.rows[event_id(number)] = 1
            server._shown_at[event_id(number)] = clock.now
    marks = [*sorted(mark for mark in acknowledged if mark < events), events]
    trail = make_trail(journal, server, clock, "sample")
    for _ in range(10_000):
        if marks:
            journal.acknowledge(DELIVERY, marks.pop(0))
        seconds = trail.step()
        if seconds is not None:
            if seconds == float("inf") and not marks:
                break
            clock.now += min(seconds, 1.0)

    assert server.rows == {event_id(number): 1 for number in range(1, events + 1)}
    assert journal.cursor(CONSUMER) == events


@given(
    seconds=st.floats(0.5, 10),
    first=st.floats(0.1, 30),
    looks=st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 3)), max_size=60),
)
def test_nothing_ripens_too_early_or_never(seconds: float, first: float, looks: list[tuple[float, int]]) -> None:
    clock = Time()
    ripening = Ripening(seconds, clock, first_seconds=first)
    acknowledged, since = 7, {7: clock.now}
    assert ripening.look(acknowledged) == 0
    for pause, more in looks:
        clock.now += pause
        acknowledged += more
        since.setdefault(acknowledged, clock.now)
        ripe = ripening.look(acknowledged)
        if ripe:
            assert clock.now - since[ripe] >= (first if ripe == 7 else seconds) - 1e-6
    clock.now += 30 + seconds
    assert ripening.look(acknowledged) == acknowledged
    assert ripening.next_at() is None
