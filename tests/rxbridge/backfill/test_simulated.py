"""Against a simulated market over real sockets: whatever the feed loses, in the end every trade is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from rxbridge import coinbase
from rxbridge.backfill import Backfill
from rxbridge.coinbase.rest import RestClient
from rxbridge.faults import Fault
from rxbridge.feed import Feed
from rxbridge.journal import Journal, SqliteJournal
from rxbridge.messages import Frame
from rxbridge.simulator import Simulator
from tests.rxbridge.backfill.support import eventually, gaps, trade_ids

PRODUCTS = ("BTC-USD", "ETH-USD")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(products=PRODUCTS, rate=300.0, heartbeat_seconds=0.1) as simulator:
        yield simulator


class Leaky(Feed):
    """A feed that loses every so many frames, after the first few of a connection."""

    def __init__(self, simulator: Simulator, journal: Journal, *, one_in: int, seed: int = 1) -> None:
        frames = coinbase.frames(PRODUCTS, url=simulator.url, backoff_minimum_seconds=0.05, backoff_maximum_seconds=0.1)
        super().__init__(frames, journal)
        self._kept = journal
        self._one_in = one_in
        self._random = Random(seed)
        self.lost = 0

    def start(self) -> None:
        self._subscription = self._frames.subscribe(self._take, self._failed)

    def _take(self, frame: Frame) -> None:
        # The first frames say where the trades begin: without them there is nothing to miss.
        if frame.index > 10 and self._random.randrange(self._one_in) == 0:
            self.lost += 1
        else:
            self._kept.append(frame)


def connected(simulator: Simulator, journal: Journal, run: Callable[..., Backfill], path: Path) -> Backfill:
    return run(
        journal,
        RestClient(simulator.rest_url),
        products=PRODUCTS,
        unreplayable_channels=("ticker",),
        marks=path,
        requests_per_second=8.0,
        grace_seconds=0.2,
        retry_minimum_seconds=0.05,
        retry_maximum_seconds=0.5,
    )


def whole(simulator: Simulator, journal: Journal) -> bool:
    """Whether every trade from the first received one on is there; the market must stand still."""
    for product in PRODUCTS:
        ids = trade_ids(journal, product)
        if not ids or set(ids) < set(range(min(ids), simulator.trades(product).stop)):
            return False
    return True


def test_lost_frames_and_disconnects(
    simulator: Simulator, journal: Journal, run: Callable[..., Backfill], tmp_path: Path
) -> None:
    backfill = connected(simulator, journal, run, tmp_path / "marks")
    feed = Leaky(simulator, journal, one_in=10)
    feed.start()
    for disconnects in range(1, 4):
        arrived = journal.size().last_offset
        eventually(lambda arrived=arrived: journal.size().last_offset > arrived + 300)
        simulator.disconnect_all(None)
        eventually(lambda disconnects=disconnects: simulator.statistics.connections > disconnects)
    simulator.pause()
    eventually(lambda: whole(simulator, journal))
    eventually(lambda: backfill.idle)
    feed.stop()

    assert feed.lost > 0
    assert [gap for gap in gaps(journal) if gap[0] == "trades"] == []
    assert 1 <= len([gap for gap in gaps(journal) if gap[0] == "quotes"]) <= 3
    for product in PRODUCTS:
        fetched = trade_ids(journal, product, fetched=True)
        assert len(fetched) == len(set(fetched)), "something was fetched twice"
    # At most 8 a second, and far fewer than there were holes.
    assert backfill.statistics.requests <= backfill.statistics.holes + 20


def test_a_pause_of_the_process(simulator: Simulator, path: Path, run: Callable[..., Backfill], tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    for _ in range(3):
        with SqliteJournal(path) as journal:
            backfill = connected(simulator, journal, run, marks)
            feed = Leaky(simulator, journal, one_in=10**9)
            arrived = journal.size().last_offset
            feed.start()
            eventually(lambda journal=journal, arrived=arrived: journal.size().last_offset > arrived + 200)
            feed.stop()
            assert journal.flush(10.0)
            assert backfill.drain(10.0)
        made = simulator.trades("BTC-USD").stop
        eventually(lambda made=made: simulator.trades("BTC-USD").stop > made + 100)
    simulator.pause()
    with SqliteJournal(path) as journal:
        backfill = connected(simulator, journal, run, marks)
        feed = Leaky(simulator, journal, one_in=10**9)
        feed.start()
        eventually(lambda: whole(simulator, journal))
        eventually(lambda: backfill.idle)
        feed.stop()
        assert backfill.drain(10.0)

        assert [gap[0] for gap in gaps(journal)] == ["quotes"] * 3
        assert trade_ids(journal, fetched=True) == sorted(trade_ids(journal, fetched=True))


def test_every_fault_of_feed_and_rest_at_once(journal: Journal, run: Callable[..., Backfill], tmp_path: Path) -> None:
    faults = [
        Fault("drop", probability=0.03),
        Fault("duplicate", probability=0.02),
        Fault("reorder", probability=0.02),
        Fault("truncate", probability=0.02),
        Fault("missing_field", probability=0.02),
        Fault("null_field", probability=0.02),
        Fault("last_trade_id_zero", probability=0.5),
        Fault("garbage", probability=0.02),
        Fault("close", at=1.0, every=1.5, code=1012),
        Fault("rest_500", at=0.5, seconds=0.7, every=3.0),
        Fault("rest_429", at=1.2, seconds=0.5, every=3.0, retry_after=1),
        Fault("rest_empty", at=1.8, seconds=0.7, every=3.0),
        Fault("rest_slow", at=2.5, seconds=0.4, every=3.0, delay_seconds=0.5),
        Fault("rest_empty", probability=0.05),
    ]
    with Simulator(products=PRODUCTS, rate=200.0, heartbeat_seconds=0.2, faults=faults) as simulator:
        backfill = connected(simulator, journal, run, tmp_path / "marks")
        feed = Leaky(simulator, journal, one_in=10**9)
        feed.start()
        eventually(lambda: sum(len(simulator.trades(product)) for product in PRODUCTS) > 1200)
        eventually(lambda: backfill.statistics.failed_requests > 0 and backfill.statistics.fetched > 50)
        simulator.pause()
        eventually(lambda: whole(simulator, journal))
        eventually(lambda: backfill.idle)
        feed.stop()

        assert [gap for gap in gaps(journal) if gap[0] == "trades"] == []
