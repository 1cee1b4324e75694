"""Reading WebSocket frames: in large pieces, within bounds, and with nothing lost at a deadline."""

from __future__ import annotations

import tracemalloc
from typing import Any, cast

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase import problems
from rxbridge.coinbase.framing import FrameTooLargeError, WebSocket, _BoundedFrames  # pyright: ignore[reportPrivateUsage]
from rxbridge.coinbase.transport import DeadlineExceededError, DeadlineSocket
from tests.rxbridge.coinbase.servers import frame

LIMIT = 200_000
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Transport:
    """Gives these pieces, one a read at most; None is a deadline. Counts the reads and keeps what is sent."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces = list(pieces)
        self.reads = 0
        self.sent = b""

    def recv(self, size: int) -> bytes:
        self.reads += 1
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if piece is None:
            raise DeadlineExceededError
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def gettimeout(self) -> float:
        return 5.0


def opened(transport: Transport, limit: int = LIMIT) -> WebSocket:
    ready = WebSocket(limit)
    ready.sock = cast("Any", transport)
    ready.frame_buffer = _BoundedFrames(transport.recv, limit)
    return ready


def received(transport: Transport, count: int) -> list[tuple[int, bytes]]:
    ready = opened(transport)
    messages: list[tuple[int, bytes]] = []
    while len(messages) < count:
        try:
            messages.append(ready.receive())
        except DeadlineExceededError:
            continue
    return messages


PAYLOADS = st.binary(max_size=300) | st.sampled_from(
    [b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536, b"y" * LIMIT]
)


@given(
    messages=st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), PAYLOADS), min_size=1, max_size=6),
    fragment=st.integers(1, 100_000),
    cuts=st.lists(st.integers(1, 70_000) | st.none(), max_size=30),
)
def test_whatever_the_fragments_reads_and_deadlines_the_messages_are_the_same(
    messages: list[tuple[int, bytes]], fragment: int, cuts: list[int | None]
) -> None:
    fragment = max(fragment, max(len(payload) for _, payload in messages) // 50)
    wire = b""
    for opcode, payload in messages:
        parts = [payload[start : start + fragment] for start in range(0, len(payload), fragment)] or [b""]
        for number, part in enumerate(parts):
            wire += frame(part, CONTINUED if number else opcode, final=number == len(parts) - 1)
    pieces: list[bytes | None] = []
    for cut in cuts:
        if cut is None:
            pieces.append(None)
        elif wire:
            pieces.append(wire[:cut])
            wire = wire[cut:]
    assert received(Transport(*pieces, *([wire] if wire else [])), len(messages)) == messages


def test_many_frames_are_one_read() -> None:
    transport = Transport(frame(b"small") * 1000)
    assert received(transport, 1000) == [(TEXT, b"small")] * 1000
    assert transport.reads == 1


def test_a_ping_between_fragments_is_answered_and_the_message_whole() -> None:
    wire = frame(b"one ", final=False) + frame(b"?", PING) + frame(b"two", CONTINUED)
    transport = Transport(wire)
    ready = opened(transport)
    assert [ready.receive(), ready.receive()] == [(PING, b"?"), (TEXT, b"one two")]
    assert transport.sent[:2] == bytes([0x80 | PONG, 0x81])


def test_invalid_utf_8_is_passed_on_as_it_is() -> None:
    assert received(Transport(frame(b"\xff\xfe{")), 1) == [(TEXT, b"\xff\xfe{")]


def test_an_announced_size_above_the_limit_is_refused_before_anything_is_read_of_it() -> None:
    header = frame(b"z" * LIMIT)[:2] + (2**40).to_bytes(8, "big")
    with pytest.raises(FrameTooLargeError) as refused:
        opened(Transport(header)).receive()
    assert refused.value.size == 2**40


def test_fragments_that_add_up_to_more_than_the_limit_are_refused() -> None:
    fragments = frame(b"x" * 1000, final=False) + frame(b"x" * 1000, CONTINUED, final=False) * 1000
    transport = Transport(*[fragments[start : start + 65_536] for start in range(0, len(fragments), 65_536)])
    tracemalloc.start()
    with pytest.raises(FrameTooLargeError):
        opened(transport).receive()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * LIMIT


def test_a_message_in_very_many_fragments_is_joined() -> None:
    size = 100_000
    wire = frame(b"", final=False) + frame(b"abcd", CONTINUED, final=False) * (size // 4) + frame(b"", CONTINUED)
    ready = opened(Transport(wire), size)
    assert ready.receive() == (TEXT, b"abcd" * (size // 4))


@pytest.mark.parametrize(
    "wire",
    [
        frame(b"continued", CONTINUED),
        frame(b"one", final=False) + frame(b"two"),
        frame(b"reserved", 3),
        bytes([0xF1, 0]),
        frame(b"\x03", CLOSE),
        frame((1006).to_bytes(2, "big"), CLOSE),
        frame(b"p" * 126, PING),
    ],
)
def test_a_broken_protocol_is_an_error(wire: bytes) -> None:
    with pytest.raises(websocket.WebSocketProtocolException):
        opened(Transport(wire)).receive()


@pytest.mark.parametrize("cut", [0, 1, 3, 8])
def test_an_end_without_a_close_frame_is_an_error(cut: int) -> None:
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        opened(Transport(frame(b"x" * 200)[:cut])).receive()


@given(st.binary(min_size=1, max_size=200))
def test_whatever_bytes_come_there_is_a_message_or_an_error_that_is_known(data: bytes) -> None:
    ready = opened(Transport(data))
    with pytest.raises(problems.CAUSES):
        _ = [ready.receive() for _ in range(len(data))]


@given(
    st.binary(max_size=200)
    | st.binary(max_size=40).map(lambda tail: b"HTTP/1.1 101 Switching Protocols\r\nSet-Cookie: " + tail + b"\r\n\r\n")
    | st.binary(max_size=40).map(lambda tail: b"HTTP/1.1 302 Found\r\nSet-Cookie: a(=" + tail + b"\r\n\r\n")
)
def test_whatever_answers_the_handshake_the_error_is_known(answer: bytes) -> None:
    with pytest.raises(problems.CAUSES):
        WebSocket(LIMIT).open("ws://localhost/", cast("DeadlineSocket", Handshake(answer)))


class Handshake(Transport):
    def close(self) -> None:
        self.pieces.clear()
