"""The frames of a trade, to the letter."""

from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge import messages
from rxbridge.simulator import wire
from rxbridge.simulator.book import Book, Change
from rxbridge.simulator.market import Market, Tick, Trade
from rxbridge.simulator.products import Product, products_named

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PRODUCT = Product(product_id="BTC-USD", price_decimals=2, reference_price=6_500_000)

TICK = Tick(
    trade=Trade(
        trade_id=7001,
        sequence=90_001,
        time_ns=1_700_000_000_770_000_000,
        price=6_512_350,
        size=1_200_000,
        taker_side="buy",
        maker_order_id="11111111-1111-4111-8111-111111111111",
        taker_order_id="22222222-2222-4222-8222-222222222222",
    ),
    best_bid=6_512_340,
    best_bid_size=50_000_000,
    best_ask=6_512_350,
    best_ask_size=1,
    open_24h=6_400_000,
    high_24h=6_600_010,
    low_24h=6_399_999,
    volume_24h=123_456_000_000,
    volume_30d=9_876_543_210_000,
)


def test_a_ticker() -> None:
    assert wire.ticker(PRODUCT, TICK) == (
        b'{"type":"ticker","sequence":90001,"product_id":"BTC-USD","price":"65123.5","open_24h":"64000",'
        b'"volume_24h":"1234.56000000","low_24h":"63999.99","high_24h":"66000.1","volume_30d":"98765.43210000",'
        b'"best_bid":"65123.40","best_bid_size":"0.50000000","best_ask":"65123.50","best_ask_size":"0.00000001",'
        b'"side":"buy","time":"2023-11-14T22:13:20.77Z","trade_id":7001,"last_size":"0.012"}'
    )


@pytest.mark.parametrize("kind", ["match", "last_match"])
def test_a_match_has_the_side_of_the_maker(kind: wire.MatchKind) -> None:
    assert wire.match(PRODUCT, TICK.trade, kind) == (
        b'{"type":"%s","trade_id":7001,"maker_order_id":"11111111-1111-4111-8111-111111111111",'
        b'"taker_order_id":"22222222-2222-4222-8222-222222222222","side":"sell","size":"0.012","price":"65123.5",'
        b'"product_id":"BTC-USD","sequence":90001,"time":"2023-11-14T22:13:20.77Z"}' % kind.encode()
    )


def test_a_heartbeat_tells_the_last_trade() -> None:
    market = Market(PRODUCT, seed=1, start_ns=1_700_000_000_000_000_000)
    assert wire.heartbeat(market, 1_700_000_001_000_000_000) == (
        b'{"type":"heartbeat","last_trade_id":%d,"product_id":"BTC-USD","sequence":%d,"time":"2023-11-14T22:13:21Z"}'
        % (market.trade_ids[-1], market.sequence)
    )


def test_a_product_without_trades() -> None:
    market = Market(Product("NEW-USD", 2, 1000, "untraded"), seed=1, start_ns=1_700_000_000_000_000_000)
    market.book.quote(998, 1002)
    market.book.expect("buy", [(998, 150_000_000)])
    market.book.expect("sell", [(1002, 7)])
    bid, ask = (padded(level.size) for level in (market.book.best_bid, market.book.best_ask))
    assert (
        wire.untraded_ticker(market)
        == (
            f'{{"type":"ticker","product_id":"NEW-USD","best_bid":"9.98","best_bid_size":"{bid}","best_ask":"10.02",'
            f'"best_ask_size":"{ask}","price":"0","open_24h":"0","volume_24h":"0","low_24h":"0","high_24h":"0",'
            '"volume_30d":"0"}'
        ).encode()
    )
    assert b'"last_trade_id":0,' in wire.heartbeat(market, 0)


def padded(size: int) -> str:
    return wire.padded(size, 8)


def test_a_snapshot_has_the_best_first_and_an_update_zeros_in_many_forms() -> None:
    book = Book(Random(1), bid=6_512_340, ask=6_512_350, size_at=lambda _: 50_000_000, depth=1)
    assert wire.snapshot(PRODUCT, book) == (
        b'{"type":"snapshot","product_id":"BTC-USD","asks":[["65123.50","0.50000000"]],'
        b'"bids":[["65123.40","0.50000000"]]}'
    )
    changes = [Change("buy", 6_512_340, 1), Change("sell", 30, 0), Change("sell", 31, 0), Change("buy", 32, 0)]
    assert wire.l2update(PRODUCT, changes, 1_700_000_000_770_000_000) == (
        b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","65123.40","0.00000001"],["sell","0.30","0.00"],'
        b'["sell","0.31","0.0"],["buy","0.32","0.00000000"]],"time":"2023-11-14T22:13:20.77Z"}'
    )


def test_rest_gives_every_number_eight_decimals_and_no_order_ids() -> None:
    assert msgspec.json.encode(wire.rest_trade(PRODUCT, TICK.trade)) == (
        b'{"trade_id":7001,"side":"sell","size":"0.01200000","price":"65123.50000000","time":"2023-11-14T22:13:20.77Z"}'
    )


@unhurried
@given(seed=st.integers(min_value=0), product_id=st.sampled_from(["BTC-USD", "ETH-BTC", "OTHER-USD"]))
def test_ticker_and_match_of_a_trade_agree(seed: int, product_id: str) -> None:
    (product,) = products_named([product_id])
    tick = Market(product, seed=seed, start_ns=1_700_000_000_000_000_000).latest
    ticker = msgspec.json.decode(wire.ticker(product, tick), type=messages.Ticker)
    match = msgspec.json.decode(wire.match(product, tick.trade), type=messages.Trade)
    assert (ticker.product_id, ticker.trade_id, ticker.price, ticker.last_size, ticker.time, ticker.sequence) == (
        match.product_id,
        match.trade_id,
        match.price,
        match.size,
        match.time,
        match.sequence,
    )
    assert {ticker.side, match.side} == {"buy", "sell"}


@unhurried
@given(units=st.integers(min_value=0, max_value=10**20), decimals=st.integers(min_value=0, max_value=8))
def test_numbers_keep_their_value(units: int, decimals: int) -> None:
    value = Decimal(units).scaleb(-decimals)
    assert Decimal(wire.padded(units, decimals)) == Decimal(wire.trimmed(units, decimals)) == value
    assert wire.padded(units, decimals) == f"{value:.{decimals}f}"
    assert not wire.trimmed(units, decimals).endswith(".")
    assert "." not in wire.trimmed(units, decimals) or not wire.trimmed(units, decimals).endswith("0")


@pytest.mark.parametrize(
    ("units", "decimals", "padded", "trimmed"),
    [
        (0, 2, "0.00", "0"),
        (5, 2, "0.05", "0.05"),
        (1, 8, "0.00000001", "0.00000001"),
        (100, 2, "1.00", "1"),
        (100, 0, "100", "100"),
    ],
)
def test_numbers_as_they_are_written(units: int, decimals: int, padded: str, trimmed: str) -> None:
    assert (wire.padded(units, decimals), wire.trimmed(units, decimals)) == (padded, trimmed)


@unhurried
@given(microseconds=st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_times_keep_their_value_and_end_with_no_zero(microseconds: int) -> None:
    text = wire.timestamp(microseconds * 1000)
    elapsed = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert (elapsed.days * 86400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds == microseconds
    assert text.endswith("Z")
    assert "." not in text or not text.endswith("0Z")
