"""What many tests need."""

import secrets
import time
from collections.abc import Callable, Iterator

import pytest

from rxbridge.pulsestream_server import EmbeddedPulseStream


@pytest.fixture
def pulsestream_key() -> str:
    """The key of the tenant that `pulsestream` has."""
    return secrets.token_urlsafe(16)


@pytest.fixture
def pulsestream(pulsestream_key: str) -> Iterator[EmbeddedPulseStream]:
    """A PulseStream of this test's own, empty and without a rate limit."""
    with EmbeddedPulseStream(api_key=pulsestream_key, rate_limit=0) as server:
        yield server


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Waits until a condition holds; the seconds are a deadline, not a measure."""

    def wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.01)

    return wait
