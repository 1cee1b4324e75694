"""Reading recordings: the frames of one file, or of those that one recording was rotated into."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from loguru import logger

from rxbridge.errors import RecordingError
from rxbridge.messages import Frame
from rxbridge.recording import chunks
from rxbridge.recording.lines import Line, LineReader, Mark, RecordedFrame

if TYPE_CHECKING:
    from zstandard import ZstdDecompressor

Torn: TypeAlias = Callable[[RecordingError], None]
"""Is told that a recording ends in the middle, as it does when its writer was killed; what came before is whole."""


def read(path: str | os.PathLike[str], *, torn: Torn | None = None) -> Iterator[RecordedFrame]:
    """Read the frames of a recording's file, in its order, one at a time; marks are passed over.

    Memory holds one line and one chunk of the file, however long the recording is. Empty lines are skipped.

    Args:
        path: A file whose name ends with `.jsonl`, or with `.jsonl.zst` if it is compressed with Zstandard.
        torn: Is told where the file is cut off, which is its end then; without it, that is an error.

    Raises:
        RecordingError: At once, where the name has another ending; while iterating, where the file cannot be read, is
            damaged or cut off, or has a line that is no such object. It names the file and the line.
        MissingExtra: At once, where a compressed recording needs the package zstandard.
    """
    name = os.fspath(path)
    entries = _entries(name, _decompressing(name), torn)
    return (entry for entry in entries if isinstance(entry, RecordedFrame))


def marks(path: str | os.PathLike[str]) -> Iterator[Mark]:
    """The marks of a recording's file, in its order, as far as it is whole. Raises as `read`."""
    name = os.fspath(path)
    return (entry for entry in _entries(name, _decompressing(name), log_tear) if isinstance(entry, Mark))


def read_frames(paths: Iterable[Path]) -> Generator[Frame]:
    """The frames of several files as one recording, each with its connection and its index there.

    A file without marks says nothing of connections: its frames are counted on, as of one connection that was opened
    when the first was received. A file that is cut off ends there, which the log is told of.

    Raises:
        RecordingError: While iterating, as `read`.
        MissingExtra: Likewise.
    """
    places = _Places()
    for path in paths:
        name = os.fspath(path)
        # A file that is given up in the middle is closed at once, and not when somebody collects it.
        with closing(_lines(name, _decompressing(name), log_tear)) as lines:
            for number, reader, line, at in lines:
                if line.mark is not None:
                    places.note(line.mark)
                else:
                    connection, index = places.next(line.connection, at)
                    yield Frame(reader.payload(number, line), at, connection, index)


def begins_marked(path: Path) -> int | None:
    """When a file begins, if it does with a mark: nanoseconds since the Unix epoch. Raises as `read`."""
    name = os.fspath(path)
    with closing(_lines(name, _decompressing(name), log_tear)) as lines:
        return next((at if line.mark is not None else None for _, _, line, at in lines), None)


def log_tear(error: RecordingError) -> None:
    """Tell the log of a recording that ends in the middle."""
    logger.warning("[RECORDING] Read up to where its writer was stopped in the middle: {}", error)


class _Places:
    """Which connection a frame came by, and its index there, by the marks before it."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._next: dict[int, int] = {}

    def note(self, mark: Mark) -> None:
        if mark.kind == "connect" and mark.connection is not None:
            self._current = mark.connection
            self._next[mark.connection] = mark.index

    def next(self, connection: int | None, received_at: int) -> tuple[int, int]:
        if connection is None:
            if self._current is None:
                self._current = received_at
            connection = self._current
        index = self._next.get(connection, 0)
        self._next[connection] = index + 1
        return connection, index


def _decompressing(name: str) -> ZstdDecompressor | None:
    return chunks.decompressor() if chunks.is_compressed(name) else None


def _entries(name: str, decompressing: ZstdDecompressor | None, torn: Torn | None) -> Iterator[RecordedFrame | Mark]:
    for number, reader, line, at in _lines(name, decompressing, torn):
        yield line.mark if line.mark is not None else RecordedFrame(at, reader.payload(number, line))


def _lines(
    name: str, decompressing: ZstdDecompressor | None, torn: Torn | None
) -> Generator[tuple[int, LineReader, Line, int]]:
    """The lines of a file, numbered from 1, each with its time."""
    reader = LineReader(name)
    number = 0
    try:
        with Path(name).open("rb") as file:
            for number, line in enumerate(chunks.lines(file, decompressing), start=1):
                if not line.strip():
                    continue
                try:
                    read_line, at = reader.read(number, line)
                except RecordingError as error:
                    if torn is None or not isinstance(line, chunks.Rest):
                        raise
                    torn(error)
                    return
                yield number, reader, read_line, at
    except OSError as error:
        raise RecordingError(name, f"cannot be read: {error.strerror or error}") from error
    except chunks.DamagedError as error:
        # It is damaged somewhere behind the last line that came out whole.
        failure = RecordingError(name, str(error), number + 1)
        if torn is None or not isinstance(error, chunks.CutOffError):
            raise failure from error
        torn(failure)
