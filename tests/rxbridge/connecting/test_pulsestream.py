"""PulseStream as a sink of a notebook, against the embedded server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.subject import Subject

import rxbridge
from rxbridge import PulseStream, connect
from rxbridge.errors import ConfigError, EventRejected, Unauthorized
from rxbridge.messages import Heartbeat, Ticker, Trade
from rxbridge.pulsestream import PulseStreamClient, PulseStreamSink, StoredEvent, stored_events
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator
from tests.ports import free_port

Wait = Callable[..., None]
BEGIN, END = datetime.fromisoformat("2000-01-01T00:00:00"), datetime.fromisoformat("2100-01-01T00:00:00")


@pytest.fixture(autouse=True)
def no_thread_is_left(pulsestream: EmbeddedPulseStream, wait_for: Wait) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    wait_for(lambda: not [one for one in set(threading.enumerate()) - before if one.name.startswith("rxbridge")])


def stored(server: EmbeddedPulseStream, key: str, service: str) -> list[StoredEvent]:
    with PulseStreamClient(server.url, key) as client:
        return list(stored_events(client, service=service, start=BEGIN, end=END))


def test_trades_of_the_feed_are_stored_once_as_the_bridge_would(
    pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> None:
    sink = PulseStream(pulsestream.url, pulsestream_key)
    with Simulator(rate=500) as simulator:
        trades = rxbridge.coinbase.trades(["BTC-USD"], url=simulator.url).pipe(ops.take(250), ops.to_list()).run()
    assert connect(reactivex.from_iterable(trades)).to(sink).wait(60)
    again = PulseStream(pulsestream.url, pulsestream_key)
    assert connect(reactivex.from_iterable(trades)).to(again).wait(60)

    ids = {event.event_id for event in stored(pulsestream, pulsestream_key, "coinbase-exchange")}
    assert ids == {f"coinbase-BTC-USD-match-{trade.trade_id}" for trade in trades}
    assert (sink.statistics().delivered, sink.statistics().already_stored) == (250, 0)
    assert (again.statistics().delivered, again.statistics().already_stored) == (250, 250)
    assert "250 delivered" in repr(sink)
    assert pulsestream_key not in repr(sink)


def test_everything_that_can_be_an_event_is_one_and_the_rest_is_refused(
    pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> None:
    refused: list[tuple[object, Exception]] = []
    sink = PulseStream(pulsestream.url, pulsestream_key, refused=lambda item, error: refused.append((item, error)))
    items: list[Any] = [
        {"signal": "buy", "price": 1.5},
        rxbridge.event("Signal", {"z": 2.5}, event_id="signal-1"),
        Trade(product_id="BTC-USD", trade_id=7, price="1", size="2"),
        Ticker(product_id="BTC-USD", price="1"),
        Heartbeat(),
        object(),
        rxbridge.event("", {}),
    ]
    assert connect(reactivex.from_iterable(items)).to(sink).wait(60)

    assert sink.statistics().delivered == 4
    assert [type(item).__name__ for item, _ in refused] == ["Heartbeat", "object", "CustomEvent"]
    assert sink.refused_items == 3
    mine = stored(pulsestream, pulsestream_key, "rxbridge-pipeline")
    assert len(mine) == 2
    assert "signal-1" in {event.event_id for event in mine}


def test_what_pulsestream_refuses_is_told(pulsestream: EmbeddedPulseStream, pulsestream_key: str) -> None:
    refused: list[Exception] = []
    sink = PulseStream(pulsestream.url, pulsestream_key, refused=lambda _, error: refused.append(error))
    future = rxbridge.event("Signal", {}, timestamp="2999-01-01T00:00:00")
    assert connect(reactivex.of(future, {"good": 1})).to(sink).wait(60)

    assert [type(error) for error in refused] == [EventRejected]
    assert (sink.statistics().delivered, sink.statistics().dead) == (1, 1)


def test_a_server_that_comes_late_is_waited_for(pulsestream_key: str) -> None:
    port = free_port()
    connection = connect(reactivex.of({"a": 1})).to(PulseStream(f"http://127.0.0.1:{port}", pulsestream_key))
    assert not connection.wait(0.2)
    with EmbeddedPulseStream(api_key=pulsestream_key, rate_limit=0, port=port):
        assert connection.wait(60)


def test_disposing_gives_up_a_server_that_is_down(pulsestream_key: str, wait_for: Wait) -> None:
    sink = PulseStream(f"http://127.0.0.1:{free_port()}", pulsestream_key, batch_count=1)
    connection = connect(reactivex.range(0, 1000).pipe(ops.map(lambda number: {"number": number}))).to(sink)
    wait_for(lambda: sink.statistics().failed_requests)
    connection.dispose()
    assert connection.wait(0)


def test_a_key_is_checked_if_one_asks_and_shown_nowhere(pulsestream: EmbeddedPulseStream) -> None:
    wrong = PulseStream(pulsestream.url, "a-wrong-key")
    with pytest.raises(Unauthorized):
        wrong.check()
    wrong.dispose()
    with pytest.raises(ConfigError):
        PulseStream(pulsestream.url, "")
    number: Any = 12345678
    for arguments, named in (((number, "a-key"), "url"), ((pulsestream.url, number), "api_key")):
        with pytest.raises(ConfigError, match=rf"^{named}: is of type int\. give it as text$"):
            PulseStream(*arguments)


def test_one_that_has_ended_is_refused_at_once_and_takes_nothing(
    pulsestream: EmbeddedPulseStream, pulsestream_key: str
) -> None:
    sink = PulseStream(pulsestream.url, pulsestream_key)
    assert connect(reactivex.of({"n": 1})).to(sink).wait(60)

    with pytest.raises(RuntimeError, match="PulseStream, has ended; make another one"):
        connect(reactivex.of({"n": 2}, {"n": 3})).to(sink)
    with pytest.raises(RuntimeError, match="make another one"):
        sink.on_next({"n": 2})
    sink.on_completed()
    assert (sink.statistics().received, sink.statistics().delivered, sink.refused_items) == (1, 1, 0)

    disposed = PulseStream(pulsestream.url, pulsestream_key)
    assert not disposed.is_stopped
    disposed.dispose()
    assert disposed.is_stopped
    with pytest.raises(RuntimeError, match="make another one"):
        disposed.on_next(object())
    assert disposed.refused_items == 0


def test_one_of_two_streams_into_one_sink_fails_when_the_other_has_ended_it(
    pulsestream: EmbeddedPulseStream, pulsestream_key: str, wait_for: Wait
) -> None:
    sink, slow = PulseStream(pulsestream.url, pulsestream_key), Subject[Any]()
    second = connect(slow).to(sink)
    wait_for(lambda: slow.observers)
    assert connect(reactivex.of({"n": 1})).to(sink).wait(60)

    slow.on_next({"n": 2})

    with pytest.raises(RuntimeError, match="make another one"):
        second.wait(60)
    assert second.statistics().handed_over == 0


def test_a_delivery_that_breaks_down_is_no_success(
    pulsestream: EmbeddedPulseStream, pulsestream_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_sink: PulseStreamSink, _events: object) -> None:
        raise ArithmeticError("broken down")

    monkeypatch.setattr(PulseStreamSink, "on_next", break_down)
    sink = PulseStream(pulsestream.url, pulsestream_key, batch_count=1)
    sink.on_next({"n": 1})
    with pytest.raises(ArithmeticError, match="broken down"):
        sink.on_next({"n": 2})
    with pytest.raises(ArithmeticError, match="broken down"):
        sink.on_completed()

    last = connect(reactivex.of({"n": 1})).to(PulseStream(pulsestream.url, pulsestream_key))
    with pytest.raises(ArithmeticError, match="broken down"):
        last.wait(60)
