"""Writing a recording, such that whatever ends the process, what was written before can be read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rxbridge.errors import MissingExtra, RecordingError
from rxbridge.messages import OWN_CONNECTION, Frame, line_of
from rxbridge.recording.chunks import is_compressed
from rxbridge.recording.files import numbered, numbers
from rxbridge.recording.lines import LATEST_SECONDS, Mark, frame_line, mark_line

if TYPE_CHECKING:
    from zstandard import ZstdCompressionObj

_MOST_CONNECTIONS = 1024
"""Connections that are remembered; one that was forgotten is only marked once more."""

_HELD_BYTES = 256 * 1024
"""Bytes of lines that are compressed, or written, at once."""


@dataclass(frozen=True, slots=True)
class RecordingStatistics:
    """What was recorded.

    Attributes:
        frames: Frames.
        bytes: Bytes in the files, compressed.
        files: Files.
        gaps: Gaps that were marked.
        path: The file that is written now.
        newest: When the newest frame was received: nanoseconds since the Unix epoch; 0 before the first.
    """

    frames: int
    bytes: int
    files: int
    gaps: int
    path: Path
    newest: int


class RecordingWriter:
    """Writes frames to a recording, which `rxbridge.recording.frames` reads again, each with its connection and index.

        append   a0 a1 a2 ... a9 | b0 b1 ...
        lines    C  a0 a1 a2 ... a9  G  C  b0 b1 ...        C connect, G gap: no frame in between

    What was appended is in the file after `flush`, or a second after it with the next frame; `kill -9` costs no more
    than that. A power cut may cost what the operating system had not written yet.

    Without rotation the recording is the file `path`, which must not exist. With it, it is `path` with a number in the
    name, `day-0001.jsonl.zst`; numbers that are there already are left alone, and it goes on with the next one. Each
    file can be read without the others.

    Every method may be called from any thread.

    Args:
        path: Ends with `.jsonl`, or with `.jsonl.zst` to be compressed with Zstandard.
        rotate_bytes: A file of this size is followed by the next. It grows a little larger: by what is flushed at once.
        rotate_seconds: A file whose first frame was received so long before is followed by the next.
        flush_seconds: How long a frame may wait for the one that has it written.

    Raises:
        RecordingError: The file cannot be made, or there is one already.
        MissingExtra: A compressed recording needs the package zstandard.
        ValueError: A limit is not positive.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rotate_bytes: int | None = None,
        rotate_seconds: float | None = None,
        flush_seconds: float = 1.0,
    ) -> None:
        for limit in (rotate_bytes, rotate_seconds, flush_seconds):
            if limit is not None and limit <= 0:
                raise ValueError(f"a limit of {limit} is not positive")
        self._path = Path(path)
        self._compressor = _compressors(is_compressed(os.fspath(path)))
        self._rotate_bytes = rotate_bytes
        self._rotate_nanoseconds = None if rotate_seconds is None else int(rotate_seconds * 1e9)
        self._flush_seconds = flush_seconds
        self._lock = Lock()
        self._frames = self._files = self._gaps = self._bytes_before = 0
        self._newest = 0
        self._failure: RecordingError | None = None
        self._closed = False
        # By connection, the index that its next frame has.
        self._expected: dict[int, int] = {}
        # When the newest frame of each line was received.
        self._newest_of_line: dict[int, int] = {}
        self._number = max(numbers(self._path), default=0)
        self._open()

    def append(self, frame: Frame) -> None:
        """Write a frame.

        Raises:
            RecordingError: It cannot be written, such as on a full disk; or was received at a time that has no place in
                a recording. What was written before can be read; nothing more is written.
        """
        with self._lock:
            if not 0 <= frame.received_at < LATEST_SECONDS * 1_000_000_000:
                raise self._error(f"cannot hold a frame of the time {frame.received_at}")
            self._guarded(lambda: self._append(frame))

    def flush(self) -> None:
        """Have all that was appended in the file. Raises as `append`."""
        with self._lock:
            self._guarded(self._flush)

    def statistics(self) -> RecordingStatistics:
        """What was recorded."""
        with self._lock:
            size = self._bytes_before + self._file.size
            return RecordingStatistics(self._frames, size, self._files, self._gaps, self._file.path, self._newest)

    def close(self) -> None:
        """Write the end of the file, and have the disk keep it. Twice is as good as once. Raises as `append`."""
        with self._lock:
            if self._closed:
                return
            if self._failure is not None:
                self._file.abandon()
            else:
                self._guarded(self._file.close)
            self._closed = True

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do it, unless something has failed before: behind a torn line, nothing can be read."""
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise self._error("is closed")
        try:
            action()
        except OSError as error:
            self._failure = self._error(f"cannot be written: {error.strerror or error}")
            raise self._failure from error
        except RecordingError as error:  # the next file cannot be made
            self._failure = error
            raise

    def _append(self, frame: Frame) -> None:
        if self._must_rotate(frame):
            self._file.close()
            self._bytes_before += self._file.size
            self._open()
        file = self._file
        if not file.begun_at:
            file.begun_at = frame.received_at
        connection = self._mark(file, frame)
        file.add(frame_line(frame.received_at, frame.data, connection))
        self._frames += 1
        self._newest = frame.received_at
        if time.monotonic() >= file.flush_at:
            self._flush()

    def _must_rotate(self, frame: Frame) -> bool:
        file = self._file
        if self._rotate_bytes is not None and file.size >= self._rotate_bytes:
            return True
        if self._rotate_nanoseconds is None or not file.begun_at:
            return False
        # A clock that was set back by more is no reason to go on with the file until it has caught up.
        return abs(frame.received_at - file.begun_at) >= self._rotate_nanoseconds

    def _mark(self, file: _File, frame: Frame) -> int | None:
        """Write the marks that the frame needs before it; the connection that its line must name."""
        connection = frame.connection
        expected = self._expected.get(connection)
        # Of a line that is new here nothing is missing, though others were there before.
        before = self._newest_of_line.get(line_of(connection))
        if expected is None and before is not None and connection != OWN_CONNECTION:
            gap = Mark("gap", None, 0, before, frame.received_at)
        elif expected is not None and frame.index > expected:
            missing = frame.index - expected
            gap = Mark("gap", connection, expected, before or self._newest, frame.received_at, missing)
        else:
            gap = None
        if gap is not None:
            self._gaps += 1
            file.add(mark_line(frame.received_at, gap))
        if frame.index != expected or connection not in file.connections:
            file.add(mark_line(frame.received_at, Mark("connect", connection, frame.index)))
            file.connections.add(connection)
            file.current = connection
        self._expected.pop(connection, None)
        self._expected[connection] = frame.index + 1
        if connection != OWN_CONNECTION:
            self._newest_of_line[line_of(connection)] = frame.received_at
        if len(self._expected) > _MOST_CONNECTIONS:
            self._expected.pop(next(iter(self._expected)))
        return None if connection == file.current else connection

    def _flush(self) -> None:
        self._file.flush()
        self._file.flush_at = time.monotonic() + self._flush_seconds

    def _open(self) -> None:
        rotates = self._rotate_bytes is not None or self._rotate_nanoseconds is not None
        self._number += 1
        path = numbered(self._path, self._number) if rotates else self._path
        try:
            self._file = _File(path, self._compressor(), time.monotonic() + self._flush_seconds)
        except FileExistsError as error:
            if rotates:
                # Another writer's, which was begun meanwhile.
                self._open()
                return
            raise RecordingError(os.fspath(path), "is there already, and is not written over") from error
        except OSError as error:
            raise RecordingError(os.fspath(path), f"cannot be made: {error.strerror or error}") from error
        self._files += 1

    def _error(self, problem: str) -> RecordingError:
        return RecordingError(os.fspath(self._file.path), problem)


class _File:
    """One file, and what is on its way there.

    Attributes:
        size: Its bytes.
        begun_at: When its first frame was received; 0 before.
        flush_at: When it must be flushed, by the monotonic clock.
        connections: Those that it has marked.
        current: The one that was marked last.
    """

    def __init__(self, path: Path, compressor: ZstdCompressionObj | None, flush_at: float) -> None:
        self.path = path
        self.size = 0
        self.begun_at = 0
        self.flush_at = flush_at
        self.connections: set[int] = set()
        self.current: int | None = None
        self._compressor = compressor
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._file = path.open("xb", buffering=0)

    def add(self, line: bytes) -> None:
        """Take a line; many are written at once."""
        self._held.append(line)
        self._held_bytes += len(line)
        if self._held_bytes >= _HELD_BYTES:
            self._write_held()

    def flush(self) -> None:
        """Have all lines in the file, such that a reader finds them whole."""
        self._write_held()
        if self._compressor is not None:
            self._write(self._compressor.flush(_flush_block()))

    def close(self) -> None:
        """Write the end, and wait for the disk."""
        try:
            self._write_held()
            if self._compressor is not None:
                self._write(self._compressor.flush())
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        self._file.close()

    def _write_held(self) -> None:
        held, self._held, self._held_bytes = b"".join(self._held), [], 0
        self._write(held if self._compressor is None else self._compressor.compress(held))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._file.fileno(), view)
            self.size += written
            view = view[written:]


def _compressors(compressed: bool) -> Callable[[], ZstdCompressionObj | None]:  # noqa: FBT001
    if not compressed:
        return lambda: None
    try:
        import zstandard  # noqa: PLC0415  (installed only with an extra; plain recordings do without)
    except ModuleNotFoundError as error:
        raise MissingExtra("zstandard", "recording") from error
    return lambda: zstandard.ZstdCompressor(write_checksum=True).compressobj()


def _flush_block() -> int:
    import zstandard  # noqa: PLC0415  (as above)

    return zstandard.COMPRESSOBJ_FLUSH_BLOCK
