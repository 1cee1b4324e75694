"""WebSocket frames by websocket-client, read in large pieces and bounded in size, which that library does not do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from http.cookies import CookieError
from typing import Any, cast

import websocket
from websocket import ABNF

from rxbridge.coinbase.transport import DeadlineSocket

_READ_BYTES = 65_536
_CONTROL_BYTES = 125
"""No ping, pong or close is longer (RFC 6455, section 5.5)."""


class FrameTooLargeError(Exception):
    """The server announced, or sent in fragments, a message above the limit."""

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"a frame of {size:,} bytes is above the limit of {limit:,} (max_frame_bytes)")


class WebSocket(websocket.WebSocket):
    """A WebSocket whose memory is bounded and whose reads take what is there, not three small pieces a frame."""

    def __init__(self, max_frame_bytes: int) -> None:
        # One thread does everything, so no locks; whoever decodes the JSON validates its UTF-8.
        super().__init__(enable_multithread=False, skip_utf8_validation=True)  # pyright: ignore[reportUnknownMemberType]
        self._fragments = _BoundedFragments(max_frame_bytes)
        self.cont_frame: _BoundedFragments = self._fragments
        self._frames: _BoundedFrames | None = None
        self._max_frame_bytes = max_frame_bytes

    def open(self, url: str, transport: DeadlineSocket) -> None:
        """Shake hands over an open transport.

        Raises:
            websocket.WebSocketException: The server did not agree to speak WebSocket.
            DeadlineExceededError: It did not answer until the transport's deadline.
            OSError: The transport failed.
        """
        # A redirect could lead to an address without TLS; Coinbase sends none.
        try:
            self.connect(url, socket=transport, redirect_limit=0)  # pyright: ignore[reportUnknownMemberType]
        except (ValueError, CookieError) as error:  # websocket-client lets these of a malformed answer through
            raise websocket.WebSocketException(f"malformed answer: {error}") from error
        self._frames = _BoundedFrames(transport.recv, self._max_frame_bytes)
        self.frame_buffer: _BoundedFrames = self._frames

    @property
    def progress(self) -> int:
        """A count that rises with the bytes of messages that are not complete yet; pings do not move it."""
        return self._fragments.received + (self._frames.received if self._frames else 0)

    def receive(self) -> tuple[int, bytes]:
        """The opcode and payload of the next message, fragments joined, or control frame; pings are answered.

        Raises:
            FrameTooLargeError: It is above the limit.
            websocket.WebSocketException: The server broke the protocol, or ended the connection without a close frame.
            DeadlineExceededError: It was not complete until the transport's deadline; calling again goes on with it.
            OSError: The transport failed.
        """
        opcode, frame = cast("tuple[int, ABNF]", self.recv_data_frame(control_frame=True))  # pyright: ignore[reportUnknownMemberType]
        return opcode, bytes(cast("bytes", frame.data))

    def send_close(self, status: int = websocket.STATUS_NORMAL, reason: str | bytes = b"") -> None:
        """Send a close frame if that is still possible: it is a courtesy, and must not hide why we close."""
        with suppress(OSError, websocket.WebSocketException):
            super().send_close(status, reason)


class _BoundedFrames(websocket.frame_buffer):
    """Reads up to 64 KiB at once, and refuses a frame by its header, before its payload takes any memory.

    As in the base class, an exception from `read` loses nothing: the next call goes on where this one was.

    Attributes:
        received: Bytes of payloads that had to be waited for, and that are too long for a control frame.
    """

    def __init__(self, read: Callable[[int], bytes], limit: int) -> None:
        super().__init__(read, skip_utf8_validation=True)
        self.received: int = 0
        self._limit = limit
        self._chunk = b""
        self._position = 0
        self._pieces: list[bytes] = []

    def recv_length(self) -> None:
        """Read the length of the next frame."""
        super().recv_length()
        if self.length is not None and self.length > self._limit:
            raise FrameTooLargeError(self.length, self._limit)

    def recv_strict(self, bufsize: int) -> bytes:
        """Exactly so many bytes."""
        end = self._position + bufsize
        if end > len(self._chunk):
            self._read_more(bufsize)
            end = bufsize
        data = self._chunk[self._position : end]
        self._position = end
        return data

    def _read_more(self, needed: int) -> None:
        """Read until the chunk starts with the `needed` bytes."""
        if self._chunk:
            self._pieces.append(self._chunk[self._position :])
            self._chunk = b""
            self._position = 0
        missing = needed - sum(map(len, self._pieces))
        while missing > 0:
            # Of a large frame no more than its own bytes, so that the joined pieces are the payload, uncopied.
            piece = self.recv(min(missing, _READ_BYTES) if needed > _READ_BYTES else _READ_BYTES)
            if not piece:
                raise websocket.WebSocketConnectionClosedException("the connection ended without a close frame")
            self._pieces.append(piece)
            if needed > _CONTROL_BYTES:
                self.received += min(len(piece), missing)
            missing -= len(piece)
        self._chunk = b"".join(self._pieces)
        self._pieces.clear()


class _BoundedFragments(websocket.continuous_frame):
    """Joins the fragments of a message, in linear time and up to a limit.

    Attributes:
        received: Bytes of all fragments but last ones.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(fire_cont_frame=False, skip_utf8_validation=True)
        self.received: int = 0
        self._limit = limit

    def add(self, frame: ABNF) -> None:
        """Take the next fragment, or a whole message."""
        data: Any = frame.data
        if self.cont_data is not None:
            size = len(self.cont_data[1]) + len(data)
            if size > self._limit:
                raise FrameTooLargeError(size, self._limit)
            self.cont_data[1] += data
        else:
            self.recving_frames = frame.opcode
            self.cont_data: list[Any] | None = [frame.opcode, data if frame.fin else bytearray(data)]
        if not frame.fin:
            self.received += len(data)
        else:
            self.recving_frames = None
