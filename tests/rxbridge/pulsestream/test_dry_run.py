import io
import json
from collections.abc import Callable, Sequence

import msgspec
import reactivex

from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import DryRunSink
from rxbridge.telemetry.statistics import DeliveryStatistics

MakeEvents = Callable[..., list[EncodedEvent]]


def test_each_batch_is_a_line_and_then_acknowledged(make_events: MakeEvents) -> None:
    stream, settled, statistics = io.StringIO(), list[Sequence[EncodedEvent]](), DeliveryStatistics()
    batches = [make_events(2), make_events(1, 3)]
    reactivex.from_iterable(batches).subscribe(DryRunSink(stream, settled.append, statistics))

    lines = stream.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"events": [json.loads(event.body) for event in batch]} for batch in batches
    ]
    assert settled == batches
    assert statistics.delivered == 3
    assert statistics.last_delivery_at > 0


def test_a_body_with_line_ends_is_one_line_all_the_same(make_events: MakeEvents) -> None:
    stream = io.StringIO()
    (event,) = make_events(1)
    pretty = msgspec.structs.replace(event, body=b'{\r\n\t"a":\n "\\n\xe2\x82\xac"}')
    DryRunSink(stream, lambda _: None).on_next([pretty])

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line) == {"events": [{"a": "\n€"}]}


def test_a_frame_moves_no_terminal(make_events: MakeEvents) -> None:
    """Control characters beyond ASCII, and those that turn the direction of writing, are escaped; the JSON is equal."""
    stream = io.StringIO()
    (event,) = make_events(1)
    text = "\x7f\x85\x9b31m\u2028\u202e\u2066\ufeff\U000e0041 \u20ac\u00dc\U0001f600"
    hostile = msgspec.structs.replace(event, body=json.dumps({text: text}, ensure_ascii=False).encode())
    DryRunSink(stream, lambda _: None).on_next([hostile])

    (line,) = stream.getvalue().split("\n")[:-1]
    assert line.isprintable()
    assert "\u20ac\u00dc\U0001f600" in line
    assert json.loads(line) == {"events": [{text: text}]}


def test_when_nobody_reads_on_nothing_is_acknowledged(make_events: MakeEvents, log: list[str]) -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    settled: list[Sequence[EncodedEvent]] = []
    sink = DryRunSink(Broken(), settled.append)
    assert not sink.abandoned
    sink.on_next(make_events(1))
    sink.on_next(make_events(1, 2))

    assert sink.abandoned
    assert not settled
    assert sum("[STOPPED]" in line for line in log) == 1


def test_an_exception_of_the_callback_does_not_end_the_stream_unheard(make_events: MakeEvents, log: list[str]) -> None:
    def settled(_: Sequence[EncodedEvent]) -> None:
        raise RuntimeError("a defect")

    sink = DryRunSink(io.StringIO(), settled)
    sink.on_next([])
    assert not sink.abandoned
    sink.on_next(make_events(1))
    assert sink.abandoned
    assert "a defect" in log[0]


def test_the_end_of_the_stream_is_told(log: list[str]) -> None:
    sink = DryRunSink(io.StringIO(), lambda _: None)
    reactivex.empty().subscribe(sink)
    assert not log
    reactivex.throw(ValueError("the source is gone")).subscribe(sink)
    assert "the source is gone" in log[0]
