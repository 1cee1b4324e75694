"""Frames that were taken and are not yet confirmed, in the portions in which they will be stored."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rxbridge.messages import Frame


@dataclass(slots=True)
class Chunk:
    """Frames that will share a row; `bytes` is about what they take there."""

    frames: list[Frame] = field(default_factory=list[Frame])
    bytes: int = 0


class Pending:
    """A queue of chunks. What `take` hands out still counts, until it is `settled`. The caller does the locking.

    Args:
        chunk_bytes: A chunk that has reached this size is not added to.

    Attributes:
        frames: How many frames are not yet settled.
        bytes: About how much they take.
    """

    def __init__(self, chunk_bytes: int) -> None:
        self.frames: int = 0
        self.bytes: int = 0
        self._chunk_bytes = chunk_bytes
        self._chunks: deque[Chunk] = deque()
        self._open = Chunk()

    def __bool__(self) -> bool:
        """Whether there is something to take."""
        return bool(self._chunks)

    def add(self, frame: Frame, size: int) -> None:
        """Queue a frame that will take `size` bytes."""
        chunk = self._open
        if not chunk.frames or chunk.bytes >= self._chunk_bytes:
            chunk = self._open = Chunk()
            self._chunks.append(chunk)
        chunk.frames.append(frame)
        chunk.bytes += size
        self.frames += 1
        self.bytes += size

    def take(self, limit: int) -> list[Chunk]:
        """The oldest chunks, at least one if there is any, about `limit` bytes at most."""
        taken: list[Chunk] = []
        size = 0
        while self._chunks and (not taken or size + self._chunks[0].bytes <= limit):
            chunk = self._chunks.popleft()
            taken.append(chunk)
            size += chunk.bytes
        if not self._chunks:
            self._open = Chunk()
        return taken

    def put_back(self, chunks: list[Chunk]) -> None:
        """Queue again, in front, what was taken and could not be stored."""
        self._chunks.extendleft(reversed(chunks))

    def settled(self, chunks: list[Chunk]) -> None:
        """Count no longer what was taken: it is stored."""
        for chunk in chunks:
            self.frames -= len(chunk.frames)
            self.bytes -= chunk.bytes

    def drop_oldest(self) -> list[Frame]:
        """Give up the oldest chunk; its frames, none if all chunks are taken."""
        if not self._chunks:
            return []
        chunk = self._chunks.popleft()
        if not self._chunks:
            self._open = Chunk()
        self.settled([chunk])
        return chunk.frames
