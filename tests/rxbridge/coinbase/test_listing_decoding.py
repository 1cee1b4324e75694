"""The channels `status` and `auctionfeed`: many products in a frame, and what an auction would come to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rxbridge.channels import FeedName
from rxbridge.coinbase import frames
from rxbridge.coinbase.actions import Send, Settled
from rxbridge.coinbase.decoding import decode
from rxbridge.coinbase.exchange_protocol import EXCHANGE
from rxbridge.coinbase.subscription import Subscription
from rxbridge.errors import MalformedFrame
from rxbridge.messages import PART_FIELD, Auction, Frame, ProductStatus
from rxbridge.simulator import Simulator
from rxbridge.telemetry.statistics import FeedStatistics
from tests.rxbridge.coinbase.servers import Observed, wait_for

LISTED = {
    "id": "BTC-USD",
    "base_currency": "BTC",
    "quote_currency": "USD",
    "base_increment": "0.00000001",
    "quote_increment": "0.01",
    "display_name": "BTC-USD",
    "status": "online",
    "status_message": None,
    "min_market_funds": "10",
    "post_only": False,
    "limit_only": True,
    "cancel_only": False,
    "fx_stablecoin": False,
}


def frame(content: Any) -> Frame:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Frame(data=data, received_at=1_700_000_000_000_000_000, connection=7, index=8, offset=9)


def status(*products: Any, **fields: Any) -> Frame:
    return frame({"type": "status", "products": products, "currencies": [{"id": "USD"}], **fields})


def test_a_status_is_a_message_for_each_product_that_it_lists() -> None:
    source = status(LISTED, LISTED | {"id": "ETH-USD", "status": "offline", "status_message": "soon"})

    first, second = decode(source)

    assert isinstance(first, ProductStatus)
    assert isinstance(second, ProductStatus)
    assert (first.product_id, first.status, first.status_message) == ("BTC-USD", "online", None)
    assert (first.base_increment, first.quote_increment, first.min_market_funds) == ("0.00000001", "0.01", "10")
    assert (first.post_only, first.limit_only) == (False, True)
    assert (second.product_id, second.status, second.status_message) == ("ETH-USD", "offline", "soon")
    assert [one.part.index for one in (first, second)] == [0, 1]
    assert [one.part.is_last for one in (first, second)] == [False, True]
    assert first.frame is source
    assert json.loads(first.data) == LISTED


def test_a_status_of_no_products_holds_nothing() -> None:
    assert decode(status()) == ()


@pytest.mark.parametrize("products", [None, 5, {"id": "BTC-USD"}, [["BTC-USD"]], ["BTC-USD"]])
def test_a_status_without_its_list_is_malformed(products: Any) -> None:
    with pytest.raises(MalformedFrame):
        decode(frame({"type": "status", "products": products}))


def test_what_is_odd_in_a_status_is_read_all_the_same() -> None:
    (message,) = decode(status(None, {"id": 5, "post_only": 1, "status": None, "new": [1]}))

    assert isinstance(message, ProductStatus)
    assert (message.product_id, message.post_only, message.status) == ("5", "1", None)


def test_nothing_from_outside_says_which_part_it_is() -> None:
    (message,) = decode(status(LISTED | {PART_FIELD: {"index": 7, "count": 9}}, **{PART_FIELD: {"index": 5}}))

    assert (message.part.index, message.part.count) == (0, 1)


def test_the_currencies_of_a_large_status_do_not_count() -> None:
    currencies = [{"id": "X", "networks": [1, 2, 3, 4, 5, 6, 7, 8, 9]}] * 10_000
    messages = decode(frame({"type": "status", "products": [LISTED] * 500, "currencies": currencies}))

    assert len(messages) == 500


def test_a_status_of_far_too_many_products_is_malformed() -> None:
    with pytest.raises(MalformedFrame, match="too large"):
        decode(frame({"type": "status", "products": [LISTED] * 5000}))


def test_a_status_of_advanced_trade() -> None:
    listed = {
        "product_type": "SPOT",
        "id": "BTC-USD",
        "status": "online",
        "status_message": "",
        "min_market_funds": "1",
    }
    (message,) = decode(
        frame(
            {
                "channel": "status",
                "timestamp": "2026-01-31T08:00:00.123456789Z",
                "sequence_num": 0,
                "events": [{"type": "snapshot", "products": [listed]}],
            }
        )
    )

    assert isinstance(message, ProductStatus)
    assert (message.product_id, message.product_type, message.status) == ("BTC-USD", "SPOT", "online")
    assert (message.time, message.post_only) == ("2026-01-31T08:00:00.123456789Z", None)
    assert (message.part.feed, message.part.is_snapshot) == ("advanced", True)


def test_an_auction() -> None:
    (message,) = decode(
        frame(
            {
                "type": "auction",
                "product_id": "LTC-USD",
                "sequence": 3262786978,
                "auction_state": "collection",
                "best_bid_price": "333.98",
                "best_bid_size": "4.39088265",
                "best_ask_price": "333.99",
                "best_ask_size": "25.23542881",
                "open_price": "333.99",
                "open_size": "0.193",
                "can_open": "yes",
                "timestamp": "2015-11-14T20:46:03.511254Z",
            }
        )
    )

    assert isinstance(message, Auction)
    assert (message.product_id, message.auction_state, message.can_open) == ("LTC-USD", "collection", "yes")
    assert (message.open_price, message.open_size) == ("333.99", "0.193")
    assert message.time == "2015-11-14T20:46:03.511254Z"


def subscription(*channels: str) -> Subscription:
    return Subscription(("BTC-USD", "ETH-USD"), channels, protocol=EXCHANGE, acknowledge_seconds=5.0)


def asked_for(*channels: str) -> list[Any]:
    (send,) = subscription(*channels).start(0.0)
    assert isinstance(send, Send)
    return msgspec.json.decode(EXCHANGE.encode("subscribe", send.wanted))["channels"]


def test_the_status_is_asked_for_without_products() -> None:
    ids = ["BTC-USD", "ETH-USD"]

    assert asked_for("ticker", "status") == [
        {"name": "ticker", "product_ids": ids},
        {"name": "status"},
        {"name": "heartbeat", "product_ids": ids},
    ]


def test_with_the_status_alone_the_products_have_heartbeats_all_the_same() -> None:
    assert asked_for("status") == [{"name": "status"}, {"name": "heartbeat", "product_ids": ["BTC-USD", "ETH-USD"]}]


@pytest.mark.parametrize("products", [[""], [], None, ["BTC-USD"]])
def test_however_the_status_is_acknowledged_it_is_settled(products: Any) -> None:
    machine = subscription("status")
    machine.start(0.0)
    channels = [
        {"name": "status", "product_ids": products},
        {"name": "heartbeat", "product_ids": ["ETH-USD", "BTC-USD"]},
    ]
    answer = EXCHANGE.answers.answer_in(msgspec.json.encode({"type": "subscriptions", "channels": channels}))
    assert answer is not None

    (settled,) = machine.on_answer(answer, 0.1)

    assert isinstance(settled, Settled)
    assert not settled.missing
    assert settled.confirmed["status"] == ("status",)


@pytest.mark.parametrize("feed", ["exchange", "advanced"])
def test_the_status_comes_by_both_feeds(watch: Callable[[Any], Observed], feed: FeedName) -> None:
    statistics = FeedStatistics()
    with Simulator(feed=feed, products=("BTC-USD", "ETH-USD"), rate=0, status_seconds=0.1) as simulator:
        observed = watch(
            frames(["BTC-USD", "ETH-USD"], ["status"], feed=feed, url=simulator.url, statistics=statistics)
        )

        def told() -> list[ProductStatus]:
            messages = [message for one in tuple(observed.frames) for message in decode(one)]
            return [message for message in messages if isinstance(message, ProductStatus)]

        wait_for(lambda: statistics.settled and {one.product_id for one in told()} == {"BTC-USD", "ETH-USD"})

    assert {one.status for one in told()} == {"online"}
    assert {one.part.feed for one in told()} == {feed}
    assert not statistics.rejected_channels
    assert not statistics.rejected_products
