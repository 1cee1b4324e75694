"""A server that means harm: what it sends takes neither the memory, nor the time, nor the truth."""

from __future__ import annotations

import socket
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import TypeAlias

import pytest
from reactivex import Observable

from rxbridge import coinbase
from rxbridge.coinbase.exchange import decode
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.coinbase.lenient import DEEPEST
from rxbridge.errors import ConnectionLost, MalformedFrame
from rxbridge.messages import Frame, Unknown
from tests.rxbridge.coinbase.servers import Observed, RawServer, frame, subscribed, upgrade, wait_for

ServeRaw: TypeAlias = Callable[..., RawServer]
Watch: TypeAlias = Callable[[Observable[Frame]], Observed]

MEBIBYTE = 1 << 20


def verdict(data: bytes) -> str:
    try:
        (message,) = decode(Frame(data, 1, 1, 1))
    except MalformedFrame as error:
        return str(error)
    return f"{type(message).__name__} {message.type if isinstance(message, Unknown) else ''}"


def on_a_deep_stack(levels: int, data: bytes) -> str:
    return verdict(data) if levels == 0 else on_a_deep_stack(levels - 1, data)


@pytest.mark.parametrize(
    "start", [b'{"type":"ticker","price":"1","note":', b'{"type":"ticker","price":true,"note":', b""]
)
def test_what_a_frame_becomes_does_not_depend_on_the_stack(start: bytes) -> None:
    # The delivery and the audit decode the same frames with different functions below them.
    spare = sys.getrecursionlimit() - 700
    for levels in range(1, 600, 7):
        data = start + b"[" * levels + b"]" * levels + (b"}" if start else b"")
        assert verdict(data) == on_a_deep_stack(spare, data), levels


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"b[":'])
def test_the_deepest_nesting_is_taken_and_one_more_is_malformed(opening: bytes) -> None:
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"b[":': b"}]"}[opening]
    times = DEEPEST // len(closing)
    padding = b" " * 300

    decode(Frame(padding + opening * times + b"1" + closing * times, 1, 1, 1))
    with pytest.raises(MalformedFrame, match=f"nested more than {DEEPEST} levels"):
        decode(Frame(padding + opening * times + b"[1]" + closing * times, 1, 1, 1))


def test_brackets_in_text_are_no_nesting() -> None:
    text = "[" * 1000 + '\\"' + "{" * 1000 + "\\\\"

    assert verdict(f'{{"type":"ticker","side":"{text}"}}'.encode()) == "Ticker "


def repeated(start: bytes, item: bytes, end: bytes, size: int = 2 * MEBIBYTE) -> bytes:
    return start + b",".join([item] * (size // (len(item) + 1))) + end


CROWDED = {
    "lists in an unknown type": repeated(b'{"type":"x","a":[', b"[]", b"]}"),
    "lists in a match": repeated(b'{"type":"match","price":"1","note":[', b"[]", b"]}"),
    "lists for a price": repeated(b'{"type":"match","price":[', b"[]", b"]}"),
    "an array of objects": repeated(b"[", b"{}", b"]"),
    "a very long acknowledgement": repeated(b'{"type":"subscriptions","channels":[', b'{"name":""}', b"]}"),
    "an odd ticker": repeated(b'{"type":"ticker","side":1,"a":[', b"0", b"]}"),
    "deep lists": repeated(b'{"type":"ticker","side":1,"a":[', b"[" * 100 + b"]" * 100, b"]}"),
    "a type that is a list": repeated(b'{"type":[', b"[]", b"]}"),
    "an error whose reason is a list": repeated(b'{"type":"error","reason":[', b"[]", b"]}"),
    "emoji": b'{"type":"x","a":"' + "\N{GRINNING FACE}".encode() * MEBIBYTE + b'"}',
    "cut off": repeated(b'{"type":"x","a":[', b"[]", b""),
}


@pytest.mark.parametrize("name", CROWDED)
def test_a_frame_takes_no_multiple_of_its_size(name: str) -> None:
    data = CROWDED[name]
    tracemalloc.start()
    try:
        verdict(data)
        EXCHANGE.answers.answer_in(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < len(data) + 8 * MEBIBYTE


def test_a_crowded_frame_still_says_what_it_is() -> None:
    assert verdict(CROWDED["lists in an unknown type"]) == "Unknown x"
    assert verdict(CROWDED["an array of objects"]) == "Unknown "
    assert verdict(CROWDED["a type that is a list"]) == "Unknown "
    assert verdict(CROWDED["lists in a match"]) == "Trade "
    assert "of the type ticker" in verdict(CROWDED["an odd ticker"])
    assert "truncated" in verdict(CROWDED["cut off"])
    assert "malformed" in verdict(repeated(b'{"type":"x","a":[', b"[]", b'],"b":"\xff"}'))


@pytest.mark.parametrize(
    "unit", [b'"', b'\\"', b"\\", b"[", b'["', b'"[', b'{"', b"[]", b'["]', b"1", b"-", b'":', b'"",'], ids=repr
)
def test_no_text_makes_the_search_for_brackets_slow(unit: bytes) -> None:
    # Ten times the length takes some ten times as long, not a hundred times; the best of several tries is compared.
    def seconds(size: int) -> float:
        data = b"[" * DEEPEST + b"0,0" + unit * (size // len(unit))
        best = 1e9
        for _ in range(3):
            # Of this thread alone, whatever else is at work meanwhile.
            began = time.thread_time()
            verdict(data)
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(400_000) < 40 * seconds(40_000) + 0.05


def feed(url: str, **options: float) -> Observable[Frame]:
    return coinbase.frames(["BTC-USD"], ["ticker"], url=url, backoff_minimum_seconds=0.01, **options)  # pyright: ignore[reportArgumentType]


def test_a_flood_of_pings_is_no_life(raw_server: ServeRaw, watch: Watch, log: list[str]) -> None:
    stop = threading.Event()

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        threading.Thread(target=swallow, args=(connection,)).start()
        while not stop.is_set():
            connection.sendall(frame(b"", 9) * 20_000)

    server = raw_server(serve)
    watch(feed(server.url, stall_seconds=0.3))
    wait_for(lambda: server.accepted >= 2)
    stop.set()
    assert any("no frame from" in line for line in log)


def test_empty_fragments_are_no_life(raw_server: ServeRaw, watch: Watch, log: list[str]) -> None:
    stop = threading.Event()

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection, frame(b"{", final=False))
        while not stop.is_set():
            connection.sendall(frame(b"", 0, final=False) * 20_000)

    server = raw_server(serve)
    watch(feed(server.url, stall_seconds=0.3))
    wait_for(lambda: server.accepted >= 2)
    stop.set()
    assert any("no frame from" in line for line in log)


def swallow(connection: socket.socket) -> None:
    try:
        while connection.recv(65_536):
            pass
    except OSError:
        return


@pytest.mark.parametrize("claimed", [False, True])
def test_a_compressed_bomb_is_a_broken_protocol(raw_server: ServeRaw, watch: Watch, *, claimed: bool) -> None:
    """No compression is asked for, so a compressed message is never unpacked, even if the server says it was agreed."""
    bomb = zlib.compress(b"0" * 50 * MEBIBYTE, 9)

    def serve(connection: socket.socket, _number: int) -> None:
        if claimed:
            upgrade(connection, extensions="permessage-deflate")
        else:
            upgrade(connection)
        subscribed(connection)
        compressed = bytearray(frame(bomb))
        compressed[0] |= 0x40  # RSV1
        connection.sendall(compressed)
        swallow(connection)

    server = raw_server(serve)
    observed = watch(feed(server.url, reconnect=False))
    wait_for(lambda: observed.errors)
    (error,) = observed.errors
    assert isinstance(error, ConnectionLost)
    assert error.code == 1002
    assert not observed.frames
