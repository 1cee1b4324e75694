"""A made-up day: the same each time, in order, and what the feed would have sent."""

from datetime import UTC, datetime, timedelta

import pytest

from rxbridge.coinbase.decoding import decode
from rxbridge.errors import ConfigError
from rxbridge.messages import Ticker, Trade
from rxbridge.simulator import simulated_day

START = datetime(2026, 1, 31, tzinfo=UTC)
START_NS = 1_769_817_600_000_000_000


def test_the_same_arguments_make_the_same_day_and_another_seed_another() -> None:
    first = list(simulated_day(START, orders=200, seed=3))

    assert list(simulated_day(START, orders=200, seed=3)) == first
    assert list(simulated_day(START, orders=200, seed=4)) != first


def test_frames_come_in_order_within_the_time_that_it_takes() -> None:
    frames = list(simulated_day(START, orders=300, seconds=60))

    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert {frame.connection for frame in frames} == {START_NS}
    received = [frame.received_at for frame in frames]
    assert received == sorted(received)
    assert START_NS <= received[0] < START_NS + 5_000_000_000
    assert START_NS + 55_000_000_000 < received[-1] <= START_NS + 60_020_000_000


def test_each_trade_comes_with_its_ticker_and_no_trade_id_is_missing() -> None:
    messages = [
        message
        for frame in simulated_day(START, products=("BTC-USD", "ETH-USD"), orders=300)
        for message in decode(frame)
    ]
    trades, tickers = messages[::2], messages[1::2]

    ids: dict[str | None, list[int]] = {}
    for trade, ticker in zip(trades, tickers, strict=True):
        assert isinstance(trade, Trade)
        assert isinstance(ticker, Ticker)
        assert (ticker.product_id, ticker.trade_id, ticker.price) == (trade.product_id, trade.trade_id, trade.price)
        assert trade.time == ticker.time
        received = START + timedelta(microseconds=(trade.frame.received_at - START_NS) // 1000)
        assert received - datetime.fromisoformat(str(trade.time)) == timedelta(milliseconds=20)
        ids.setdefault(trade.product_id, []).append(int(trade.trade_id or 0))
    assert set(ids) == {"BTC-USD", "ETH-USD"}
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in ids.values())


def test_what_makes_no_market_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        next(simulated_day(datetime(2026, 1, 31)))  # noqa: DTZ001  that is what is refused
    with pytest.raises(ConfigError, match="0 orders"):
        next(simulated_day(START, orders=0))
    with pytest.raises(ConfigError, match="none of them is traded"):
        next(simulated_day(START, products=("NEW-USD:untraded",)))
