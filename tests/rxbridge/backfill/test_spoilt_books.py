"""A book that cannot be followed any more is a gap of quotes, from the frame before to its next snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest

from rxbridge.backfill import Backfill
from rxbridge.backfill.follower import Follower
from rxbridge.backfill.silences import UNREADABLE, Silence
from rxbridge.backfill.state import State, decode, encode
from rxbridge.journal import Journal
from rxbridge.messages import Frame
from tests.rxbridge.backfill.support import OPENED, SECOND, FakeRest, append, eventually, gaps, notices
from tests.rxbridge.backfill.support import frame as framed

Run: TypeAlias = Callable[..., Backfill]
BTC, ETH = "BTC-USD", "ETH-USD"
PRODUCTS = (BTC, ETH)
SECOND_ONE = OPENED + 1000 * SECOND


def at(seconds: float, data: Any, line: int = OPENED) -> Frame:
    when = int(OPENED + seconds * SECOND)
    return Frame(data, when, line, 0) if isinstance(data, bytes) else framed(data, connection=line, received_at=when)


def snapshot(seconds: float, product: str = BTC, line: int = OPENED) -> Frame:
    content = {"type": "snapshot", "product_id": product, "bids": [["9", "1"]], "asks": [["10", "1"]]}
    return at(seconds, content, line)


def update(seconds: float, product: str = BTC, price: str = "9", line: int = OPENED) -> Frame:
    return at(seconds, {"type": "l2update", "product_id": product, "changes": [["buy", price, "2"]]}, line)


def acknowledged(seconds: float, *products: str, line: int = OPENED) -> Frame:
    channel = {"name": "level2_50", "product_ids": list(products)}
    return at(seconds, {"type": "subscriptions", "channels": [channel]}, line)


def silences(*frames: Frame, restart_after: int | None = None) -> list[Silence]:
    options: dict[str, Any] = {"products": (), "channels": ("level2",), "quoted": PRODUCTS, "grace_seconds": 1.0}
    follower = Follower(State(), **options)
    found: list[Silence] = []
    for offset, one in enumerate(frames, 1):
        placed: Sequence[Frame] = [Frame(one.data, one.received_at, one.connection, one.index, offset)]
        follower.follow(placed, float(offset))
        found += follower.take_silences()
        if offset == restart_after:
            kept = decode(encode(follower.state()))
            assert kept is not None
            follower = Follower(kept, **options)
    return found


def silence(first: float, last: float, *products: str) -> Silence:
    return Silence("level2", products, int(OPENED + first * SECOND), int(OPENED + last * SECOND), UNREADABLE)


TRUNCATED = b'{"type":"l2update","product_id":"BTC-USD","cha'
WHOLE = (snapshot(1), snapshot(2, ETH), update(3))


@pytest.mark.parametrize("restart", [None, 4, 5])
def test_it_lasts_from_the_frame_before_to_the_next_snapshot(restart: int | None) -> None:
    frames = [*WHOLE, at(4, TRUNCATED), update(5), update(6, ETH), snapshot(7), acknowledged(7.1, BTC, ETH)]
    frames += [update(8), snapshot(9, ETH)]
    assert silences(*frames, restart_after=restart) == [silence(3, 7, BTC), silence(3, 9, ETH)]


@pytest.mark.parametrize("content", [b"garbage", b"", b'{"type":"l2upd'])
def test_what_may_have_been_of_any_book_costs_all(content: bytes) -> None:
    # Those that begin anew together are one gap.
    assert silences(*WHOLE, at(4, content), snapshot(5), snapshot(6, ETH)) == [silence(3, 6, BTC, ETH)]


def test_a_level_that_is_none_costs_the_book_that_it_is_of() -> None:
    assert silences(*WHOLE, update(4, price="nine"), update(5), snapshot(6)) == [silence(3, 6, BTC)]


@pytest.mark.parametrize(
    "content", [b'{"type":"heartbeat","produ', b'{"type":"match","trade_id', b'{"type":"unheard_of","x":1}']
)
def test_what_says_that_it_is_of_no_book_costs_none(content: bytes) -> None:
    assert silences(*WHOLE, at(4, content), update(5), snapshot(6)) == []


def test_an_acknowledgement_does_not_end_it() -> None:
    frames = [*WHOLE, update(4, price="nine"), acknowledged(5, ETH), acknowledged(6, BTC, ETH), snapshot(7)]
    assert silences(*frames) == [silence(3, 7, BTC)]


def test_frames_that_the_journal_had_no_room_for_cost_all_books() -> None:
    frames = [*WHOLE, update(5), update(6), snapshot(7), acknowledged(7.1, BTC, ETH)]
    placed = [Frame(one.data, one.received_at, one.connection, index) for index, one in enumerate(frames)]
    del placed[3]
    assert silences(*placed) == [silence(3, 7, BTC)]
    assert silences(*placed, snapshot(9, ETH)) == [silence(3, 7, BTC), silence(3, 9, ETH)]


def test_a_renewal_alone_is_none() -> None:
    assert silences(*WHOLE, acknowledged(4, ETH), snapshot(5), acknowledged(6, BTC, ETH), update(7)) == []


def test_with_a_new_connection_it_is_over() -> None:
    frames = [*WHOLE, update(4, price="nine"), acknowledged(1001, BTC, ETH, line=SECOND_ONE)]
    frames += [update(1002, line=SECOND_ONE), snapshot(1003, line=SECOND_ONE)]
    found = silences(*frames)
    assert silence(3, 1001, BTC) in found
    assert Silence("level2", (ETH,), OPENED + 4 * SECOND, OPENED + 1001 * SECOND) in found
    assert len(found) == 2


def test_it_is_on_record_and_told(journal: Journal, rest: FakeRest, run: Run) -> None:
    append(journal, *WHOLE, update(4, price="nine"), snapshot(6.5))
    backfill = run(journal, rest, products=(), quoted_products=PRODUCTS, unreplayable_channels=("level2",))
    eventually(lambda: backfill.idle)
    assert backfill.drain(10.0)
    assert gaps(journal) == [("quotes", "level2", OPENED + 3 * SECOND, int(OPENED + 6.5 * SECOND))]
    (notice,) = notices(journal)
    assert notice.products == (BTC,)
    assert "could not be read" in notice.reason
    assert "3.5 s" in notice.reason
