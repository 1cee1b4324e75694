"""From a file to its lines: reading, decompressing, cutting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from rxbridge.errors import MissingExtra, RecordingError

if TYPE_CHECKING:
    from zstandard import ZstdDecompressor

PLAIN, COMPRESSED = ".jsonl", ".jsonl.zst"

CHUNK_BYTES = 64 * 1024
"""How much of a plain file is read at once."""

COMPRESSED_CHUNK_BYTES = 1024
"""Likewise of a compressed one: far less, because a chunk comes out whole, and may come out a thousand times larger."""


class DamagedError(Exception):
    """The compressed data makes no sense from here on."""


class CutOffError(DamagedError):
    """The compressed data has no end, as when its writer was killed."""


class Rest(bytes):
    """The last line of a file, where it has no end."""

    __slots__ = ()


def is_compressed(name: str) -> bool:
    """Whether a recording is compressed, by its name.

    Raises:
        RecordingError: It is no recording's name.
    """
    if name.endswith(COMPRESSED):
        return True
    if name.endswith(PLAIN):
        return False
    raise RecordingError(name, "its name ends neither with .jsonl nor with .jsonl.zst")


def decompressor() -> ZstdDecompressor:
    """What decompresses a recording.

    Raises:
        MissingExtra: The package zstandard is not installed.
    """
    try:
        import zstandard  # noqa: PLC0415  (installed only with an extra; plain recordings do without)
    except ModuleNotFoundError as error:
        raise MissingExtra("zstandard", "recording") from error
    return zstandard.ZstdDecompressor()


def lines(file: BinaryIO, decompressing: ZstdDecompressor | None) -> Iterator[bytes]:
    """The lines of an open file, without their ends; a last one that has no end is a `Rest`.

    Raises:
        DamagedError: The compressed data makes no sense from here on.
        CutOffError: It has no end.
        OSError: The file cannot be read.
    """
    if decompressing is None:
        return _cut(_chunks(file, CHUNK_BYTES))
    return _cut(_decompressed(file, decompressing))


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while chunk := file.read(size):
        yield chunk


def _decompressed(file: BinaryIO, decompressing: ZstdDecompressor) -> Iterator[bytes]:
    """Decompress a file of any number of Zstandard frames; a last one that is cut off is an error, not an end."""
    from zstandard import ZstdError  # noqa: PLC0415  (see decompressor)

    frame = None
    try:
        for chunk in _chunks(file, COMPRESSED_CHUNK_BYTES):
            rest = chunk
            while rest:
                frame = frame or decompressing.decompressobj()
                yield frame.decompress(rest)
                rest = frame.unused_data
                if frame.eof:
                    frame = None
    except ZstdError as error:
        raise DamagedError(f"damaged: {error}") from error
    if frame is not None:
        raise CutOffError("cut off: the compressed data has no end")


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks into lines. A long line is joined once, however many chunks it spans."""
    begun: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        for following in others:
            yield b"".join(begun)
            begun = [following]
    if last := b"".join(begun):
        yield Rest(last)
