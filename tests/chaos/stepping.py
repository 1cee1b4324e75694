"""`python -m tests.chaos.stepping FILE ARGUMENTS...`: rxbridge with a wall clock that a file steps.

The file holds eight bytes, a signed number of nanoseconds in native order, which are added to the time. Clocks that
only go forward are left alone, as they are when an operator or NTP sets the time.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

_OFFSET = struct.Struct("=q")


def set_clock(path: Path, seconds: float) -> None:
    """Step the clock of whoever runs with this file: so far from the real time."""
    if path.exists():
        # In place: it is mapped.
        with path.open("r+b") as file:
            file.write(_OFFSET.pack(round(seconds * 1e9)))
    else:
        path.write_bytes(_OFFSET.pack(round(seconds * 1e9)))


def _step_by(path: Path) -> None:
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    real_ns = time.time_ns

    def time_ns() -> int:
        return real_ns() + _OFFSET.unpack_from(offset)[0]

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def main() -> None:
    """Run rxbridge with the arguments that follow the file's name."""
    _, file, *arguments = sys.argv
    _step_by(Path(file))
    # Only now, so that nothing has the real clock in hand already.
    from rxbridge.cli import main as run_rxbridge  # noqa: PLC0415

    sys.argv = ["rxbridge", *arguments]
    run_rxbridge()


if __name__ == "__main__":
    main()
