"""What many tests need."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rxbridge import Bridge
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


@pytest.fixture(scope="session")
def real_recording() -> Callable[[str], Path]:
    """The path of a recording by its name, such as `exchange-2021`; a test that needs an absent one is skipped."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("COINBASE_RECORDINGS", beside))

    def path_of(name: str) -> Path:
        path = folder / f"{name}.jsonl.zst"
        if not path.exists():
            pytest.skip(f"there is no recording {path.name}")
        return path

    return path_of


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Waits until a condition holds; the seconds are a deadline, not a measure."""

    def wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.01)

    return wait


@pytest.fixture
def patient_bridges(monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]) -> None:
    """Bridges of examples, which give them a moment, have as long as they need to deliver something in it."""
    waits = Bridge.wait

    def wait(bridge: Bridge, seconds: float | None = None) -> bool:
        if seconds is not None:
            wait_for(lambda: bridge.statistics().delivery.delivered)
        return waits(bridge, seconds)

    monkeypatch.setattr(Bridge, "wait", wait)
