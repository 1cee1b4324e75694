"""Any Observable to any sink: what arrives, what is counted, and where a failure is seen."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_type

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase
from reactivex.subject import Subject

from rxbridge import connect
from rxbridge.connecting import Connection, Rows
from rxbridge.messages import Frame, Ticker

Wait = Callable[..., None]


@pytest.fixture(autouse=True)
def no_thread_is_left(wait_for: Wait) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    wait_for(lambda: set(threading.enumerate()) <= before)


class Gate(ObserverBase[Any], DisposableBase):
    """A sink that blocks until it is let go."""

    def __init__(self) -> None:
        self.began, self.open = threading.Event(), threading.Event()
        self.told: list[Any] = []
        self.disposed = 0

    def on_next(self, value: Any) -> None:
        self.began.set()
        assert self.open.wait(30)
        self.told.append(value)

    def on_error(self, error: Exception) -> None:
        self.told.append(error)

    def on_completed(self) -> None:
        self.told.append("completed")

    def dispose(self) -> None:
        self.disposed += 1
        self.open.set()


def failing_after(*items: int) -> Observable[int]:
    return reactivex.concat(reactivex.of(*items), reactivex.throw(ValueError("the source")))


def test_a_list_gets_everything_in_order() -> None:
    found: list[int] = []
    connection = connect(reactivex.range(0, 5000)).to(found, buffer=7)

    assert_type(connection, Connection[int])
    assert connection.wait(30)
    assert found == list(range(5000))
    now = connection.statistics()
    assert (now.state, now.received, now.handed_over, now.waiting, now.dropped) == ("completed", 5000, 5000, 0, 0)


def test_it_returns_at_once_and_the_sink_has_a_thread_of_its_own() -> None:
    threads: list[str] = []
    gate = Gate()
    connection = connect(reactivex.of(1)).to(gate)
    assert gate.began.wait(30)
    assert connection.statistics().waiting == 1
    assert not connection.wait(0)
    gate.open.set()
    assert connection.wait(30)
    assert gate.told == [1, "completed"]

    connect(reactivex.of(1)).to(lambda _: threads.append(threading.current_thread().name)).wait(30)
    assert threads == ["rxbridge-connection"]


def test_what_the_source_fails_with_is_raised_after_what_it_has_emitted(log: list[str]) -> None:
    found: list[int] = []
    connection = connect(failing_after(1, 2)).to(found)

    with pytest.raises(ValueError, match="the source"):
        connection.wait(30)
    with pytest.raises(ValueError, match="the source"):
        connection.stop()
    assert found == [1, 2]
    assert "failed: ValueError: the source" in repr(connection)
    assert [line for line in log if line.startswith("ERROR [FAILED]") and "the source" in line]


def test_what_the_sink_raises_ends_the_source_and_is_raised(wait_for: Wait) -> None:
    subject, disposed = Subject[int](), threading.Event()

    def refuse(item: int) -> None:
        raise OSError(f"no room for {item}")

    source = subject.pipe(ops.finally_action(disposed.set))
    connection = connect(source).to(refuse)
    wait_for(lambda: subject.observers)
    subject.on_next(7)
    with pytest.raises(OSError, match="no room for 7"):
        connection.wait(30)
    assert disposed.wait(30)


def leave(_item: int) -> None:
    sys.exit(4)


@pytest.mark.parametrize("of_the_source", [False, True])
def test_who_leaves_by_sys_exit_is_heard_of(*, of_the_source: bool) -> None:
    source = Subject[int]() if not of_the_source else reactivex.of(1).pipe(ops.do_action(leave))
    connection = connect(source).to([].append if of_the_source else leave)
    if isinstance(source, Subject):
        while connection.statistics().handed_over == 0 and connection.failure is None:
            source.on_next(1)

    with pytest.raises(SystemExit):
        connection.wait(30)

    assert connection.statistics().state == "failed"


def test_the_end_of_a_block_shows_a_failure_but_hides_none(wait_for: Wait) -> None:
    connection = connect(failing_after()).to([])
    wait_for(lambda: connection.failure)
    with pytest.raises(ValueError, match="the source"), connection:
        pass
    with pytest.raises(KeyError), connect(failing_after()).to([]):
        raise KeyError


def test_stop_delivers_what_is_in_hand(wait_for: Wait) -> None:
    gate, subject = Gate(), Subject[int]()
    with connect(subject).to(gate) as connection:
        wait_for(lambda: subject.observers)
        for number in range(5):
            subject.on_next(number)
        gate.open.set()
    assert gate.told == [0, 1, 2, 3, 4, "completed"]
    assert connection.statistics().state == "stopped"
    assert not subject.observers


def test_a_stop_that_takes_too_long_drops_and_says_so(wait_for: Wait) -> None:
    gate, subject = Gate(), Subject[int]()
    connection = connect(subject).to(gate)
    wait_for(lambda: subject.observers)
    for number in range(5):
        subject.on_next(number)
    assert gate.began.wait(30)
    assert not connection.stop(0.01)
    now = connection.statistics()
    assert (now.state, now.received, now.handed_over, now.dropped) == ("disposed", 5, 0, 5)
    assert gate.disposed


def test_a_stop_that_does_not_let_the_sink_finish_does_not_say_that_all_was_delivered(wait_for: Wait) -> None:
    class Finishing(Gate):
        def on_next(self, value: Any) -> None:
            self.told.append(value)

        def on_completed(self) -> None:
            self.began.set()
            assert self.open.wait(30)

    sink = Finishing()
    connection = connect(reactivex.of(1, 2)).to(sink)
    wait_for(sink.began.is_set)

    assert connection.stop(0.05) is False

    assert connection.statistics().state == "disposed"


def test_disposing_lets_a_source_go_that_is_held_back() -> None:
    gate = Gate()
    connection = connect(reactivex.from_iterable(itertools.count())).to(gate, buffer=3)
    assert gate.began.wait(30)
    connection.dispose()
    connection.dispose()
    assert connection.wait(0)
    assert repr(connection).startswith("<Connection to Gate, disposed; ")


def test_a_full_queue_may_drop_the_oldest(wait_for: Wait) -> None:
    gate = Gate()
    connection = connect(reactivex.range(0, 100)).to(gate, buffer=10, overflow="drop_oldest")
    wait_for(lambda: connection.statistics().received == 100)
    gate.open.set()
    assert connection.wait(30)
    now = connection.statistics()
    assert gate.told[-11:] == [*range(90, 100), "completed"]
    assert (now.received, now.handed_over + now.dropped) == (100, 100)
    assert now.dropped >= 89


def test_a_source_that_raises_when_it_is_subscribed_to_fails() -> None:
    def subscribe(_observer: object, _scheduler: object = None) -> DisposableBase:
        raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        connect(Observable[int](subscribe)).to([]).wait(30)


def test_what_cannot_be_used_is_refused_at_once() -> None:
    never: Any = connect(reactivex.never())
    for options, expected in (({"buffer": 0}, ValueError), ({"overflow": "x"}, ValueError)):
        with pytest.raises(expected):
            never.to([], **options)
    with pytest.raises(TypeError, match="not int"):
        never.to(7)


@pytest.mark.parametrize("source", [3, [1, 2], len, None])
def test_what_is_no_observable_is_refused_before_anything_begins(source: Any) -> None:
    with pytest.raises(TypeError, match=f"connect takes an Observable, not {type(source).__name__}: "):
        connect(source)


def test_a_source_that_cannot_even_be_piped_fails() -> None:
    class Unusable(Observable[int]):
        def pipe(self, *_operators: Any) -> Any:
            raise RuntimeError("no pipe")

    with pytest.raises(RuntimeError, match="no pipe"):
        connect(Unusable()).to([]).wait(30)


def test_an_observer_of_the_library_that_has_ended_is_refused_and_swallows_nothing(wait_for: Wait) -> None:
    found: list[int] = []
    observer, source = reactivex.Observer[int](found.append), Subject[int]()
    running = connect(source).to(observer)
    wait_for(lambda: source.observers)
    assert connect(reactivex.of(1)).to(observer).wait(30)

    with pytest.raises(RuntimeError, match="of type Observer, has ended; make another one"):
        connect(reactivex.of(2)).to(observer)
    source.on_next(3)
    with pytest.raises(RuntimeError, match="of type Observer, has ended; make another one"):
        running.wait(30)
    assert found == [1]


def test_rows_go_on_growing_in_a_second_connection() -> None:
    rows = Rows()
    for number in range(2):
        connection = connect(reactivex.of(number)).to(rows)
        assert connection.wait(30)
        assert connection.statistics().handed_over == 1
    assert list(rows) == [{"value": 0}, {"value": 1}]


def test_rows_are_a_table_of_whatever_comes() -> None:
    class Pair(NamedTuple):
        a: int

    @dataclass
    class Point:
        x: int

    rows = Rows(most=5)
    ticker = Ticker(product_id="BTC-USD", price="1.50", frame=Frame(b"", 9, 1, 0))
    connect(reactivex.of(0, {"a": 1}, Pair(2), Point(3), ticker, "<b>")).to(rows).wait(30)

    assert len(rows) == 5
    assert list(rows)[:3] == [{"a": 1}, {"a": 2}, {"x": 3}]
    assert rows[3]["price"] == "1.50"
    assert rows[3]["received_at"] == 9
    assert rows[-1:] == [{"value": "<b>"}]
    assert rows.columns()["a"] == [1, 2, None, None, None]
    assert "<b>" not in rows._repr_html_()
    assert "&lt;b&gt;" in rows._repr_html_()
