"""Reading a recording: one JSON object a line, `{"ts": seconds since the Unix epoch, "data": "the frame's text"}`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from rxbridge.errors import MissingExtra, RecordingError, quoted

if TYPE_CHECKING:
    from zstandard import ZstdDecompressor

CHUNK_BYTES = 64 * 1024
"""How much of a plain file is read at once."""

COMPRESSED_CHUNK_BYTES = 1024
"""Likewise of a compressed one: far less, because a chunk comes out whole, and may come out a thousand times larger."""

LATEST_SECONDS = 100_000_000_000
"""A `ts` beyond this (the year 5138) is no time in seconds: most likely it counts milliseconds."""


class RecordedFrame(msgspec.Struct, frozen=True, gc=False):
    """One frame of a recording.

    Attributes:
        received_at: When it was received: nanoseconds since the Unix epoch, UTC.
        data: The payload, byte for byte.
    """

    received_at: int
    data: bytes


class _Line(msgspec.Struct, gc=False):
    # Decimal reads the digits as they stand; a product of floats is off by up to a microsecond.
    ts: Decimal
    data: str


class _DamagedError(Exception):
    """The compressed data makes no sense from here on."""


def read(path: str | os.PathLike[str]) -> Iterator[RecordedFrame]:
    """Read the frames of a recording, in the order of the file, one at a time.

    Memory holds one line and one chunk of the file, however long the recording is. Empty lines are skipped.

    Args:
        path: A file whose name ends with `.jsonl`, or with `.jsonl.zst` if it is compressed with Zstandard.

    Raises:
        RecordingError: At once, where the name has another ending; while iterating, where the file cannot be read, is
            damaged or cut off, or has a line that is no such object. It names the file and the line.
        MissingExtra: At once, where a compressed recording needs the package zstandard.
    """
    name = os.fspath(path)
    if name.endswith(".jsonl.zst"):
        return _frames(name, _decompressor())
    if name.endswith(".jsonl"):
        return _frames(name, None)
    raise RecordingError(name, "its name ends neither with .jsonl nor with .jsonl.zst")


def _decompressor() -> ZstdDecompressor:
    try:
        import zstandard  # noqa: PLC0415  (installed only with an extra; plain recordings do without)
    except ModuleNotFoundError as error:
        raise MissingExtra("zstandard", "recording") from error
    return zstandard.ZstdDecompressor()


def _frames(name: str, decompressor: ZstdDecompressor | None) -> Iterator[RecordedFrame]:
    decoder = msgspec.json.Decoder(_Line)
    number = 0
    try:
        with Path(name).open("rb") as file:
            chunks = _chunks(file, CHUNK_BYTES) if decompressor is None else _decompressed(file, decompressor)
            for number, line in enumerate(_lines(chunks), start=1):
                if line.strip():
                    yield _frame(name, number, decoder, line)
    except OSError as error:
        raise RecordingError(name, f"cannot be read: {error.strerror or error}") from error
    except _DamagedError as error:
        # It is damaged somewhere behind the last line that came out whole.
        raise RecordingError(name, str(error), number + 1) from error


def _frame(name: str, number: int, decoder: msgspec.json.Decoder[_Line], line: bytes) -> RecordedFrame:
    try:
        recorded = decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(name, f"no frame of a recording: {error}", number) from error
    if not (recorded.ts.is_finite() and 0 <= recorded.ts < LATEST_SECONDS):
        raise RecordingError(name, f"ts is {quoted(str(recorded.ts), 40)}, which is no Unix time in seconds", number)
    return RecordedFrame(received_at=int(recorded.ts * 1_000_000_000), data=recorded.data.encode())


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while chunk := file.read(size):
        yield chunk


def _decompressed(file: BinaryIO, decompressor: ZstdDecompressor) -> Iterator[bytes]:
    """Decompress a file of any number of Zstandard frames; a last one that is cut off is an error, not an end."""
    from zstandard import ZstdError  # noqa: PLC0415  (see _decompressor)

    frame = None
    try:
        for chunk in _chunks(file, COMPRESSED_CHUNK_BYTES):
            rest = chunk
            while rest:
                frame = frame or decompressor.decompressobj()
                yield frame.decompress(rest)
                rest = frame.unused_data
                if frame.eof:
                    frame = None
    except ZstdError as error:
        raise _DamagedError(f"damaged: {error}") from error
    if frame is not None:
        raise _DamagedError("cut off: the compressed data has no end")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks into lines, without their ends. A long line is joined once, however many chunks it spans."""
    begun: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        for following in others:
            yield b"".join(begun)
            begun = [following]
    if last := b"".join(begun):
        yield last
