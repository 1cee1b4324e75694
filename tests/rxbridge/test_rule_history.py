"""Settings of events that change between two runs: what was delivered is judged by the rules that it was made by."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.books import Books, resumed
from rxbridge.confirmation.reading import EventMaker
from rxbridge.events import EventRules, Rules
from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.rule_history import NOTE, record_rules, rules_as_delivered
from rxbridge.simulator import Simulator
from rxbridge.stretches import MOST_STRETCHES

SECOND = 10**9
OPENED = 1_700_000_000 * SECOND
CHANNELS = ("level2",)
TODAY = EventRules(book_depth=7)
SOME = (
    EventRules(book_depth=1),
    EventRules(book_depth=2, raw=False),
    EventRules(book_depth=1, book_seconds=0.3),
    EventRules(book="full"),
)
KEY = "a-key-of-a-tenant"
DEPTHS = ({"DEPTH": "3", "SECONDS": "0.2"}, {"DEPTH": "9", "SECONDS": "0.1"})


def depth(levels: int) -> EventRules:
    return EventRules(book_depth=levels)


def test_where_nothing_was_delivered_the_rules_of_today_hold() -> None:
    with MemoryJournal() as journal:
        assert rules_as_delivered(journal, TODAY).at(5) == TODAY
        assert journal.recall(NOTE) is None


def test_each_frame_has_the_rules_that_it_was_delivered_by() -> None:
    with MemoryJournal() as journal:
        record_rules(journal, depth(1), 40)
        known = record_rules(journal, depth(2), 50)
        found = rules_as_delivered(journal, TODAY)

        for rules in (known, found):
            assert [rules.at(offset).book_depth for offset in (1, 40, 41, 50, 51, 10**9)] == [1, 1, 1, 1, 2, 2]
            assert rules.at(0).book_depth == 2


def test_only_a_change_is_noted() -> None:
    with MemoryJournal() as journal:
        record_rules(journal, depth(1), 0)
        note = journal.recall(NOTE)
        record_rules(journal, depth(1), 30)
        assert journal.recall(NOTE) == note
        # Started with others and stopped again before anything was delivered.
        record_rules(journal, depth(2), 30)
        record_rules(journal, depth(1), 30)
        assert journal.recall(NOTE) == note


def test_a_journal_that_begins_again_takes_no_rules_of_the_lost_one() -> None:
    with MemoryJournal() as journal:
        for levels, after in ((1, 0), (2, 500), (3, 900)):
            record_rules(journal, depth(levels), after)
        rules = record_rules(journal, depth(4), 10)

    assert [rules.at(offset).book_depth for offset in (10, 11, 600, 1000)] == [1, 4, 4, 4]


def test_the_newest_changes_are_remembered() -> None:
    with MemoryJournal() as journal:
        for number in range(MOST_STRETCHES + 5):
            record_rules(journal, depth(1 + number), number * 10)
        rules = rules_as_delivered(journal, TODAY)

        assert len(rules.stretches) == MOST_STRETCHES
        assert rules.at(1).book_depth == 6
        assert rules.at(10**9).book_depth == MOST_STRETCHES + 5


@pytest.mark.parametrize("note", [b"{", b"[]", b'[{"after":"one"}]', b"\xff"])
def test_a_damaged_note_says_nothing(note: bytes) -> None:
    with MemoryJournal() as journal:
        journal.remember(NOTE, note)

        assert rules_as_delivered(journal, TODAY).at(5) == TODAY
        assert record_rules(journal, depth(1), 10).at(5) == depth(1)


def book_frames(count: int) -> list[Frame]:
    """A book and its updates, ten a second, begun anew now and then."""
    frames: list[Frame] = []
    for place in range(count):
        content: dict[str, Any] = {"type": "l2update", "changes": [["buy", str(9 - place % 3), str(place % 4)]]}
        if place % 17 == 0:
            content = {"type": "snapshot", "bids": [["9", "1"], ["8", "2"]], "asks": [["10", "1"], ["11", "3"]]}
        data = json.dumps({**content, "product_id": "BTC-USD"}, separators=(",", ":")).encode()
        frames.append(Frame(data, OPENED + place * SECOND // 10, OPENED, place, place + 1))
    return frames


def made(journal: MemoryJournal, rules: Rules, books: Books, after: int, until: int) -> list[tuple[str, int, bytes]]:
    make = EventMaker(channels=CHANNELS, rules=rules, kept_books=books)
    frames = journal.read(after, until - after) if until > after else []
    return [(event.event_id, event.offset, event.body) for frame in frames for event in make(frame)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(SOME)), min_size=1, max_size=6))
def test_an_audit_makes_what_all_deliveries_made_together(runs: list[tuple[int, EventRules]]) -> None:
    frames = book_frames(sum(count for count, _ in runs))
    with MemoryJournal() as journal:
        for frame in frames:
            journal.append(frame)
        assert journal.flush(10.0)
        delivered: list[tuple[str, int, bytes]] = []
        after = 0
        for count, chosen in runs:
            rules = record_rules(journal, chosen, after)
            delivered += made(journal, rules, resumed(rules, journal, after), after, after + count)
            after += count

        held = rules_as_delivered(journal, TODAY)
        again = made(journal, held, Books(held), 0, len(frames))

    assert without_times(again) == without_times(delivered)
    assert len(frames) < 15 or again


def without_times(events: list[tuple[str, int, bytes]]) -> list[tuple[str, int, Any]]:
    """Events without the time at which they were made."""
    kept: list[tuple[str, int, Any]] = []
    for key, offset, body in events:
        told = json.loads(body)
        kept.append((key, offset, (told["title"], told["message"], told["payload"])))
    return kept


def test_images_begin_anew_after_whole_books() -> None:
    with MemoryJournal() as journal:
        for frame in book_frames(40):
            journal.append(frame)
        assert journal.flush(10.0)
        record_rules(journal, EventRules(book="full"), 0)
        rules = record_rules(journal, EventRules(book_depth=2, book_seconds=0.2), 25)
        events = [json.loads(body) for _, _, body in made(journal, rules, Books(rules), 0, 40)]

    images = [event["payload"] for event in events if "-book-part-" not in event["event_id"]]
    assert 0 < len(images) < len(events)
    assert [image["is_reset"] for image in images[:2]] == [True, False]


def images_in(database: Path) -> list[dict[str, Any]]:
    query = "SELECT payload FROM events WHERE external_id LIKE '%-book-%'"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [json.loads(body)["custom_data"] for (body,) in connection.execute(query)]


def test_verify_and_the_confirmation_know_what_earlier_settings_made(
    command: Callable[..., Any], wait_for: Callable[..., None], tmp_path: Path
) -> None:
    database = tmp_path / "stored.sqlite"
    confirmed = {"PULSESTREAM_API_KEY": KEY, "RXBRIDGE_DELIVERY_CONFIRM": "all"}
    changes: list[dict[str, str]] = [
        {f"RXBRIDGE_EVENTS_BOOK_{name}": value for name, value in one.items()} for one in DEPTHS
    ]
    changes.append({"RXBRIDGE_EVENTS_BOOK": "full", "RXBRIDGE_EVENTS_RAW": "false"})
    with (
        EmbeddedPulseStream(database=str(database), api_key=KEY, rate_limit=0) as server,
        Simulator(products=("BTC-USD",), rate=20.0, book_depth=12) as simulator,
    ):
        where = ["--pulsestream-url", server.url, "--journal", tmp_path / "journal"]
        wanted = ["--feed-url", simulator.url, "--channels", "level2", "--products", "BTC-USD"]
        # One connection for all of them, so that the books go on from one to the next.
        feed = command("run", *where, *wanted, "--role", "feed", **confirmed)
        for change in changes:
            before = len(images_in(database)) if database.exists() else 0
            delivery = command("run", *where, *wanted, "--role", "deliver", **confirmed, **change)
            wait_for(lambda least=before + 8: len(images_in(database)) >= least)
            delivery.send(signal.SIGTERM)
            assert delivery.wait() == 0, delivery.stderr
            assert "[MISSING]" not in delivery.stderr
        feed.send(signal.SIGTERM)
        assert feed.wait() == 0, feed.stderr
        last = command("run", *where, *wanted, "--role", "deliver", "--exit-when-idle", 0.5, **confirmed)
        assert last.wait() == 0, last.stderr
        audits = [
            command("verify", "--json", *where, RXBRIDGE_FEED_CHANNELS="level2", **confirmed, **change)
            for change in ({}, changes[0])
        ]
        answers = [(audit.wait(), audit.stdout + audit.stderr) for audit in audits]

    stored = images_in(database)
    assert {len(one["bids"]) for one in stored if "chunk" not in one} >= {3, 9}
    assert any("chunk" in one for one in stored)
    for code, told in answers:
        assert code == 0, told
        audit = json.loads(told)
        assert (audit["missing"], audit["duplicates"], audit["dead"], audit["waiting"]) == (0, 0, 0, 0)
        # What a delivery was stopped at before it was acknowledged is made again, by other settings: parts, no image.
        assert 0 <= len(stored) - audit["stored"] <= len(changes)
