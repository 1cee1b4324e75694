"""Frames that can be told apart, journals to put them in, and processes that use them and may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import IO, TypeVar

from reactivex.abc import ObserverBase

from rxbridge.journal import DeadLetter, Journal
from rxbridge.messages import Frame

DEADLINE_SECONDS = 30.0
SECOND = 10**9
CONNECTION = 1_700_000_000 * SECOND

T = TypeVar("T")


def frame(number: int, size: int = 100, *, received_at: int | None = None) -> Frame:
    """The frame with this number, whose payload has `size` bytes (but at least those of the number)."""
    data = b'{"n":%d,"x":"' % number
    return Frame(
        data + b"x" * (size - len(data) - 2) + b'"}',
        time.time_ns() if received_at is None else received_at,
        CONNECTION,
        number,
    )


def frames(first: int, last: int, size: int = 100) -> list[Frame]:
    return [frame(number, size) for number in range(first, last + 1)]


def append_all(journal: Journal, items: Iterable[Frame]) -> None:
    for item in items:
        journal.append(item)
    assert journal.flush(DEADLINE_SECONDS)


def read_all(journal: Journal, after: int = 0, limit: int = 1000) -> list[Frame]:
    found: list[Frame] = []
    while batch := journal.read(after, limit):
        assert [item.offset for item in batch] == sorted(item.offset for item in batch)
        assert batch[0].offset > after
        found += batch
        after = batch[-1].offset
    return found


def numbers(items: Iterable[Frame]) -> list[int]:
    """Which frames these are, each of which must be whole."""
    found: list[int] = []
    for item in items:
        assert item.data == frame(item.index, len(item.data)).data
        assert item.connection == CONNECTION
        found.append(item.index)
    return found


def offsets(items: Iterable[Frame]) -> list[int]:
    return [item.offset for item in items]


def letter(offset: int, event_id: str = "", reason: str = "why not", attempts: int = 1) -> DeadLetter:
    return DeadLetter(offset, event_id, "deliver", reason, b"content", 10, 20, attempts)


def eventually(condition: Callable[[], T], seconds: float = DEADLINE_SECONDS) -> T:
    """Wait for a condition; the seconds are a deadline, not a measure."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it has not happened in time"
        time.sleep(0.005)
    return result


class Subscriber(ObserverBase[Frame]):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.error: Exception | None = None
        self.ended = Event()

    def on_next(self, value: Frame) -> None:
        self.frames.append(value)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.ended.set()

    def on_completed(self) -> None:
        self.ended.set()


class Child:
    """A process that runs `tests.rxbridge.journal.child`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> str:
        """The next line that it prints."""
        line = self._output.readline()
        assert line, f"the child has ended with {self._process.wait()}"
        return line.strip()

    def kill(self) -> list[str]:
        """Kill it as `kill -9` does; the whole lines that it had printed."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        printed = self._output.read()
        return printed[: printed.rfind("\n") + 1].splitlines()

    def wait(self) -> list[str]:
        """Let it end by itself; the lines that it printed."""
        printed = self._output.read().splitlines()
        assert self._process.wait(DEADLINE_SECONDS) == 0
        return printed

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._input.close()
        self._output.close()


@contextmanager
def child(*arguments: object, prefix: Sequence[str] = ()) -> Generator[Child]:
    """Start a child with these arguments, by way of the command `prefix` if there is one."""
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [*prefix, sys.executable, "-m", "tests.rxbridge.journal.child", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    )
    started = Child(process)
    try:
        yield started
    finally:
        started.close()
