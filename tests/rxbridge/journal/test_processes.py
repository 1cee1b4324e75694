"""Two processes on one journal: one feeds, one delivers, and nobody else may."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rxbridge.errors import JournalError, JournalInUse
from rxbridge.journal import SqliteJournal
from rxbridge.journal.sqlite import Role
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import (
    DEADLINE_SECONDS,
    append_all,
    child,
    eventually,
    frame,
    frames,
    letter,
    numbers,
    offsets,
    read_all,
)


def test_one_process_feeds_while_another_delivers_and_nothing_is_lost(
    sqlite: Callable[..., SqliteJournal], path: Path, tmp_path: Path
):
    target = tmp_path / "delivered"
    with child("feed", path, 1, 6000) as feeder, child("deliver", path, target, 6000) as deliverer:
        assert int(feeder.wait()[-1]) >= 6000
        deliverer.wait()
    delivered = [int(line) for line in target.read_text().splitlines()]
    assert delivered[:6000] == list(range(1, 6001))
    with sqlite() as journal:
        assert journal.cursor("target") >= 6000
        assert list(journal.gaps()) == []


def test_both_may_be_killed_at_any_time_and_nothing_is_lost(path: Path, tmp_path: Path):
    target = tmp_path / "delivered"
    with child("feed", path, 1) as feeder, child("deliver", path, target, 10**9) as deliverer:
        feeder.line()
        eventually(target.exists)
        time.sleep(random.uniform(0, 0.3))
        deliverer.kill()
        feeder.kill()
    with SqliteJournal(path, role="read") as journal:
        confirmed = journal.size().last_offset
    with child("deliver", path, target, confirmed) as deliverer:
        deliverer.wait()
    # A kill between the writing and the acknowledging delivers a group again: the sink's ids take care of that.
    delivered = [int(line) for line in target.read_text().splitlines()]
    assert sorted(set(delivered)) == list(range(1, confirmed + 1))


@pytest.mark.parametrize(
    ("first", "second", "verb"),
    [
        ("feed", "feed", "feeds it"),
        ("deliver", "deliver", "delivers from it"),
        ("both", "feed", "feeds it"),
        ("deliver", "both", "delivers from it"),
    ],
)
def test_a_second_one_in_a_role_is_refused_with_the_owners_name(
    sqlite: Callable[..., SqliteJournal], path: Path, first: Role, second: Role, verb: str
):
    sqlite(role=first)
    with pytest.raises(JournalInUse, match=verb) as refused:
        sqlite(role=second)
    assert str(refused.value).startswith(f"journal {path}: this process (pid {os.getpid()}, since 2")
    assert "; stop the bridge that does, or use another journal" in str(refused.value)


def test_a_role_is_free_again_after_kill_and_after_close(sqlite: Callable[..., SqliteJournal], path: Path):
    with child("hold", path, "both") as owner:
        assert owner.line() == "held"
        with pytest.raises(JournalInUse, match=rf"another process \(pid {owner.pid}, since .*; stop that one, or"):
            sqlite(role="deliver")
        owner.kill()
    journal = sqlite(role="both")
    with pytest.raises(JournalInUse):
        sqlite(role="feed")
    journal.close()
    sqlite(role="feed")
    sqlite(role="deliver")


def test_another_process_of_the_same_id_is_another_one(sqlite: Callable[..., SqliteJournal], path: Path):
    sqlite(role="both").close()
    with child("hold", path, "both") as owner:
        assert owner.line() == "held"
        Path(f"{path}.feed.lock").write_text(f"pid {os.getpid()}, since today\n", encoding="ascii")
        with pytest.raises(JournalInUse, match=rf"another process \(pid {os.getpid()}, since today\)"):
            sqlite(role="feed")


def test_a_refused_start_leaves_the_other_role_free(sqlite: Callable[..., SqliteJournal]):
    sqlite(role="deliver")
    with pytest.raises(JournalInUse):
        sqlite(role="both")
    sqlite(role="feed")


def test_any_number_may_read_meanwhile(sqlite: Callable[..., SqliteJournal]):
    feeder = sqlite()
    append_all(feeder, frames(1, 10))
    readers = [sqlite(role="read") for _ in range(3)]
    append_all(feeder, frames(11, 20))
    for reader in readers:
        assert numbers(read_all(reader)) == list(range(1, 21))
        assert reader.size() == feeder.size()


def test_a_reader_changes_nothing(sqlite: Callable[..., SqliteJournal]):
    append_all(sqlite(), frames(1, 10))
    reader = sqlite(role="read")
    for change in (
        lambda: reader.append(frame(11)),
        lambda: reader.acknowledge("sink", 1),
        lambda: reader.forget("sink"),
        lambda: reader.add_dead_letters([letter(1)]),
    ):
        with pytest.raises(JournalError, match="role"):
            change()
    assert reader.flush()


def test_a_deliverer_does_not_append(sqlite: Callable[..., SqliteJournal]):
    with pytest.raises(JournalError, match="was not opened to be fed"):
        sqlite(role="deliver").append(frame(1))


def test_there_is_nothing_to_read_where_no_journal_is(sqlite: Callable[..., SqliteJournal], path: Path):
    with pytest.raises(JournalError, match="does not exist"):
        sqlite(role="read")
    path.touch()
    with pytest.raises(JournalError, match="nothing has ever fed it"):
        sqlite(role="read")


def test_a_deliverer_wakes_for_what_another_journal_appends(sqlite: Callable[..., SqliteJournal]):
    deliverer = sqlite(role="deliver")
    feeder = sqlite(role="feed")
    assert not deliverer.wait_beyond(0, 0.01)
    feeder.append(frame(1))
    assert deliverer.wait_beyond(0, DEADLINE_SECONDS)
    assert offsets(deliverer.read(0)) == [1]


def test_a_blocked_feeder_wakes_for_what_another_journal_acknowledges(sqlite: Callable[..., SqliteJournal]):
    feeder = sqlite(role="feed", max_bytes=50_000, overflow="block", keep_bytes=0)
    deliverer = sqlite(role="deliver")
    done: list[int] = []

    def deliver(item: Frame) -> None:
        deliverer.acknowledge("sink", item.offset)
        done.append(item.index)

    subscription = deliverer.frames().subscribe(deliver)
    for item in frames(1, 300, size=1000):
        feeder.append(item)
    assert feeder.flush(DEADLINE_SECONDS)
    eventually(lambda: len(done) == 300)
    subscription.dispose()
    assert done == list(range(1, 301))
    assert list(feeder.gaps()) == []
