"""Clients of a simulator, over real sockets."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket

from rxbridge.simulator import Simulator

Frame = dict[str, Any]

DEADLINE_SECONDS = 20.0


class Client:
    """A WebSocket client that remembers what it received."""

    def __init__(self, simulator: Simulator, **options: Any) -> None:
        # Its own validation is in Python, and takes longer than all the rest.
        self.socket = websocket.create_connection(
            simulator.url, timeout=DEADLINE_SECONDS, skip_utf8_validation=True, **options
        )
        self.frames: list[Frame] = []

    def say(self, message: object) -> None:
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def subscribe(self, *channels: object, products: list[str] | None = None) -> None:
        message: Frame = {"type": "subscribe", "channels": list(channels)}
        self.say(message if products is None else message | {"product_ids": products})

    def receive(self) -> Frame:
        frame = json.loads(self.socket.recv())
        self.frames.append(frame)
        return frame

    def receive_raw(self) -> tuple[int, bytes]:
        """The next data frame, whatever it is: opcode and content."""
        opcode, content = self.socket.recv_data()
        assert opcode != websocket.ABNF.OPCODE_CLOSE, f"closed: {content!r}"
        return opcode, content

    def receive_until(self, condition: Callable[[Frame], bool]) -> list[Frame]:
        """Everything up to the first frame that fulfills the condition, which is the last of them."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        received = [self.receive()]
        while not condition(received[-1]):
            assert time.monotonic() < deadline, f"it did not come; the last of {len(received)} was {received[-1]}"
            received.append(self.receive())
        return received

    def receive_type(self, kind: str) -> Frame:
        return self.receive_until(lambda frame: frame["type"] == kind)[-1]

    def receive_close(self) -> tuple[int, str]:
        """Read on to the close frame, answer it, and hang up; its code and reason."""
        while True:
            opcode, content = self.socket.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                self.socket.shutdown()
                return int.from_bytes(content[:2]), content[2:].decode()

    def receive_end(self) -> tuple[int, str] | None:
        """Likewise; None if the connection ends without a close frame."""
        try:
            return self.receive_close()
        except (websocket.WebSocketConnectionClosedException, ConnectionResetError):
            return None

    def expect_silence(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        with pytest.raises(websocket.WebSocketTimeoutException):
            self.receive()
        self.socket.settimeout(DEADLINE_SECONDS)


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators, which are stopped after the test."""
    with contextlib.ExitStack() as simulators:
        yield lambda **options: simulators.enter_context(Simulator(**options))


@pytest.fixture
def connect(simulate: Callable[..., Simulator]) -> Iterator[Callable[..., Client]]:
    """Opens clients, which are gone before the simulators stop: nobody is left to wait for."""
    with contextlib.ExitStack() as clients:

        def connect(simulator: Simulator, **options: Any) -> Client:
            client = Client(simulator, **options)
            clients.callback(client.socket.shutdown)
            return client

        yield connect
