"""Many frames in one row: MessagePack, with a checksum over the whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import msgspec

from rxbridge.messages import Frame

# By column, not by frame: this encodes and decodes several times faster than one object a frame.
_Columns = tuple[list[bytes], list[int], list[int], list[int]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Columns).decode
_NUMBERS = struct.Struct("<6q")


class Row(msgspec.Struct, frozen=True, gc=False):
    """Frames with consecutive offsets, as they are stored; the attributes are the columns, in their order.

    Attributes:
        first_offset: The offset of the first.
        frames: How many there are.
        first_received_at: When the first was received: nanoseconds since the Unix epoch.
        last_received_at: When the last was.
        frames_before: How many frames were ever stored before these.
        bytes_before: The bytes of their bodies.
        checksum: CRC-32 over the body and the numbers above.
        body: The frames.
    """

    first_offset: int
    frames: int
    first_received_at: int
    last_received_at: int
    frames_before: int
    bytes_before: int
    checksum: int
    body: bytes


class DamagedRow(ValueError):
    """The row is not what was written."""


def pack(frames: Sequence[Frame], *, first_offset: int, frames_before: int, bytes_before: int) -> Row:
    """Put frames, of which there is at least one, into a row; their own offsets are ignored."""
    body = _encode(
        (
            [frame.data for frame in frames],
            [frame.received_at for frame in frames],
            [frame.connection for frame in frames],
            [frame.index for frame in frames],
        )
    )
    numbers = (
        first_offset,
        len(frames),
        frames[0].received_at,
        frames[-1].received_at,
        frames_before,
        bytes_before,
    )
    return Row(*numbers, _checksum(numbers, body), body)


def unpack(row: Row) -> list[Frame]:
    """The frames of a row, with their offsets.

    Raises:
        DamagedRow: The checksum is wrong, or a column is of the wrong type.
    """
    numbers = (
        row.first_offset,
        row.frames,
        row.first_received_at,
        row.last_received_at,
        row.frames_before,
        row.bytes_before,
    )
    try:
        if _checksum(numbers, row.body) != row.checksum:
            raise DamagedRow("its checksum is wrong")
        columns = _decode(row.body)
    # Damage may turn any column into a value of any type, so it shows in many ways.
    except (TypeError, struct.error, msgspec.DecodeError) as error:
        raise DamagedRow(f"it cannot be decoded: {error}") from error
    return list(map(Frame, *columns, range(row.first_offset, row.first_offset + row.frames)))


def _checksum(numbers: tuple[int, int, int, int, int, int], body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_NUMBERS.pack(*numbers)))
