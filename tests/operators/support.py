"""What the operators' tests share: threads to be started, joined and waited for. The rest is `operators.testing`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Thread
from time import monotonic

from operators.testing.subscriber import DEADLINE, CountingScheduler, Subscriber, wait_for_turn

__all__ = ["DEADLINE", "CountingScheduler", "Subscriber", "join", "start", "wait_for_turn", "wait_until_held_back"]


def start(*targets: Callable[[], object]) -> list[Thread]:
    """Run each on a thread of its own."""
    threads = [Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def join(*threads: Thread) -> None:
    """Wait until all threads have ended."""
    end = monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
        assert not thread.is_alive()


def wait_until_held_back(thread: Thread) -> None:
    """Wait until the thread waits within an operator for its turn; fail if it ends instead."""
    end = monotonic() + DEADLINE
    while not _held_back(thread):
        assert thread.is_alive()
        assert monotonic() < end


def _held_back(thread: Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None or frame.f_code.co_name != "wait":
        return False
    caller = frame.f_back
    return caller is not None and caller.f_globals["__name__"].startswith("operators.")
