"""The parts of a bridge, as the settings describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rxbridge import assembly
from rxbridge.config import load
from rxbridge.journal import MemoryJournal
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
