from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import detect_gaps
from operators.detect_gaps import Gap
from rxbridge.recording import read
from tests.operators.support import Subscriber, join, start

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def of_a(_item: int | None) -> str:
    return "A"


def of_text(_item: str) -> str:
    return "A"


def itself(item: int | None) -> int | None:
    return item


class Told:
    """What the three callbacks were told."""

    def __init__(self) -> None:
        self.found: list[Gap] = []
        self.closed: list[Gap] = []
        self.given_up: list[Gap] = []

    def operator(self, number: Callable[[Any], int | None], key: Callable[[Any], Any], **bounds: Any) -> Any:
        return detect_gaps(
            number,
            key,
            found=self.found.append,
            closed=self.closed.append,
            given_up=self.given_up.append,
            **bounds,
        )


def run(items: list[int | None], **bounds: int) -> tuple[Told, list[int | None]]:
    told, got = Told(), list[int | None]()
    reactivex.from_iterable(items).pipe(told.operator(itself, of_a, **bounds)).subscribe(got.append)
    return told, got


def numbers(gaps: list[Gap]) -> list[int]:
    return [number for gap in gaps for number in range(gap.first, gap.last + 1)]


def test_what_is_left_out_is_found_and_what_comes_late_closes_its_part(clock: TestScheduler) -> None:
    told = Told()
    marbles = [on_next(210 + 10 * place, number) for place, number in enumerate([1, 2, 6, 7, 4, 3, 5, 8])]
    source = clock.create_hot_observable(*marbles, on_completed(300))

    result = clock.start(lambda: source.pipe(told.operator(itself, of_a)))

    assert result.messages == [*marbles, on_completed(300)]
    assert source.subscriptions == [subscribe(200, 300)]
    assert told.found == [Gap("A", 3, 5)]
    assert [len(gap) for gap in told.found] == [3]
    assert numbers(told.closed) == [4, 3, 5]
    assert told.given_up == []


def test_the_gap_is_told_before_the_item_that_shows_it() -> None:
    order: list[object] = []
    reactivex.of(1, 3).pipe(detect_gaps(itself, of_a, found=order.append)).subscribe(order.append)

    assert order == [1, Gap("A", 2, 2), 3]


def test_keys_have_rows_of_their_own() -> None:
    told = Told()
    items = [("A", 1), ("B", 7), ("A", 2), ("B", 9), ("A", 3)]
    reactivex.from_iterable(items).pipe(told.operator(lambda item: item[1], lambda item: item[0])).subscribe()

    assert told.found == [Gap("B", 8, 8)]


def test_repeats_and_what_is_from_before_the_row_change_nothing() -> None:
    told, got = run([5, 3, 5, 8, 6, 6, 8, None, 1, 9])

    assert got == [5, 3, 5, 8, 6, 6, 8, None, 1, 9]
    assert (told.found, numbers(told.closed), told.given_up) == ([Gap("A", 6, 7)], [6], [])


def test_of_too_many_gaps_the_lowest_is_given_up_and_closes_no_more() -> None:
    told, _ = run([1, 3, 5, 7, 2, 4], most_gaps=2)

    assert told.found == [Gap("A", 2, 2), Gap("A", 4, 4), Gap("A", 6, 6)]
    assert told.given_up == [Gap("A", 2, 2)]
    assert numbers(told.closed) == [4]


def test_a_gap_that_falls_into_too_many_pieces_loses_the_lowest() -> None:
    told, _ = run([1, 10, 5], most_gaps=1)

    assert told.given_up == [Gap("A", 2, 4)]


def test_the_gaps_of_a_forgotten_key_are_given_up() -> None:
    told = Told()
    items = [("A", 1), ("A", 3), ("B", 1), ("C", 1), ("A", 9)]
    operator = told.operator(lambda item: item[1], lambda item: item[0], most_keys=2)
    reactivex.from_iterable(items).pipe(operator).subscribe()

    assert told.given_up == told.found == [Gap("A", 2, 2)]


def test_each_subscription_has_rows_of_its_own() -> None:
    told = Told()
    items = reactivex.of(1, 3).pipe(told.operator(itself, of_a))

    items.subscribe()
    items.subscribe()

    assert told.found == [Gap("A", 2, 2)] * 2


def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription(clock: TestScheduler) -> None:
    lost = on_error(220, OSError("lost"))
    source = clock.create_hot_observable(on_next(210, 1), lost)
    assert clock.start(lambda: source.pipe(Told().operator(itself, of_a))).messages == [on_next(210, 1), lost]

    other = TestScheduler()
    quiet = other.create_hot_observable(on_next(210, 1), on_next(240, 2))
    result = other.start(lambda: quiet.pipe(Told().operator(itself, of_a)), disposed=230)
    assert result.messages == [on_next(210, 1)]
    assert quiet.subscriptions == [subscribe(200, 230)]


@pytest.mark.parametrize("which", ["number", "key", "found", "closed", "given_up"])
def test_what_a_function_raises_is_an_error(which: str) -> None:
    refused = OSError("refused")

    def refuse(_argument: object) -> Any:
        raise refused

    functions: dict[str, Any] = {"number": itself, "key": of_a, "found": len, "closed": len, "given_up": len}
    functions[which] = refuse
    source, got = Subject[int](), Subscriber[int]()
    source.pipe(detect_gaps(**functions, most_gaps=1)).subscribe(got)

    for item in (1, 3, 2, 5, 7):
        source.on_next(item)

    assert got.ends == [refused]
    assert source.observers == []


@pytest.mark.parametrize("bound", ["most_gaps", "most_keys"])
def test_the_bounds_must_be_positive(bound: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        Told().operator(itself, of_a, **{bound: 0})


def test_numbers_are_read_from_text_as_messages_have_it() -> None:
    told, failed, got = Told(), list[Any](), list[Any]()
    operator = detect_gaps(itself, of_a, found=told.found.append, failed=lambda item, _: failed.append(item))
    items: list[Any] = ["7", 9, "11", 12.0, "x", 13.5, None, 13]
    reactivex.from_iterable(items).pipe(operator).subscribe(got.append)

    assert told.found == [Gap("A", 8, 8), Gap("A", 10, 10)]
    assert failed == ["x", 13.5]
    assert got == items


def test_what_failed_raises_is_an_error() -> None:
    refused, got, source = OSError("refused"), Subscriber[str](), Subject[str]()

    def failed(_item: str, _error: Exception) -> None:
        raise refused

    source.pipe(detect_gaps(lambda item: item, of_text, found=lambda _: None, failed=failed)).subscribe(got)
    source.on_next("x")

    assert (got.items, got.ends) == ([], [refused])
    assert source.observers == []


# Laws.


@unhurried
@given(items=st.lists(st.integers(0, 40)), most_gaps=st.integers(1, 5) | st.just(1_000))
def test_what_is_found_is_closed_given_up_or_still_missing(items: list[int], most_gaps: int) -> None:
    told, got = run(list(items), most_gaps=most_gaps)
    found, closed, given_up = (sorted(numbers(gaps)) for gaps in (told.found, told.closed, told.given_up))

    assert got == items
    assert len(found) == len(set(found))
    highest, jumped = (items[0] if items else 0), set[int]()
    for item in items:
        jumped.update(range(highest + 1, item))
        highest = max(highest, item)
    assert set(found) == jumped
    assert len(closed) == len(set(closed))
    assert not set(closed) & set(given_up)
    assert set(closed) | set(given_up) <= jumped
    still_open = jumped - set(closed) - set(given_up)
    assert still_open == jumped - set(items) - set(given_up)


@unhurried
@given(data=st.data(), size=st.integers(1, 30))
def test_the_order_of_what_comes_late_does_not_matter(data: st.DataObject, size: int) -> None:
    late = data.draw(st.permutations(range(1, size)))

    told, _ = run([0, size, *late])

    assert sorted(numbers(told.closed)) == list(range(1, size)) == numbers(told.found)
    assert told.given_up == []


# Threads and recordings.


@pytest.mark.usefixtures("frequent_switches")
def test_sources_on_threads_of_their_own_have_their_rows() -> None:
    sources = [Subject[tuple[int, int]]() for _ in range(4)]
    told, got = Told(), Subscriber[Any]()
    reactivex.merge(*sources).pipe(told.operator(lambda item: item[1], lambda item: item[0])).subscribe(got)

    def produce(key: int) -> None:
        for number in range(0, 1_000, 2):
            sources[key].on_next((key, number))
        sources[key].on_completed()

    join(*start(*[partial(produce, key) for key in range(4)]))

    assert len(got.items) == 2_000
    assert len(told.found) == 4 * 499
    assert all(gap.first == gap.last for gap in told.found)


class Match(msgspec.Struct):
    trade_id: str
    product_id: str


class Event(msgspec.Struct):
    trades: list[Match] = []


class Wire(msgspec.Struct):
    channel: str = ""
    events: list[Event] = []


def test_the_gaps_of_a_recording_are_those_of_a_look_at_all_its_trades(real_recording: Callable[[str], Path]) -> None:
    wires = (msgspec.json.decode(frame.data, type=Wire) for frame in read(real_recording("advanced-2026")))
    matches = [
        match for wire in wires if wire.channel == "market_trades" for one in wire.events for match in one.trades
    ]
    told = Told()
    reactivex.from_iterable(matches).pipe(
        told.operator(lambda match: int(match.trade_id), lambda match: match.product_id)
    ).subscribe()

    ids: dict[str, list[int]] = {}
    for match in matches:
        ids.setdefault(match.product_id, []).append(int(match.trade_id))
    missing = {(product, number) for product, own in ids.items() for number in set(range(own[0], max(own))) - set(own)}
    found = {(gap.key, number) for gap in told.found for number in range(gap.first, gap.last + 1)}
    assert found - {(gap.key, gap.first) for gap in told.closed} == missing
    assert told.closed  # each frame has the newest trade first
