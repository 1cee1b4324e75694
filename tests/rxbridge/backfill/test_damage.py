"""A journal that is damaged or gone: what was read and not delivered is found missing, from the marks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from rxbridge.backfill import CONSUMER, Backfill
from rxbridge.backfill.marks import Marks
from rxbridge.journal import Gap, Journal, MemoryJournal, SqliteJournal
from tests.rxbridge.backfill.support import (
    KEPT,
    PRODUCT,
    FakeRest,
    append,
    eventually,
    every,
    match,
    matches,
    trade_ids,
)

Run: TypeAlias = Callable[..., Backfill]


@pytest.fixture
def marks(path: Path) -> Path:
    return path.with_name(path.name + ".marks")


def delivered_up_to(marks: Path, product: str = PRODUCT) -> int | None:
    return json.loads(marks.read_bytes())["delivered"].get(product) if marks.exists() else None


def deliver(journal: Journal, trade_id: int) -> None:
    """Acknowledge everything up to the frame of this trade."""
    (offset,) = [one.offset for one in every(journal) if f'"trade_id":{trade_id},'.encode() in one.data]
    journal.acknowledge("pulsestream", offset)


def prepared(path: Path, marks: Path, run: Run, ids: Sequence[int], delivered: int) -> None:
    """A journal whose trades were all read, and of which only some were delivered; then the process ended."""
    with SqliteJournal(path, keep_seconds=KEPT) as journal:
        journal.acknowledge("pulsestream", 0)
        backfill = run(journal, FakeRest(), marks=marks)
        # Step by step, so that there are marks in between.
        for one in ids:
            append(journal, match(one))
            eventually(lambda: journal.cursor(CONSUMER) == journal.size().last_offset)
        eventually(lambda: backfill.idle)
        deliver(journal, delivered)
        assert backfill.drain(10.0)


def test_marks_follow_what_is_delivered_without_a_hole(path: Path, marks: Path, run: Run) -> None:
    prepared(path, marks, run, range(1, 21), delivered=12)

    assert delivered_up_to(marks) == 12


def test_a_mark_does_not_pass_a_hole(memory: MemoryJournal, rest: FakeRest, run: Run, marks: Path) -> None:
    rest.gate.clear()
    append(memory, *matches([1, 2, 3, 5]))
    backfill = run(memory, rest, marks=marks)
    memory.acknowledge("pulsestream", 4)
    eventually(lambda: delivered_up_to(marks) == 3)
    append(memory, *matches([6, 7]))
    memory.acknowledge("pulsestream", 6)
    eventually(lambda: memory.cursor(CONSUMER) == 6)
    assert delivered_up_to(marks) == 3

    rest.gate.set()
    eventually(lambda: backfill.idle)
    memory.acknowledge("pulsestream", 7)
    eventually(lambda: delivered_up_to(marks) == 7)


def test_a_new_product_is_marked_before_its_first_trade(
    memory: MemoryJournal, rest: FakeRest, run: Run, marks: Path
) -> None:
    run(memory, rest, marks=marks)
    append(memory, match(500))

    eventually(lambda: delivered_up_to(marks) == 499)


@pytest.mark.parametrize("remains", ["nothing", "garbage", "a damaged page"])
def test_what_was_lost_with_the_file_is_fetched_again(path: Path, marks: Path, run: Run, remains: str) -> None:
    prepared(path, marks, run, range(1, 61), delivered=20)
    for part in ("-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)
    if remains == "nothing":
        path.unlink()
    elif remains == "garbage":
        path.write_bytes(b"no database " * 1000)
    else:
        content = bytearray(path.read_bytes())
        for place in range(4096, len(content), 4096):
            content[place : place + 1500] = b"\xff" * 1500
        path.write_bytes(content)
    with SqliteJournal(path, keep_seconds=KEPT) as journal:
        append(journal, *matches(range(61, 66)))
        backfill = run(journal, FakeRest(), marks=marks)
        eventually(lambda: set(trade_ids(journal)) >= set(range(21, 66)))
        eventually(lambda: backfill.idle)
        assert backfill.drain(10.0)

        assert min(trade_ids(journal, fetched=True)) >= 21


def test_a_deleted_journal_goes_on_from_the_marks(path: Path, marks: Path, run: Run, log: list[str]) -> None:
    prepared(path, marks, run, range(1, 31), delivered=10)
    for part in path.parent.glob(path.name + "*"):
        if part != marks:
            part.unlink()
    with SqliteJournal(path) as journal:
        backfill = run(journal, FakeRest(), marks=marks)
        append(journal, match(40))
        eventually(lambda: set(trade_ids(journal)) >= set(range(11, 41)))
        eventually(lambda: backfill.idle)
        assert backfill.drain(10.0)

        assert min(trade_ids(journal)) == 11
    assert any("is not the one that was here before" in line for line in log)


class Damageable(MemoryJournal):
    """Loses frames as a damaged file does, and says so."""

    def damage(self, first: int, last: int) -> None:
        with self._news:
            for index, one in enumerate(self._frames):
                if first <= one.offset <= last:
                    # What cannot be read makes nothing: here, a frame without a trade stands for it.
                    self._frames[index] = type(one)(b"{}", one.received_at, one.connection, 0, one.offset)
            self._gaps.append(Gap("corrupt", "damaged", 1, first, last, last - first + 1, 0))


@pytest.mark.parametrize("with_marks", [True, False], ids=["marks", "memory only"])
def test_damage_while_it_runs_is_noticed(run: Run, rest: FakeRest, marks: Path, with_marks: bool) -> None:  # noqa: FBT001
    with Damageable(keep_seconds=KEPT) as journal:
        journal.acknowledge("pulsestream", 0)
        backfill = run(journal, rest, marks=marks if with_marks else None)
        append(journal, *matches(range(1, 11)))
        eventually(lambda: backfill.idle)
        journal.damage(4, 6)
        eventually(lambda: set(trade_ids(journal)) == set(range(1, 11)))
        eventually(lambda: backfill.idle)

        assert trade_ids(journal, fetched=True) == [4, 5, 6]


def test_damage_to_what_is_delivered_costs_nothing(run: Run, rest: FakeRest, marks: Path) -> None:
    with Damageable(keep_seconds=KEPT) as journal:
        append(journal, *matches(range(1, 11)))
        journal.acknowledge("pulsestream", 10)
        run(journal, rest, marks=marks)
        eventually(lambda: delivered_up_to(marks) == 10)
        journal.damage(4, 6)
        eventually(lambda: b'"damage":""' not in (journal.recall(CONSUMER) or b""))
        append(journal, match(11))
        eventually(lambda: journal.cursor(CONSUMER) == 11)

        assert rest.asked == []


def test_what_is_acknowledged_because_it_cannot_be_read_is_not_delivered(
    run: Run, rest: FakeRest, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The delivery may find damage and pass over it before the backfill has looked.
    monkeypatch.setattr("rxbridge.backfill.worker._LOOK_SECONDS", 3600.0)
    with Damageable(keep_seconds=KEPT) as journal:
        append(journal, *matches(range(1, 4)))
        journal.acknowledge("pulsestream", 3)
        backfill = run(journal, rest, marks=marks)
        eventually(lambda: delivered_up_to(marks) == 3)
        append(journal, *matches(range(4, 11)))
        eventually(lambda: journal.cursor(CONSUMER) == 10)
        journal.damage(4, 6)
        journal.acknowledge("pulsestream", 10)
        append(journal, match(11))
        eventually(lambda: journal.cursor(CONSUMER) == 11)
        assert backfill.drain(10.0)
        assert delivered_up_to(marks) == 3

        again = run(journal, rest, marks=marks)
        eventually(lambda: set(trade_ids(journal)) == set(range(1, 12)))
        assert again.drain(10.0)
        assert trade_ids(journal, fetched=True) == [4, 5, 6]


def test_old_damage_is_dealt_with_once(run: Run, rest: FakeRest, marks: Path, log: list[str]) -> None:
    with Damageable(keep_seconds=KEPT) as journal:
        append(journal, *matches(range(1, 11)))
        journal.damage(1, 1)
        for _ in range(2):
            backfill = run(journal, rest, marks=marks)
            eventually(lambda backfill=backfill: backfill.idle)
            assert backfill.drain(10.0)

    assert not any("damaged" in line for line in log)


def test_disconnects_on_record_stay_as_they_are(run: Run, rest: FakeRest, marks: Path) -> None:
    with Damageable(keep_seconds=KEPT) as journal:
        backfill = run(journal, rest, marks=marks, unreplayable_channels=("ticker",))
        for connection in (10, 20):
            for one in matches([1, 2], connection=connection, received_at=connection + 1):
                append(journal, one)
        eventually(lambda: backfill.idle)
        journal.damage(2, 3)
        eventually(lambda: b'"damage":""' not in (journal.recall(CONSUMER) or b""))
        eventually(lambda: backfill.idle)

        assert list(journal.market_gaps()) == []


# ---- the file itself


def test_marks_are_found_again(marks: Path) -> None:
    one = Marks(marks)
    one.begin("BTC-USD", 4)
    one.note(10, {"BTC-USD": 9})
    one.note(20, {"BTC-USD": 19})
    one.settle(19)
    one.save()

    assert Marks(marks).delivered == {"BTC-USD": 9}
    assert [part.name for part in marks.parent.iterdir()] == [marks.name]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"delivered":{"BTC-USD":"x"}}', b'{"delivered":{},"version":9}']
)
def test_marks_that_cannot_be_read_are_none(marks: Path, content: bytes) -> None:
    marks.write_bytes(content)

    assert Marks(marks).delivered == {}


def test_marks_that_cannot_be_written_are_told_of(tmp_path: Path, log: list[str]) -> None:
    one = Marks(tmp_path / "absent" / "marks")
    one.begin("BTC-USD", 4)
    one.save()

    assert any("cannot be written" in line for line in log)


def test_a_delivery_that_stands_still_costs_little_memory(marks: Path) -> None:
    one = Marks(marks)
    for offset in range(1, 5000):
        one.note(offset, {"BTC-USD": offset})
    assert len(one._snapshots) <= 512

    one.settle(4999)
    assert one.delivered == {"BTC-USD": 4999}
