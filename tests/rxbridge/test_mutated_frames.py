"""Real frames of both feeds, changed in every place: stored as they came, counted, and never the end of anything."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.backfill.follower import Follower
from rxbridge.backfill.state import State
from rxbridge.books import Books
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import DeadLetter, MemoryJournal
from rxbridge.messages import Frame
from rxbridge.pipeline import events
from rxbridge.recording import read
from rxbridge.telemetry.statistics import DeliveryStatistics

CHANNELS = ("ticker", "matches", "candles", "level2", "status", "auctionfeed")
RULES = EventRules(book_depth=3, book_seconds=0.001)
_LARGEST = 20_000
_KINDS = 40
"""Of each kind and length of frame so many: a recording is mostly the same ones."""

_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**70, 1.5, -1e300, "", "0", "-1", "1e999999", "NaN", "\x00", "\ud800", "é" * 200),
    *("ticker", "match", "l2_data", "snapshot", "BTC-USD", "2026-13-45T99:00:00Z", [], [None], [[]], {}, {"type": 1}),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything within a value, but for what stands far down in long lists."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:3]):
            found += _places(inner, (*path, index))
    return found


def _changed(random: Random, value: Any) -> Any:
    """The value with one thing in it replaced, removed, renamed, added or repeated."""
    path = random.choice(_places(value))
    if not path:
        return copy.deepcopy(random.choice(_ODD)) if random.random() < 0.1 else value
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    odd = copy.deepcopy(random.choice(_ODD))
    match random.choice(["replace", "remove", "rename", "add", "repeat"]):
        case "remove":
            del holder[path[-1]]
        case "rename" if isinstance(holder, dict):
            holder[random.choice(["", "new", "price", "type", "events"])] = holder.pop(path[-1])
        case "add" if isinstance(holder, dict):
            holder[random.choice(["new", "product_id", "channel", "updates"])] = odd
        case "repeat" if isinstance(holder, list):
            holder += [copy.deepcopy(holder[path[-1]])] * 3
        case _:
            holder[path[-1]] = odd
    return value


def _made_odd(original: bytes, times: int, seed: int) -> bytes:
    value, random = json.loads(original), Random(seed)
    for _ in range(times):
        value = _changed(random, value)
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.fixture(scope="module")
def real_frames(real_recording: Callable[[str], Path]) -> Callable[[int], bytes]:
    """Gives the frame of a number, any number."""
    chosen: dict[tuple[bytes, int], list[bytes]] = {}
    for name in ("exchange-2021", "advanced-2026"):
        for frame in read(real_recording(name)):
            if len(frame.data) < _LARGEST:
                chosen.setdefault((frame.data[:30], len(frame.data) // 200), []).append(frame.data)
    every = [data for frames in chosen.values() for data in frames[:_KINDS]]
    return lambda number: every[number % len(every)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.integers(0, 2**32)), min_size=1, max_size=6))
def test_what_is_changed_is_stored_counted_and_the_end_of_nothing(
    real_frames: Callable[[int], bytes], choices: list[tuple[int, int, int]]
) -> None:
    contents = [_made_odd(real_frames(which), times, seed) for which, times, seed in choices]
    frames = [Frame(one, 1_700_000_000 * 10**9 + at * 10**6, 1000, at) for at, one in enumerate(contents)]

    with MemoryJournal() as journal:
        for frame in frames:
            journal.append(frame)
        assert journal.flush(10.0)
        stored = journal.read(0, 1000)
    made: list[EncodedEvent] = []
    letters: list[DeadLetter] = []
    errors: list[Exception] = []
    statistics = DeliveryStatistics()
    chain = events(
        channels=CHANNELS, rules=RULES, statistics=statistics, dead_letter=letters.append, kept_books=Books(RULES)
    )
    reactivex.from_iterable(stored).pipe(chain).subscribe(made.append, errors.append)
    follower = Follower(
        State(), products=["BTC-USD"], channels=["ticker", "level2"], quoted=["BTC-USD"], grace_seconds=0
    )
    follower.follow(stored, 0.0)

    assert [frame.data for frame in stored] == contents
    assert errors == []
    assert statistics.received == len(made) + len(letters)
    assert statistics.received + statistics.ignored + statistics.repeated >= len(frames)
    assert all(letter.content in contents for letter in letters)
    assert len({event.event_id for event in made}) == len(made)
    assert follower.offset == len(frames)


@pytest.mark.parametrize(
    "content",
    [
        {"type": "brand_new", "product_id": "BTC-USD"},
        {
            "channel": "brand_new",
            "client_id": "",
            "timestamp": "2026-01-31T08:00:00Z",
            "sequence_num": 7,
            "events": [{}],
        },
        {"neither": "type nor channel"},
    ],
)
def test_what_nobody_knows_is_counted(content: dict[str, Any]) -> None:
    statistics, letters = DeliveryStatistics(), list[DeadLetter]()
    chain = events(channels=CHANNELS, rules=RULES, statistics=statistics, dead_letter=letters.append)
    frame = Frame(json.dumps(content, separators=(",", ":")).encode(), 1_700_000_000 * 10**9, 1000, 0, 1)
    reactivex.of(frame).pipe(chain).subscribe()

    assert (statistics.unknown, statistics.ignored, statistics.received, letters) == (1, 1, 0, [])
