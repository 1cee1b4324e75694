from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from reactivex.scheduler import EventLoopScheduler
from reactivex.testing import TestScheduler


@pytest.fixture
def clock() -> TestScheduler:
    return TestScheduler()


@pytest.fixture
def event_loop() -> Iterator[EventLoopScheduler]:
    scheduler = EventLoopScheduler()
    yield scheduler
    scheduler.dispose()


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Let threads interrupt each other some hundred times more often than they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)
