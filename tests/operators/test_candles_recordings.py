"""Candles and vwap of what Coinbase really sent, against those that DuckDB computes of the wire's text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from reactivex import operators as ops

from operators import candles, dedupe, vwap
from operators.candle import Candle
from operators.measured import Measured
from rxbridge.messages import Frame, Trade
from rxbridge.recording import read
from tests.operators.test_measurements_recordings import FEEDS, run

SECONDS = 5

TABLE = """
CREATE TABLE trades (
    place INTEGER, product VARCHAR, trade_id BIGINT, price DECIMAL(24, 10), size DECIMAL(24, 10), time TIMESTAMP_NS
)
"""

CANDLES = """
SELECT product, epoch_ns(time) // 5_000_000_000 * 5 AS start,
    arg_min(price, trade_id), max(price), min(price), arg_max(price, trade_id), sum(size), count(*),
    sum(price::DOUBLE * size::DOUBLE) / sum(size)::DOUBLE
FROM trades GROUP BY ALL ORDER BY product, start
"""

AVERAGES = """
SELECT sum(price::DOUBLE * size::DOUBLE) OVER sofar / sum(size::DOUBLE) OVER sofar
FROM trades WINDOW sofar AS (PARTITION BY product ORDER BY place ROWS UNBOUNDED PRECEDING)
ORDER BY place
"""


@pytest.fixture
def frames(request: pytest.FixtureRequest, real_recording: Callable[[str], Path]) -> list[Frame]:
    recorded = read(real_recording(request.param))
    return [Frame(frame.data, frame.received_at, 1, index, index + 1) for index, frame in enumerate(recorded)]


def wire_trades(frames: list[Frame]) -> Iterator[tuple[str, int, str, str, str]]:
    """Product, id, price, size and time of each trade, once, in the order of their ids within a frame."""
    seen: set[tuple[str, int]] = set()
    for frame in frames:
        wire = json.loads(frame.data)
        matches = [wire] if wire.get("type") in ("match", "last_match") else []
        for update in wire["events"] if wire.get("channel") == "market_trades" else ():
            matches += reversed(update["trades"])
        for trade in matches:
            key = trade["product_id"], int(trade["trade_id"])
            if key not in seen:
                seen.add(key)
                yield *key, trade["price"], trade["size"], trade["time"].rstrip("Z")


def queried(frames: list[Frame], query: str) -> list[Any]:
    with duckdb.connect() as database:
        database.execute(TABLE)
        rows = [(place, *row) for place, row in enumerate(wire_trades(frames))]
        database.executemany("INSERT INTO trades VALUES (?, ?, ?, ?, ?, ?)", rows)
        return database.execute(query).fetchall()


def once() -> Any:
    return dedupe(key_of, remember=10_000)


def key_of(trade: Trade) -> tuple[str | None, int]:
    return trade.product_id, int(trade.trade_id or 0)


def is_closed(candle: Candle) -> bool:
    return candle.is_closed


@FEEDS
def test_candles_are_those_of_duckdb(frames: list[Frame]) -> None:
    # The first frames of Advanced Trade are the last hundred trades: of the past, and of several intervals.
    got: list[Candle] = run(frames, Trade, once(), candles(SECONDS, revisions=10_000))
    latest = {(candle.product_id, candle.start // 10**9): candle for candle in got}

    expected = queried(frames, CANDLES)
    assert sorted(latest) == [(product, start) for product, start, *_ in expected]
    for product, start, opened, high, low, closed, volume, count, average in expected:
        candle = latest[product, start]
        assert (candle.open, candle.high, candle.low, candle.close) == (opened, high, low, closed)
        assert (candle.volume, candle.trades) == (volume, count)
        assert float(candle.vwap or 0) == pytest.approx(average, rel=1e-12)
    assert len(expected) > 1
    assert sum(candle.trades for candle in latest.values()) == len(list(wire_trades(frames)))


@FEEDS
def test_averages_are_those_of_duckdb(frames: list[Frame]) -> None:
    averages: list[Measured[Trade, Decimal]] = run(frames, Trade, once(), vwap())

    assert [float(one.value) for one in averages] == pytest.approx(
        [average for (average,) in queried(frames, AVERAGES)], rel=1e-12
    )


@FEEDS
def test_the_same_trades_make_the_same_candles_wherever_they_are_read(frames: list[Frame]) -> None:
    closed = ops.filter(is_closed)
    whole: list[Candle] = run(frames, Trade, once(), candles(SECONDS), closed)
    place = len(whole) // 2
    begin = whole[place].holds or 1

    again: list[Candle] = run(frames[begin - 1 :], Trade, once(), candles(SECONDS), closed)

    behind = whole[place + 1 :]
    assert again[len(again) - len(behind) :] == behind
