"""The watch over the list of products: what it starts with, what it tells, and what it does when Coinbase is silent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.coinbase.catalogue import Catalogue, Product
from rxbridge.errors import ConfigError, JournalFull, RestFailed, RestRefused
from rxbridge.journal import Journal
from rxbridge.journal.memory import MemoryJournal
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.products import ProductWatch

URL = "http://127.0.0.1/products"
DOWN = RestFailed(URL, "nobody there")
ABSENT = RestRefused(URL, 404, "NotFound")
Answer: TypeAlias = Catalogue | Exception
WaitFor: TypeAlias = Callable[..., None]


def listing(*products: str, halted: str = "", delisted: str = "") -> Catalogue:
    found = [Product(name, "online") for name in products]
    found += [Product(name, "online", trading_disabled=True) for name in halted.split()]
    found += [Product(name, "delisted", trading_disabled=True) for name in delisted.split()]
    return {product.id: product for product in found}


class Script:
    """Answers one after the other, and the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.asked = 0
        self.closed = False
        self.answers = list(answers)

    def products(self) -> Catalogue:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


class Watched:
    """A watch, and what it tells."""

    def __init__(self, asked: str, source: Any, journal: Journal | None = None, **options: Any) -> None:
        self.changes: list[tuple[list[str], list[str]]] = []
        self.stop = threading.Event()
        options.setdefault("check_seconds", 0.01)
        self.watch = ProductWatch(
            asked.split(),
            source,
            MemoryJournal() if journal is None else journal,
            stop=self.stop,
            changed=self._changed,
            retry_minimum_seconds=0.01,
            retry_maximum_seconds=0.02,
            **options,
        )

    def _changed(self, added: Any, removed: Any) -> None:
        self.changes.append(([*added], [*removed]))

    def end(self) -> None:
        self.stop.set()
        assert self.watch.close(10)


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(*arguments: Any, **options: Any) -> Watched:
        made.append(Watched(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.end()


Make: TypeAlias = Callable[..., Watched]


def test_ids_and_wildcards_become_products(watched: Make, log: list[str]) -> None:
    one = watched("B-USD *-EUR", Script(listing("A-EUR", "B-EUR", "B-USD", "C-USD", delisted="O-EUR")))

    assert one.watch.settle() == ("B-USD", "A-EUR", "B-EUR")
    assert any("'*-EUR' means 3 products: B-USD, A-EUR, B-EUR" in line for line in log)
    assert [line for line in log if "O-EUR" in line] == [
        "INFO [PRODUCTS] Left out, as it is matched but not traded: O-EUR (delisted)"
    ]


def test_what_is_wrong_is_told_once_and_dropped(watched: Make, log: list[str], wait_for: WaitFor) -> None:
    source = Script(listing("A-USD", halted="H-USD", delisted="O-USD"))
    one = watched("A-USD O-USD X-USD A-UDS H-USD", source)

    assert one.watch.settle() == ("A-USD", "H-USD")
    one.watch.start()
    wait_for(lambda: source.asked >= 5)
    one.end()

    sentences = [
        "'O-USD' is delisted, and left out",
        "'X-USD' is no product of Coinbase's (did you mean A-USD?)",
        "'A-UDS' is no product of Coinbase's (did you mean A-USD?)",
    ]
    assert log == [
        f"WARNING [PRODUCTS] {'; '.join(sentences)}",
        "WARNING [PRODUCTS] Subscribed to, though not traded now: H-USD (trading is disabled)",
    ]
    assert one.changes == []
    assert source.closed


def test_nothing_left_is_an_error(watched: Make) -> None:
    with pytest.raises(ConfigError, match=r"'O-USD' is delisted, and left out.*rxbridge products all"):
        watched("O-USD", Script(listing("A-USD", delisted="O-USD"))).watch.settle()


@pytest.mark.parametrize("error", [DOWN, ABSENT], ids=["down", "absent"])
def test_ids_need_no_list(watched: Make, log: list[str], error: Exception) -> None:
    source = Script(error)

    assert watched("A-USD O-USD A-USD", source).watch.settle() == ("A-USD", "O-USD")
    assert source.asked == 1
    (told,) = log
    assert told.startswith("WARNING [PRODUCTS] Not validated, and subscribed to as they are: ")


def test_ids_that_could_not_be_validated_are_as_soon_as_it_answers(
    watched: Make, log: list[str], wait_for: WaitFor
) -> None:
    source = Script(DOWN, DOWN, DOWN, listing("A-USD", delisted="O-USD"))
    one = watched("A-USD O-USD", source, check_seconds=3600)
    one.watch.settle()
    one.watch.start()
    wait_for(lambda: one.changes)

    assert one.changes == [([], ["O-USD"])]
    assert sum("nobody there" in line for line in log) == 1, "the outage was told more than once"
    assert "INFO [PRODUCTS] Coinbase's REST API answers again" in log
    assert "WARNING [PRODUCTS] 'O-USD' is delisted, and left out" in log


def test_a_wildcard_waits_for_the_list_and_says_so(watched: Make, log: list[str]) -> None:
    source = Script(DOWN, RestFailed(URL, "slow down", status=429, retry_after=0.03), listing("A-USD"))

    assert watched("*-USD", source).watch.settle() == ("A-USD",)
    assert source.asked == 3
    waits = [line for line in log if "Waiting to learn what '*-USD' means" in line]
    assert len(waits) == 2
    assert "nobody there" in waits[0]
    assert "slow down" in waits[1]


def test_it_waits_as_long_as_coinbase_asks_to(watched: Make, log: list[str], wait_for: WaitFor) -> None:
    one = watched("*", Script(RestFailed(URL, "slow down", status=429, retry_after=86_400.0)))
    settled: list[tuple[str, ...]] = []
    settling = threading.Thread(target=lambda: settled.append(one.watch.settle()), daemon=True)
    settling.start()
    wait_for(lambda: log)
    one.stop.set()
    settling.join(30)

    assert settled == [()]
    assert "next try in 86400.0 s" in log[0]


def test_a_stop_ends_the_wait_even_for_a_server_that_hangs(watched: Make) -> None:
    released = threading.Event()

    class Hanging(Script):
        def products(self) -> Catalogue:
            one.stop.set()
            released.wait(60)
            return super().products()

    one = watched("*", Hanging(listing("A-USD")))

    assert one.watch.settle() == ()
    assert not released.is_set()
    released.set()


def test_a_wildcard_at_an_address_without_the_list_is_an_error_that_says_what_to_do(watched: Make) -> None:
    with pytest.raises(ConfigError, match=r"backfill\.url"):
        watched("*-USD", Script(DOWN, ABSENT)).watch.settle()


@pytest.mark.parametrize("error", [DOWN, ABSENT], ids=["down", "absent"])
def test_a_restart_while_coinbase_is_down_goes_on_with_what_was_last(
    watched: Make, log: list[str], tmp_path: Path, error: Exception
) -> None:
    for answer in (listing("A-USD", "B-USD"), error):
        with SqliteJournal(tmp_path / "journal", role="feed") as journal:
            assert watched("*-USD", Script(answer), journal).watch.settle() == ("A-USD", "B-USD")

    assert "going on with the 2 of the last time" in log[-1]


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"\xff", b'{"asked":1,"products":[]}'])
def test_a_note_that_cannot_be_read_is_none(watched: Make, note: bytes) -> None:
    journal = MemoryJournal()
    journal.remember("products", note)

    assert watched("*", Script(DOWN, listing("A-USD")), journal).watch.settle() == ("A-USD",)


def test_what_other_words_meant_says_nothing(watched: Make) -> None:
    journal = MemoryJournal()
    watched("*-EUR", Script(listing("A-EUR")), journal).watch.settle()
    source = Script(DOWN, listing("A-USD"))

    assert watched("*-USD", source, journal).watch.settle() == ("A-USD",)
    assert source.asked == 2


def test_changes_are_told_once_and_remembered(watched: Make, wait_for: WaitFor) -> None:
    journal = MemoryJournal()
    later = listing("A-USD", "C-USD", delisted="B-USD")
    source = Script(listing("A-USD", "B-USD"), listing("A-USD", "B-USD"), DOWN, later)
    one = watched("*-USD", source, journal)
    one.watch.settle()
    one.watch.start()
    wait_for(lambda: source.asked >= 8)
    one.end()

    assert one.changes == [(["C-USD"], ["B-USD"])]
    assert one.watch.products == ("A-USD", "C-USD")
    assert watched("*-USD", Script(DOWN), journal).watch.settle() == ("A-USD", "C-USD")


def test_a_halt_removes_nothing(watched: Make, log: list[str], wait_for: WaitFor) -> None:
    source = Script(listing("A-USD", "B-USD"), listing("A-USD", halted="B-USD"))
    one = watched("*-USD", source)
    one.watch.settle()
    one.watch.start()
    wait_for(lambda: source.asked >= 5)
    one.end()

    assert one.changes == []
    assert not any("left out" in line for line in log)


def test_a_list_on_which_nothing_is_left_changes_nothing(watched: Make, log: list[str], wait_for: WaitFor) -> None:
    source = Script(listing("A-USD"), listing("Z-EUR"))
    one = watched("*-USD", source)
    one.watch.settle()
    one.watch.start()
    wait_for(lambda: source.asked >= 5)
    one.end()

    assert one.changes == []
    assert one.watch.products == ("A-USD",)
    assert any("the list stays as it is" in line for line in log)


def test_where_the_feed_has_more_than_the_list_ids_stay(watched: Make, log: list[str]) -> None:
    one = watched("A-USDC O-USD", Script(listing("A-USD", delisted="O-USD")), keep_named=True)

    assert one.watch.settle() == ("A-USDC", "O-USD")
    assert log == []


def test_a_journal_that_takes_nothing_is_no_reason_not_to_start(watched: Make, log: list[str]) -> None:
    class Full(MemoryJournal):
        def remember(self, name: str, value: bytes) -> None:
            del name, value
            raise JournalFull("a journal", "the disk is full")

    assert watched("*", Script(listing("A-USD")), Full()).watch.settle() == ("A-USD",)
    assert "cannot be remembered for the next start" in log[-1]


def test_what_nobody_expected_does_not_end_the_checks(watched: Make, log: list[str], wait_for: WaitFor) -> None:
    source = Script(listing("A-USD"), ZeroDivisionError("odd"), listing("A-USD", "B-USD"))
    one = watched("*-USD", source)
    one.watch.settle()
    one.watch.start()
    wait_for(lambda: one.changes)

    assert one.changes == [(["B-USD"], [])]
    assert any("A check has failed" in line for line in log)


def test_other_words_take_effect_without_waiting_for_the_next_check(
    watched: Make, log: list[str], wait_for: WaitFor
) -> None:
    journal = MemoryJournal()
    one = watched("A-USD", Script(listing("A-USD", "B-EUR", "C-EUR")), journal, check_seconds=3600)
    one.watch.settle()
    one.watch.start()
    one.watch.ask_for(["*-EUR", "X-USD"])
    wait_for(lambda: one.changes)
    one.end()

    assert one.changes == [(["B-EUR", "C-EUR"], ["A-USD"])]
    assert any("'X-USD' is no product of Coinbase's" in line for line in log)
    again = watched("*-EUR X-USD", Script(DOWN), journal)
    assert again.watch.settle() == ("B-EUR", "C-EUR"), "the list was not remembered with its words"


def test_words_that_come_before_it_has_started_are_not_lost_and_only_the_last_ones_count(
    watched: Make, wait_for: WaitFor
) -> None:
    source = Script(listing("A-USD", "B-USD", "C-USD"))
    one = watched("A-USD", source, check_seconds=3600)
    one.watch.ask_for(["B-USD"])
    one.watch.ask_for(["C-USD"])
    assert one.watch.settle() == ("A-USD",)
    one.watch.start()
    wait_for(lambda: one.changes)

    assert one.changes == [(["C-USD"], ["A-USD"])]
    assert source.asked == 2


def test_other_words_that_mean_the_same_are_no_change_and_remembered(
    watched: Make, log: list[str], wait_for: WaitFor
) -> None:
    journal = MemoryJournal()
    one = watched("A-USD", Script(listing("A-USD")), journal, check_seconds=3600)
    one.watch.settle()
    one.watch.start()
    one.watch.ask_for(["*-USD"])
    wait_for(lambda: any("means the same products as before" in line for line in log))
    one.end()

    assert one.changes == []
    assert watched("*-USD", Script(DOWN), journal).watch.settle() == ("A-USD",)


def test_new_ids_need_no_list(watched: Make, log: list[str], wait_for: WaitFor) -> None:
    one = watched("A-USD", Script(DOWN), check_seconds=3600)
    one.watch.settle()
    one.watch.start()
    one.watch.ask_for(["B-USD", "A-USD"])
    wait_for(lambda: one.changes)

    assert one.changes == [(["B-USD"], [])]
    assert one.watch.products == ("B-USD", "A-USD")
    assert any("Not validated" in line for line in log)


def test_new_wildcards_mean_what_the_list_said_that_was_seen_last(
    watched: Make, log: list[str], wait_for: WaitFor
) -> None:
    one = watched("A-USD", Script(listing("A-USD", "B-EUR"), DOWN), check_seconds=3600)
    one.watch.settle()
    one.watch.start()
    one.watch.ask_for(["*-EUR"])
    wait_for(lambda: one.changes)

    assert one.changes == [(["B-EUR"], ["A-USD"])]
    assert any("is taken from the list that was seen last" in line for line in log)


def test_new_wildcards_that_nobody_ever_explained_wait_for_an_answer(
    watched: Make, log: list[str], wait_for: WaitFor
) -> None:
    source = Script(DOWN)
    one = watched("A-USD", source, check_seconds=3600)
    one.watch.settle()
    one.watch.start()
    one.watch.ask_for(["*-EUR"])
    wait_for(lambda: any("is not known now; the list stays" in line for line in log))
    assert one.changes == []
    source.answers.append(listing("B-EUR"))
    wait_for(lambda: one.changes)

    assert one.changes == [(["B-EUR"], ["A-USD"])]


def test_no_words_are_refused(watched: Make) -> None:
    with pytest.raises(ConfigError):
        watched("A-USD", Script(DOWN)).watch.ask_for([])
