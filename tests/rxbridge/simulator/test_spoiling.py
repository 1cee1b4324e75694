"""What becomes of frames: laws that hold whatever the schedule is."""

from collections import Counter
from datetime import datetime, timedelta
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.faults import Fault, Faults
from rxbridge.simulator import damage
from rxbridge.simulator.spoiling import DAMAGES, FRAME_KINDS, INVENTIONS, Spoiler
from rxbridge.simulator.wire import timestamp

KINDS = ("match", "ticker", "heartbeat", "subscriptions", "error")
FAULTS = st.builds(
    Fault,
    st.sampled_from(FRAME_KINDS),
    probability=st.floats(0.01, 1),
    times=st.none() | st.integers(1, 5),
)


def frame(kind: str, number: int) -> bytes:
    return msgspec.json.encode(
        {
            "type": kind,
            "last_trade_id": number,
            "product_id": "BTC-USD",
            "time": "2026-01-01T00:00:00.5Z",
        }
    )


def started(faults: list[Fault], seed: int) -> Faults:
    schedule = Faults(faults, side="feed", seed=seed, clock=lambda: 1.0)
    schedule.start()
    return schedule


@given(st.lists(FAULTS, max_size=6), st.lists(st.sampled_from(KINDS), max_size=60), st.integers(0, 1000))
def test_what_goes_out_is_what_came_in_less_the_dropped_and_plus_the_made_up(
    faults: list[Fault], kinds: list[str], seed: int
) -> None:
    # A huge frame of a small size is as good.
    faults = [Fault("huge", bytes=10, times=fault.times) if fault.kind == "huge" else fault for fault in faults]
    schedule = started(faults, seed)
    spoiler = Spoiler(schedule, Random(seed))
    came = [(kind, frame(kind, number)) for number, kind in enumerate(kinds)]
    went = [outgoing for kind, data in came for outgoing in spoiler.spoil(kind, data)]
    counts = Counter(schedule.counts)
    made_up = Counter(outgoing.kind for outgoing in went if outgoing.kind in INVENTIONS)
    schemas = sum(outgoing.data == damage.level3_schema() for outgoing in went)
    assert made_up.total() - schemas == sum(counts[kind] for kind in INVENTIONS)
    held = len(came) - counts["drop"] + counts["duplicate"] - (len(went) - made_up.total())
    assert held in ({0, 1} if counts["reorder"] else {0})
    # What answers the client is never touched.
    answers = [data for kind, data in came if kind in {"subscriptions", "error"}]
    assert [outgoing.data for outgoing in went if outgoing.kind in {"subscriptions", "error"}] == answers
    if not any(counts[kind] for kind in DAMAGES):
        originals = {data for _, data in came}
        assert all(outgoing.data in originals for outgoing in went if outgoing.kind not in INVENTIONS)
    if not counts.total():
        assert [(outgoing.kind, outgoing.data) for outgoing in went] == came


@given(st.integers(-(10**6), 10**6), st.integers(0, 999_999))
def test_a_time_that_moves_there_and_back_is_the_same_and_written_in_the_same_form(offset: int, micros: int) -> None:
    time = timestamp(1_781_524_800_000_000_000 + micros * 1000)
    moved = damage.at_another_time(msgspec.json.encode({"time": time}), offset)
    assert moved is not None
    there = msgspec.json.decode(moved)["time"]
    assert datetime.fromisoformat(there) - datetime.fromisoformat(time) == timedelta(seconds=offset)
    back = damage.at_another_time(moved, -offset)
    assert back is not None
    assert msgspec.json.decode(back)["time"] == time


def test_what_has_no_time_keeps_it_so() -> None:
    assert damage.at_another_time(b'{"type":"error"}', 1.0) is None
    assert damage.at_another_time(b'{"time":null}', 1.0) is None


@given(st.integers(1, 5000))
def test_a_huge_frame_has_its_size(size: int) -> None:
    for is_advanced in (False, True):
        about = damage.Head("BTC-USD", is_advanced)
        data = damage.huge(size, about)
        assert len(data) == max(size, len(damage.huge(1, about)))
        frame = msgspec.json.decode(data)
        assert (frame["events"][0] if is_advanced else frame)["type"] == "snapshot"
        assert damage.head_of(data) == about


def test_there_is_nothing_to_cut_off_a_byte() -> None:
    assert damage.truncated(b"x", Random(1)) is None
    assert damage.truncated(b"xy", Random(1)) == b"x"


def test_garbage_is_the_same_with_the_same_dice() -> None:
    assert [damage.garbage(Random(n)) for n in range(50)] == [damage.garbage(Random(n)) for n in range(50)]
