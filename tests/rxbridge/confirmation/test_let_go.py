"""A journal that was too small for the confirmation: what it let go was delivered, and the rest is looked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rxbridge.audit import audit
from rxbridge.confirmation import CONSUMER, Confirmation
from rxbridge.events import EventRules
from rxbridge.journal import Journal, MemoryJournal, SqliteJournal
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.telemetry.statistics import ConfirmationStatistics
from tests.rxbridge.confirmation.support import CHANNELS, Losses, append, deliver, match

KEY = "a-key"
PORTION = 50
SMALL = 50_000


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
def server(losses: Losses) -> Iterator[EmbeddedPulseStream]:
    with EmbeddedPulseStream(api_key=KEY, rate_limit=0, middleware=losses.middleware) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedPulseStream) -> Iterator[PulseStreamClient]:
    with PulseStreamClient(server.url, KEY) as client:
        yield client


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    if request.param == "memory":
        journal = MemoryJournal(max_bytes=SMALL, essential=DELIVERY)
    else:
        journal = SqliteJournal(tmp_path / "journal", max_bytes=SMALL, essential=DELIVERY)
    with journal:
        yield journal


def confirmation(
    journal: Journal, client: PulseStreamClient, statistics: ConfirmationStatistics, *, after_seconds: float
) -> Confirmation:
    return Confirmation(
        journal,
        client,
        mode="all",
        channels=CHANNELS,
        rules=EventRules("test"),
        statistics=statistics,
        after_seconds=after_seconds,
        wait_after_timeout_seconds=0.1,
    )


def deliver_more(journal: Journal, server: EmbeddedPulseStream, first: int) -> int:
    """Deliver trades from this one on until the journal has let go of some; the last one."""
    before, last = journal.let_go(), first - 1
    while journal.let_go() == before:
        append(journal, map(match, range(last + 1, last + PORTION + 1)))
        deliver(journal, server, KEY)
        last += PORTION
    return last


def test_what_is_left_is_looked_for_and_the_audit_is_exact(
    *,
    journal: Journal,
    server: EmbeddedPulseStream,
    client: PulseStreamClient,
    losses: Losses,
    wait_for: Callable[..., None],
    log: list[str],
) -> None:
    counts = ConfirmationStatistics()
    waiting = confirmation(journal, client, counts, after_seconds=600)
    waiting.start()
    last = deliver_more(journal, server, 1)
    losses.loses = lambda _ids: True
    append(journal, [match(last + 1)])
    deliver(journal, server, KEY)
    losses.loses = lambda _ids: False
    assert not waiting.stop(1)
    gone = journal.let_go()
    assert 0 < gone == journal.size().first_offset - 1

    begun = confirmation(journal, client, counts, after_seconds=0.05)
    begun.start()
    wait_for(begun.caught_up)
    assert begun.stop(10)

    kept = journal.size()
    assert journal.cursor(CONSUMER) == kept.last_offset
    told = f"WARNING [LET GO] What PulseStream has lost of the frames 1 to {gone} is not noticed"
    assert any(line.startswith(told) for line in log)
    # Among what is kept, the loss was noticed.
    assert counts.missing == 1
    result = audit(journal, client, channels=CHANNELS, rules=EventRules("test"))
    assert result.ok, result
    assert (result.dropped, result.waiting, result.missing, result.duplicates) == (0, 0, 0, 0)
    assert result.received == result.delivered == result.stored == kept.frames
