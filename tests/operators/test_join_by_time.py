from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import join_by_time
from operators.join_by_time import Joined, JoinOverflow
from rxbridge.recording import read
from tests.operators.support import Subscriber, join, start, wait_until_held_back

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Item(NamedTuple):
    key: str
    time: int
    number: int = 0


def time_of(item: Item) -> int:
    return item.time * 1_000_000_000


def key_of(item: Item) -> str:
    return item.key


def as_of(right: Observable[Item], **options: Any) -> Callable[[Observable[Item]], Observable[Joined[Item, Item]]]:
    arguments: dict[str, Any] = {"time": time_of, "key": key_of} | options
    return join_by_time(right, **arguments)


class Joining:
    """A join of two streams that the test feeds."""

    def __init__(self, **options: Any) -> None:
        self.left, self.right = Subject[Item](), Subject[Item]()
        self.got = Subscriber[Any]()
        self.late: list[Item] = []
        self.subscription = self.left.pipe(as_of(self.right, **{"late": self.late.append} | options)).subscribe(
            self.got
        )

    @property
    def pairs(self) -> list[tuple[Item, Item | None]]:
        return [tuple(pair) for pair in self.got.items]


def a(time: int, number: int = 0) -> Item:
    return Item("A", time, number)


def b(time: int) -> Item:
    return Item("B", time)


def test_a_left_item_waits_until_the_right_stream_has_gone_past_its_time(clock: TestScheduler) -> None:
    left = clock.create_hot_observable(on_next(230, a(3)), on_next(250, a(7)), on_completed(270))
    right = clock.create_hot_observable(
        on_next(210, a(1)), on_next(240, a(4)), on_next(260, a(7)), on_next(280, b(9)), on_next(290, a(10))
    )

    result = clock.start(lambda: left.pipe(as_of(right, lateness=0)))

    assert result.messages == [on_next(240, (a(3), a(1))), on_next(280, (a(7), a(7))), on_completed(280)]
    assert left.subscriptions == [subscribe(200, 270)]
    assert right.subscriptions == [subscribe(200, 280)]


def test_with_lateness_it_waits_for_so_much_longer() -> None:
    joining = Joining(lateness=2)
    joining.right.on_next(a(1))
    joining.left.on_next(a(3))
    joining.right.on_next(a(5))
    assert joining.pairs == []
    joining.right.on_next(a(3, 1))
    joining.right.on_next(b(6))

    assert joining.pairs == [(a(3), a(3, 1))]
    assert joining.late == []


def test_what_is_older_than_lateness_is_late_on_either_side() -> None:
    joining = Joining(lateness=2)
    for item in (a(10), a(8), a(7)):
        joining.left.on_next(item)
    for item in (a(20), a(18), a(17)):
        joining.right.on_next(item)

    assert joining.late == [a(7), a(17)]
    assert joining.pairs == [(a(10), None), (a(8), None)]


def test_a_right_item_older_than_the_tolerance_does_not_count() -> None:
    joining = Joining(lateness=0, tolerance=2)
    joining.right.on_next(a(1))
    joining.left.on_next(a(3))
    joining.left.on_next(a(4))
    joining.right.on_completed()

    assert joining.pairs == [(a(3), a(1)), (a(4), None)]


def test_of_right_items_of_one_time_the_last_counts() -> None:
    joining = Joining(lateness=0)
    joining.right.on_next(a(1, 1))
    joining.right.on_next(a(1, 2))
    joining.left.on_next(a(1))
    joining.right.on_next(a(1, 3))
    joining.right.on_completed()

    assert joining.pairs == [(a(1), a(1, 3))]


def test_when_the_right_stream_is_complete_nothing_waits() -> None:
    joining = Joining()
    joining.left.on_next(a(3))
    joining.right.on_completed()
    joining.left.on_next(a(4))
    joining.left.on_completed()

    assert joining.pairs == [(a(3), None), (a(4), None)]
    assert joining.got.ends == [None]


@pytest.mark.parametrize("side", ["left", "right"])
def test_before_an_error_what_waits_is_joined_with_what_has_come(side: str) -> None:
    joining, lost = Joining(), OSError("lost")
    joining.right.on_next(a(1))
    joining.left.on_next(a(3))
    getattr(joining, side).on_error(lost)

    assert joining.pairs == [(a(3), a(1))]
    assert joining.got.ends == [lost]
    assert joining.left.observers == joining.right.observers == []


def test_disposing_drops_what_waits_and_ends_both_subscriptions() -> None:
    joining = Joining()
    joining.left.on_next(a(3))
    joining.subscription.dispose()
    joining.right.on_completed()

    assert (joining.pairs, joining.got.ends) == ([], [])
    assert joining.left.observers == joining.right.observers == []


def test_a_left_item_too_many_is_the_streams_error_or_is_told() -> None:
    strict, over = Joining(most_held=2), list[Item]()
    lenient = Joining(most_held=2, overflowed=over.append)
    for joining in (strict, lenient):
        for time in (1, 2, 3):
            joining.left.on_next(a(time))
        joining.right.on_completed()

    assert strict.pairs == lenient.pairs == [(a(1), None), (a(2), None)]
    assert [type(end) for end in strict.got.ends] == [JoinOverflow]
    assert over == [a(3)]
    assert lenient.got.ends == []


def test_a_right_item_too_many_is_the_streams_error_or_is_told() -> None:
    strict, over = Joining(most_held=2), list[Item]()
    lenient = Joining(most_held=2, overflowed=over.append)
    for joining in (strict, lenient):
        for time in (1, 2, 3):
            joining.right.on_next(a(time))
        joining.left.on_next(a(9))
        joining.right.on_completed()

    assert [type(end) for end in strict.got.ends] == [JoinOverflow]
    assert over == [a(3)]
    assert lenient.pairs == [(a(9), a(2))]


def test_what_no_left_item_needs_any_more_makes_room() -> None:
    joining = Joining(most_held=3, lateness=0)
    for time in range(1_000):
        joining.right.on_next(Item(f"{time % 2}", 2 * time))
        joining.left.on_next(Item(f"{time % 2}", 2 * time + 1))
    joining.right.on_completed()

    assert len(joining.pairs) == 1_000
    assert all(right is not None and right.time == left.time - 1 for left, right in joining.pairs)


def test_with_a_tolerance_products_that_went_quiet_make_room() -> None:
    joining = Joining(most_held=5, lateness=0, tolerance=3)
    for time in range(100):
        joining.right.on_next(Item(f"{time}", time))
        joining.left.on_next(Item(f"{time}", time))
    joining.right.on_completed()

    assert [right for _, right in joining.pairs] == [left for left, _ in joining.pairs]
    assert len(joining.pairs) == 100


@pytest.mark.parametrize("which", ["time", "key", "late"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_what_a_function_raises_is_an_error(which: str, side: str) -> None:
    refused = OSError("refused")

    def refuse(_item: Item) -> Any:
        raise refused

    joining = Joining(lateness=0, **{which: refuse})
    getattr(joining, side).on_next(a(9))
    getattr(joining, side).on_next(a(1))

    assert joining.got.ends == [refused]
    assert joining.left.observers == joining.right.observers == []


def test_what_a_subscriber_raises_goes_to_its_own_on_error() -> None:
    left, right, ends, failure = Subject[Item](), Subject[Item](), list[Exception](), ValueError("no display")

    def on_item(_pair: object) -> None:
        raise failure

    left.pipe(as_of(right)).subscribe(on_item, ends.append)
    left.on_next(a(1))
    right.on_completed()

    assert ends == [failure]
    assert left.observers == []


def test_a_subscriber_may_push_into_either_stream_within_its_call() -> None:
    left, right, got = Subject[Item](), Subject[Item](), list[Any]()

    def on_item(pair: Any) -> None:
        got.append(tuple(pair))
        if pair.left == a(1):
            left.on_next(a(2))
            right.on_next(a(5))

    left.pipe(as_of(right, lateness=0)).subscribe(on_item)
    left.on_next(a(1))
    right.on_next(a(2))
    right.on_next(a(3))

    assert got == [(a(1), None), (a(2), a(2))]


@pytest.mark.parametrize("wrong", [{"most_held": 0}, {"lateness": -1}, {"tolerance": -1}])
def test_the_arguments_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="negative"):
        as_of(Subject[Item](), **wrong)


def test_an_item_without_a_time_is_an_error_or_goes_to_failed() -> None:
    failed: list[Any] = []

    def time(item: Item) -> str | None:
        return None if item.time < 0 else f"2026-01-01T00:00:{item.time:02}.000000001Z"

    strict = Joining(time=time)
    lenient = Joining(time=time, failed=lambda item, _: failed.append(item))
    for joining in (strict, lenient):
        joining.right.on_next(a(1))
        joining.right.on_next(a(-1))
        joining.left.on_next(a(2))
        joining.left.on_next(a(-2))
        joining.right.on_completed()

    assert (strict.pairs, [type(end) for end in strict.got.ends]) == ([], [TypeError])
    assert lenient.pairs == [(a(2), a(1))]
    assert failed == [a(-1), a(-2)]


# Laws.

items = st.lists(st.builds(Item, st.sampled_from("AB"), st.integers(0, 12)), max_size=25)


def accepted(sent: Sequence[Item], lateness: int) -> tuple[list[Item], list[Item]]:
    """Which of a stream's items are not late, and which are."""
    newest, taken, late = -100, list[Item](), list[Item]()
    for item in sent:
        (late if item.time < newest - lateness else taken).append(item)
        newest = max(newest, item.time)
    return taken, late


def joined(left: Sequence[Item], right: Sequence[Item], tolerance: int | None) -> list[tuple[Item, Item | None]]:
    """By the definition."""
    by_time = sorted(right, key=lambda item: item.time)  # which is stable

    def partner(item: Item) -> Item | None:
        older = [other for other in by_time if other.key == item.key and other.time <= item.time]
        fits = older and (tolerance is None or item.time - older[-1].time <= tolerance)
        return older[-1] if fits else None

    return [(item, partner(item)) for item in left]


@unhurried
@given(
    left=items,
    right=items,
    interleaving=st.randoms(use_true_random=False),
    lateness=st.integers(0, 4),
    tolerance=st.none() | st.integers(0, 5),
)
def test_the_result_is_by_definition_for_every_interleaving(
    left: list[Item], right: list[Item], interleaving: Any, lateness: int, tolerance: int | None
) -> None:
    left = [item._replace(number=place) for place, item in enumerate(left)]
    right = [item._replace(number=1_000 + place) for place, item in enumerate(right)]  # so that no left item equals one
    joining = Joining(lateness=lateness, tolerance=tolerance)
    moves = [joining.left] * (len(left) + 1) + [joining.right] * (len(right) + 1)
    interleaving.shuffle(moves)
    streams = {id(joining.left): iter(left), id(joining.right): iter(right)}

    for stream in moves:
        item = next(streams[id(stream)], None)
        if item is None:
            stream.on_completed()
        else:
            stream.on_next(item)

    in_time_left, late_left = accepted(left, lateness)
    in_time_right, late_right = accepted(right, lateness)
    assert joining.pairs == joined(in_time_left, in_time_right, tolerance)
    assert [item for item in joining.late if item in late_left] == late_left
    # The right stream is not listened to any more when all is joined.
    told_right = [item for item in joining.late if item not in late_left]
    assert told_right == late_right[: len(told_right)]
    assert joining.got.ends == [None]


# Threads and recordings.


@pytest.mark.usefixtures("frequent_switches")
def test_two_threads_give_the_result_of_one() -> None:
    left = [Item("AB"[time % 2], time, 1) for time in range(1_500)]
    right = [Item("AB"[time % 3 % 2], time, 2) for time in range(0, 1_500, 2)]
    joining = Joining(lateness=0)

    def feed(stream: Subject[Item], sent: Sequence[Item]) -> None:
        for item in sent:
            stream.on_next(item)
        stream.on_completed()

    join(*start(partial(feed, joining.left, left), partial(feed, joining.right, right)))

    assert joining.pairs == joined(left, right, None)
    assert (joining.got.ends, joining.got.overlaps, joining.late) == ([None], 0, [])


def test_a_slow_subscriber_holds_both_streams_back() -> None:
    joining = Joining(lateness=0)
    joining.got.block()
    joining.left.on_next(a(1))
    (first,) = start(lambda: joining.right.on_next(a(2)))
    joining.got.wait_until(lambda: joining.got.inside == 1)
    (second,) = start(lambda: joining.left.on_next(a(1, 1)))
    wait_until_held_back(second)
    joining.got.release()
    join(first, second)

    assert joining.pairs == [(a(1), None), (a(1, 1), None)]
    assert joining.got.overlaps == 0


class Message(msgspec.Struct):
    type: str = ""
    product_id: str = ""
    time: str = ""
    price: str = ""
    trade_id: int = 0


def test_the_tickers_of_a_recording_as_of_its_matches(real_recording: Callable[[str], Path]) -> None:
    messages = [msgspec.json.decode(frame.data, type=Message) for frame in read(real_recording("exchange-2021"))]
    matches = [message for message in messages if message.type in {"match", "last_match"}]
    tickers = [message for message in messages if message.type == "ticker" and message.time]
    got: list[Any] = []
    left, right = Subject[Message](), Subject[Message]()

    def microseconds(message: Message) -> int:
        moment = msgspec.convert(message.time, type=datetime)
        return round(moment.timestamp() * 1e6) * 1_000

    left.pipe(join_by_time(right, time=microseconds, key=lambda message: message.product_id, lateness=10**9)).subscribe(
        got.append
    )
    for message in messages:
        if message in matches:
            left.on_next(message)
        elif message in tickers:
            right.on_next(message)
    right.on_completed()

    def newest(match: Message) -> Message | None:
        older = [one for one in tickers if one.product_id == match.product_id and one.time <= match.time]
        return max(older, key=lambda one: one.time, default=None)

    assert len(got) == len(matches) > 10
    for pair in got:
        expected = newest(pair.left)
        assert (pair.right and pair.right.time) == (expected and expected.time)
