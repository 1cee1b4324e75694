"""One feeder, one deliverer and one maintainer a journal: locks that the operating system frees when their owner dies.

The journal itself takes the first two. The third is for commands that send something again, and only for those: two of
them would have two requests with the same event under way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from rxbridge.errors import JournalInUse

LockedRole: TypeAlias = Literal["feed", "deliver", "maintain"]

_held: set[tuple[int, int, int]] = set()
"""The locks of this process: its id, and device and number of each file. The id that a file holds does not tell: in
two containers it may be the same, and a child that was forked has all that its parent had."""


class RoleLock:
    """The right to feed, deliver from, or maintain the journal at `path`, held until `release` or the process ends.

    The lock is one of `flock`, on the file `<path>.<role>.lock`, which is never removed: removing it would let two
    processes lock two different files of one name. It holds the owner's process id and start, for the error message.

    Raises:
        JournalInUse: Somebody else has it.
    """

    def __init__(self, path: Path, role: LockedRole) -> None:
        self._descriptor = os.open(f"{path}.{role}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._descriptor, 200, 0).decode("ascii", "replace").strip()
            here = self._identity() in _held
            os.close(self._descriptor)
            raise JournalInUse(str(path), role, owner or "which did not leave its name", here=here) from None
        self._mine = self._identity()
        _held.add(self._mine)
        # The name is a courtesy: a disk that is full must not keep the journal from being read.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"pid {os.getpid()}, since {_now()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it; twice is as good as once."""
        if self._descriptor >= 0:
            _held.discard(self._mine)
            os.close(self._descriptor)
            self._descriptor = -1

    def _identity(self) -> tuple[int, int, int]:
        file = os.fstat(self._descriptor)
        return os.getpid(), file.st_dev, file.st_ino


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
