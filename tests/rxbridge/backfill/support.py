"""Frames that Coinbase might send, a REST that does as it is told, and what a journal holds in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from rxbridge.backfill import Backfill
from rxbridge.coinbase.decoding import decode
from rxbridge.coinbase.rest import RestTrade
from rxbridge.errors import MalformedFrame
from rxbridge.journal import Journal
from rxbridge.messages import Frame, GapNotice, Message, Trade

PRODUCT = "BTC-USD"
SECOND = 10**9
KEPT = 1e10
"""Seconds that acknowledged frames are kept: the frames below are old."""
OPENED = 1_700_000_000 * SECOND
EPOCH = OPENED
"""When trade 0 was, in nanoseconds since the Unix epoch; each further one is a second later."""


def moment(trade_id: int) -> datetime:
    return datetime.fromtimestamp((EPOCH + trade_id * SECOND) / SECOND, UTC)


def rest_trade(trade_id: int) -> RestTrade:
    time = moment(trade_id).isoformat().replace("+00:00", "Z")
    return RestTrade(trade_id, f"{trade_id}.50", "0.01", "sell", time)


def frame(data: object, *, connection: int = OPENED, received_at: int = OPENED) -> Frame:
    return Frame(msgspec.json.encode(data), received_at, connection, 0)


def match(trade_id: object, product: str = PRODUCT, kind: str = "match", **where: int) -> Frame:
    fields = {"type": kind, "trade_id": trade_id, "product_id": product, "price": "1.5", "size": "0.01", "side": "sell"}
    return frame(fields, **where)


def matches(ids: Iterable[int], product: str = PRODUCT, **where: int) -> list[Frame]:
    return [match(one, product, "match", **where) for one in ids]


def heartbeat(last_trade_id: object, product: str = PRODUCT, **where: int) -> Frame:
    return frame({"type": "heartbeat", "last_trade_id": last_trade_id, "product_id": product, "sequence": 1}, **where)


def ticker(trade_id: object, product: str = PRODUCT, **where: int) -> Frame:
    return frame({"type": "ticker", "trade_id": trade_id, "product_id": product, "price": "1.5"}, **where)


def append(journal: Journal, *frames: Frame) -> None:
    for one in frames:
        journal.append(one)
    assert journal.flush(10.0)


class FakeRest:
    """A REST API that has trades `first` to `last` of every product, but for some.

    Attributes:
        first: The oldest that it has.
        last: The newest.
        lacks: What it does not have between.
        asked: All questions so far.
        failures: Raised one after the other, in place of answers, while there are any.
        failing: Raised for a product, whenever it is asked for.
        gate: Answers come while it is set.
    """

    timeout_seconds = 30.0

    def __init__(self, first: int = 1, last: int = 10**6, lacks: Iterable[int] = ()) -> None:
        self.first = first
        self.last = last
        self.lacks = set(lacks)
        self.asked: list[tuple[str, int | None, int]] = []
        self.failures: list[Exception] = []
        self.failing: dict[str, Exception] = {}
        self.before_answer: Callable[[], None] = lambda: None
        self.gate = threading.Event()
        self.gate.set()

    def trades(self, product: str, *, after: int | None = None, limit: int = 1000) -> Sequence[RestTrade]:
        self.asked.append((product, after, limit))
        self.gate.wait(30.0)
        self.before_answer()
        if self.failures:
            raise self.failures.pop(0)
        if product in self.failing:
            raise self.failing[product]
        return self.page(after, limit)

    def page(self, after: int | None, limit: int) -> list[RestTrade]:
        found: list[RestTrade] = []
        one = self.last if after is None else min(after - 1, self.last)
        while one >= self.first and len(found) < limit:
            if one not in self.lacks:
                found.append(rest_trade(one))
            one -= 1
        return found[::-1]

    def close(self) -> None:
        """Nothing is open."""


def hasty(journal: Journal, rest: Any, **settings: Any) -> Backfill:
    """A backfill that waits for next to nothing."""
    settings.setdefault("products", (PRODUCT,))
    settings.setdefault("max_age_seconds", None)
    settings.setdefault("requests_per_second", 10_000.0)
    settings.setdefault("grace_seconds", 0.0)
    settings.setdefault("retry_minimum_seconds", 0.001)
    settings.setdefault("retry_maximum_seconds", 0.002)
    return Backfill(journal, rest, **settings)


def every(journal: Journal) -> list[Frame]:
    frames: list[Frame] = []
    while found := journal.read(frames[-1].offset if frames else 0):
        frames += found
    return frames


def messages(journal: Journal) -> list[Message]:
    found: list[Message] = []
    for one in every(journal):
        try:
            found += decode(one)
        except MalformedFrame:
            continue
    return found


def trade_ids(journal: Journal, product: str = PRODUCT, *, fetched: bool | None = None) -> list[int]:
    """The ids of the trades in the journal, in its order; only fetched ones, or only received ones, if asked for."""
    return [
        int(one.trade_id)
        for one in messages(journal)
        if isinstance(one, Trade)
        and one.product_id == product
        and isinstance(one.trade_id, int)
        and fetched in (None, one.is_backfilled)
    ]


def notices(journal: Journal) -> list[GapNotice]:
    return [one for one in messages(journal) if isinstance(one, GapNotice)]


def gaps(journal: Journal) -> list[tuple[str, str, int, int]]:
    """Kind, channel and ends of the recorded gaps."""
    return [(gap.kind, gap.channel, gap.first, gap.last) for gap in journal.market_gaps()]


def eventually(condition: Callable[[], object], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not happened in time"
        time.sleep(0.005)
