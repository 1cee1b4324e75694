"""Ports on loopback."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from itertools import count, islice

FIRST, LAST = 20_000, 32_000
"""Below those that a system gives to whoever asks for any: nobody gets one by chance while nobody listens on it."""

WORKERS = 16
"""Each process of the tests has a stretch of its own, so that two of them are not given the same one."""

_APART = 41

_given: dict[int, Iterator[int]] = {}
"""The numbers that are to be tried next, by process: a forked one begins somewhere else than its parent goes on."""


def free_port() -> int:
    """A port on which nobody listens, and which nobody gets who does not ask for it."""
    worker = re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", ""))
    size = (LAST - FIRST) // (2 * WORKERS)
    # Whatever else runs tests at the same time, with no number, has the other half.
    stretch = int(worker) % WORKERS if worker else WORKERS + os.getpid() % WORKERS
    first = FIRST + stretch * size
    given = _given.setdefault(os.getpid(), count(os.getpid() * _APART))
    for number in islice(given, size):
        port = first + number % size
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"all ports from {first} on are taken")
