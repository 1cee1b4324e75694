"""Frames that were lost end a connection whose books need them."""

from __future__ import annotations

import pytest
import reactivex
from reactivex import Subject

from rxbridge.coinbase.continuity import until_frames_are_lost
from rxbridge.errors import ConnectionLost
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import FeedStatistics

URL = "wss://example.org"


def frame(number: int | None) -> Frame:
    content = "{}" if number is None else f'{{"channel":"l2_data","sequence_num":{number},"events":[]}}'
    return Frame(content.encode(), 1, 1, 0)


@pytest.mark.parametrize(
    ("numbers", "emitted", "lost"),
    [
        ([0, 1, 2, 3], 4, 0),
        ([0, 1, 1, 0, 2], 5, 0),
        ([0, None, 1, None, 2], 5, 0),
        ([None, None], 2, 0),
        ([0, 1, 5, 6], 3, 3),
        ([2, 3], 1, 2),
        ([0, 10**17, 1, 3], 4, 1),
    ],
)
def test_a_jump_is_the_end(numbers: list[int | None], emitted: int, lost: int) -> None:
    statistics = FeedStatistics()
    frames: list[Frame] = []
    errors: list[Exception] = []
    source = reactivex.from_iterable(map(frame, numbers))

    source.pipe(until_frames_are_lost(URL, statistics)).subscribe(frames.append, errors.append)

    assert [one.data for one in frames] == [frame(number).data for number in numbers[:emitted]]
    assert statistics.disconnections == len(errors) == bool(lost)
    for error in errors:
        assert isinstance(error, ConnectionLost)
        assert f"{lost} frames were lost" in str(error)


def test_whoever_ended_takes_no_more_and_lets_go_of_the_connection() -> None:
    source = Subject[Frame]()
    frames: list[Frame] = []
    ended = until_frames_are_lost(URL, FeedStatistics())(source)
    ended.subscribe(frames.append, lambda _error: None)

    source.on_next(frame(0))
    source.on_next(frame(2))
    assert not source.observers
    source.on_next(frame(3))

    assert len(frames) == 2


def test_each_subscription_counts_anew() -> None:
    errors: list[Exception] = []
    again = reactivex.from_iterable(map(frame, [0, 1])).pipe(until_frames_are_lost(URL, FeedStatistics()))
    for _ in range(2):
        again.subscribe(on_error=errors.append)

    assert not errors
