"""Child processes: what they tell, what they cost, and their end."""

from __future__ import annotations

import ctypes
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

ROOT = Path(__file__).parent.parent
_STOP_SECONDS = 10
_C_LIBRARY = ctypes.CDLL(None)


class ChildFailed(RuntimeError):
    """A child did not do its part; the end of what it wrote on standard error says why, if it said."""


class Child:
    """A Python module that runs in a process of its own and talks in lines of JSON; ended at the end of the `with`."""

    def __init__(
        self, module: str, *arguments: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None
    ) -> None:
        self._name = module
        self._lines = b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env=_environment(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
        )
        # Both are pipes, as was asked for.
        self._input = cast("IO[bytes]", self._process.stdin)
        self._output = cast("IO[bytes]", self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._log.close()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def go(self) -> None:
        """Tell it to do its next step."""
        self._input.write(b"\n")

    def hear(self, key: str, seconds: float = 20) -> dict[str, Any]:
        """What it tells next, which must have this key.

        Raises:
            ChildFailed: It ended, said something else, or said nothing in time.
        """
        values = self.hear_within(seconds)
        if values is None or key not in values:
            raise ChildFailed(f"{self._name}: no {key!r} within {seconds:g} s\n{self.complaints()}")
        return values

    def hear_within(self, seconds: float) -> dict[str, Any] | None:
        """What it tells next, or None if it says nothing in time or has ended."""
        deadline = time.monotonic() + seconds
        pipe = self._output.fileno()
        while b"\n" not in self._lines:
            readable, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
            data = os.read(pipe, 1 << 20) if readable else b""
            if not data:
                return None
            self._lines += data
        line, _, self._lines = self._lines.partition(b"\n")
        return json.loads(line)

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, ended ones included, to the nanosecond."""
        clock = ctypes.c_int()
        if _C_LIBRARY.clock_getcpuclockid(self._process.pid, ctypes.byref(clock)):
            raise ChildFailed(f"{self._name} has ended\n{self.complaints()}")
        return time.clock_gettime(clock.value)

    def peak_rss_bytes(self) -> int:
        """The most memory that was resident so far (VmHWM)."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
        raise ChildFailed(f"{self._name} has ended\n{self.complaints()}")

    def stop(self) -> int:
        """SIGTERM, and wait.

        Returns:
            Its exit code.
        """
        self._process.terminate()
        return self._process.wait(_STOP_SECONDS)

    def complaints(self) -> str:
        """The end of what it wrote on standard error."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-20:])

    def _end(self) -> None:
        if self.running:
            self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would configure the bridge or send loopback through a proxy."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RXBRIDGE_", "PULSESTREAM_")) and not name.lower().endswith("_proxy")
    }
    return {**kept, **more}
