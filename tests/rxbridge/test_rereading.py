"""SIGHUP while a bridge runs, as a real process: what it changes, what it does not, and that nothing is lost by it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.coinbase.decoding import decode
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import Subscriptions, Ticker, Trade
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator

Start: TypeAlias = Callable[..., Any]
BTC, ETH, SOL = "BTC-USD", "ETH-USD", "SOL-USD"


class Stage:
    """A bridge that has its settings from a file.

    Attributes:
        run: The process.
    """

    def __init__(self, command: Start, pulsestream: EmbeddedPulseStream, key: str, folder: Path) -> None:
        self.run: Any = None
        self._command = command
        self._key = key
        self._reach = ["--pulsestream-url", pulsestream.url, "--journal", folder / "journal"]
        self._journal = folder / "journal"
        self._file = folder / "settings.toml"

    def start(self, simulator: Simulator, feed: str, products: str, *more: object) -> None:
        self.write(products, f'protocol = "{feed}"', f'url = "{simulator.url}"')
        self.run = self._command(*("run", *self._reach, "--config", self._file, *more), PULSESTREAM_API_KEY=self._key)

    def write(self, products: str, *lines: str, more: str = "") -> None:
        """Write the file; without lines for the feed those of before stay."""
        if lines:
            self._feed = "\n".join(lines)
        text = f'[feed]\nproducts = "{products}"\nchannels = "ticker,trades,level2"\n{self._feed}\n{more}\n'
        self._file.write_text(text, encoding="utf-8")

    def reread(self) -> None:
        self.run.send(signal.SIGHUP)

    def told(self, *words: str) -> list[str]:
        """The log's messages that hold all of these words."""
        # The last line may not be whole yet.
        lines = self.run.stderr.rpartition("\n")[0].splitlines()
        messages = [json.loads(line)["message"] for line in lines if line.startswith("{")]
        return [message for message in messages if all(word in message for word in words)]

    def trades(self) -> dict[str, list[int]]:
        """The ids of the trades in the journal, by product."""
        found: dict[str, list[int]] = {}
        for message in self._messages():
            if isinstance(message, Trade):
                found.setdefault(str(message.product_id), []).append(int(str(message.trade_id)))
        return found

    def subscribed(self) -> set[str]:
        """The products of the newest acknowledgement that the journal holds, but for the heartbeat's."""
        newest = next((one for one in reversed(self._messages()) if isinstance(one, Subscriptions)), None)
        named = [] if newest is None else [one for one in newest.channels if not one.name.startswith("heartbeat")]
        return {product for one in named for product in one.product_ids}

    def brought_since_the_acknowledgement(self) -> set[str]:
        """The products of which the feed itself has brought anything since."""
        messages = self._messages()
        newest = max(at for at, message in enumerate(messages) if isinstance(message, Subscriptions))
        return {str(one.product_id) for one in messages[newest:] if isinstance(one, Ticker) or _is_live_trade(one)}

    def _messages(self) -> list[Any]:
        if not self._journal.exists():
            return []
        with closing(SqliteJournal(self._journal, role="read")) as journal:
            return [message for frame in journal.read(0, 1_000_000) for message in decode(frame)]

    def stop(self) -> None:
        self.run.send(signal.SIGTERM)
        assert self.run.wait() == 0, self.run.stderr

    def audit(self) -> dict[str, Any]:
        done = self._command(*("verify", "--json", *self._reach, "--config", self._file), PULSESTREAM_API_KEY=self._key)
        assert done.wait() == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


def _is_live_trade(message: Any) -> bool:
    return isinstance(message, Trade) and not message.is_backfilled


@pytest.fixture
def stage(command: Start, pulsestream: EmbeddedPulseStream, pulsestream_key: str, tmp_path: Path) -> Stage:
    return Stage(command, pulsestream, pulsestream_key, tmp_path)


@pytest.mark.parametrize("feed", ["exchange", "advanced"])
def test_products_come_and_go_without_a_reconnection_and_nothing_is_lost(
    stage: Stage, wait_for: Start, feed: Any
) -> None:
    with Simulator(feed=feed, products=(BTC, ETH, SOL), rate=90.0) as simulator:
        stage.start(simulator, feed, f"{BTC},{ETH}")
        wait_for(lambda: len(stage.trades().get(BTC, ())) > 20)
        stage.write(f"{ETH},{SOL}")
        stage.reread()
        wait_for(lambda: stage.subscribed() == {ETH, SOL})
        wait_for(lambda: stage.brought_since_the_acknowledgement() >= {ETH, SOL})
        wait_for(lambda: simulator.trades(BTC).stop > max(stage.trades()[BTC]) + 10)
        simulator.pause()
        ends = {product: simulator.trades(product).stop for product in (BTC, ETH, SOL)}
        wait_for(lambda: all(max(stage.trades()[product]) == ends[product] - 1 for product in (ETH, SOL)))
        connections = simulator.statistics.connections
        stage.stop()

    audit, received = stage.audit(), stage.trades()
    assert (audit["missing"], audit["duplicates"], audit["dead"], audit["trade_holes"]) == (0, 0, 0, 0)
    assert connections == 1
    for product in (BTC, ETH, SOL):
        ids = sorted(received[product])
        assert ids == list(range(ids[0], ids[0] + len(ids))), f"trades of {product} are missing, or there twice"
    assert max(received[BTC]) < ends[BTC] - 10, "the product that was removed is not silent"
    assert stage.brought_since_the_acknowledgement() == {ETH, SOL}
    assert stage.told("[CONFIG] Read again: feed.products is now ETH-USD, SOL-USD")
    assert stage.told("which takes effect now. added: SOL-USD; removed: BTC-USD")
    assert not stage.told("[GAP]")
    assert not stage.told("[RECONNECTING]")


def test_all_but_the_products_waits_for_the_next_start(stage: Stage, wait_for: Start) -> None:
    with Simulator(products=(BTC, ETH), rate=50.0) as simulator:
        stage.start(simulator, "exchange", BTC)
        wait_for(lambda: stage.told("[OK]"))
        stage.write(BTC, more="[batch]\ncount = 7\n[log]\nverbose = true")
        stage.reread()
        wait_for(lambda: stage.told("takes effect at the next start"))
        stage.write(BTC)
        stage.reread()
        wait_for(lambda: stage.told("[CONFIG] Read again: nothing has changed"))
        stage.stop()

    assert stage.told("takes effect at the next start") == [
        "[CONFIG] Changed, which takes effect at the next start: batch.count, log.verbose"
    ]
    assert simulator.statistics.connections == 1


@pytest.mark.parametrize(
    ("more", "why"), [("[feed", "is not valid TOML"), ("[batch]\ncuont = 3", "unknown setting; did you mean 'count'?")]
)
def test_settings_that_cannot_be_read_change_nothing(stage: Stage, wait_for: Start, more: str, why: str) -> None:
    with Simulator(products=(BTC, ETH), rate=50.0) as simulator:
        stage.start(simulator, "exchange", BTC)
        wait_for(lambda: stage.told("[OK]"))
        stage.write(ETH, more=more)
        stage.reread()
        wait_for(lambda: stage.told("[CONFIG] Cannot be read again, so all stays as it is:"))
        trades = len(stage.trades().get(BTC, ()))
        wait_for(lambda: len(stage.trades().get(BTC, ())) > trades + 10)
        stage.write(f"{BTC},{ETH}")
        stage.reread()
        wait_for(lambda: ETH in stage.trades())
        stage.stop()

    (line,) = stage.told("[CONFIG] Cannot be read again")
    assert why in line
    assert simulator.statistics.connections == 1


def test_a_question_that_comes_during_the_start_is_answered(stage: Stage, wait_for: Start) -> None:
    with Simulator(products=(BTC, ETH), rate=50.0) as simulator:
        stage.start(simulator, "exchange", BTC)
        stage.reread()
        wait_for(lambda: stage.told("[CONFIG] Read again: nothing has changed"))
        stage.stop()


def test_who_edits_the_file_in_vain_is_told_why(stage: Stage, wait_for: Start) -> None:
    with Simulator(products=(BTC, ETH), rate=50.0) as simulator:
        stage.start(simulator, "exchange", BTC, "--products", BTC)
        wait_for(lambda: stage.told("[OK]"))
        stage.write(ETH)
        stage.reread()
        wait_for(lambda: stage.told("nothing has changed; feed.products is given by --products"))
        stage.stop()


def test_a_product_that_does_not_exist_is_left_out_and_the_others_come(stage: Stage, wait_for: Start) -> None:
    with Simulator(products=(BTC, ETH), rate=50.0) as simulator:
        stage.start(simulator, "exchange", BTC)
        wait_for(lambda: stage.told("[OK]"))
        stage.write(f"{BTC},NO-USD,{ETH}")
        stage.reread()
        wait_for(lambda: ETH in stage.trades())
        stage.stop()

    assert stage.told("'NO-USD' is no product of Coinbase's")
    assert simulator.statistics.connections == 1


def test_a_process_that_does_not_feed_says_so_and_goes_on(stage: Stage, wait_for: Start) -> None:
    with Simulator(products=(BTC, ETH)) as simulator:
        stage.start(simulator, "exchange", BTC, "--role", "deliver")
        wait_for(lambda: stage.told("[SINK]"))
        stage.write(ETH)
        stage.reread()
        wait_for(lambda: stage.told("feed.products is now ETH-USD, for the process that feeds"))
        stage.stop()

    assert simulator.statistics.connections == 0
