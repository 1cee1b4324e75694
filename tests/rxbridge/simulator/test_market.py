"""The market, whatever its product, its seed and the times of its orders."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.errors import ConfigError
from rxbridge.simulator.book import Side
from rxbridge.simulator.day import INTERVAL_NS, INTERVALS_A_DAY
from rxbridge.simulator.market import LONGEST_SWEEP, Market, Tick
from rxbridge.simulator.products import REFERENCE_PRICES, Product, products_named

START_NS = 1_700_000_000_000_000_000
DAY_NS = INTERVAL_NS * INTERVALS_A_DAY

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

products = st.builds(
    Product,
    product_id=st.sampled_from(["BTC-USD", "ETH-BTC", "A-B"]),
    price_decimals=st.integers(min_value=0, max_value=8),
    reference_price=st.integers(min_value=1, max_value=10**10),
)
seeds = st.integers(min_value=0, max_value=2**32)
gaps_ns = st.lists(st.integers(min_value=-(10**9), max_value=DAY_NS // 4), min_size=1, max_size=40)


def ticks_of(market: Market, gaps: list[int]) -> list[Tick]:
    """All that the market says: from the trade that opened it through an order after each gap."""
    ticks = [market.latest]
    now_ns = START_NS
    for gap in gaps:
        now_ns += gap
        ticks.extend(market.order(now_ns))
    return ticks


@unhurried
@given(product=products, seed=seeds, gaps=gaps_ns)
def test_trade_ids_are_contiguous_and_sequences_and_times_rise(product: Product, seed: int, gaps: list[int]) -> None:
    market = Market(product, seed=seed, start_ns=START_NS)
    trades = [tick.trade for tick in ticks_of(market, gaps)]
    assert [trade.trade_id for trade in trades] == list(market.trade_ids)
    assert all(earlier.sequence < later.sequence for earlier, later in pairwise(trades))
    assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(trades))
    assert all(trade.time_ns % 1000 == 0 for trade in trades)
    assert market.sequence > trades[-1].sequence
    assert market.latest.trade == trades[-1]


@unhurried
@given(product=products, seed=seeds, gaps=gaps_ns)
def test_prices_and_sizes_are_possible(product: Product, seed: int, gaps: list[int]) -> None:
    for tick in ticks_of(Market(product, seed=seed, start_ns=START_NS), gaps):
        assert 1 <= tick.best_bid <= tick.trade.price <= tick.best_ask
        assert tick.best_bid < tick.best_ask
        assert min(tick.trade.size, tick.best_bid_size, tick.best_ask_size) >= 1


@unhurried
@given(product=products, seed=seeds, gaps=gaps_ns)
def test_every_trade_takes_its_size_from_the_best_price(product: Product, seed: int, gaps: list[int]) -> None:
    market = Market(product, seed=seed, start_ns=START_NS)
    taken: list[tuple[str, int, int]] = []
    take = market.book.take

    def watched(side: Side, price: int, size: int) -> None:
        best = market.book.best_ask if side == "sell" else market.book.best_bid
        assert (best.price, market.book.size(side, price)) == (price, best.size)
        take(side, price, size)
        assert market.book.size(side, price) == best.size - size
        taken.append((side, price, size))

    market.book.take = watched  # type: ignore[method-assign]
    now_ns = START_NS
    for gap in gaps:
        now_ns += gap
        before = len(taken)
        ticks = market.order(now_ns)
        assert taken[before:] == [
            ("sell" if tick.trade.taker_side == "buy" else "buy", tick.trade.price, tick.trade.size) for tick in ticks
        ]
        bid, ask = market.book.best_bid, market.book.best_ask
        last = ticks[-1]
        assert (last.best_bid, last.best_bid_size, last.best_ask, last.best_ask_size) == (*bid, *ask)


@unhurried
@given(seed=seeds, gaps=gaps_ns, settled=st.lists(st.integers(min_value=0, max_value=10**10), max_size=10))
def test_trades_do_not_depend_on_what_comes_and_goes_between_them(
    seed: int, gaps: list[int], settled: list[int]
) -> None:
    (product,) = products_named(["BTC-USD"])
    market = Market(product, seed=seed, start_ns=START_NS)
    for after in settled:
        market.settle(START_NS + after)
    other = Market(product, seed=seed, start_ns=START_NS)
    made, expected = (
        [msgspec.structs.replace(tick.trade, sequence=0) for tick in ticks_of(one, gaps)] for one in (market, other)
    )
    assert made == expected


def test_a_product_that_was_never_traded_has_a_book_and_no_last_trade() -> None:
    market = Market(products_named(["NEW-USD:untraded"])[0], seed=1, start_ns=START_NS, history=100)
    assert not market.has_traded
    assert len(market.trade_ids) == len(market.page(limit=100)) == 0
    assert market.book.best_bid.price < market.book.best_ask.price
    with pytest.raises(LookupError, match="NEW-USD was never traded"):
        _ = market.latest


@unhurried
@given(product=products, seed=seeds, gaps=gaps_ns)
def test_the_day_includes_every_trade_in_it(product: Product, seed: int, gaps: list[int]) -> None:
    ticks = ticks_of(Market(product, seed=seed, start_ns=START_NS), gaps)
    for number, tick in enumerate(ticks):
        assert tick.low_24h <= tick.open_24h <= tick.high_24h
        # The window moves in steps: what happened within it, less one step, is surely counted.
        since = tick.trade.time_ns - DAY_NS + INTERVAL_NS
        recent = [earlier.trade for earlier in ticks[: number + 1] if earlier.trade.time_ns >= since]
        assert tick.low_24h <= min(trade.price for trade in recent)
        assert max(trade.price for trade in recent) <= tick.high_24h
        assert tick.volume_24h >= sum(trade.size for trade in recent)
        assert tick.volume_30d >= tick.volume_24h


@unhurried
@given(product=products, seed=seeds)
def test_after_a_day_only_what_was_traded_since_counts(product: Product, seed: int) -> None:
    market = Market(product, seed=seed, start_ns=START_NS)
    ticks = market.order(START_NS + DAY_NS + INTERVAL_NS)
    prices = [tick.trade.price for tick in ticks]
    assert ticks[-1].open_24h == prices[0]
    assert (ticks[-1].low_24h, ticks[-1].high_24h) == (min(prices), max(prices))
    assert ticks[-1].volume_24h == sum(tick.trade.size for tick in ticks)


@unhurried
@given(seed=seeds)
def test_within_an_interval_the_volume_grows_by_what_is_traded(seed: int) -> None:
    market = Market(products_named(["BTC-USD"])[0], seed=seed, start_ns=START_NS - START_NS % INTERVAL_NS)
    before = market.latest
    for tick in market.order(before.trade.time_ns + 1_000_000):
        assert tick.volume_24h == before.volume_24h + tick.trade.size
        assert tick.volume_30d == before.volume_30d + tick.trade.size
        assert tick.open_24h == before.open_24h
        assert tick.high_24h == max(before.high_24h, tick.trade.price)
        assert tick.low_24h == min(before.low_24h, tick.trade.price)
        before = tick


@unhurried
@given(product=products, seed=seeds, gaps=gaps_ns)
def test_the_same_seed_makes_the_same_market(product: Product, seed: int, gaps: list[int]) -> None:
    first, second = (ticks_of(Market(product, seed=seed, start_ns=START_NS), gaps) for _ in range(2))
    assert first == second


@unhurried
@given(seed=seeds)
def test_another_seed_or_product_makes_another_market(seed: int) -> None:
    bitcoin, ether = products_named(["BTC-USD", "ETH-USD"])
    markets = [
        Market(bitcoin, seed=seed, start_ns=START_NS),
        Market(bitcoin, seed=seed + 1, start_ns=START_NS),
        Market(ether, seed=seed, start_ns=START_NS),
    ]
    assert len({market.latest.trade.maker_order_id for market in markets}) == len(markets)


@unhurried
@given(product=products, seed=seeds, gaps=gaps_ns, at_most=st.integers(min_value=1, max_value=LONGEST_SWEEP))
def test_one_order_makes_trades_of_one_taker_at_one_time(
    product: Product, seed: int, gaps: list[int], at_most: int
) -> None:
    market = Market(product, seed=seed, start_ns=START_NS)
    now_ns = START_NS
    for gap in gaps:
        now_ns += gap
        trades = [tick.trade for tick in market.order(now_ns, at_most=at_most)]
        assert 1 <= len(trades) <= at_most
        assert len({(trade.taker_order_id, trade.taker_side, trade.time_ns) for trade in trades}) == 1
        assert len({trade.maker_order_id for trade in trades}) == len(trades)
        for earlier, later in pairwise(trades):
            # A sweep goes on to worse prices for the taker, never to better ones.
            assert earlier.price <= later.price if earlier.taker_side == "buy" else earlier.price >= later.price


def test_orders_of_several_trades_do_happen() -> None:
    market = Market(products_named(["BTC-USD"])[0], seed=1, start_ns=START_NS)
    sweeps = [len(market.order(START_NS)) for _ in range(200)]
    assert 1 in sweeps
    assert max(sweeps) >= 3


def test_prices_stay_plausible_over_many_orders() -> None:
    product = products_named(["BTC-USD"])[0]
    market = Market(product, seed=3, start_ns=START_NS)
    for number in range(20_000):
        market.order(START_NS + number * 100_000_000)
    assert product.reference_price / 2 < market.latest.trade.price < product.reference_price * 2


@unhurried
@given(
    kept=st.integers(min_value=1, max_value=30),
    orders=st.integers(min_value=0, max_value=20),
    limit=st.integers(min_value=1, max_value=40),
    before=st.none() | st.integers(min_value=-5, max_value=60),
    after=st.none() | st.integers(min_value=-5, max_value=60),
)
def test_a_page_is_the_newest_of_what_was_asked_for(
    kept: int, orders: int, limit: int, before: int | None, after: int | None
) -> None:
    market = Market(products_named(["BTC-USD"])[0], seed=5, start_ns=START_NS, trades_kept=kept)
    trades = [tick.trade for tick in ticks_of(market, [1_000_000] * orders)]
    first_id = market.trade_ids[0]
    newer_than = None if before is None else first_id + before
    older_than = None if after is None else first_id + after
    expected = [
        trade
        for trade in reversed(trades[-kept:])
        if (newer_than is None or trade.trade_id > newer_than) and (older_than is None or trade.trade_id < older_than)
    ][:limit]
    assert list(market.page(limit=limit, before=newer_than, after=older_than)) == expected


@pytest.mark.parametrize("product_id", [*REFERENCE_PRICES, "NEW-COIN", "1INCH-USD"])
def test_products_have_a_price(product_id: str) -> None:
    (product,) = products_named([product_id])
    market = Market(product, seed=1, start_ns=START_NS)
    assert 0.8 < market.latest.trade.price / product.reference_price < 1.25


def test_products_come_once_and_in_order() -> None:
    assert [product.product_id for product in products_named(["ETH-USD", "BTC-USD", "ETH-USD"])] == [
        "ETH-USD",
        "BTC-USD",
    ]


@pytest.mark.parametrize("product_ids", [[], [""], ["BTC"], ["btc-usd"], ["BTC-USD-PERP"], ['A-"'], ["BTC-USD", "-"]])
def test_what_is_no_product_is_refused(product_ids: list[str]) -> None:
    with pytest.raises(ConfigError, match="products"):
        products_named(product_ids)
