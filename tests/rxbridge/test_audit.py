"""The audit, against a PulseStream on loopback: what it counts, what it fails because of, and what it repairs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rxbridge.audit import Audit, Repair, acknowledge_gaps, audit, unexplained
from rxbridge.backfill.state import ProductState, State, encode
from rxbridge.confirmation import CONSUMER as CONFIRMATION
from rxbridge.confirmation import remember_purged
from rxbridge.confirmation.note import Note, write_note
from rxbridge.events import EventRules
from rxbridge.journal import DeadLetter, Gap, Journal, MarketGap, MemoryJournal, SqliteJournal
from rxbridge.progress import CONSUMER
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.pulsestream_server import EmbeddedPulseStream
from tests.rxbridge.confirmation.support import CHANNELS, HEARTBEAT, TORN, Losses, append, deliver, event_id, match

KEY = "a-key"


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


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(tmp_path / "journal") as journal:
        yield journal


def followed(journal: Journal, **products: ProductState) -> None:
    """The backfill has looked at everything."""
    state = State(
        offset=journal.size().last_offset, products={name.replace("_", "-"): products[name] for name in products}
    )
    journal.remember("backfill", encode(state))


def run(journal: Journal, client: PulseStreamClient, **options: Any) -> Audit:
    return audit(journal, client, channels=CHANNELS, rules=EventRules("test"), **options)


def repair(journal: Journal, client: PulseStreamClient) -> Repair:
    return Repair(journal, client, channels=CHANNELS, rules=EventRules("test"), after_seconds=0.0)


def test_everything_in_its_place(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient
) -> None:
    append(journal, [HEARTBEAT, *map(match, range(1, 4)), TORN, match(3), match(4)])
    deliver(journal, server, KEY)
    append(journal, [match(5)])
    followed(journal)

    result = run(journal, client)

    assert result.ok
    assert str(result) == (
        "audit ok: received=6 delivered=4 dead=1 dropped=0 waiting=1 stored=4 duplicates=0 missing=0 "
        "trade_holes=0 gaps=0"
    )
    assert (result.ignored, result.repeated) == (1, 1)


def test_what_a_policy_dropped_is_counted_and_not_missed(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient
) -> None:
    append(journal, map(match, range(1, 8)))
    with PulseStreamClient(server.url, KEY):
        journal.acknowledge(CONSUMER, 7, [1, 2, 3, 4, 5, 6, 7])
    followed(journal)

    result = run(journal, client)

    assert result.ok
    assert (result.received, result.dropped, result.delivered, result.stored) == (7, 7, 0, 0)


def test_a_purged_letter_is_dropped_and_one_that_is_there_still_is_dead(
    journal: SqliteJournal, client: PulseStreamClient
) -> None:
    append(journal, [match(1), match(2), TORN, TORN])
    letters = [
        DeadLetter(1, event_id(1), "deliver", "bad", b"{}", 1, 1),
        DeadLetter(2, event_id(2), "deliver", "bad", b"{}", 1, 1),
        DeadLetter(3, "", "parse", "torn", TORN, 1, 1),
        DeadLetter(4, "", "parse", "torn", TORN, 1, 1),
    ]
    journal.add_dead_letters(letters)
    journal.acknowledge(CONSUMER, 4)
    # Cut off in between, a purge leaves both: the mark, and the letter.
    remember_purged(journal, [1, 2, 3])
    journal.remove_dead_letters([(1, event_id(1)), (3, "")])
    followed(journal)

    result = run(journal, client)

    assert result.ok
    assert (result.received, result.dead, result.dropped, result.purged) == (4, 2, 2, 2)


def test_a_letter_that_is_gone_without_a_word_fails_the_audit(
    journal: SqliteJournal, client: PulseStreamClient
) -> None:
    append(journal, [TORN])
    journal.acknowledge(CONSUMER, 1)
    followed(journal)

    result = run(journal, client)

    assert not result.ok
    assert (result.received, result.dead, result.delivered) == (1, 0, 0)


def test_what_is_missing_is_told_of_and_repaired(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient, losses: Losses
) -> None:
    append(journal, map(match, range(1, 2502)))
    losses.loses = lambda ids: event_id(150) in ids or event_id(2501) in ids
    deliver(journal, server, KEY)
    followed(journal)

    found = run(journal, client)
    assert not found.ok
    assert (found.stored, found.missing, len(found.missing_ids)) == (2400, 101, 100)
    assert found.missing_ids[0] == event_id(101)

    turns = iter([True, False, True])
    losses.loses = lambda _ids: next(turns, False)
    told: list[tuple[str, int, int]] = []
    repaired = run(journal, client, repair=repair(journal, client), report=lambda *progress: told.append(progress))
    assert repaired.ok, repaired
    assert (repaired.repaired, repaired.missing, repaired.stored) == (101, 0, 2501)
    assert told[-1] == ("what is sent again", 101, 101)
    assert run(journal, client).ok


def test_what_is_refused_in_a_repair_is_a_dead_letter(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient, losses: Losses
) -> None:
    append(journal, [match(1), match(2)])
    losses.loses = lambda ids: event_id(2) in ids
    deliver(journal, server, KEY, batch_count=1)
    followed(journal)
    losses.refuses = {event_id(2)}

    result = run(journal, client, repair=repair(journal, client))

    assert result.ok
    assert (result.delivered, result.dead, result.repaired) == (1, 1, 0)
    (letter,) = journal.dead_letters()
    assert (letter.offset, letter.reason) == (2, "title: too odd")


def test_a_repair_leaves_to_the_confirmation_what_it_has_yet_to_look_for(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient, losses: Losses
) -> None:
    append(journal, map(match, range(1, 11)))
    losses.loses = lambda _ids: True
    deliver(journal, server, KEY)
    followed(journal)
    losses.loses = lambda _ids: False
    write_note(journal, Note("all", busy=True))
    journal.acknowledge(CONFIRMATION, 4)

    result = run(journal, client, repair=repair(journal, client))

    assert (result.repaired, result.missing, result.unconfirmed) == (4, 6, 6)
    assert not result.ok


def test_duplicates_fail_the_audit(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(journal, map(match, range(1, 4)))
    deliver(journal, server, KEY)
    followed(journal)
    search = client.search

    def doubled(**query: Any) -> Any:
        page = search(**query)
        twins = [type(row)(row.id + "-twin", row.external_id, row.timestamp, row.source) for row in page.events]
        return type(page)(page.events + twins[:1], page.total_count + 1)

    monkeypatch.setattr(client, "search", doubled)
    result = run(journal, client)
    assert (result.duplicates, result.stored, result.ok) == (1, 3, False)


def test_a_trade_that_is_missing_on_no_record_fails_the_audit(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient
) -> None:
    append(journal, [match(1), match(2), match(5), match(9)])
    deliver(journal, server, KEY)
    followed(journal)
    result = run(journal, client)
    assert (result.ok, result.trade_holes, result.open_trades) == (False, 2, 0)
    assert [(hole.product, hole.first, hole.last) for hole in result.holes] == [("BTC-USD", 3, 4), ("BTC-USD", 6, 8)]
    assert run(journal, client, holes_note="nobody fetches them").ok

    journal.record_market_gaps([MarketGap("trades", ("BTC-USD",), "matches", 3, 4, "REST has them not", 1)])
    followed(journal, BTC_USD=ProductState(1, 9, None, [(6, 8)]))
    result = run(journal, client)
    assert (result.ok, result.trade_holes, result.open_trades, result.gaps) == (True, 0, 3, 1)


def test_a_backfill_that_has_looked_at_nothing_leaves_every_hole_open(
    journal: SqliteJournal, server: EmbeddedPulseStream, client: PulseStreamClient
) -> None:
    append(journal, [match(1), match(5)])
    deliver(journal, server, KEY)
    for note in (None, b"damaged"):
        if note is not None:
            journal.remember("backfill", note)
        result = run(journal, client)
        assert (result.ok, result.trade_holes, result.open_trades) == (True, 0, 3)


DAMAGE = [
    Gap("corrupt", "damaged", 5, 10, 12, 3, 0),
    Gap("quarantined", "lost with its file", 6, 0, 0, 0, 0),
]


class Damaged(MemoryJournal):
    """A journal that has lost frames."""

    found: list[Gap]

    def gaps(self) -> Iterator[Gap]:
        return iter([*DAMAGE, *self.found])


def test_damage_fails_the_audit_until_somebody_has_taken_note_of_it(client: PulseStreamClient) -> None:
    journal = Damaged()
    journal.found = []
    result = run(journal, client)
    assert (result.ok, result.unreadable, result.acknowledged_gaps) == (False, 4, 0)

    acknowledge_gaps(journal, unexplained(journal))
    assert unexplained(journal) == []
    result = run(journal, client)
    assert (result.ok, result.unreadable, result.acknowledged_gaps) == (True, 0, 4)

    # Found anew by another reader it is the same damage, even if less of it; what is new is not.
    again = Gap("corrupt", "damaged, says another reader", 99, 11, 12, 2, 0)
    news = [Gap("corrupt", "damaged", 5, 12, 13, 2, 0), Gap("quarantined", "another file", 7, 0, 0, 0, 0)]
    journal.found = [again, *news]
    assert unexplained(journal) == news
    acknowledge_gaps(journal, unexplained(journal))
    assert run(journal, client).ok
