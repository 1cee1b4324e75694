"""The load: serves one WebSocket connection with ticker frames, on a fixed schedule or as fast as they are taken.

    python -m benchmarks.load COUNT RATE [EVERY]   (frames a second; 0: as fast as they are taken)

With EVERY, a snapshot of a large order book leaves with one ticker in so many, just before it.

Tells its port, then that a client has subscribed; at a line on its standard input it sends, and tells when it began.
`benchmarks.schedule` says when each frame is due after that, on the monotonic clock, which all processes share. The
bytes are made beforehand and written many frames at a time, so that the sender is never what is measured.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import sys
import threading
import time
from bisect import bisect_right
from typing import Any

from benchmarks.frames import text_frame, websocket_frames, websocket_snapshots
from benchmarks.pipes import tell, wait_for_go
from benchmarks.schedule import due

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNK_FRAMES = 64
_SHORTEST_SLEEP = 0.0005
"""Seconds: frames that are due within less of each other leave together."""

_TEXT, _CLOSE, _PING = 0x1, 0x8, 0x9


class Client:
    """The server's end of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.subscribed = threading.Event()
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._writing = threading.Lock()

    def shake_hands(self) -> None:
        """RFC 6455, section 4.2."""
        key = b""
        for line in iter(self._reader.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-key":
                key = value.strip()
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def listen(self) -> None:
        """Acknowledge subscriptions and answer pings, until the client leaves."""
        try:
            while True:
                kind, data = self._read_frame()
                if kind == _TEXT:
                    self.write(text_frame(_acknowledgement(json.loads(data))))
                    self.subscribed.set()
                elif kind == _PING:
                    self.write(struct.pack("!BB", 0x8A, len(data)) + data)
                elif kind == _CLOSE:
                    return
        except (OSError, struct.error):
            return  # it went without a word, as a process does that is ended

    def write(self, data: bytes) -> None:
        """Write whole frames; blocks while the client does not read."""
        with self._writing:
            self._connection.sendall(data)

    def _read_frame(self) -> tuple[int, bytes]:
        first, length = struct.unpack("!BB", self._reader.read(2))
        length &= 0x7F  # all that a client sends is masked
        if length == 126:
            (length,) = struct.unpack("!H", self._reader.read(2))
        mask = self._reader.read(4)
        masked = self._reader.read(length)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))


def send_all(client: Client, frames: list[bytes]) -> None:
    """As fast as they are taken."""
    for first in range(0, len(frames), _CHUNK_FRAMES):
        client.write(b"".join(frames[first : first + _CHUNK_FRAMES]))


def send_on_schedule(client: Client, frames: list[bytes], rate: float, start: float) -> None:
    """Each when it is due, or as soon after as it is taken; a late one does not move those behind it."""
    schedule = [due(index, rate) for index in range(len(frames))]
    sent = 0
    while sent < len(frames):
        ready = bisect_right(schedule, time.monotonic() - start)
        if ready > sent:
            client.write(b"".join(frames[sent:ready]))
            sent = ready
        else:
            time.sleep(max(start + schedule[sent] - time.monotonic(), _SHORTEST_SLEEP))


def _acknowledgement(request: Any) -> bytes:
    return json.dumps({"type": "subscriptions", "channels": request["channels"]}).encode()


def main() -> None:
    count, rate = int(sys.argv[1]), float(sys.argv[2])
    frames = websocket_frames(count)
    if every := int(sys.argv[3]) if len(sys.argv) > 3 else 0:
        places = range(0, count, every)
        for place, snapshot in zip(places, websocket_snapshots(len(places)), strict=True):
            frames[place] = snapshot + frames[place]
    with socket.create_server(("127.0.0.1", 0)) as server:
        tell(port=server.getsockname()[1])
        connection, _ = server.accept()
    with connection:
        client = Client(connection)
        client.shake_hands()
        threading.Thread(target=client.listen, daemon=True).start()
        client.subscribed.wait()
        tell(subscribed=True)
        if not wait_for_go():
            return
        start = time.monotonic()
        tell(start=start)
        if rate:
            send_on_schedule(client, frames, rate, start)
        else:
            send_all(client, frames)
        tell(sent=time.monotonic())
        wait_for_go()  # the connection stays open until the run is over


if __name__ == "__main__":
    main()
