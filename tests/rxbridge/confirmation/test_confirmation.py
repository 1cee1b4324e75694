"""The confirmation beside a real PulseStream on loopback, which loses what it has confirmed."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from rxbridge.audit import Audit, audit
from rxbridge.confirmation import CONSUMER, Confirmation, remember_purged, switch_off
from rxbridge.confirmation.note import Note, read_note
from rxbridge.errors import JournalError
from rxbridge.events import EventRules
from rxbridge.journal import DeadLetter, Journal, MemoryJournal, SqliteJournal
from rxbridge.messages import Frame
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.telemetry.statistics import ConfirmationStatistics
from tests.rxbridge.confirmation.support import CHANNELS, TORN, Losses, append, deliver, event_id, match

KEY = "a-key"
WaitFor = Callable[..., None]


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
def server(losses: Losses) -> Iterator[EmbeddedPulseStream]:
    with EmbeddedPulseStream(api_key=KEY, rate_limit=0, middleware=losses.middleware) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal")
    with journal:
        yield journal


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    number = logger.add(lines.append, level="INFO", format="{message}")
    yield lines
    logger.remove(number)


class Confirming:
    """A confirmation with a client of its own."""

    def __init__(self, journal: Journal, server: EmbeddedPulseStream, mode: str = "all", **options: Any) -> None:
        self.client = PulseStreamClient(server.url, KEY)
        self.statistics = ConfirmationStatistics()
        defaults: dict[str, Any] = {"after_seconds": 0.05, "wait_after_timeout_seconds": 0.1}
        self.confirmation = Confirmation(
            journal,
            self.client,
            mode=mode,  # pyright: ignore[reportArgumentType] - one of the two
            channels=CHANNELS,
            rules=EventRules("test"),
            statistics=self.statistics,
            **(defaults | options),
        )

    def crash(self) -> None:
        """End it as a crash would, but for a request under way: nothing is written any more."""
        self.confirmation._finish.set()
        self.confirmation._stop.set()
        self.confirmation._thread.join(30)
        self.client.close()

    def stop(self, seconds: float = 10) -> bool:
        complete = self.confirmation.stop(seconds)
        self.client.close()
        return complete


def exact(journal: Journal, server: EmbeddedPulseStream) -> Audit:
    with PulseStreamClient(server.url, KEY) as client:
        result = audit(journal, client, channels=CHANNELS, rules=EventRules("test"))
    assert result.ok, result
    return result


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_tenth_of_all_requests_lost_costs_nothing(
    *, journal: Journal, server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor, log: list[str], seed: int
) -> None:
    draw = random.Random(seed)
    losses.loses = lambda _ids: draw.random() < 0.1
    confirming = Confirming(journal, server)
    confirming.confirmation.start()
    append(journal, map(match, range(1, 3001)))
    deliver(journal, server, KEY, batch_count=50)
    wait_for(confirming.confirmation.caught_up)

    assert confirming.stop()
    assert exact(journal, server).stored == 3000
    counts = confirming.statistics
    assert counts.confirmed == 3000
    assert counts.missing > 0
    assert counts.resent >= counts.missing
    assert (counts.unproven, counts.behind_frames, counts.vouched) == (0, 0, 0)
    assert any(line.startswith("[MISSING]") and "were not stored" in line for line in log)
    assert any(line.startswith("[CONFIRMED]") for line in log)


def test_after_a_crash_it_goes_on_where_it_was(
    journal: Journal, server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor
) -> None:
    draw = random.Random(7)
    losses.loses = lambda _ids: draw.random() < 0.3
    first = Confirming(journal, server)
    first.confirmation.start()
    append(journal, map(match, range(1, 2001)))
    deliver(journal, server, KEY, batch_count=50)
    wait_for(lambda: first.statistics.confirmed >= 200)
    first.crash()
    assert read_note(journal) == Note("all", busy=True)
    before = journal.cursor(CONSUMER)

    second = Confirming(journal, server)
    second.confirmation.start()
    assert journal.cursor(CONSUMER) == before
    wait_for(second.confirmation.caught_up)
    assert second.stop()
    assert read_note(journal) == Note("all", busy=False)
    assert exact(journal, server).stored == 2000


def test_a_lost_batch_is_found_by_a_sample(
    journal: Journal, server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor
) -> None:
    losses.loses = lambda ids: event_id(450) in ids
    append(journal, map(match, range(1, 2501)))
    # However long the delivery takes, nothing is looked for meanwhile.
    delivered = threading.Event()
    confirming = Confirming(journal, server, "sample", clock=lambda: time.monotonic() if delivered.is_set() else 0.0)
    confirming.confirmation.start()
    deliver(journal, server, KEY)
    losses.loses = lambda _ids: False
    delivered.set()
    wait_for(confirming.confirmation.caught_up)

    assert confirming.stop()
    assert exact(journal, server).stored == 2500
    assert confirming.statistics.missing == 100
    assert confirming.statistics.vouched > 0
    assert confirming.statistics.vouched + confirming.statistics.confirmed == 2500


def test_nothing_is_posted_that_was_not_delivered_or_was_given_up(
    journal: Journal, server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor
) -> None:
    confirming = Confirming(journal, server)
    confirming.confirmation.start()
    append(journal, [match(1), TORN, match(2), match(3), match(4), match(5), match(6)])
    with PulseStreamClient(server.url, KEY) as client:
        assert client.check() is None
    journal.add_dead_letters([DeadLetter(3, event_id(2), "deliver", "bad", b"{}", 1, 1)])
    remember_purged(journal, [4])
    losses.loses = lambda _ids: True
    journal.acknowledge(DELIVERY, 6, [5])
    wait_for(lambda: confirming.statistics.resent >= 4)

    confirming.crash()
    assert {identity for ids in losses.requests for identity in ids} == {event_id(1), event_id(5)}
    assert journal.cursor(CONSUMER) == 0


def test_the_journal_keeps_what_is_not_proven(server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor) -> None:
    journal = MemoryJournal(keep_bytes=0)
    confirming = Confirming(journal, server)
    confirming.confirmation.start()
    append(journal, map(match, range(1, 11)))
    losses.loses = lambda _ids: True
    deliver(journal, server, KEY)
    wait_for(lambda: confirming.statistics.resent >= 30)
    assert journal.size().frames == 10

    losses.loses = lambda _ids: False
    wait_for(confirming.confirmation.caught_up)
    assert confirming.stop()
    assert journal.size().frames == 0


def test_proof_costs_nothing_of_a_rate_limit_that_is_used_up(wait_for: WaitFor) -> None:
    # A clock that stands still: the minute never ends.
    with (
        MemoryJournal() as journal,
        EmbeddedPulseStream(api_key=KEY, rate_limit=300, clock=lambda: 1_800_000_000.0) as server,
    ):
        confirming = Confirming(journal, server)
        confirming.confirmation.start()
        append(journal, map(match, range(1, 301)))
        deliver(journal, server, KEY)
        wait_for(confirming.confirmation.caught_up)
        assert confirming.stop()
        assert (confirming.statistics.confirmed, confirming.statistics.posts.throttled) == (300, 0)


def test_what_is_refused_when_it_is_sent_again_is_a_dead_letter(
    journal: Journal, server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor
) -> None:
    append(journal, map(match, range(1, 6)))
    confirming = Confirming(journal, server, request_events=1)
    confirming.confirmation.start()
    losses.loses = lambda ids: event_id(3) in ids
    deliver(journal, server, KEY, batch_count=1)
    losses.refuses = {event_id(3)}
    wait_for(confirming.confirmation.caught_up)

    assert confirming.stop()
    (letter,) = journal.dead_letters()
    assert (letter.offset, letter.event_id, letter.stage, letter.reason) == (
        *(3, event_id(3), "deliver"),
        "title: too odd",
    )
    result = exact(journal, server)
    assert (result.stored, result.dead) == (4, 1)


def test_it_starts_where_the_delivery_is_when_it_is_switched_on(
    journal: Journal, server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor
) -> None:
    append(journal, map(match, range(1, 11)))
    deliver(journal, server, KEY)
    confirming = Confirming(journal, server)
    confirming.confirmation.start()
    assert journal.cursor(CONSUMER) == 10
    append(journal, map(match, range(11, 14)))
    deliver(journal, server, KEY)
    wait_for(confirming.confirmation.caught_up)
    assert confirming.stop()
    assert confirming.statistics.confirmed == 3

    switch_off(journal)
    assert journal.cursor(CONSUMER) == 0
    assert read_note(journal).mode == "none"


def test_a_stop_confirms_what_ripens_in_time_and_leaves_the_rest(
    journal: Journal, server: EmbeddedPulseStream, wait_for: WaitFor
) -> None:
    slow = Confirming(journal, server, after_seconds=3600.0)
    slow.confirmation.start()
    append(journal, map(match, range(1, 11)))
    deliver(journal, server, KEY)
    assert not slow.stop(5)
    assert journal.cursor(CONSUMER) == 0
    assert read_note(journal).busy is False

    quick = Confirming(journal, server, after_seconds=0.2)
    quick.confirmation.start()
    assert quick.stop(20)
    assert quick.statistics.confirmed == 10


def test_a_server_that_is_down_is_waited_for(
    journal: Journal, server: EmbeddedPulseStream, losses: Losses, wait_for: WaitFor
) -> None:
    append(journal, map(match, range(1, 11)))
    # While it is up, nothing is looked for.
    down = threading.Event()
    confirming = Confirming(journal, server, clock=lambda: time.monotonic() if down.is_set() else 0.0)
    confirming.confirmation.start()
    deliver(journal, server, KEY)
    server.stop()
    down.set()
    wait_for(lambda: confirming.statistics.posts.failed_requests >= 1)

    assert not confirming.stop(1)
    assert journal.cursor(CONSUMER) == 0
    # A request was left without an answer: the next start waits longer before it posts the same again.
    assert read_note(journal).busy is True


def test_a_journal_that_fails_for_a_moment_is_read_again(
    server: EmbeddedPulseStream, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    journal = MemoryJournal()
    append(journal, map(match, range(1, 11)))
    deliver(journal, server, KEY)
    read, failures = journal.read, [JournalError("journal", "its disk fails")]

    def fail_once(after: int, limit: int = 1000) -> Sequence[Frame]:
        if failures:
            raise failures.pop()
        return read(after, limit)

    confirming = Confirming(journal, server)
    journal.acknowledge(CONSUMER, 0)
    monkeypatch.setattr("rxbridge.confirmation.confirmation.read_note", lambda _journal: Note("all"))
    monkeypatch.setattr(journal, "read", fail_once)
    confirming.confirmation.start()
    wait_for(confirming.confirmation.caught_up)

    assert confirming.stop()
    assert confirming.statistics.confirmed == 10
    assert any(line.startswith("[RESTARTING]") for line in log)


def test_an_end_that_nobody_asked_for_is_seen(
    server: EmbeddedPulseStream, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = MemoryJournal()

    def end(*_arguments: Any, **_options: Any) -> None:
        raise SystemExit(3)

    confirming = Confirming(journal, server)
    monkeypatch.setattr("rxbridge.confirmation.confirmation.Trail", end)
    confirming.confirmation.start()
    wait_for(lambda: confirming.confirmation.failure is not None)
    assert isinstance(confirming.confirmation.failure, SystemExit)
