"""What many tests need."""

import secrets
from collections.abc import Iterator

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
