"""What is subscribed to and disposed of a thousand times leaves no thread, no file and no memory."""

from __future__ import annotations

import gc
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import reactivex
from loguru import logger
from reactivex import Observable
from reactivex import operators as ops

import rxbridge
from rxbridge import Bridge, connect
from rxbridge.channels import FeedName
from rxbridge.pulsestream_server import EmbeddedPulseStream

CYCLES = 1000
WARM_UP = 50
MOST_OBJECTS = CYCLES // 2
"""An object that stays from each cycle would be twice as many."""

MOST_BYTES = 16 * 2**20
"""What the allocator may keep for itself: 16 kB a cycle would be a leak."""

Wait = Callable[..., None]
Source = Callable[[str], Observable[Any]]

SOURCES: dict[str, Source] = {
    "frames": lambda url: rxbridge.coinbase.frames(["BTC-USD"], url=url),
    "messages": lambda url: rxbridge.coinbase.messages(["BTC-USD"], url=url),
    "tickers": lambda url: rxbridge.coinbase.tickers(["BTC-USD"], url=url),
    "trades": lambda url: rxbridge.coinbase.trades(["BTC-USD"], url=url),
    "books": lambda url: rxbridge.coinbase.books(["BTC-USD"], url=url, stale_after=60.0),
}


@pytest.fixture
def quiet() -> Iterator[None]:
    """Four log lines a cycle are of no use to anyone."""
    logger.disable("rxbridge")
    yield
    logger.enable("rxbridge")


@pytest.fixture
def feed(command: Callable[..., Any], wait_for: Wait) -> str:
    """A simulator in a process of its own, so that what it holds is not counted here."""
    return simulate(command, wait_for, "exchange")


def simulate(command: Callable[..., Any], wait_for: Wait, feed: FeedName) -> str:
    options = ("--products", "BTC-USD", "--rate", 5, "--depth", 20, "--feed", feed)
    simulator = command("simulate", "--port", 0, *options)
    wait_for(lambda: "simulator: " in simulator.stderr)
    found = re.search(r"^simulator: (\S+)", simulator.stderr, re.MULTILINE)
    assert found is not None
    return found[1]


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def resident_bytes() -> int:
    """What this process holds; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def repeat(cycle: Callable[[], None], wait_for: Wait, *, cycles: int = CYCLES, warm_up: int = WARM_UP) -> None:
    """Do it some times, take stock, do it many times, and find the same."""
    for _ in range(warm_up):
        cycle()
    wait_for(lambda: not [one for one in threading.enumerate() if one.name.startswith("rxbridge-feed")])
    threads, files, memory, kept = set(threading.enumerate()), open_files(), resident_bytes(), objects()
    for _ in range(cycles):
        cycle()
    wait_for(lambda: set(threading.enumerate()) <= threads)
    wait_for(lambda: open_files() <= files)
    wait_for(lambda: objects() <= kept + MOST_OBJECTS)
    assert resident_bytes() <= memory + MOST_BYTES


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.usefixtures("quiet")
def test_a_source(name: str, feed: str, wait_for: Wait) -> None:
    repeat_subscribing(SOURCES[name](feed), wait_for)


@pytest.mark.usefixtures("quiet")
def test_a_source_of_advanced_trade(command: Callable[..., Any], wait_for: Wait) -> None:
    url = simulate(command, wait_for, "advanced")
    repeat_subscribing(rxbridge.coinbase.frames(["BTC-USD"], feed="advanced", url=url), wait_for)


def repeat_subscribing(source: Observable[Any], wait_for: Wait) -> None:
    def cycle() -> None:
        came = threading.Event()
        subscription = source.subscribe(lambda _: came.set())
        try:
            assert came.wait(30)
        finally:
            subscription.dispose()

    repeat(cycle, wait_for)


@pytest.mark.usefixtures("quiet")
def test_a_recording_that_is_disposed_of_in_the_middle(recording: Callable[..., Path], wait_for: Wait) -> None:
    path = recording(trades=50)
    played = rxbridge.recording.frames(path, speed="max")

    def cycle() -> None:
        assert played.pipe(ops.take(3), ops.count()).run() == 3
        played.subscribe().dispose()

    repeat(cycle, wait_for)


@pytest.mark.usefixtures("quiet")
def test_a_source_that_is_disposed_of_at_once(feed: str, wait_for: Wait) -> None:
    """In the middle of its connecting, mostly."""
    source = SOURCES["books"](feed)
    repeat(lambda: source.subscribe().dispose(), wait_for)


@pytest.mark.usefixtures("quiet")
def test_a_connection(wait_for: Wait) -> None:
    def cycle() -> None:
        found: list[int] = []
        assert connect(reactivex.of(1, 2, 3)).to(found).wait(30)
        with connect(reactivex.never()).to(found.append):
            pass
        connect(reactivex.never()).to(found).dispose()

    repeat(cycle, wait_for)


@pytest.mark.usefixtures("quiet")
def test_a_bridge(
    feed: str, pulsestream: EmbeddedPulseStream, pulsestream_key: str, tmp_path: Path, wait_for: Wait
) -> None:
    bridge = Bridge(
        ["BTC-USD"],
        feed_url=feed,
        pulsestream_url=pulsestream.url,
        api_key=pulsestream_key,
        journal=tmp_path / "leaks.journal",
        config=Path(os.devnull),
        environment={},
    )

    def cycle() -> None:
        with bridge:
            wait_for(lambda: bridge.statistics().feed.frames)

    repeat(cycle, wait_for, cycles=50, warm_up=5)
