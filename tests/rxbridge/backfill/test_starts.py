"""Starts that ask for other channels or products than the run before: what stands still, and what is no gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.backfill import Backfill
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.silences import Silence
from rxbridge.backfill.state import State
from rxbridge.journal import Journal, MemoryJournal
from rxbridge.messages import Frame
from tests.rxbridge.backfill.support import (
    OPENED,
    SECOND,
    FakeRest,
    append,
    eventually,
    frame,
    gaps,
    heartbeat,
    matches,
    ticker,
    trade_ids,
)

Run: TypeAlias = Callable[..., Backfill]
BTC, ETH = "BTC-USD", "ETH-USD"


def read_all(journal: Journal, rest: FakeRest, run: Run, **settings: Any) -> None:
    """A whole run, of which everything is in the journal when it begins."""
    backfill = run(journal, rest, **settings)
    eventually(lambda: backfill.idle)
    assert backfill.drain(10.0)


def received(journal: Journal, rest: FakeRest, run: Run, *frames: Frame, **settings: Any) -> None:
    """A whole run that receives these."""
    backfill = run(journal, rest, **settings)
    append(journal, *frames)
    eventually(lambda: backfill.idle)
    assert backfill.drain(10.0)


# ---- trades


def test_trades_are_not_fetched_while_nobody_asks_for_them_and_are_not_lost_for_that(
    journal: Journal, rest: FakeRest, run: Run
) -> None:
    received(journal, rest, run, *matches([100, 101]), products=(BTC,))
    received(journal, rest, run, heartbeat(120), ticker(121), products=(), quoted_products=(BTC,))

    assert (rest.asked, trade_ids(journal)) == ([], [100, 101])
    received(journal, rest, run, *matches([125]), products=(BTC,))
    assert trade_ids(journal, fetched=True) == list(range(102, 125))


def test_a_hole_that_was_found_waits_while_nobody_asks_for_trades(journal: Journal, rest: FakeRest, run: Run) -> None:
    rest.gate.clear()
    backfill = run(journal, rest, products=(BTC,))
    append(journal, *matches([100, 104]))
    eventually(lambda: rest.asked)
    assert backfill.drain(10.0)
    rest.gate.set()
    asked = len(rest.asked)
    received(journal, rest, run, ticker(104), products=(), quoted_products=(BTC,))

    assert (len(rest.asked), trade_ids(journal)) == (asked, [100, 104])
    read_all(journal, rest, run, products=(BTC,))
    assert trade_ids(journal, fetched=True) == [101, 102, 103]


def test_a_suspicion_waits_while_nobody_asks_for_trades(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    rest.last = 103
    rest.gate.clear()
    numbered = [frame({"channel": "heartbeats", "sequence_num": number, "events": []}) for number in (0, 2)]
    backfill = run(memory, rest, products=(BTC,))
    append(memory, *matches([100]), *numbered)
    eventually(lambda: rest.asked)
    assert backfill.drain(10.0)
    rest.gate.set()
    asked = len(rest.asked)
    received(memory, rest, run, ticker(103), products=(), quoted_products=(BTC,))

    assert len(rest.asked) == asked
    read_all(memory, rest, run, products=(BTC,))
    assert trade_ids(memory, fetched=True) == [101, 102, 103]


def test_a_product_that_is_left_out_stands_still_but_for_the_holes_that_it_had(
    journal: Journal, rest: FakeRest, run: Run
) -> None:
    rest.gate.clear()
    backfill = run(journal, rest, products=(BTC, ETH))
    append(journal, *matches([100]), *matches([50, 53], ETH))
    eventually(lambda: rest.asked)
    assert backfill.drain(10.0)
    rest.gate.set()
    received(journal, rest, run, heartbeat(60, ETH), *matches([101]), products=(BTC,))

    assert trade_ids(journal, ETH, fetched=True) == [51, 52]
    received(journal, rest, run, *matches([56], ETH), products=(BTC, ETH))
    assert trade_ids(journal, ETH, fetched=True) == [51, 52, 54, 55]


def test_a_product_that_is_removed_while_it_runs_stands_still(memory: MemoryJournal, rest: FakeRest, run: Run) -> None:
    backfill = run(memory, rest, products=(BTC, ETH))
    append(memory, *matches([100]), *matches([50], ETH))
    eventually(lambda: backfill.idle)
    backfill.follow((BTC,), (BTC,))
    append(memory, *matches([101]))
    eventually(lambda: backfill.idle)
    # Now that the change was seen and read up to.
    append(memory, heartbeat(60, ETH), ticker(61, ETH), *matches([102]))
    eventually(lambda: backfill.idle)

    assert rest.asked == []
    backfill.follow((BTC, ETH), (BTC, ETH))
    append(memory, *matches([54], ETH))
    eventually(lambda: trade_ids(memory, ETH, fetched=True) == [51, 52, 53])


# ---- quotes


class Part(NamedTuple):
    """A run: what it asks for, what it receives, and how much of that it reads itself; the next run reads the rest."""

    channels: Sequence[str]
    products: Sequence[str]
    frames: Sequence[Frame]
    read: int = 10**6


def silences_of(*parts: Part, state: State | None = None) -> list[Silence]:
    state, silences, journal = state or State(), list[Silence](), list[Frame]()
    for part in parts:
        starts_after = len(journal)
        journal += [
            msgspec.structs.replace(one, offset=offset) for offset, one in enumerate(part.frames, starts_after + 1)
        ]
        follower = Follower(
            msgspec.json.decode(msgspec.json.encode(state), type=State),
            products=(),
            channels=part.channels,
            quoted=part.products,
            grace_seconds=0.0,
            starts_after=starts_after,
        )
        follower.follow(journal[follower.offset : max(starts_after + part.read, follower.offset)], 0.0)
        silences += follower.take_silences()
        state = follower.state()
    return silences


def told(silences: Sequence[Silence]) -> list[tuple[str, str, float, float]]:
    """Each by channel and product, with both ends in seconds."""
    return sorted(
        (one.channel, product, (one.first - OPENED) / SECOND, (one.last - OPENED) / SECOND)
        for one in silences
        for product in one.products
    )


def connected(begin: float, end: float, channels: Sequence[str], products: Sequence[str]) -> list[Frame]:
    """A connection whose first frame comes at one second, acknowledges two later, and is there until another."""
    lines = [{"name": channel, "product_ids": list(products)} for channel in channels]
    contents = [
        (begin, {"type": "heartbeat", "product_id": BTC}),
        (begin + 2, {"type": "subscriptions", "channels": lines}),
        (end, {"type": "heartbeat", "product_id": BTC}),
    ]
    where = OPENED + int(begin * SECOND)
    return [frame(one, connection=where, received_at=OPENED + int(at * SECOND)) for at, one in contents]


def whole(begin: float, channels: Sequence[str], products: Sequence[str]) -> Part:
    """A run of ten seconds."""
    return Part(channels, products, connected(begin, begin + 10, channels, products))


def test_a_product_that_was_never_asked_for_was_not_silent() -> None:
    silences = silences_of(whole(0, ["ticker"], [BTC]), whole(20, ["ticker"], [BTC, ETH]))

    assert told(silences) == [("ticker", BTC, 10, 22)]


def test_a_channel_that_was_never_asked_for_was_not_silent() -> None:
    silences = silences_of(whole(0, ["ticker"], [BTC]), whole(20, ["ticker", "auctionfeed"], [BTC]))

    assert told(silences) == [("ticker", BTC, 10, 22)]


def test_a_channel_that_was_taken_away_is_silent_up_to_the_start_without_it() -> None:
    both = ["ticker", "level2"]
    silences = silences_of(whole(0, both, [BTC]), whole(20, ["ticker"], [BTC]), whole(40, both, [BTC]))

    assert told(silences) == [("level2", BTC, 10, 20), ("ticker", BTC, 10, 22), ("ticker", BTC, 30, 42)]


def test_a_product_that_was_left_out_is_silent_up_to_the_start_without_it() -> None:
    silences = silences_of(
        whole(0, ["ticker"], [BTC, ETH]), whole(20, ["ticker"], [BTC]), whole(40, ["ticker"], [BTC, ETH])
    )

    assert told(silences) == [("ticker", BTC, 10, 22), ("ticker", BTC, 30, 42), ("ticker", ETH, 10, 20)]


def test_a_start_that_nothing_came_of_has_changed_nothing() -> None:
    silences = silences_of(
        whole(0, ["ticker"], [BTC, ETH]), Part(["ticker"], [BTC], []), whole(40, ["ticker"], [BTC, ETH])
    )

    assert told(silences) == [("ticker", BTC, 10, 42), ("ticker", ETH, 10, 42)]


@pytest.mark.parametrize("line", [0, 1])
def test_a_start_ends_all_lines_and_what_they_bridged_is_no_silence(line: int) -> None:
    """The one that is `line` was the last to be there."""
    ends = [17.0, 17.0]
    ends[line] = 18.0
    lines = [connected(0, end, ["ticker"], [BTC]) for end in ends]
    first = [
        msgspec.structs.replace(one, connection=one.connection + number)
        for number, frames in enumerate(lines)
        for one in frames
    ]
    first.sort(key=lambda one: one.received_at)
    silences = silences_of(Part(["ticker"], [BTC], first), whole(20, ["ticker"], [BTC, ETH]))

    assert told(silences) == [("ticker", BTC, 18, 22)]


ASKED = st.tuples(
    st.sets(st.sampled_from(["ticker", "auctionfeed"]), min_size=1),
    st.sets(st.sampled_from([BTC, ETH]), min_size=1),
    st.integers(0, 6),
)


@given(st.lists(ASKED, min_size=1, max_size=6))
def test_what_is_silent_depends_on_what_was_wanted_and_not_on_who_read_it(
    runs: list[tuple[set[str], set[str], int]],
) -> None:
    """Each run has a disconnect, of eight seconds and two; what it leaves unread is read by a later one."""
    parts = [
        Part(
            sorted(channels),
            sorted(products),
            [
                one
                for begin in (100 * number, 100 * number + 18)
                for one in connected(begin, begin + 10, sorted(channels), sorted(products))
            ],
            read,
        )
        for number, (channels, products, read) in enumerate(runs)
    ]
    parts[-1] = parts[-1]._replace(read=10**6)
    wanted = [{(channel, product) for channel in part.channels for product in part.products} for part in parts]
    expected = [
        (channel, product, 100.0 * number + 10, 100.0 * number + 20)
        for number, pairs in enumerate(wanted)
        for channel, product in pairs
    ]
    for number, (before, after) in enumerate(pairwise(wanted), 1):
        expected += [
            (channel, product, 100.0 * number - 72, 100.0 * number + (2 if (channel, product) in after else 0))
            for channel, product in before
        ]

    assert told(silences_of(*parts)) == sorted(expected)


def of_an_older_version(part: Part) -> State:
    """What was remembered of a run before anything was remembered of what was asked for."""
    follower = Follower(State(), products=(), channels=part.channels, quoted=part.products, grace_seconds=0.0)
    follower.follow([msgspec.structs.replace(one, offset=at) for at, one in enumerate(part.frames, 1)], 0.0)
    fields = msgspec.json.decode(msgspec.json.encode(follower.state()))
    del fields["in_force"], fields["to_come"]
    # As if the frames below were the first of the journal.
    fields["offset"] = fields["quoted_to"] = 0
    return msgspec.json.decode(msgspec.json.encode(fields), type=State)


def test_a_note_of_an_older_version_says_by_what_came_what_was_asked_for() -> None:
    state = of_an_older_version(whole(0, ["ticker"], [BTC]))
    silences = silences_of(whole(20, ["ticker", "level2"], [BTC, ETH]), state=state)

    assert told(silences) == [("ticker", BTC, 10, 22)]


def test_what_an_older_version_took_for_silent_long_after_it_was_taken_away_is_not_told() -> None:
    refused = connected(0, 1, ["ticker"], [BTC, ETH]) + connected(5, 15, ["ticker"], [BTC])
    state = of_an_older_version(Part(["ticker"], [BTC, ETH], refused))
    assert ETH in state.coverage.silent["ticker"]

    assert told(silences_of(whole(20, ["ticker"], [BTC]), state=state)) == [("ticker", BTC, 15, 22)]
    state = of_an_older_version(Part(["ticker"], [BTC, ETH], refused))
    assert ("ticker", ETH, 2, 22) in told(silences_of(whole(20, ["ticker"], [BTC, ETH]), state=state))


def test_the_backfill_reads_what_a_run_has_left_as_of_that_run(journal: Journal, rest: FakeRest, run: Run) -> None:
    def at(second: int, product: str = BTC) -> Frame:
        where = OPENED + second // 100 * 100 * SECOND
        return ticker(9, product, connection=where, received_at=OPENED + second * SECOND)

    options = {"unreplayable_channels": ("ticker",), "products": ()}
    received(journal, rest, run, at(1), at(1, ETH), quoted_products=(BTC, ETH), **options)
    # A disconnect that this run has not read of when it is killed.
    append(journal, at(101), at(101, ETH), at(102))
    received(journal, rest, run, at(201), quoted_products=(BTC,), **options)

    assert [
        (gap.products, (gap.first - OPENED) // SECOND, (gap.last - OPENED) // SECOND) for gap in journal.market_gaps()
    ] == [
        ((BTC, ETH), 1, 101),
        ((ETH,), 102, 201),
        ((BTC,), 102, 201),
    ]
    received(journal, rest, run, at(301), at(301, ETH), quoted_products=(BTC, ETH), **options)
    assert gaps(journal)[3:] == [("quotes", "ticker", OPENED + 201 * SECOND, OPENED + 301 * SECOND)]
    assert list(journal.market_gaps())[3].products == (BTC,)


def test_a_change_that_a_failed_worker_had_not_remembered_is_made_by_the_next(
    memory: MemoryJournal, rest: FakeRest, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed_at = OPENED + 50 * SECOND
    backfill = run(
        memory,
        rest,
        products=(BTC, ETH),
        unreplayable_channels=("ticker",),
        clock=lambda: removed_at / SECOND,
    )
    append(memory, ticker(1), ticker(1, ETH))
    append(memory, heartbeat(1, connection=OPENED + SECOND, received_at=OPENED + SECOND))
    eventually(lambda: backfill.idle)
    keep = Follower.keep_products
    failures: list[str] = []

    def fail_once(self: Follower, *args: Any) -> None:
        if not failures:
            failures.append("once")
            raise RuntimeError("not today")
        keep(self, *args)

    monkeypatch.setattr(Follower, "keep_products", fail_once)
    backfill.follow((BTC,), (BTC,))

    eventually(lambda: gaps(memory) == [("quotes", "ticker", OPENED, removed_at)])
    assert failures
    assert next(iter(memory.market_gaps())).products == (ETH,)
