"""The parts of a bridge, as the settings describe them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from rxbridge import assembly
from rxbridge.backfill import CONSUMER as BACKFILL
from rxbridge.config import load
from rxbridge.confirmation import CONSUMER as CONFIRMATION
from rxbridge.counters import Counters
from rxbridge.journal import MemoryJournal
from rxbridge.messages import Frame
from rxbridge.progress import CONSUMER as DELIVERY
from rxbridge.telemetry.statistics import BackfillStatistics


@pytest.mark.parametrize(
    ("feed", "products", "followed"),
    [
        ("exchange", "BTC-USD,BTC-USDC", ("BTC-USD", "BTC-USDC")),
        ("advanced", "BTC-USD,BTC-USDC,USDC-EUR", ("BTC-USD", "USDC-EUR")),
    ],
)
@pytest.mark.parametrize("channel", ["trades", "matches", "market_trades"])
def test_the_backfill_follows_the_trades_of_either_feed_by_the_ids_that_they_come_under(
    monkeypatch: pytest.MonkeyPatch, feed: str, products: str, followed: tuple[str, ...], channel: str
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(assembly, "Backfill", lambda *_arguments, **options: made.update(options))
    arguments = {"feed.protocol": feed, "feed.products": products, "feed.channels": f"ticker,{channel}"}
    with MemoryJournal() as journal:
        assembly.backfill(load(Path("/dev/null"), arguments, {}), journal, BackfillStatistics())

    assert made["products"] == made["quoted_products"] == followed
    assert made["unreplayable_channels"] == ["ticker"]


def test_without_trades_there_are_none_to_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(assembly, "Backfill", lambda *_arguments, **options: made.update(options))
    with MemoryJournal() as journal:
        assembly.backfill(load(Path("/dev/null"), {"feed.channels": "ticker"}, {}), journal, BackfillStatistics())

    assert made["products"] == ()


@pytest.mark.parametrize(
    ("consumer", "told"),
    [
        (
            CONFIRMATION,
            "not noticed any more. Raise journal.max_bytes, or lower delivery.confirm_after_seconds",
        ),
        (BACKFILL, "their trades are fetched once more. Raise journal.max_bytes"),
    ],
)
def test_a_full_journal_loses_nothing_that_was_delivered_and_says_what_it_costs(
    tmp_path: Path, log: list[str], consumer: str, told: str
) -> None:
    settings = load(Path("/dev/null"), {"journal.path": str(tmp_path / "journal"), "journal.max_bytes": "50KB"}, {})
    with assembly.journal(settings) as journal:
        journal.acknowledge(consumer, 0)
        for index in range(200):
            journal.append(Frame(b'{"type":"heartbeat"}' + b" " * 1000, time.time_ns(), 1, index))
            assert journal.flush(30)
            journal.acknowledge(DELIVERY, index + 1)

        counted = Counters().snapshot(journal, overloaded=False)

    assert counted.dropped_frames == 0
    assert counted.let_go_frames > 100
    assert [line for line in log if "[JOURNAL]" in line] == []
    (line,) = (line for line in log if line.startswith("WARNING [LET GO]"))
    assert f"delivered frames were let go before {consumer} was done with them: " in line
    assert line.rstrip().endswith(told)
