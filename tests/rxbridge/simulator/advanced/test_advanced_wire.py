"""Laws of the frames and candles of Advanced Trade."""

import json
import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rxbridge.simulator.advanced import wire
from rxbridge.simulator.advanced.candles import Chart
from rxbridge.simulator.advanced.protocol import Refusal, parse
from rxbridge.simulator.candles import candles
from rxbridge.simulator.market import Trade
from rxbridge.simulator.protocol import Request

TIMES_NS = st.integers(1_600_000_000, 1_900_000_000).flatmap(
    lambda seconds: st.integers(0, 999_999_999).map(lambda rest: seconds * 1_000_000_000 + rest)
)


@given(TIMES_NS)
def test_a_time_is_told_to_the_nanosecond_without_zeros_at_its_end(time_ns: int) -> None:
    text = wire.timestamp(time_ns)

    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    assert seconds * 1_000_000_000 + int(fraction.ljust(9, "0")) == time_ns
    assert text.endswith("Z")
    assert not fraction.endswith("0")


@given(st.integers(0, 10**9), st.integers(0, 10**18), TIMES_NS)
def test_a_heartbeat_tells_the_time_as_go_does(counter: int, uptime_ns: int, time_ns: int) -> None:
    frame = json.loads(wire.heartbeat(counter, uptime_ns, time_ns).numbered(4))

    (event,) = frame["events"]
    assert frame == {
        "channel": "heartbeats",
        "timestamp": wire.timestamp(time_ns),
        "sequence_num": 4,
        "events": [{"current_time": event["current_time"], "heartbeat_counter": counter}],
    }
    date, time, *zone, uptime = event["current_time"].split(" ")
    assert f"{date}T{time}Z" == wire.timestamp(time_ns)
    assert zone == ["+0000", "UTC"]
    assert re.fullmatch(r"m=\+\d+\.\d{9}", uptime)
    assert int(uptime.removeprefix("m=+").replace(".", "")) == uptime_ns


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=3), max_size=3),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
)
def test_a_recorded_frame_is_numbered_anew_and_nothing_else_in_it_changes(
    events: list[dict[str, Any]], before: int, after: int, separators: tuple[str, str]
) -> None:
    def written(number: int) -> bytes:
        frame = {"channel": "ticker", "sequence_num": number, "events": events}
        return json.dumps(frame, separators=separators).encode()

    assert wire.without_number(written(before)).numbered(after) == written(after)


TRADES = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 50), st.integers(1, 50)), max_size=60).map(
    lambda made: [
        Trade(
            trade_id=number,
            sequence=number,
            time_ns=seconds * 1_000_000_000,
            price=price,
            size=size,
            taker_side="buy",
            maker_order_id="",
            taker_order_id="",
        )
        for number, (seconds, price, size) in enumerate(
            (sum(one[0] for one in made[: place + 1]), one[1], one[2]) for place, one in enumerate(made)
        )
    ]
)


@given(TRADES, st.lists(st.integers(0, 60), max_size=8), st.integers(1, 40))
def test_candles_that_grow_are_those_of_all_trades_together(trades: list[Trade], cuts: list[int], most: int) -> None:
    chart = Chart(most=most)
    told: dict[int, Any] = {}
    edges = [0, *sorted(cuts), len(trades)]
    for begin, end in pairwise(edges):
        told.update((candle.start, candle) for candle in chart.add(trades[begin:end]))

    expected = list(reversed(candles(reversed(trades), 300, first=0, last=10**9)))
    # Who heard of every change has them all; who comes now is told of the newest.
    assert list(told.values()) == expected
    assert chart.newest() == expected[-most:]


PRODUCTS = frozenset({"BTC-USD", "ETH-USD", "ETH-USDC", "SOL-USDC"})


@given(st.text() | st.binary())
def test_whatever_a_client_says_is_understood_or_refused(text: str | bytes) -> None:
    assert isinstance(parse(text, channels={"ticker"}, products=PRODUCTS), Request | Refusal)


@given(st.lists(st.sampled_from([*sorted(PRODUCTS), "BTC-USDC", "XRP-USDC"]), min_size=1))
def test_a_subscribe_has_each_product_once_by_the_name_it_is_served_under(products: list[str]) -> None:
    text = json.dumps({"type": "subscribe", "channel": "ticker", "product_ids": products})

    request = parse(text, channels={"ticker"}, products=PRODUCTS)

    twins = {"BTC-USDC": "BTC-USD", "ETH-USDC": "ETH-USD"}
    if "XRP-USDC" in products:
        assert request == Refusal("XRP-USDC is not a valid product")
    else:
        served = dict.fromkeys(twins.get(product, product) for product in products)
        assert request == Request("subscribe", {"ticker": tuple(served)})
