r"""The lines of a recording: JSON objects, of frames and, in between, of marks.

    {"ts":1700000000.123456789,"data":"{\"type\":\"rxbridge_mark\"}","mark":{"kind":"connect", ...}}
    {"ts":1700000000.123456789,"data":"the frame's text"}
    {"ts":1700000001.500000000,"data":"...","connection":1700000000000000002}
    {"ts":1700000001.750000000,"data":"text that is not quite it: \ufffd","bytes":"base64 of the frame"}

`ts` is the Unix time of receipt in seconds, to the nanosecond. A program that knows `ts` and `data` alone can read all
of it: a mark looks to it like a message of a type that Coinbase has not. Here it is told by its field `mark`, which no
frame can have, whatever it holds.
"""

from __future__ import annotations

import base64
from decimal import Decimal

import msgspec

from rxbridge.errors import RecordingError, quoted

LATEST_SECONDS = 100_000_000_000
"""A `ts` beyond this (the year 5138) is no time in seconds: most likely it counts milliseconds."""

_SECOND = 1_000_000_000
_MARK_DATA = '{"type":"rxbridge_mark"}'


class RecordedFrame(msgspec.Struct, frozen=True, gc=False):
    """One frame of a recording.

    Attributes:
        received_at: When it was received: nanoseconds since the Unix epoch, UTC.
        data: The payload, byte for byte.
    """

    received_at: int
    data: bytes


class Mark(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a recording says besides its frames.

    Attributes:
        kind: `connect`: the frames from here on are of `connection`, and the next is the one of `index`. `gap`: here
            frames are missing, or may be. Of other kinds nothing is known, and they mean nothing to this reader.
        connection: As `Frame.connection`; of a `gap`, the one that has lost frames, None where one had ended.
        index: As `Frame.index`.
        since: When the last frame before a `gap` was received: nanoseconds since the Unix epoch.
        until: When the first frame after it was received, likewise.
        frames: How many frames are missing, where that is known.
    """

    kind: str
    connection: int | None = None
    index: int = 0
    since: int = 0
    until: int = 0
    frames: int | None = None


class Line(msgspec.Struct, gc=False):
    """A line as it stands in the file."""

    # Decimal reads the digits as they stand; a product of floats is off by up to a microsecond.
    ts: Decimal
    data: str
    connection: int | None = None
    bytes: str | None = None
    mark: Mark | None = None


class LineReader:
    """Reads the lines of one file, and says in its errors which one it was."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decode = msgspec.json.Decoder(Line).decode

    def read(self, number: int, line: bytes) -> tuple[Line, int]:
        """The line, and its time in nanoseconds.

        Raises:
            RecordingError: It is none.
        """
        try:
            read = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordingError(self._name, f"no frame of a recording: {error}", number) from error
        seconds = read.ts
        if not (seconds.is_finite() and 0 <= seconds < LATEST_SECONDS):
            problem = f"ts is {quoted(str(seconds), 40)}, which is no Unix time in seconds"
            raise RecordingError(self._name, problem, number)
        return read, int(seconds * _SECOND)

    def payload(self, number: int, line: Line) -> bytes:
        """The frame's bytes.

        Raises:
            RecordingError: They are not base64.
        """
        if line.bytes is None:
            return line.data.encode()
        try:
            return base64.b64decode(line.bytes, validate=True)
        except ValueError as error:
            raise RecordingError(self._name, f"no frame of a recording: {error}", number) from error


def frame_line(received_at: int, data: bytes, connection: int | None = None) -> bytes:
    """The line of a frame, its end included.

    Args:
        received_at: Nanoseconds since the Unix epoch.
        data: The payload; what is not UTF-8 is kept in base64 besides.
        connection: By which it came, unless it is the one of the last mark.
    """
    where = b"" if connection is None else b',"connection":%d' % connection
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        where += b',"bytes":"%b"' % base64.b64encode(data)
    return b'{"ts":%b,"data":%b%b}\n' % (_seconds(received_at), msgspec.json.encode(text), where)


def mark_line(at: int, mark: Mark) -> bytes:
    """The line of a mark, its end included; `at` in nanoseconds since the Unix epoch."""
    data = msgspec.json.encode(_MARK_DATA)
    return b'{"ts":%b,"data":%b,"mark":%b}\n' % (_seconds(at), data, msgspec.json.encode(mark))


def _seconds(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, _SECOND)
    return b"%d.%09d" % (seconds, rest)
