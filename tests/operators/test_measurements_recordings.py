"""The operators that measure, on what Coinbase really sent, against DuckDB, and against sums of the wire's text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest
import reactivex
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from operators import (
    book_imbalance,
    micro_price,
    mid,
    order_books,
    parse,
    returns,
    spread,
    trade_flow_imbalance,
    volatility,
    zscore,
)
from operators.measured import Measured
from operators.trade_flow_imbalance import Flow
from rxbridge.coinbase.decoding import decode
from rxbridge.messages import BookSnapshot, BookUpdate, Frame, Ticker, Trade
from rxbridge.recording import read
from tests.operators.test_order_books_recordings import advanced_messages, exchange_messages, naive_levels

FEEDS = pytest.mark.parametrize("frames", ["exchange-2021", "advanced-2026"], indirect=True)

WINDOW = 5
SECONDS = 2

LEAST = 20
"""Of what is compared, so that it is something."""


@pytest.fixture
def frames(request: pytest.FixtureRequest, real_recording: Callable[[str], Path]) -> list[Frame]:
    recorded = read(real_recording(request.param))
    return [Frame(frame.data, frame.received_at, 1, index, index + 1) for index, frame in enumerate(recorded)]


def unreadable(_frame: Frame, error: Exception) -> None:
    raise error


def product_of(message: Ticker | Trade) -> str | None:
    return message.product_id


def run(frames: list[Frame], kinds: type[Any] | tuple[type[Any], ...], *chain: Any) -> list[Any]:
    got, errors = list[Any](), list[Exception]()
    wanted = ops.filter(lambda message: isinstance(message, kinds))
    reactivex.from_iterable(frames).pipe(parse(decode, unreadable), wanted, *chain).subscribe(got.append, errors.append)
    assert errors == []
    return got


def wire_tickers(frames: list[Frame]) -> Iterator[tuple[str, ...]]:
    """Product, bid and its size, ask and its size, as the wire has them; zero where it has none."""
    for frame in frames:
        wire = json.loads(frame.data)
        if wire.get("type") == "ticker":
            names = ("product_id", "best_bid", "best_bid_size", "best_ask", "best_ask_size")
            yield tuple(wire.get(name, "0") for name in names)
        for event in wire["events"] if wire.get("channel") == "ticker" else ():
            for ticker in event["tickers"]:
                sizes = ticker["best_bid_quantity"], ticker["best_ask_quantity"]
                yield ticker["product_id"], ticker["best_bid"], sizes[0], ticker["best_ask"], sizes[1]


def wire_trades(frames: list[Frame]) -> Iterator[tuple[str, str, str, str, str]]:
    """Product, price, size, time and the maker's side, in the order in which they were made."""
    names = ("product_id", "price", "size", "time", "side")
    for frame in frames:
        wire = json.loads(frame.data)
        if wire.get("type") in {"match", "last_match"}:
            yield tuple(wire[name] for name in names)
        for event in wire["events"] if wire.get("channel") == "market_trades" else ():
            for trade in reversed(event["trades"]):
                yield tuple(trade[name] for name in names)


QUERY = """
WITH changes AS (
    SELECT *, ln(price / lag(price) OVER (PARTITION BY product ORDER BY place)) AS change
    FROM rows QUALIFY change IS NOT NULL
)
SELECT change, stddev_samp(change) OVER moving, avg(change) OVER moving
FROM changes WINDOW moving AS (PARTITION BY product ORDER BY place ROWS 4 PRECEDING)
ORDER BY place
"""


def queried(rows: list[tuple[int, str, float]]) -> list[tuple[float, float | None, float]]:
    """The log return of each row of a number, a product and a price; and deviation and mean of the last five."""
    with duckdb.connect() as database:
        database.execute("CREATE TABLE rows (place INTEGER, product VARCHAR, price DOUBLE)")
        database.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
        return database.execute(QUERY).fetchall()


@FEEDS
def test_middles_spreads_and_micro_prices_are_those_of_the_wire(frames: list[Frame]) -> None:
    without: list[Ticker] = []
    middles, spreads = run(frames, Ticker, mid()), run(frames, Ticker, spread())
    weighted = iter(run(frames, Ticker, micro_price(otherwise=without.append)))

    wire = list(wire_tickers(frames))
    for middle, apart, (product, *text) in zip(middles, spreads, wire, strict=True):
        bid, bid_size, ask, ask_size = map(Fraction, text)
        assert (middle.item.product_id, Fraction(middle.value)) == (product, (bid + ask) / 2)
        assert Fraction(apart.value) == ask - bid
        if bid_size and ask_size:
            expected = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
            assert abs(Fraction(next(weighted).value) - expected) <= expected / 10**27
    assert next(weighted, None) is None
    assert len(without) == sum("0" in (one[2], one[4]) for one in wire)
    assert len(wire) > LEAST


@FEEDS
def test_returns_volatility_and_scores_are_those_of_duckdb(frames: list[Frame]) -> None:
    rows = [(place, one[0], float(one[1])) for place, one in enumerate(wire_trades(frames))]
    of_trades = returns(lambda trade: trade.price, product_of, kind="log")
    changes = run(frames, Trade, of_trades)
    window: dict[str, Any] = {"value": value_of, "key": product_of_result, "count": WINDOW}
    deviations = run(frames, Trade, of_trades, volatility(**window))
    scores = run(frames, Trade, of_trades, zscore(**window))

    expected = queried(rows)
    # A double's quotient of two prices has an error of 1e-16 of it, which is as much of a return of nearly nothing.
    assert [one.value for one in changes] == pytest.approx([change for change, _, _ in expected], abs=1e-15)
    of_windows = [(change, deviation, mean) for change, deviation, mean in expected if deviation is not None]
    assert [one.value for one in deviations] == pytest.approx([deviation for _, deviation, _ in of_windows], abs=1e-14)
    assert [one.value for one in scores] == pytest.approx(
        [(change - mean) / deviation if deviation > 1e-12 else 0 for change, deviation, mean in of_windows], abs=1e-5
    )
    assert len(of_windows) > LEAST


def value_of(result: Measured[Trade, float]) -> float:
    return result.value


def product_of_result(result: Measured[Trade, float]) -> str | None:
    return result.item.product_id


def nanoseconds(text: str) -> int:
    """Read in another way than the operator's."""
    whole, _, below = text.rstrip("Z").partition(".")
    return round(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(below.ljust(9, "0"))


@FEEDS
def test_flows_are_the_sums_of_the_trades_of_the_window(frames: list[Frame]) -> None:
    late: list[Trade] = []
    got: list[Flow[Trade]] = run(frames, Trade, trade_flow_imbalance(SECONDS, late=late.append))

    expected: list[tuple[str, Fraction, Fraction, int]] = []
    known: dict[str, list[tuple[int, Fraction, str]]] = {}
    count = 0
    for product, _, size, time, side in wire_trades(frames):
        own = known.setdefault(product, [])
        own.append((nanoseconds(time), Fraction(size), side.lower()))
        start = max(moment for moment, _, _ in own) - SECONDS * 10**9
        if own[-1][0] <= start:
            own.pop()
            count += 1
            continue
        known[product] = own = [one for one in own if one[0] > start]
        bought, sold = (sum((one[1] for one in own if one[2] == maker), Fraction()) for maker in ("sell", "buy"))
        expected.append((product, bought, sold, len(own)))

    assert [(flow.item.product_id, Fraction(flow.bought), Fraction(flow.sold), flow.trades) for flow in got] == expected
    assert len(late) == count
    assert len(got) > LEAST


@pytest.mark.parametrize(
    ("frames", "messages"),
    [("exchange-2021", exchange_messages), ("advanced-2026", advanced_messages)],
    indirect=["frames"],
)
def test_the_imbalance_of_books_is_that_of_naive_ones(
    frames: list[Frame],
    messages: Callable[[Path], Iterator[Any]],
    request: pytest.FixtureRequest,
    real_recording: Callable[[str], Path],
) -> None:
    levels, books, last = 5, list[Any](), dict[str, float]()
    messages_of_books: list[Any] = run(frames, (BookSnapshot, BookUpdate))
    views = reactivex.from_iterable(messages_of_books).pipe(order_books(emit="every", scheduler=TestScheduler()))
    views.pipe(book_imbalance(levels)).subscribe(books.append)
    last.update((one.item.product, one.value) for one in books)

    name = request.node.callspec.params["frames"]
    by_product: dict[str, list[Any]] = {}
    for message in messages(real_recording(name)):
        by_product.setdefault(message.product_id, []).append(message)
    expected: dict[str, float] = {}
    for product, own in by_product.items():
        bid, asked = (sum((Fraction(size) for _, size in side[:levels]), Fraction()) for side in naive_levels(own))
        expected[product] = float((bid - asked) / (bid + asked))

    assert last == pytest.approx(expected, rel=1e-12)
    assert len(books) == sum(map(len, by_product.values())) > LEAST
    assert len(expected) >= 1
