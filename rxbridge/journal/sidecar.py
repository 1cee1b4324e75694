"""The small file beside a journal that outlives it: it guards its identity, and remembers how far it had come.

A damaged journal is exchanged for a new file under the same name. The sidecar's lock makes that safe while other
processes use the journal: they write with the lock shared and check the file's identity first; who opens or exchanges
the file holds the lock alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Literal, TypeAlias

Mark: TypeAlias = Literal["last_offset", "acknowledged"]

_LINES: dict[Mark, int] = {"last_offset": 0, "acknowledged": 34}
_LINE = "{:<13}{:020d}\n"


class Sidecar:
    """The file `<path>.offsets`. One object a thread: `flock` does not nest within one open file.

    Its two marks are a memory for the day on which the journal itself cannot be read. They are written without
    waiting for the disk, so they survive a killed process, and are roughly right after a power cut.

    Args:
        path: The journal's path.
        writable: Whether to create it; otherwise a missing sidecar locks nothing and remembers nothing.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        name = f"{path}.offsets"
        self._descriptor = -1
        if writable:
            self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        else:
            with contextlib.suppress(FileNotFoundError):
                self._descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def shared(self) -> Generator[None]:
        """The journal stays the same file meanwhile."""
        yield from self._locked(fcntl.LOCK_SH)

    @contextlib.contextmanager
    def exclusive(self) -> Generator[None]:
        """Nobody else writes to the journal, opens or exchanges it meanwhile."""
        yield from self._locked(fcntl.LOCK_EX)

    def _locked(self, kind: int) -> Generator[None]:
        if self._descriptor < 0:
            yield
            return
        fcntl.flock(self._descriptor, kind)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def remember(self, mark: Mark, offset: int) -> None:
        """Write a mark."""
        # A memory aid only: what counts is in the journal, and a disk that takes nothing is told of elsewhere.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, _LINE.format(mark, offset).encode(), _LINES[mark])

    def recall(self, mark: Mark) -> int:
        """What was last written, 0 if nothing was; for a writable one."""
        line = os.pread(self._descriptor, 34, _LINES[mark])
        found = re.fullmatch(rf"{mark} +(\d+)\n", line.decode("ascii", "replace"))
        return int(found[1]) if found else 0

    def close(self) -> None:
        """Let go of it; twice is as good as once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
