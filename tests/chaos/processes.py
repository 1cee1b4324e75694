"""Real processes: what they are told, what they say, and their end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 30.0


class ChaosError(RuntimeError):
    """The suite itself could not do its part."""


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, without what would configure rxbridge or send loopback through a proxy."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RXBRIDGE_", "PULSESTREAM_")) and not name.lower().endswith("_proxy")
    }
    # A process whose disk is full writes no bytecode either.
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}


class Running:
    """A Python module that runs in a process of its own. What it says goes to the end of a file, by way of a pipe.

    So a limit on the size of its files does not silence it, and several lives of one program share a file.
    """

    def __init__(self, arguments: Sequence[object], *, log: Path, more: Mapping[str, str], folder: Path) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=folder,
            env=environment(more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            # Ctrl-C is for the suite, which ends what it has started.
            process_group=0,
        )
        self._from = log.stat().st_size if log.exists() else 0
        self._pump = threading.Thread(target=self._copy, name="chaos-log", daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """What this life of it has said so far."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            file.seek(self._from)
            return file.read().decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.code is None:
            self._process.send_signal(number)

    def limit_files(self, size: int) -> None:
        """Let no file of it grow beyond `size` bytes, RLIM_INFINITY for any size: the disk is full, or is not."""
        if self.code is None:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def resident_bytes(self) -> int:
        """How much memory it has; 0 once it has ended."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0
        sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(sizes[0]) * 1024 if sizes else 0

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code.

        Raises:
            ChaosError: It still runs after that time.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ChaosError(f"process {self.pid} still runs after {seconds:g} s") from None
        self._pump.join(STOP_SECONDS)
        return code

    def wait_for(self, text: str, seconds: float = STOP_SECONDS) -> str:
        """What it has said, once `text` is in it.

        Raises:
            ChaosError: It has not said it in time, or has ended.
        """
        wait_until(lambda: text in self.said or self.code is not None, seconds)
        if text not in self.said:
            raise ChaosError(f"process {self.pid} did not say {text!r}; it said:\n{self.said[-2_000:]}")
        return self.said

    def kill(self) -> int:
        """Kill -9, also where it is suspended; its exit code."""
        self.send(signal.SIGKILL)
        return self.wait()

    def _copy(self) -> None:
        pipe = cast("IO[bytes]", self._process.stdout)
        with pipe, self._log.open("ab", buffering=0) as log:
            while data := pipe.read(65_536):
                log.write(data)


def wait_until(condition: Callable[[], bool], seconds: float, *, every_seconds: float = 0.02) -> bool:
    """Wait until a condition holds, or the time is over; whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_seconds)
    return True
