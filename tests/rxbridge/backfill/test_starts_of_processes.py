"""One journal, and runs of the whole bridge that ask for something else each time."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.channels import known_as
from rxbridge.coinbase.decoding import decode
from rxbridge.journal import MarketGap
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import Frame, Subscriptions, Trade
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator

Start: TypeAlias = Callable[..., Any]
BTC, ETH = "BTC-USD", "ETH-USD"


class Stage:
    """Runs on one journal, one after the other.

    Attributes:
        connections: Of each run, the number by which its frames are known.
    """

    def __init__(self, command: Start, wait_for: Start, where: list[Any], key: str, simulator: Simulator) -> None:
        self.connections: list[int] = []
        self._command = command
        self._wait_for = wait_for
        self._where = where
        self._journal = Path(where[-1])
        self._key = key
        self._simulator = simulator

    def run(self, channels: str, products: str, awaited: Callable[[], bool] | None = None) -> None:
        """A run until it is subscribed and some trades were made, and until what is awaited is there."""
        feed = ["--feed-url", self._simulator.url, "--channels", channels, "--products", products]
        run = self._command(
            *("run", *feed, *self._where), PULSESTREAM_API_KEY=self._key, RXBRIDGE_FEED_STALL_SECONDS="600"
        )
        self._wait_for(lambda: self._is_subscribed({*channels.split(",")}))
        made = self._simulator.trades(BTC).stop
        self._wait_for(lambda: self._simulator.trades(BTC).stop > made + 20)
        if awaited is not None:
            self._wait_for(awaited)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr

    def _is_subscribed(self, channels: set[str]) -> bool:
        """Whether a connection that was not there before is acknowledged to bring these."""
        for frame in self.frames():
            if frame.connection in self.connections:
                continue
            for message in decode(frame):
                if isinstance(message, Subscriptions) and channels <= {known_as(one.name) for one in message.channels}:
                    self.connections.append(frame.connection)
                    return True
        return False

    def frames(self) -> Sequence[Frame]:
        if not self._journal.exists():
            return []
        with closing(SqliteJournal(self._journal, role="read")) as journal:
            return journal.read(0, 1_000_000)

    def times(self) -> list[list[int]]:
        """Of each run, when its frames were received."""
        frames = self.frames()
        return [[one.received_at for one in frames if one.connection == each] for each in self.connections]

    def gaps(self) -> list[MarketGap]:
        with closing(SqliteJournal(self._journal, role="read")) as journal:
            return list(journal.market_gaps())

    def trades(self, product: str) -> tuple[set[int], set[int]]:
        """Those that came, and those that were fetched."""
        found: tuple[set[int], set[int]] = set(), set()
        for frame in self.frames():
            for message in decode(frame):
                if isinstance(message, Trade) and message.product_id == product:
                    found[message.is_backfilled].add(int(str(message.trade_id)))
        return found

    def is_whole(self, product: str) -> bool:
        """Whether no trade is missing between the first and the last that are there."""
        there = set[int]().union(*self.trades(product))
        return bool(there) and there == set(range(min(there), max(there) + 1))

    def audit(self) -> dict[str, Any]:
        done = self._command("verify", "--json", *self._where, PULSESTREAM_API_KEY=self._key)
        assert done.wait() == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def simulator() -> Any:
    with Simulator(products=(BTC, ETH), rate=60.0, heartbeat_seconds=0.1) as simulator:
        yield simulator


@pytest.fixture
def where(pulsestream: EmbeddedPulseStream, tmp_path: Path) -> list[Any]:
    return ["--pulsestream-url", pulsestream.url, "--journal", tmp_path / "journal"]


@pytest.fixture
def stage(
    command: Start,
    wait_for: Start,
    where: list[Any],
    pulsestream_key: str,
    simulator: Simulator,
) -> Stage:
    return Stage(command, wait_for, where, pulsestream_key, simulator)


def test_trades_that_were_traded_while_nobody_asked_for_them_are_delivered_when_somebody_does(stage: Stage) -> None:
    stage.run("ticker,matches", BTC)
    before, _ = stage.trades(BTC)
    # A trade may be two seconds late before it counts as missing.
    stage.run("ticker", BTC, lambda: max(stage.times()[-1]) - min(stage.times()[-1]) > 4e9)
    assert stage.trades(BTC)[1] == set(), "nobody would have been given them"

    def is_caught_up() -> bool:
        return max(stage.trades(BTC)[0]) > max(before) and stage.is_whole(BTC)

    stage.run("ticker,matches", BTC, is_caught_up)
    assert len(stage.trades(BTC)[1]) > 20
    found = stage.audit()
    assert (found["missing"], found["duplicates"], found["dead"], found["trade_holes"]) == (0, 0, 0, 0)


def test_only_what_was_asked_for_before_is_a_gap_of_a_start(stage: Stage) -> None:
    stage.run("ticker,level2", BTC)
    stage.run("ticker", f"{BTC},{ETH}")
    stage.run("ticker,level2", f"{BTC},{ETH}")

    (_, end), (begin, second_end), _ = [(min(each), max(each)) for each in stage.times()]
    gaps = {(gap.channel, product): gap for gap in stage.gaps() for product in gap.products if gap.first == end}
    assert gaps.keys() == {("ticker", BTC), ("level2", BTC)}
    assert gaps["level2", BTC].last == begin, "then nobody wanted it any more"
    later = {(gap.channel, product) for gap in stage.gaps() for product in gap.products if gap.first == second_end}
    assert later == {("ticker", BTC), ("ticker", ETH)}
    assert {gap.first for gap in stage.gaps()} == {end, second_end}
