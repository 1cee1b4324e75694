"""Playing a recording: by time, by product, at any speed, and on virtual time the same way each time."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.scheduler import HistoricalScheduler

from operators import ReplayClock, batch, conflate, only, parse
from rxbridge import recording
from rxbridge.coinbase.decoding import decode
from rxbridge.errors import ConfigError, RecordingError
from rxbridge.messages import Frame, Ticker, Trade
from rxbridge.playing import Selection
from rxbridge.recording import RecordingWriter

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
PRODUCTS = ("BTC-USD", "ETH-USD")


def made(count: int, *, step: int = SECOND // 4) -> list[Frame]:
    """Tickers of two products in turn; every fifth frame is a heartbeat of none."""
    frames: list[Frame] = []
    for index in range(count):
        product = PRODUCTS[index % 2]
        data = b'{"type":"ticker","product_id":"%b","trade_id":%d,"price":"%d"}' % (product.encode(), index + 1, index)
        if index % 5 == 4:
            data = b'{"type":"subscriptions","channels":[]}'
        frames.append(Frame(data, START + index * step, START, index))
    return frames


def written(path: Path, frames: list[Frame], **options: Any) -> Path:
    with RecordingWriter(path, **options) as writer:
        for frame in frames:
            writer.append(frame)
    return path


def got(path: Path | list[Path], **options: Any) -> list[Frame]:
    clock = ReplayClock()
    frames: list[Frame] = []
    recording.frames(path, scheduler=clock, **options).subscribe(frames.append)
    clock.start()
    return frames


def moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=nanoseconds // 1000)


@pytest.fixture(params=["day.jsonl", "day.jsonl.zst"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


@pytest.mark.parametrize("rotate", [None, 7])
def test_what_was_recorded_is_played_with_its_connection_and_index(path: Path, rotate: float | None) -> None:
    frames = made(100)
    written(path, frames, rotate_seconds=rotate)
    assert got(path) == frames


def test_several_recordings_are_one(tmp_path: Path) -> None:
    frames = made(20)
    first = written(tmp_path / "a.jsonl", frames[:12])
    second = written(tmp_path / "b.jsonl.zst", frames[12:])
    assert got([first, second]) == frames


@pytest.mark.parametrize("rotate", [None, 7])
@pytest.mark.parametrize("as_time", [int, moment])
def test_a_stretch_of_time(path: Path, rotate: float | None, as_time: Callable[[int], Any]) -> None:
    frames = made(1000)
    written(path, frames, rotate_seconds=rotate)
    since, until = frames[600].received_at, frames[700].received_at
    assert got(path, since=as_time(since), until=as_time(until)) == frames[600:700]
    assert got(path, since=as_time(since)) == frames[600:]
    assert got(path, until=as_time(until)) == frames[:700]


def test_files_that_end_before_it_are_not_read(path: Path) -> None:
    frames = made(1000)
    written(path, frames, rotate_seconds=10)
    for number in range(1, 18):
        early = path.with_name(path.name.replace("day", f"day-{number:04d}"))
        lines = early.read_bytes()
        # The beginning is looked at; what is behind it would be an error.
        early.write_bytes(lines[: len(lines) // 2] + b"damage")
    assert got(path, since=frames[980].received_at) == frames[980:]


def test_a_product_comes_with_the_frames_of_none(path: Path) -> None:
    frames = made(50)
    written(path, frames)
    chosen = got(path, products=["ETH-USD"])
    assert chosen == [frame for frame in frames if b"BTC-USD" not in frame.data]
    assert got(path, products=[*PRODUCTS]) == frames


def test_what_occurs_is_known_also_of_frames_that_are_about_several() -> None:
    def frame(*products: str) -> Frame:
        return Frame(b",".join(b'{"product_id":"%b"}' % product.encode() for product in products), START, START, 0)

    frames, occurring = [frame("A", "B"), frame("C"), frame(), frame("B")], set[bytes]()
    chosen = Selection(products=frozenset({b"A", b"B", b"D"}))
    assert list(chosen.of(frames, occurring)) == [frames[0], frames[2], frames[3]]
    assert occurring == {b"A", b"B", b"C"}

    # Of a stranger's frames there may be products without end.
    occurring.clear()
    many = [frame(str(number)) for number in range(5_000)]
    assert list(chosen.of([*many, frame("A", "D")], occurring)) == [frame("A", "D")]
    assert {b"A", b"D"} < occurring
    assert len(occurring) < 2_000


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"since": datetime(2026, 1, 1)}, "since"),  # noqa: DTZ001 that is the point
        ({"since": 5, "until": 5}, "until"),
        ({"speed": 0}, "speed"),
        ({"speed": "virtual"}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"speed": [1]}, "speed"),
    ],
)
def test_arguments_that_make_no_sense(path: Path, options: dict[str, Any], setting: str) -> None:
    written(path, made(1))
    with pytest.raises(ConfigError) as caught:
        recording.frames(path, **options)
    assert caught.value.setting == setting


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="there is neither this file nor day-0001"):
        recording.frames(tmp_path / "day.jsonl")
    with pytest.raises(RecordingError, match="ends neither"):
        recording.frames(tmp_path / "day.csv")


def test_damage_is_the_error_of_the_stream(tmp_path: Path) -> None:
    path = written(tmp_path / "day.jsonl", made(3))
    path.write_bytes(path.read_bytes() + b"damage\n")
    clock, said = ReplayClock(), list[Any]()
    recording.frames(path, scheduler=clock).subscribe(said.append, said.append)
    clock.start()
    assert said[:3] == made(3)
    assert isinstance(said[3], RecordingError)


def test_the_clock_begins_with_the_recording_before_anything_is_subscribed(path: Path) -> None:
    written(path, made(10))
    clock = ReplayClock()
    frames = recording.frames(path, scheduler=clock)
    assert clock.moment == START
    rung: list[int] = []
    reactivex.interval(0.5, scheduler=clock).pipe(ops.take_until(frames.pipe(ops.last()))).subscribe(
        lambda _: rung.append(clock.moment)
    )
    clock.start()
    assert rung == [START + SECOND // 2, START + SECOND, START + 3 * SECOND // 2, START + 2 * SECOND]
    assert ReplayClock(START + 5).moment == START + 5


@pytest.mark.parametrize("speed", [1000.0, "max"])
def test_it_is_played_on_a_thread(path: Path, speed: Any, wait_for: Callable[..., None]) -> None:
    frames = made(40)
    written(path, frames)
    said: list[Frame] = []
    recording.frames(path, speed=speed).subscribe(said.append)
    wait_for(lambda: len(said) == len(frames))
    assert said == frames


def test_a_clock_of_the_library_will_do(path: Path) -> None:
    frames = made(40)
    written(path, frames)
    clock = HistoricalScheduler(moment(START))
    said: list[tuple[datetime, Frame]] = []
    recording.frames(path, speed="virtual", scheduler=clock).subscribe(lambda frame: said.append((clock.now, frame)))
    clock.start()
    assert said == [(moment(frame.received_at), frame) for frame in frames]


def fingerprint(path: Path) -> tuple[str, int]:
    """What windows, conflation, silence and alerts make of a recording: a digest of it, and how much it is."""
    clock, digest, count = ReplayClock(), hashlib.sha256(), 0

    def note(name: str) -> Callable[[object], None]:
        def take(value: object) -> None:
            nonlocal count
            count += 1
            digest.update(f"{name} {clock.moment} {value}\n".encode())

        return take

    messages = recording.frames(path, scheduler=clock).pipe(parse(decode, failed=lambda *_: None), ops.share())
    messages.pipe(
        only(Trade), batch(count=100, seconds=0.25, scheduler=clock), ops.map(lambda some: [t.trade_id for t in some])
    ).subscribe(note("batch"))
    messages.pipe(
        only(Ticker), conflate(1, key=lambda t: t.product_id, scheduler=clock), ops.map(lambda t: t.price)
    ).subscribe(note("newest"))
    messages.pipe(only(Ticker), ops.debounce(0.3, scheduler=clock), ops.map(lambda t: t.price)).subscribe(note("quiet"))
    clock.start()
    return digest.hexdigest(), count


@pytest.mark.parametrize("name", ["exchange-2021", "advanced-2026"])
def test_virtual_time_gives_the_same_bytes_each_time(name: str, real_recording: Callable[[str], Path]) -> None:
    path = real_recording(name)
    first = fingerprint(path)
    assert first[1] > 20
    assert fingerprint(path) == first


def test_a_recording_of_our_own_gives_the_same_bytes_each_time(path: Path) -> None:
    written(path, made(2000, step=37_000_001))
    first = fingerprint(path)
    assert first[1] > 60
    assert fingerprint(path) == first


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    path = written(tmp_path / "day.jsonl.zst", made(20_000))
    clock, count = ReplayClock(), 0

    def take(_: Frame) -> None:
        nonlocal count
        count += 1

    recording.frames(path, scheduler=clock).subscribe(take)
    tracemalloc.start()
    try:
        clock.start()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 2_000_000
