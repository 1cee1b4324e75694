"""Connections that fail below the frames: cut, reset, half open, or a few bytes at a time."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Iterable
from typing import Any, cast

from websockets.asyncio.server import ServerConnection

SHORTEST_PAUSE_SECONDS = 0.002
"""Timers are not much finer; at more bytes a second than this allows one by one, several go at once."""

MOST_DRIPPING_BYTES = 65_536
"""So many wait before who sends without pushing is told to wait."""

CLOSE_FRAME = 0x88
"""RFC 6455, section 5.2: the last fragment of a message, opcode 8."""

NO_CODE = 1005
ABNORMAL = 1006


class FaultyTransport(asyncio.Transport):
    """Stands between a connection and its socket: passes all on, holds all back, or lets it drip."""

    def __init__(self, transport: asyncio.Transport, connection: FaultyConnection) -> None:
        super().__init__()
        self._transport = transport
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._dripping = bytearray()
        self._bytes_per_second = math.inf
        self._dripped_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ends = False
        self.mute = False

    def drip(self, bytes_per_second: float) -> None:
        """Send no faster than this from now on; infinity for as fast as the client reads."""
        self._bytes_per_second = bytes_per_second
        self._dripped_at = self._loop.time()
        if bytes_per_second == math.inf:
            self._send_dripping(len(self._dripping))

    def reset(self) -> None:
        """End the connection with a TCP reset: what waits is lost, and the client's next read fails."""
        sock = self._transport.get_extra_info("socket")
        # Linger for no time at all: this makes the kernel send RST for FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send, as the fault lets it."""
        if self.mute or self._connection.is_silent:
            return
        if self._bytes_per_second == math.inf and not self._dripping:
            self._transport.write(data)
            return
        self._dripping += data
        if self._timer is None:
            self._dripped_at = self._loop.time()
            self._wait()
        if len(self._dripping) > MOST_DRIPPING_BYTES:
            self._connection.wait_for("dripping")

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Send, one after the other."""
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        """Half-close, when all has been sent."""
        if self._connection.is_silent:
            return
        if self._dripping:
            self._ends = True
        else:
            self._transport.write_eof()

    def can_write_eof(self) -> bool:
        """Whether the socket can."""
        return self._transport.can_write_eof()

    def close(self) -> None:
        """Close, without what still drips."""
        self._stop_dripping()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._stop_dripping()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the socket is."""
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait, dripping ones included."""
        return len(self._dripping) + self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Those of the socket."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Those of the socket."""
        self._transport.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Of the socket."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Of the socket."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """Whether the socket is."""
        return self._transport.is_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket knows."""
        return self._transport.get_extra_info(name, default)

    def _wait(self) -> None:
        pause = max(SHORTEST_PAUSE_SECONDS, 1 / self._bytes_per_second)
        self._timer = self._loop.call_later(pause, self._drip)

    def _drip(self) -> None:
        self._timer = None
        now = self._loop.time()
        due = max(1.0, (now - self._dripped_at) * self._bytes_per_second)
        self._dripped_at = now
        self._send_dripping(int(min(due, len(self._dripping))))

    def _send_dripping(self, count: int) -> None:
        if count and not self._connection.is_silent:
            self._transport.write(bytes(self._dripping[:count]))
            del self._dripping[:count]
        if len(self._dripping) <= MOST_DRIPPING_BYTES // 2:
            self._connection.go_on("dripping")
        if self._dripping and self._timer is None:
            self._wait()
        elif not self._dripping and self._ends:
            self._transport.write_eof()

    def _stop_dripping(self) -> None:
        self._dripping.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class FaultyConnection(ServerConnection):
    """A connection that can be made to fail in the ways of a network."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unread = bytearray()
        self._silent_until = -math.inf
        self._drips_until: asyncio.TimerHandle | None = None
        self._waits_for: set[str] = set()

    @property
    def is_silent(self) -> bool:
        """Whether it is half open now: nothing goes out, and what comes in is not looked at."""
        return self._silent_until > self.loop.time()

    @property
    def is_mute(self) -> bool:
        """Whether it sends no frames now: it is silent, has said its last word, or was cut."""
        return self.is_silent or self._faulty_transport.mute or self._faulty_transport.is_closing()

    def fall_silent(self, seconds: float) -> None:
        """Be half open for so long; infinity for ever. What is to be sent meanwhile is lost, what comes waits."""
        self._silent_until = max(self._silent_until, self.loop.time() + seconds)
        if seconds != math.inf:
            self.loop.call_at(self._silent_until, self._hear_again)

    def drip(self, bytes_per_second: float, seconds: float) -> None:
        """Send no faster than this for so long, infinity for ever; what then still waits goes out at once."""
        self._faulty_transport.drip(bytes_per_second)
        if self._drips_until is not None:
            self._drips_until.cancel()
        self._drips_until = (
            None if seconds == math.inf else self.loop.call_later(seconds, self._faulty_transport.drip, math.inf)
        )

    def reset(self) -> None:
        """End with a TCP reset."""
        self._faulty_transport.reset()

    def say_goodbye(self, code: int, reason: str) -> None:
        """Send a close frame of any code, also of one that there must not be, and no more.

        1006 stands for none (RFC 6455, section 7.4.1): the connection is cut. 1005 stands for a close frame without a
        code. The client's answer ends the connection; whether there is one is for the caller to watch.
        """
        if code == ABNORMAL:
            self._faulty_transport.abort()
            return
        content = b"" if code == NO_CODE else code.to_bytes(2) + reason.encode()
        self._faulty_transport.write(bytes((CLOSE_FRAME, len(content))) + content)
        self._faulty_transport.mute = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take hold of the socket."""
        self._faulty_transport = FaultyTransport(cast("asyncio.Transport", transport), self)
        super().connection_made(self._faulty_transport)

    def data_received(self, data: bytes) -> None:
        """Leave it unread while silent."""
        self._unread += data
        self._hear_again()

    def pause_writing(self) -> None:
        """The socket is full."""
        self.wait_for("socket")

    def resume_writing(self) -> None:
        """The socket has room again."""
        self.go_on("socket")

    def wait_for(self, reason: str) -> None:
        """Let who waits for room to send go on waiting, for this reason as well."""
        if not self._waits_for:
            super().pause_writing()
        self._waits_for.add(reason)

    def go_on(self, reason: str) -> None:
        """This reason to wait is gone."""
        if reason in self._waits_for:
            self._waits_for.remove(reason)
            if not self._waits_for:
                super().resume_writing()

    def _hear_again(self) -> None:
        if self._unread and not self.is_silent and not self._faulty_transport.is_closing():
            unread, self._unread = bytes(self._unread), bytearray()
            super().data_received(unread)
